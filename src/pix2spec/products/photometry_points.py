"""Photometry as points on a spectrum: flux densities at the filters' wavelengths."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pix2spec.core.extinction import correct
from pix2spec.core.filters import Filter, load_filter
from pix2spec.core.lines import LIGHT_SPEED_ANGSTROM_S
from pix2spec.core.photometry import FLUX_UNIT, NANOMAGGY
from pix2spec.products.units import PHYSICAL

if TYPE_CHECKING:
    from pix2spec.products.ensemble import Ensemble

__all__ = ["PhotometryPoints", "photometry_points", "pivot_wavelength"]

# Filters are drawn whose wavelength lies within these factors of the first and the last pixel of a spectrum.
NEAR = (0.75, 1.15)


class PhotometryPoints(NamedTuple):
    """Points of a figure: parallel arrays, in the order of the wavelength."""

    filters: tuple[str, ...]
    kinds: tuple[str, ...]
    wave: np.ndarray  # Angstrom, pivot wavelengths
    half_width: np.ndarray  # Angstrom, of the box that has the filter's standard deviation
    flux: np.ndarray  # 1e-17 erg/s/cm2/Angstrom
    error: np.ndarray  # the same unit

    @property
    def label(self) -> str:
        """Name in a legend: with the kind of the fluxes, if it is known and all have the same."""
        kind = set(self.kinds)
        return f"photometry ({kind.pop()})" if len(kind) == 1 and "unknown" not in kind else "photometry"


def pivot_wavelength(curve: Filter) -> float:
    """Wavelength in Angstrom that relates mean f_nu and f_lambda: f_lambda = f_nu c / wavelength^2."""
    wave, response = curve.wave, curve.response
    return float(np.sqrt(np.trapezoid(response * wave, wave) / np.trapezoid(response / wave, wave)))


def photometry_points(ensemble: Ensemble) -> PhotometryPoints | None:
    """The photometry of an ensemble near its spectra, corrected for a known Galactic extinction.

    Returns
    -------
    PhotometryPoints or None
        None if there is no flux to show, or the spectra are relative.
    """
    given = ensemble.measurements
    if given is None or ensemble.unit != PHYSICAL:
        return None
    flux, error = np.asarray(given.flux, float), np.asarray(given.error, float)
    if not isinstance(given.extinction, str):
        flux, ivar = correct(given.filters, flux, given.ivar, given.extinction, given.curves)
        error = 1 / np.sqrt(ivar)
    curves = [load_filter(name, given.curves) for name in given.filters]
    wave = np.array([pivot_wavelength(curve) for curve in curves])
    low, high = ensemble.grid.wave[[0, -1]] * NEAR
    shown = np.flatnonzero((wave > low) & (wave < high) & np.isfinite(flux) & np.isfinite(error))
    if not len(shown):
        return None
    shown = shown[np.argsort(wave[shown], kind="stable")]
    unit = NANOMAGGY * LIGHT_SPEED_ANGSTROM_S / wave[shown] ** 2 / FLUX_UNIT
    return PhotometryPoints(
        tuple(given.filters[k] for k in shown),
        tuple(given.kinds[k] for k in shown),
        wave[shown],
        np.sqrt(3) * np.array([curves[k].width for k in shown]),
        flux[shown] * unit,
        error[shown] * unit,
    )
