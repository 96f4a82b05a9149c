"""Read galaxies with spectra on a grid: files of any instrument, and npz bundles."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from pix2spec.core.grid import SpectralGrid
from pix2spec.core.resample import resample_mask, resample_with_ivar
from pix2spec.data.native import NativeSpectrum
from pix2spec.data.readers.desi import DesiCoadd, is_coadd
from pix2spec.data.readers.guards import load_arrays, spec_id
from pix2spec.data.readers.observed_spectrum import ObservedSpectrum, read_observed_spectrum
from pix2spec.data.readers.spectrum_headers import trusted_redshift
from pix2spec.data.readers.spectrum_units import FLUX_UNIT, is_flux_density
from pix2spec.data.readers.tables import assumed_ivar
from pix2spec.data.schema import Galaxy
from pix2spec.errors import InputError

__all__ = [
    "SpectraBundle",
    "estimated_ivar",
    "native_grid",
    "native_spectrum",
    "on_grid",
    "place_spectrum",
    "read_spectra_bundle",
    "read_spectrum",
    "read_spectrum_header",
]

# FULLREJECT, NOSKY and NODATA of SDSS's SPPIXMASK mark pixels without information. The pipelines give these
# pixels ivar = 0, and the reader makes sure of it. Pixels that are only suspect (BRIGHTSKY, NEARBADPIXEL ...)
# keep their ivar, as SDSS recommends, and their bits stay in the galaxy's mask.
NO_DATA_BITS = (1 << 18) | (1 << 22) | (1 << 24)
TEXTS = ("spec_class", "bestobjid", "object_group")  # arrays of a bundle that may hold texts
PLAIN_UNIT = "erg / (s cm2 Angstrom)"
PLAIN_SCALE = 1e-8  # Smaller fluxes without a unit are in PLAIN_UNIT, others in FLUX_UNIT.
BRIGHTEST = 1e8  # median in FLUX_UNIT
MIN_COVERAGE = 0.5  # fraction of the grid's pixels that need a value
NOISE_WINDOW = 201  # pixels


def read_spectrum(path: str | Path, grid: SpectralGrid | None = None) -> Galaxy:
    """Read one spectrum on a grid. SDSS spectra are cut to `grid` without resampling.

    Parameters
    ----------
    path : str or Path
        A file of one spectrum, as `pix2spec.data.readers.observed_spectrum.read_observed_spectrum` reads it.
        The arms of a DESI coadd are resampled and averaged. `pix2spec.data.readers.desi.DesiCoadd` reads
        coadds of several targets.
    grid : SpectralGrid, optional
        The wavelength grid of the result, with L pixels. The default is ``SpectralGrid()``.

    Returns
    -------
    Galaxy
        - `flux` (L,) in 1e-17 erg/s/cm2/Angstrom and its inverse variance `ivar` (L,), 0 where a pixel is
          missing or not finite;
        - `mask` (L,), the file's and_mask, or 0;
        - `z` and `z_err` of the pipeline, NaN where ZWARNING flags the redshift as doubtful;
        - `ra`, `dec` of the object in degrees and `spec_class`;
        - SDSS's CALIBFLUX as `photometry` (5,) in nanomaggies;
        - `group_id`, the id of the photometric object or target, or the object id if the file has none.

    Raises
    ------
    InputError
        If the file is damaged, lacks a field, or does not cover the grid: SDSS's and DESI's all of it, those
        of others half of it.
    """
    return _read(path, grid or SpectralGrid())


def read_spectrum_header(path: str | Path) -> Galaxy:
    """Read a galaxy as `read_spectrum` does, but without flux, ivar and mask."""
    return DesiCoadd(path).only().header(0) if is_coadd(path) else read_observed_spectrum(path).galaxy


def _read(path: str | Path, grid: SpectralGrid) -> Galaxy:
    if is_coadd(path):
        return DesiCoadd(path, grid).only().galaxy(0)
    return on_grid(read_observed_spectrum(path), grid, path)[0]


def on_grid(seen: ObservedSpectrum, grid: SpectralGrid, where) -> tuple[Galaxy, list[str]]:
    """Put an observed spectrum on a grid.

    Parameters
    ----------
    seen : ObservedSpectrum
        In its own pixels.
    grid : SpectralGrid
        The L pixels to fill.
    where : str or Path
        Name of the spectrum, for errors.

    Returns
    -------
    galaxy : Galaxy
        As `read_spectrum` gives it.
    notes : list of str
        Sentences about a scale or errors that the file does not state, and about pixels that it lacks.

    Raises
    ------
    InputError
        If the spectrum does not cover the grid or has no valid pixel.
    """
    galaxy, flux, ivar = replace(seen.galaxy), np.asarray(getattr(seen.flux, "value", seen.flux)), seen.ivar
    bits = np.zeros(len(flux), np.int32) if seen.bits is None else seen.bits.astype(np.int32)
    if seen.on_lattice and ivar is not None:
        place_spectrum(galaxy, where, grid, np.log10(seen.wave), flux, ivar, bits)
        return galaxy, []
    factor, notes = _to_physical(seen, flux)
    flux = np.asarray(flux, float) * factor
    if ivar is None:
        ivar = estimated_ivar(flux)
        notes.append("it states no errors: they are those of the scatter of neighbouring pixels")
    else:
        ivar = ivar / factor**2
    with np.errstate(over="ignore", invalid="ignore"):
        new_flux, new_ivar = (x[0] for x in resample_with_ivar(flux[None], ivar[None], seen.wave, grid))
        galaxy.flux, galaxy.ivar = new_flux.astype(np.float32), new_ivar.astype(np.float32)
    good = np.isfinite(galaxy.flux) & np.isfinite(galaxy.ivar) & (galaxy.ivar > 0)
    if good.mean() < MIN_COVERAGE:
        raise InputError(
            where,
            f"it covers {100 * good.mean():.0f} % of the grid from {grid.wave[0]:.0f} to {grid.wave[-1]:.0f} "
            f"Angstrom with valid pixels, from {seen.wave[0]:.6g} to {seen.wave[-1]:.6g} Angstrom",
            f"{100 * MIN_COVERAGE:.0f} % are needed",
        )
    if good.mean() < 0.95:
        notes.append(f"it covers {100 * good.mean():.0f} % of the grid")
    galaxy.flux = np.where(np.isfinite(galaxy.flux), galaxy.flux, np.float32(0))
    galaxy.ivar = np.where(good, galaxy.ivar, np.float32(0))
    galaxy.mask = resample_mask(bits[None], seen.wave, grid)[0]
    return galaxy, notes


def native_grid(wave: np.ndarray) -> SpectralGrid:
    """The grid with the range and the number of pixels of wavelengths (M,) in Angstrom.

    Spectra in logarithmic steps have exactly these pixels.
    """
    first, last = np.log10(wave[0]), np.log10(wave[-1])
    return SpectralGrid(float(first), float((last - first) / (len(wave) - 1)), len(wave))


def native_spectrum(seen: ObservedSpectrum, where) -> NativeSpectrum | None:
    """The spectrum in as many pixels as its file has; None where most of them are not valid."""
    grid = native_grid(seen.wave)
    try:
        galaxy = on_grid(seen, grid, where)[0]
    except InputError:
        return None
    return NativeSpectrum(grid, np.asarray(galaxy.flux), np.asarray(galaxy.ivar))


def _to_physical(seen: ObservedSpectrum, flux: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """Factors (M,) to 1e-17 erg/s/cm2/Angstrom, with a note if the file does not fix the scale."""
    from astropy import units as u

    unit = getattr(seen.flux, "unit", None)
    if unit is not None and is_flux_density(unit):
        one = np.ones(len(flux)) * unit
        factor = one.to_value(u.Unit(FLUX_UNIT), u.spectral_density(seen.wave * u.AA))
        level = np.nanmedian(np.abs(flux * factor)) if np.isfinite(flux).any() else 0
        if level < BRIGHTEST:
            return factor, []
        note = f"its flux in {unit} is brighter than any galaxy's: its amplitude means nothing"
        return factor / BRIGHTEST, [note]
    level = np.nanmedian(np.abs(flux)) if np.isfinite(flux).any() else 0
    is_plain = unit is None and level < PLAIN_SCALE
    taken = PLAIN_UNIT if is_plain else FLUX_UNIT
    why = "its flux has no unit" if unit is None else f"its flux is in {unit}, of unknown scale"
    note = f"{why}: taken for {taken}; without a unit in the file its amplitude means nothing"
    return np.full(len(flux), 1e17 if is_plain else 1.0), [note]


def estimated_ivar(flux: np.ndarray) -> np.ndarray:
    """Inverse variance (M,) of a spectrum without errors, from the scatter of pixels two apart.

    The method is DER_SNR (Stoehr et al. 2008, ASPC 394, 505) in windows of 201 pixels; errors are at least
    0.1 % of the typical flux.
    """
    from scipy.ndimage import median_filter

    good = np.isfinite(flux)
    values = flux[good]
    if len(values) < 5:
        return np.zeros(len(flux))
    scatter = np.abs(2 * values[2:-2] - values[:-4] - values[4:])
    noise = 1.482602 / np.sqrt(6) * median_filter(np.pad(scatter, 2, "edge"), NOISE_WINDOW, mode="nearest")
    noise = np.maximum(noise, 1e-3 * max(np.median(np.abs(values)), 1e-30))
    ivar = np.zeros(len(flux))
    ivar[good] = 1 / noise**2
    return ivar


def place_spectrum(galaxy: Galaxy, where, grid: SpectralGrid, loglam, flux, ivar, mask) -> None:
    """Set the flux, ivar and mask of `galaxy` from the pixels of a spectrum that fall on `grid`.

    Pixels that must not be used get ivar 0: those flagged as without data, and those with a flux or ivar that
    is not finite.

    Parameters
    ----------
    galaxy : Galaxy
        Changed in place.
    where : str or Path
        Name of the spectrum for error messages.
    grid : SpectralGrid
        The L pixels to fill.
    loglam : array (M,)
        log10 of the vacuum wavelengths in Angstrom.
    flux, ivar : array (M,)
        Flux in 1e-17 erg/s/cm2/Angstrom, and its inverse variance.
    mask : array (M,), int
        Bits of SDSS's SPPIXMASK.

    Raises
    ------
    InputError
        If the pixels do not fall on the grid or do not cover it, or none of them is valid.
    """
    flux, ivar, mask = grid.place(loglam, flux, ivar, mask, where=where)
    with np.errstate(over="ignore", invalid="ignore"):
        flux, ivar = flux.astype(np.float32), ivar.astype(np.float32)
        good = np.isfinite(flux) & np.isfinite(ivar) & (ivar > 0) & (mask & NO_DATA_BITS == 0)
    if not good.any():
        raise InputError(where, "ivar: no valid pixel on the grid", "leave this spectrum out")
    galaxy.flux = np.where(np.isfinite(flux), flux, np.float32(0))
    galaxy.ivar = np.where(good, ivar, np.float32(0))
    galaxy.mask = mask.astype(np.int32)


class SpectraBundle:
    """Spectra in one npz file.

    Required arrays: ``loglam`` (M,), ``flux`` and ``ivar`` (N, M), and ``plate``, ``mjd``, ``fiber``, ``ra``,
    ``dec``, ``z`` (N,). Optional arrays: ``and_mask`` (N, M), ``calibflux_ugriz`` (N, 5), and ``zerr``,
    ``zwarning``, ``spec_class``, ``bestobjid``, ``object_group`` (N,). Units are those of `read_spectrum`.

    `galaxy` reads one spectrum. A bad spectrum raises an `InputError` there, and the others can still be
    read.

    Parameters
    ----------
    path : str or Path
        The npz file.
    grid : SpectralGrid, optional
        The wavelength grid of the galaxies. The default is ``SpectralGrid()``.

    Raises
    ------
    InputError
        If the file lacks an array, or an array has the wrong shape or type.
    """

    REQUIRED = ("loglam", "flux", "ivar", "plate", "mjd", "fiber", "ra", "dec", "z")
    OPTIONAL = ("zerr", "zwarning", "spec_class", "and_mask", "bestobjid", "object_group", "calibflux_ugriz")

    def __init__(self, path: str | Path, grid: SpectralGrid | None = None):
        self.path, self.grid = path, grid or SpectralGrid()
        self.arrays = load_arrays(path, self.REQUIRED, self.OPTIONAL)
        pixels, count = self.arrays["loglam"].size, self.arrays["plate"].size
        for name, array in self.arrays.items():
            wide = (count, pixels) if name in ("flux", "ivar", "and_mask") else (count,)
            shape = {"loglam": (pixels,), "calibflux_ugriz": (count, 5)}.get(name, wide)
            if array.shape != shape:
                raise InputError(path, f"its array {name!r} has shape {array.shape}, not {shape}")
        for name in ("plate", "mjd", "fiber"):
            if self.arrays[name].dtype.kind not in "iu":
                raise InputError(path, f"its array {name!r} is {self.arrays[name].dtype}, not integer")
        for name, array in self.arrays.items():
            if array.dtype.kind in "SU" and name not in TEXTS:
                raise InputError(path, f"its array {name!r} is {array.dtype}, not numbers")
        self.groups = self._group_ids()

    def __len__(self) -> int:
        return len(self.arrays["plate"])

    def label(self, i: int) -> str:
        """Name of spectrum `i` for messages."""
        return f"{self.path}[{i}]"

    def _group_ids(self) -> list[str]:
        """Group id of each spectrum: a photometric id of its object group, else an object id of the group."""
        best = [str(b).strip().lstrip("0") for b in self.arrays.get("bestobjid", [""] * len(self))]
        if "object_group" not in self.arrays:
            return best
        names = defaultdict(list)
        for i, group in enumerate(self.arrays["object_group"].tolist()):
            names[group].append((not best[i], best[i] or self._object_id(i)))
        return [min(names[group])[1] for group in self.arrays["object_group"].tolist()]

    def _object_id(self, i: int) -> str:
        return spec_id(*(self.arrays[name][i] for name in ("plate", "mjd", "fiber")))

    def header(self, i: int) -> Galaxy:
        """Galaxy `i` without flux, ivar and mask."""
        a = self.arrays
        try:
            zwarning = int(a["zwarning"][i]) if "zwarning" in a else 0
            z, z_err, _ = trusted_redshift(
                float(a["z"][i]), a["zerr"][i] if "zerr" in a else np.nan, zwarning
            )
            galaxy = Galaxy(
                object_id=self._object_id(i),
                group_id=self.groups[i],
                ra=float(a["ra"][i]),
                dec=float(a["dec"][i]),
                z=z,
                z_err=z_err,
                spec_class=str(a["spec_class"][i]) if "spec_class" in a else "",
            )
        except (TypeError, ValueError) as error:
            what = f"its plate, mjd, fiber, position or redshift is not a number: {error}"
            raise InputError(self.label(i), what) from error
        if "calibflux_ugriz" in a:
            galaxy.photometry = a["calibflux_ugriz"][i].astype(np.float32)
            galaxy.photometry_ivar = assumed_ivar(galaxy.photometry)
        return galaxy

    def notes(self, i: int) -> list[str]:
        """Sentences about what is not used of spectrum `i`."""
        zwarning = int(self.arrays["zwarning"][i]) if "zwarning" in self.arrays else 0
        note = trusted_redshift(self.arrays["z"][i], np.nan, zwarning)[2]
        return [note] if note else []

    def galaxy(self, i: int) -> Galaxy:
        """Galaxy `i` with its spectrum."""
        galaxy, a = self.header(i), self.arrays
        mask = a["and_mask"][i] if "and_mask" in a else np.zeros(len(a["loglam"]), np.int32)
        place_spectrum(galaxy, self.label(i), self.grid, a["loglam"], a["flux"][i], a["ivar"][i], mask)
        return galaxy


def read_spectra_bundle(path: str | Path, grid: SpectralGrid | None = None) -> Iterator[Galaxy]:
    """Read all spectra of an npz bundle (see `SpectraBundle`). The first bad one raises `InputError`."""
    bundle = SpectraBundle(path, grid)
    return (bundle.galaxy(i) for i in range(len(bundle)))
