"""Train the network that turns pictures into vectors: which vectors tell redshifts and spectra best.

It learns from pictures by a steady and by an unruly camera alike, with fluxes beside the picture or without.
"""

import time
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from pix2spec.models.redshift.posterior import to_y
from pix2spec.models.spectrum.model import PictureNetwork
from pix2spec.models.spectrum.network import SpectrumNetwork
from pix2spec.training.checkpoint import load_checkpoint, save_checkpoint
from pix2spec.training.redshift.optimizer import MuonAdam
from pix2spec.training.redshift.samples import Samples
from pix2spec.training.spectrum.picture_bank import VIEWS, PictureBank
from pix2spec.training.spectrum.recipe import ONE_CORE, VARIETY, Machine, moving_average, rate_of
from pix2spec.training.spectrum.sources import Vectors

__all__ = ["ImageTask", "train_camera", "train_image_network"]

BATCH, PLAIN = 192, 0.5  # galaxies of a step; share of those whose fluxes are not seen
RATE, DECAY = 2e-3, 1e-3
CHECKPOINT_STEPS = 250
LOG_SD = -4.0, 1.5  # of normal scores
BRIGHTNESS = 1.5, 0.4  # mean and scatter of log10 of the r flux in the fibre, nanomaggies


class ImageTask(nn.Module):
    """An image network, and what its vectors must tell: redshift, coefficients, brightness in the fibre."""

    def __init__(self, encoder: nn.Module, judge: PictureNetwork, width: int, dimension: int):
        super().__init__()
        self.encoder, self.galaxy, self.redshift = encoder, judge.galaxy, judge.redshift
        self.coefficients = nn.Sequential(nn.SiLU(), nn.Linear(width, 2 * dimension))
        self.judge = [judge]  # not a part of its own

    def loss(self, images, lossy, tokens, y: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Negative log likelihood of redshifts y (n,), and of normal scores (n, D)."""
        seen = torch.ones(len(images), dtype=torch.bool)
        condition = self.galaxy(tokens, self.encoder(images, lossy), seen)
        weight, mean, log_sd = self.judge[0].mixture(condition)
        deviation = (y[:, None] - mean) * torch.exp(-log_sd)
        redshift = -torch.logsumexp(weight - log_sd - 0.5 * deviation**2, 1).mean()
        mean, log_sd = self.coefficients(condition).chunk(2, 1)
        log_sd = log_sd.clamp(*LOG_SD)
        return redshift + (log_sd + 0.5 * ((scores - mean) * torch.exp(-log_sd)) ** 2).mean()


def train_image_network(
    task: ImageTask, network: SpectrumNetwork, samples: Samples, vectors: Vectors, bank: PictureBank,
    out: Path, steps: int, report=print, machine: Machine = ONE_CORE, of: int | None = None,
) -> Path:  # fmt: skip
    """Train an image network; continue where a killed training stopped.

    Parameters
    ----------
    task : ImageTask
    network : SpectrumNetwork
        Whose normal scores the vectors must tell.
    samples, vectors
        As for `pix2spec.training.spectrum.recipe.train_network`.
    bank : PictureBank
        Of the sample ``simulated``.
    out : Path
        Folder of the checkpoint.
    steps : int
        A step depends on its number alone.
    machine : Machine
        Only its time counts.
    of : int, optional
        Steps of the whole training, if it is to stop before its end.
    """
    out.mkdir(parents=True, exist_ok=True)
    average = AveragedModel(task, multi_avg_fn=moving_average)
    optimizer = MuonAdam(task.parameters(), lr=RATE, weight_decay=DECAY)
    step, seconds = 0, 0.0
    if (out / "checkpoint.safetensors").exists():
        step, seconds = load_checkpoint(out / "checkpoint.safetensors", task, average, optimizer)
    task.train()
    running, first, began = 0.0, step, time.monotonic()
    number = torch.full((int(bank.rows.max()) + 1,), -1)
    number[torch.from_numpy(bank.rows)] = torch.arange(len(bank.rows))
    samples.rows["simulated"] = torch.from_numpy(bank.rows)
    while step < steps and not (machine.is_late() and step > first):
        torch.manual_seed(step)
        for group in optimizer.param_groups:
            group["lr"] = rate_of(step, of or steps, RATE)
        rng = np.random.default_rng([91, step])
        tokens, _, rows = samples.draw_rows({"simulated": BATCH}, False, rng, VARIETY)
        tokens.seen = tokens.seen & (torch.rand(BATCH, 1) >= PLAIN)
        images, lossy = bank.draw(VIEWS[step % len(VIEWS)], number[rows].numpy(), rng)
        vector, r = vectors.draw(rows)
        scores = network.normal(vector).clamp(-5, 5)
        scores[:, 0] = (torch.log10(r) - BRIGHTNESS[0]) / BRIGHTNESS[1]
        loss = task.loss(images, lossy, tokens, to_y(samples.z[rows]), scores)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(task.parameters(), 1.0)
        optimizer.step()
        average.update_parameters(task)
        step += 1
        running += (loss.item() - running) / min(100, step - first)
        if step % 100 == 0:
            report(f"{out.name} step {step} loss {running:.4f} {seconds + time.monotonic() - began:.0f} s")
        if step == steps or machine.is_late() or step % CHECKPOINT_STEPS == 0:
            save_checkpoint(out, task, average, optimizer, step, seconds + time.monotonic() - began)
    return out / "checkpoint.safetensors"


def train_camera(camera: nn.Sequential, vectors: torch.Tensor, steps: int) -> None:
    """Teach the network that tells pictures of the simulated survey from those of the unruly camera.

    Parameters
    ----------
    camera : Sequential
        From vectors (n, width) to logits (n, 1).
    vectors : tensor (views, M, width)
        Of the views `VIEWS`; zero where there is no picture.
    steps : int
    """
    torch.manual_seed(0)
    linear = [k for k, view in enumerate(VIEWS) if view != "composite"]
    known = vectors[:, (vectors[0] != 0).any(1)].float()
    x = known[linear].flatten(0, 1)
    centre, scale = x.mean(0), x.std(0).clamp(min=1e-4)
    optimizer = torch.optim.AdamW(camera.parameters(), lr=1e-3)
    for _ in range(steps):
        steady = known[torch.randint(2, (BATCH,)), torch.randint(known.shape[1], (BATCH,))]
        unruly = known[VIEWS.index("unruly"), torch.randint(known.shape[1], (BATCH,))]
        logits = camera((torch.cat([steady, unruly]) - centre) / scale)[:, 0]
        truth = (torch.arange(len(logits)) < BATCH).float()
        loss = nn.functional.binary_cross_entropy_with_logits(logits, truth)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():  # the first layer takes vectors as they are
        camera[0].weight /= scale
        camera[0].bias -= camera[0].weight @ centre
