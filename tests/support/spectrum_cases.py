"""One real galaxy's spectrum in nine common layouts of the shared cases, as astropy reads it."""

import numpy as np
from astropy.io import fits

from pix2spec.core.grid import SpectralGrid
from support.paths import SHARED

__all__ = ["CASES", "FILES", "GRID", "expected"]

CASES = SHARED.parent / "cases" / "spectra"
GRID = SpectralGrid()
LINEAR = 3891.4514499428046 + np.arange(5014)
Z = 0.01807604357600212


def rows(name):
    return fits.getdata(CASES / name).astype(float)


def table(name, *columns):
    data = fits.getdata(CASES / name, 1)
    return [np.asarray(data[column], float) for column in columns]


def expected(name):
    """Wavelength, flux and error in 1e-17 erg/s/cm2/Angstrom; the error is None if the file has none."""
    if name.startswith("lamost"):
        flux, ivar, wave = rows(name)[:3]
        return wave, flux, 1 / np.sqrt(ivar)
    if name.startswith("spSpec"):
        flux, _, error = rows(name)[:3]
        return GRID.wave, flux, error
    if name.startswith("gama"):
        flux, error, _ = rows(name)
        return LINEAR, flux, error
    if name.startswith("spec-"):
        loglam, flux, ivar = table(name, "LOGLAM", "FLUX", "IVAR")
        return 10**loglam, flux, 1 / np.sqrt(ivar)
    if name.startswith("wcs1d"):
        return LINEAR, rows(name), None
    if name.startswith("three"):
        return np.loadtxt(CASES / name).T
    if name.startswith("unit"):
        return *table(name, "WAVELENGTH", "FLUX"), None
    names = ("WAVE", "FLUX", "ERR_FLUX") if name.startswith("wave") else ("wavelength", "flux", "uncertainty")
    wave, flux, error = table(name, *names)
    return wave, 1e17 * flux, 1e17 * error


FILES = {  # id, redshift
    "spec-15001-59187-27021597911984196.fits": ("15001-59187-27021597911984196", Z),
    "spSpec-51602-0266-013.fit": ("0266-51602-0013", Z),
    "lamost-rows.fits": ("lamost-rows", np.nan),
    "gama-rows.fits": ("gama-rows", Z),
    "wave-flux-err.fits": ("wave-flux-err", np.nan),
    "specutils-tabular.fits": ("specutils-tabular", np.nan),
    "wcs1d-linear.fits": ("wcs1d-linear", np.nan),
    "three-columns.txt": ("three-columns", np.nan),
    "unit-Angstroms.fits": ("unit-Angstroms", np.nan),
}
