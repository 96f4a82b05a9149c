"""Rows of the Multimodal Universe's files: its HDF5, its Parquet, and HATS catalogues of it.

Layouts, from https://github.com/MultimodalUniverse/MultimodalUniverse (scripts/sdss, desi, legacysurvey):

- HDF5, ``SURVEY/healpix=N/001-of-001.hdf5``: one array a quantity, one row an object. ``object_id``, ``ra``,
  ``dec``, every column of the survey's catalogue, and ``spectrum_flux``, ``spectrum_ivar``,
  ``spectrum_lambda`` (padded with -1), ``spectrum_mask``, ``spectrum_lsf_sigma`` [N, M], or ``image_array``,
  ``image_ivar`` [N, band, y, x], ``image_band``, ``image_scale``, ``image_psf_fwhm`` [N, band].
- Parquet of Hugging Face `datasets`: ``spectrum``, a struct of lists flux, ivar, lsf_sigma, lambda, mask; or
  ``image``, a struct of lists (or a list of structs) band, flux, mask, ivar, psf_fwhm, scale. A text written
  as Python writes bytes (``b'0421p022-7410'``) is the object id. These files have no positions.
- HATS, ``dataset/Norder=K/Dir=D/Npix=N.parquet`` beside ``hats.properties``
  (https://hats.readthedocs.io, "HATS Directory Scheme"): the same, and ``ra``, ``dec``, ``_healpix_29``.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from pix2spec.data.mmu.hdf5 import hdf5_rows
from pix2spec.data.mmu.parquet import parquet_rows
from pix2spec.data.mmu.rows import Row
from pix2spec.data.readers.guards import reading, sniff
from pix2spec.errors import InputError

__all__ = ["Row", "read_rows", "universe_files"]

ENDINGS = (".parquet", ".hdf5", ".h5")


def universe_files(paths) -> list[Path]:
    """Parquet and HDF5 files of files and folders, each once, in a stable order.

    In a HATS collection only the primary catalogue is read, and neither margins nor indices, whose rows
    would come twice.

    Raises
    ------
    InputError
        If a path does not exist or a folder holds no such file.
    """
    found: dict = {}
    for path in map(Path, paths):
        if not path.exists():
            raise InputError(path, "no such file or folder")
        files = sorted(_in_folder(path)) if path.is_dir() else [path]
        if not files:
            raise InputError(path, "the folder holds no Parquet or HDF5 files")
        found |= {file.resolve(): file for file in files}
    return list(found.values())


def _in_folder(folder: Path) -> Iterator[Path]:
    extras = {file.parent for file in folder.rglob("*.properties") if _is_extra(file)}
    for file in folder.rglob("*"):
        hidden = any(part.startswith((".", "_")) for part in file.relative_to(folder).parts)
        if file.name.lower().endswith(ENDINGS) and not hidden and file.is_file():
            if extras.isdisjoint(file.parents):
                yield file


def _is_extra(properties: Path) -> bool:
    with open(properties, encoding="utf-8", errors="replace") as stream:
        kind = re.search(r"^\s*dataproduct_type\s*=\s*(\w+)", stream.read(2**16), re.M)
    return kind is not None and kind.group(1) in ("margin", "index", "association")


def read_rows(
    path: Path, what: str, columns: tuple[str, ...], arrays: bool = True, only: set[int] | None = None
) -> Iterator[Row]:
    """Rows of one file, in order, a few of them in memory at a time.

    Parameters
    ----------
    path : Path
        Parquet or HDF5.
    what : str
        ``"spectrum"`` or ``"image"``.
    columns : tuple of str
        Facts to read, as far as the file has them, whatever the case of their names.
    arrays : bool
        Without them, `Row.field` must not be called.
    only : set of int, optional
        Rows to read; all by default.

    Raises
    ------
    InputError
        If the file as a whole cannot be read.
    """
    kind = sniff(path)
    reader = {"parquet": parquet_rows, "hdf5": hdf5_rows}.get(kind)
    if reader is None:
        raise InputError(path, f"it is a {kind} file, not Parquet or HDF5", "download it again")
    rows = reader(path, what, columns, arrays, only)
    while True:
        with reading(path, kind):
            row = next(rows, None)
        if row is None:
            return
        yield row
