"""Tables as they lie on disk (CSV, FITS, VOTable, Parquet), whatever they hold."""

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

LONGEST_TEXT = 1000  # bytes: longer texts are comments
LONGEST_CELL = 10_000  # values


def read_table(path: str | Path):
    """Read a catalogue; the kind of file is recognised by its content.

    Parameters
    ----------
    path : str or Path
        CSV (with a line of column names; lines that begin with # before it are skipped), FITS, VOTable
        or Parquet.

    Returns
    -------
    astropy.table.Table
        In CSV, a cell that is not a number where numbers are expected is missing; rows with too many or
        too few cells are left out and counted in ``table.meta["bad_rows"]``; their numbers, from 1, are in
        ``table.meta["bad_row_numbers"]``.
    """
    kind = sniff(path)
    if kind == "html":
        raise InputError(path, "it is a web page (HTML), not a table: the download failed", "get it again")
    if kind in ("jpeg", "png", "npz"):
        raise InputError(path, f"it is a {kind} file, not a table", "give CSV, FITS, VOTable or Parquet")
    if kind == "fits" or (kind == "gzip" and ".fit" in Path(path).name.lower()):
        table = _read_fits(path)
    else:
        reader = {"parquet": _read_parquet, "votable": _read_votable}.get(kind, _read_csv)
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
    """Refuse what would make astropy fetch other files, or give memory to cells that are not there."""
    from xml.parsers import expat

    def start(element: str, attributes: dict) -> None:
        if element.rpartition(":")[2] == "STREAM" and "href" in attributes:
            what = f"its data lie elsewhere, in {attributes['href'][:100]}"
            raise InputError(path, what, "save the table with its data, as CSV for example")
        sizes = [int(n) for n in re.findall(r"\d+", attributes.get("arraysize", ""))]
        if math.prod(sizes) > LONGEST_CELL:
            raise InputError(
                path, f"a column has cells of {attributes['arraysize'][:40]} values", "leave it out"
            )
        if int(attributes.get("nrows", 0)) > os.path.getsize(path):
            raise InputError(path, "it has more rows than bytes", "get it again")

    def entity(*_) -> None:
        raise InputError(path, "it defines entities of its own", "save the table as CSV")

    parser = expat.ParserCreate()
    parser.StartElementHandler, parser.EntityDeclHandler = start, entity
    with open(path, "rb") as stream:
        parser.ParseFile(stream)


def _read_parquet(path):
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        metadata = file.metadata
        groups = (metadata.row_group(i).total_byte_size for i in range(metadata.num_row_groups))
        # a constant column, or one of nulls, takes no place in the file
        check_expansion(path, max(sum(groups), 8 * metadata.num_rows * metadata.num_columns), "the table")
        leaves = map(file.schema.column, range(len(file.schema)))
        texts = [leaf.path for leaf in leaves if leaf.physical_type == "BYTE_ARRAY"]
    with pq.ParquetFile(path, read_dictionary=texts) as file:  # one text could stand for every row
        return _from_arrow(file.read())


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
            raise InputError(path, "it is not text of one byte a letter", "save it as CSV in UTF-8")
        delimiter = max(",\t;|", key=lambda d: header.count(d.encode()))

        def leave_out(row) -> str:
            bad.append(row.number - skip - 1)
            return "skip"

        table = pc.read_csv(
            stream,
            pc.ReadOptions(skip_rows=skip, encoding=encoding, use_threads=False),  # threads lose row numbers
            pc.ParseOptions(
                delimiter=delimiter,
                invalid_row_handler=leave_out,
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
        if pa.types.is_nested(column.type) or _longest(column) > LONGEST_TEXT:
            continue  # neither a number nor a name
        if pa.types.is_integer(column.type) and column.null_count:
            # not floats: they would round 19-digit object ids
            columns[name.strip()] = np.array(["" if v is None else str(v) for v in column.to_pylist()])
        elif pa.types.is_integer(column.type) or pa.types.is_floating(column.type):
            columns[name.strip()] = column.to_numpy()
        else:
            columns[name.strip()] = np.array(["" if v is None else str(v) for v in column.to_pylist()], str)
    names = Counter(name.strip() for name in arrow.column_names)
    return Table(columns, meta={"twice": [name for name, count in names.items() if count > 1]})


def _longest(column) -> int:
    """Bytes of the longest text of a column."""
    import pyarrow as pa
    import pyarrow.compute as pc

    parts = [c.dictionary if pa.types.is_dictionary(c.type) else c for c in column.chunks]
    kinds = (pa.types.is_string, pa.types.is_large_string, pa.types.is_binary, pa.types.is_large_binary)
    parts = [part for part in parts if any(test(part.type) for test in kinds)]
    return max((pc.max(pc.binary_length(part)).as_py() or 0 for part in parts), default=0)
