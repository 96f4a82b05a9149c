"""Columns of measurements: their filters, units and zero points."""

from collections import defaultdict
from dataclasses import dataclass, replace

import numpy as np

from pix2spec.core.filters import load_filter
from pix2spec.data.readers.column_draft import Draft
from pix2spec.data.readers.column_names import (
    ASK_FOR_CURVES,
    LETTERS,
    LONG_NAMES,
    VEGA,
    Meaning,
    filter_of,
    meaning_of,
    survey_of_table,
)
from pix2spec.data.readers.column_values import Unit, parse_unit
from pix2spec.errors import InputError

__all__ = ["MAGNITUDES", "Band", "assign_groups", "band_of", "chosen_bands"]

MAGNITUDES = (5.0, 35.0)  # range of the median of a column of magnitudes


@dataclass
class Band:
    """A column with magnitudes or fluxes in one filter, and the columns that belong to it."""

    column: str
    meaning: Meaning
    filter: str = ""  # speclite's name, a curve of the user, or legacy-g, which depends on the position
    kind: str = ""
    form: str = "mag"  # mag | asinh | flux
    scale: float = 1.0  # nanomaggies
    zero: float = 0.0  # is added to magnitudes
    unit: str = ""
    error: str = ""
    error_form: str = ""  # mag | flux | ivar | variance
    error_scale: float = 1.0
    extinction: str = ""
    extinction_form: str = ""  # extinction | transmission

    @property
    def letter(self) -> str:
        """Short name of the filter."""
        return self.filter.rpartition("-")[2] if self.meaning.group != "own" else self.filter


def _check_capitals(draft: Draft) -> None:
    """Refuse a capital R or I that may be Cousins' or, among names of capitals alone, SDSS's."""
    values = {n: m for n, m in draft.meanings.items() if m.role == "value" and not m.group}
    capital = {n for n, m in values.items() if m.band.upper() in n and m.band not in n}
    is_mixed = any(name != name.upper() for name in draft.names)
    if not is_mixed or draft.choices.group or any(values[n].band in "gzy" for n in capital):
        return
    small = {m.band for n, m in values.items() if n not in capital}
    odd = [n for n in capital if values[n].band in "uri" and values[n].band not in small]
    if odd:
        odd.sort(key=draft.names.index)
        what = f"its columns {', '.join(odd)} may be in the filters of Cousins or in those of SDSS"
        choice = ",".join(f"{values[n].band}={n}" for n in odd)
        raise InputError(draft.where, what, f"say as `columns`: {choice}; or leave them out: {odd[0]}=none")


def assign_groups(draft: Draft) -> None:
    """Name the survey of the columns whose names tell none."""
    _check_capitals(draft)
    group = draft.choices.group or survey_of_table(draft.names, draft.meanings.values())
    own = {
        curve.replace(".", "-").replace("_", "-").rpartition("-")[2].lower(): curve
        for curve in draft.choices.curves
    }
    asked: dict[str, list[str]] = defaultdict(list)
    for name, meaning in list(draft.meanings.items()):
        found = meaning.group or (group if meaning.band in LETTERS or group == "legacy" else "wise")
        if meaning.kind == "fibre" and found == "sdss" and group == "legacy":
            found = "legacy"
        if (found in ASK_FOR_CURVES or not found) and meaning.band in own:
            draft.meanings[name] = replace(meaning, group="own", band=own[meaning.band])
            continue
        if (found in ASK_FOR_CURVES or not found) and draft.choices.group:
            found = draft.choices.group
        if meaning.role == "value" and (found in ASK_FOR_CURVES or not found):
            asked[found].append(name)
        draft.meanings[name] = replace(meaning, group=found, named_group=bool(meaning.group))
    for found, names in asked.items():
        meant = [m for n, m in draft.meanings.items() if m.role == "value" and n not in names]
        if all(draft.meanings[n].band not in LETTERS for n in names) and any(
            m.band in LETTERS for m in meant
        ):
            what = f"speclite does not have the curves of {ASK_FOR_CURVES.get(found, 'their survey')}"
            draft.notes.append(f"{', '.join(names)} not used: {what} (give them as `filters`)")
            for name in names:
                del draft.meanings[name]
            continue
        _ask_for_filters(draft, found, names)


def _ask_for_filters(draft: Draft, group: str, names: list[str]) -> None:
    shown = ", ".join(names[:6])
    if group:
        what = (
            f"its columns {shown} are those of {ASK_FOR_CURVES[group]}, whose curves speclite does not have"
        )
        raise InputError(draft.where, what, "give their transmission curves as `filters`, with these names")
    what = f"its columns {shown} do not say in which survey's filters they are"
    hint = "name the filters as `filters`: panstarrs, hsc2017, lsst2023, decam2014, or a file of curves"
    raise InputError(draft.where, what, hint)


def band_of(draft: Draft, name: str, meaning: Meaning) -> Band | None:
    """The measurement in a column, or None if its unit or its filter is none of photometry."""
    found = filter_of(meaning.group, meaning.band)
    if found is not None and not _is_numeric(draft, name):
        draft.notes.append(f"{name} is not used: it holds no numbers")
    if found is None or not _is_numeric(draft, name):
        return None
    if not found.startswith("legacy-") and meaning.group != "own":
        try:
            load_filter(found)
        except InputError as error:
            draft.notes.append(f"{name} is not used: {error.what}")
            return None
    band = Band(name, meaning, found)
    return band if _set_unit(draft, band) else None


def _is_numeric(draft: Draft, name: str) -> bool:
    column = draft.table[name]
    return (getattr(column, "ndim", 1) == 1 and np.isfinite(draft.number_of(name)).any()) or _is_empty(
        draft, name
    )


def _is_empty(draft: Draft, name: str) -> bool:
    values = np.ma.asarray(draft.table[name])
    return values.dtype.kind in "fiu" and values.ndim == 1


def _set_unit(draft: Draft, band: Band) -> bool:
    """Set form, scale and zero point; False if the column is no photometry."""
    name, meaning = band.column, band.meaning
    chosen = draft.choices.parts.get((band.filter, "unit"))
    unit = parse_unit(chosen) if chosen else draft.unit(name)
    if unit.form == "other":
        return False
    if unit.form in ("unknown", "ivar"):
        what = f"its column {name!r} is in {unit.text!r}, which is no AB magnitude and no flux per frequency"
        hint = f"state its unit as `columns`: {band.letter}.unit=nJy; or leave it out: {name}=none"
        raise InputError(draft.where, what, hint)
    if unit.form == "none":
        try:
            unit = _unit_of_name(draft, band)
        except InputError:
            twin = _magnitude_of(draft, meaning)
            if not twin or name in draft.choices.columns.values():
                raise
            draft.notes.append(f"{name} is not used: it is a flux without a unit, and {twin} the magnitude")
            return False
    band.form, band.scale, band.unit = unit.form, unit.scale, unit.text
    if meaning.unit == "Vega" and unit.form == "mag" and "ab" not in unit.text.lower():
        band.zero = VEGA[meaning.band]
    elif meaning.group in ("wise", "twomass") and unit.form == "mag" and "ab" not in unit.text.lower():
        how = f"if it is AB, say {band.filter}={name}"
        draft.notes.append(f"{name} is not used: AB and Vega magnitudes differ ({how})")
        return False
    return True


def _unit_of_name(draft: Draft, band: Band) -> Unit:
    """The unit of a column without one: from its name, from the table's survey, or from its values."""
    meaning, median = band.meaning, draft.median(band.column)
    if meaning.quantity == "flux":
        known = meaning.unit if meaning.unit != "Vega" else ""
        if not known and (meaning.group == "legacy" or _has_ivar(draft, meaning)):
            known = "nmgy"  # surveys that give inverse variances have nanomaggies
        if known:
            unit = parse_unit(known)
            return replace(unit, text="counts of zero point 30" if known == "DES" else known)
        if draft.choices.unit:
            return draft.choices.unit
        raise _unknown_unit(draft, band)
    in_range = np.isnan(median) or MAGNITUDES[0] < median < MAGNITUDES[1]
    if not in_range and not meaning.quantity:
        if draft.choices.unit:
            return draft.choices.unit
        raise _unknown_unit(draft, band)
    if draft.choices.unit and draft.choices.unit.form == "asinh":
        return draft.choices.unit
    return Unit("mag")


def _magnitude_of(draft: Draft, meaning: Meaning) -> str:
    """The column with the magnitude in the filter and of the kind of a flux, or ""."""
    wanted = replace(meaning, quantity="mag", unit="")
    found = (n for n, m in draft.meanings.items() if replace(m, unit="") == wanted)
    return next(found, "")


def _has_ivar(draft: Draft, meaning: Meaning) -> bool:
    return any(m.role == "ivar" and m.band == meaning.band for m in draft.meanings.values())


def _unknown_unit(draft: Draft, band: Band) -> InputError:
    what = f"its column {band.column!r} holds fluxes without a unit (median {draft.median(band.column):.3g})"
    hint = "state it as `columns`: unit=nmgy (mgy, Jy, mJy, uJy, nJy, mag), of one filter as r.unit=uJy"
    return InputError(draft.where, what, hint)


def chosen_bands(draft: Draft) -> list[Band]:
    """The measurements that the user names."""
    bands = []
    for name, column in draft.choices.columns.items():
        meaning = meaning_of(column, draft.choices.curves) or Meaning("value", name)
        group = next((g for g in LONG_NAMES if name in (filter_of(g, b) for b in _bands_of(name))), "")
        group = "own" if name in draft.choices.curves else group or "speclite"
        meaning = replace(meaning, role="value", band=name, group=group)
        band = Band(column, meaning, name)
        if not _set_unit(draft, band):
            raise InputError(
                "`columns`", f"{column!r} is in {draft.unit(column).text}", "it is no photometry"
            )
        bands.append(band)
    return bands


def _bands_of(name: str) -> tuple[str, ...]:
    return (name.rpartition("-")[2].lower(),)
