"""Does a contrastive network find the spectrum that belongs to an object, among those of others?"""

import numpy as np
import torch

from pix2spec.data.dataset import Dataset
from pix2spec.errors import InputError
from pix2spec.evaluation.metrics.distances import spectrum_features
from pix2spec.models.latent.model import FactorisedModel
from pix2spec.models.spectrum.model import SpectrumModel
from pix2spec.models.storage import find_model, load_model

__all__ = ["codes", "ranks", "retrieval"]

POOL = 512  # spectra to choose from
BATCH_OBJECTS = 256


def retrieval(dataset: Dataset, index: np.ndarray, model="default", pool: int = POOL) -> dict:
    """How often the network that ranks candidates finds an object's own spectrum by its photometry.

    Parameters
    ----------
    dataset : Dataset
        Pairs with spectra.
    index : array of int
        Positions of the objects to use; those without photometry that the network sees are left out.
    model : str or path
        As in `pix2spec.evaluation.metrics.distances.spectrum_features`.
    pool : int
        Spectra to choose from, the right one among them; all, if there are fewer.

    Returns
    -------
    dict
        ``objects``, ``pool``, and for k = 1 and 5 ``top_k``, the share of objects whose own spectrum is among
        the first k, ``top_k_error`` and ``top_k_chance``.

    Raises
    ------
    InputError
        If fewer than two objects can be used, or the model has no such network or another grid.
    """
    loaded, _ = load_model(find_model(model))
    conditions, spectra, used = codes(dataset, index, loaded, model)
    pool = min(pool, len(used))
    if pool < 2:
        raise InputError(
            dataset.path, "fewer than two objects have a spectrum and the photometry that the network sees"
        )
    rank = ranks(conditions, spectra, pool)
    rank = rank[np.isfinite(rank)]
    result: dict = {"objects": len(rank), "pool": pool}
    for k in (1, 5):
        share = float((rank < k).mean())
        error = float(np.sqrt(share * (1 - share) / len(rank)))
        result |= {f"top_{k}": share, f"top_{k}_error": error, f"top_{k}_chance": min(k / pool, 1.0)}
    return result


def codes(
    dataset: Dataset, index: np.ndarray, model, name="default"
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Codes (M, D) of what a network sees of objects and of their spectra, and the positions (M,) of these.

    A contrastive network sees the image; the default model's sees image and fluxes, as far as there are any.
    """
    if isinstance(model, FactorisedModel | SpectrumModel):
        conditions, used = _codes_of_photometry(dataset, index, name)
    else:
        conditions, used = _codes_of_images(dataset, index, model)
    spectra = []
    for start in range(0, len(used), BATCH_OBJECTS):
        batch = dataset.batch(used[start : start + BATCH_OBJECTS], ["flux", "ivar"])
        spectra.append(spectrum_features(batch["flux"], batch["ivar"], model))
    return conditions, _stack(spectra), used


@torch.no_grad()
def _codes_of_images(dataset: Dataset, index, model) -> tuple[np.ndarray, np.ndarray]:
    index = np.intersect1d(index, dataset.having("image", "flux", "ivar"))
    device, found = next(model.parameters()).device, []
    for start in range(0, len(index), BATCH_OBJECTS):
        batch = dataset.batch(index[start : start + BATCH_OBJECTS], list(model.columns))
        inputs = model.prepare(batch, dataset.info.image_kind, None, train=False)
        found.append(model.pair.image_encoder(inputs["image"].to(device)).cpu().numpy())
    return _stack(found), index


def _codes_of_photometry(dataset: Dataset, index, name) -> tuple[np.ndarray, np.ndarray]:
    from pix2spec.generate.load import load
    from pix2spec.models.generator import Settings

    generator, settings = load(name), Settings()
    index = np.intersect1d(index, dataset.having("flux", "ivar"))
    found, used = [], []
    for start in range(0, len(index), BATCH_OBJECTS):
        galaxies, places = [], index[start : start + BATCH_OBJECTS]
        for i in places:
            galaxy = dataset[int(i)]
            try:
                generator.check(galaxy, settings)
            except InputError:
                continue
            galaxies.append(galaxy)
            used.append(i)
        if galaxies:
            found.append(generator.queries(galaxies, dataset.info.image_kind, settings))
    return _stack(found), np.array(used, int)


def _stack(parts: list[np.ndarray]) -> np.ndarray:
    return np.concatenate(parts) if parts else np.empty((0, 1))


def ranks(conditions: np.ndarray, spectra: np.ndarray, pool: int) -> np.ndarray:
    """Rank of each object's own spectrum among those of its pool by cosine similarity, 0 the best: (N,).

    Pools are consecutive objects, `pool` in each; those of an incomplete last pool get NaN. Equal
    similarities count against the network.

    Parameters
    ----------
    conditions, spectra : array (N, D)
        Latent codes; row k of one belongs to row k of the other.
    """
    a, b = (
        x / np.linalg.norm(x, axis=1, keepdims=True)
        for x in (conditions.astype(float), spectra.astype(float))
    )
    found = np.full(len(a), np.nan)
    for start in range(0, len(a) - pool + 1, pool):
        similarity = a[start : start + pool] @ b[start : start + pool].T
        found[start : start + pool] = (similarity >= np.diag(similarity)[:, None]).sum(1) - 1
    return found
