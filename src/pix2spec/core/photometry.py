"""Synthetic photometry: the band fluxes of spectra in nanomaggies."""

from collections.abc import Sequence

import numpy as np

from pix2spec.core.filters import Filter, load_filter
from pix2spec.core.lines import LIGHT_SPEED_ANGSTROM_S

__all__ = [
    "MISSING",
    "MISSING_FLUX",
    "aperture_weights",
    "filter_matrix",
    "fit_amplitude",
    "is_missing",
    "magnitude",
    "synthetic_photometry",
]

NANOMAGGY = 3.631e-29  # erg/s/cm2/Hz: the AB zero point times 1e-9
NANOMAGGY_MAGNITUDE = 22.5  # AB magnitude of one nanomaggy
MIN_MAGNITUDE, MAX_MAGNITUDE = 1.0, 32.0  # AB; values outside mark missing data, such as -9999, 0 or 99
# Numbers that catalogues write for missing magnitudes, errors and redshifts, and for missing fluxes
MISSING = (-9999.0, -999.0, -99.0, -9.0, 99.0, 999.0)
MISSING_FLUX = (-9999.0, -999.0)
FLUX_UNIT = 1e-17  # spectra are in 1e-17 erg/s/cm2/Angstrom


def magnitude(flux: np.ndarray | float) -> np.ndarray:
    """AB magnitudes (...) of fluxes (...) in nanomaggies; NaN where a flux is not positive."""
    return NANOMAGGY_MAGNITUDE - 2.5 * np.log10(np.where(np.asarray(flux) > 0, flux, np.nan))


def is_missing(values, markers: Sequence[float] = MISSING) -> np.ndarray:
    """Where values (...) are NaN, infinite, or one of the numbers that mark missing data."""
    values = np.asarray(values, np.float32)
    return ~np.isfinite(values) | np.isin(values, np.array(markers, np.float32))


def filter_matrix(wave: np.ndarray, filters: Sequence[str | Filter], min_coverage: float = 0.0) -> np.ndarray:
    """Weights that turn spectra into AB band fluxes: ``nanomaggies = flux @ weights``.

    The flux in a band follows the convention for photon counters: sum(f_lambda T lambda dlambda) /
    sum(g_lambda T lambda dlambda), where T is the response curve and g_lambda the spectrum of a constant AB
    source (Fukugita et al. 1996, AJ 111:1748).

    Parameters
    ----------
    wave : array (L,)
        Vacuum wavelengths of the pixels in Angstrom, increasing.
    filters : sequence of str or Filter
        speclite's names, for example ``"sdss2010-r"``, or curves.
    min_coverage : float
        The weights of a band are NaN if a smaller fraction of its transmission lies inside `wave`.

    Returns
    -------
    array (L, band), float64
        Weights for spectra in 1e-17 erg/s/cm2/Angstrom. A filter that extends beyond `wave` is normalised to
        the part inside.

    Raises
    ------
    InputError
        If speclite does not have a curve, or it lies beyond 5.5 um.
    """
    width = np.gradient(wave)
    columns = []
    for item in filters:
        curve = load_filter(item) if isinstance(item, str) else item
        response = np.interp(wave, curve.wave, curve.response, left=0, right=0)
        inside = np.sum(response * width) / np.trapezoid(curve.response, curve.wave)
        ab_source = np.sum(response / wave * width) * LIGHT_SPEED_ANGSTROM_S * NANOMAGGY
        if ab_source == 0 or inside < min_coverage:
            columns.append(np.full(len(wave), np.nan))
        else:
            columns.append(response * wave * width / ab_source * FLUX_UNIT)
    return np.stack(columns, axis=1)


def synthetic_photometry(
    flux: np.ndarray, wave: np.ndarray, filters: Sequence[str | Filter], min_coverage: float = 0.99
) -> np.ndarray:
    """AB band fluxes of spectra.

    Parameters
    ----------
    flux : array (..., L)
        Spectra in 1e-17 erg/s/cm2/Angstrom.
    wave, filters, min_coverage
        As in `filter_matrix`.

    Returns
    -------
    array (..., band)
        Fluxes in nanomaggies; NaN for bands that extend beyond the spectrum, such as SDSS u and z on the
        default grid.
    """
    return flux @ filter_matrix(wave, filters, min_coverage)


def fit_amplitude(
    x: np.ndarray, weights: np.ndarray, photometry: np.ndarray, ivar: np.ndarray, fit_offset: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Fit the scale (and offset) of spectra in unknown units to observed band fluxes.

    Synthetic photometry is linear in the spectrum. The fit is therefore a weighted least-squares fit of
    ``photometry = offset * (1 @ weights) + scale * (x @ weights)``.

    Parameters
    ----------
    x : array (n, L)
        Spectra in relative units.
    weights : array (L, B)
        As `filter_matrix` gives them. Bands with NaN weights are not used.
    photometry, ivar : array (B,)
        Observed fluxes in nanomaggies and their inverse variances, 0 where not observed.
    fit_offset : bool
        Whether the offset of the spectra is unknown too, as after `minmax` scaling. Its fit needs at least
        two bands.

    Returns
    -------
    offset, scale : array (n, 1)
        ``flux = offset + scale * x``. NaN if the bands do not determine them, or the scale is not positive.
    """
    used = np.isfinite(weights).all(0) & (ivar > 0) & np.isfinite(photometry)
    if used.sum() < 1 + fit_offset:
        nothing = np.full((len(x), 1), np.nan)
        return nothing, nothing
    # The calibration of spectra is not better than 2 %. Without this error, one bright band would dominate.
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
    """Share of each pixel inside a circular aperture about the centre of an image.

    The share of pixels at the edge of the aperture is approximate, from the distance of their centres to it.

    Parameters
    ----------
    shape : (int, int)
        Numbers of rows and columns.
    pixel_scale : float
        Arcsec per pixel.
    diameter : float
        Diameter of the aperture in arcsec.

    Returns
    -------
    array (y, x), float32
    """
    y, x = (np.arange(n) - (n - 1) / 2 for n in shape)
    radius = np.hypot(y[:, None], x) * pixel_scale
    return np.clip((diameter / 2 - radius) / pixel_scale + 0.5, 0, 1).astype(np.float32)
