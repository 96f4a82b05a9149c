"""The list of bad inputs, and how one is noted in it."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

# Commands as which an input is tried, instead of a reader.
GENERATE = "generate {path} --out {out} -n 1 --steps 1"
GENERATE_WITH_SPECTRUM = "generate --spectrum {path} --out {out} -n 1 --steps 1"
IMPORT = "data import {out} {path}"
IMPORT_TABLE = "data import {out} --table {path}"
CHECK = "data check {path}"
INFO = "info {path}"
TRAIN = "train {path} nowhere --out {out}"


@dataclass(frozen=True)
class Bad:
    """One bad input.

    `write` puts it into a folder and gives the path that is handed to `reader`, one of `READERS`, or a
    command line with ``{path}`` and ``{out}`` in it. `says` is a regular expression of what must be said.
    """

    name: str
    kind: str
    reader: str
    says: str
    write: Callable[[Path], Path]


CORPUS: list[Bad] = []


def bad(kind: str, reader: str, says: str, name: str | None = None):
    """Note the function as a bad input."""

    def note(write):
        CORPUS.append(Bad(name or write.__name__.replace("_", "-"), kind, reader, says, write))
        return write

    return note


def put(folder: Path, name: str, content) -> Path:
    """Write bytes or text, or FITS HDUs."""
    path = folder / name
    if isinstance(content, str):
        content = content.encode()
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        content.writeto(path)
    return path
