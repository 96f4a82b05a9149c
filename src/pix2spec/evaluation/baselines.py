"""Simple methods that any generator has to beat: the mean spectrum, and the spectra of similar galaxies."""

from typing import Any

import numpy as np

from pix2spec.data.dataset import Dataset
from pix2spec.models.baselines.mean import MeanModel
from pix2spec.models.baselines.neighbours import NeighboursModel
from pix2spec.models.baselines.preset import MeanPreset, NeighboursPreset
from pix2spec.training.fit import fit_model

__all__ = ["MAX_TRAINING_GALAXIES", "feature_source", "mean_spectrum", "nearest_neighbours"]

CHECKED_OBJECTS = 256
MAX_TRAINING_GALAXIES = 20_000  # enough for a baseline, and quickly read


def feature_source(*sets: Dataset) -> str:
    """``"photometry"`` if most of the first galaxies of each set have it, else ``"image"``."""

    def has_photometry(dataset: Dataset) -> bool:
        rows = np.arange(min(len(dataset), CHECKED_OBJECTS))
        ivar = dataset.batch(rows, ["photometry_ivar"])["photometry_ivar"]
        return (ivar > 0).any(1).mean() > 0.5

    return "photometry" if all(map(has_photometry, sets)) else "image"


def mean_spectrum(train: Dataset, limit: int = MAX_TRAINING_GALAXIES) -> MeanModel:
    """The mean spectrum of at most `limit` pairs of `train`."""
    return fit_model(MeanPreset(task="mean", name="mean-spectrum", about="", limit=limit), train)[0]


def nearest_neighbours(
    train: Dataset, source: str | None = None, k: int = 25, limit: int = MAX_TRAINING_GALAXIES
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
