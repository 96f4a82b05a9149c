"""What a comparison costs before it starts: operations of its networks, at a rate that is stated."""

from typing import Any

import numpy as np
import torch

from pix2spec.data.dataset import Dataset
from pix2spec.data.schema import DatasetInfo
from pix2spec.models.presets import Preset
from pix2spec.models.registry import build_model
from pix2spec.paper.rows import sampling
from pix2spec.paper.work import Job
from pix2spec.runtime.random import BatchRng

__all__ = ["RATES", "generation_flops", "seconds_of", "training_flops"]

# Operations a second: what these networks reach of an NVIDIA A100 or H100 (assumed, not measured), and of
# one core of a server CPU (small networks, measured).
RATES = {"cuda": 2e13, "cpu": 5e10}
SCORING = 0.03  # seconds an object: metrics of 25 candidates on one core, measured
PICTURE = 0.03  # seconds of a core for ULISSE's features of one picture of 224 pixels, measured
BATCH = 2
_counted: dict[str, tuple[float, float]] = {}


def training_flops(preset: Preset, info: DatasetInfo) -> float:
    """Operations of all training steps of a preset: 0 for what is not trained in steps."""
    return _count(preset, info)[0]


def generation_flops(preset: Preset, info: DatasetInfo) -> float:
    """Operations of one pass of the denoiser for one candidate: 0 for other models."""
    return _count(preset, info)[1]


def _count(preset: Preset, info: DatasetInfo) -> tuple[float, float]:
    if not hasattr(preset, "train") or preset.task == "factorised":
        return 0.0, 0.0
    key = preset.model_dump_json(exclude={"train": {"seed"}})
    if key not in _counted:
        _counted[key] = _measure(preset, info)
    return _counted[key]


def _measure(preset: Any, info: DatasetInfo) -> tuple[float, float]:
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    with torch.random.fork_rng():
        if hasattr(preset, "encoder"):  # weights do not matter here: fetch none
            encoder = preset.encoder.model_copy(update={"pretrained": False})
            preset = preset.model_copy(update={"encoder": encoder})
        model = build_model(preset, info.grid, info.survey)
        size, bands = info.image_size, len(info.survey.photometry_bands)
        batch = {
            "image": np.ones((BATCH, len(info.survey.image_bands), size, size), np.float32),
            "flux": np.linspace(0, 1, BATCH * info.grid.size, dtype=np.float32).reshape(BATCH, -1),
            "ivar": np.ones((BATCH, info.grid.size), np.float32),
            "photometry": np.ones((BATCH, bands), np.float32),
            "photometry_ivar": np.ones((BATCH, bands), np.float32),
        }
        inputs = model.prepare(batch, info.image_kind or "linear", BatchRng(0), train=False)
        # Fused attention on a CPU is invisible to the counter; the plain one is not.
        with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
            model(**inputs).backward()
        step = counter.get_total_flops() / BATCH * preset.train.batch_size
        a_pass = 0.0
        if preset.task == "diffusion":
            with torch.no_grad():
                context = model.encode(inputs["known"])
            x, t = torch.zeros(BATCH, 1, info.grid.size), torch.zeros(BATCH, dtype=torch.long)
            with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
                model.denoiser(x, t, context)
            a_pass = counter.get_total_flops() / BATCH
    return step * preset.train.steps, a_pass


def seconds_of(job: Job, info: DatasetInfo, objects: int, known: dict[str, tuple[float, float]]) -> tuple:
    """Expected seconds of training and of scoring that a job still needs.

    Parameters
    ----------
    known : dict
        Hours of training and seconds of generation an object of finished seeds, by row.
    """
    rate = RATES["cuda" if torch.cuda.is_available() else "cpu"]
    left = objects - (objects if job.is_done else job.scored_objects())
    steps, total = job.trained_steps()
    undone = 0.0 if job.is_trained else 1 - steps / total if total else 1.0
    if job.row.name in known:
        hours, an_object = known[job.row.name]
        return 3600 * hours * undone, (an_object + SCORING) * left
    if job.row.preset is None:
        return 0.0, SCORING * left
    preset: Any = job.row.preset
    if getattr(preset, "features", "") == "network":
        network = preset.network
        a_picture = PICTURE * ((network.size or 224) / 224) ** 2
        a_picture *= RATES["cpu"] / rate
        return a_picture * len(Dataset(job.plan.data)) * undone, (a_picture + SCORING) * left
    generation = 0.0
    if preset.task == "diffusion":
        settings = sampling(preset, job.plan.scale, job.seed)
        passes = settings["n"] * settings.get("steps", preset.diffusion.timesteps)
        generation = generation_flops(preset, info) * passes / rate
    return training_flops(preset, info) / rate * undone, (generation + SCORING) * left
