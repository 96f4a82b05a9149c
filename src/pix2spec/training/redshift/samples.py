"""Galaxies as surveys might have measured them: what the redshift networks train on.

The same galaxy is seen again and again in other filters, with other errors, with bands missing, and with its
kind or its extinction unknown. What is drawn never depends on the galaxy, so that a network cannot read
anything from it.
"""

import math
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch.distributions import StudentT

from pix2spec.core.filters import FLOOR
from pix2spec.data.measurements import EXTINCTIONS
from pix2spec.models.shared.measurements import KIND_GROUPS, Tokens
from pix2spec.training.redshift.filters import TrainingFilters

__all__ = ["AS_MEASURED", "VARIED", "Sample", "Samples", "Variety"]

OBSERVED, DEREDDENED, UNKNOWN_STATE = range(len(EXTINCTIONS))
TOTAL, APERTURE, UNKNOWN_KIND = (KIND_GROUPS[kind] for kind in ("total", "aperture", "unknown"))
TO_FRACTION = math.log(10) / 2.5  # error relative to the flux, of an error of one magnitude
EBV = math.log(0.035), 0.6, 0.3  # of ln E(B-V) at high galactic latitude: mean and sd; the largest E(B-V)
ANY_ERROR = math.log(0.008), math.log(0.07)  # of the logarithm of relative errors that users may state
MAX_BROAD = 9
SETS = 4096  # of bands, drawn beforehand for each sample


@dataclass(frozen=True)
class Variety:
    """Probabilities with which a galaxy is seen otherwise than its survey measured it."""

    other_bands: float  # those of another survey, or any
    fewer_bands: float
    noise: float  # more noise, which is stated
    larger_errors: float  # up to ten times its own, with noise to match
    dust: float  # dereddened magnitudes become reddened ones
    unknown_dust: float
    unknown_kind: float
    wrong_errors: float  # stated too large, or too small
    equal_errors: float  # one number is stated for all bands


VARIED = Variety(0.4, 0.3, 0.4, 0.3, 0.25, 0.15, 0.1, 0.33, 0.08)
AS_MEASURED = Variety(0.25, 0.2, 0.2, 0.15, 0.15, 0.1, 0.05, 0.2, 0.08)


@dataclass
class Sample:
    """Galaxies of one survey in all filters, as far as they are measured or can be inferred."""

    mag: np.ndarray  # (N, F) float32; NaN: not known
    error: np.ndarray | float  # (N, F) float32: error that is in `mag` already, relative to the flux
    z: np.ndarray  # (N,)
    kind: np.ndarray | int  # (F,) values of KIND_GROUPS
    extinction: int
    fold: np.ndarray  # (N,)
    measured: np.ndarray  # (F,) bool: as the survey measured it; the rest is inferred
    is_simulated: bool = False
    extrapolated: np.ndarray | float = (
        0.0  # (F,) ln(wavelength) from the nearest measured band, if beyond all
    )
    misstated: float = 0.0  # share of users who say that such dereddened magnitudes are as observed
    unsure: bool = False  # nobody knows the errors of broad bands well: users state any
    lent_z: np.ndarray | None = (
        None  # (N,) redshifts of the galaxies that lend the narrow bands; None: the same
    )
    sets: list[list[int]] = field(default_factory=list)  # the survey's own sets of bands

    def of(self, rows: np.ndarray) -> "Sample":
        """These galaxies alone, as users state their state of extinction rightly."""
        error = self.error[rows] if isinstance(self.error, np.ndarray) else self.error
        lent_z = None if self.lent_z is None else self.lent_z[rows]
        some = {"mag": self.mag[rows], "error": error, "z": self.z[rows], "fold": self.fold[rows]}
        return replace(self, **some, lent_z=lent_z, misstated=0.0)


class Samples:
    """Draws batches of measurements from several surveys.

    Parameters
    ----------
    filters : TrainingFilters
    samples : dict of str to Sample
    without : tuple of int
        Folds that are left out.
    seed : int
        Of the sets of bands.
    varieties : tuple of Variety
        With which batches will be drawn.
    """

    def __init__(
        self, filters: TrainingFilters, samples: dict[str, Sample], without: tuple[int, ...], seed: int,
        varieties: tuple[Variety, ...] = (VARIED, AS_MEASURED),
    ):  # fmt: skip
        rng, shape = np.random.default_rng(seed), (len(filters.names),)
        self.filters, self.names = filters, list(samples)
        every = list(samples.values())
        starts = np.cumsum([0, *(len(s.z) for s in every)])
        # Which galaxies are those of each sample, with or without the folds that are left out.
        self.parts = {name: slice(a, b) for name, a, b in zip(samples, starts, starts[1:])}
        self.rows = {
            name: torch.from_numpy(start + np.flatnonzero(~np.isin(s.fold, without)))
            for start, (name, s) in zip(starts, samples.items())
        }
        self.mag = _joined(s.mag for s in every)
        self.error = _joined(np.broadcast_to(np.float32(s.error), s.mag.shape) for s in every)
        self.z = _joined(s.z.astype(np.float32) for s in every)
        self.lent_z = _joined((s.z if s.lent_z is None else s.lent_z).astype(np.float32) for s in every)
        self.kind = torch.stack([torch.from_numpy(np.broadcast_to(s.kind, shape).copy()) for s in every])
        self.measured = torch.from_numpy(np.stack([s.measured for s in every]))
        beyond = np.stack([np.broadcast_to(s.extrapolated, shape) for s in every])
        self.beyond = torch.from_numpy(beyond.astype(np.float32)).clamp(max=1)
        self.state = torch.tensor([s.extinction for s in every])
        self.misstated = torch.tensor([s.misstated for s in every])
        self.simulated = torch.tensor([s.is_simulated for s in every])
        self.unsure = torch.tensor([s.unsure for s in every])
        self.sets = {
            variety: [torch.stack(x) for x in zip(*(_band_sets(filters, s, variety, rng) for s in every))]
            for variety in varieties
        }
        self.centre, self.width, self.dust = (
            torch.from_numpy(a.astype(np.float32))
            for a in (filters.centre, filters.width, filters.extinction)
        )

    def to(self, device) -> "Samples":
        """The same samples, moved to a device: batches are then drawn there."""
        for name, values in vars(self).items():
            if isinstance(values, torch.Tensor):
                setattr(self, name, values.to(device))
        self.rows = {name: rows.to(device) for name, rows in self.rows.items()}
        self.sets = {variety: [t.to(device) for t in tables] for variety, tables in self.sets.items()}
        return self

    def draw(
        self, shares: dict[str, int], narrow: bool, rng: np.random.Generator, variety: Variety = VARIED
    ) -> tuple[Tokens, torch.Tensor]:
        """Galaxies as measured by some survey, and their redshifts; arguments as for `draw_rows`."""
        tokens, _, rows = self.draw_rows(shares, narrow, rng, variety)
        return tokens, (self.lent_z if narrow else self.z)[rows]

    def draw_rows(
        self, shares: dict[str, int], narrow: bool, rng: np.random.Generator, variety: Variety = VARIED
    ) -> tuple[Tokens, torch.Tensor, torch.Tensor]:
        """Galaxies as measured by some survey.

        Parameters
        ----------
        shares : dict of str to int
            Number of galaxies of each sample.
        narrow : bool
            In narrow bands, the same for all galaxies, or in broad ones.
        rng : numpy.random.Generator
            Chooses the narrow bands; torch's global generator draws all the rest.
        variety : Variety
            One of `varieties`.

        Returns
        -------
        tokens : Tokens
            Of n galaxies.
        index : tensor (n, K), int
            Filters of the measurements, by number.
        rows : tensor (n,), int
            Galaxies, by number in all samples, one after another.
        """
        rows = torch.cat(
            [self.rows[name][torch.randint(len(self.rows[name]), (n,))] for name, n in shares.items()]
        )
        which = torch.cat([torch.full((n,), self.names.index(name)) for name, n in shares.items()])
        n = len(rows)
        chosen = torch.randint(SETS, (n,))
        index, seen = (
            self._narrow_set(n, rng) if narrow else (table[which, chosen] for table in self.sets[variety])
        )
        mag, own = self.mag[rows[:, None], index], self.error[rows[:, None], index]
        seen = seen & torch.isfinite(mag)
        mag, own = torch.nan_to_num(mag, nan=20.0), torch.nan_to_num(own, nan=0.05)
        mag, state = self._redden(mag, which, index, variety)
        mag, kind = self._enclose(mag, which, index, variety)
        simulated = self.simulated[which][:, None]
        extra = _extra_error(mag, own, simulated, narrow, variety)
        hidden = self._unstated(which, index, simulated, narrow)
        flux = 10 ** (-0.4 * (mag - 22.5))
        noisy = flux * (1 + hidden + extra * torch.randn(mag.shape))
        any_error = self.unsure[which][:, None] & (torch.rand(n, 1) < (0.0 if narrow else 0.5))
        own = torch.where(any_error, torch.exp(torch.empty(n, 1).uniform_(*ANY_ERROR)), own)
        stated = _stated(torch.hypot(own, extra), variety)
        error = torch.hypot(flux * stated, FLOOR * TO_FRACTION * noisy)
        tokens = Tokens(noisy, error, self.centre[index], self.width[index], seen, kind, state)
        return tokens, index, rows

    def _narrow_set(self, n: int, rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        """One set of narrow bands with some broad ones, of which each galaxy lacks some."""
        narrow, broad = self.filters.narrow_sets, self.filters.sets
        base = list(narrow[rng.integers(len(narrow))])
        low, high = sorted(rng.integers(0, len(base), 2)) if rng.random() < 0.4 else (0, len(base))
        base = base[low : max(high, low + 8)]
        beside = broad[rng.integers(len(broad))][:4]
        seen = torch.rand(n, len(base)) < torch.empty(n, 1).uniform_(0.5, 1.5)
        with_broad = (torch.rand(n, 1) < 0.4).expand(-1, len(beside))
        return torch.tensor(base + beside).expand(n, -1), torch.cat([seen, with_broad], 1)

    def _redden(self, mag, which, index, variety: Variety) -> tuple[torch.Tensor, torch.Tensor]:
        """Magnitudes behind the Milky Way's dust, of some that are dereddened; and the state (n,).

        The reverse would need the dust in front of each galaxy: random dust blurs the colours.
        """
        n, state = len(mag), self.state[which]
        ebv = torch.exp(EBV[0] + EBV[1] * torch.randn(n, 1)).clamp(max=EBV[2])
        change = (torch.rand(n) < variety.dust) & (state == DEREDDENED)
        mag = mag + change[:, None] * ebv * self.dust[index]
        state = torch.where(change | (torch.rand(n) < self.misstated[which]), OBSERVED, state)
        return mag, torch.where(torch.rand(n) < variety.unknown_dust, UNKNOWN_STATE, state)

    def _enclose(self, mag, which, index, variety: Variety) -> tuple[torch.Tensor, torch.Tensor]:
        """Magnitudes of all or some of the light, and their kinds (n, K)."""
        n, kind = len(mag), self.kind[which[:, None], index]
        part = (torch.rand(n, 1) < 0.05) & (kind == TOTAL)
        mag = mag + part * torch.empty(n, 1).uniform_(0, 1.3)
        kind = torch.where(part, APERTURE, kind)
        return mag, torch.where(torch.rand(n, 1) < variety.unknown_kind, UNKNOWN_KIND, kind)

    def _unstated(self, which, index, simulated, narrow: bool) -> torch.Tensor:
        """Relative errors (n, K) that no catalogue states: of the simulation, and of inferred bands."""
        heavy = (0.004 if narrow else 0.015) * StudentT(3.0).sample(index.shape).clamp(-5, 5)
        inferred = (0.005 if narrow else 0.01) + 0.15 * self.beyond[which[:, None], index]
        real = torch.randn(index.shape) * ~self.measured[which[:, None], index] * inferred
        return torch.where(simulated, heavy, real)


def _joined(arrays) -> torch.Tensor:
    return torch.from_numpy(np.concatenate(list(arrays)))


def _band_sets(
    filters: TrainingFilters, sample: Sample, variety: Variety, rng
) -> tuple[torch.Tensor, torch.Tensor]:
    """Filters (SETS, MAX_BROAD), and which of them are there: the survey's own, another's, or any."""
    index, seen = np.zeros((SETS, MAX_BROAD), int), np.zeros((SETS, MAX_BROAD), bool)
    broad = filters.sets
    every = sorted({k for some in broad for k in some})
    for i, u in enumerate(rng.random(SETS)):
        if u > variety.other_bands and sample.sets:
            chosen = np.array(sample.sets[rng.integers(len(sample.sets))])
        elif u % 0.1 < 0.075:
            chosen = np.array(broad[rng.integers(len(broad))])
        else:
            chosen = rng.choice(every, rng.integers(2, min(MAX_BROAD, len(every) + 1)), replace=False)
        if rng.random() < variety.fewer_bands and len(chosen) > 2:
            chosen = rng.permutation(chosen)[: rng.integers(2, len(chosen))]
        chosen = chosen[:MAX_BROAD]
        index[i, : len(chosen)], seen[i, : len(chosen)] = chosen, True
    return torch.from_numpy(index), torch.from_numpy(seen)


def _extra_error(mag, own, simulated, narrow: bool, variety: Variety) -> torch.Tensor:
    """Noise (n, K) to add, relative to the flux: none, in proportion to the flux, or as of a dark sky."""
    n, shape = len(mag), mag.shape
    level = torch.exp(torch.empty(n, 1).uniform_(math.log(0.003), math.log(0.3 if narrow else 0.2)))
    relative = level * torch.exp(0.3 * torch.randn(shape))
    depth = mag[:, :1] + torch.empty(n, 1).uniform_(-0.5, 5.0) + 0.8 * torch.randn(shape)  # 5 sigma
    sky = torch.hypot((0.2 * 10 ** (0.4 * (mag - depth))).clamp(max=20), 0.01 * torch.rand(n, 1))
    # Spectra give fluxes in narrow bands that have hardly any noise, which no survey has.
    which, none = torch.rand(n, 1), torch.where(simulated | narrow, 0.0, 1 - variety.noise)
    extra = torch.where(which < none, 0.0, torch.where(which < none + (1 - none) * 0.6, relative, sky))
    factor = torch.exp(
        (torch.rand(n, 1) < variety.larger_errors) * torch.empty(n, 1).uniform_(0, math.log(10))
    )
    return torch.hypot(extra, own * (factor**2 - 1).clamp(min=0).sqrt())


def _stated(error: torch.Tensor, variety: Variety) -> torch.Tensor:
    """Errors as catalogues state them: most are right, some too large, few too small, or all equal."""
    n = len(error)
    one = error.median(1, keepdim=True).values * torch.exp(torch.empty(n, 1).uniform_(-0.5, 0.8))
    error = torch.where(torch.rand(n, 1) < variety.equal_errors, one, error)
    u, factor = torch.rand(n, 1) / variety.wrong_errors, torch.ones(n, 1)
    factor = torch.where(u < 0.45, torch.exp(torch.empty(n, 1).uniform_(0, math.log(5))), factor)
    factor = torch.where(
        (u > 0.75) & (u < 1), torch.exp(torch.empty(n, 1).uniform_(math.log(0.3), 0)), factor
    )
    added = torch.where((u > 0.45) & (u < 0.75), torch.empty(n, 1).uniform_(0.01, 0.07), 0.0)
    return torch.hypot(error * factor, added).clamp(min=0.002)
