"""Read one observed spectrum from a file of any common kind, with its own wavelengths."""

import re
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pix2spec.core.grid import SpectralGrid
from pix2spec.data.readers.desi import is_coadd
from pix2spec.data.readers.guards import fits_hdus, reading, sniff
from pix2spec.data.readers.spectra import read_spectrum
from pix2spec.data.readers.table_formats import read_table
from pix2spec.errors import InputError

__all__ = ["ObservedSpectrum", "read_observed_spectrum"]

WAVELENGTHS = ("loglam", "wavelength", "wave", "lambda", "lam")
FLUXES = ("flux", "flam", "f_lambda")
ERRORS = ("error", "err", "sigma", "uncertainty", "flux_error", "flux_err", "fluxerr", "ferr", "stat")
INVERSE_VARIANCES = ("ivar", "flux_ivar")
FORM = "give a table with the columns wavelength, flux, error"
SDSS_UNIT = "1e-17 erg / (s cm2 Angstrom)"


@dataclass(frozen=True)
class ObservedSpectrum:
    """A spectrum as a file states it, with units if the file has some."""

    wave: Any  # array (L,) in Angstrom, or Quantity
    flux: Any  # array (L,) of unknown scale, or Quantity
    error: Any  # as `flux`, or None

    @property
    def is_relative(self) -> bool:
        """Whether the file states no unit, so that the scale of the flux is unknown."""
        return getattr(self.flux, "unit", None) is None


def read_observed_spectrum(path: str | Path) -> ObservedSpectrum:
    """Read one spectrum.

    Parameters
    ----------
    path : str or Path
        A table (FITS, ECSV, CSV, VOTable or Parquet) with the columns wavelength or loglam, flux and, if it
        is known, error or ivar, under these or similar names; SDSS's ``spec`` files and files of
        `Ensemble.write_fits` are such. Or a DESI coadd of one target, or another FITS file that
        `specutils.Spectrum.read` knows.

    Returns
    -------
    ObservedSpectrum
        Pixels increase in wavelength; missing ones have an error of infinity. A flux without a unit is an
        array, whose scale is unknown.

    Raises
    ------
    InputError
        If the file is damaged, or holds no spectrum or several.
    """
    kind = sniff(path)
    packed = kind in ("gzip", "bz2") and ".fit" in Path(path).name.lower()
    found = _from_fits(path) if kind == "fits" or packed else _from_table(path, read_table(path), None)
    order = np.argsort(np.asarray(getattr(found.wave, "value", found.wave)))
    if (np.diff(order) == 1).all():
        return found
    error = None if found.error is None else found.error[order]
    return ObservedSpectrum(found.wave[order], found.flux[order], error)


def _from_fits(path) -> ObservedSpectrum:
    from astropy.table import Table

    if is_coadd(path):
        galaxy = read_spectrum(path)
        unit = _parsed(SDSS_UNIT)
        error = _error_of(np.asarray(galaxy.ivar))
        return ObservedSpectrum(SpectralGrid().wave, galaxy.flux * unit, error * unit)
    with fits_hdus(path) as hdus:
        header = hdus[0].header
        tables = [hdu for hdu in hdus if hasattr(hdu, "columns") and _first(hdu.columns.names, FLUXES)]
        if tables:
            unit = tables[0].header.get("BUNIT", header.get("BUNIT"))
            return _from_table(path, Table.read(hdus, hdu=hdus.index(tables[0])), unit)
        unit = _parsed(header.get("BUNIT"))  # specutils takes A for ampere
    try:
        return _from_specutils(path, unit)
    except InputError as error:
        what = f"it holds no spectrum that specutils can read: {error.what[:100]}"
        raise InputError(path, what, FORM) from error


def _from_specutils(path, unit) -> ObservedSpectrum:
    import specutils
    from astropy.nddata import StdDevUncertainty

    with reading(path, "a spectrum"):
        reader = getattr(specutils, "Spectrum", None) or specutils.Spectrum1D
        spectrum = reader.read(str(path))
        if spectrum.flux.ndim != 1:
            raise InputError(path, f"its flux has {spectrum.flux.ndim} axes", "give one spectrum")
        error = None
        if spectrum.uncertainty is not None:
            error = spectrum.uncertainty.represent_as(StdDevUncertainty).array
        error = _without(error, spectrum.mask)
        unit = unit or spectrum.flux.unit
        error = None if error is None else _with_unit(error, unit)
        return ObservedSpectrum(spectrum.spectral_axis.quantity, _with_unit(spectrum.flux.value, unit), error)


def _from_table(path, table, unit_of_file: str | None) -> ObservedSpectrum:
    names = (_first(table.colnames, some) for some in (WAVELENGTHS, FLUXES, ERRORS, INVERSE_VARIANCES))
    wave_name, flux_name, error_name, ivar_name = names
    if wave_name is None or flux_name is None:
        what = f"it has no columns wavelength and flux, only {', '.join(table.colnames)[:100]}"
        raise InputError(path, what, FORM)
    wave, flux = _numbers(path, table, wave_name), _numbers(path, table, flux_name)
    is_log = wave_name.lower() == "loglam"
    unit = getattr(table[flux_name], "unit", None) or unit_of_file or (SDSS_UNIT if is_log else None)
    error = None
    if error_name:
        error = _numbers(path, table, error_name)
    elif ivar_name:
        error = _error_of(_numbers(path, table, ivar_name))
    if "mask" in table.colnames and table["mask"].dtype.kind == "b":
        error = _without(error, np.asarray(table["mask"]))
    unit = _parsed(unit)
    wave = 10**wave if is_log else _with_unit(wave, getattr(table[wave_name], "unit", None))
    return ObservedSpectrum(wave, _with_unit(flux, unit), None if error is None else _with_unit(error, unit))


def _error_of(ivar: np.ndarray) -> np.ndarray:
    """Standard deviations; infinity where the inverse variance is not positive."""
    return np.where(ivar > 0, 1 / np.sqrt(np.where(ivar > 0, ivar, 1)), np.inf)


def _without(error, mask):
    """Errors in which masked pixels are infinite."""
    return error if error is None or mask is None else np.where(mask, np.inf, error)


def _first(columns, names) -> str | None:
    known = {name.lower().strip(): name for name in reversed(list(columns))}
    return next((known[name] for name in names if name in known), None)


def _numbers(path, table, name: str) -> np.ndarray:
    values = np.ma.asarray(table[name])
    if values.dtype.kind not in "iuf" or values.squeeze().ndim != 1:
        raise InputError(path, f"its column {name!r} does not hold one number for each pixel")
    return np.array(np.ma.filled(values.squeeze().astype(float), np.nan))


def _with_unit(values: np.ndarray, unit):
    from astropy import units as u

    return values if unit is None or not str(unit) else values * u.Unit(unit)


def _parsed(unit):
    """A unit, with the spellings that headers of spectra have; None if it is not one."""
    from astropy import units as u

    if unit is None or not isinstance(unit, str):
        return unit
    text = re.sub(r"\bergs\b", "erg", unit)
    text = re.sub(r"(?<![A-Za-z])(A|[Aa]ngs?|[Aa]ngstroms?)(?![A-Za-z])", "Angstrom", text)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return u.Unit(text)
        except (ValueError, TypeError, ArithmeticError):
            return None
