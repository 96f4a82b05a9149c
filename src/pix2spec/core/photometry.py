"""Synthetic photometry: spectra to band fluxes in nanomaggies."""

from functools import lru_cache

import numpy as np

from pix2spec.core.lines import LIGHT_SPEED_ANGSTROM_S
from pix2spec.errors import InputError

__all__ = ["aperture_weights", "filter_matrix", "fit_amplitude", "magnitude", "synthetic_photometry"]

NANOMAGGY = 3.631e-29  # erg/s/cm2/Hz: the AB zero point times 1e-9
NANOMAGGY_MAGNITUDE = 22.5  # AB magnitude of one nanomaggy
MIN_MAGNITUDE, MAX_MAGNITUDE = 1.0, 32.0  # AB; numbers outside are fillers such as -9999, 0 or 99
FLUX_UNIT = 1e-17  # spectra are in 1e-17 erg/s/cm2/Angstrom


def magnitude(flux: np.ndarray | float) -> np.ndarray:
    """AB magnitudes of fluxes in nanomaggies; NaN where a flux is not positive."""
    return NANOMAGGY_MAGNITUDE - 2.5 * np.log10(np.where(np.asarray(flux) > 0, flux, np.nan))


@lru_cache(maxsize=16)
def _filter_curve(name: str) -> tuple[np.ndarray, np.ndarray]:
    import speclite.filters

    try:
        curve = speclite.filters.load_filter(name)
    except ValueError as error:
        what = "the speclite that is installed has no such response curve"
        raise InputError(name, what, "pip install -U speclite, or name another in the survey") from error
    return np.asarray(curve.wavelength, float), np.asarray(curve.response, float)


def filter_matrix(wave: np.ndarray, filters: tuple[str, ...], min_coverage: float = 0.0) -> np.ndarray:
    """Weights that turn f_lambda into AB band fluxes: ``nanomaggies = flux @ weights``.

    Photon-counting convention: sum(f_lambda T lambda dlambda) / sum(g_lambda T lambda dlambda), where
    g_lambda is the spectrum of a constant AB source (Fukugita et al. 1996, AJ 111:1748).

    Parameters
    ----------
    wave : array (L,)
        Vacuum wavelengths of the pixels in Angstrom, increasing.
    filters : tuple of str
        speclite names, for example ``"sdss2010-r"``.
    min_coverage : float
        A band with a smaller fraction of its transmission inside `wave` gets NaN weights.

    Returns
    -------
    array (L, number of filters), float64
        For spectra in 1e-17 erg/s/cm2/Angstrom. The integral runs over the pixels that are given: a
        filter that extends beyond them is renormalised to the part that is inside.
    """
    width = np.gradient(wave)
    columns = []
    for name in filters:
        curve_wave, curve = _filter_curve(name)
        response = np.interp(wave, curve_wave, curve, left=0, right=0)
        inside = np.sum(response * width) / np.trapezoid(curve, curve_wave)
        ab_source = np.sum(response / wave * width) * LIGHT_SPEED_ANGSTROM_S * NANOMAGGY
        if ab_source == 0 or inside < min_coverage:
            columns.append(np.full(len(wave), np.nan))
        else:
            columns.append(response * wave * width / ab_source * FLUX_UNIT)
    return np.stack(columns, axis=1)


def synthetic_photometry(
    flux: np.ndarray, wave: np.ndarray, filters: tuple[str, ...], min_coverage: float = 0.99
) -> np.ndarray:
    """AB fluxes in nanomaggies of spectra `flux` (..., L) in 1e-17 erg/s/cm2/Angstrom.

    Bands that reach outside the spectrum (SDSS u and z on the default grid) come out as NaN.
    """
    return flux @ filter_matrix(wave, filters, min_coverage)


def fit_amplitude(
    x: np.ndarray, weights: np.ndarray, photometry: np.ndarray, ivar: np.ndarray, fit_offset: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Scale (and offset) that make spectra of unknown units agree with observed band fluxes.

    Synthetic photometry is linear in the spectrum, so this is weighted least squares:
    ``photometry = offset * (1 @ weights) + scale * (x @ weights)``.

    Parameters
    ----------
    x : array (n, L)
        Spectra in relative units.
    weights : array (L, B)
        From `filter_matrix`; bands with NaN weights are not used.
    photometry, ivar : array (B,)
        Observed fluxes in nanomaggies and their inverse variances (0: not observed).
    fit_offset : bool
        Whether the spectra also lost their zero point (min-max scaling): needs two bands or more.

    Returns
    -------
    offset, scale : array (n, 1)
        ``flux = offset + scale * x``. NaN where the bands do not determine them with scale > 0.
    """
    used = np.isfinite(weights).all(0) & (ivar > 0) & np.isfinite(photometry)
    if used.sum() < 1 + fit_offset:
        nothing = np.full((len(x), 1), np.nan)
        return nothing, nothing
    # Percent errors would let one bright band rule: the calibration of spectra is no better than 2 %.
    sigma = np.hypot(1 / np.sqrt(ivar[used]), 0.02 * np.abs(photometry[used]))
    flat, synthetic = weights[:, used].sum(0) / sigma, x @ weights[:, used] / sigma
    target = photometry[used] / sigma
    if fit_offset:
        ss, sf, ff = (synthetic**2).sum(1), synthetic @ flat, flat @ flat
        st, ft = synthetic @ target, flat @ target
        determinant = ss * ff - sf**2
        scale = (st * ff - ft * sf) / determinant
        offset = (ft - scale * sf) / ff
    else:
        scale = synthetic @ target / (synthetic**2).sum(1)
        offset = np.zeros_like(scale)
    bad = ~(np.isfinite(scale) & (scale > 0))
    return np.where(bad, np.nan, offset)[:, None], np.where(bad, np.nan, scale)[:, None]


def aperture_weights(shape: tuple[int, int], pixel_scale: float, diameter: float) -> np.ndarray:
    """Share of each pixel (y, x), float32, inside a circle of `diameter` about the image's centre.

    Pixels on the rim count in proportion to their distance from it, to first order. `pixel_scale` and
    `diameter` are in arcsec.
    """
    y, x = (np.arange(n) - (n - 1) / 2 for n in shape)
    radius = np.hypot(y[:, None], x) * pixel_scale
    return np.clip((diameter / 2 - radius) / pixel_scale + 0.5, 0, 1).astype(np.float32)
