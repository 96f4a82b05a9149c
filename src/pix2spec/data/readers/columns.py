"""Columns of a table of magnitudes or fluxes: which measurement, id, position or redshift each one holds."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from pix2spec.data.readers.column_bands import Band, assign_groups, band_of, chosen_bands
from pix2spec.data.readers.column_choices import Choices
from pix2spec.data.readers.column_draft import Draft
from pix2spec.data.readers.column_links import kind_of, link_errors, link_extinction, without_doubles
from pix2spec.data.readers.column_names import LONG_NAMES
from pix2spec.data.readers.column_roles import AFTER_Z, bare
from pix2spec.data.readers.column_values import plain_text
from pix2spec.errors import InputError

__all__ = ["Columns", "class_of", "read_columns"]

NO_CHOICES = Choices()
KINDS = {"fibre": "fibre ", "psf": "PSF ", "cmodel": "cmodel ", "petrosian": "Petrosian ", "kron": "Kron ",
         "model": "model ", "aperture": "aperture ", "total": "total "}  # fmt: skip
MAX_REDSHIFT = 8.0
SHOWN = 12  # columns that are not used, by name
# Words of class columns; 3 and 6 are SDSS's photometric types
CLASSES = dict.fromkeys(("GALAXY", "GAL", "GALAXIES", "G", "3"), "GALAXY")
CLASSES |= dict.fromkeys(("STAR", "STARS", "S", "6"), "STAR")
CLASSES |= dict.fromkeys(("QSO", "QUASAR", "AGN", "Q"), "QSO")


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
        if self.first("file") and self.first("file") != self.first("id"):
            lines.append(f"{self.first('file')} → name of the spectrum's file")
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
    draft = Draft(table, where, choices)
    for name in (*draft.choices.columns.values(), *draft.choices.roles.values()):
        draft.check_column(name)
    for (_, part), name in draft.choices.parts.items():
        if part in ("error", "ivar", "extinction"):
            draft.check_column(name)
    draft.sort_names()
    tell_z_apart(draft)
    assign_groups(draft)
    bands = [b for n, m in draft.meanings.items() if m.role == "value" and (b := band_of(draft, n, m))]
    bands = chosen_bands(draft) + [b for b in bands if b.filter not in draft.choices.columns]
    link_errors(draft, bands)
    link_extinction(draft, bands)
    for band in bands:
        band.kind = kind_of(draft, band)
    bands = without_doubles(draft, bands)
    _finish_roles(draft, bands)
    used = {b.column for b in bands} | {b.error for b in bands} | {b.extinction for b in bands}
    used |= {name for names in draft.roles.values() for name in names}
    draft.unused = [n for n in draft.names if n not in used]
    _check_twice(draft, used)
    order = {name: i for i, name in enumerate(draft.table.colnames)}
    bands.sort(key=lambda b: order[b.column])
    return Columns(draft.where, bands, draft.roles, draft.notes, draft.unused)


def _check_twice(draft: Draft, used: Iterable[str]) -> None:
    for name in draft.table.meta.get("twice", ()):
        if name in used:
            raise InputError(
                draft.where, f"its column {name!r} comes more than once", "rename the other columns"
            )


def tell_z_apart(draft: Draft) -> None:
    """Decide which columns called z are redshifts, by unit, values and neighbours."""
    plain = {n: m for n, m in draft.meanings.items() if m.band == "z" and m.bare and m.role == "value"}
    others = [n for n, m in draft.meanings.items() if m.bare and m.role == "value" and m.band in "ugriy"]
    bright = [m for m in (draft.median(n) for n in others) if np.isfinite(m)]
    found = []
    for name in plain:
        unit, median = draft.unit(name), draft.median(name)
        if unit.form in ("mag", "asinh", "flux", "unknown"):
            continue
        if (not others and not median >= MAX_REDSHIFT) or (
            bright and median < min(MAX_REDSHIFT, 0.5 * min(bright))
        ):
            found.append(name)
    if len(found) > 1 and len({tuple(draft.number_of(n)) for n in found}) > 1:
        what = f"its columns {' and '.join(map(repr, found))} may both be the redshift"
        raise InputError(draft.where, what, f"name it as `columns`: redshift={found[0]}")
    if found and found != list(plain):
        kept = [n for n in plain if n not in found]
        draft.notes.append(f"{found[0]} is the redshift and {kept[0]} the magnitude, by their values")
    for name in found:
        del draft.meanings[name]
    if "redshift" not in draft.choices.roles:
        others = draft.roles.get("redshift", [])
        late = [n for n in others if bare(n) in AFTER_Z]
        draft.roles["redshift"] = [*[n for n in others if n not in late], *found, *late]
    _redshift_errors(draft, [n for n in plain if n not in found])


def _redshift_errors(draft: Draft, magnitudes_in_z: list[str]) -> None:
    """Find the error of the redshift; ``z_err`` is that of a magnitude where r has such an error too."""
    redshift = next(iter(draft.roles.get("redshift", ())), "")
    if "redshift.error" in draft.choices.roles or not redshift:
        return
    key = bare(redshift)
    wanted = {
        f.format(key) for f in ("{}err", "{}error", "e{}", "err{}", "sigma{}", "{}unc", "{}sigma", "d{}")
    }
    named = [n for n in draft.names if bare(n) in wanted and n not in draft.roles.get("redshift", ())]
    of_z = [n for n, m in draft.meanings.items() if m.role == "error" and m.bare and m.band == "z"]
    if magnitudes_in_z or any(m.band == "z" and m.role == "value" for m in draft.meanings.values()):
        siblings = [n for n, m in draft.meanings.items() if m.role == "error" and m.bare and m.band in "ugri"]
        same_form = {re.sub(r"[ugri]", "z", n, count=1) for n in siblings}
        of_z = [n for n in of_z if n not in same_form and (not siblings or redshift in n)]
        named = [n for n in named if n not in draft.meanings or n in of_z]
    found = [*named, *[n for n in of_z if n not in named]]
    if found:
        draft.meanings.pop(found[0], None)
        draft.roles["redshift.error"] = found[:1]


def _finish_roles(draft: Draft, bands: list[Band]) -> None:
    if not (draft.roles.get("ra") and draft.roles.get("dec")):
        draft.roles.pop("ra", None), draft.roles.pop("dec", None)
    if not draft.roles.get("redshift"):
        draft.roles.pop("zwarn", None)
    if draft.roles.pop("photoz", None) and not draft.roles.get("redshift"):
        draft.notes.append("photometric redshifts are not used: name them as `columns`: redshift=COLUMN")
    for role in ("redshift", "ra", "dec"):
        rest = draft.roles.get(role, [])[1:]
        if rest and role == "redshift":
            draft.notes.append(f"{', '.join(rest)} not used beside {draft.roles[role][0]}")
        draft.roles[role] = draft.roles.get(role, [])[:1]
    names = [n for n in draft.roles.get("class", []) if _is_class(draft.table[n])]
    draft.roles["class"] = names[:1]
    draft.roles["file"] = [n for n in draft.roles.get("file", []) if _is_text(draft.table[n])][:1]
    if not any(b.filter.startswith("legacy-") for b in bands):
        draft.roles.pop("photsys", None)


def class_of(value) -> str:
    """``GALAXY``, ``STAR``, ``QSO``, or "" for the value of a class column."""
    return CLASSES.get(plain_text(value).strip().upper().removesuffix(".0"), "")


def _is_text(column) -> bool:
    values = np.ma.asarray(column)
    return values.ndim == 1 and values.dtype.kind in "USO"


def _is_class(column) -> bool:
    values = np.ma.asarray(column)
    if values.ndim != 1:
        return False
    seen = {plain_text(v) for v in values[:10_000].compressed().tolist()}
    return bool(seen) and any(class_of(v) for v in seen) and len(seen) < 50
