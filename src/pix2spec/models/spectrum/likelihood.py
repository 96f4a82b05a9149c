"""How well the fluxes of candidates agree with those that were given."""

from dataclasses import dataclass

import numpy as np
import torch

from pix2spec.models.spectrum.bands import BandTables
from pix2spec.models.spectrum.inputs import Seen
from pix2spec.models.spectrum.network import Known, SpectrumNetwork

__all__ = ["MISFIT", "Misfit", "misfits"]

MISFIT = "photometry-misfit"
MODEL_ERROR = 0.03  # of fluxes, relative: of the model, and of what catalogues do not state
MISFIT_CHI2 = 9.0  # per flux, of the best candidate: beyond, no candidate is like the galaxy
LEAST = 3  # fluxes without which nothing can be said


@dataclass
class Misfit:
    """chi2 per flux (N, n) of candidates, NaN where too few fluxes count; and flags of the galaxies."""

    chi2: np.ndarray
    flags: list[list[str]]

    @classmethod
    def empty(cls, count: int, n: int) -> "Misfit":
        """Nothing is known yet."""
        return cls(np.full((count, n), np.nan, np.float32), [[] for _ in range(count)])

    def best(self, number: int) -> float:
        """chi2 per flux of a galaxy's best candidate; NaN if unknown."""
        row = self.chi2[number]
        return float(np.nanmin(row)) if np.isfinite(row).any() else np.nan

    def judged(self) -> "Misfit":
        """The same with flags of galaxies that no candidate fits."""
        for row, flags in zip(self.chi2, self.flags):
            if np.isfinite(row).any() and np.nanmin(row) > MISFIT_CHI2:
                flags.append(MISFIT)
        return self


def misfits(
    network: SpectrumNetwork, seen: Seen, tables: BandTables, vectors: torch.Tensor, known: Known,
    columns: np.ndarray, out: Misfit,
) -> None:  # fmt: skip
    """Write chi2 per flux of candidates into `out`.

    Fluxes of one galaxy that are not all of the fibre are compared in shape: their common factor is fitted.

    Parameters
    ----------
    network : SpectrumNetwork
    seen : Seen
        N galaxies.
    tables : BandTables
        Of the network.
    vectors : tensor (N * n, D)
        Coefficients of candidates.
    known : Known
        Of the candidates.
    columns : array (n,)
        Which candidates of each galaxy they are.
    out : Misfit
    """
    count, n = len(seen.ebv), len(columns)
    rows = torch.arange(count).repeat_interleave(n)
    parts, covered = tables.at(seen.index[rows], known.zeta)
    model = (parts * network.linear_parts(vectors)[:, None]).sum(2).double()
    flux, error = seen.tokens.flux[rows].double(), seen.tokens.error[rows].double()
    weight = (seen.tokens.seen[rows] & covered) / (error**2 + (MODEL_ERROR * flux) ** 2)
    number = (weight > 0).sum(1)
    scale = (weight * flux * model).sum(1) / (weight * model**2).sum(1).clamp(min=1e-30)
    chi2 = (weight * (flux - scale[:, None].clamp(min=0) * model) ** 2).sum(1) / (number - 1).clamp(min=1)
    chi2 = torch.where(number >= LEAST, chi2, torch.nan)
    out.chi2[:, columns] = chi2.float().view(count, n).numpy()
