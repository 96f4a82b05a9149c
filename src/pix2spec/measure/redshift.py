"""Redshifts of spectra, by least squares of templates at every redshift at once.

The sums over pixels that a linear fit needs are correlations of weights and weighted fluxes with templates
and their products, as on the log-wavelength lattice a redshift is a shift: a few Fourier transforms give
chi2 at all redshifts (Tonry & Davis 1979, AJ 84:1511; Glazebrook et al. 1998, ApJ 492:98). Flags are
SDSS's ZWARNING bits (Bolton et al. 2012, arXiv:1207.7326).
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from scipy.fft import next_fast_len

from pix2spec.core.lines import LIGHT_SPEED_KM_S
from pix2spec.errors import InputError
from pix2spec.models.latent.basis import RestFrameBasis

__all__ = [
    "LITTLE_COVERAGE",
    "NEGATIVE_MODEL",
    "SMALL_DELTA_CHI2",
    "Z_FITLIMIT",
    "RedshiftFit",
    "RedshiftFitter",
]

LITTLE_COVERAGE, SMALL_DELTA_CHI2, NEGATIVE_MODEL, Z_FITLIMIT = 2, 4, 8, 32
LINE_WIDTH_KM_S = 125.0  # dispersion of the templates' emission lines
MIN_SEPARATION_KM_S = 1000.0  # of two minima of chi2
MIN_DELTA_CHI2 = 0.01  # per pixel, between the best and the next minimum: a clear redshift
MAX_BLUESHIFT_PIXELS = 10  # below redshift zero
CHUNK_SPECTRA = 8


@dataclass
class RedshiftFit:
    """Best redshifts of n spectra."""

    z: np.ndarray  # (n,), NaN where a spectrum has no valid pixel
    z_err: np.ndarray  # (n,) distance at which chi2 has risen by one; correct if ivar is
    chi2: np.ndarray  # (n,) per valid pixel
    delta_chi2: np.ndarray  # (n,) per valid pixel, up to the next minimum
    zwarning: np.ndarray  # (n,) int, bits as SDSS's ZWARNING; 0 is a clear redshift


class RedshiftFitter:
    """Fits templates to spectra on the grid of a rest-frame basis.

    Parameters
    ----------
    basis : RestFrameBasis, optional
        Its continuum, components and lines make the templates: the leading directions of the
        distribution that it has learned. By default that of ``default``.
    templates : int
        How many directions; lines of one galaxy rise and fall together.
    """

    def __init__(self, basis: RestFrameBasis | None = None, templates: int = 10):
        basis = basis or _shipped_basis()
        self.grid, self.z_max = basis.grid, basis.z_max
        self.zero = round((basis.grid.start - basis.start) / basis.grid.step)  # lag of redshift zero
        self.templates = leading_templates(basis, templates)
        self.pairs = torch.triu_indices(templates, templates)
        self.length = next_fast_len(basis.size, real=True)
        products = self.templates[self.pairs[0]] * self.templates[self.pairs[1]]
        self._products = torch.fft.rfft(products, self.length)
        self._singles = torch.fft.rfft(self.templates, self.length)

    @torch.no_grad()
    def fit(self, flux: np.ndarray, ivar: np.ndarray | None = None) -> RedshiftFit:
        """Find the redshifts of spectra.

        Parameters
        ----------
        flux : array (n, L)
            On the basis's grid, in any unit.
        ivar : array (n, L), optional
            Zero where a pixel is missing. Without it every pixel weighs the same, with errors of 2 % of the
            median: for spectra without noise.

        Raises
        ------
        InputError
            If the spectra are on another grid.
        """
        flux = np.atleast_2d(flux)
        if flux.shape[1] != self.grid.size:
            raise InputError("flux", f"{flux.shape[1]} pixels", f"the templates' grid has {self.grid.size}")
        if ivar is None:
            level = np.abs(np.nanmedian(flux, 1, keepdims=True))
            ivar = np.broadcast_to(1 / np.maximum(0.02 * level, 1e-9) ** 2, flux.shape)
        good = (ivar > 0) & np.isfinite(ivar) & np.isfinite(flux)
        weight, flux = (
            torch.from_numpy(np.where(good, ivar, 0.0)),
            torch.from_numpy(np.where(good, flux, 0.0)),
        )
        parts = [
            self._fit(flux[i : i + CHUNK_SPECTRA], weight[i : i + CHUNK_SPECTRA])
            for i in range(0, len(flux), CHUNK_SPECTRA)
        ]
        return RedshiftFit(*(np.concatenate(column) for column in zip(*parts)))

    def chi2(self, flux: torch.Tensor, weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """chi2 (n, lags) of the best fits, and their coefficients.

        Lags start `MAX_BLUESHIFT_PIXELS` below redshift zero. `flux` and `weight` (n, L) are float64.
        """
        lags = slice(4, self.zero + MAX_BLUESHIFT_PIXELS + 1)
        gram = self._correlate(self._products, weight)[..., lags].flip(-1).movedim(1, -1)
        right = self._correlate(self._singles, weight * flux)[..., lags].flip(-1).movedim(1, -1)
        k = len(self.templates)
        matrix = torch.zeros(*gram.shape[:2], k, k, dtype=torch.float64)
        matrix[..., self.pairs[0], self.pairs[1]] = gram
        matrix[..., self.pairs[1], self.pairs[0]] = gram
        diagonal = torch.diagonal(matrix, dim1=-2, dim2=-1)
        diagonal += 1e-9 * diagonal.mean(-1, keepdim=True) + 1e-12
        theta = torch.cholesky_solve(right[..., None], torch.linalg.cholesky(matrix))[..., 0]
        return (flux.square() * weight).sum(1)[:, None] - (theta * right).sum(-1), theta

    def _correlate(self, transformed: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """Sums over pixels i of x[i] template[i + lag]: (n, templates, lags)."""
        return torch.fft.irfft(transformed * torch.fft.rfft(x, self.length).conj()[:, None], self.length)

    def _fit(self, flux, weight):
        chi2, theta = self.chi2(flux, weight)
        lags, rows = chi2.shape[1], torch.arange(len(chi2))
        pixels = (weight > 0).sum(1).clamp(min=1)
        best = chi2[:, 1:-1].argmin(1) + 1
        left, middle, right = (chi2[rows, best + k] for k in (-1, 0, 1))
        curvature = (left - 2 * middle + right).clamp(min=1e-12)
        offset = (0.5 * (left - right) / curvature).clamp(-0.5, 0.5)
        pixel = best - MAX_BLUESHIFT_PIXELS + offset
        z = 10 ** (pixel * self.grid.step) - 1
        apart = MIN_SEPARATION_KM_S / (LIGHT_SPEED_KM_S * np.log(10) * self.grid.step)
        near = (torch.arange(lags) - best[:, None]).abs() < apart
        delta = (chi2.masked_fill(near, torch.inf).amin(1) - middle) / pixels
        error = (2 / curvature).sqrt() * np.log(10) * self.grid.step * (1 + z)
        warning = LITTLE_COVERAGE * (pixels < 0.5 * self.grid.size).int()
        warning += SMALL_DELTA_CHI2 * (delta < MIN_DELTA_CHI2).int()
        warning += NEGATIVE_MODEL * self._negative(theta[rows, best], best).int()
        warning += Z_FITLIMIT * ((best <= 1) | (best >= lags - 2)).int()
        z = torch.where((weight > 0).any(1), z, torch.nan)
        return [v.numpy() for v in (z, error, middle / pixels, delta, warning)]

    def _negative(self, theta, best):
        """Whether the fitted spectra have more negative than positive light."""
        first = self.zero + MAX_BLUESHIFT_PIXELS - best
        index = first[:, None] + torch.arange(self.grid.size)
        model = theta @ self.templates
        return model.gather(1, index).sum(1) < 0


def leading_templates(basis: RestFrameBasis, n: int) -> torch.Tensor:
    """The `n` directions (n, size), float64, that hold most of the light of the basis's galaxies."""
    covariance = torch.linalg.inv(basis.prior_precision)
    covariance[0], covariance[:, 0] = 0, 0  # the scale is one
    moment = covariance + torch.outer(basis.prior_mean, basis.prior_mean)
    values, vectors = torch.linalg.eigh(moment)
    root = vectors * values.clamp(min=0).sqrt()
    spectra = basis.design(LINE_WIDTH_KM_S).double() @ root
    return torch.linalg.svd(spectra, full_matrices=False)[0][:, :n].T.contiguous()


@cache
def _shipped_basis() -> RestFrameBasis:
    from pix2spec.models.storage import find_model, load_model

    return load_model(find_model("default"))[0].basis
