"""Read tables in CSV, TSV, whitespace, ECSV, IPAC, CDS, FITS, VOTable, Parquet or HDF5, with any columns."""

import math
import os
import re
import tempfile
from codecs import BOM_UTF16_BE, BOM_UTF16_LE, EncodedFile
from pathlib import Path
from typing import Any

import numpy as np

from pix2spec.data.readers.column_names import meaning_of
from pix2spec.data.readers.column_roles import role_of
from pix2spec.data.readers.guards import check_expansion, fits_hdus, opened, reading, sniff
from pix2spec.data.readers.table_arrow import from_arrow
from pix2spec.data.readers.table_texts import text_reader
from pix2spec.errors import InputError

__all__ = ["read_table"]

MAX_CELL_VALUES = 10_000
PACKED = ("gzip", "bz2")


def read_table(path: str | Path):
    """Read a catalogue. The content of the file decides its format, not its name.

    Parameters
    ----------
    path : str or Path
        A CSV, TSV, ECSV, IPAC, CDS (MRT), FITS, VOTable, Parquet or HDF5 file, or a text in columns that are
        separated by spaces; each of them may be packed with gzip or bzip2. A text begins with a line of
        column names, which may be the last one of its comment lines, or with VizieR's lines of names, units
        and dashes.

    Returns
    -------
    astropy.table.Table
        ``table.meta["path"]`` is `path`, and ``table.meta["index"]`` lists columns that were the index of
        pandas. Units are kept wherever the format has them. Rows of texts with too many or too few cells are
        left out: ``table.meta["bad_rows"]`` is their number, and ``table.meta["bad_row_numbers"]`` lists
        their positions in the file, which start at 1.

    Raises
    ------
    InputError
        If the file is not a table, is damaged, or has no rows.
    """
    kind = sniff(path)
    if kind in PACKED or (kind == "text" and _is_foreign(path)):
        table = _read_packed(path, kind)
    elif kind == "html":
        raise InputError(
            path, "it is a web page (HTML), not a table: the download failed", "download it again"
        )
    elif kind in ("jpeg", "png", "npz"):
        what = "an archive or a workbook (zip, Excel, npz)" if kind == "npz" else f"a {kind} file"
        raise InputError(path, f"it is {what}, not a table", "give CSV, FITS, VOTable or Parquet")
    elif kind == "fits":
        table = _read_fits(path)
    else:
        reader = {"parquet": _read_parquet, "votable": _read_votable, "hdf5": _read_hdf5}.get(kind)
        if kind == "hdf5":
            import h5py  # noqa: F401  (an extra brings it)
        reader = reader or text_reader(path)
        with reading(path, f"a table ({kind})"):
            table = reader(path)
    if len(table) == 0:
        damaged = table.meta.get("bad_rows", 0)
        why = f": {damaged} rows have more or fewer cells than the header" if damaged else ""
        raise InputError(path, f"the table has no rows{why}")
    table.meta["path"] = str(path)
    return table


def _is_foreign(path) -> bool:
    """Whether a text is in UTF-16, or its lines end as those of old Macintoshes."""
    with open(path, "rb") as stream:
        head = stream.read(2**16)
    return head[:2] in (BOM_UTF16_LE, BOM_UTF16_BE) or (b"\r" in head[:-1] and b"\n" not in head)


def _read_packed(path, kind: str):
    """A table that is packed, or a text in UTF-16 or with lines of its own, from a plain copy."""
    with reading(path, f"a table ({kind})"), opened(path, kind) as stream:
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(folder) / "table"
            with open(copy, "wb") as out:
                if kind == "text" and stream.peek(2)[:2] in (BOM_UTF16_LE, BOM_UTF16_BE):
                    stream = EncodedFile(stream, "utf8", "utf16")
                while block := stream.read(2**20):
                    out.write(block.replace(b"\r", b"\n") if kind == "text" else block)
            if sniff(copy) in PACKED:
                raise InputError(path, "it is packed twice", "unpack it once")
            try:
                return read_table(copy)
            except InputError as error:
                where = error.where.replace(str(copy), str(path))
                raise InputError(where, error.what.replace(str(copy), str(path)), error.hint) from error


def _read_fits(path):
    from astropy.table import Table

    with fits_hdus(path) as hdus:
        places = [i for i, hdu in enumerate(hdus) if hasattr(hdu, "columns")]
        if not places:
            raise InputError(path, "the FITS file holds no table")
        index = _best(places, [hdus[i].columns.names for i in places])
        table = Table.read(hdus, hdu=index)
        for other in places:  # DESI's redshifts lie beside its FIBERMAP, row by row
            if other != index and _same_rows(hdus[other].data, table):
                more = Table.read(hdus, hdu=other)
                for name in [n for n in more.colnames if n not in table.colnames]:
                    table[name] = more[name]
        return table


def _best(places: list, names: list) -> Any:
    """The first place whose columns hold measurements, else the first with known columns, else the first."""
    known = [(any(map(meaning_of, own)), any(map(role_of, own))) for own in names]
    return places[known.index(max(known))]


def _same_rows(data, table) -> bool:
    """Whether a table of FITS has the rows of another one, by their unique ids."""
    shared = [n for n in table.colnames if n in data.names and (role_of(n) or ("",))[0] == "id"]
    if not shared or len(data) != len(table):
        return False
    ids = np.asarray(table[shared[0]])
    return bool(np.array_equal(ids, data[shared[0]])) and len(np.unique(ids)) == len(ids)


def _read_hdf5(path):
    """The first table of an HDF5 file, or the first group whose members are columns."""
    import h5py
    from astropy.table import Table

    with h5py.File(path) as file:
        tables, groups = [], []

        def visit(name, item) -> None:
            if isinstance(item, h5py.Dataset) and item.dtype.names and item.ndim == 1:
                tables.append(name)
            elif isinstance(item, h5py.Group):
                groups.append(name)

        file.visititems(visit)
        tables = [_best(tables, [file[name].dtype.names for name in tables])] if tables else []
        size = sum(file[name].nbytes for name in tables)
        columns: dict = {}
        found = [c for c in map(_columns_of, [] if tables else [file, *map(file.get, groups)]) if c]
        if found:
            columns = _best(found, found)
            size = sum(d.nbytes for d in columns.values())
        check_expansion(path, size, "the table")
        if columns:
            table = Table({name: d[...] for name, d in columns.items() if d.dtype.kind in "iufSUOb"})
            for name, data in columns.items():
                unit = data.attrs.get("unit", data.attrs.get("units"))
                if unit is not None and name in table.colnames:
                    table[name].unit = str(unit.decode() if isinstance(unit, bytes) else unit)
            return table
        if not tables:
            raise InputError(path, "the HDF5 file holds no table", "a dataset of columns, or a group of them")
    return Table.read(path, format="hdf5", path=tables[0])


def _columns_of(group) -> dict:
    """Datasets of equal length in a group of HDF5; those of vaex are ``data`` in groups of their own."""
    import h5py

    members = {
        n: d["data"] if isinstance(d, h5py.Group) and list(d) == ["data"] else d for n, d in group.items()
    }
    found = {n: d for n, d in members.items() if isinstance(d, h5py.Dataset) and d.ndim >= 1}
    return found if len({len(d) for d in found.values()}) == 1 else {}


def _read_votable(path):
    from astropy.table import Table

    _check_votable(path)
    return Table.read(path, format="votable")


def _check_votable(path) -> None:
    """Refuse links to other files, and declared sizes for which the file is too short."""
    from xml.parsers import expat

    def start(element: str, attributes: dict) -> None:
        if element.rpartition(":")[2] == "STREAM" and "href" in attributes:
            what = f"its data are in another file, {attributes['href'][:100]}"
            raise InputError(path, what, "save the table with its data, as CSV for example")
        sizes = [int(n) for n in re.findall(r"\d+", attributes.get("arraysize", ""))]
        if math.prod(sizes) > MAX_CELL_VALUES:
            raise InputError(
                path, f"a column has cells of {attributes['arraysize'][:40]} values", "delete this column"
            )
        if int(attributes.get("nrows", 0)) > os.path.getsize(path):
            raise InputError(path, "it declares more rows than it has bytes", "download it again")

    def entity(*_) -> None:
        raise InputError(path, "it defines XML entities", "save the table as CSV")

    parser = expat.ParserCreate()
    parser.StartElementHandler, parser.EntityDeclHandler = start, entity
    with open(path, "rb") as stream:
        parser.ParseFile(stream)


def _read_parquet(path):
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        metadata = file.metadata
        groups = (metadata.row_group(i).total_byte_size for i in range(metadata.num_row_groups))
        # A constant column, or a column of nulls, takes almost no space in the file.
        check_expansion(path, max(sum(groups), 8 * metadata.num_rows * metadata.num_columns), "the table")
        leaves = map(file.schema.column, range(len(file.schema)))
        texts = [leaf.path for leaf in leaves if leaf.physical_type == "BYTE_ARRAY"]
    # In a dictionary, a long text that every row repeats is stored once.
    with pq.ParquetFile(path, read_dictionary=texts) as file:
        arrow = file.read()
    table = from_arrow(arrow)
    for name, unit in _parquet_units(arrow.schema).items():
        if name in table.colnames and unit:
            table[name].unit = unit
    return table


def _parquet_units(schema) -> dict[str, str]:
    """Units of columns: those that astropy keeps, those of VOParquet, or those of the fields."""
    from io import BytesIO

    from astropy.io.votable import parse_single_table
    from astropy.table.meta import get_header_from_yaml

    units = {}
    for field in schema:
        own = field.metadata or {}
        unit = next((own[key] for key in (b"unit", b"units", b"Unit") if key in own), b"")
        units[field.name] = unit.decode("utf8", "replace")
    metadata = schema.metadata or {}
    if b"IVOA.VOTable-Parquet.content" in metadata:
        votable = parse_single_table(BytesIO(metadata[b"IVOA.VOTable-Parquet.content"]))
        units |= {f.name: str(f.unit) for f in votable.fields if f.unit is not None}
    if b"table_meta_yaml" in metadata:
        lines = metadata[b"table_meta_yaml"].decode().split("\n")
        header = get_header_from_yaml(lines)
        units |= {column["name"]: str(column["unit"]) for column in header["datatype"] if column.get("unit")}
    return units
