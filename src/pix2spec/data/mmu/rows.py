"""A row of the Multimodal Universe's files, whatever their format."""

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
        The row.
    scalars : dict
        Wanted columns of one value a row that the file has: numbers and str.
    read : callable or None
        See `field`; None where no arrays were asked for.
    """

    label: str
    index: int
    scalars: dict
    read: Any

    def number(self, name: str) -> float:
        """A scalar as a float; NaN where it is missing or no number."""
        value = self.scalars.get(name)
        return float(value) if isinstance(value, int | float) else math.nan

    def text(self, name: str) -> str:
        """A scalar as text; empty where it is missing."""
        value = self.scalars.get(name)
        return str(value) if isinstance(value, int | str) else ""

    def field(self, name: str) -> np.ndarray | None:
        """Array of one of `FIELDS`, while the row is the latest of `read_rows`; None where it is missing."""
        with reading(self.label, "a row"):
            return self.read(name)


def matching(names, columns: tuple[str, ...]) -> dict[str, str]:
    """Wanted name to the file's: the very name if there is one, else in another case."""
    others = {name.lower(): name for name in reversed(list(names))}
    exact = {name: name for name in columns if name in names}
    return {c: others[c.lower()] for c in columns if c.lower() in others} | exact


def _text(value) -> str:
    """Text of a string, of bytes, or of bytes as Python prints them."""
    value = value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
    printed = re.fullmatch(r"b(['\"])(.*)\1", value.strip())
    return (printed.group(2) if printed else value).strip()


def to_python(value):
    """A value as int, float, bool or str; None becomes NaN."""
    if isinstance(value, bytes | str):
        return _text(value)
    value = value.item() if isinstance(value, np.generic) else value
    return math.nan if value is None else value
