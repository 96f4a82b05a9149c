"""Read tables in CSV, ECSV, FITS, VOTable or Parquet, with any columns."""

import codecs
import math
import os
import re
from collections import Counter
from pathlib import Path

import numpy as np

from pix2spec.data.readers.guards import check_expansion, fits_hdus, opened, reading, sniff
from pix2spec.errors import InputError

__all__ = ["read_table"]

MAX_TEXT_BYTES = 1000  # a column with longer texts holds comments, and is left out
MAX_CELL_VALUES = 10_000


def read_table(path: str | Path):
    """Read a catalogue. The content of the file decides its format, not its name.

    Parameters
    ----------
    path : str or Path
        A CSV, ECSV, FITS, VOTable or Parquet file. A CSV file begins with a line of column names. Comment
        lines that begin with # may stand before that line. ECSV files keep units and metadata.

    Returns
    -------
    astropy.table.Table
        ``table.meta["path"]`` is `path`. CSV rows with too many or too few cells are left out:
        ``table.meta["bad_rows"]`` is their number, and ``table.meta["bad_row_numbers"]`` lists their
        positions in the file, which start at 1.

    Raises
    ------
    InputError
        If the file is not a table, is damaged, or has no rows.
    """
    kind = sniff(path)
    if kind == "html":
        raise InputError(
            path, "it is a web page (HTML), not a table: the download failed", "download it again"
        )
    if kind in ("jpeg", "png", "npz"):
        raise InputError(path, f"it is a {kind} file, not a table", "give CSV, FITS, VOTable or Parquet")
    if kind == "fits" or (kind == "gzip" and ".fit" in Path(path).name.lower()):
        table = _read_fits(path)
    else:
        reader = {"parquet": _read_parquet, "votable": _read_votable}.get(kind, _read_csv)
        reader = _read_ecsv if kind == "text" and _is_ecsv(path) else reader
        with reading(path, f"a table ({kind})"):
            table = reader(path)
    if len(table) == 0:
        damaged = table.meta.get("bad_rows", 0)
        why = f": {damaged} rows have more or fewer cells than the header" if damaged else ""
        raise InputError(path, f"the table has no rows{why}")
    table.meta["path"] = str(path)
    return table


def _read_fits(path):
    from astropy.table import Table

    with fits_hdus(path) as hdus:
        index = next((i for i, hdu in enumerate(hdus) if hasattr(hdu, "columns")), None)
        if index is None:
            raise InputError(path, "the FITS file holds no table")
        return Table.read(hdus, hdu=index)


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
        return _from_arrow(file.read())


def _is_ecsv(path) -> bool:
    with open(path, "rb") as stream:
        return stream.read(7) == b"# %ECSV"


def _read_ecsv(path):
    from astropy.table import Table

    return Table.read(path, format="ascii.ecsv")


def _read_csv(path):
    import pyarrow.csv as pc

    bad = []
    with opened(path, sniff(path)) as stream:
        lines = [stream.readline() for _ in range(100)]
        stream.seek(0)
        encoding = "utf8" if _is_utf8(stream) else "latin1"
        stream.seek(0)
        skip = next((i for i, line in enumerate(lines) if line.strip() and not line.startswith(b"#")), 0)
        header = lines[skip]
        if b"\0" in header:
            raise InputError(path, "its encoding is neither UTF-8 nor Latin-1", "save it as CSV in UTF-8")
        delimiter = max(",\t;|", key=lambda d: header.count(d.encode()))

        def skip_bad_row(row) -> str:
            bad.append(row.number - skip - 1)
            return "skip"

        table = pc.read_csv(
            stream,
            # With several threads, row.number is unknown.
            pc.ReadOptions(skip_rows=skip, encoding=encoding, use_threads=False),
            pc.ParseOptions(
                delimiter=delimiter,
                invalid_row_handler=skip_bad_row,
            ),
            pc.ConvertOptions(
                null_values=["", "null", "NULL", "nan", "NaN", "N/A", "--"], strings_can_be_null=True
            ),
        )
    table = _from_arrow(table)
    table.meta["bad_rows"], table.meta["bad_row_numbers"] = len(bad), bad
    return table


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

    columns = {}
    for name, column in zip(arrow.column_names, arrow.columns):
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
    return Table(columns, meta={"twice": [name for name, count in names.items() if count > 1]})


def _longest_text(column) -> int:
    """Length in bytes of the longest text in a column."""
    import pyarrow as pa
    import pyarrow.compute as pc

    parts = [c.dictionary if pa.types.is_dictionary(c.type) else c for c in column.chunks]
    kinds = (pa.types.is_string, pa.types.is_large_string, pa.types.is_binary, pa.types.is_large_binary)
    parts = [part for part in parts if any(test(part.type) for test in kinds)]
    return max((pc.max(pc.binary_length(part)).as_py() or 0 for part in parts), default=0)
