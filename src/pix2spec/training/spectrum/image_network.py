"""Train the network that turns pictures into vectors: which vectors tell redshifts and spectra best.

It learns from pictures by a steady and by an unruly camera alike, with fluxes beside the picture or without.
"""

from pathlib import Path

import numpy as np
import torch
from torch import nn

from pix2spec.models.redshift.posterior import to_y
from pix2spec.models.spectrum.model import PictureNetwork
from pix2spec.models.spectrum.network import SpectrumNetwork
from pix2spec.training.redshift.samples import Samples
from pix2spec.training.spectrum.picture_bank import VIEWS, PictureBank
from pix2spec.training.spectrum.recipe import ONE_CORE, VARIETY, Machine, rate_of
from pix2spec.training.spectrum.sources import Vectors
from pix2spec.training.spectrum.steps import train_steps

__all__ = ["ImageTask", "train_camera", "train_image_network"]

BATCH, PLAIN = 192, 0.5  # galaxies of a step; share of those whose fluxes are not seen
RATE = 2e-3
LOG_SD = -4.0, 1.5  # of normal scores
BRIGHTNESS = 1.5, 0.4  # mean and scatter of log10 of the r flux in the fibre, nanomaggies


class ImageTask(nn.Module):
    """An image network, and what its vectors must tell: redshift, coefficients, brightness in the fibre."""

    def __init__(self, encoder: nn.Module, judge: PictureNetwork, width: int, dimension: int):
        super().__init__()
        self.encoder, self.judge = encoder, judge
        self.coefficients = nn.Sequential(nn.SiLU(), nn.Linear(width, 2 * dimension))

    def loss(self, images, lossy, tokens, y: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Negative log likelihood of redshifts y (n,), and of normal scores (n, D)."""
        seen = torch.ones(len(images), dtype=torch.bool)
        condition = self.judge.galaxy(tokens, self.encoder(images, lossy), seen)
        redshift = self.judge.surprise(condition, y)
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
    number = torch.full((int(bank.rows.max()) + 1,), -1)
    number[torch.from_numpy(bank.rows)] = torch.arange(len(bank.rows))
    samples.rows["simulated"] = torch.from_numpy(bank.rows)

    def loss(step: int) -> torch.Tensor:
        rng = np.random.default_rng([91, step])
        tokens, _, rows = samples.draw_rows({"simulated": BATCH}, False, rng, VARIETY)
        tokens.seen = tokens.seen & (torch.rand(BATCH, 1) >= PLAIN)
        images, lossy = bank.draw(VIEWS[step % len(VIEWS)], number[rows].numpy(), rng)
        vector, r = vectors.draw(rows)
        scores = network.normal(vector).clamp(-5, 5)
        scores[:, 0] = (torch.log10(r) - BRIGHTNESS[0]) / BRIGHTNESS[1]
        return task.loss(images, lossy, tokens, to_y(samples.z[rows]), scores)

    def rate_at(step: int) -> float:
        return rate_of(step, of or steps, RATE)

    return train_steps(task, loss, rate_at, out, steps, 0, machine.is_late, report)


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
