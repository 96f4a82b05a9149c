"""Scores of redshift posteriors, and rows of the benchmark's table with their targets."""

from dataclasses import dataclass, field

import numpy as np

from pix2spec.evaluation.metrics.pixels import crps_ensemble

OFF = (0.05, 0.15)  # |d| above which a redshift is off
MEASURES = {  # name: (heading, whether it is shown as a percentage, decimals)
    "sigma_nmad": ("sigma_NMAD", False, 4),
    "off_0.05": ("off by > 0.05", True, 2),
    "off_0.15": ("off by > 0.15", True, 2),
    "crps": ("CRPS(z)", False, 4),
    "inside": ("in 68 %", True, 1),
    "bias": ("bias", False, 4),
    "crps_median": ("CRPS", False, 4),
    "crps_ratio": ("of neighbours' CRPS", False, 3),
    "pixels_68": ("pixels in 68 %", True, 1),
    "pixels_90": ("pixels in 90 %", True, 1),
    "redshift_68": ("z in 68 %", True, 1),
    "flux_68": ("absolute flux in 68 %", True, 1),
    "g_r": ("g-r off by", False, 3),
    "r_i": ("r-i off by", False, 3),
    "ew_halpha": ("Spearman Halpha", False, 3),
    "ew_hbeta": ("Spearman Hbeta", False, 3),
    "ew_oiii": ("Spearman [O III]", False, 3),
    "dn4000": ("Spearman Dn4000", False, 3),
    "dark": ("without light", False, 0),
    "clamped": ("at the clamp", False, 0),
    "rms_u": ("rms u", False, 3),
    "rms_nuv": ("rms NUV", False, 3),
    "rms_j": ("rms J", False, 3),
    "rms_ks": ("rms Ks", False, 3),
    "rms_w1": ("rms W1", False, 3),
    "flagged": ("flagged", True, 1),
    "milliseconds": ("ms", False, 2),
    "seconds": ("s", False, 1),
}

SIGNED = ("bias", "g_r", "r_i")  # their size counts


@dataclass(frozen=True)
class Row:
    """What was measured, and what must be reached: {measure: (lowest, highest)}."""

    section: str
    name: str
    n: int
    values: dict[str, float]
    targets: dict[str, tuple[float, float]] = field(default_factory=dict)

    def reached(self, measure: str) -> bool | None:
        """Whether a target is reached; None if there is none. Biases count by their size."""
        if measure not in self.targets:
            return None
        low, high = self.targets[measure]
        value = abs(self.values[measure]) if measure in SIGNED else self.values[measure]
        return bool(low <= value <= high)


def within(low: float, high: float) -> dict[str, tuple[float, float]]:
    """The target of the fraction inside intervals of 68 %."""
    return {"inside": (low, high)}


def between(**limits: tuple[float, float]) -> dict[str, tuple[float, float]]:
    """Targets with both limits."""
    return limits


def at_most(**limits: float) -> dict[str, tuple[float, float]]:
    """Targets that are upper limits; ``off=0.02`` limits the fraction that is off by more than 0.05."""
    names = {"off": "off_0.05", "far_off": "off_0.15"}
    return {names.get(name, name): (0.0, limit) for name, limit in limits.items()}


def at_least(**limits: float) -> dict[str, tuple[float, float]]:
    """Targets that are lower limits."""
    return {name: (limit, np.inf) for name, limit in limits.items()}


def normalised_error(draws: np.ndarray, z: np.ndarray) -> np.ndarray:
    """The errors d = (median of the draws - z) / (1 + z) of draws (N, n): (N,)."""
    return (np.median(draws, 1) - z) / (1 + z)


def redshift_scores(draws: np.ndarray, z: np.ndarray) -> dict[str, float]:
    """Scores of draws (N, n) of redshifts whose truth is z (N,).

    sigma_NMAD is about the median of d, the bias is that median, the CRPS is the fair one, and the interval
    of 68 % reaches from the 16th to the 84th percentile of the draws.
    """
    d = normalised_error(draws, z)
    low, high = np.quantile(draws, (0.16, 0.84), axis=1)
    return {
        "sigma_nmad": float(1.4826 * np.median(np.abs(d - np.median(d)))),
        **{f"off_{limit:g}": float(np.mean(np.abs(d) > limit)) for limit in OFF},
        "crps": float(crps_ensemble(draws.T, z, np.ones(len(z)))),
        "inside": float(np.mean((z >= low) & (z <= high))),
        "bias": float(np.median(d)),
    }


def coverage(draws: np.ndarray, z: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """Fraction of truths inside the central intervals of these levels (L,): (L,)."""
    low, high = (np.quantile(draws, 0.5 + side * levels / 2, axis=1) for side in (-1, 1))
    return ((z >= low) & (z <= high)).mean(1)
