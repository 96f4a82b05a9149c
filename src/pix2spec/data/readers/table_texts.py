"""Read tables in texts: CSV, TSV, columns separated by spaces, ECSV, IPAC, and those of CDS."""

import codecs
import csv
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np

from pix2spec.data.readers.column_names import meaning_of
from pix2spec.data.readers.column_roles import role_of
from pix2spec.data.readers.column_values import parse_unit
from pix2spec.data.readers.table_arrow import from_arrow
from pix2spec.errors import InputError

__all__ = ["text_reader"]

DASHES = re.compile(rb"[-+\s;,|]*-{2,}[-+\s;,|]*")
NOTHING = ("", "null", "NULL", "nan", "NaN", "N/A", "--")  # cells without a value
HEAD = 200  # lines in which the names of the columns must come


def text_reader(path) -> Callable:
    """The reader of a text, which its first lines decide."""
    with open(path, "rb") as stream:
        lines = [stream.readline(1 << 20) for _ in range(HEAD)]
    if lines[0].startswith(b"# %ECSV"):
        return _read_ecsv
    if any(line.startswith(b"Byte-by-byte Description") for line in lines):
        return _read_cds
    if re.match(rb"#\s+\d+\s+[A-Z]\w+", lines[0]):
        return _read_sextractor
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


def _read_sextractor(path):
    from astropy.table import Table

    return Table.read(path, format="ascii.sextractor")


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
        lines = [stream.readline(1 << 20) for _ in range(HEAD)]
    names, place = _names_line(lines)
    text = _decoded(Path(path).read_bytes())
    rows = text.splitlines()
    columns = names.decode("latin1").strip().lstrip("#").split()
    body = [row for row in rows[place + 1 :] if row.strip() and not row.lstrip().startswith("#")]
    if body and all(len(row.split()) == len(columns) + 1 for row in body):
        columns = ["(row)", *columns]  # R's row names, which have no header
    columns = [name.strip('"') for name in columns]
    bad: list[int] = []
    content = []
    for number, row in enumerate(body, start=1):
        cells = len(row.split()) if '"' not in row and "'" not in row else len(columns)
        content.append(row) if cells == len(columns) else bad.append(number)
    ids = {name: [ascii.convert_numpy(str)] for name in columns if (role_of(name) or ("",))[0] == "id"}
    missing = [(word, "0") for word in (*NOTHING, "INDEF")]
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
    place = _above_dashes(lines, place)
    first = lines[place]
    if not _looks_like_data(first):
        return first, place
    sign = _delimiter(first).encode()
    wanted = len(first.split(sign or None))
    comments = [line.lstrip(b"#").lstrip() for line in lines[:place] if line.startswith(b"#")][::-1]
    found = [c for c in comments if wanted > 1 and len(c.strip().split(sign or None)) == wanted]
    known = (c for c in found if any(map(_is_known, c.decode("latin1").split(sign.decode() or None))))
    names = next(known, found[0] if found and found[0] is comments[0] else None)
    return (first, place) if names is None else (names, place - 1)


def _is_known(name: str) -> bool:
    name = name.strip("\"' \r\n")
    return bool(role_of(name) or meaning_of(name))


def _above_dashes(lines: list[bytes], place: int) -> int:
    """The first line with as many cells as a line of dashes after it has; else `place`."""
    dashes = next((i for i, line in enumerate(lines) if DASHES.fullmatch(line.strip()) and b"\t" in line), 0)
    wanted = lines[dashes].count(b"\t")
    if dashes <= place or lines[place].count(b"\t") == wanted:
        return place
    return next((i for i in range(place, dashes) if lines[i].count(b"\t") == wanted), place)


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
        lines = [stream.readline(1 << 20) for _ in range(HEAD)]
        stream.seek(0)
        encoding = "utf8" if _is_utf8(stream) else "latin1"
        header, place = _names_line(lines)
        if b"\0" in header:
            raise InputError(path, "its encoding is neither UTF-8 nor Latin-1", "save it as CSV in UTF-8")
        delimiter = _delimiter(header) or ","
        names = _split(header, delimiter, encoding)
        units, after = _units_below(lines[place + 1 :], delimiter, encoding, len(names))
        names = _with_unnamed(names, lines[place + 1 + after :], delimiter, encoding)
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
                null_values=list(NOTHING), strings_can_be_null=True,
                column_types=texts,
            ),
        )  # fmt: skip
    last = {name: i for i, name in enumerate(names)}
    table = table.select([unique[i] for i in last.values()]).rename_columns(list(last))
    table = from_arrow(table)
    for name, unit in zip(names, units):
        if unit and name in table.colnames:
            table[name].unit = unit
    table.meta["twice"] = [name for name, count in counts.items() if count > 1]
    table.meta["bad_rows"], table.meta["bad_row_numbers"] = len(bad), bad
    return table


def _split(line: bytes, delimiter: str, encoding: str) -> list[str]:
    """Cells of a line, which may be quoted."""
    text = line.decode(encoding).lstrip("\ufeff").strip("\r\n")
    try:
        cells = next(csv.reader([text], delimiter=delimiter), [])
    except csv.Error:  # a line end within a cell, or an endless cell
        cells = text.split(delimiter)
    return [cell.strip() for cell in cells]


def _with_unnamed(names: list[str], rows: list[bytes], delimiter: str, encoding: str) -> list[str]:
    """The names with one for R's numbers of rows, or for what follows a sign at the end of each row."""
    cells = [_split(row, delimiter, encoding) for row in rows if row.strip()]
    if cells and all(len(row) == len(names) + 1 for row in cells):
        if not any(row[-1] for row in cells):
            return [*names, "(end)"]
        if [row[0] for row in cells] == [str(i + 1) for i in range(len(cells))]:
            return ["(row)", *names]
    return names


def _units_below(lines: list[bytes], delimiter: str, encoding: str, count: int) -> tuple[list[str], int]:
    """VizieR's units below the names, and the number of lines until the data: 2, with a line of dashes."""
    for after, line in enumerate(lines[:2]):
        if DASHES.fullmatch(line.strip()):
            cells = _split(lines[0], delimiter, encoding) if after else []
            return cells if len(cells) == count else [], after + 1
    if (
        lines
        and b"".join(lines[1:]).strip()
        and not _looks_like_data(lines[0])
        and _looks_like_data(lines[1])
    ):
        cells = [cell.strip("[]()") for cell in _split(lines[0], delimiter, encoding)]
        forms = [parse_unit(cell).form for cell in cells]
        if len(cells) == count and set(forms) & {"mag", "flux", "asinh", "ivar"}:
            return [c if form != "none" else "" for c, form in zip(cells, forms)], 1
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
