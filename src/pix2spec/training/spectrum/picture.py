"""Train what the default model says of pictures: redshifts, and which spectrum belongs to a galaxy.

Simulated galaxies alone have linear pictures and spectra.
"""

from pathlib import Path

import numpy as np
import torch
from torch.optim.swa_utils import AveragedModel

from pix2spec.models.redshift.posterior import to_y
from pix2spec.models.spectrum.model import PictureNetwork
from pix2spec.models.spectrum.network import SpectrumNetwork
from pix2spec.training.checkpoint import load_checkpoint, save_checkpoint
from pix2spec.training.redshift.optimizer import MuonAdam
from pix2spec.training.redshift.samples import Samples
from pix2spec.training.spectrum.recipe import (
    ONE_CORE,
    PICTURES,
    VARIETY,
    Machine,
    moving_average,
    rate_of,
)
from pix2spec.training.spectrum.sources import Vectors

__all__ = ["train_pictures"]

SHARES = {"simulated": 256}
RANKED, RANK_EVERY = 96, 2  # spectra that are compared, every second step
RATE, DECAY = 4e-3, 1e-3  # the first, for `MuonAdam`, before the schedule sets it
CHECKPOINT_STEPS = 250


def train_pictures(
    judge: PictureNetwork, network: SpectrumNetwork, samples: Samples, vectors: Vectors, pictures, out: Path,
    steps: int, seed: int, report=print, machine: Machine = ONE_CORE,
) -> Path:  # fmt: skip
    """Train a `PictureNetwork`; continue where a killed training stopped.

    Parameters
    ----------
    judge : PictureNetwork
    network : SpectrumNetwork
        Trained; decodes the spectra of `vectors`, and adds noise.
    samples, vectors, pictures
        As for `pix2spec.training.spectrum.recipe.train_network`.
    out : Path
        Folder of the checkpoint.
    steps, seed : int
        A step depends on the seed and its number alone.
    machine : Machine
        Only its time counts: these networks are small.
    """
    out.mkdir(parents=True, exist_ok=True)
    average = AveragedModel(judge, multi_avg_fn=moving_average)
    optimizer = MuonAdam(judge.parameters(), lr=RATE, weight_decay=DECAY)
    step, seconds = 0, 0.0
    if (out / "checkpoint.safetensors").exists():
        step, seconds = load_checkpoint(out / "checkpoint.safetensors", judge, average, optimizer)
    judge.train()
    running, first = 0.0, step
    while step < steps and not (machine.is_late() and step > first):
        torch.manual_seed(seed * 1_000_003 + step)
        for group in optimizer.param_groups:
            group["lr"] = rate_of(step, steps)
        loss = _loss(judge, network, samples, vectors, pictures, step, seed)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(judge.parameters(), 1.0)
        optimizer.step()
        average.update_parameters(judge)
        step += 1
        running += 0.01 * (loss.item() - running)
        if step % 250 == 0:
            report(f"{out.name} step {step} loss {running:.4f}")
        if step == steps or machine.is_late() or step % CHECKPOINT_STEPS == 0:
            save_checkpoint(out, judge, average, optimizer, step, seconds)
    return out / "checkpoint.safetensors"


def _loss(judge, network, samples, vectors, pictures, step: int, seed: int) -> torch.Tensor:
    """Negative log likelihood of redshifts, and the contrastive loss (paper, Eq. 3) every second step."""
    tokens, _, rows = samples.draw_rows(SHARES, False, np.random.default_rng([seed, step]), VARIETY)
    image, has_image = pictures.draw(rows, (1 + PICTURES) / 2)
    condition = judge.galaxy(tokens, image, has_image)
    weight, mean, log_sd = judge.mixture(condition)
    deviation = (to_y(samples.z[rows])[:, None] - mean) * torch.exp(-log_sd)
    loss = -torch.logsumexp(weight - log_sd - 0.5 * deviation**2, 1).mean()
    if step % RANK_EVERY:
        return loss
    some = rows[:RANKED]
    vector, r = vectors.draw(some)
    generators = [torch.Generator().manual_seed(7919 * step + k) for k in range(len(some))]
    with torch.no_grad():
        clean = network.spectra(vector, torch.log10(1 + samples.z[some]), r)
        observed = clean + network.noise.sample(clean, generators)
    return loss + 0.1 * judge.ranker(condition[:RANKED].detach(), observed)
