"""Read rows of the Multimodal Universe's files: HDF5, Parquet, and HATS catalogues.

Layouts, from https://github.com/MultimodalUniverse/MultimodalUniverse (scripts/sdss, desi, legacysurvey):

- HDF5, ``SURVEY/healpix=N/001-of-001.hdf5``: one array per quantity, with one row per object. The arrays are
  ``object_id``, ``ra``, ``dec``, the columns of the survey's catalogue, and ``spectrum_flux``,
  ``spectrum_ivar``, ``spectrum_lambda`` (padded with -1), ``spectrum_mask``, ``spectrum_lsf_sigma`` (N, M),
  or ``image_array``, ``image_ivar`` (N, band, y, x), ``image_band``, ``image_scale``, ``image_psf_fwhm`` (N,
  band).
- Parquet of Hugging Face `datasets`: a column ``spectrum``, a struct of lists flux, ivar, lsf_sigma, lambda,
  mask; or a column ``image``, a struct of lists (or a list of structs) band, flux, mask, ivar, psf_fwhm,
  scale. The object id is a text in Python's notation for bytes (``b'0421p022-7410'``). These files have no
  positions.
- HATS, ``dataset/Norder=K/Dir=D/Npix=N.parquet`` beside ``hats.properties``
  (https://hats.readthedocs.io, "HATS Directory Scheme"): the same columns as in the Parquet files, and
  ``ra``, ``dec``, ``_healpix_29``.
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
    """List the Parquet and HDF5 files of `paths` (files and folders), each once and in a stable order.

    In a HATS collection, only the files of the primary catalogue are listed. Its margins and indices repeat
    rows of this catalogue.

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
    """Read the rows of one file in order. A few of them are in memory at a time.

    Parameters
    ----------
    path : Path
        A Parquet or HDF5 file.
    what : str
        ``"spectrum"`` or ``"image"``: the arrays that the rows have.
    columns : tuple of str
        Names (in any case) of the scalar columns to read. Columns that the file lacks are left out.
    arrays : bool
        Whether `Row.field` is needed.
    only : set of int, optional
        Numbers of the rows to read, from 0. The default is all rows.

    Yields
    ------
    Row

    Raises
    ------
    InputError
        If the file cannot be read.
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
