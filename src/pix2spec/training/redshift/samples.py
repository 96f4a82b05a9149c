"""Galaxies as surveys might have measured them: what the redshift networks train on.

The same galaxy is seen again and again in other filters, with other errors, with bands missing, and with its
kind or its extinction unknown. What is drawn never depends on the galaxy, so that a network cannot read
anything from it.
"""

import math
from dataclasses import dataclass, field

import numpy as np
import torch
from torch.distributions import StudentT

from pix2spec.models.shared.measurements import EXTINCTION_STATES, KIND_GROUPS, Tokens
from pix2spec.training.redshift.filters import TrainingFilters

__all__ = ["FLOOR", "Sample", "Samples", "cat_tokens"]

OBSERVED, DEREDDENED, UNKNOWN_STATE = range(len(EXTINCTION_STATES))
APERTURE, UNKNOWN_KIND = KIND_GROUPS["aperture"], KIND_GROUPS["unknown"]
FLOOR = 0.01 * math.log(10) / 2.5  # the floor of stated errors: 0.01 mag
TYPICAL_EBV = math.log(0.035), 0.6  # mean and sd of ln E(B-V) at high galactic latitude
MAX_BROAD = 9


@dataclass
class Sample:
    """Galaxies of one survey in all filters, as far as they are measured or can be inferred."""

    mag: np.ndarray  # (N, F) float32; NaN: not known
    error: np.ndarray  # (N, F) float32: error that is in `mag` already, relative to the flux
    z: np.ndarray  # (N,)
    kind: int
    extinction: int
    fold: np.ndarray  # (N,)
    measured: np.ndarray  # (F,) bool: as the survey measured it; the rest is inferred
    is_simulated: bool = False
    extrapolated: np.ndarray | float = 0.0  # (F,) ln(wavelength) from the nearest measured band, if beyond all
    sets: list[list[int]] = field(default_factory=list)  # the survey's own sets of bands
    kinds: np.ndarray | None = None  # (F,) where the bands differ in kind


class Samples:
    """Draws batches of measurements from several surveys.

    Parameters
    ----------
    filters : TrainingFilters
    samples : dict of str to Sample
    without : tuple of int
        Folds that are left out.
    seed : int
    """

    def __init__(self, filters: TrainingFilters, samples: dict[str, Sample], without: tuple[int, ...], seed: int):
        self.filters, self.samples = filters, samples
        self.rows = {
            name: torch.from_numpy(np.flatnonzero(~np.isin(s.fold, without))) for name, s in samples.items()
        }
        self.rng = np.random.default_rng(seed)
        self.mag = {name: torch.from_numpy(s.mag) for name, s in samples.items()}
        self.error = {name: torch.from_numpy(s.error) for name, s in samples.items()}
        self.z = {name: torch.from_numpy(s.z.astype(np.float32)) for name, s in samples.items()}
        self.centre = torch.from_numpy(filters.centre.astype(np.float32))
        self.width = torch.from_numpy(filters.width.astype(np.float32))
        self.dust = torch.from_numpy(filters.extinction.astype(np.float32))

    def draw(self, name: str, n: int, narrow: bool) -> tuple[Tokens, torch.Tensor]:
        """`n` galaxies of a sample as measured by some survey, and their redshifts."""
        sample, rows = self.samples[name], self.rows[name]
        i = rows[torch.randint(len(rows), (n,))]
        index, seen = self._narrow_set(n) if narrow else self._broad_sets(sample, n)
        mag = self.mag[name][i[:, None], index]
        own = self.error[name][i[:, None], index]
        seen = seen & torch.isfinite(mag)
        mag, own = torch.nan_to_num(mag, nan=20.0), torch.nan_to_num(own, nan=0.05)
        mag, state = self._redden(sample, mag, index)
        mag, kind = self._enclose(sample, mag, index)
        native = torch.from_numpy(sample.measured)[index]
        extra = self._extra_error(sample, mag, own, native, narrow)
        stated = self._state_error(torch.hypot(own, extra))
        hidden = self._unstated(sample, mag, index, native, narrow)
        flux = 10 ** (-0.4 * (mag - 22.5))
        noisy = flux * (1 + hidden) + flux * extra * torch.randn(mag.shape)
        error = torch.hypot(flux * stated, FLOOR * noisy)
        tokens = Tokens(noisy, error, self.centre[index], self.width[index], seen, kind, state)
        return tokens, self.z[name][i]

    def _broad_sets(self, sample: Sample, n: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Filters (n, K), and which of them are there: the survey's own, another's, or any."""
        index, seen = np.zeros((n, MAX_BROAD), int), np.zeros((n, MAX_BROAD), bool)
        rng, broad = self.rng, self.filters.sets
        every = sorted({k for some in broad for k in some})
        for i, u in enumerate(rng.random(n)):
            if u < 0.5 and sample.sets:
                chosen = np.array(sample.sets[rng.integers(len(sample.sets))])
            elif u < 0.88:
                chosen = np.array(broad[rng.integers(len(broad))])
            else:
                chosen = rng.choice(every, rng.integers(2, 10), replace=False)
            if rng.random() < 0.35 and len(chosen) > 2:
                chosen = rng.permutation(chosen)[: rng.integers(2, len(chosen))]
            index[i, : len(chosen)], seen[i, : len(chosen)] = chosen[:MAX_BROAD], True
        return torch.from_numpy(index), torch.from_numpy(seen)

    def _narrow_set(self, n: int) -> tuple[torch.Tensor, torch.Tensor]:
        """One set of narrow bands with some broad ones, of which each galaxy lacks some."""
        rng = self.rng
        base = list(self.filters.narrow_sets[rng.integers(len(self.filters.narrow_sets))])
        low, high = sorted(rng.integers(0, len(base), 2)) if rng.random() < 0.4 else (0, len(base))
        base = base[low : max(high, low + 8)]
        broad = self.filters.sets[rng.integers(len(self.filters.sets))][:4]
        seen = torch.rand(n, len(base)) < torch.empty(n, 1).uniform_(0.5, 1.5)
        with_broad = (torch.rand(n, 1) < 0.4).expand(-1, len(broad))
        return torch.tensor(base + broad).expand(n, -1), torch.cat([seen, with_broad], 1)

    def _redden(self, sample: Sample, mag: torch.Tensor, index: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Magnitudes behind more or less of the Milky Way's dust, and the state of extinction."""
        n = len(mag)
        ebv = torch.exp(TYPICAL_EBV[0] + TYPICAL_EBV[1] * torch.randn(n, 1)).clamp(max=0.3)
        change = torch.rand(n, 1) < 0.35
        state = torch.full((n,), sample.extinction)
        if sample.extinction == DEREDDENED:
            mag = mag + change * ebv * self.dust[index]
            state = torch.where(change[:, 0], OBSERVED, DEREDDENED)
        elif sample.extinction == OBSERVED and sample.is_simulated is False:
            mag = mag - change * ebv * self.dust[index]
            state = torch.where(change[:, 0], DEREDDENED, OBSERVED)
        return mag, torch.where(torch.rand(n) < 0.15, UNKNOWN_STATE, state)

    def _enclose(self, sample: Sample, mag: torch.Tensor, index: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Magnitudes of all or some of the light, and their kinds (n, K)."""
        n = len(mag)
        kind = torch.full(mag.shape, sample.kind)
        if sample.kinds is not None:
            kind = torch.from_numpy(sample.kinds)[index]
        if sample.kind == KIND_GROUPS["total"]:
            part = torch.rand(n, 1) < 0.05
            mag = mag + part * torch.empty(n, 1).uniform_(0, 1.3)
            kind = torch.where(part, APERTURE, kind)
        return mag, torch.where(torch.rand(n, 1) < 0.12, UNKNOWN_KIND, kind)

    def _extra_error(self, sample: Sample, mag, own, native, narrow: bool) -> torch.Tensor:
        """Noise (n, K) to add, relative to the flux: none, in proportion to the flux, or as of a dark sky."""
        n, shape = len(mag), mag.shape
        high = 0.3 if narrow else 0.2
        level = torch.exp(torch.empty(n, 1).uniform_(math.log(0.003), math.log(high)))
        relative = level * torch.exp(0.3 * torch.randn(shape))
        depth = mag[:, :1] + torch.empty(n, 1).uniform_(-0.5, 5.0) + 0.8 * torch.randn(shape)  # 5 sigma
        sky = (0.2 * 10 ** (0.4 * (mag - depth))).clamp(max=20)
        sky = torch.hypot(sky, 0.01 * torch.rand(n, 1))
        which = torch.rand(n, 1)
        share = 0.0 if sample.is_simulated else 0.55
        extra = torch.where(which < share, 0.0, torch.where(which < share + (1 - share) * 0.6, relative, sky))
        factor = torch.exp((torch.rand(n, 1) < 0.3) * torch.empty(n, 1).uniform_(0, math.log(10)))
        return torch.hypot(extra, own * (factor**2 - 1).clamp(min=0).sqrt())

    @staticmethod
    def _state_error(error: torch.Tensor) -> torch.Tensor:
        """Errors as catalogues state them: most are right, some too large, few too small."""
        n = len(error)
        u, factor = torch.rand(n, 1), torch.ones(n, 1)
        factor = torch.where(u < 0.15, torch.exp(torch.empty(n, 1).uniform_(0, math.log(5))), factor)
        factor = torch.where(u > 0.92, torch.exp(torch.empty(n, 1).uniform_(math.log(0.3), 0)), factor)
        added = torch.where((u > 0.15) & (u < 0.25), torch.empty(n, 1).uniform_(0.01, 0.07), 0.0)
        return torch.hypot(error * factor, added).clamp(min=0.002)

    def _unstated(self, sample: Sample, mag, index, native, narrow: bool) -> torch.Tensor:
        """Relative errors (n, K) that no catalogue states: of the simulation, and of inferred bands."""
        if sample.is_simulated:
            return (0.004 if narrow else 0.015) * StudentT(3.0).sample(mag.shape).clamp(-5, 5)
        beyond = np.broadcast_to(sample.extrapolated, len(self.filters.names)).astype(np.float32)
        beyond = torch.from_numpy(beyond)[index]
        return torch.randn(mag.shape) * ~native * ((0.005 if narrow else 0.01) + 0.15 * beyond.clamp(max=1))


def cat_tokens(parts: list[Tokens]) -> Tokens:
    """Tokens of several batches as one; shorter sets are padded."""
    longest = max(part.flux.shape[1] for part in parts)

    def joined(name):
        values = [getattr(part, name) for part in parts]
        if values[0].ndim == 1:
            return torch.cat(values)
        fill = {"flux": 0.0, "error": 1.0, "centre": 5000.0, "width": 500.0, "seen": False, "kind": 0}[name]
        return torch.cat([torch.nn.functional.pad(v, (0, longest - v.shape[1]), value=fill) for v in values])

    return Tokens(*(joined(name) for name in vars(parts[0])))
