"""Read tables in CSV, TSV, whitespace, ECSV, IPAC, CDS, FITS, VOTable, Parquet or HDF5, with any columns."""

import codecs
import math
import os
import re
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np

from pix2spec.data.readers.column_names import role_of
from pix2spec.data.readers.guards import check_expansion, fits_hdus, opened, reading, sniff
from pix2spec.errors import InputError

__all__ = ["read_table"]

MAX_TEXT_BYTES = 1000  # a column with longer texts holds comments, and is left out
MAX_CELL_VALUES = 10_000
INDEX = re.compile(r"__index_level_\d+__|Unnamed: 0|")  # names that pandas gives an index without one
PACKED = ("gzip", "bz2")
DASHES = re.compile(rb"[-\s;,|]*-{2,}[-\s;,|]*")


def read_table(path: str | Path):
    """Read a catalogue. The content of the file decides its format, not its name.

    Parameters
    ----------
    path : str or Path
        A CSV, TSV, ECSV, IPAC, CDS (MRT), FITS, VOTable, Parquet or HDF5 file, or a text in columns that are
        separated by spaces; each of them may be packed with gzip or bzip2. A text begins with a line of column
        names, which may be the last one of its comment lines, or VizieR's lines of names, units and dashes.

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
    if kind in PACKED:
        table = _read_packed(path, kind)
    elif kind == "html":
        raise InputError(
            path, "it is a web page (HTML), not a table: the download failed", "download it again"
        )
    elif kind in ("jpeg", "png", "npz"):
        raise InputError(path, f"it is a {kind} file, not a table", "give CSV, FITS, VOTable or Parquet")
    elif kind == "fits":
        table = _read_fits(path)
    else:
        reader = {"parquet": _read_parquet, "votable": _read_votable, "hdf5": _read_hdf5}.get(kind)
        if kind == "hdf5":
            import h5py  # noqa: F401  (an extra brings it)
        reader = reader or _text_reader(path)
        with reading(path, f"a table ({kind})"):
            table = reader(path)
    if len(table) == 0:
        damaged = table.meta.get("bad_rows", 0)
        why = f": {damaged} rows have more or fewer cells than the header" if damaged else ""
        raise InputError(path, f"the table has no rows{why}")
    table.meta["path"] = str(path)
    return table


def _read_packed(path, kind: str):
    """A packed table, from an unpacked copy."""
    with reading(path, f"a table ({kind})"), opened(path, kind) as stream:
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(folder) / "table"
            with open(copy, "wb") as out:
                while block := stream.read(2**20):
                    out.write(block)
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
        index = next((i for i, hdu in enumerate(hdus) if hasattr(hdu, "columns")), None)
        if index is None:
            raise InputError(path, "the FITS file holds no table")
        return Table.read(hdus, hdu=index)


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
        size = sum(file[name].nbytes for name in tables[:1])
        columns: dict = {}
        for group in [] if tables else ["/", *groups]:
            found = {n: d for n, d in file[group].items() if isinstance(d, h5py.Dataset) and d.ndim >= 1}
            if found and len({len(d) for d in found.values()}) == 1:
                columns, size = found, sum(d.nbytes for d in found.values())
                break
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
    table = _from_arrow(arrow)
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


def _text_reader(path):
    """The reader of a text, which its first lines decide."""
    with open(path, "rb") as stream:
        lines = [stream.readline(1 << 20) for _ in range(100)]
    if lines[0].startswith(b"# %ECSV"):
        return _read_ecsv
    if any(line.startswith(b"Byte-by-byte Description") for line in lines):
        return _read_cds
    first = next((line for line in lines if line.strip() and not line.startswith((b"\\", b"#"))), b"")
    if first.startswith(b"|") and first.rstrip().endswith(b"|"):
        return _read_ipac
    names, _ = _names_line(lines)
    if (
        b"," not in names
        and not any(c in names.strip(b"\t\r\n #") for c in (b"\t", b";", b"|"))
        and len(names.split()) > 1
    ):
        return _read_spaced
    return _read_csv


def _read_ecsv(path):
    from astropy.coordinates import SkyCoord
    from astropy.table import Table

    table = Table.read(path, format="ascii.ecsv")
    for name in [n for n in table.colnames if isinstance(table[n], SkyCoord)]:
        sky = table[name].icrs
        table["ra"], table["dec"] = sky.ra.deg, sky.dec.deg
        table.remove_column(name)
    return table


def _read_ipac(path):
    from astropy.table import Table

    return Table.read(path, format="ascii.ipac")


def _read_cds(path):
    from astropy.table import Table

    table = Table.read(path, format="ascii.cds")
    if {"RAh", "RAm", "RAs", "DEd", "DEm", "DEs"} <= set(table.colnames):
        table["ra"] = 15 * (table["RAh"] + table["RAm"] / 60 + table["RAs"] / 3600)
        sign = np.where(np.ma.filled(table["DE-"], "+") == "-", -1, 1) if "DE-" in table.colnames else 1
        table["dec"] = sign * (table["DEd"] + table["DEm"] / 60 + table["DEs"] / 3600)
        for name in ("ra", "dec"):
            table[name].unit = "deg"
    return table


def _read_spaced(path):
    """A text in columns that are separated by spaces."""
    from astropy.io import ascii

    with open(path, "rb") as stream:
        lines = [stream.readline(1 << 20) for _ in range(100)]
    names, place = _names_line(lines)
    text = _decoded(Path(path).read_bytes())
    rows = text.splitlines()
    columns = names.decode("latin1").strip().lstrip("#").split()
    body = [row for row in rows[place + 1 :] if row.strip() and not row.lstrip().startswith("#")]
    bad: list[int] = []
    content = []
    for number, row in enumerate(body, start=1):
        cells = len(row.split()) if '"' not in row and "'" not in row else len(columns)
        content.append(row) if cells == len(columns) else bad.append(number)
    ids = {name: [ascii.convert_numpy(str)] for name in columns if (role_of(name) or ("",))[0] == "id"}
    missing = [(word, "0") for word in ("", "null", "NULL", "nan", "NaN", "N/A", "--", "INDEF")]
    if not content:
        raise InputError(path, "the table has no rows")
    table = ascii.read(
        content, format="no_header", names=columns, delimiter=r"\s", converters=ids, fill_values=missing,
        guess=False,
    )  # fmt: skip
    table.meta["bad_rows"], table.meta["bad_row_numbers"] = len(bad), bad
    return table


def _decoded(raw: bytes) -> str:
    try:
        return raw.decode("utf8")
    except UnicodeDecodeError:
        return raw.decode("latin1")


def _names_line(lines: list[bytes]) -> tuple[bytes, int]:
    """The line of column names and its number: the last comment before the data if it looks like one."""
    place = next((i for i, line in enumerate(lines) if line.strip() and not line.startswith(b"#")), 0)
    first, comment = lines[place], lines[place - 1] if place else b""
    if comment.startswith(b"#") and _looks_like_data(first):
        names = comment.lstrip(b"#").strip()
        delimiter = _delimiter(first)
        wanted = first.count(delimiter.encode()) if delimiter else len(first.split()) - 1
        cells = names.count(delimiter.encode()) if delimiter else len(names.split()) - 1
        if wanted and cells == wanted:
            return comment.lstrip(b"#").lstrip(), place - 1
    return first, place


def _looks_like_data(line: bytes) -> bool:
    """Whether a cell of a line is a number: names of columns are not."""
    cells = re.split(rb"[,;\t| ]+", line.strip())
    return any(re.fullmatch(rb'"?[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?"?', cell) for cell in cells)


def _delimiter(line: bytes) -> str:
    """The sign between the cells of a line; "" for spaces."""
    best = max(",\t;|", key=lambda d: line.count(d.encode()))
    return best if best.encode() in line else ""


def _read_csv(path):
    import pyarrow as pa
    import pyarrow.csv as pc

    bad = []
    with open(path, "rb") as stream:
        lines = [stream.readline(1 << 20) for _ in range(200)]
        stream.seek(0)
        encoding = "utf8" if _is_utf8(stream) else "latin1"
        header, place = _names_line(lines)
        if b"\0" in header:
            raise InputError(path, "its encoding is neither UTF-8 nor Latin-1", "save it as CSV in UTF-8")
        delimiter = _delimiter(header) or ","
        names = _split(header, delimiter, encoding)
        units, after = _units_below(lines[place + 1 :], delimiter, encoding, len(names))
        counts = Counter(names)
        unique = [name if counts[name] == 1 else f"{name}#{i}" for i, name in enumerate(names)]
        stream.seek(0)
        skip = place + 1 + after

        def skip_bad_row(row) -> str:
            bad.append(row.number - skip)
            return "skip"

        texts = {name: pa.string() for name, old in zip(unique, names) if (role_of(old) or ("",))[0] == "id"}
        table = pc.read_csv(
            stream,
            # With several threads, row.number is unknown.
            pc.ReadOptions(skip_rows=skip, column_names=unique, encoding=encoding, use_threads=False),
            pc.ParseOptions(delimiter=delimiter, invalid_row_handler=skip_bad_row),
            pc.ConvertOptions(
                null_values=["", "null", "NULL", "nan", "NaN", "N/A", "--"], strings_can_be_null=True,
                column_types=texts,
            ),
        )  # fmt: skip
    last = {name: i for i, name in enumerate(names)}
    table = table.select([unique[i] for i in last.values()]).rename_columns(list(last))
    table = _from_arrow(table)
    for name, unit in zip(names, units):
        if unit and name in table.colnames:
            table[name].unit = unit
    table.meta["twice"] = [name for name, count in counts.items() if count > 1]
    table.meta["bad_rows"], table.meta["bad_row_numbers"] = len(bad), bad
    return table


def _split(line: bytes, delimiter: str, encoding: str) -> list[str]:
    """Cells of a line, which may be quoted."""
    import csv

    text = line.decode(encoding).lstrip("\ufeff").strip("\r\n")
    return [cell.strip() for cell in next(csv.reader([text], delimiter=delimiter))]


def _units_below(lines: list[bytes], delimiter: str, encoding: str, count: int) -> tuple[list[str], int]:
    """VizieR's units below the names, and the number of lines until the data: 2, with a line of dashes."""
    for after, line in enumerate(lines[:2]):
        if DASHES.fullmatch(line.strip()):
            cells = _split(lines[0], delimiter, encoding) if after else []
            return cells if len(cells) == count else [], after + 1
    return [], 0


def _is_utf8(stream) -> bool:
    decoder = codecs.getincrementaldecoder("utf8")()
    try:
        while chunk := stream.read(1 << 20):
            decoder.decode(chunk)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    return True


def _from_arrow(arrow):
    import pyarrow as pa
    from astropy.table import Table

    columns: dict = {}
    index = []
    for name, column in zip(arrow.column_names, arrow.columns):
        if INDEX.fullmatch(name.strip()):
            name = name.strip() or "(index)"
            index.append(name)
        if pa.types.is_nested(column.type) or _longest_text(column) > MAX_TEXT_BYTES:
            continue  # The column holds neither numbers nor names.
        if pa.types.is_integer(column.type) and column.null_count:
            # Texts, because floats would round object ids of 19 digits.
            columns[name.strip()] = np.array(["" if v is None else str(v) for v in column.to_pylist()])
        elif pa.types.is_integer(column.type) or pa.types.is_floating(column.type):
            columns[name.strip()] = column.to_numpy()
        else:
            columns[name.strip()] = np.array(["" if v is None else str(v) for v in column.to_pylist()], str)
    names = Counter(name.strip() for name in arrow.column_names)
    meta = {"twice": [name for name, count in names.items() if count > 1], "index": index}
    return Table(columns, meta=meta)


def _longest_text(column) -> int:
    """Length in bytes of the longest text in a column."""
    import pyarrow as pa
    import pyarrow.compute as pc

    parts = [c.dictionary if pa.types.is_dictionary(c.type) else c for c in column.chunks]
    kinds = (pa.types.is_string, pa.types.is_large_string, pa.types.is_binary, pa.types.is_large_binary)
    parts = [part for part in parts if any(test(part.type) for test in kinds)]
    return max((pc.max(pc.binary_length(part)).as_py() or 0 for part in parts), default=0)
