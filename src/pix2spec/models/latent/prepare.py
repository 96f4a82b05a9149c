"""Prepare the compact training set of a factorised model: cutouts, fluxes and latent vectors.

First, the basis, the noise model and the scale of the latents are fitted to some of the spectra. Together
they are the *foundation* of the model. Then every spectrum becomes a latent vector. The prepared set takes
25 kB per galaxy, a quarter of the dataset, and a simulated survey is never written as a dataset.

    prepared/  image.npy  columns.npz  foundation.safetensors  info.json (written last)
"""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from pix2spec.core.grid import SpectralGrid
from pix2spec.core.survey import Survey
from pix2spec.data.dataset import Dataset, split_of
from pix2spec.data.schema import DatasetInfo
from pix2spec.data.simulate.survey import BLOCK, SimulatedSurvey
from pix2spec.errors import InputError
from pix2spec.models.latent.conditions import centre
from pix2spec.models.latent.model import FactorisedModel
from pix2spec.models.latent.preset import FactorisedPreset
from pix2spec.runtime.atomic import write_atomically
from pix2spec.runtime.progress import progress_bar
from pix2spec.runtime.workers import worker_pool

__all__ = ["Prepared", "Simulation", "prepare"]

CHUNK = 1024  # galaxies to prepare at a time
POSTERIOR_SAMPLES = 16  # draws of the coefficients of a noisy spectrum
FOUNDATION = ("basis.", "noise.", "normal.")  # parts of the model that are fitted before training
COLUMNS = ("object_id", "group_id", "z", "image", "photometry", "photometry_ivar", "flux", "ivar")


@dataclass(frozen=True)
class Simulation:
    """A simulated survey as training data, which is never written as a dataset.

    Its spectra reach to 10,850 A, beyond the grid of the models, to include red lines at any redshift.

    Parameters
    ----------
    n : int
        Number of galaxies.
    seed : int
        Seed of the simulation.
    """

    n: int
    seed: int

    grid = SpectralGrid(size=4450)

    @property
    def info(self) -> DatasetInfo:
        """Metadata, as for a dataset."""
        return DatasetInfo(provenance={"source": "pix2spec.data.simulate", "n": self.n, "seed": self.seed})

    def __str__(self) -> str:
        return f"{self.n} simulated galaxies of seed {self.seed}"


class Prepared:
    """Some splits of a prepared training set. Training uses it like a `Dataset`.

    Parameters
    ----------
    folder : Path
        Folder of `prepare`.
    *splits : str
        Names of splits: ``"train"``, ``"val"``, ``"test"``.
    """

    def __init__(self, folder: Path, *splits: str):
        metadata = json.loads((folder / "info.json").read_text())
        self.path = folder
        self.info = DatasetInfo(
            grid=SpectralGrid(**metadata["grid"]),
            survey=Survey.from_dict(metadata["survey"]),
            image_kind=metadata["image_kind"],
            image_size=metadata["image_size"],
            provenance=metadata["data"],
        )
        with np.load(folder / "columns.npz", allow_pickle=False) as stored:
            chosen = np.isin(stored["split"], splits)
            self.columns = {k: stored[k][chosen] for k in stored.files if k != "split"}
        self.rows = np.flatnonzero(chosen)
        images = folder / "image.npy"
        self.images = np.load(images, mmap_mode="r") if images.exists() else None

    def __len__(self) -> int:
        return len(self.rows)

    def batch(self, index, columns=None) -> dict:
        """Arrays of the galaxies at positions `index` (B,): latents, image, photometry, redshift, split.

        `columns` has no effect: a batch always has all of them.
        """
        values = {name: column[index] for name, column in self.columns.items()}
        shape = (len(values["z"]), *self.info.image_shape)
        values["image"] = (
            np.zeros(shape, np.float32) if self.images is None else self.images[self.rows[index]]
        )
        return values


def prepare(
    preset: FactorisedPreset, data: "str | Path | Simulation", out: Path, init=None, progress: bool = True
) -> tuple[Prepared, Prepared]:
    """Prepare the training and validation sets of `data`, or open them if they exist.

    Parameters
    ----------
    preset : FactorisedPreset
        Settings of the model.
    data : str, Path or Simulation
        A dataset folder, or a simulated survey.
    out : Path
        Folder of the prepared set.
    init : FactorisedModel, optional
        A model whose basis is refined on the spectra. By default, a new basis is fitted.
    progress : bool
        Show progress bars.

    Returns
    -------
    train_set, val_set : Prepared

    Raises
    ------
    InputError
        If there are too few usable spectra.
    """
    if not (out / "info.json").exists():
        out.mkdir(parents=True, exist_ok=True)
        source = data if isinstance(data, Simulation) else Dataset(data)
        model = _foundation(preset, source, init, progress)
        metadata = _write(model, source, out, progress)
        metadata |= {"data": source.info.provenance, "grid": model.grid.as_dict()}
        metadata |= {"survey": model.survey.as_dict(), "image_size": preset.condition.image_size}
        metadata |= {"image_kind": source.info.image_kind or "linear", "name": str(data)}
        save_file(_foundation_state(model), out / "foundation.safetensors")
        write_atomically(out / "info.json", lambda p: p.write_text(json.dumps(metadata, indent=2)))
    splits = ("train",) if preset.hold_out_test else ("train", "test")
    train_set, val_set = Prepared(out, *splits), Prepared(out, "val")
    if not len(train_set) or not len(val_set):
        raise InputError(str(data), "too few usable spectra for a training and a validation set")
    return train_set, val_set


def load_foundation(model: FactorisedModel, folder: Path) -> None:
    """Load the foundation of a prepared training set into `model`: basis, noise model, scale of latents.

    Raises
    ------
    InputError
        If the set was prepared for a model of other sizes.
    """
    stored, own = load_file(folder / "foundation.safetensors"), _foundation_state(model)
    if {k: v.shape for k, v in stored.items()} != {k: v.shape for k, v in own.items()}:
        raise InputError(folder, "this training set was prepared for another preset", "use another `out`")
    model.load_state_dict(stored, strict=False)


def _foundation_state(model) -> dict:
    return {k: v.contiguous() for k, v in model.state_dict().items() if k.startswith(FOUNDATION)}


def _foundation(preset, source, init, progress: bool) -> FactorisedModel:
    """Make a model and fit its foundation to some of the source's spectra."""
    info, size = source.info, preset.basis.spectra
    model = FactorisedModel(preset, info.grid, info.survey)
    flux, ivar, clean, z, grid = _sample(source, size, preset.basis.z_max, progress)
    if init is not None:
        model.load_state_dict(init.state_dict())
    spectrum, weight = (flux, floor_errors(flux, ivar)) if clean is None else (clean, None)
    model.basis.fit(
        spectrum, weight, z, grid, preset.basis.iterations, refine=preset.basis.refine if init else 0.0,
        progress=progress,
    )  # fmt: skip
    samples = 1 if clean is not None else POSTERIOR_SAMPLES
    fits = model.basis.encode(spectrum, weight, z, grid, samples=samples)
    latents = model.vector(z, fits)
    model.normal.fit(torch.from_numpy(latents).flatten(0, 1))
    if clean is None:  # estimate the noise-free spectra by posterior means
        guess = [model.spectra(torch.from_numpy(latents[:, k]))[0] for k in range(latents.shape[1])]
        clean = torch.stack(guess).mean(0).numpy()
    length = model.grid.size
    model.noise = type(model.noise).fit(flux[:, :length], ivar[:, :length], clean[:, :length])
    return model


def floor_errors(flux: np.ndarray, ivar: np.ndarray, level: float = 0.01) -> np.ndarray:
    """Add a relative calibration error to inverse variances, so that no pixel dominates a fit.

    Parameters
    ----------
    flux, ivar : array (n, L)
        Flux, and its inverse variance (0 where missing).
    level : float
        The error, relative to the flux of the pixel or to the median flux, whichever is larger.

    Returns
    -------
    array (n, L)
        The new inverse variances.
    """
    good = (ivar > 0) & np.isfinite(flux)
    median = np.array([np.median(f[g]) if g.any() else 0.0 for f, g in zip(flux, good)])
    error = level * np.maximum(np.abs(np.where(good, flux, 0)), median[:, None])
    return np.where(good, 1 / (1 / np.where(good, ivar, 1) + error**2), 0).astype(np.float32)


def without_holes(batch: dict) -> np.ndarray:
    """Fluxes (n, L) of a batch, with zeros for missing values."""
    return np.where(batch["ivar"] > 0, np.nan_to_num(batch["flux"]), 0)


def _usable(batch: dict, z_max: float) -> np.ndarray:
    with np.errstate(invalid="ignore"):
        in_reach = (batch["z"] > -0.001) & (batch["z"] < z_max)
    seen = (batch["ivar"] > 0) & np.isfinite(batch["flux"])
    return in_reach & (seen.mean(1) > 0.5)


def _sample(source, size: int, z_max: float, progress: bool = True):
    """Up to `size` spectra for the foundation: flux, ivar, noise-free flux or None, redshift, grid."""
    if isinstance(source, Simulation):
        survey = SimulatedSurvey(source.seed, source.grid)
        kept = ("flux", "ivar", "true_flux", "z")
        blocks = survey.blocks(min(size, source.n), 0)
        total = -(-min(size, source.n) // BLOCK)
        parts = [{k: b[k] for k in kept} for b in progress_bar(blocks, "simulating", progress, total)]
        batch = {k: np.concatenate([p[k] for p in parts]) for k in kept}
        grid = source.grid
    else:
        index = source.having("flux", "ivar")
        index = (
            index[np.linspace(0, len(index) - 1, min(size, len(index))).astype(int)] if len(index) else index
        )
        has_clean = "true_flux" in source.info.truth
        batch = source.batch(index, ["flux", "ivar", "z", *(["true_flux"] if has_clean else [])])
        grid = source.info.grid
    keep = _usable(batch, z_max)
    if keep.sum() < 50:
        raise InputError(
            str(getattr(source, "path", source)), f"only {keep.sum()} spectra have a redshift below {z_max}"
        )
    flux = without_holes(batch)[keep]
    clean = batch["true_flux"][keep] if "true_flux" in batch else None
    return flux, batch["ivar"][keep], clean, batch["z"][keep].astype(float), grid


# ---------------------------------------------------------------------------------- writing


def _write(model: FactorisedModel, source, out: Path, progress: bool) -> dict:
    """Encode every usable galaxy of the source, and write image.npy and columns.npz. Return their numbers."""
    n = source.n if isinstance(source, Simulation) else len(source)
    images, columns, written = None, [], 0
    if source.info.image_kind:
        size = model.preset.condition.image_size
        shape = (n, len(source.info.survey.image_bands), size, size)
        images = np.lib.format.open_memmap(out / "image.npy", mode="w+", dtype=np.float16, shape=shape)
    for part in progress_bar(_parts(model, source), "preparing", progress, -(-n // CHUNK)):
        if part is None:
            continue
        image = part.pop("image")
        if images is not None:
            images[written : written + len(image)] = image
        written += len(image)
        columns.append(part)
    if images is not None:
        images.flush()
    merged = {k: np.concatenate([c[k] for c in columns]) for k in columns[0]}
    write_atomically(out / "columns.npz", lambda p: _save_columns(p, merged))
    return {"n": n, "usable": written}


def _save_columns(path, columns: dict) -> None:
    with open(path, "wb") as stream:
        np.savez(stream, **columns)


def _parts(model: FactorisedModel, source) -> Iterator[dict]:
    if not isinstance(source, Simulation):
        for start in range(0, len(source), CHUNK):
            clean = ["true_flux"] if "true_flux" in source.info.truth else []
            columns = [c for c in COLUMNS if c != "image" or source.info.image_kind]
            batch = source.batch(np.arange(start, min(start + CHUNK, len(source))), [*columns, *clean])
            yield _encode(model, batch, source.info.grid, start)
        return
    starts = range(0, source.n, CHUNK)
    with worker_pool(os.cpu_count(), _start_worker, (model, source)) as pool:
        waiting = []
        for start in starts:
            waiting.append(pool.submit(_simulated_part, start))
            if len(waiting) > 2 * (os.cpu_count() or 1):  # limits the results in memory
                yield waiting.pop(0).result()
        for future in waiting:
            yield future.result()


_worker: dict = {}


def _start_worker(model, source) -> None:
    _worker.update(model=model, source=source, survey=SimulatedSurvey(source.seed, source.grid))


def _simulated_part(start: int) -> dict:
    source = _worker["source"]
    batch = _worker["survey"].sample(min(CHUNK, source.n - start), start)
    return _encode(_worker["model"], batch, source.grid, start)


def _cutouts(model: FactorisedModel, image: np.ndarray) -> np.ndarray:
    """Cut images (n, band, y, x) to the size of the model's input. Missing images become zero."""
    image = centre(np.nan_to_num(image), model.preset.condition.image_size)
    return image.astype(np.float16)


@torch.no_grad()
def _encode(model: FactorisedModel, batch: dict, grid: SpectralGrid, seed: int) -> dict | None:
    """Columns of the usable galaxies of a batch, or None without such. `seed` is for posterior draws."""
    keep = _usable(batch, model.basis.z_max)
    if not keep.any():
        return None
    batch = {k: v[keep] for k, v in batch.items()}
    z = batch["z"].astype(float)
    if "true_flux" in batch:
        fits = model.basis.encode(batch["true_flux"], None, z, grid)
    else:
        flux = without_holes(batch)
        ivar = floor_errors(flux, batch["ivar"])
        fits = model.basis.encode(flux, ivar, z, grid, POSTERIOR_SAMPLES, seed)
    return {
        "latents": model.vector(z, fits, seed),
        "z": z,
        "photometry": batch["photometry"],
        "photometry_ivar": batch["photometry_ivar"],
        "split": np.array([split_of(str(g)) for g in batch["group_id"]]),
        "image": _cutouts(model, batch["image"]) if "image" in batch else z,
    }
