"""Catalogues as tables of one value a cell, for astropy and in files of FITS and VOTable."""

from __future__ import annotations

import base64
import io
import json
import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pix2spec.errors import InputError
from pix2spec.products.catalogue import Catalogue
from pix2spec.products.units import PHYSICAL, ascii_text
from pix2spec.runtime.atomic import write_atomically

if TYPE_CHECKING:
    from astropy.table import Table

__all__ = ["FORMATS", "check_format", "to_table", "write_table"]

FORMATS = {"parquet": "catalog.parquet", "fits": "catalog.fits", "votable": "catalog.vot"}
ROWS = 20_000  # that are in memory at a time
_PAYLOAD = re.compile(rb"(.*<STREAM[^>]*>)(.*)(</STREAM>.*)", re.DOTALL)


def check_format(name: str) -> None:
    """Raise `InputError` if `name` is none of `FORMATS`."""
    if name not in FORMATS:
        raise InputError("`file_format`", f"{name!r} is unknown", f"one of {', '.join(FORMATS)}")


def to_table(catalogue: Catalogue, spectra: bool = False) -> Table:
    """A catalogue as an astropy table, with units and descriptions.

    Parameters
    ----------
    catalogue : Catalogue
    spectra : bool
        Whether flux and quantiles go along, as columns of vectors; candidates never do.
    """
    return _to_table(catalogue, catalogue.read([f.name for f in _fields(catalogue, spectra)]), spectra)


def write_table(catalogue: Catalogue, out: str | Path, file_format: str) -> Path:
    """Write a catalogue as ``catalog.fits`` or ``catalog.vot``. Memory does not grow with its length.

    Parameters
    ----------
    catalogue : Catalogue
    out : path
        Folder of the file.
    file_format : str
        ``"fits"`` or ``"votable"``.
    """
    check_format(file_format)
    path = Path(out) / FORMATS[file_format]
    write: Callable = {"fits": _write_fits, "votable": _write_votable}[file_format]
    write_atomically(path, lambda temporary: write(catalogue, temporary))
    return path


def _fields(catalogue: Catalogue, spectra: bool = False) -> list[pa.Field]:
    """Columns of one value a cell, flags, and, if wanted, spectra."""
    return [
        field
        for field in catalogue.schema
        if (not pa.types.is_list(field.type) and (spectra or not pa.types.is_fixed_size_list(field.type)))
        or field.name == "flags"
    ]


def _to_table(catalogue: Catalogue, rows: pa.Table, spectra: bool = False) -> Table:
    from astropy import units as u
    from astropy.table import Column, Table

    physical = "unit" not in rows.column_names or set(pc.unique(rows["unit"]).to_pylist()) <= {PHYSICAL, ""}
    table = Table()
    for field in _fields(catalogue, spectra):
        facts = {k.decode(): v.decode() for k, v in (field.metadata or {}).items()}
        values, is_spectrum = rows[field.name].combine_chunks(), pa.types.is_fixed_size_list(field.type)
        unit = facts.get("unit") if physical or not is_spectrum else None
        column = Column(_values(values), unit=u.Unit(unit) if unit else None)
        column.description = facts.get("description")
        if "ucd" in facts:
            column.meta["ucd"] = facts["ucd"]
        table[field.name] = column
    table.meta["pix2spec"] = json.dumps(catalogue.provenance, default=str)
    return table


def _values(column: pa.Array) -> np.ndarray:
    if pa.types.is_fixed_size_list(column.type):
        return column.flatten().to_numpy(zero_copy_only=False).reshape(-1, column.type.list_size)
    if pa.types.is_list(column.type):
        return np.array([" ".join(texts) for texts in column.to_pylist()], str)
    if pa.types.is_string(column.type):
        return np.array(column.to_pylist(), str)
    return column.to_numpy(zero_copy_only=False)


def _chunks(catalogue: Catalogue):
    """Tables of some rows each."""
    for rows in catalogue.read_chunks([field.name for field in _fields(catalogue)], ROWS):
        yield _to_table(catalogue, rows)


def _write_fits(catalogue: Catalogue, path: Path) -> None:
    from astropy.io import fits

    widths: dict[str, int] = {}  # texts have one width in all rows: the first pass finds it
    for table in _chunks(catalogue):
        for name, texts in _ascii_columns(table).items():
            widths[name] = max(widths.get(name, 1), texts.dtype.itemsize)
    size = 0
    with open(path, "wb") as stream:
        for table in _chunks(catalogue):
            for name, texts in _ascii_columns(table).items():
                column = table[name]
                table[name] = type(column)(
                    texts.astype(f"S{widths[name]}"), description=column.description, meta=column.meta
                )
            if not size:
                stream.write(fits.PrimaryHDU().header.tostring().encode("ascii"))
                stream.write(_fits_header(table, catalogue).tostring().encode("ascii"))
            rows = table.as_array()
            size += stream.write(rows.astype(rows.dtype.newbyteorder(">")).tobytes())
        stream.write(bytes(-size % 2880))


def _ascii_columns(table: Table) -> dict[str, np.ndarray]:
    """Columns of texts, as FITS holds them."""
    names = [name for name in table.colnames if table[name].dtype.kind == "U"]
    return {name: np.array([ascii_text(str(text)).encode() for text in table[name]], "S") for name in names}


def _fits_header(table: Table, catalogue: Catalogue):
    """Header of the table, with descriptions and UCDs of the columns as TOPCAT reads them, and provenance."""
    from astropy.io import fits

    provenance = table.meta.pop("pix2spec")
    header = fits.table_to_hdu(table[:0]).header
    header["NAXIS2"], header["EXTNAME"] = len(catalogue), "CATALOG"
    for k, name in enumerate(table.colnames, 1):
        header.set(f"TCOMM{k}", ascii_text(table[name].description or ""), after=f"TFORM{k}")
        if "ucd" in table[name].meta:
            header.set(f"TUCD{k}", table[name].meta["ucd"], after=f"TCOMM{k}")
    header["PIX2SPEC"] = ascii_text(provenance)
    return header


def _write_votable(catalogue: Catalogue, path: Path) -> None:
    """Write BINARY2 a chunk at a time: its payload is that of the chunks, one after the other."""
    left, end = b"", b""
    with open(path, "wb") as stream:
        for table in _chunks(catalogue):
            head, payload, tail = _votable(table)
            if not end:
                stream.write(head + b"\n")
                end = tail
            left += base64.b64decode(payload)
            whole = len(left) - len(left) % 57  # bytes of a line of 76 characters
            stream.write(base64.encodebytes(left[:whole]))
            left = left[whole:]
        stream.write(base64.encodebytes(left) + end)


def _votable(table: Table) -> tuple[bytes, bytes, bytes]:
    """A table as VOTable: what comes before its payload in base64, the payload, and what comes after it."""
    from astropy import units as u
    from astropy.io.votable import from_table
    from astropy.io.votable.tree import Info

    provenance = table.meta.pop("pix2spec")
    votable = from_table(table)
    for field in votable.get_first_table().fields:
        if field.datatype == "unicodeChar":
            field.arraysize = "*"
    votable.resources[0].infos.append(Info(name="pix2spec", value=provenance))
    content = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", u.UnitsWarning)  # the VO would rather have nanometres and watts
        votable.to_xml(content, tabledata_format="binary2")
    found = _PAYLOAD.fullmatch(content.getvalue())
    if found is None:  # astropy writes no data for a table without rows
        return content.getvalue(), b"", b""
    return found[1], found[2], found[3]
