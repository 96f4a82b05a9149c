"""Train what the default model says of pictures: redshifts, and which spectrum belongs to a galaxy.

Simulated galaxies alone have linear pictures and spectra.
"""

from pathlib import Path

import numpy as np
import torch

from pix2spec.models.redshift.posterior import to_y
from pix2spec.models.spectrum.model import PictureNetwork
from pix2spec.models.spectrum.network import SpectrumNetwork
from pix2spec.training.redshift.samples import Samples
from pix2spec.training.spectrum.recipe import (
    ONE_CORE,
    PICTURES,
    VARIETY,
    Machine,
    rate_of,
)
from pix2spec.training.spectrum.sources import Vectors
from pix2spec.training.spectrum.steps import train_steps

__all__ = ["train_pictures"]

SHARES = {"simulated": 256}
RANKED, RANK_EVERY = 96, 2  # spectra that are compared, every second step


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

    def loss(step: int) -> torch.Tensor:
        return _loss(judge, network, samples, vectors, pictures, step, seed)

    def rate_at(step: int) -> float:
        return rate_of(step, steps)

    return train_steps(judge, loss, rate_at, out, steps, seed, machine.is_late, report)


def _loss(judge, network, samples, vectors, pictures, step: int, seed: int) -> torch.Tensor:
    """Negative log likelihood of redshifts, and the contrastive loss (paper, Eq. 3) every second step."""
    tokens, _, rows = samples.draw_rows(SHARES, False, np.random.default_rng([seed, step]), VARIETY)
    image, has_image = pictures.draw(rows, (1 + PICTURES) / 2)
    condition = judge.galaxy(tokens, image, has_image)
    loss = judge.surprise(condition, to_y(samples.z[rows]))
    if step % RANK_EVERY:
        return loss
    some = rows[:RANKED]
    vector, r = vectors.draw(some)
    generators = [torch.Generator().manual_seed(7919 * step + k) for k in range(len(some))]
    with torch.no_grad():
        clean = network.spectra(vector, torch.log10(1 + samples.z[some]), r)
        observed = clean + network.noise.sample(clean, generators)
    return loss + 0.1 * judge.ranker(condition[:RANKED].detach(), observed)
