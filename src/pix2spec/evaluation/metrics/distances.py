"""Distances: between sets of spectra, in the space of a network's codes, and to the training spectra.

The network is a contrastive one, trained to tell from a spectrum which galaxy it belongs to. A distance
between sets has no absolute meaning: compare it with the distance of two sets of real spectra
(`beside_chance`).
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from scipy.stats import mannwhitneyu
from torch import nn

from pix2spec.core.scaling import fill_missing
from pix2spec.errors import InputError
from pix2spec.evaluation.metrics.realism import compress
from pix2spec.models.latent.model import FactorisedModel
from pix2spec.models.pixel.ranker import ContrastiveModel
from pix2spec.models.shared.inputs import scale_spectra
from pix2spec.models.spectrum.model import SpectrumModel
from pix2spec.models.storage import find_model, load_model

__all__ = [
    "BesideChance",
    "Memorisation",
    "beside_chance",
    "frechet_distance",
    "kernel_distance",
    "memorisation",
    "spectrum_features",
]

BATCH_SPECTRA = 128
REBINNED_PIXELS = 4  # averaged, for memorisation
NEIGHBOUR_RANK = 5  # of the neighbour that sets the scale; fewer spectra are repeats of a galaxy
COPIED_BY_CHANCE = 0.01  # fraction of real spectra that count as copies


@torch.inference_mode()
def spectrum_features(
    flux: np.ndarray, ivar: np.ndarray | None = None, model: str | Path | nn.Module = "default"
) -> np.ndarray:
    """Codes of spectra by a contrastive network.

    Parameters
    ----------
    flux : array (N, L)
        Observed spectra, or generated ones with noise like the observed.
    ivar : array (N, L), optional
        Where 0, pixels are missing and interpolated. Give the observed ivar with observed and generated
        spectra alike, so that both have the same holes. Without: all pixels are valid.
    model : str, path or module
        A factorised model, whose ranker is used, or a contrastive one: the name of a shipped model, a run
        folder or what `pix2spec.models.storage.load_model` returned.

    Returns
    -------
    array (N, D), float64
        Codes of length sqrt(D): the network was trained to compare them by angle alone, and so components
        are of order one.

    Raises
    ------
    InputError
        If the model has no such network, or another wavelength grid.
    """
    if not isinstance(model, nn.Module):
        model, _ = load_model(find_model(model))
    if not isinstance(model, FactorisedModel | SpectrumModel | ContrastiveModel):
        raise InputError(model.preset.name, "it has no contrastive network", "give a contrastive run")
    flux = np.asarray(flux, np.float32)
    if flux.ndim != 2 or flux.shape[1] != model.grid.size:
        what = f"spectra of shape {flux.shape} are not on its grid of {model.grid.size} pixels"
        raise InputError(model.preset.name, what)
    ivar = np.ones_like(flux) if ivar is None else np.broadcast_to(ivar, flux.shape)
    device = next(model.parameters()).device
    codes = []
    for start in range(0, len(flux), BATCH_SPECTRA):
        part = flux[start : start + BATCH_SPECTRA], ivar[start : start + BATCH_SPECTRA]
        if isinstance(model, FactorisedModel | SpectrumModel):
            codes.append(model.ranker.encode(torch.from_numpy(fill_missing(*part)).to(device)))
        else:
            scaled, _ = scale_spectra(*part, model.preset.data.spectrum)
            codes.append(model.pair.spectrum_encoder(scaled.to(device)))
    codes = torch.cat(codes).double().cpu().numpy()
    length = np.linalg.norm(codes, axis=1, keepdims=True)
    return codes * np.sqrt(codes.shape[1]) / np.maximum(length, 1e-12)


def _two_sets(a, b) -> tuple[np.ndarray, np.ndarray]:
    """Two sets of codes in double precision, or an error if they cannot be compared."""
    a, b = np.asarray(a, float), np.asarray(b, float)
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1] or min(len(a), len(b)) < 2:
        raise InputError("codes", f"{a.shape} and {b.shape} are not two sets of codes of one length")
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise InputError("codes", "some are not finite", "leave out spectra without a valid pixel")
    return a, b


def frechet_distance(a: np.ndarray, b: np.ndarray) -> float:
    """Squared Fréchet distance of Gaussians fitted to two sets (Heusel et al. 2017, arXiv:1706.08500, Eq. 6).

    ``|m_a - m_b|^2 + tr(C_a + C_b - 2 (C_a C_b)^(1/2))``. It grows as sets get smaller: compare only sets of
    the same sizes.

    Parameters
    ----------
    a, b : array (N, D), (M, D)
        Codes.

    Raises
    ------
    InputError
        If the codes differ in length, are fewer than two or not finite.
    """
    a, b = _two_sets(a, b)
    # With C = R^T R, the trace of (C_a C_b)^(1/2) is the sum of the singular values of R_a R_b^T: no root
    # of a matrix is taken that may be singular or not symmetric.
    roots: list[Any] = [np.linalg.qr((x - x.mean(0)) / np.sqrt(len(x) - 1), mode="r") for x in (a, b)]
    ra, rb = roots
    common = np.linalg.svd(ra @ rb.T, compute_uv=False).sum()
    means = ((a.mean(0) - b.mean(0)) ** 2).sum()
    return max(float(means + (ra**2).sum() + (rb**2).sum() - 2 * common), 0.0)


def kernel_distance(a: np.ndarray, b: np.ndarray, blocks: int = 8, seed: int = 0) -> tuple[float, float]:
    """Squared maximum mean discrepancy, as the KID of Bińkowski et al. (2018, arXiv:1801.01401).

    Its kernel is (x y / D + 1)^3. The estimator is unbiased for sets of any size: zero on average for
    equal distributions, and then negative as often as positive. Unlike `frechet_distance`, it assumes no
    Gaussians. Rows of sets of one size may belong to the same objects: they are not compared with each
    other (Gretton et al. 2012, JMLR 13:723, Eq. 4), for they are more alike than independent ones.

    Parameters
    ----------
    a, b : array (N, D), (M, D)
        Codes.
    blocks : int
        Parts that both sets are divided into at random.
    seed : int
        Of the division.

    Returns
    -------
    value, error : float
        Mean over the blocks, and its standard error (Zaremba et al. 2013, arXiv:1307.1954).

    Raises
    ------
    InputError
        If the codes differ in length, are fewer than two a block or not finite.
    """
    a, b = _two_sets(a, b)
    if blocks < 2 or min(len(a), len(b)) < 2 * blocks:
        raise InputError("codes", f"{len(a)} and {len(b)} cannot be divided into {blocks} blocks")
    order = np.random.default_rng(seed).permutation(max(len(a), len(b)))  # pairs stay together
    parts = [np.array_split(x[order[order < len(x)]], blocks) for x in (a, b)]
    values = np.array([_mmd(x, y) for x, y in zip(*parts)])
    return float(values.mean()), float(values.std(ddof=1) / np.sqrt(blocks))


def _mmd(a: np.ndarray, b: np.ndarray) -> float:
    aa, bb, ab = (_kernel(x, y) for x, y in ((a, a), (b, b), (a, b)))
    between = _mean_of_others(ab) if len(a) == len(b) else ab.mean()
    return _mean_of_others(aa) + _mean_of_others(bb) - 2 * between


def _kernel(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return (x @ y.T / x.shape[1] + 1) ** 3


def _mean_of_others(k: np.ndarray) -> float:
    """Mean of a square matrix without its diagonal."""
    return (k.sum() - np.trace(k)) / (len(k) * (len(k) - 1))


class BesideChance(NamedTuple):
    """A distance of generated to real spectra beside that of real to real ones, of the same sizes."""

    value: float  # real to generated, mean over splits
    chance: float  # real to real
    scatter: float  # standard deviation of the latter over splits

    @property
    def ratio(self) -> float:
        """The distance in units of that between two sets of real spectra; for distances >= 0."""
        return self.value / self.chance if self.chance > 0 else np.nan

    @property
    def significance(self) -> float:
        """How many standard deviations of chance the value lies above it."""
        return (self.value - self.chance) / self.scatter if self.scatter > 0 else np.nan


def beside_chance(
    distance: Callable,
    real: np.ndarray,
    fake: np.ndarray,
    splits: int = 20,
    seed: int = 0,
    groups: np.ndarray | None = None,
) -> BesideChance:
    """Distance between halves of the objects: of real ones to generated ones, and to real ones.

    The two halves are different objects in both cases, so that the two numbers differ only by
    the generation.

    Parameters
    ----------
    distance : callable
        `frechet_distance` or `kernel_distance`.
    real, fake : array (N, D)
        Codes of real spectra, and of generated ones of the same objects.
    splits : int
        Random divisions of the objects into halves.
    seed : int
        Of the divisions.
    groups : array (N,), optional
        Galaxy of each row; repeat spectra of one are never in both halves.

    Raises
    ------
    InputError
        If the sets are not pairs, or as `distance` does.
    """
    real, fake = _two_sets(real, fake)
    if len(real) != len(fake) or splits < 2:
        raise InputError("codes", f"{len(real)} and {len(fake)} in {splits} splits are not pairs to split")
    _, number = np.unique(np.arange(len(real)) if groups is None else groups, return_inverse=True)
    rng = np.random.default_rng(seed)
    values: Any = []
    for _ in range(splits):
        first = rng.permutation(number.max() + 1)[number] < (number.max() + 1) // 2
        values.append([np.atleast_1d(distance(real[first], x[~first]))[0] for x in (fake, real)])
    values = np.array(values)
    return BesideChance(*(float(v) for v in (*values.mean(0), values[:, 1].std(ddof=1))))


class Memorisation(NamedTuple):
    """How near generated spectra are to training spectra, beside real ones that training did not see."""

    copied: float  # fraction of generated spectra nearer than all but `copied_chance` of the real ones are
    copied_error: float
    copied_chance: float
    p: float  # that generated spectra are no nearer than real ones (one-sided Mann-Whitney test)
    distance: float  # to the nearest training spectrum, rms of scaled pixels, median over generated spectra
    distance_real: float  # the same of real ones
    nearness: np.ndarray  # (N,) of each generated spectrum: its distance over that to the fifth nearest
    nearest: np.ndarray  # (N,) row of that training spectrum


def memorisation(generated: np.ndarray, train: np.ndarray, test: np.ndarray) -> Memorisation:
    """Look for copies of training spectra among generated ones.

    After the data-copying test of Meehan et al. (2020, arXiv:2004.05675): are generated spectra nearer to
    training spectra than real ones are that training did not see? A distance as such would take spectra
    with little noise for copies. Nearness is therefore the distance to the nearest training spectrum over
    that to the fifth nearest: near 1 for a spectrum among others, and low for the copy of one of them.
    The generated spectra must have noise like the observed: of 2,048 noise-free spectra that were no copies,
    6 % counted as copies instead of 1 %. The test does not find copies whose new noise is larger than the
    differences between galaxies.

    A method that returns training spectra, such as nearest neighbours, copies by design: this test says so,
    and for such a method it is no fault. The test does not find averages of several training spectra.

    Parameters
    ----------
    generated : array (N, L)
        Generated spectra with noise like the observed; missing pixels filled, as in all three.
    train : array (M, L)
        Spectra that the model was trained on.
    test : array (K, L)
        Real spectra of galaxies that are not in the training data.

    Raises
    ------
    InputError
        If the spectra differ in length or are not finite, or there are fewer than six in the training data
        or two in the others.
    """
    sets = [np.asarray(a) for a in (generated, train, test)]
    sizes = [a.shape for a in sets]
    if any(a.ndim != 2 for a in sets) or len({a.shape[1] for a in sets}) > 1 or min(map(len, sets)) < 2:
        raise InputError("spectra", f"{sizes} are not sets of spectra of one length")
    if len(sets[1]) <= NEIGHBOUR_RANK:
        raise InputError("train", f"{len(sets[1])} spectra are too few to have neighbours", "give more")
    if not all(np.isfinite(a).all() for a in sets):
        raise InputError("spectra", "some pixels are not finite", "fill what is missing")
    generated, train, test = (compress(_rebinned(a)) for a in sets)
    middle = train.mean(0)
    (distance, nearness, nearest), (real_distance, real_nearness, _) = (
        _neighbours(x - middle, train - middle) for x in (generated, test)
    )
    copied = (nearness < np.quantile(real_nearness, COPIED_BY_CHANCE)).mean()
    variance = copied * (1 - copied) / len(nearness) + COPIED_BY_CHANCE * (1 - COPIED_BY_CHANCE) / len(
        real_nearness
    )
    return Memorisation(
        float(copied),
        float(np.sqrt(variance)),
        COPIED_BY_CHANCE,
        float(mannwhitneyu(nearness, real_nearness, alternative="less").pvalue),
        float(np.median(distance)),
        float(np.median(real_distance)),
        nearness,
        nearest,
    )


def _rebinned(spectra: np.ndarray) -> np.ndarray:
    """Mean of `REBINNED_PIXELS` pixels each; what is left at the end is dropped."""
    size = spectra.shape[1] // REBINNED_PIXELS * REBINNED_PIXELS
    return spectra[:, :size].reshape(len(spectra), -1, REBINNED_PIXELS).mean(2)


def _neighbours(x: torch.Tensor, train: torch.Tensor) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Distance (n,) to the nearest training spectrum, the same over that to the fifth, and its row."""
    found = [
        torch.cdist(part, train, compute_mode="use_mm_for_euclid_dist").topk(NEIGHBOUR_RANK, largest=False)
        for part in x.split(256)
    ]
    distance, index = (torch.cat(values).numpy() for values in zip(*found))
    nearness = distance[:, 0] / np.maximum(distance[:, -1], 1e-12)
    return distance[:, 0] / np.sqrt(x.shape[1]), nearness, index[:, 0]
