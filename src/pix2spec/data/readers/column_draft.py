"""A table whose columns are being understood: names, values, units, and what was found so far."""

import re
from collections import defaultdict

import numpy as np

from pix2spec.core.photometry import is_missing
from pix2spec.data.readers.column_choices import Choices
from pix2spec.data.readers.column_names import Meaning, meaning_of
from pix2spec.data.readers.column_roles import NO_UNIT, role_of
from pix2spec.data.readers.column_values import Unit, numbers, parse_unit
from pix2spec.errors import InputError

__all__ = ["Draft"]

SAMPLE = 200_000  # rows whose values tell what a column is


# Capital letters of other systems, beside the letters that only these have
ALIKE = [("uri", ("B", "V"), "B or V"), ("g", ("BP", "RP"), "Gaia's BP or RP")]


def _is_mixed(name: str) -> bool:
    """Whether a name has small and capital letters, or a single letter beside words for errors."""
    return name != name.upper()


class Draft:
    """The columns of a table, and their meanings as far as they are known.

    Attributes
    ----------
    names : list of str
        Columns that are to be read.
    meanings : dict of str to Meaning
        Columns of measurements.
    roles : dict of str to list of str
        Other columns by role, the best one first.
    notes : list of str
        Sentences for the user.
    """

    def __init__(self, table, where: str, choices: Choices):
        self.table, self.where, self.choices = table, where, choices
        self.names = [n for n in table.colnames if n not in choices.ignored]
        self.notes: list[str] = []
        self.unused: list[str] = []
        self.roles: dict[str, list[str]] = {}
        self.meanings: dict[str, Meaning] = {}
        self._values: dict[str, np.ndarray] = {}

    def check_column(self, name: str) -> None:
        """Raise `InputError` if the table does not have a column that the user names."""
        if name not in self.table.colnames:
            hint = f"its columns are {', '.join(self.table.colnames[:60])}"
            raise InputError("`columns`", f"{self.where} has no column {name!r}", hint)

    def sort_names(self) -> None:
        """Fill `meanings` and `roles` from the names of the columns."""
        found: dict[str, list[tuple[int, int, str]]] = defaultdict(list)
        chosen = set(self.choices.columns.values()) | set(self.choices.roles.values())
        chosen |= set(self.choices.parts.values())
        for place, name in enumerate(self.names):
            if name in chosen:
                continue
            short = self._without_match_suffix(name)
            if known := role_of(short):
                found[known[0]].append((known[1], place, name))
            elif meaning := meaning_of(short, self.choices.curves):
                self.meanings[name] = meaning
            elif re.fullmatch(
                r"z[._]?[12]", name, re.I
            ):  # a second column z, as SkyServer and pandas name it
                self.meanings[name] = Meaning("value", "z", bare=True)
        self._drop_look_alikes()
        self.roles = {role: [name for *_, name in sorted(names)] for role, names in found.items()}
        self.roles |= {role: [name] for role, name in self.choices.roles.items()}
        for role in ("ra", "dec"):  # numbers before sexagesimal texts
            self.roles.get(role, []).sort(
                key=lambda name: np.ma.asarray(self.table[name]).dtype.kind not in "fiu"
            )

    def _drop_look_alikes(self) -> None:
        """Leave out the pixel ``y`` beside ``x``, and Johnson's and Cousins' U, R, I beside B or V."""
        for name in ("y", "Y"):
            if name in self.meanings and {"x", "X"} & set(self.names):
                del self.meanings[name]
        for letters, others, what in ALIKE:
            gone = [name for name in self.meanings if self._stands_beside(name, letters, others)]
            for name in gone:
                del self.meanings[name]
            if gone:
                self.notes.append(f"{', '.join(gone)} not used: beside {what}, they are no filters of SDSS")
            bands = {name: m for name, m in self.meanings.items() if m.role != "value" and m.band in letters}
            for name, meaning in bands.items():  # their errors
                if gone and meaning.band.upper() in name and meaning.band not in name and _is_mixed(name):
                    del self.meanings[name]

    def _stands_beside(self, name: str, letters: str, others: tuple[str, ...]) -> bool:
        """Whether a capital letter of a name, replaced by one of `others`, gives another column's name."""
        meaning = self.meanings[name]
        places = [i for i, sign in enumerate(name) if sign == meaning.band.upper()]
        return meaning.band in letters and any(
            f"{name[:i]}{other}{name[i + 1 :]}" in self.names for i in places for other in others
        )

    def _without_match_suffix(self, name: str) -> str:
        """The name without the ``_1`` that TOPCAT adds in a match, or the ``_x`` of pandas."""
        short = re.sub(r"_[12]$", "", name)
        if short == name or meaning_of(name, self.choices.curves) or role_of(name) or short in self.names:
            short = re.sub(r"_[xy]$", "", name)
            return short if short.lower() in ("ra", "dec", "redshift") else name
        return short if name.endswith("_1") or f"{short}_1" not in self.names else name

    def number_of(self, name: str) -> np.ndarray:
        """Values of the first rows of a column as float64."""
        if name not in self._values:
            column = self.table[name][:SAMPLE]
            self._values[name] = numbers(column)
        return self._values[name]

    def median(self, name: str) -> float:
        """Median of the values of a column that mark no missing data."""
        values = self.number_of(name)
        values = values[~is_missing(values)] if values.ndim == 1 else values[:0]
        return float(np.median(values)) if len(values) else np.nan

    def unit(self, name: str) -> Unit:
        """The unit of a column, or the one in brackets in its name."""
        unit = getattr(self.table[name], "unit", None)
        if unit is None or str(unit) == "":
            bracket = re.search(rf"[\[(]\s*(?!{NO_UNIT})([^\[\]()]+)\s*[\])]\s*$", name.strip())
            unit = bracket[1] if bracket and not role_of(name) else None
        return parse_unit(unit)
