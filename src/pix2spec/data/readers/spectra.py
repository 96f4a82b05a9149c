"""Read spectra: SDSS's ``spec-PLATE-MJD-FIBER.fits`` files, npz bundles, and DESI coadds of one target."""

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from pix2spec.core.grid import SpectralGrid
from pix2spec.data.readers.desi import DesiCoadd, is_coadd
from pix2spec.data.readers.guards import GET_COMPLETE_FILE, column_names, fits_hdus, load_arrays, spec_id
from pix2spec.data.readers.tables import assumed_ivar
from pix2spec.data.schema import Galaxy
from pix2spec.errors import InputError

__all__ = [
    "HARMLESS_ZWARNING",
    "SpectraBundle",
    "place_spectrum",
    "read_spectra_bundle",
    "read_spectrum",
    "read_spectrum_header",
]

# FULLREJECT, NOSKY and NODATA of SDSS's SPPIXMASK mark pixels without information. The pipelines give these
# pixels ivar = 0, and the reader makes sure of it. Pixels that are only suspect (BRIGHTSKY, NEARBADPIXEL ...)
# keep their ivar, as SDSS recommends, and their bits stay in the galaxy's mask.
NO_DATA_BITS = (1 << 18) | (1 << 22) | (1 << 24)
# ZWARNING's MANY_OUTLIERS is also set for good, bright spectra whose redshift is right.
HARMLESS_ZWARNING = 1 << 4
TEXTS = ("spec_class", "bestobjid", "object_group")  # arrays of a bundle that may hold texts
DESI_HDUS = {"FIBERMAP", "EXP_FIBERMAP", "REDSHIFTS", "B_FLUX", "B_WAVELENGTH"}


def read_spectrum(path: str | Path, grid: SpectralGrid | None = None) -> Galaxy:
    """Read one spectrum. SDSS spectra are cut to `grid` without resampling.

    Parameters
    ----------
    path : str or Path
        A ``spec-PLATE-MJD-FIBER.fits`` file (SDSS-I/II, SEGUE, BOSS or eBOSS; full or lite), or a DESI
        ``coadd-*.fits`` file of one target. The arms of a DESI spectrum are resampled and averaged.
        `pix2spec.data.readers.desi.DesiCoadd` reads coadds of several targets.
    grid : SpectralGrid, optional
        The wavelength grid of the result, with L pixels. The default is ``SpectralGrid()``.

    Returns
    -------
    Galaxy
        - `flux` (L,) in 1e-17 erg/s/cm2/Angstrom and its inverse variance `ivar` (L,), 0 where a pixel is
          missing or not finite;
        - `mask` (L,), the file's and_mask;
        - `z` and `spec_class` of the pipeline; `z_err`, NaN where ZWARNING flags the redshift as doubtful;
        - `ra` and `dec` of the object in degrees;
        - CALIBFLUX as `photometry` (5,) in nanomaggies;
        - `group_id`, the id of the photometric object, or the object id if the file has none.

    Raises
    ------
    InputError
        If the file is damaged, lacks a field, or does not cover the grid.
    """
    return _read(path, grid or SpectralGrid())


def read_spectrum_header(path: str | Path) -> Galaxy:
    """Read a galaxy as `read_spectrum` does, but without flux, ivar and mask."""
    return _read(path, None)


def _read(path: str | Path, grid: SpectralGrid | None) -> Galaxy:
    if is_coadd(path):
        coadd = DesiCoadd(path, grid)
        if len(coadd) != 1:
            raise InputError(
                path, f"this DESI coadd holds {len(coadd)} targets, not one", "import it as a dataset instead"
            )
        return coadd.header(0) if grid is None else coadd.galaxy(0)
    with fits_hdus(path) as hdus:
        _refuse_foreign(path, hdus)
        galaxy = _read_header(path, hdus)
        if grid is not None:
            columns = [_column(path, hdus[1], name) for name in ("loglam", "flux", "ivar", "and_mask")]
            place_spectrum(galaxy, path, grid, *columns)
    return galaxy


def _refuse_foreign(path, hdus) -> None:
    if DESI_HDUS & {hdu.name for hdu in hdus}:
        raise InputError(
            path,
            "it is a DESI file other than a coadd",
            "give coadd-*.fits, or spec-PLATE-MJD-FIBER.fits of the SDSS",
        )
    columns = column_names(hdus[1]) if len(hdus) > 1 else {}
    if not {"flux", "loglam"} & set(columns):
        raise InputError(
            path,
            "it has no table of flux, loglam and ivar in its first extension: not an SDSS spec file",
            "give spec-PLATE-MJD-FIBER.fits files of the SDSS",
        )
    header = hdus[0].header
    if header.get("VACUUM", True) is not True or "air" in str(header.get("AIRORVAC", "")).lower():
        raise InputError(
            path,
            "its wavelengths are in air (header VACUUM or AIRORVAC), vacuum is needed",
            "convert them to vacuum first",
        )


def _column(path, hdu, name: str) -> np.ndarray:
    """One numeric column (M,) of the spectrum's table, in native byte order."""
    names = column_names(hdu)
    if name not in names:
        if name == "and_mask":
            return np.zeros(len(hdu.data), np.int32)
        raise InputError(path, f"its column {name!r} is missing", f"the table has {', '.join(names)}")
    values = hdu.data[names[name]]
    if values.dtype.kind not in "iuf" or values.ndim != 1:
        raise InputError(path, f"its column {name!r} does not hold one number per pixel")
    return values.astype(np.int32 if name == "and_mask" else np.float64)


def _read_header(path, hdus) -> Galaxy:
    """The galaxy without its spectrum, from the SPECOBJ (SDSS) or SPALL (BOSS) row."""
    table = next((hdu for hdu in hdus[2:] if {"z", "class"} <= set(column_names(hdu))), None)
    if table is None or len(table.data) == 0:
        raise InputError(
            path, "it has no SPECOBJ or SPALL row (redshift, class, position)", GET_COMPLETE_FILE
        )
    names, row, header = column_names(table), table.data[0], hdus[0].header

    def value(*keys):
        """The value of the first of `keys` that the row or the primary header has."""
        for key in keys:
            if key.lower() in names:
                return row[names[key.lower()]]
            if key in header:
                return header[key]
        raise InputError(path, f"its field {' or '.join(keys)} is missing", GET_COMPLETE_FILE)

    ra, dec = float(value("PLUG_RA")), float(value("PLUG_DEC"))
    if not (0 <= ra <= 360 and -90 <= dec <= 90):
        raise InputError(path, f"its PLUG_RA, PLUG_DEC = {ra}, {dec} are not a position on the sky")
    z, z_err = float(value("Z")), float(value("Z_ERR"))
    doubtful = int(value("ZWARNING")) & ~HARMLESS_ZWARNING
    galaxy = Galaxy(
        object_id=spec_id(value("PLATE", "PLATEID"), value("MJD"), value("FIBERID")),
        group_id=next((i for i in (_object_id(row, names, n) for n in ("bestobjid", "objid")) if i), ""),
        ra=ra,
        dec=dec,
        z=z if np.isfinite(z) else np.nan,
        z_err=z_err if z_err > 0 and not doubtful else np.nan,
        spec_class=str(value("CLASS")).strip(),
    )
    if "calibflux" in names:
        flux = np.asarray(row[names["calibflux"]], np.float32).ravel()
        measured = row[names["calibflux_ivar"]] if "calibflux_ivar" in names else np.zeros_like(flux)
        galaxy.photometry, galaxy.photometry_ivar = flux, assumed_ivar(flux, np.asarray(measured, float))
    return galaxy


def _object_id(row, names: dict, key: str) -> str:
    """Id of the photometric object, a text or an integer; "" for SPECOBJ's OBJID, which is five integers."""
    if key not in names or np.ndim(row[names[key]]) != 0:
        return ""
    return str(row[names[key]]).strip().lstrip("0")


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
            doubtful = int(a["zwarning"][i]) & ~HARMLESS_ZWARNING if "zwarning" in a else 0
            z_err = float(a["zerr"][i]) if "zerr" in a else np.nan
            galaxy = Galaxy(
                object_id=self._object_id(i),
                group_id=self.groups[i],
                ra=float(a["ra"][i]),
                dec=float(a["dec"][i]),
                z=float(a["z"][i]),
                z_err=z_err if z_err > 0 and not doubtful else np.nan,
                spec_class=str(a["spec_class"][i]) if "spec_class" in a else "",
            )
        except (TypeError, ValueError) as error:
            what = f"its plate, mjd, fiber, position or redshift is not a number: {error}"
            raise InputError(self.label(i), what) from error
        if "calibflux_ugriz" in a:
            galaxy.photometry = a["calibflux_ugriz"][i].astype(np.float32)
            galaxy.photometry_ivar = assumed_ivar(galaxy.photometry)
        return galaxy

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
