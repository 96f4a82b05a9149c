"""Columns that belong together: errors, extinction, and several columns of one filter."""

from collections import defaultdict

import numpy as np

from pix2spec.data.readers.column_bands import MAGNITUDES, Band
from pix2spec.data.readers.column_choices import FORM
from pix2spec.data.readers.column_draft import Draft
from pix2spec.data.readers.column_names import Meaning, meaning_of
from pix2spec.data.readers.column_roles import bare
from pix2spec.errors import InputError

__all__ = ["kind_of", "link_errors", "link_extinction", "without_doubles"]

# Columns of SkyServer, CasJobs and Kaggle's copies, beside which u, g, r, i, z are model magnitudes
SKYSERVER = {"run", "rerun", "camcol", "field", "specobjid", "fiberid", "runid", "rerunid", "fieldid"}


def link_errors(draft: Draft, bands: list[Band]) -> None:
    """Find the column with the errors of each measurement, by the kind that both names tell."""
    free = {n: m for n, m in draft.meanings.items() if m.role in ("error", "ivar", "variance")}
    for band in bands:
        chosen = [(p, draft.choices.parts.get((band.filter, p))) for p in ("error", "ivar")]
        part, name = next(((p, n) for p, n in chosen if n), ("", None))
        if name:
            _set_error(
                draft, band, name, "ivar" if part == "ivar" else meaning_of(name) or Meaning("error", "")
            )
    for band in bands:
        same = [n for n, m in free.items() if not band.error and _belongs(draft, m, band, same_kind=True)]
        if same:
            name = max(same, key=lambda n: _likeness(free[n], band.meaning))
            _set_error(draft, band, name, free[name])
    for name, meaning in free.items():  # errors that name no kind belong to the only one
        if any(b.error == name for b in bands) or meaning.kind:
            continue
        lacking = [b for b in bands if _belongs(draft, meaning, b, same_kind=False)]
        if len(lacking) == 1 and not lacking[0].error:
            _set_error(draft, lacking[0], name, meaning)
    for band in bands:  # dered_r has the error of modelMag_r
        if not band.error and band.meaning.dereddened and not band.meaning.kind:
            names = [n for n, m in free.items() if m.kind == "model" and m.band == band.meaning.band]
            if len(names) == 1:
                _set_error(draft, band, names[0], free[names[0]])


def _belongs(draft: Draft, error: Meaning, band: Band, same_kind: bool) -> bool:
    meaning = band.meaning
    if band.filter in draft.choices.columns or error.band != meaning.band:
        return False
    if error.group != meaning.group:
        same = any(m.group == error.group for m in draft.meanings.values() if m.role == "value")
        if same or error.named_group:
            return False
    if error.quantity == "flux" and band.form != "flux":
        return False
    if error.role != "error" and band.form != "flux":
        return False
    if not same_kind:
        return not error.extra or error.extra == meaning.extra
    return (error.kind, error.rank, error.extra) == (meaning.kind, meaning.rank, meaning.extra)


def _likeness(error: Meaning, value: Meaning) -> int:
    return 2 * (error.quantity == value.quantity) + (error.dereddened == value.dereddened)


def _set_error(draft: Draft, band: Band, name: str, meaning) -> None:
    unit, role = draft.unit(name), meaning if isinstance(meaning, str) else meaning.role
    quantity = "" if isinstance(meaning, str) else meaning.quantity
    form = "mag" if band.form != "flux" or quantity == "mag" else "flux"
    form = role if role in ("ivar", "variance") else form
    scale = {"flux": band.scale, "ivar": band.scale**-2, "variance": band.scale**2}.get(form, 1.0)
    if unit.form in ("mag", "asinh"):
        form, scale = "mag", 1.0
    elif unit.form in ("flux", "ivar") and form != "variance":
        form, scale = unit.form, unit.scale
    band.error, band.error_form, band.error_scale = name, form, scale


def link_extinction(draft: Draft, bands: list[Band]) -> None:
    """Find the column with the extinction of each measurement."""
    found = {n: m for n, m in draft.meanings.items() if m.role in ("extinction", "transmission")}
    for band in bands:
        chosen = draft.choices.parts.get((band.filter, "extinction"))
        if chosen:
            band.extinction, band.extinction_form = chosen, "extinction"
        if band.meaning.dereddened or chosen:
            continue
        band_name = band.meaning.band
        if band.filter in draft.choices.columns:
            band_name = band.letter.lower()
        names = [n for n, m in found.items() if m.band == band_name and _same_sky(draft, m, band.meaning)]
        if names:
            band.extinction, band.extinction_form = names[0], found[names[0]].role


def _same_sky(draft: Draft, extinction: Meaning, value: Meaning) -> bool:
    return (
        extinction.group == value.group
        or len({m.group for m in draft.meanings.values() if m.role == "value"}) == 1
    )


def kind_of(draft: Draft, band: Band) -> str:
    """Kind of the light that a measurement encloses."""
    meaning = band.meaning
    chosen = draft.choices.parts.get((band.filter, "kind"))
    if chosen or meaning.kind:
        return chosen or meaning.kind
    if draft.choices.kind:
        return draft.choices.kind
    if meaning.group == "legacy" or (meaning.group == "sdss" and meaning.dereddened):
        return "model"
    if meaning.group == "sdss" and meaning.bare:
        raw = {bare(n) for n in draft.names} & SKYSERVER
        return "model" if raw or any(n.lower() == "obj_id" for n in draft.names) else "unknown"
    return "unknown"


def without_doubles(draft: Draft, bands: list[Band]) -> list[Band]:
    """One column for each filter and kind; raises `InputError` where it is unknown which."""
    groups: dict[tuple[str, str], list[Band]] = defaultdict(list)
    for band in bands:
        groups[band.filter, band.kind].append(band)
    kept = []
    for (name, kind), some in groups.items():
        if kind == "aperture" and len(some) > 1 and any(f == name and k != kind for f, k in groups):
            draft.notes.append(f"{some[0].column} and other apertures are not used: {name} has total fluxes")
            continue
        kept.append(_only(draft, some))
    for band in [b for b in kept if b.kind == "unknown"]:
        same = [b for b in kept if b is not band and b.filter == band.filter and _equal(draft, b, band)]
        if same:
            draft.notes.append(f"{band.column} is not used: it equals {same[0].column}")
            kept.remove(band)
    return kept


def _only(draft: Draft, some: list[Band]) -> Band:
    """The column of several in one filter and kind that is to be used."""
    first = some[0]
    if any(b.meaning.dereddened for b in some) and any(not b.meaning.dereddened for b in some):
        is_known = any(b.extinction for b in some) or bool(draft.roles.get("ebv"))
        wanted = [b for b in some if b.meaning.dereddened != is_known]
        return _rest(draft, some, wanted, "the same with and without extinction")
    rank = min(b.meaning.rank for b in some)
    if any(b.meaning.rank > rank for b in some):
        return _rest(draft, some, [b for b in some if b.meaning.rank == rank], "another one of its kind")
    if len({b.form for b in some}) > 1 and len({b.meaning.extra for b in some}) == 1:
        with_error = [b for b in some if b.error] or some
        wanted = [b for b in with_error if b.form != "flux" or b.meaning.group == "legacy"] or with_error
        if len(wanted) < len(some):
            return _rest(draft, some, wanted, "the same as magnitude and as flux")
    for other in some[1:]:
        if _equal(draft, first, other):
            draft.notes.append(f"{other.column} is not used: it equals {first.column}")
            continue
        medians = [draft.median(b.column) for b in (first, other)]
        fits = [MAGNITUDES[0] < m < MAGNITUDES[1] for m in medians]
        if first.column.lower() == other.column.lower() and fits[0] != fits[1]:
            first, rest = (first, other) if fits[0] else (other, first)
            draft.notes.append(
                f"{rest.column} is not used: its values are no magnitudes, those of {first.column} are"
            )
            continue
        both = f"{first.column!r} and {other.column!r}"
        what = f"its columns {both} are both {first.kind} fluxes in {first.filter}"
        raise InputError(draft.where, what, f"choose as `columns`: {first.letter}={first.column}, {FORM}")
    return first


def _rest(draft: Draft, some: list[Band], wanted: list[Band], why: str) -> Band:
    chosen = _only(draft, wanted)
    left = ", ".join(b.column for b in some if b not in wanted)
    draft.notes.append(f"{left} not used beside {chosen.column}: {why}")
    return chosen


def _equal(draft: Draft, one: Band, other: Band) -> bool:
    if one.form != other.form:
        return False
    a, b = (draft.number_of(x.column) for x in (one, other))
    return a.shape == b.shape and np.allclose(a, b, rtol=0, atol=1e-4, equal_nan=True)
