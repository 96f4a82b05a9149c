"""One row of a file of the Multimodal Universe, in the same form for all file formats."""

import math
import re
from dataclasses import dataclass
from typing import Any

import numpy as np

from pix2spec.data.readers.guards import reading

__all__ = ["FIELDS", "HINT", "Row", "matching", "to_python"]

FIELDS = {"spectrum": ("flux", "ivar", "lambda", "mask"), "image": ("flux", "band", "scale")}
HINT = "it is damaged or made to fill the memory: leave it out"


@dataclass
class Row:
    """One object of a file.

    Attributes
    ----------
    label : str
        File and row, for messages.
    index : int
        Number of the row, from 0.
    scalars : dict of str to number or str
        Values of the requested scalar columns that the file has.
    read : callable or None
        Function behind `field`; None if arrays are not read.
    """

    label: str
    index: int
    scalars: dict
    read: Any

    def number(self, name: str) -> float:
        """A scalar as a float; NaN if it is missing or not a number."""
        value = self.scalars.get(name)
        return float(value) if isinstance(value, int | float) else math.nan

    def text(self, name: str) -> str:
        """A scalar as text; empty if it is missing."""
        value = self.scalars.get(name)
        return str(value) if isinstance(value, int | str) else ""

    def field(self, name: str) -> np.ndarray | None:
        """Array of one of `FIELDS`, or None if it is missing.

        Valid until `read_rows` yields the next row.
        """
        with reading(self.label, "a row"):
            return self.read(name)


def matching(names, columns: tuple[str, ...]) -> dict[str, str]:
    """Each wanted column that the file has, to its name in the file. Equal case is preferred."""
    others = {name.lower(): name for name in reversed(list(names))}
    exact = {name: name for name in columns if name in names}
    return {c: others[c.lower()] for c in columns if c.lower() in others} | exact


def _text(value) -> str:
    """Text of a str, of bytes, or of a str in Python's notation for bytes."""
    value = value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
    printed = re.fullmatch(r"b(['\"])(.*)\1", value.strip())
    return (printed.group(2) if printed else value).strip()


def to_python(value):
    """Convert a value to int, float, bool or str. None becomes NaN."""
    if isinstance(value, bytes | str):
        return _text(value)
    value = value.item() if isinstance(value, np.generic) else value
    return math.nan if value is None else value
