"""One set of scores for all programs, whether they answer with draws or with densities on a grid."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from pix2spec.evaluation.metrics.pixels import crps_ensemble

DRAWS = 256  # from densities
OFF = 0.05


@dataclass(frozen=True)
class Answer:
    """What a program answered, and what it cost."""

    cost: dict
    draws: np.ndarray | None = None  # (N, n) of the redshift

    @classmethod
    def read(cls, path: Path) -> "Answer":
        """Read a file as `peering/runners/common.py` writes it; densities become draws."""
        table = pq.read_table(path)
        known = {name.decode(): json.loads(text) for name, text in (table.schema.metadata or {}).items()}
        columns = {name: np.stack(table[name].to_numpy()) for name in table.column_names}
        draws = columns.get("draws")
        if "density" in columns:
            draws = draws_from_density(np.array(known["grid"]), columns["density"])
        return cls(known["cost"], draws)


def draws_from_density(grid: np.ndarray, density: np.ndarray, n: int = DRAWS, seed: int = 0) -> np.ndarray:
    """Draw redshifts (N, n) from densities (N, G) that are piecewise linear on a grid (G,).

    A density without a positive value gives NaN.
    """
    density = np.where(np.isfinite(density), np.maximum(density, 0), 0)
    width = np.diff(grid)
    mass = width * (density[:, 1:] + density[:, :-1]) / 2
    cdf = np.hstack([np.zeros((len(density), 1)), np.cumsum(mass, 1)])
    total = cdf[:, -1:]
    level = np.random.default_rng(seed).random((len(density), n)) * total
    found = np.empty(level.shape)
    for row, (below, known) in enumerate(zip(cdf, density)):
        k = np.clip(np.searchsorted(below, level[row], side="right") - 1, 0, len(width) - 1)
        found[row] = grid[k] + _inside(level[row] - below[k], known[k], known[k + 1], width[k])
    return np.where(total > 0, found, np.nan)


def _inside(mass, first, last, width):
    """Distance into a cell of linear density from `first` to `last` that holds `mass`."""
    slope = (last - first) / width
    root = np.sqrt(np.maximum(first**2 + 2 * slope * mass, 0))
    # 2 m / (f + root) is (root - f) / slope, without its cancellation where the slope is small
    return np.clip(2 * mass / np.where(first + root > 0, first + root, 1), 0, width)


def redshift_scores(draws: np.ndarray, z: np.ndarray) -> dict[str, float]:
    """Scores of draws (N, n) of redshifts whose truth is z (N,).

    With d = (median - z) / (1 + z), sigma_NMAD is 1.4826 median |d - median d|, and redshifts are off if
    |d| > 0.05. The CRPS is the fair one, which favours no number of draws. The interval of 68 % reaches
    from the draw of rank 0.16 (n + 1) to that of rank 0.84 (n + 1): it holds 68 % of the truths for any n, if
    the truth and the draws have one distribution. A galaxy without an answer counts as off and outside.
    """
    answered = np.isfinite(draws).all(1)
    known, truth = draws[answered], z[answered]
    d = (np.median(known, 1) - truth) / (1 + truth)
    low, high = np.quantile(known, (0.16, 0.84), axis=1, method="weibull")
    failed = np.count_nonzero(~answered)
    return {
        "sigma_nmad": float(1.4826 * np.median(np.abs(d - np.median(d)))),
        "off": float((np.count_nonzero(np.abs(d) > OFF) + failed) / len(z)),
        "crps": float(crps_ensemble(known.T, truth, np.ones(len(truth)))),
        "inside": float(np.count_nonzero((truth >= low) & (truth <= high)) / len(z)),
        "bias": float(np.median(d)),
        "unanswered": int(failed),
    }
