"""What a user says about the columns of a table: ``r=rmag_best,r.error=e_rmag,r.kind=cmodel``."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pix2spec.core.filters import KINDS, Filter, _is_known
from pix2spec.core.survey import SURVEYS, Survey
from pix2spec.data.readers.column_names import GROUPS, filter_of
from pix2spec.data.readers.column_values import Unit, parse_unit
from pix2spec.errors import InputError

__all__ = ["Choices", "group_of", "read_choices"]

FORM = "as in r=rmag_best,r.error=e_rmag,r.kind=cmodel,redshift=zsp"
PARTS = ("error", "ivar", "kind", "unit", "extinction")
ROLES = ("id", "ra", "dec", "redshift", "redshift.error", "zwarn", "class", "ebv")
NOTHING = "none"


@dataclass(frozen=True)
class Choices:
    """The user's words about columns.

    Parameters
    ----------
    columns : dict of str to str
        Filter to column.
    parts : dict of (str, str) to str
        (Filter, one of `PARTS`) to a column, a kind or a unit.
    roles : dict of str to str
        One of `ROLES` to a column.
    ignored : frozenset of str
        Columns that are not to be read.
    kind : str
        Kind of the fluxes whose columns tell none.
    unit : Unit, optional
        Of the fluxes whose columns tell none.
    group : str
        Group of filters that single letters mean.
    curves : mapping of str to Filter
        The user's own curves.
    """

    columns: dict[str, str] = field(default_factory=dict)
    parts: dict[tuple[str, str], str] = field(default_factory=dict)
    roles: dict[str, str] = field(default_factory=dict)
    ignored: frozenset[str] = frozenset()
    kind: str = ""
    unit: Unit | None = None
    group: str = ""
    curves: Mapping[str, Filter] = field(default_factory=dict)


def read_choices(
    columns: str | Mapping[str, str] | None = None,
    kind: str | None = None,
    filters: str | Path | Mapping[str, Filter] | None = None,
) -> Choices:
    """Check what a user says about columns.

    Parameters
    ----------
    columns : str or mapping of str to str, optional
        Pairs such as ``r=rmag_best`` (a filter and its column), ``r.error=e_rmag``, ``r.kind=cmodel``,
        ``r.unit=uJy``, ``r.extinction=A_r``, ``redshift=zsp``, ``id=name``, ``unit=nJy`` (of all fluxes) and
        ``Rmag=none`` (a column that is not to be read). A filter is a letter, one of speclite's names, or a
        curve in `filters`.
    kind : str, optional
        Kind of the fluxes whose columns tell none, one of `pix2spec.core.filters.KINDS`.
    filters : path, mapping, or str, optional
        The user's own curves, a file of them, or the group of filters that single letters mean, such as
        ``"panstarrs"``.

    Returns
    -------
    Choices

    Raises
    ------
    InputError
        If a word is unknown.
    """
    group, curves = _filters(filters)
    if kind and kind not in KINDS:
        raise InputError("`kind`", f"{kind!r} is unknown", f"one of {', '.join(KINDS)}")
    chosen: dict[str, str] = {}
    parts: dict[tuple[str, str], str] = {}
    roles: dict[str, str] = {}
    ignored, unit = set(), None
    for key, value in _pairs(columns):
        name, _, part = key.rpartition(".")
        if key == "unit":
            unit = _unit(value)
        elif value.lower() == NOTHING:
            ignored.add(key)
        elif key.lower() in ROLES:
            roles[key.lower()] = value
        elif name and part in PARTS:
            if part == "kind" and value not in KINDS:
                raise InputError("`columns`", f"kind {value!r} is unknown", f"one of {', '.join(KINDS)}")
            parts[_filter(name, group, curves), part] = value
        else:
            chosen[_filter(key, group, curves)] = value
    return Choices(chosen, parts, roles, frozenset(ignored), kind or "", unit, group, curves)


def group_of(survey: Survey) -> str:
    """Group of the filters that the letters of a survey's tables mean; "" leaves it to the columns."""
    known = {"legacy": "legacy", "legacy-north": "legacy", "ps1": "panstarrs", "sdss": ""}
    known |= {name: name for name in SURVEYS if name not in known}
    if survey.name in known:
        return known[survey.name]
    # Of a user's own survey, the filter of its first band tells.
    return survey.filters[0].rpartition("-")[0].replace("sdss2010", "")


def _pairs(columns) -> list[tuple[str, str]]:
    if isinstance(columns, Mapping):
        return [(str(k), str(v)) for k, v in columns.items()]
    pairs = [text.strip().partition("=") for text in (columns or "").split(",") if text.strip()]
    for key, sign, value in pairs:
        if not (sign and key.strip() and value.strip()):
            raise InputError("`columns`", f"{key!r} names no column", FORM)
    return [(key.strip(), value.strip()) for key, _, value in pairs]


def _unit(text: str) -> Unit:
    unit = parse_unit(text)
    if unit.form not in ("mag", "asinh", "flux"):
        raise InputError(
            "`columns`", f"unit {text!r} is unknown", "nmgy, mgy, Jy, mJy, uJy, nJy, mag or asinh"
        )
    return unit


def _filter(key: str, group: str, curves: Mapping[str, Filter]) -> str:
    """A filter as speclite, or the user's own curve, calls it."""
    if key in curves or _is_known(key):
        return key
    found = filter_of(group or "sdss", key.lower())
    if found is None:
        what = f"no filter is called {key[:40]!r}"
        raise InputError("`columns`", what, f"a letter, a name of speclite's or a curve in `filters`, {FORM}")
    return found


def _filters(filters) -> tuple[str, Mapping[str, Filter]]:
    if filters is None:
        return "", {}
    if isinstance(filters, Mapping):
        return "", filters
    by_prefix = {next(iter(g.values())).partition("-")[0].lower(): name for name, g in GROUPS.items() if g}
    word = str(filters).lower()
    if word in GROUPS or word in by_prefix:
        return by_prefix.get(word, word), {}
    from pix2spec.data.readers.curves import read_curves

    if not Path(filters).exists():
        hint = f"a file of curves, or one of {', '.join(sorted(by_prefix))}"
        raise InputError("`filters`", f"{str(filters)!r} is neither a file nor a group of filters", hint)
    return "", read_curves(filters)
