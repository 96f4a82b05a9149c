"""Read one observed spectrum from a file of any instrument, with its own wavelengths."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from pix2spec.core.grid import SpectralGrid
from pix2spec.data.readers.desi import DesiCoadd, is_coadd
from pix2spec.data.readers.guards import fits_hdus, reading, sniff
from pix2spec.data.readers.sdss_header import describe_sdss, is_sdss
from pix2spec.data.readers.spectrum_fits import SpectrumArrays, arrays_of_fits, states_air
from pix2spec.data.readers.spectrum_headers import describe
from pix2spec.data.readers.spectrum_tables import FORM, arrays_of_table
from pix2spec.data.readers.spectrum_units import FLUX_UNIT, parse_unit
from pix2spec.data.schema import Galaxy
from pix2spec.errors import InputError

__all__ = ["ObservedSpectrum", "read_observed_spectrum"]

UNPACKED = ("gzip", "bz2")
NO_UNIT = ("", "relative", "none", "unknown", "arbitrary", "dimensionless", "normalized", "normalised")


@dataclass(frozen=True)
class ObservedSpectrum:
    """A spectrum in the pixels of its file.

    Parameters
    ----------
    wave : array (M,)
        Increasing vacuum wavelengths in Angstrom.
    flux : array (M,) or Quantity
        A Quantity if the file states a unit; else the scale is unknown. NaN where the file's mask says so.
    ivar : array (M,), optional
        Inverse variance, 1 / (unit of the flux)^2; 0 where a pixel is missing.
    bits : array (M,), int, optional
        SDSS's and_mask.
    galaxy : Galaxy
        Id, position, redshift and class, without pixels.
    notes : list of str
        Sentences about what the file does not say, and what is not used.
    on_lattice : bool
        Whether the pixels are SDSS's, which are cut to a grid instead of resampled.
    """

    wave: np.ndarray
    flux: Any
    ivar: np.ndarray | None
    bits: np.ndarray | None
    galaxy: Galaxy
    notes: list[str] = field(default_factory=list)
    on_lattice: bool = False

    @property
    def is_relative(self) -> bool:
        """Whether the file states no unit, so that the scale of the flux is unknown."""
        return getattr(self.flux, "unit", None) is None

    @property
    def error(self) -> Any:
        """Standard deviations like `flux`, infinite where a pixel is missing; None if unknown."""
        if self.ivar is None:
            return None
        with np.errstate(divide="ignore"):
            error = 1 / np.sqrt(np.asarray(self.ivar, float))
        return error if self.is_relative else error * self.flux.unit


def read_observed_spectrum(path: str | Path) -> ObservedSpectrum:
    """Read one spectrum.

    Parameters
    ----------
    path : str or Path
        A FITS table or image of one spectrum, as the surveys and ESO publish them, a DESI coadd of one
        target, another FITS file that `specutils.Spectrum.read` knows, or a table as text, ECSV, VOTable or
        Parquet. ``docs/guides/data.md`` lists the forms.

    Returns
    -------
    ObservedSpectrum

    Raises
    ------
    InputError
        If the file is damaged, holds no spectrum or several, or a unit is not understood.
    """
    kind = sniff(path)
    is_named = ".fit" in Path(path).name.lower()
    if kind not in ("fits", "html") and not (is_named and kind in ("text", *UNPACKED)):
        arrays = arrays_of_table(path)
        return _observed(path, arrays, *describe(path, arrays.metadata))
    if is_coadd(path):
        return _coadd(path)
    sdss = None
    with fits_hdus(path) as hdus:
        if is_sdss(path, hdus):
            sdss, in_air = describe_sdss(path, hdus), states_air(path, hdus[1].header, hdus[0].header)
        try:
            arrays = arrays_of_fits(path, hdus)
        except InputError as error:
            if sdss is not None:
                raise
            arrays = _from_specutils(path, error)
    if sdss is not None:
        return _observed(path, arrays, *sdss, on_lattice=not in_air)
    return _observed(path, arrays, *describe(path, arrays.metadata))


def _observed(path, arrays: SpectrumArrays, galaxy: Galaxy, notes, on_lattice=False) -> ObservedSpectrum:
    flux = np.asarray(arrays.flux)
    if flux.ndim == 2 and len(flux) > 1:
        raise InputError(path, f"it holds {len(flux)} spectra, not one", "give one spectrum a file")
    if arrays.wave is None:
        raise InputError(path, "it states no wavelengths", FORM)
    flux, wave = flux.reshape(-1), np.asarray(arrays.wave, float)
    ivar, bits = (None if x is None else np.asarray(x).reshape(-1) for x in (arrays.ivar, arrays.bits))
    if wave.shape != flux.shape:
        raise InputError(path, f"{wave.size} wavelengths do not match {flux.size} values of flux")
    keep = np.isfinite(wave) & (wave > 0)  # tables are filled up with zeros or NaN
    order = np.flatnonzero(keep)[np.argsort(wave[keep], kind="stable")]
    if on_lattice:
        order = np.arange(len(wave))
    elif len(order) < 2 or not (np.diff(wave[order]) > 0).all():
        raise InputError(path, "its wavelengths are missing, not finite or not increasing")
    flux = flux if flux.dtype.kind == "f" else flux.astype(float)
    unit = _unit(path, arrays.unit or (FLUX_UNIT if on_lattice else None))
    wave, flux = wave[order], flux[order]
    ivar, bits = (None if x is None else x[order] for x in (ivar, bits))
    flux = flux if unit is None else flux * unit
    return ObservedSpectrum(wave, flux, ivar, bits, galaxy, [*arrays.notes, *notes], on_lattice)


def _unit(path, text: str | None):
    if text is None or text.strip().lower() in NO_UNIT:
        return None
    unit = parse_unit(text)
    if unit is None:
        what = f"its unit of flux {text!r} is not understood"
        raise InputError(path, what, "write it as astropy does, such as '1e-17 erg/s/cm2/Angstrom'")
    if hasattr(unit, "function_unit") or unit.is_equivalent("mag"):
        raise InputError(path, f"its unit {text!r} is logarithmic", "convert it to flux densities")
    return unit


def _coadd(path) -> ObservedSpectrum:
    coadd = DesiCoadd(path).only()
    galaxy = coadd.galaxy(0)
    flux, ivar, bits = galaxy.flux, galaxy.ivar, galaxy.mask
    galaxy.flux = galaxy.ivar = galaxy.mask = None
    wave = SpectralGrid().wave
    return ObservedSpectrum(wave, flux * parse_unit(FLUX_UNIT), ivar, bits, galaxy, coadd.notes(0), True)


def _from_specutils(path, first: InputError) -> SpectrumArrays:
    """The spectrum by one of specutils' readers; the `first` error if none knows the file."""
    import specutils
    from astropy.nddata import InverseVariance

    try:
        with reading(path, "a spectrum"):
            reader = getattr(specutils, "Spectrum", None) or specutils.Spectrum1D
            spectrum = reader.read(str(path))
            if spectrum.flux.ndim != 1:
                raise first
            ivar = None
            if spectrum.uncertainty is not None:
                ivar = spectrum.uncertainty.represent_as(InverseVariance).array
            flux = np.where(False if spectrum.mask is None else spectrum.mask, np.nan, spectrum.flux.value)
            header = spectrum.meta.get("header", {})
            wave = spectrum.spectral_axis.to_value("Angstrom")
            return SpectrumArrays(flux, wave, str(spectrum.flux.unit), ivar, None, [header])
    except InputError:
        raise first from None
