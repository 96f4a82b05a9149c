"""Read folders of FITS spectra with one file per object: tables, images, and files of `pix2spec`."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from pix2spec.data.readers.guards import column_names, fits_hdus, reading, spec_id
from pix2spec.errors import InputError
from pix2spec.evaluation.predictions.tables import MAX_BYTES, Part, is_air

__all__ = ["FITS_NAME", "FitsFolder", "fits_files"]

FITS_NAME = re.compile(r"\.(fits|fit|fts)(\.gz)?$", re.IGNORECASE)
SDSS_NAME = re.compile(r"spec-(\d+)-(\d+)-(\d+)$")
WAVELENGTHS = ("loglam", "wavelength", "wave", "lambda", "lam")


def fits_files(folder: Path) -> list[Path]:
    """FITS files of a folder, sorted by name."""
    return sorted(p for p in folder.iterdir() if FITS_NAME.search(p.name) and not p.name.startswith("."))


class FitsFolder:
    """Files of a folder, each with the candidates of one object.

    The header of a file of `pix2spec` holds the object id. For other files, the id is the name of the file
    without its suffix, or for SDSS's names, ``plate-mjd-fiber``.

    Parameters
    ----------
    path : Path
        The folder.
    files : list of Path
        Its FITS files.

    Attributes
    ----------
    row_ids : list of str
        Object ids.
    refused : dict of str to str
        Reason by id of the objects that cannot be used.
    provenance : dict
        Provenance of the files.
    has_candidates : bool
        Whether the files hold candidates, or only chosen spectra.
    """

    row_bytes = 0  # a file holds all candidates of its object: no part waits in memory for others

    def __init__(self, path: Path, files: list[Path]):
        self.path, self.refused = path, {}
        self._files: dict = {}
        self.provenance, self.has_candidates = {"format": "FITS"}, True
        first = None
        for file in files:
            object_id, own = _identity(file)
            if object_id in self._files:
                both = f"{self._files[object_id].name} and {file.name}"
                self.refused[object_id] = f"{object_id}: two files hold this object, {both}"
                continue
            self._files[object_id] = file
            first = first or (file if own else None)
        self.row_ids = list(self._files)
        if first is not None:
            self.provenance, self.has_candidates = _read_provenance(first)

    def parts(self, wanted: set[str]) -> Iterator[tuple[str, Part | InputError]]:
        """Yield ids and parts of the objects `wanted`, in the order of their files."""
        for object_id, file in self._files.items():
            if object_id in wanted:
                try:
                    yield object_id, _read(file, self.has_candidates)
                except InputError as error:
                    yield object_id, error


def _is_own(header) -> bool:
    return header.get("ORIGIN") == "pix2spec"


def _identity(path: Path) -> tuple[str, bool]:
    """Object id, and whether `pix2spec` wrote the file. The id of a damaged file comes from its name."""
    from astropy.io import fits

    name = FITS_NAME.sub("", path.name)
    sdss = SDSS_NAME.match(name)
    name = spec_id(*sdss.groups()) if sdss else name
    try:
        # Open the file here, because astropy does not close a damaged file.
        with reading(path, "FITS"), open(path, "rb") as stream:
            header = fits.getheader(stream, 0)
            if _is_own(header):
                return str(header["OBJECT"]), True
    except InputError:
        pass  # `parts` reports the error
    return name, False


def _read_provenance(path: Path) -> tuple[dict, bool]:
    """Provenance in a file of `pix2spec`, and whether the file holds its candidates."""
    try:
        with fits_hdus(path) as hdus:
            return _provenance(hdus[0].header), "CANDIDATES" in hdus or hdus[0].header.get("NCAND") == 1
    except InputError:
        return {"format": "FITS"}, True


def _provenance(header) -> dict:
    try:
        record = json.loads(header.get("PROVENAN", "{}"))
    except (ValueError, TypeError, RecursionError):
        record = None
    return record if isinstance(record, dict) else {}


def _read(path: Path, has_candidates: bool) -> Part:
    with fits_hdus(path) as hdus:
        header = hdus[0].header
        table = next((hdu for hdu in hdus if "flux" in column_names(hdu)), None)
        if table is None:
            return _from_image(path, hdus)
        part = _from_table(path, table, header)
        if _is_own(header):
            _add_own(path, hdus, part, has_candidates)
        return part


def _numbers(path: Path, hdu, name: str) -> np.ndarray:
    """Read a column of numbers: (M,), or (n, M) if its cells are vectors, in native byte order."""
    column = hdu.columns[column_names(hdu)[name]]
    if column.format.lstrip("0123456789")[:1] not in {*"BIJKED"}:
        raise InputError(path, f"its column {name!r} does not hold numbers (format {column.format})")
    values = hdu.data[column.name]
    if values.ndim > 2:
        raise InputError(path, f"cells of its column {name!r} have {values.ndim - 1} axes")
    return values.astype(values.dtype.newbyteorder("="))


def _from_table(path: Path, hdu, header) -> Part:
    names = column_names(hdu)
    flux = _numbers(path, hdu, "flux")
    unit = hdu.columns[names["flux"]].unit or hdu.header.get("BUNIT") or header.get("BUNIT")
    unit = header.get("FLUXUNIT") if _is_own(header) else unit
    name, wave = next((n for n in WAVELENGTHS if n in names), None), None
    if name is not None:
        wave = _numbers(path, hdu, name).astype(float)
        if wave.ndim == 2:
            if (wave != wave[:1]).any():
                raise InputError(
                    path, "its rows differ in wavelength", "write one set of wavelengths per file"
                )
            wave = wave[0]
        wave = _angstrom(
            path, wave, None if name == "loglam" else hdu.columns[names[name]].unit, name == "loglam"
        )
    return Part(flux, wave, _in_air(path, header, hdu.header), None if unit is None else str(unit))


def _from_image(path: Path, hdus) -> Part:
    hdu = next((h for h in hdus if h.is_image and h.shape), None)
    if hdu is None:
        raise InputError(path, "the file has neither a table with a column flux nor an image")
    if len(hdu.shape) > 2:
        raise InputError(
            path, f"its image has {len(hdu.shape)} axes", "write the axes (pixels) or (candidates, pixels)"
        )
    if 8 * int(np.prod(hdu.shape, dtype=object)) > MAX_BYTES:  # a compressed image may claim any size
        raise InputError(path, f"its image of {hdu.shape} pixels is too large for spectra")
    flux, header = hdu.data, hdu.header
    if "MULTISPE" in str(header.get("CTYPE1", "")).upper():
        raise InputError(path, "its wavelengths are in IRAF's multispec form", "write them as a table")
    wave = _axis(path, header, flux.shape[-1]) if "CRVAL1" in header else None
    unit = header.get("BUNIT")
    air = _in_air(path, hdus[0].header, header) or str(header.get("CTYPE1", "")).upper().startswith("AWAV")
    return Part(flux.astype(flux.dtype.newbyteorder("=")), wave, air, None if unit is None else str(unit))


def _axis(path: Path, header, size: int) -> np.ndarray:
    """Wavelengths (size,) in Angstrom of an image's first FITS axis; IRAF's DC-FLAG = 1 means log10.

    Without CRPIX1, CRVAL1 is taken for the first pixel. This is how programs use it, although the FITS
    default is the pixel before.
    """
    from astropy.wcs import WCS

    header = header.copy()
    header.setdefault("CRPIX1", 1)
    axis = WCS(header).sub([1])
    values = axis.all_pix2world(np.arange(size), 0)[0]
    unit = axis.wcs.cunit[0] if "CUNIT1" in header else None  # wcslib may convert units to SI
    return _angstrom(path, values, unit, header.get("DC-FLAG", 0) == 1)


def _angstrom(path: Path, values: np.ndarray, unit, is_log: bool) -> np.ndarray:
    from astropy import units as u

    if is_log:
        with np.errstate(over="ignore"):
            return 10**values
    if unit is None or not str(unit):
        return values
    try:
        return (values * u.Unit(str(unit))).to_value(u.AA, u.spectral())
    except (ValueError, u.UnitConversionError) as error:
        raise InputError(path, f"its wavelengths are in {unit}", "write them in Angstrom") from error


def _in_air(path: Path, *headers) -> bool:
    """Whether wavelengths are in air, according to the usual keywords of any of the headers."""
    for header in headers:
        words = " ".join(str(header.get(key, "")) for key in ("AIRORVAC", "WAVESYS")).lower()
        if header.get("VACUUM", True) is not True or "air" in words:
            return True
        if is_air(path, header.get("MEDIUM")):
            return True
    return False


def _add_own(path: Path, hdus, part: Part, has_candidates: bool) -> None:
    """Add the candidates, scores and fields of a file of `Ensemble.write_fits` to a part."""
    header = hdus[0].header
    part.fields = {name: float(header.get(name.upper(), np.nan)) for name in ("z", "ra", "dec")}
    part.fields |= {"flags": [f for f in str(header.get("FLAGS", "")).split(",") if f]}
    part.fields |= {"provenance": _provenance(header), "select": str(header.get("SELECT", "all"))}
    if not has_candidates:
        return
    if "CANDIDATES" in hdus:
        part.flux = hdus["CANDIDATES"].data.astype(np.float32)
    elif header.get("NCAND") != 1:
        raise InputError(path, "the file lacks candidates, but other files of the folder have them")
    if "SCORES" in hdus:
        part.scores = np.asarray(hdus["SCORES"].data["score"], np.float32)
        part.fields["selected"] = np.flatnonzero(hdus["SCORES"].data["selected"])
