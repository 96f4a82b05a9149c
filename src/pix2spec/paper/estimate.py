"""Estimate the time of a comparison from one training step of each network on this machine."""

import time
from typing import Any

import numpy as np
import torch

from pix2spec.data.schema import DatasetInfo
from pix2spec.models.registry import build_model
from pix2spec.paper.rows import sampling
from pix2spec.paper.work import Job
from pix2spec.runtime.random import BatchRng
from pix2spec.training.validation import to_device

__all__ = ["BATCH", "example_step", "expected_seconds", "seconds_a_sample"]

BATCH = 4  # galaxies in the training step that is timed


def expected_seconds(job: Job, info: DatasetInfo, objects: int) -> float:
    """Estimate the seconds that a job still needs to train its network and to sample its candidates.

    A pass of a denoiser without gradients counts as a third of a training step. The fit of methods without
    training steps and the scoring do not count, because they take minutes.

    Parameters
    ----------
    job : Job
        The job.
    info : DatasetInfo
        Metadata of the training data.
    objects : int
        Number of test galaxies to generate, 0 for a network that only ranks candidates.
    """
    preset: Any = job.row.preset
    if not hasattr(preset, "train") or preset.task == "factorised":
        return 0.0
    samples = 0.0 if job.is_trained else preset.train.steps * preset.train.batch_size
    if preset.task == "diffusion" and not job.is_done:
        settings = sampling(preset, job.plan.scale, job.seed)
        samples += objects * settings["n"] * settings.get("steps", preset.diffusion.timesteps) / 3
    return samples * seconds_a_sample(preset, info) if samples else 0.0


def example_step(preset: Any, info: DatasetInfo, device: str = "cpu") -> tuple[torch.nn.Module, dict]:
    """Make a preset's network with random weights, and inputs for a training step of `BATCH` galaxies."""
    if hasattr(preset, "encoder"):  # avoid the download of pretrained weights
        encoder = preset.encoder.model_copy(update={"pretrained": False})
        preset = preset.model_copy(update={"encoder": encoder})
    size, bands = info.image_size, len(info.survey.photometry_bands)
    batch = {
        "image": np.ones((BATCH, len(info.survey.image_bands), size, size), np.float32),
        "flux": np.linspace(0, 1, BATCH * info.grid.size, dtype=np.float32).reshape(BATCH, -1),
        "ivar": np.ones((BATCH, info.grid.size), np.float32),
        "photometry": np.ones((BATCH, bands), np.float32),
        "photometry_ivar": np.ones((BATCH, bands), np.float32),
    }
    with torch.random.fork_rng():
        model = build_model(preset, info.grid, info.survey).to(device)
    inputs = model.prepare(batch, info.image_kind or "linear", BatchRng(0), train=False)
    return model, to_device(inputs, device)


def seconds_a_sample(preset: Any, info: DatasetInfo) -> float:
    """Measure the seconds per galaxy of a training step of `BATCH` galaxies on this machine."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model, inputs = example_step(preset, info, device)
    seconds = 0.0
    for _ in range(2):  # time the second step, because the first one also initialises libraries
        start = time.perf_counter()
        with torch.random.fork_rng():
            model(**inputs).backward()
        if device == "cuda":
            torch.cuda.synchronize()
        seconds = time.perf_counter() - start
    return seconds / BATCH
