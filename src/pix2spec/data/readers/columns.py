"""Columns of a table of magnitudes or fluxes: which measurement, id, position or redshift each one holds."""

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import numpy as np

from pix2spec.core.filters import load_filter
from pix2spec.data.readers.column_choices import FORM, Choices
from pix2spec.data.readers.column_names import (
    ASK_FOR_CURVES,
    LETTERS,
    LONG_NAMES,
    VEGA,
    Meaning,
    bare,
    filter_of,
    meaning_of,
    role_of,
    survey_of_table,
)
from pix2spec.data.readers.column_values import Unit, is_missing, numbers, parse_unit
from pix2spec.errors import InputError

__all__ = ["Band", "Columns", "read_columns"]

NO_CHOICES = Choices()
# Columns of SkyServer, CasJobs and Kaggle's copies, beside which u, g, r, i, z are model magnitudes
SKYSERVER = {"run", "rerun", "camcol", "field", "specobjid", "fiberid", "runid", "rerunid", "fieldid"}
KINDS = {"fibre": "fibre ", "psf": "PSF ", "cmodel": "cmodel ", "petrosian": "Petrosian ", "kron": "Kron ",
         "model": "model ", "aperture": "aperture ", "total": "total "}  # fmt: skip
MAX_REDSHIFT = 8.0
MAGNITUDES = (5.0, 35.0)  # range of the median of a column of magnitudes
SHOWN = 12  # columns that are not used, by name


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
    error_form: str = ""  # mag | flux | ivar
    error_scale: float = 1.0
    extinction: str = ""
    extinction_form: str = ""  # extinction | transmission

    @property
    def letter(self) -> str:
        """Short name of the filter."""
        return self.filter.rpartition("-")[2] if self.meaning.group != "own" else self.filter


@dataclass
class Columns:
    """The columns of a table that were understood, and the names of the others."""

    where: str
    bands: list[Band]
    roles: dict[str, list[str]]  # role -> columns, the best one first
    notes: list[str] = field(default_factory=list)
    unused: list[str] = field(default_factory=list)

    def first(self, role: str) -> str:
        """The column of a role, or ""."""
        return next(iter(self.roles.get(role, ())), "")

    def lines(self) -> list[str]:
        """One line for each column that is used, one for the others, and the notes."""
        lines = [_band_line(band) for band in self.bands]
        ra, dec, z = self.first("ra"), self.first("dec"), self.first("redshift")
        if ra and dec:
            lines.append(f"{ra}, {dec} → position")
        if self.roles.get("id"):
            lines.append(f"{'-'.join(self.roles['id'][:1])} → object id")
        if z:
            error, zwarn = self.first("redshift.error"), self.first("zwarn")
            more = f", error {error}" if error else ""
            lines.append(f"{z} → redshift{more}" + (f", missing where {zwarn} warns" if zwarn else ""))
        for role, text in (("class", "class"), ("ebv", "E(B-V) of the Milky Way's dust")):
            if self.first(role):
                lines.append(f"{self.first(role)} → {text}")
        if self.unused:
            more = f" and {len(self.unused) - SHOWN} more" if len(self.unused) > SHOWN else ""
            lines.append(f"not used: {', '.join(self.unused[:SHOWN])}{more}")
        return lines + self.notes


def _band_line(band: Band) -> str:
    survey = LONG_NAMES.get(band.meaning.group, "")
    what = "flux" if band.form == "flux" else "asinh magnitude" if band.form == "asinh" else "magnitude"
    kind, of = KINDS.get(band.kind, ""), "" if band.kind != "unknown" else " of unknown kind"
    name = f"{survey} {kind}{what}{of}".strip()
    unit = f" in {band.unit}" if band.form == "flux" else ""
    full = "" if band.letter == band.filter else f" ({_filters(band.filter)})"
    vega = ", from Vega to AB" if band.zero else ""
    dered = ", dereddened already" if band.meaning.dereddened else ""
    error = f", error {band.error}" if band.error else ", no error: the filter's typical one"
    dust = f", corrected by {band.extinction}" if band.extinction else ""
    return f"{band.column} → {band.letter}, {name}{unit}{full}{vega}{dered}{error}{dust}"


def _filters(name: str) -> str:
    if not name.startswith("legacy-"):
        return name
    band = name[-1]
    north = {"g": "BASS-g", "r": "BASS-r", "z": "MzLS-z"}.get(band)
    return f"decam2014-{band}" + (f", in the north {north}" if north else "")


def read_columns(table, where: str, choices: Choices = NO_CHOICES) -> Columns:
    """Find out what the columns of a table hold.

    Parameters
    ----------
    table : astropy.table.Table
        Names, units and values decide.
    where : str
        Name of the table for errors.
    choices : Choices
        The user's words, which go before everything else.

    Returns
    -------
    Columns

    Raises
    ------
    InputError
        If something cannot be known that would change the numbers. The hint names the option.
    """
    return _Reader(table, where, choices).read()


class _Reader:
    def __init__(self, table, where: str, choices: Choices):
        self.table, self.where, self.choices = table, where, choices
        self.names = [n for n in table.colnames if n not in choices.ignored]
        self.notes: list[str] = []
        self.unused: list[str] = []
        self.roles: dict[str, list[str]] = {}
        self.meanings: dict[str, Meaning] = {}
        self._values: dict[str, np.ndarray] = {}

    def read(self) -> Columns:
        for name in (*self.choices.columns.values(), *self.choices.roles.values()):
            self._check_column(name)
        for (_, part), name in self.choices.parts.items():
            if part in ("error", "ivar", "extinction"):
                self._check_column(name)
        self._sort_names()
        self._tell_z_apart()
        self._assign_group()
        bands = [b for n, m in self.meanings.items() if m.role == "value" and (b := self._band(n, m))]
        bands = self._chosen() + [b for b in bands if b.filter not in self.choices.columns]
        self._link_errors(bands)
        self._link_extinction(bands)
        for band in bands:
            band.kind = self._kind(band)
        bands = self._without_doubles(bands)
        self._finish_roles(bands)
        used = {b.column for b in bands} | {b.error for b in bands} | {b.extinction for b in bands}
        used |= {name for names in self.roles.values() for name in names}
        self.unused = [n for n in self.names if n not in used]
        self._check_twice(used)
        order = {name: i for i, name in enumerate(self.table.colnames)}
        bands.sort(key=lambda b: order[b.column])
        return Columns(self.where, bands, self.roles, self.notes, self.unused)

    # ------------------------------------------------------------------------------ names

    def _check_column(self, name: str) -> None:
        if name not in self.table.colnames:
            hint = f"its columns are {', '.join(self.table.colnames[:60])}"
            raise InputError("`columns`", f"{self.where} has no column {name!r}", hint)

    def _sort_names(self) -> None:
        found: dict[str, list[tuple[int, int, str]]] = defaultdict(list)
        chosen = set(self.choices.columns.values()) | set(self.choices.roles.values())
        chosen |= set(self.choices.parts.values())
        for place, name in enumerate(self.names):
            if name in chosen:
                continue
            short = self._without_match_suffix(name)
            role = role_of(short)
            if role:
                found[role[0]].append((role[1], place, name))
            elif meaning := meaning_of(short, self.choices.curves):
                self.meanings[name] = meaning
        self.roles = {role: [name for *_, name in sorted(names)] for role, names in found.items()}
        for role, name in self.choices.roles.items():
            self.roles[role] = [name]
        for role in ("ra", "dec"):  # numbers before sexagesimal texts
            self.roles.get(role, []).sort(
                key=lambda name: np.ma.asarray(self.table[name]).dtype.kind not in "fiu"
            )

    def _without_match_suffix(self, name: str) -> str:
        """The name without the ``_1`` that TOPCAT adds in a match, or the ``_x`` of pandas."""
        short = re.sub(r"_[12]$", "", name)
        if short == name or meaning_of(name, self.choices.curves) or role_of(name) or short in self.names:
            short = re.sub(r"_[xy]$", "", name)
            return short if short.lower() in ("ra", "dec", "redshift") else name
        return short if name.endswith("_1") or f"{short}_1" not in self.names else name

    def _check_twice(self, used: Iterable[str]) -> None:
        for name in self.table.meta.get("twice", ()):
            if name in used:
                raise InputError(
                    self.where, f"its column {name!r} comes more than once", "rename the other columns"
                )

    def _number_of(self, name: str) -> np.ndarray:
        if name not in self._values:
            column = self.table[name][:200_000]
            self._values[name] = numbers(column)
        return self._values[name]

    def _median(self, name: str) -> float:
        values = self._number_of(name)
        values = values[~is_missing(values)] if values.ndim == 1 else values[:0]
        return float(np.median(values)) if len(values) else np.nan

    def _unit(self, name: str) -> Unit:
        unit = getattr(self.table[name], "unit", None)
        if unit is None or str(unit) == "":
            bracket = re.search(r"[\[(]\s*([^\[\]()]+)\s*[\])]\s*$", name.strip())
            unit = bracket[1] if bracket and not role_of(name) else None
        return parse_unit(unit)

    # ------------------------------------------------------------------------------ z and Z

    def _tell_z_apart(self) -> None:
        """Decide which columns called z are redshifts, by unit, values and neighbours."""
        plain = {n: m for n, m in self.meanings.items() if m.band == "z" and m.bare and m.role == "value"}
        others = [n for n, m in self.meanings.items() if m.bare and m.role == "value" and m.band in "ugriy"]
        bright = [m for m in (self._median(n) for n in others) if np.isfinite(m)]
        found = []
        for name in plain:
            unit, median = self._unit(name), self._median(name)
            if unit.form in ("mag", "asinh", "flux", "unknown"):
                continue
            if not others or (bright and median < min(MAX_REDSHIFT, 0.5 * min(bright))):
                found.append(name)
        if len(found) > 1 and len({tuple(self._number_of(n)) for n in found}) > 1:
            what = f"its columns {' and '.join(map(repr, found))} may both be the redshift"
            raise InputError(self.where, what, f"name it as `columns`: redshift={found[0]}")
        if found and found != list(plain):
            kept = [n for n in plain if n not in found]
            self.notes.append(f"{found[0]} is the redshift and {kept[0]} the magnitude, by their values")
        for name in found:
            del self.meanings[name]
        if "redshift" not in self.choices.roles:
            self.roles["redshift"] = [*self.roles.get("redshift", []), *found]
        self._redshift_errors([n for n in plain if n not in found])

    def _redshift_errors(self, magnitudes_in_z: list[str]) -> None:
        """Find the error of the redshift; ``z_err`` is that of a magnitude where r has such an error too."""
        redshift = next(iter(self.roles.get("redshift", ())), "")
        if "redshift.error" in self.choices.roles or not redshift:
            return
        key = bare(redshift)
        wanted = {f.format(key) for f in ("{}err", "{}error", "e{}", "err{}", "sigma{}", "{}unc", "{}sigma")}
        named = [n for n in self.names if bare(n) in wanted and n not in self.roles.get("redshift", ())]
        of_z = [n for n, m in self.meanings.items() if m.role == "error" and m.bare and m.band == "z"]
        if magnitudes_in_z:
            siblings = [
                n for n, m in self.meanings.items() if m.role == "error" and m.bare and m.band in "ugri"
            ]
            same_form = {re.sub(r"[ugri]", "z", n, count=1) for n in siblings}
            of_z = [n for n in of_z if not siblings and n not in same_form]
            named = [n for n in named if n not in self.meanings or n in of_z]
        found = [*named, *[n for n in of_z if n not in named]]
        if found:
            self.meanings.pop(found[0], None)
            self.roles["redshift.error"] = found[:1]

    # ------------------------------------------------------------------------------ filters and units

    def _assign_group(self) -> None:
        """Name the survey of the columns whose names tell none."""
        group = self.choices.group or survey_of_table(self.names, self.meanings.values())
        own = {
            curve.replace(".", "-").replace("_", "-").rpartition("-")[2].lower(): curve
            for curve in self.choices.curves
        }
        asked: dict[str, list[str]] = defaultdict(list)
        for name, meaning in list(self.meanings.items()):
            found = meaning.group or (group if meaning.band in LETTERS or group == "legacy" else "wise")
            if meaning.kind == "fibre" and found == "sdss" and group == "legacy":
                found = "legacy"
            if (found in ASK_FOR_CURVES or not found) and meaning.band in own:
                self.meanings[name] = replace(meaning, group="own", band=own[meaning.band])
                continue
            if (found in ASK_FOR_CURVES or not found) and self.choices.group:
                found = self.choices.group
            if meaning.role == "value" and (found in ASK_FOR_CURVES or not found):
                asked[found].append(name)
            self.meanings[name] = replace(meaning, group=found)
        for found, names in asked.items():
            self._ask_for_filters(found, names)

    def _ask_for_filters(self, group: str, names: list[str]) -> None:
        shown = ", ".join(names[:6])
        if group:
            what = f"its columns {shown} are those of {ASK_FOR_CURVES[group]}, whose curves speclite does not have"
            raise InputError(
                self.where, what, "give their transmission curves as `filters`, with these names"
            )
        what = f"its columns {shown} do not say in which survey's filters they are"
        hint = "name the filters as `filters`: panstarrs, hsc2017, lsst2023, decam2014, or a file of curves"
        raise InputError(self.where, what, hint)

    def _band(self, name: str, meaning: Meaning) -> Band | None:
        """The measurement in a column, or None if its unit or its filter is none of photometry."""
        found = filter_of(meaning.group, meaning.band)
        if found is None or not self._is_numeric(name):
            return None
        if not found.startswith("legacy-") and meaning.group != "own":
            try:
                load_filter(found)
            except InputError as error:
                self.notes.append(f"{name} is not used: {error.what}")
                return None
        band = Band(name, meaning, found)
        return band if self._set_unit(band) else None

    def _is_numeric(self, name: str) -> bool:
        column = self.table[name]
        return (
            getattr(column, "ndim", 1) == 1 and np.isfinite(self._number_of(name)).any()
        ) or self._is_empty(name)

    def _is_empty(self, name: str) -> bool:
        values = np.ma.asarray(self.table[name])
        return values.dtype.kind in "fiu" and values.ndim == 1

    def _set_unit(self, band: Band) -> bool:
        """Set form, scale and zero point; False if the column is no photometry."""
        name, meaning = band.column, band.meaning
        chosen = self.choices.parts.get((band.filter, "unit"))
        unit = parse_unit(chosen) if chosen else self._unit(name)
        if unit.form == "other":
            return False
        if unit.form in ("unknown", "ivar"):
            what = (
                f"its column {name!r} is in {unit.text!r}, which is no AB magnitude and no flux per frequency"
            )
            hint = f"state its unit as `columns`: {band.letter}.unit=nJy; or leave it out: {name}=none"
            raise InputError(self.where, what, hint)
        if unit.form == "none":
            unit = self._unit_of_name(band)
        band.form, band.scale, band.unit = unit.form, unit.scale, unit.text
        if meaning.unit == "Vega" and unit.form == "mag" and "ab" not in unit.text.lower():
            band.zero = VEGA[meaning.band]
        elif meaning.group in ("wise", "twomass") and unit.form == "mag" and "ab" not in unit.text.lower():
            self.notes.append(f"{name} is not used: AB and Vega magnitudes differ (state {band.letter}.unit)")
            return False
        return True

    def _unit_of_name(self, band: Band) -> Unit:
        """The unit of a column without one: from its name, from the table's survey, or from its values."""
        name, meaning, median = band.column, band.meaning, self._median(band.column)
        if meaning.quantity == "flux":
            known = meaning.unit if meaning.unit != "Vega" else ""
            if not known and (meaning.group == "legacy" or self._has_ivar(meaning)):
                known = "nmgy"  # surveys that give inverse variances have nanomaggies
            if known:
                unit = parse_unit(known)
                return replace(unit, text="counts of zero point 30" if known == "DES" else known)
            if self.choices.unit:
                return self.choices.unit
            raise self._unknown_unit(band)
        in_range = np.isnan(median) or MAGNITUDES[0] < median < MAGNITUDES[1]
        if not in_range and not meaning.quantity:
            if self.choices.unit:
                return self.choices.unit
            raise self._unknown_unit(band)
        if self.choices.unit and self.choices.unit.form == "asinh":
            return self.choices.unit
        return Unit("mag")

    def _has_ivar(self, meaning: Meaning) -> bool:
        return any(m.role == "ivar" and m.band == meaning.band for m in self.meanings.values())

    def _unknown_unit(self, band: Band) -> InputError:
        what = (
            f"its column {band.column!r} holds fluxes without a unit (median {self._median(band.column):.3g})"
        )
        hint = "state it as `columns`: unit=nmgy (mgy, Jy, mJy, uJy, nJy, mag), of one filter as r.unit=uJy"
        return InputError(self.where, what, hint)

    def _chosen(self) -> list[Band]:
        """The measurements that the user names."""
        bands = []
        for name, column in self.choices.columns.items():
            meaning = meaning_of(column, self.choices.curves) or Meaning("value", name)
            group = next((g for g in LONG_NAMES if name in (filter_of(g, b) for b in _bands_of(name))), "")
            group = "own" if name in self.choices.curves else group or "speclite"
            meaning = replace(meaning, role="value", band=name, group=group)
            band = Band(column, meaning, name)
            if not self._set_unit(band):
                raise InputError(
                    "`columns`", f"{column!r} is in {self._unit(column).text}", "it is no photometry"
                )
            bands.append(band)
        return bands

    # ------------------------------------------------------------------------------ errors and extinction

    def _link_errors(self, bands: list[Band]) -> None:
        free = {n: m for n, m in self.meanings.items() if m.role in ("error", "ivar")}
        for band in bands:
            chosen = [(p, self.choices.parts.get((band.filter, p))) for p in ("error", "ivar")]
            part, name = next(((p, n) for p, n in chosen if n), ("", None))
            if name:
                self._set_error(
                    band, name, "ivar" if part == "ivar" else meaning_of(name) or Meaning("error", "")
                )
        for band in bands:
            same = [n for n, m in free.items() if not band.error and self._belongs(m, band, same_kind=True)]
            if same:
                name = max(same, key=lambda n: self._likeness(free[n], band.meaning))
                self._set_error(band, name, free[name])
        for name, meaning in free.items():  # errors that name no kind belong to the only one
            if any(b.error == name for b in bands) or meaning.kind:
                continue
            lacking = [b for b in bands if self._belongs(meaning, b, same_kind=False)]
            if len(lacking) == 1 and not lacking[0].error:
                self._set_error(lacking[0], name, meaning)
        for band in bands:  # dered_r has the error of modelMag_r
            if not band.error and band.meaning.dereddened and not band.meaning.kind:
                names = [n for n, m in free.items() if m.kind == "model" and m.band == band.meaning.band]
                if len(names) == 1:
                    self._set_error(band, names[0], free[names[0]])

    def _belongs(self, error: Meaning, band: Band, same_kind: bool) -> bool:
        meaning = band.meaning
        if band.filter in self.choices.columns or (error.band, error.group) != (meaning.band, meaning.group):
            return False
        if error.quantity == "flux" and band.form != "flux":
            return False
        if error.role == "ivar" and band.form != "flux":
            return False
        if not same_kind:
            return not error.extra or error.extra == meaning.extra
        return (error.kind, error.rank, error.extra) == (meaning.kind, meaning.rank, meaning.extra)

    @staticmethod
    def _likeness(error: Meaning, value: Meaning) -> int:
        return 2 * (error.quantity == value.quantity) + (error.dereddened == value.dereddened)

    def _set_error(self, band: Band, name: str, meaning) -> None:
        unit, role = self._unit(name), meaning if isinstance(meaning, str) else meaning.role
        quantity = "" if isinstance(meaning, str) else meaning.quantity
        form = "mag" if band.form != "flux" or quantity == "mag" else "flux"
        form = "ivar" if role == "ivar" else form
        scale = band.scale if form == "flux" else band.scale**-2 if form == "ivar" else 1.0
        if unit.form in ("mag", "asinh"):
            form, scale = "mag", 1.0
        elif unit.form in ("flux", "ivar"):
            form, scale = unit.form, unit.scale
        band.error, band.error_form, band.error_scale = name, form, scale

    def _link_extinction(self, bands: list[Band]) -> None:
        found = {n: m for n, m in self.meanings.items() if m.role in ("extinction", "transmission")}
        for band in bands:
            chosen = self.choices.parts.get((band.filter, "extinction"))
            if chosen:
                band.extinction, band.extinction_form = chosen, "extinction"
            if band.meaning.dereddened or chosen:
                continue
            band_name = band.meaning.band
            if band.filter in self.choices.columns:
                band_name = band.letter.lower()
            names = [n for n, m in found.items() if m.band == band_name and self._same_sky(m, band.meaning)]
            if names:
                band.extinction, band.extinction_form = names[0], found[names[0]].role

    def _same_sky(self, extinction: Meaning, value: Meaning) -> bool:
        return (
            extinction.group == value.group
            or len({m.group for m in self.meanings.values() if m.role == "value"}) == 1
        )

    # ------------------------------------------------------------------------------ kinds and doubles

    def _kind(self, band: Band) -> str:
        meaning = band.meaning
        chosen = self.choices.parts.get((band.filter, "kind"))
        if chosen or meaning.kind:
            return chosen or meaning.kind
        if self.choices.kind:
            return self.choices.kind
        if meaning.group == "legacy" or (meaning.group == "sdss" and meaning.dereddened):
            return "model"
        if meaning.group == "sdss" and meaning.bare:
            raw = {bare(n) for n in self.names} & SKYSERVER
            return "model" if raw or any(n.lower() == "obj_id" for n in self.names) else "unknown"
        return "unknown"

    def _without_doubles(self, bands: list[Band]) -> list[Band]:
        """One column for each filter and kind; raises `InputError` where it is unknown which."""
        groups: dict[tuple[str, str], list[Band]] = defaultdict(list)
        for band in bands:
            groups[band.filter, band.kind].append(band)
        kept = []
        for (name, kind), some in groups.items():
            if kind == "aperture" and len(some) > 1 and any(f == name and k != kind for f, k in groups):
                self.notes.append(
                    f"{some[0].column} and other apertures are not used: {name} has total fluxes"
                )
                continue
            kept.append(self._only(some))
        for band in [b for b in kept if b.kind == "unknown"]:
            same = [b for b in kept if b is not band and b.filter == band.filter and self._equal(b, band)]
            if same:
                self.notes.append(f"{band.column} is not used: it equals {same[0].column}")
                kept.remove(band)
        return kept

    def _only(self, some: list[Band]) -> Band:
        """The column of several in one filter and kind that is to be used."""
        first = some[0]
        if any(b.meaning.dereddened for b in some) and any(not b.meaning.dereddened for b in some):
            is_known = any(b.extinction for b in some)
            wanted = [b for b in some if b.meaning.dereddened != is_known]
            return self._rest(some, wanted, "the same with and without extinction")
        rank = min(b.meaning.rank for b in some)
        if any(b.meaning.rank > rank for b in some):
            return self._rest(some, [b for b in some if b.meaning.rank == rank], "another one of its kind")
        if len({b.form for b in some}) > 1 and len({b.meaning.extra for b in some}) == 1:
            with_error = [b for b in some if b.error] or some
            wanted = [b for b in with_error if b.form != "flux" or b.meaning.group == "legacy"] or with_error
            if len(wanted) < len(some):
                return self._rest(some, wanted, "the same as magnitude and as flux")
        for other in some[1:]:
            if self._equal(first, other):
                self.notes.append(f"{other.column} is not used: it equals {first.column}")
                continue
            medians = [self._median(b.column) for b in (first, other)]
            fits = [MAGNITUDES[0] < m < MAGNITUDES[1] for m in medians]
            if first.column.lower() == other.column.lower() and fits[0] != fits[1]:
                first, rest = (first, other) if fits[0] else (other, first)
                self.notes.append(
                    f"{rest.column} is not used: its values are no magnitudes, those of {first.column} are"
                )
                continue
            what = f"its columns {first.column!r} and {other.column!r} are both {first.kind} fluxes in {first.filter}"
            raise InputError(self.where, what, f"choose as `columns`: {first.letter}={first.column}, {FORM}")
        return first

    def _rest(self, some: list[Band], wanted: list[Band], why: str) -> Band:
        chosen = self._only(wanted)
        left = ", ".join(b.column for b in some if b not in wanted)
        self.notes.append(f"{left} not used beside {chosen.column}: {why}")
        return chosen

    def _equal(self, one: Band, other: Band) -> bool:
        if one.form != other.form:
            return False
        a, b = (self._number_of(x.column) for x in (one, other))
        return a.shape == b.shape and np.allclose(a, b, rtol=0, atol=1e-4, equal_nan=True)

    # ------------------------------------------------------------------------------ the other columns

    def _finish_roles(self, bands: list[Band]) -> None:
        if not (self.roles.get("ra") and self.roles.get("dec")):
            self.roles.pop("ra", None), self.roles.pop("dec", None)
        if not self.roles.get("redshift"):
            self.roles.pop("zwarn", None)
        if self.roles.pop("photoz", None) and not self.roles.get("redshift"):
            self.notes.append("photometric redshifts are not used: name them as `columns`: redshift=COLUMN")
        for role in ("redshift", "ra", "dec"):
            rest = self.roles.get(role, [])[1:]
            if rest and role == "redshift":
                self.notes.append(f"{', '.join(rest)} not used beside {self.roles[role][0]}")
            self.roles[role] = self.roles.get(role, [])[:1]
        names = [n for n in self.roles.get("class", []) if _is_class(self.table[n])]
        self.roles["class"] = names[:1]
        if not any(b.filter.startswith("legacy-") for b in bands):
            self.roles.pop("photsys", None)


def _bands_of(name: str) -> tuple[str, ...]:
    return (name.rpartition("-")[2].lower(),)


CLASSES = {"GALAXY": "GALAXY", "GAL": "GALAXY", "GALAXIES": "GALAXY", "STAR": "STAR", "STARS": "STAR", "QSO": "QSO",
           "QUASAR": "QSO", "AGN": "QSO", "3": "GALAXY", "6": "STAR", "G": "GALAXY", "S": "STAR", "Q": "QSO"}  # fmt: skip


def class_of(value) -> str:
    """``GALAXY``, ``STAR``, ``QSO``, or "" for the value of a class column."""
    text = value.decode("latin1") if isinstance(value, bytes) else str(value)
    return CLASSES.get(text.strip().upper().removesuffix(".0"), "")


def _is_class(column) -> bool:
    values = np.ma.asarray(column)
    if values.ndim != 1:
        return False
    seen = {
        str(v.decode("latin1") if isinstance(v, bytes) else v) for v in values[:10_000].compressed().tolist()
    }
    return bool(seen) and any(class_of(v) for v in seen) and len(seen) < 50
