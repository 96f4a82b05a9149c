"""Fluxes of the rest-frame basis in filters, at any redshift.

At a given redshift, the flux of a spectrum in a filter is linear in the spectrum's coefficients. A table
holds the flux of each part of the basis in each filter on a lattice of redshifts, so that a batch needs a
look-up and no integral.
"""

import copy
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch

from pix2spec.core.filters import Filter, load_filter
from pix2spec.core.lines import LIGHT_SPEED_ANGSTROM_S
from pix2spec.core.photometry import FLUX_UNIT, NANOMAGGY
from pix2spec.models.latent.basis import RestFrameBasis
from pix2spec.models.shared.device import to_device, to_host

__all__ = ["LINE_WIDTH", "BandTables"]

LINE_WIDTH = 120.0  # km/s: no filter resolves lines
STRIDE = 5  # pixels of the lattice between redshifts of the tables: 345 km/s
BLOCK = 16  # redshifts of a table that are computed together
COVERAGE = 0.98  # of a filter's transmission that the basis must cover


class BandTables:
    """Fluxes of the parts of a basis in filters.

    Parameters
    ----------
    basis : RestFrameBasis
    filters : sequence of str or Filter
        F of them.
    known : dict, optional
        Tables of filters that were computed before; new ones are added.

    Attributes
    ----------
    flux : tensor (..., F, Z, 1 + components + lines), float32
        Nanomaggies of the mean, the components and lines of unit flux, each for a scale of one.
    covered : tensor (..., F, Z), bool
        Whether the basis covers the filter at a redshift.
    """

    def __init__(self, basis: RestFrameBasis, filters: Sequence[str | Filter], known: dict | None = None):
        self.step = STRIDE * basis.grid.step  # in log10(1 + z)
        self.size = int(np.ceil(np.log10(1 + basis.z_max) / self.step)) + 2
        known = {} if known is None else known
        new = [item for item in dict.fromkeys(filters) if item not in known]
        if new:
            (design,) = to_host(basis.design(LINE_WIDTH))
            known |= {item: self._table(basis, design, item) for item in new}
        self.flux, self.covered = (torch.stack(part) for part in zip(*(known[item] for item in filters)))

    @classmethod
    def stacked(cls, tables: "Sequence[BandTables]") -> "BandTables":
        """The tables of several networks in the same filters as one, with a first axis of networks."""
        made = copy.copy(tables[0])
        made.flux, made.covered = (torch.stack([getattr(t, n) for t in tables]) for n in ("flux", "covered"))
        return made

    def part(self, numbers: slice) -> "BandTables":
        """Some networks of stacked tables."""
        made = copy.copy(self)
        made.flux, made.covered = self.flux[numbers], self.covered[numbers]
        return made

    def to(self, device) -> "BandTables":
        """The same tables on a device."""
        self.flux, self.covered = to_device(self.flux, device), to_device(self.covered, device)
        return self

    def _table(self, basis, design: np.ndarray, item: str | Filter) -> tuple[torch.Tensor, torch.Tensor]:
        curve = load_filter(item) if isinstance(item, str) else item
        weights, total = _weights(curve, basis.start, basis.grid.step, basis.size + STRIDE * self.size)
        seen = np.flatnonzero(weights)
        flux, share = np.zeros((self.size, design.shape[1])), np.zeros(self.size)
        if len(seen) and total > 0:
            first, last = seen[0], seen[-1] + 1
            for rows in np.split(np.arange(self.size), range(BLOCK, self.size, BLOCK)):
                shift = STRIDE * rows[:, None]
                a, b = np.clip((first - shift[-1, 0], last - shift[0, 0]), 0, basis.size)
                part = weights[np.arange(a, b) + shift]  # of the same pixels at some redshifts
                flux[rows], share[rows] = part @ design[a:b], part.sum(1) / total
        return torch.from_numpy(flux.astype(np.float32)), torch.from_numpy(share > COVERAGE)

    def at(self, index: torch.Tensor, zeta: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Fluxes at redshifts.

        Parameters
        ----------
        index : tensor (B, K), int
            Numbers of filters.
        zeta : tensor (..., B)
            log10(1 + z).

        Returns
        -------
        flux : tensor (..., B, K, 1 + components + lines)
            As the attribute `flux`, linear between redshifts.
        covered : tensor (..., B, K), bool
        """
        position = (zeta / self.step).clamp(0, self.size - 1.001)
        low = position.floor()
        share = (position - low).to(self.flux.dtype)[..., None, None]
        place = index * self.size + low.long()[..., None]
        if self.flux.dim() == 4:
            number = torch.arange(len(self.flux), device=index.device)[:, None, None]
            place = place + number * (self.flux.shape[1] * self.size)
        flux, covered = self.flux.flatten(0, -2), self.covered.flatten()
        return torch.lerp(flux[place], flux[place + 1], share), covered[place] & covered[place + 1]


@lru_cache(maxsize=64)  # the networks of a stack ask for the same
def _weights(curve: Filter, start: float, step: float, size: int) -> tuple[np.ndarray, float]:
    """Weights (size,) of the pixels of a lattice in the flux of a filter, and the sum over all wavelengths.

    The response is integrated over each pixel, so that box filters keep their edges.
    """
    edges = 10 ** (start + step * (np.arange(size + 1) - 0.5))
    wave, response = np.asarray(curve.wave, float), np.asarray(curve.response, float)
    x = np.union1d(wave, edges[(edges > wave[0]) & (edges < wave[-1])])
    y = np.interp(x, wave, response)
    cumulative = np.concatenate([[0], np.cumsum(np.diff(x) * (y[1:] * x[1:] + y[:-1] * x[:-1]) / 2)])
    ab_source = np.trapezoid(y / x, x) * LIGHT_SPEED_ANGSTROM_S * NANOMAGGY / FLUX_UNIT
    return np.diff(np.interp(edges, x, cumulative)) / ab_source, cumulative[-1] / ab_source
