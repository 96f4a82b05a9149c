"""Read folders of FITS spectra with one file per object: tables, images, and files of `pix2spec`."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from pix2spec.data.readers.guards import fits_hdus, reading
from pix2spec.data.readers.spectrum_fits import arrays_of_fits
from pix2spec.data.readers.spectrum_headers import id_of_name
from pix2spec.errors import InputError
from pix2spec.evaluation.predictions.tables import Part

__all__ = ["FITS_NAME", "FitsFolder", "fits_files"]

FITS_NAME = re.compile(r"\.(fits|fit|fts)(\.gz)?$", re.IGNORECASE)


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

    name = id_of_name(path)
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
        found = arrays_of_fits(path, hdus)
        is_own = _is_own(hdus[0].header)
        unit = hdus[0].header.get("FLUXUNIT") if is_own else found.unit
        part = Part(found.flux, found.wave, False, unit)
        if is_own:
            _add_own(path, hdus, part, has_candidates)
        return part


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
