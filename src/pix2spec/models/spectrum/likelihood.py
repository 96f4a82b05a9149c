"""How well the fluxes of candidates agree with those that were given."""

from dataclasses import dataclass

import numpy as np
import torch

from pix2spec.models.shared.measurements import KIND_GROUPS
from pix2spec.models.spectrum.inputs import Seen
from pix2spec.models.spectrum.network import Known, SpectrumNetwork
from pix2spec.runtime.random import object_uniforms

__all__ = ["MISFIT", "Misfit", "misfits"]

MISFIT = "photometry-misfit"
MODEL_ERROR = 0.03  # of fluxes, relative: of the model, and of what catalogues do not state
MISFIT_CHI2 = 9.0  # per flux, of the best candidate: beyond, no candidate is like the galaxy
LEAST = 3  # fluxes without which nothing can be said


@dataclass
class Misfit:
    """Misfits of n candidates of each of N galaxies."""

    chi2: np.ndarray  # (N, n) per flux; NaN where too few fluxes count
    number: np.ndarray  # (N,) of fluxes

    def best(self, galaxy: int) -> float:
        """chi2 per flux of a galaxy's best candidate; NaN if unknown."""
        row = self.chi2[galaxy]
        return float(np.nanmin(row)) if np.isfinite(row).any() else np.nan

    def flags(self, galaxy: int) -> list[str]:
        """A flag if no candidate fits."""
        return [MISFIT] if self.best(galaxy) > MISFIT_CHI2 else []

    def log_likelihood(self) -> np.ndarray:
        """-chi2 / 2 of all candidates (N, n), relative to the best; 0 where too few fluxes count."""
        least = np.nan_to_num(self.chi2, nan=np.inf).min(1, keepdims=True)
        count = np.maximum(self.number - 1, 1)[:, None] * (self.number > 0)[:, None]
        return -0.5 * np.nan_to_num(self.chi2 - least, nan=0.0, posinf=0.0, neginf=0.0) * count

    def chosen(self, n: int, seed: int, ids: list[str], log_weight: np.ndarray) -> np.ndarray:
        """Candidates (N, n) of each galaxy: all, or where there are more, as often as they weigh.

        Systematic resampling (Douc et al. 2005, arXiv:cs/0507025): a candidate is chosen as often as its
        share of the weights, of which `log_weight` (N, candidates) are logarithms.
        """
        if self.chi2.shape[1] == n:
            return np.tile(np.arange(n), (len(self.chi2), 1))
        kept = []
        for row, name in zip(log_weight.astype(float), ids):
            share = np.cumsum(np.exp(row - row.max()))
            levels = (np.arange(n) + object_uniforms(seed, name, "choice", 1)) / n
            kept.append(np.searchsorted(share / share[-1], levels).clip(0, len(row) - 1))
        return np.stack(kept)


def misfits(
    network: SpectrumNetwork, seen: Seen, vectors: torch.Tensor, known: Known
) -> tuple[torch.Tensor, torch.Tensor]:
    """chi2 per flux of candidates.

    Fluxes of one galaxy that are not all of the fibre are compared in shape: their common factor is fitted.

    Parameters
    ----------
    network : SpectrumNetwork
    seen : Seen
        N galaxies.
    vectors : tensor (..., N * n, D)
        Coefficients of candidates.
    known : Known
        Of the candidates.

    Returns
    -------
    chi2 : tensor (..., N, n), float32
        NaN where too few fluxes count.
    number : tensor (..., N)
        Of fluxes that count.
    """
    count = len(seen.ebv)
    n = vectors.shape[-2] // count
    rows = torch.arange(count, device=vectors.device)[:, None].expand(count, n).reshape(-1)
    model = (known.parts * network.linear_parts(vectors)[..., None, :]).sum(-1).double()
    flux, error = seen.tokens.flux[rows].double(), seen.tokens.error[rows].double()
    counts = seen.tokens.seen[rows] & known.covered
    fibre = counts & (seen.tokens.kind[rows] == KIND_GROUPS["fibre"])
    counts = torch.where(fibre.sum(-1, keepdim=True) >= LEAST, fibre, counts)  # one aperture
    weight = counts / (error**2 + (MODEL_ERROR * flux) ** 2)
    number = (weight > 0).sum(-1)
    scale = (weight * flux * model).sum(-1) / (weight * model**2).sum(-1).clamp(min=1e-30)
    chi2 = (weight * (flux - scale[..., None].clamp(min=0) * model) ** 2).sum(-1) / (number - 1).clamp(min=1)
    chi2 = torch.where(number >= LEAST, chi2, torch.nan).float().unflatten(-1, (count, n))
    return chi2, torch.where(number >= LEAST, number, 0).unflatten(-1, (count, n))[..., 0]
