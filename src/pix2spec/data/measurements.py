"""Measurements of a galaxy: fluxes in any filters, and the columns of datasets and catalogues that hold them.

A measurement is a flux in one filter, its error, and its *kind*: which light of the galaxy it encloses.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pyarrow as pa

from pix2spec.core.extinction import coefficients
from pix2spec.core.filters import KINDS, Filter, load_filter
from pix2spec.errors import InputError

__all__ = [
    "BRIGHTNESS_COLUMN",
    "ERROR_ASSUMED",
    "EXTINCTIONS",
    "MEASUREMENT_COLUMNS",
    "Measurements",
    "check_extinction",
    "check_kinds",
    "check_not_magnitudes",
    "choose",
    "extinction_text",
    "known_extinction",
]

ERROR_ASSUMED = "error-assumed"  # the flag of a galaxy with a flux whose error is the filter's typical one
MAGNITUDES = (10.0, 30.0)  # the range in which numbers may be magnitudes
EXTINCTIONS = ("observed", "dereddened", "unknown")
MAX_EBV = 100.0  # magnitudes; the largest on SFD's maps
# Columns of the measurements of an object in a dataset or a catalogue; lists have a value for each filter.
MEASUREMENT_COLUMNS = {
    "filters": pa.list_(pa.string()),
    "photometry": pa.list_(pa.float32()),  # nanomaggies
    "photometry_ivar": pa.list_(pa.float32()),
    "kind": pa.list_(pa.string()),
    "extinction": pa.string(),  # one of EXTINCTIONS, E(B-V), or magnitudes of each filter as "A=0.19 0.14"
}
# The column of `Measurements.brightness_error`; datasets have it where fluxes come from pictures.
BRIGHTNESS_COLUMN = {"brightness_error": pa.float32()}


@dataclass(frozen=True)
class Measurements:
    """Fluxes of one galaxy in any filters: parallel columns of equal length."""

    filters: tuple[str, ...]  # speclite's names, or those of the user's own curves
    flux: np.ndarray  # float64, nanomaggies
    error: np.ndarray  # float64, nanomaggies; positive
    kinds: tuple[str, ...]  # some of `pix2spec.core.filters.KINDS`
    flags: tuple[str, ...] = ()
    extinction: str | float | tuple[float, ...] = "unknown"  # see `Galaxy.extinction`
    curves: Mapping[str, Filter] = field(default_factory=dict)  # the user's own
    removed: tuple[
        float, ...
    ] = ()  # magnitudes of extinction that were removed from each flux; () if unknown
    brightness_error: float = 0.0  # magnitudes: an error that all fluxes share, besides their own

    @property
    def ivar(self) -> np.ndarray:
        """Inverse variances, 1/nanomaggies^2."""
        return 1 / np.square(self.error)

    def of(self, which: Sequence[int]) -> "Measurements":
        """These fluxes alone, by number."""
        extinction = self.extinction
        if isinstance(extinction, tuple):
            extinction = tuple(extinction[k] for k in which)
        return replace(
            self, filters=tuple(self.filters[k] for k in which), flux=self.flux[list(which)],
            error=self.error[list(which)], kinds=tuple(self.kinds[k] for k in which), extinction=extinction,
            removed=tuple(self.removed[k] for k in which) if self.removed else (),
        )  # fmt: skip

    def joined(self, other: "Measurements", where: str) -> "Measurements":
        """These measurements and others of the same object.

        Raises
        ------
        InputError
            If both hold a flux of one filter and kind, different curves of one name, or different states of
            extinction, neither of which is ``"unknown"``.
        """
        twice = set(zip(self.filters, self.kinds)) & set(zip(other.filters, other.kinds))
        if twice:
            raise InputError(where, f"photometry: {min(twice)[0]} is there twice", "keep one")
        states = {self.extinction, other.extinction} - {"unknown"}
        if any(isinstance(state, tuple) for state in states):
            parts = [known_extinction(m) for m in (self, other)]
            states = {tuple(np.concatenate(parts).tolist())}
        if len(states) > 1:
            what = f"extinction: one flux is {self.extinction}, and another one {other.extinction}"
            raise InputError(where, what, "bring all fluxes to one state first")
        for name in set(self.curves) & set(other.curves):
            if self.curves[name] != other.curves[name]:
                raise InputError(where, f"filters: {name} has two curves", "give them different names")
        return Measurements(
            self.filters + other.filters,
            np.concatenate([self.flux, other.flux]),
            np.concatenate([self.error, other.error]),
            self.kinds + other.kinds,
            tuple(dict.fromkeys(self.flags + other.flags)),
            states.pop() if states else "unknown",
            {**self.curves, **other.curves},
            self.removed + other.removed if self.removed and other.removed else (),
            max(self.brightness_error, other.brightness_error),
        )

    def as_row(self) -> dict:
        """Values of `MEASUREMENT_COLUMNS` and `BRIGHTNESS_COLUMN`; `from_row` is the inverse."""
        return {
            "filters": list(self.filters),
            "photometry": np.asarray(self.flux, np.float32),
            "photometry_ivar": self.ivar.astype(np.float32),
            "kind": list(self.kinds),
            "extinction": extinction_text(self.extinction),
            "brightness_error": self.brightness_error,
        }

    @classmethod
    def from_row(cls, row: Mapping, curves: Mapping[str, Filter], where: str) -> "Measurements":
        """Rebuild measurements from `MEASUREMENT_COLUMNS`.

        Raises
        ------
        InputError
            If the columns do not fit together, or a filter is unknown.
        """
        lists = [() if row[name] is None else tuple(row[name]) for name in list(MEASUREMENT_COLUMNS)[:4]]
        filters, kinds = lists[0], lists[3]
        flux, ivar = (np.array([np.nan if x is None else x for x in some], float) for some in lists[1:3])
        if len({*map(len, lists)}) > 1 or not (ivar > 0).all():
            what = "its filters, fluxes, inverse variances and kinds do not fit together"
            raise InputError(where, what, "each filter needs one of each, and a positive inverse variance")
        check_kinds(kinds, where)
        for name in filters:
            _check_filter(name, curves, where)
        extinction = check_extinction(_number_or_text(row["extinction"]), where)
        shared = float(np.nan_to_num(row.get("brightness_error") or 0.0))
        return cls(filters, flux, 1 / np.sqrt(ivar), kinds, (), extinction, curves, brightness_error=shared)


def choose(filters: Sequence[str], kinds: Sequence[str], wanted: Sequence[str]) -> dict[int, int]:
    """Positions of the filters `wanted` (key) among the measurements of a galaxy (value).

    Of several fluxes in one filter, the one within the fibre is chosen, else the first one.
    """
    order = sorted(range(len(filters)), key=lambda k: kinds[k] != "fibre")
    place = {filters[k]: k for k in reversed(order)}
    return {i: place[name] for i, name in enumerate(wanted) if name in place}


def check_extinction(value: Any, where: str) -> str | float | tuple[float, ...]:
    """The state of extinction, as `Galaxy.extinction` has it; else raises `InputError`."""
    if isinstance(value, str) and value in EXTINCTIONS:
        return value
    if isinstance(value, tuple | list | np.ndarray) and np.ndim(value) == 1:
        return tuple(float(x) for x in value)
    if isinstance(value, float | int | np.number) and 0 <= value < MAX_EBV:
        return float(value)
    hint = f"one of {', '.join(EXTINCTIONS)}, E(B-V) in magnitudes, or magnitudes of each filter"
    raise InputError(where, f"extinction: {value!r} is unknown", hint)


def extinction_text(state: str | float | tuple[float, ...]) -> str:
    """A state of extinction as a dataset or a file holds it."""
    return "A=" + " ".join(f"{x:.6g}" for x in state) if isinstance(state, tuple) else str(state)


def known_extinction(measured: "Measurements") -> np.ndarray:
    """Extinction (filter,) in magnitudes that is still in the fluxes; NaN where it is unknown."""
    state = measured.extinction
    if isinstance(state, tuple):
        return np.array(state, float)
    if isinstance(state, str):
        return np.full(len(measured.filters), 0.0 if state == "dereddened" else np.nan)
    return state * coefficients(measured.filters, measured.curves)


def check_kinds(kinds: Sequence[str], where: str) -> None:
    """Raise `InputError` if one of the kinds is not in `pix2spec.core.filters.KINDS`."""
    for kind in kinds:
        if kind not in KINDS:
            raise InputError(where, f"kind: {kind!r} is unknown", f"one of {', '.join(KINDS)}")


def check_not_magnitudes(numbers, where: str) -> None:
    """Raise `InputError` if numbers without a unit, in the order of wavelength, look like magnitudes.

    Galaxies are redder than a constant AB spectrum: their magnitudes fall from band to band, and their
    fluxes rise. Numbers between 10 and 30 that fall are magnitudes.
    """
    values = np.asarray(numbers, float)
    values = values[np.isfinite(values)]
    inside = (values > MAGNITUDES[0]) & (values < MAGNITUDES[1])
    if len(values) >= 2 and inside.all() and (np.diff(values) <= 0).all() and values[0] - values[-1] > 0.1:
        what = "photometry: these numbers look like magnitudes, and plain numbers mean nanomaggies"
        raise InputError(where, what, "give units, as in {'r': 17.3 * u.ABmag} or {'r': 17.3 * u.nmgy}")


def _check_filter(name, curves: Mapping[str, Filter], where: str) -> None:
    try:
        load_filter(str(name), curves)
    except InputError as error:
        raise InputError(where, f"its filter {str(name)[:60]!r}: {error.what}", error.hint) from error


def _number_or_text(text) -> Any:
    """The number or the numbers that a text holds, or the text."""
    try:
        if str(text).startswith("A="):
            return tuple(map(float, str(text)[2:].split()))
        return float(text)
    except (TypeError, ValueError):
        return text
