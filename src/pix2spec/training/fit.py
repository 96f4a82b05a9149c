"""Fit methods that need one pass over the training set instead of a training loop.

`train` calls `fit` for presets of the tasks mean, neighbours and regressor. The run folder holds
``preset.yaml`` from the start, and the model when the fit is complete.
"""

import time
from pathlib import Path

import torch

from pix2spec.data.dataset import Dataset
from pix2spec.models.baselines.preset import HUB_OR_PACKAGE, NeighboursPreset, RegressorPreset
from pix2spec.models.presets import Preset
from pix2spec.models.registry import build_model
from pix2spec.models.shared.hub import FEATURES
from pix2spec.models.spectrum.preset import SpectrumPreset
from pix2spec.models.storage import WEIGHTS, find_model, load_model, save_model, save_weights
from pix2spec.runtime.provenance import run_provenance
from pix2spec.training.spectrum.adapt import adapt

__all__ = ["fit", "fit_model"]


def fit_model(preset: Preset, dataset: Dataset, progress: bool = False):
    """Fit the model of `preset` to all galaxies of `dataset` that have a spectrum.

    Parameters
    ----------
    preset : Preset
        Of the task mean, neighbours or regressor.
    dataset : Dataset
        The training set.
    progress : bool
        Show a progress bar.

    Returns
    -------
    model : MeanModel, NeighboursModel or RegressorModel
        Its preset also records values that the given preset left open: the kind of image, the weights
        of the feature network and their SHA-256.
    count : int
        Number of spectra that the model was fitted to.
    """
    if isinstance(preset, SpectrumPreset):
        return adapt(load_model(find_model(preset.start))[0], dataset, progress)
    if isinstance(preset, NeighboursPreset | RegressorPreset) and preset.image is None:
        preset = preset.model_copy(update={"image": dataset.info.image_kind})
    model = build_model(preset, dataset.info.grid, dataset.info.survey)
    if isinstance(preset, NeighboursPreset) and preset.features == "network":
        found = model.features.open("cuda" if torch.cuda.is_available() else "cpu")
        model.preset = preset.model_copy(update={"network": found})
    return model.eval(), model.fit(dataset, progress)


def fit(preset: Preset, dataset: Dataset, out: Path, progress: bool = True) -> Path:
    """Fit the model of `preset` to `dataset` and write the run folder `out`.

    A folder that already holds weights is complete and stays as it is.

    Returns
    -------
    Path
        `out`.
    """
    if (out / WEIGHTS).exists():
        return out
    began = time.monotonic()
    model, count = fit_model(preset, dataset, progress)
    record = {
        "trained_on": f"{count} pairs of {dataset.path}",
        "images": dataset.info.image_kind,
        "data": dataset.info.provenance,
        "hours": round((time.monotonic() - began) / 3600, 3),
        **run_provenance(),
    }
    network = getattr(model.preset, "network", None)
    if network is not None and network.sha256:
        if network.weights not in HUB_OR_PACKAGE:  # a config.json may name no file outside its folder
            save_weights(out / FEATURES, model.features.network)
            network = network.model_copy(update={"weights": FEATURES})
            model.preset = model.preset.model_copy(update={"network": network})
        record["network"] = f"{network.arch}, weights from {network.weights}, SHA-256 {network.sha256}"
    save_model(out, model.cpu(), record)
    return out
