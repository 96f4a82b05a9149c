"""The best linear answer: a galaxy's coefficients from its fluxes at a known redshift, in closed form.

At redshift z the fluxes F of a galaxy are linear in its coefficients: F = s A (1, c) + noise, where A are
the fluxes of the basis (`BandTables`), s is the scale and c the coefficients of continuum and lines. With
the Gaussian prior of the basis, p(c | F, z) is Gaussian at a given scale (Rasmussen & Williams 2006, section
2.1). Galaxies are not Gaussian: the flow learns the rest.
"""

from dataclasses import dataclass
from functools import cached_property

import torch

__all__ = ["LinearFit", "LinearPrior", "fit_linear"]

SCALE_SD = 2.0  # of the relative error of the first guess of the scale
MODEL_ERROR = 0.004  # relative error of the basis in a filter
ROUNDS = 3  # of improving the scale


@dataclass
class LinearPrior:
    """Mean (..., q + 1) of (1, c), and Cholesky factor (..., q, q) of the covariance of c, in float64."""

    mean: torch.Tensor
    factor: torch.Tensor

    @classmethod
    def of(cls, mean: torch.Tensor, precision: torch.Tensor) -> "LinearPrior":
        """Of the prior of a `RestFrameBasis`, or of a stack of them."""
        covariance = torch.linalg.inv(precision)[..., 1:, 1:]
        jitter = 1e-8 * torch.eye(covariance.shape[-1], dtype=covariance.dtype, device=covariance.device)
        return cls(mean, torch.linalg.cholesky((covariance + covariance.mT) / 2 + jitter))

    @cached_property
    def covariance(self) -> torch.Tensor:
        """Covariance (..., q, q) of c."""
        return self.factor @ self.factor.mT


@dataclass
class LinearFit:
    """Posterior of B galaxies."""

    mean: torch.Tensor  # (..., B, q) of c
    sd: torch.Tensor  # (..., B, q) of c
    scale: torch.Tensor  # (..., B) s; 1 where nothing is seen
    chi2: torch.Tensor  # (..., B) of the fluxes at the mean, per flux
    log_evidence: torch.Tensor  # (..., B) of the fluxes, but for a constant that is the same at all redshifts


def fit_linear(
    prior: LinearPrior, parts: torch.Tensor, flux: torch.Tensor, error: torch.Tensor, seen: torch.Tensor
) -> LinearFit:
    """Coefficients and scale from fluxes.

    Parameters
    ----------
    prior : LinearPrior
    parts : tensor (..., B, K, 1 + q)
        Fluxes A of the basis in nanomaggies, for a scale of one.
    flux, error : tensor (..., B, K)
        Nanomaggies.
    seen : tensor (..., B, K), bool
        Fluxes that count.

    Returns
    -------
    LinearFit
    """
    parts, flux, error = parts.double(), flux.double(), error.double()
    error = torch.hypot(error, MODEL_ERROR * flux)
    base = _times(parts, prior.mean[..., None])[..., 0]  # (..., B, K) fluxes of the mean spectrum
    any_seen = seen.any(-1)
    rough = seen / (error**2 + (0.2 * flux) ** 2).clamp(min=1e-30)
    norm = (rough * base**2).sum(-1).clamp(min=1e-30)
    guess = (rough * flux * base).sum(-1) / norm
    least = 0.1 * (rough * error * base.abs()).sum(-1) / norm  # fluxes may be negative, a scale may not
    scale = torch.where(any_seen, torch.maximum(guess, least), 1.0)
    # In units of the errors, with the coefficients in units of their prior. There are fewer fluxes than
    # coefficients: all matrices are those of fluxes (Rasmussen & Williams 2006, eq. A.9).
    inverse, varied = seen / error, parts[..., 1:]
    design = torch.cat([SCALE_SD * base[..., None], _times(varied, prior.factor)], -1) * inverse[..., None]
    gram = design @ design.mT
    eye = torch.eye(gram.shape[-1], dtype=gram.dtype, device=gram.device)
    for _ in range(ROUNDS):
        before = scale
        chol = torch.linalg.cholesky(eye + (before**2)[..., None, None] * gram)
        offset = inverse * (flux - before[..., None] * base)
        weighed = torch.cholesky_solve(offset[..., None], chol)
        answer = before[..., None] * (design.mT @ weighed)[..., 0]
        change = (1 + SCALE_SD * answer[..., 0]).clamp(0.3, 3)
        scale = torch.where(any_seen, before * change, before)
    power = (offset * weighed[..., 0]).sum(-1)
    log_evidence = -0.5 * power - torch.log(torch.diagonal(chol, dim1=-2, dim2=-1)).sum(-1)
    whitened = answer[..., 1:] / change[..., None]
    shift = whitened @ prior.factor.mT
    towards = before[..., None, None] * (inverse[..., None] * _times(varied, prior.covariance))
    known = torch.linalg.solve_triangular(chol, towards, upper=False).square().sum(-2)
    variance = torch.diagonal(prior.covariance, dim1=-2, dim2=-1)[..., None, :]
    sd = torch.maximum(variance - known, 1e-12 * variance).sqrt()
    model = base + (varied @ shift[..., None])[..., 0]
    misfit = seen * ((flux - scale[..., None] * model) / error) ** 2
    chi2 = misfit.sum(-1) / seen.sum(-1).clamp(min=1)
    return LinearFit(prior.mean[..., None, 1:] + shift, sd, scale, chi2, log_evidence)


def _times(parts: torch.Tensor, matrix: torch.Tensor) -> torch.Tensor:
    """Products (..., B, K, R) of parts (..., B, K, P) with a matrix (..., P, R), in one go."""
    return (parts.flatten(-3, -2) @ matrix).unflatten(-2, parts.shape[-3:-1])
