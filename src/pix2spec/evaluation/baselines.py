"""What any generator has to beat: the mean spectrum, and the spectra of look-alikes."""

from typing import Any

import numpy as np

from pix2spec.data.dataset import Dataset
from pix2spec.models.baselines.mean import MeanModel
from pix2spec.models.baselines.neighbours import NeighboursModel
from pix2spec.models.baselines.preset import MeanPreset, NeighboursPreset
from pix2spec.training.fit import fit_model

__all__ = ["LIMIT", "feature_source", "mean_spectrum", "nearest_neighbours"]

FIRST = 256
LIMIT = 20_000  # training pairs: enough for a floor, and quickly read


def feature_source(*sets: Dataset) -> str:
    """``"photometry"`` if the first pairs of all `sets` have it, else ``"image"``."""
    first = [s.batch(np.arange(min(len(s), FIRST)), ["photometry_ivar"])["photometry_ivar"] for s in sets]
    return "photometry" if all((ivar > 0).any(1).mean() > 0.5 for ivar in first) else "image"


def mean_spectrum(train: Dataset, limit: int = LIMIT) -> MeanModel:
    """The mean spectrum of at most `limit` pairs of `train`."""
    return fit_model(MeanPreset(task="mean", name="mean-spectrum", about="", limit=limit), train)[0]


def nearest_neighbours(
    train: Dataset, source: str | None = None, k: int = 25, limit: int = LIMIT
) -> NeighboursModel:
    """The k nearest of at most `limit` pairs of `train`: an empirical conditional distribution.

    `source` is ``"photometry"`` (colours and a magnitude) or ``"image"`` (aperture colours and sizes); by
    default, what `train` has.
    """
    features: Any = source or feature_source(train)
    preset = NeighboursPreset(
        task="neighbours", name="neighbours", about="", features=features, k=k, limit=limit
    )
    return fit_model(preset, train)[0]
