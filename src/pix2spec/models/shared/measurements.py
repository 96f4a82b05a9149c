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

from pix2spec.core.filters import FLOOR, load_filter, with_floor
from pix2spec.data.measurements import EXTINCTIONS, Measurements, known_extinction

__all__ = [
    "KIND_GROUPS",
    "MeasurementTable",
    "SetEncoder",
    "Tokens",
    "cat_tokens",
    "tokens_of",
]

# Kinds that enclose nearly the same light are one kind for the network. A PSF magnitude of a galaxy is none
# of the others.
KIND_GROUPS = {"fibre": 0, "aperture": 2, "psf": 3, "unknown": 3}
KIND_GROUPS |= dict.fromkeys(("model", "cmodel", "petrosian", "kron", "total"), 1)
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
        One of `EXTINCTIONS`.
    """

    flux: np.ndarray
    error: np.ndarray
    centre: np.ndarray
    width: np.ndarray
    kind: str | Sequence[str] = "unknown"
    extinction: str = "unknown"

    def __len__(self) -> int:
        return len(self.flux)

    def tokens(self, floor: float = FLOOR) -> "Tokens":
        """The same as tensors, with `floor` in magnitudes added to the errors in quadrature."""
        n, k = np.shape(self.flux)
        kinds = [self.kind] * k if isinstance(self.kind, str) else self.kind
        seen = np.isfinite(self.flux) & np.isfinite(self.error) & (np.nan_to_num(self.error) > 0)

        def tensor(values, missing):
            values = np.where(seen, np.broadcast_to(values, (n, k)), missing)
            return torch.from_numpy(values.astype(np.float32))

        return Tokens(
            flux=tensor(self.flux, 0),
            error=tensor(with_floor(self.flux, self.error, floor), 1),
            centre=tensor(self.centre, 5000),
            width=tensor(self.width, 500),
            seen=torch.from_numpy(seen),
            kind=torch.tensor([KIND_GROUPS[name] for name in kinds]).expand(n, k),
            extinction=torch.full((n,), EXTINCTIONS.index(self.extinction)),
        )


@dataclass
class Tokens:
    """Measurements of N galaxies as tensors: K is the largest number that a galaxy of the batch has."""

    flux: torch.Tensor  # (N, K) float32, nanomaggies
    error: torch.Tensor  # (N, K) float32, nanomaggies
    centre: torch.Tensor  # (N, K) float32, Angstrom
    width: torch.Tensor  # (N, K) float32, Angstrom
    seen: torch.Tensor  # (N, K) bool
    kind: torch.Tensor  # (N, K) int64, values of KIND_GROUPS
    extinction: torch.Tensor  # (N,) int64, an index of EXTINCTIONS

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


def tokens_of(galaxies: Sequence[Measurements | None], floor: float = FLOOR) -> Tokens:
    """The measurements of galaxies as tensors.

    Parameters
    ----------
    galaxies : sequence of Measurements or None
        A known E(B-V) is removed from their fluxes. Nothing is measured of None.
    floor : float
        Least error in magnitudes; it is added in quadrature.
    """
    alike: dict = {}  # galaxies in the same filters are one table
    for row, galaxy in enumerate(galaxies):
        key: object = row
        if galaxy is not None and isinstance(galaxy.extinction, str):
            key = galaxy.filters, galaxy.kinds, galaxy.extinction, bool(galaxy.curves) and id(galaxy.curves)
        alike.setdefault(key, []).append(row)
    parts = [_table_of([galaxies[row] for row in rows]).tokens(floor) for rows in alike.values()]
    order = np.argsort(np.concatenate(list(alike.values())))
    return cat_tokens(parts)[torch.from_numpy(order)]


def _table_of(galaxies: Sequence[Measurements | None]) -> MeasurementTable:
    """The measurements of galaxies in the same filters, kinds and state, or of one galaxy."""
    galaxy = galaxies[0]
    if galaxy is None:
        nowhere = np.full((1, 1), np.nan)
        return MeasurementTable(nowhere, nowhere, np.array([6000.0]), np.array([500.0]))
    filters = [load_filter(name, galaxy.curves) for name in galaxy.filters]
    centre, width = (np.array([getattr(f, name) for f in filters]) for name in ("centre", "width"))
    flux, error = (np.stack([getattr(some, name) for some in galaxies]) for name in ("flux", "error"))
    state = galaxy.extinction
    if not isinstance(state, str):
        known = known_extinction(galaxy)
        dust = 10 ** (0.4 * np.nan_to_num(known))
        flux, error = flux * dust, error * dust
        state = "dereddened" if np.isfinite(known).all() else "unknown"
    return MeasurementTable(flux, error, centre, width, galaxy.kinds, state)


def cat_tokens(parts: list[Tokens]) -> Tokens:
    """Tokens of several batches as one; shorter sets are padded."""
    longest = max(part.flux.shape[1] for part in parts)

    def joined(name: str) -> torch.Tensor:
        values = [getattr(part, name) for part in parts]
        if values[0].ndim == 1:
            return torch.cat(values)
        pads = [(0, longest - v.shape[1]) for v in values]
        return torch.cat([nn.functional.pad(v, pad, value=PADDING[name]) for v, pad in zip(values, pads)])

    return Tokens(*(joined(name) for name in vars(parts[0])))


PADDING = {"flux": 0.0, "error": 1.0, "centre": 5000.0, "width": 500.0, "seen": False, "kind": 0}


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

    def __init__(
        self, outputs: int, queries: int = 32, values: int = 32, width: int = 320, dropout: float = 0.0
    ):
        super().__init__()
        self.queries, self.values = queries, values
        self.filter = nn.Linear(FEATURES, 96)
        self.light = nn.Linear(3 + 4 + 3, 96)
        self.token = nn.Sequential(nn.SiLU(), nn.Linear(96, 96), nn.SiLU(), nn.Linear(96, queries + values))
        self.slope = nn.Sequential(nn.Linear(FEATURES, 96), nn.SiLU(), nn.Linear(96, values))
        self.smooth = Smooth()
        self.out = nn.Sequential(
            nn.Linear(queries * values + queries + 5 + 2 * len(LATTICE), width), nn.SiLU(),
            nn.Linear(width, 256), nn.SiLU(), nn.Dropout(dropout),
            nn.Linear(256, 256), nn.SiLU(), nn.Linear(256, outputs),
        )  # fmt: skip

    def prepare(self, x: Tokens) -> tuple[torch.Tensor, "Brightness", torch.Tensor]:
        """What does not depend on weights, so that the networks of an ensemble share it."""
        brightness = Brightness.of(x)
        return filter_features(x.centre, x.width), brightness, self.smooth(x, brightness)

    def forward(self, x: Tokens, prepared: tuple | None = None) -> torch.Tensor:
        """Vectors (N, outputs) of the galaxies of `x`."""
        features, brightness, curve = prepared or self.prepare(x)
        hidden = self.token(self.filter(features) + self.light(brightness.tokens))
        score = hidden[..., : self.queries].masked_fill(~x.seen[..., None], -1e4)
        # A value is linear in the colour, as the flux in any other band is to first order, plus the rest.
        value = hidden[..., self.queries :] + self.slope(features) * brightness.colour[..., None]
        pooled = (score.softmax(-2).mT @ value).flatten(-2)
        crowd = torch.logsumexp(score, -2).clamp(-10, 10) / 5
        known = (values.expand(*crowd.shape[:-1], -1) for values in (brightness.whole, curve))
        return self.out(torch.cat([pooled, crowd, *known], -1))


LATTICE = np.log(np.r_[1600, 2100, 2700, np.geomspace(3200, 10000, 19), 12000, 15500, 21000, 33000, 45000])


class Smooth(nn.Module):
    """The smooth curve through a galaxy's colours: mean and sd of a Gaussian process on a lattice.

    It is the best linear prediction of brightness at other wavelengths (Rasmussen & Williams 2006, eq. 2.25),
    and gives the layers behind it about the same numbers for the same galaxy, whatever the filters.
    """

    TERMS = ((1.5, 1.0), (0.5, 0.25), (0.15, 0.1))  # sd in magnitudes, and length in ln(wavelength)
    LEVEL = 2.0  # sd of the unknown level, in magnitudes
    FLOOR = 0.005  # least error of a colour, in magnitudes

    def __init__(self):
        super().__init__()
        self.register_buffer("lattice", torch.tensor(LATTICE, dtype=torch.float32), persistent=False)

    def _covariance(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        distance = (a[..., :, None] - b[..., None, :]) ** 2
        return (
            sum(sd**2 * torch.exp(-0.5 * distance / length**2) for sd, length in self.TERMS) + self.LEVEL**2
        )

    @torch.no_grad()
    def forward(self, x: Tokens, brightness: "Brightness") -> torch.Tensor:
        """Means and scaled log sds (N, 2 x lattice)."""
        ln = torch.log(x.centre)
        noise = (1.0857 * brightness.relative.double()).clamp(max=3) ** 2 + self.FLOOR**2
        own = self._covariance(ln, ln).double() * (x.seen[:, :, None] & x.seen[:, None, :])
        factor = torch.linalg.cholesky(own + torch.diag_embed(noise))
        cross = self._covariance(self.lattice, ln).double() * x.seen[:, None]
        sides = torch.cat([cross.transpose(1, 2), brightness.colour.double()[..., None]], 2)
        half = torch.linalg.solve_triangular(factor, sides, upper=False)
        mean = (half[..., :-1] * half[..., -1:]).sum(1)
        prior = self.LEVEL**2 + sum(sd**2 for sd, _ in self.TERMS)
        sd = (prior - (half[..., :-1] ** 2).sum(1)).clamp(min=1e-6).sqrt()
        return torch.cat([mean.clamp(-8, 8), sd.log() / 2], 1).float()


@dataclass
class Brightness:
    """How bright galaxies are in each band, relative to their level."""

    colour: torch.Tensor  # (N, K) magnitudes, positive where brighter than the level
    relative: torch.Tensor  # (N, K) error relative to the flux
    tokens: torch.Tensor  # (N, K, 10) features of the measurements
    whole: torch.Tensor  # (N, 5) features of the galaxies

    def __getitem__(self, rows) -> "Brightness":
        return Brightness(*(values[rows] for values in vars(self).values()))

    @classmethod
    def of(cls, x: Tokens) -> "Brightness":
        """Of measurements. Fluxes may be negative."""
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
        whole = torch.cat([level / 3 - 6, state, count], 1)
        return cls(colour * x.seen, relative, torch.cat(tokens, -1), whole)
