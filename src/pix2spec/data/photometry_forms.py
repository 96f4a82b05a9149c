"""Photometry as users have it in Python.

Users give measurements as a dictionary or a pandas Series by filter, as an astropy Table with a row each, or
as a row of a table with a column each. Values are astropy Quantities (AB magnitudes, nanomaggies, Jansky and
its fractions) or plain numbers in nanomaggies.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import repeat
from typing import Any

import numpy as np

from pix2spec.core.filters import Filter, filter_name, is_filter, typical_error
from pix2spec.core.photometry import MAX_MAGNITUDE, MIN_MAGNITUDE, MISSING_FLUX, is_missing
from pix2spec.core.survey import Survey
from pix2spec.data.measurements import ERROR_ASSUMED, Measurements, check_kinds, check_not_magnitudes
from pix2spec.errors import InputError

__all__ = ["DICT_FORM", "read_photometry"]

OPTICAL = "ugrizy"  # last letters of filters' names, in the order of wavelength
ERROR_NAMES = ("{}_err", "{}_error", "{}Err", "e_{}", "err_{}", "{}.error")
DICT_FORM = '{"r": 17.3 * u.ABmag} or, in nanomaggies, {"r": (120.2, 1.5)}'


def read_photometry(
    photometry: Any,
    survey: Survey,
    kind: str | tuple,
    where: str,
    own: Mapping[str, Filter] | None = None,
) -> Measurements:
    """Photometry in any of the forms above as `Measurements`.

    Parameters
    ----------
    photometry : mapping, pandas Series, astropy Table or Row, or array
        An array, or a list of numbers, holds one flux in nanomaggies for each band of the survey.
    survey : Survey
        Whose filters single letters mean.
    kind : str or tuple of str
        Kind of each flux that states none.
    where : str
        Id of the galaxy, for errors.
    own : mapping of str to Filter, optional
        The user's own curves.

    Raises
    ------
    InputError
        If a filter is unknown, a value is no flux or magnitude, or plain numbers look like magnitudes.
    """
    own = own or {}
    rows = list(_rows(photometry, survey, where, own))
    if not rows:
        raise InputError(where, "photometry: it holds no filter that is known", f"as in {DICT_FORM}")
    names, values, errors, kinds = zip(*rows)
    kinds = tuple(own or given for own, given in zip(kinds, _kinds(kind, len(rows), where)))
    check_kinds(kinds, where)
    filters = tuple(filter_name(name, survey, where, own) for name in names)
    (twice, _), count = Counter(zip(filters, kinds)).most_common(1)[0]
    if count > 1:
        raise InputError(where, f"photometry: {twice} is there twice", "keep one, or state their kinds")
    optical = {n[-1]: v for n, v in zip(filters, values) if n[-1] in OPTICAL and _is_plain(v)}
    in_order = sorted(optical, key=OPTICAL.index)
    check_not_magnitudes([_number(optical[band], where, band) for band in in_order], where)
    pairs = [_in_nanomaggies(*row, where) for row in zip(names, values, errors)]
    flux, error = np.array(pairs).T
    assumed = np.isnan(error) & np.isfinite(flux)
    if (flux[assumed] <= 0).any():
        name = filters[int(np.flatnonzero(assumed & (flux <= 0))[0])]
        raise InputError(where, f"photometry: {name} has no error and is not positive", "state its error")
    typical = np.array([typical_error(name) for name in filters])
    error = np.where(assumed, typical * flux, error)
    known = np.isfinite(flux)
    return Measurements(
        tuple(name for name, good in zip(filters, known) if good),
        flux[known],
        error[known],
        tuple(k for k, good in zip(kinds, known) if good),
        (ERROR_ASSUMED,) if assumed.any() else (),
    )


def _rows(photometry, survey: Survey, where: str, own: Mapping[str, Filter]) -> Iterator[tuple]:
    """(filter, value, error or None, kind or "") of each measurement."""
    columns = getattr(photometry, "colnames", None)
    if columns is not None and {"filter", "flux"} <= set(columns):
        entries = photometry if hasattr(photometry, "iterrows") else [photometry]
        for row in entries:
            values = [_cell(row, name) for name in ("flux", "error")]
            kind = _cell(row, "kind")
            yield str(row["filter"]), *values, "" if kind is None else str(kind)
    elif columns is not None and hasattr(photometry, "iterrows"):
        what = f"photometry: a table of {', '.join(map(str, columns))[:80]}"
        raise InputError(where, what, "give one row of it, or a table with the columns filter, flux, error")
    elif columns is not None or hasattr(photometry, "to_dict"):
        cells = {str(k): _cell(photometry, k) for k in (columns or photometry.index)}
        yield from _by_name(cells, survey, own)
    elif isinstance(photometry, Mapping):
        yield from ((str(name), *_split(value), "") for name, value in photometry.items())
    elif own:
        what = "photometry: an array of fluxes does not say in which of the filters they are"
        raise InputError(where, what, f"give a dictionary by filter: {DICT_FORM}")
    else:
        yield from zip(survey.photometry_bands, _array(photometry, survey, where), repeat(None), repeat(""))


def _by_name(cells: dict, survey: Survey, own: Mapping[str, Filter]) -> Iterator[tuple]:
    """Measurements of a row with a column each; columns that name no filter are not photometry."""
    for name, value in cells.items():
        if name == "z" and _is_plain(value) and _looks_like_redshift(value, cells):
            continue
        if not is_filter(name, survey, own):
            continue
        error = next((cells[form.format(name)] for form in ERROR_NAMES if form.format(name) in cells), None)
        yield name, value, error, ""


def _looks_like_redshift(z, cells: dict) -> bool:
    """Whether the column ``z`` of a table's row is a redshift and no flux: small, and far below r or i."""
    others = [cells[band] for band in "ri" if isinstance(cells.get(band), int | float | np.number)]
    return "redshift" not in cells and bool(others) and abs(float(z)) < min(7, 0.3 * min(others))


def _array(photometry, survey: Survey, where: str) -> list:
    form = f"give a dictionary by filter: {DICT_FORM}"
    try:
        values: np.ndarray = np.ma.filled(
            np.ma.asarray(getattr(photometry, "value", photometry), float), np.nan
        )
    except (TypeError, ValueError):
        what = f"photometry: it is {type(photometry).__name__}, not numbers"
        raise InputError(where, what, form) from None
    if values.shape != (len(survey.photometry_bands),):
        bands = (
            f"{len(survey.photometry_bands)} bands of {survey.name} ({', '.join(survey.photometry_bands)})"
        )
        raise InputError(where, f"photometry: an array of shape {values.shape} does not have {bands}", form)
    unit = getattr(photometry, "unit", None)
    return list(values) if unit is None else [v * unit for v in values]


def _cell(row, name):
    """Value of a row's column with its unit; None where there is no such column, or it is masked."""
    columns = getattr(row, "colnames", None)
    if columns is not None and name not in columns:
        return None
    value = row[name]
    if np.ma.is_masked(value):
        return None
    unit = getattr(getattr(row, "columns", {}).get(name), "unit", None) if columns is not None else None
    return value if unit is None or hasattr(value, "unit") else value * unit


def _split(value) -> tuple:
    """Value and error of an entry: ``value`` or ``(value, error)``."""
    if isinstance(value, tuple | list) and len(value) == 2:
        return tuple(value)
    return value, None


def _kinds(kind, count: int, where: str) -> tuple:
    kinds = (kind,) * count if isinstance(kind, str) else tuple(kind)
    if len(kinds) != count:
        raise InputError(
            where, f"kind: {len(kinds)} kinds for {count} fluxes", "give one for all, or one each"
        )
    return kinds


def _is_plain(value) -> bool:
    return value is not None and not hasattr(value, "unit")


def _number(value, where: str, name: str) -> float:
    try:
        return float(np.ma.filled(np.ma.asarray(value, float), np.nan))
    except (TypeError, ValueError):
        what = f"photometry: {name} is {str(value)[:40]!r}, not a number"
        raise InputError(where, what, f"as in {DICT_FORM}") from None


def _in_nanomaggies(name: str, value, error, where: str) -> tuple[float, float]:
    """Flux and error in nanomaggies; NaN where the value is missing or the error unknown."""
    if value is None:
        return np.nan, np.nan
    if _is_plain(value):
        flux = _number(value, where, name)
        sigma = np.nan if error is None else _plain_error(error, where, name)
        return _known_flux(flux), _known_error(sigma)
    from astropy import units as u

    magnitude = _as_ab_magnitude(value, u, name, where)
    if magnitude is None:
        unit, flux = value.unit, _to_nanomaggies(value, u, name, where)
        flux = flux if np.isfinite(_known_flux(value.value)) else np.nan
        if error is None or not np.isfinite(_known_error(getattr(error, "value", error))):
            return flux, np.nan
        return flux, _to_nanomaggies(error if hasattr(error, "unit") else error * unit, u, name, where)
    if is_missing(magnitude) or not MIN_MAGNITUDE < magnitude < MAX_MAGNITUDE:
        return np.nan, np.nan
    flux = 10 ** (0.4 * (22.5 - magnitude))
    spread = np.nan if error is None else _known_error(getattr(error, "value", error))
    return flux, 0.4 * np.log(10) * flux * spread


def _known_flux(value) -> float:
    """A flux, or NaN for a number that marks a missing one."""
    return np.nan if is_missing(value, MISSING_FLUX) else float(value)


def _known_error(value) -> float:
    """An error, or NaN for one that is not positive or marks a missing one."""
    return float(value) if not is_missing(value) and value > 0 else np.nan


def _plain_error(error, where: str, name: str) -> float:
    if not _is_plain(error):
        what = f"photometry: {name} is a plain number and its error has the unit {error.unit}"
        raise InputError(where, what, "give both the unit")
    return _number(error, where, name)


def _as_ab_magnitude(value, u, name: str, where: str) -> float | None:
    """The AB magnitude, or None if the value is a flux."""
    unit = value.unit
    if unit == u.mag:
        what = f"photometry: {name} is in mag, which does not say the system"
        raise InputError(where, what, "AB magnitudes are u.ABmag")
    if not isinstance(unit, u.function.logarithmic.LogUnit):
        return None
    if unit.physical_unit != u.AB:
        raise InputError(where, f"photometry: {name} is in {unit}", "convert it to u.ABmag")
    return float(value.value)


def _to_nanomaggies(value, u, name: str, where: str) -> float:
    try:
        return float(value.to_value(u.nmgy, u.zero_point_flux(3631 * u.Jy)))
    except (u.UnitConversionError, TypeError, AttributeError):
        what = f"photometry: {name} is in {getattr(value, 'unit', '?')}, which is no flux in a filter"
        raise InputError(where, what, "AB magnitudes (u.ABmag), nanomaggies (u.nmgy) or u.uJy") from None
