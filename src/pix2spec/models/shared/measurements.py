"""Sets of measurements in any filters, and the network that reads them.

A measurement becomes a *token*: the wavelength and width of its filter, its brightness relative to the other
measurements of the galaxy, its error and its kind. A small network turns each token into scores and values;
softmax weightings over the galaxy's tokens pool the values. The result does not depend on the order of the
measurements or on their number.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

__all__ = ["EXTINCTION_STATES", "KIND_GROUPS", "MeasurementTable", "SetEncoder", "Tokens"]

# Kinds that enclose nearly the same light are one kind for the network. A PSF magnitude of a galaxy is none
# of the others.
KIND_GROUPS = {
    "fibre": 0, "model": 1, "cmodel": 1, "petrosian": 1, "kron": 1, "total": 1, "aperture": 2, "psf": 3, "unknown": 3,
}  # fmt: skip
EXTINCTION_STATES = ("observed", "dereddened", "unknown")
PERIODS = np.geomspace(6.0, 0.012, 15)  # of ln(wavelength)
ERROR_LIMITS = 1e-3, 30.0  # relative to the galaxy's level
SOFT_ERROR = 0.02  # relative error below which measurements weigh alike in the galaxy's level
KNEE = 0.1  # flux relative to the level below which brightness is linear in flux


@dataclass
class MeasurementTable:
    """Measurements of N galaxies in the same K filters.

    Parameters
    ----------
    flux, error : array (N, K)
        Nanomaggies. A flux that is NaN, or an error that is not positive, is not measured.
    centre, width : array (K,)
        Mean wavelength and rms width of the filters' response, in Angstrom.
    kind : str or sequence of str (K,)
        Some of `pix2spec.core.filters.KINDS`.
    extinction : str
        One of `EXTINCTION_STATES`.
    """

    flux: np.ndarray
    error: np.ndarray
    centre: np.ndarray
    width: np.ndarray
    kind: str | Sequence[str] = "unknown"
    extinction: str = "unknown"

    def __len__(self) -> int:
        return len(self.flux)

    def tokens(self) -> "Tokens":
        """The same as tensors."""
        n, k = np.shape(self.flux)
        kinds = [self.kind] * k if isinstance(self.kind, str) else self.kind
        seen = np.isfinite(self.flux) & np.isfinite(self.error) & (np.nan_to_num(self.error) > 0)

        def tensor(values, missing):
            values = np.where(seen, np.broadcast_to(values, (n, k)), missing)
            return torch.from_numpy(values.astype(np.float32))

        groups = torch.tensor([KIND_GROUPS[name] for name in kinds]).expand(n, k)
        state = torch.full((n,), EXTINCTION_STATES.index(self.extinction))
        every = torch.from_numpy(seen)
        return Tokens(
            tensor(self.flux, 0), tensor(self.error, 1), tensor(self.centre, 5000), tensor(self.width, 500),
            every, groups, state,
        )  # fmt: skip


@dataclass
class Tokens:
    """Measurements of N galaxies as tensors: K is the largest number that a galaxy of the batch has."""

    flux: torch.Tensor  # (N, K) float32, nanomaggies
    error: torch.Tensor  # (N, K) float32, nanomaggies
    centre: torch.Tensor  # (N, K) float32, Angstrom
    width: torch.Tensor  # (N, K) float32, Angstrom
    seen: torch.Tensor  # (N, K) bool
    kind: torch.Tensor  # (N, K) int64, values of KIND_GROUPS
    extinction: torch.Tensor  # (N,) int64, an index of EXTINCTION_STATES

    def __len__(self) -> int:
        return len(self.flux)

    def __getitem__(self, rows) -> "Tokens":
        return Tokens(*(values[rows] for values in vars(self).values()))

    def to(self, device) -> "Tokens":
        """The same on another device."""
        return Tokens(*(values.to(device) for values in vars(self).values()))


def filter_features(centre: torch.Tensor, width: torch.Tensor) -> torch.Tensor:
    """Features (..., 31) of filters: sines and cosines of ln(centre), and ln(width)."""
    frequency = torch.tensor(2 * np.pi / PERIODS, dtype=torch.float32, device=centre.device)
    phase = torch.log(centre)[..., None] * frequency
    return torch.cat([phase.sin(), phase.cos(), torch.log(width)[..., None] / 2 - 2.5], -1)


FEATURES = 2 * len(PERIODS) + 1


class SetEncoder(nn.Module):
    """A network from a set of measurements to a vector.

    Parameters
    ----------
    outputs : int
        Length of the vector.
    queries, values : int
        Number of softmax weightings, and of the values that each of them pools.
    width : int
        Width of the layers after the pooling.
    dropout : float
        Probability that training drops a hidden value.
    """

    def __init__(self, outputs: int, queries: int = 32, values: int = 32, width: int = 320, dropout: float = 0.0):
        super().__init__()
        self.queries = queries
        self.filter = nn.Linear(FEATURES, 96)
        self.light = nn.Linear(3 + 4 + 3, 96)
        self.token = nn.Sequential(nn.SiLU(), nn.Linear(96, 96), nn.SiLU(), nn.Linear(96, queries + values))
        self.out = nn.Sequential(
            nn.Linear(queries * values + queries + 5, width), nn.SiLU(),
            nn.Linear(width, 256), nn.SiLU(), nn.Dropout(dropout),
            nn.Linear(256, 256), nn.SiLU(), nn.Linear(256, outputs),
        )  # fmt: skip

    def forward(self, x: Tokens) -> torch.Tensor:
        """Vectors (N, outputs) of the galaxies of `x`."""
        light, whole = _light(x)
        hidden = self.filter(filter_features(x.centre, x.width)) + self.light(light)
        hidden = self.token(hidden)
        score = hidden[..., : self.queries].masked_fill(~x.seen[..., None], -1e4)
        pooled = score.softmax(1).transpose(1, 2) @ hidden[..., self.queries :]
        crowd = torch.logsumexp(score, 1).clamp(-10, 10) / 5
        return self.out(torch.cat([pooled.flatten(1), crowd, whole], 1))


def _light(x: Tokens) -> tuple[torch.Tensor, torch.Tensor]:
    """Features of brightness: (N, K, 10) of each measurement, and (N, 5) of the galaxy as a whole."""
    bright = torch.maximum(x.flux, x.error).clamp(min=1e-9)
    magnitude = 22.5 - 2.5 * torch.log10(bright)
    weight = x.seen / ((x.error / bright) ** 2 + SOFT_ERROR**2)
    level = (magnitude * weight).sum(1, keepdim=True) / weight.sum(1, keepdim=True).clamp(min=1e-9)
    unit = 10 ** (-0.4 * (level - 22.5))
    flux, error = x.flux / unit, (x.error / unit).clamp(*ERROR_LIMITS)
    # The inverse hyperbolic sine is a logarithm for what is bright, and linear for what is not detected.
    colour = 2.5 / math.log(10) * (torch.asinh(flux / KNEE / 2) - math.asinh(1 / KNEE / 2))
    relative = error / torch.sqrt(flux**2 + KNEE**2)
    pull = (colour / relative.clamp(min=0.01) / 20).clamp(-5, 5)
    state = nn.functional.one_hot(x.extinction, 3).float()
    tokens = [
        torch.stack([colour * 2, relative.log() / 2, pull], -1),
        nn.functional.one_hot(x.kind, 4).float(),
        state[:, None].expand(-1, x.flux.shape[1], -1),
    ]
    count = torch.log(x.seen.sum(1, keepdim=True) + 1.0) / 2
    return torch.cat(tokens, -1), torch.cat([level / 3 - 6, state, count], 1)
