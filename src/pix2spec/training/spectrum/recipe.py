"""Train the networks of the default model, each without some folds of the real galaxies."""

import math
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from pix2spec.models.latent.flow import logit_normal
from pix2spec.models.spectrum.bands import BandTables
from pix2spec.models.spectrum.network import SpectrumNetwork
from pix2spec.training.redshift.samples import VARIED, Samples
from pix2spec.training.spectrum.lent_pictures import Pictures
from pix2spec.training.spectrum.sources import Vectors
from pix2spec.training.spectrum.steps import train_steps

__all__ = [
    "ONE_CORE",
    "SHARES",
    "VARIETY",
    "Machine",
    "flow_loss",
    "rate_of",
    "train_network",
]

# Galaxies of each sample in a step; every third step has narrow bands.
SHARES = {"simulated": 112, "simulated_total": 32, "spectra": 48, "moved": 32, "atlas": 16, "fors2": 16}
SHARES |= {"spectra_sdss": 6, "spectra_mgs": 2}
LEVELS = 4  # noise levels of each galaxy in a step
RATE = 4e-3
PICTURES = 0.6  # probability that a picture is seen where there is one
BLIND = 0.02  # probability that no measurement is seen
# The dust in front of spectra and fluxes is one and the same here, whatever is said about it.
VARIETY = replace(VARIED, dust=0.0)


@dataclass(frozen=True)
class Machine:
    """On what, how, and how long to train. The default is one core, until the last step."""

    device: str = "cpu"
    batch: int = 1  # factor of the galaxies in a step
    bfloat16: bool = False  # for the networks; the linear answers keep their precision
    compiled: bool = False
    until: float = math.inf  # time.time() after which only one step is done: the checkpoint is the result

    def is_late(self) -> bool:
        """Whether the time is over."""
        return time.time() >= self.until

    def shares(self, shares: dict[str, int], samples: Samples) -> dict[str, int]:
        """Galaxies of each sample that exists in a step."""
        return {name: n * self.batch for name, n in shares.items() if name in samples.names}

    def autocast(self):
        """Context in which networks compute."""
        return torch.autocast(self.device, torch.bfloat16, enabled=self.bfloat16)


ONE_CORE = Machine()


def rate_of(step: int, steps: int, peak: float = RATE) -> float:
    """Learning rate: a warm-up, and half a cosine."""
    return peak * min(1, (step + 1) / 200) * 0.5 * (1 + math.cos(math.pi * step / steps)) + 1e-6


def train_network(
    network: SpectrumNetwork, tables: BandTables, samples: Samples, vectors: Vectors, pictures: Pictures,
    out: Path, steps: int, seed: int, report=print, shares: dict[str, int] = SHARES, of: int | None = None,
    machine: Machine = ONE_CORE, rate: float = RATE,
) -> Path:  # fmt: skip
    """Train the galaxy network and the flow; continue where a killed training stopped.

    Parameters
    ----------
    network : SpectrumNetwork
        With a fitted basis and scale of coefficients.
    tables : BandTables
        Of the network, in the filters of the samples.
    samples : Samples
        Without the folds that the network must not see.
    vectors : Vectors
        Of all galaxies of the samples.
    pictures : Pictures
        Of all galaxies of the samples.
    out : Path
        Folder of the checkpoint.
    steps, seed : int
        A step depends on the seed and its number alone.
    shares : dict of str to int
        Galaxies of each sample in a step.
    of : int, optional
        Steps of the whole training, if it is to stop before its end.
    machine : Machine
        Network, tables, samples and vectors are moved to its device.
    rate : float
        The largest learning rate.
    """
    pictures = pictures.to(machine.device)
    for part in (network, tables, samples, vectors):
        part.to(machine.device)
    trained = torch.nn.ModuleList([network.galaxy, network.flow])
    shares = machine.shares(shares, samples)
    loss_of = torch.compile(velocity_loss) if machine.compiled else velocity_loss

    def loss(step: int) -> torch.Tensor:
        rng = np.random.default_rng([seed, step])
        with torch.device(machine.device):
            drawn = network, tables, samples, vectors, pictures
            inputs, measured = _batch(*drawn, step % 3 == 2, rng, shares)
        with machine.autocast():
            return loss_of(network.flow, network.galaxy(*measured), *inputs)

    def rate_at(step: int) -> float:
        return rate_of(step, of or steps, rate)

    return train_steps(trained, loss, rate_at, out, steps, seed, machine.is_late, report)


def _batch(network, tables, samples, vectors, pictures, narrow: bool, rng, shares) -> tuple:
    """Arguments of `velocity_loss`, but for the condition; and those of the galaxy network."""
    tokens, index, rows = samples.draw_rows(shares, narrow, rng, VARIETY)
    tokens.seen = tokens.seen & (torch.rand(len(rows), 1) >= BLIND)
    vector, r = vectors.draw(rows)
    zeta = torch.log10(1 + samples.z[rows])
    image, has_image = pictures.draw(rows, PICTURES)
    return noisy(network, tokens, index, tables, zeta, vector, r), (tokens, image, has_image)


def flow_loss(network, tokens, index, tables, zeta, vector, r, image, has_image) -> torch.Tensor:
    """Loss of a rectified flow (arXiv:2209.03003), averaged over `LEVELS` noise levels for each galaxy.

    Parameters
    ----------
    network, tokens, index, tables, zeta, vector, r
        As for `noisy`.
    image, has_image : tensor (n, width), (n,)
        Vectors of pictures, and which are seen.
    """
    inputs = noisy(network, tokens, index, tables, zeta, vector, r)
    return velocity_loss(network.flow, network.galaxy(tokens, image, has_image), *inputs)


@torch.no_grad()
def noisy(network, tokens, index, tables, zeta, vector, r) -> tuple[torch.Tensor, ...]:
    """Noisy coefficients of galaxies, and what is known of them.

    Parameters
    ----------
    network : SpectrumNetwork
    tokens : Tokens
        Measurements of n galaxies.
    index : tensor (n, K), int
        Their filters, by number in `tables`.
    tables : BandTables
    zeta : tensor (n,)
        log10(1 + z).
    vector : tensor (n, D)
        Coefficient vectors with anything in the first place.
    r : tensor (n,)
        r fluxes of the spectra; NaN where an amplitude is not known, which then does not count.

    Returns
    -------
    tuple of tensor
        The last arguments of `velocity_loss`, for B = n x `LEVELS` noise levels.
    """
    known = network.known(tokens, index, tables, zeta)
    amplitude = torch.nan_to_num(torch.log10(r / known.r))
    x0 = network.normal(torch.cat([amplitude[:, None], vector[:, 1:]], 1)).clamp(-5, 5)
    weight = torch.ones(len(zeta), 1, network.dimension)
    weight[:, 0, 0] = torch.isfinite(r).float()
    repeat = torch.arange(len(zeta)).repeat(LEVELS)
    sigma = logit_normal(torch.randn(len(repeat)))
    noise = torch.randn(len(repeat), 1, network.dimension)
    x = (1 - sigma[:, None, None]) * x0[repeat, None] + sigma[:, None, None] * noise
    return x, sigma, noise - x0[repeat, None], weight, repeat, known.features, known.mean, known.spread


def velocity_loss(flow, condition, x, sigma, wanted, weight, repeat, features, mean, spread) -> torch.Tensor:
    """Weighted squared error of the velocity, averaged over a batch.

    Parameters
    ----------
    flow : SpectrumFlow
    condition : tensor (n, width)
        From the galaxy network.
    x, wanted : tensor (B, 1, D)
        Noisy coefficients, and their velocities.
    sigma, repeat : tensor (B,)
        Noise levels, and numbers of the galaxies.
    weight : tensor (n, 1, D)
        0 for coefficients that do not count.
    features : tensor (n, C)
    mean, spread : tensor (n, D)
        The linear answers.
    """
    known, modulation = flow.known(features), flow.modulate(condition[repeat], sigma)
    centre = mean[repeat, None], spread[repeat, None]
    velocity = flow(x, sigma, known[repeat, None], modulation, *centre)
    return ((velocity - wanted).square() * weight[repeat]).mean()
