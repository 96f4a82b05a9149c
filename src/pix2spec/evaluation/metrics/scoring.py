"""Scores of one object's ensemble by every way of choosing from it."""

from dataclasses import dataclass, field

import numpy as np

from pix2spec.evaluation.metrics import pixels as metrics
from pix2spec.products.ensemble import Ensemble
from pix2spec.products.selection import select
from pix2spec.products.units import PHYSICAL

__all__ = [
    "LEVELS",
    "Profile",
    "expected",
    "score_clean",
    "score_ensemble",
    "score_object",
    "score_point",
    "selections",
]

LEVELS = (0.68, 0.9)


def selections(n: int, scores: np.ndarray | None) -> dict[str, np.ndarray]:
    """Candidates that each way of choosing averages: the columns of the paper's Table 1, and all.

    Ways that need scores are left out without them, and so are ways that need more than n candidates.
    """
    chosen = {"single": np.array([0])}
    if scores is not None and n > 1:
        scores = np.asarray(scores)
        if n > 5:
            chosen["best_of_5"] = select("best", 5, scores[:5])
        chosen["best"] = select("best", n, scores)
        if n > 5:
            chosen["mean_best_5"] = select("mean:5", n, scores)
    if n > 1:
        chosen["mean_all"] = np.arange(n)
    return chosen


def score_object(
    ensemble: Ensemble,
    flux: np.ndarray,
    ivar: np.ndarray,
    has_candidates: bool = True,
    profile: "Profile | None" = None,
    minmax: np.ndarray | None = None,
) -> dict[str, float]:
    """Score an ensemble against the observed spectrum (L,) by every way of choosing: see `score_ensemble`.

    Without candidates, the chosen spectrum is scored. `minmax`, if given, replaces the ensemble's own (see
    `pix2spec.Ensemble.minmax`).
    """
    chosen, ensemble_method = {"chosen": np.array([0])}, "chosen"
    if has_candidates:
        chosen = selections(len(ensemble), ensemble.scores)
        ensemble_method = "mean_all" if len(ensemble) > 1 else "single"
    return score_ensemble(
        ensemble.candidates,
        flux,
        ivar,
        chosen,
        ensemble_method,
        zero_point=ensemble.has_zero_point,
        physical=ensemble.unit == PHYSICAL,
        profile=profile,
        minmax=ensemble.minmax if minmax is None else minmax,
    )


def score_clean(method: str, clean: np.ndarray, flux: np.ndarray, ivar: np.ndarray) -> dict[str, float]:
    """Score a noise-free spectrum (L,), scaled by its own extrema and median."""
    scaled = metrics.to_minmax(clean, ivar), metrics.to_median(clean, ivar)
    return score_point(method, *scaled, flux, ivar)


def score_ensemble(
    candidates: np.ndarray,
    truth: np.ndarray,
    ivar: np.ndarray,
    chosen: dict[str, np.ndarray],
    ensemble_method: str,
    zero_point: bool = True,
    physical: bool = False,
    profile: "Profile | None" = None,
    minmax: np.ndarray | None = None,
) -> dict[str, float]:
    """Score the candidates of one object.

    Each candidate is scaled by its own extrema and then averaged over those chosen; but a model that was
    trained on the paper's scale [-1, 1] is scored on that scale, as in the paper.

    Parameters
    ----------
    candidates : array (n, L)
        Spectra.
    truth, ivar : array (L,)
        The observed spectrum.
    chosen : dict
        Candidates to average, by method.
    ensemble_method : str
        The method that stands for the ensemble: its CRPS and coverage go under this name.
    zero_point : bool
        Whether zero flux means no light, so that a median scale makes sense.
    physical : bool
        Whether amplitudes count: adds scores in flux.
    profile : Profile, optional
        Gathers errors and coverage by wavelength.
    minmax : array (n, L), optional
        The candidates on the scale [-1, 1], from models that speak it: see `pix2spec.Ensemble.minmax`.

    Returns
    -------
    dict
        ``"method.metric"`` to value.
    """
    floor = metrics.noise_floor(ivar)
    good = ivar * np.isfinite(candidates).all(0) * np.isfinite(truth)
    true_minmax, true_median = metrics.to_minmax(truth, good), metrics.to_median(truth, good, floor)
    minmax = metrics.to_minmax(candidates, good) if minmax is None else np.where(good > 0, minmax, np.nan)
    median = _median_scaled(candidates, truth, good, floor, physical) if zero_point else None
    values = {}
    for method, index in chosen.items():
        mean = minmax[index].mean(0)
        values[f"{method}.minmax_mse"] = metrics.mean_squared_error(mean, true_minmax, good)
        shape = mean if median is None else median[index].mean(0)
        values[f"{method}.affine_matched_mse"] = metrics.affine_matched_mse(shape, truth, good)
        if median is not None:
            values[f"{method}.scaled_mse"] = metrics.mean_squared_error(shape, true_median, good, good)
        if physical:
            flux = candidates[index].mean(0)
            values[f"{method}.chi2_per_pixel"] = metrics.chi2_per_pixel(flux, truth, good)
    scales = {"minmax": (minmax, true_minmax)}
    if median is not None:
        scales["median"] = (median, true_median)
    if physical:
        scale = np.fmax(np.median(truth[good > 0]), floor) if (good > 0).any() else 1
        scales["flux"] = (candidates / scale, truth / scale)
    for scale, (members, observed) in scales.items():
        values[f"{ensemble_method}.crps_{scale}"] = metrics.crps_ensemble(members, observed, good)
        values[f"{ensemble_method}.energy_{scale}"] = metrics.energy_score(members, observed, good)
        if len(candidates) > 1:
            for level in LEVELS:
                covered = metrics.coverage(members, observed, good, level)
                values[f"{ensemble_method}.coverage_{level * 100:.0f}_{scale}"] = covered
    if profile is not None:
        profile.add(*scales["minmax" if median is None else "median"], good)
    return {name: float(value) for name, value in values.items()}


def _median_scaled(candidates, truth, good, floor, physical: bool) -> np.ndarray:
    """Candidates by their own medians, with the truth's noise as the floor of a faint one's scale."""
    if not physical and (good > 0).any():
        level = np.median(candidates[:, good > 0])
        floor = level * min(float(floor[0] / np.fmax(np.median(truth[good > 0]), floor[0])), 1)
    return metrics.to_median(candidates, good, floor)


def score_point(method: str, minmax, median, truth, ivar) -> dict[str, float]:
    """Score one spectrum that is given on both scales (the mean spectrum, the noise-free truth).

    Its CRPS is its mean absolute error.
    """
    floor = metrics.noise_floor(ivar)
    true_minmax, true_median = metrics.to_minmax(truth, ivar), metrics.to_median(truth, ivar, floor)
    values = {
        "minmax_mse": metrics.mean_squared_error(minmax, true_minmax, ivar),
        "affine_matched_mse": metrics.affine_matched_mse(median, truth, ivar),
        "scaled_mse": metrics.mean_squared_error(median, true_median, ivar, ivar),
        "crps_minmax": metrics.crps_ensemble(minmax[None], true_minmax, ivar),
        "crps_median": metrics.crps_ensemble(median[None], true_median, ivar),
    }
    return {f"{method}.{name}": float(value) for name, value in values.items()}


def expected(sizes: list[int]) -> dict[str, float]:
    """Coverage that calibrated ensembles of these sizes reach, by level in per cent."""
    return {
        f"{level * 100:.0f}": round(float(np.mean([metrics.expected_coverage(level, n) for n in sizes])), 6)
        for level in LEVELS
    }


@dataclass
class Profile:
    """Sums by wavelength over objects; memory does not grow with their number."""

    size: int
    sums: dict[str, np.ndarray] = field(default_factory=dict)

    def add(self, members: np.ndarray, truth: np.ndarray, ivar: np.ndarray) -> None:
        """Add one object: ensemble (n, L), truth and ivar (L,), on a common scale."""
        good = (ivar > 0) & np.isfinite(members).all(0) & np.isfinite(truth)
        mean = np.where(good, members, 0).mean(0)
        self._accumulate("count", good)
        self._accumulate("square", np.where(good, (mean - np.where(good, truth, 0)) ** 2, 0))
        if len(members) > 1:
            for level in LEVELS:
                inside, _ = metrics.pixel_coverage(members, truth, ivar, level)
                self._accumulate(f"inside_{level * 100:.0f}", np.where(good, inside, 0))

    def _accumulate(self, name: str, values: np.ndarray) -> None:
        self.sums.setdefault(name, np.zeros(self.size))
        self.sums[name] += values

    def mean(self, name: str, width: int = 1) -> np.ndarray:
        """Mean over objects, and over bins of `width` pixels; NaN where nothing was valid."""
        edges = np.arange(0, self.size, width)
        count = np.add.reduceat(self.sums.get("count", np.zeros(self.size)), edges)
        total = np.add.reduceat(self.sums.get(name, np.full(self.size, np.nan)), edges)
        return np.where(count > 0, total / np.maximum(count, 1), np.nan)
