"""Filters: names, transmission curves, and typical errors of fluxes.

A filter is one of speclite's, such as ``"sdss2010-r"``, or a transmission curve of the user under a name of
his own.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.resources import files
from typing import Any

import numpy as np

from pix2spec.core.survey import Survey
from pix2spec.errors import InputError

__all__ = [
    "FLOOR",
    "KINDS",
    "OWN_CURVE_ERROR",
    "Filter",
    "filter_name",
    "is_filter",
    "load_filter",
    "own_filters",
    "typical_error",
    "with_floor",
]

# What a flux encloses. A fibre flux is that within the aperture of the spectrograph's fibre.
KINDS = ("fibre", "psf", "model", "cmodel", "petrosian", "kron", "aperture", "total", "unknown")

# Typical error of a galaxy's flux, as a fraction of it. SDSS: the median errors of model magnitudes of the
# main galaxy sample (Strauss et al. 2002, AJ 124:1810) with the calibration errors of Padmanabhan et al.
# (2008, ApJ 674:1217).
_TYPICAL = dict(zip([f"sdss2010-{band}" for band in "ugriz"], (0.06, 0.012, 0.01, 0.01, 0.022)))
ANY_FILTER_ERROR, OWN_CURVE_ERROR = 0.05, 0.1
FLOOR = 0.01  # magnitudes: no survey measures galaxies better

UNITS = {"Angstrom": 1.0, "nm": 10.0, "micron": 1e4}  # of wavelengths in speclite's files
WAVE_LIMITS = (500.0, 60_000.0)  # Angstrom, of the light that a filter lets through
CENTRE_LIMITS = (1000.0, 55_000.0)  # Angstrom
MIN_PLAIN_CENTRE = 1200.0  # Plain numbers below are rather nanometres, of a filter near 1 um.
NEAR_INFRARED = ("Y", "y", "J", "H", "K", "Ks")  # bands at 1,000 to 2,300 nm
NOISE = 0.01  # of the largest response: negative responses of measured curves are smaller
MAX_NAME = 60  # characters


@dataclass(frozen=True, eq=False, repr=False)
class Filter:
    """A transmission curve. Two filters are equal if their names and curves are.

    Parameters
    ----------
    name : str
        Name of the filter, at most 60 characters.
    wave : array (W,) or Quantity
        Wavelengths in Angstrom, or with a unit of length; increasing, at least three.
    response : array (W,)
        Fraction of the photons that is detected, in any unit; 0 outside `wave`.

    Raises
    ------
    InputError
        If the curve is not one, or its wavelengths seem to have another unit, or lie where the spectra of
        galaxies are not known: where the response is positive, from 0.05 to 6 um, and the centre from 0.1 to
        5.5 um.

    Notes
    -----
    The points of a curve are joined by straight lines. `centre` and `width` are weighted by the response.
    Negative responses above -1 % of the maximum are noise and become 0. Points without response at the ends
    of a curve are dropped, except one at each end.

    Examples
    --------
    >>> from pix2spec.core.filters import Filter
    >>> Filter("top hat", [4999, 5000, 5100, 5101], [0, 1, 1, 0])
    <Filter top hat: centre 5050, width 29 Angstrom>
    """

    name: str
    wave: np.ndarray
    response: np.ndarray

    def __post_init__(self):
        if (
            not isinstance(self.name, str)
            or not self.name.isprintable()
            or not 0 < len(self.name) <= MAX_NAME
        ):
            what = f"{str(self.name)[:MAX_NAME]!r} is no name of a filter"
            raise InputError("filter", what, f"give a text of at most {MAX_NAME} characters")
        plain = getattr(self.wave, "unit", None) is None
        wave, response = self._in_angstrom(), self._numbers("response", self.response)
        self._check_arrays(wave, response)
        response = np.maximum(response, 0)
        lit = np.flatnonzero(response)
        part = slice(max(lit[0] - 1, 0), lit[-1] + 2)
        for field, values in (("wave", wave[part]), ("response", response[part])):
            values = values.copy()
            values.flags.writeable = False
            object.__setattr__(self, field, values)
        self._check_range(wave[lit[0]], wave[lit[-1]], plain)

    def _refuse(self, what: str, hint: str = "") -> InputError:
        return InputError(f"filter {self.name}", what, hint)

    def _numbers(self, field: str, values: Any) -> np.ndarray:
        try:
            return np.ma.filled(np.ma.asarray(getattr(values, "value", values), float), np.nan)
        except (TypeError, ValueError) as error:
            raise self._refuse(f"its {field} is not an array of numbers") from error

    def _in_angstrom(self) -> np.ndarray:
        unit = getattr(self.wave, "unit", None)
        if unit is None:
            return self._numbers("wavelength", self.wave)
        from astropy import units as u

        try:
            return self._numbers("wavelength", self.wave) * u.Unit(unit).to(u.AA)
        except (u.UnitConversionError, TypeError, ValueError) as error:
            raise self._refuse(
                f"its wavelength is in {unit}", "give a unit of length, such as u.nm"
            ) from error

    def _check_arrays(self, wave: np.ndarray, response: np.ndarray) -> None:
        if wave.ndim != 1 or wave.shape != response.shape:
            what = f"its wavelength has the shape {wave.shape} and its response {response.shape}"
            raise self._refuse(what, "give two arrays of equal length")
        if len(wave) < 3:
            raise self._refuse(f"its curve has {len(wave)} points", "at least three are needed")
        for field, values in (("wavelength", wave), ("response", response)):
            if not np.isfinite(values).all():
                raise self._refuse(
                    f"its {field} is not finite at a point of the curve", "leave that point out"
                )
        if (np.diff(wave) <= 0).any():
            raise self._refuse(
                "its wavelengths do not increase", "sort the curve, and keep each wavelength once"
            )
        if response.max() <= 0:
            raise self._refuse("its response is not positive anywhere")
        if response.min() < -NOISE * response.max():
            raise self._refuse("its response is negative", "a response is a fraction of photons")

    def _check_range(self, first: float, last: float, plain: bool) -> None:
        span = f"its light has wavelengths from {first:.6g} to {last:.6g}"
        below = first < WAVE_LIMITS[0] or self.centre < CENTRE_LIMITS[0]
        if plain and (below or self.centre < MIN_PLAIN_CENTRE or self._is_infrared_in_nm()):
            hint = "plain numbers mean Angstrom: give other wavelengths their unit, such as u.nm or u.um"
            raise self._refuse(span, hint)
        if below:
            raise self._refuse(f"{span} Angstrom", "the spectra of galaxies are known from 0.1 um on")
        if self.centre > CENTRE_LIMITS[1]:
            what = f"its centre is at {self.centre / 1e4:.3g} um, and templates end at 5.5 um"
            raise self._refuse(what, "leave out filters beyond 5.5 um, such as W3 and W4 of WISE")
        if last > WAVE_LIMITS[1]:
            raise self._refuse(f"{span} Angstrom", "a filter must end at 6 um")

    def _is_infrared_in_nm(self) -> bool:
        """Whether the name is that of an infrared band, while the numbers as Angstrom are ultraviolet."""
        band = self.name.replace("_", "-").replace(".", "-").rpartition("-")[2]
        return band in NEAR_INFRARED and self.centre < 2500

    @cached_property
    def centre(self) -> float:
        """Mean wavelength in Angstrom."""
        return float(self.wave[0] + self._mean(1, self.wave[0]))

    @cached_property
    def width(self) -> float:
        """Standard deviation of the wavelength in Angstrom."""
        return float(np.sqrt(self._mean(2, self.centre)))

    def _mean(self, power: int, about: float) -> float:
        """Mean of (wavelength - about)^power. Simpson's rule is exact for it on a curve of straight lines."""
        step, middle = np.diff(self.wave), (self.response[1:] + self.response[:-1]) / 2
        values = self.response * (self.wave - about) ** power
        values_between = middle * ((self.wave[1:] + self.wave[:-1]) / 2 - about) ** power
        total = np.sum(step * (values[1:] + values[:-1] + 4 * values_between)) / 6
        return float(total / np.sum(step * middle))

    @cached_property
    def _identity(self) -> tuple:
        return self.name, self.wave.tobytes(), self.response.tobytes()

    def __eq__(self, other) -> bool:
        return self is other or (isinstance(other, Filter) and self._identity == other._identity)

    def __hash__(self) -> int:
        return hash(self._identity)

    def __repr__(self) -> str:
        return f"<Filter {self.name}: centre {self.centre:.0f}, width {self.width:.0f} Angstrom>"

    def is_same_curve(self, other: "Filter") -> bool:
        """Whether both curves agree to rounding, except for a factor."""
        if len(self.wave) != len(other.wave) or not np.allclose(self.wave, other.wave, rtol=1e-6, atol=0):
            return False
        ours, theirs = (f.response / f.response.max() for f in (self, other))
        return np.allclose(ours, theirs, rtol=0, atol=1e-5)

    def as_dict(self) -> dict:
        """Wavelengths and responses as lists, for JSON; `from_dict` is the inverse."""
        return {"wave": self.wave.tolist(), "response": self.response.tolist()}

    @classmethod
    def from_dict(cls, name: str, values: Mapping) -> "Filter":
        """A filter from what `as_dict` gives."""
        return cls(name, np.asarray(values["wave"], float), np.asarray(values["response"], float))


@cache
def _is_known(name: str) -> bool:
    """Whether speclite has a transmission curve of this name."""
    safe = "-" in name and name.replace("-", "").replace("_", "").isalnum()
    return safe and (files("speclite") / "data" / "filters" / f"{name}.ecsv").is_file()


@cache
def _speclite_filter(name: str) -> Filter:
    if not _is_known(name):  # speclite would open any file
        what = "the installed version of speclite does not have this transmission curve"
        hint = "pip install -U speclite, or give the curve as `filters`"
        raise InputError(str(name)[:MAX_NAME], what, hint)
    # Importing `speclite.filters` takes as long as half of torch; its files are tables of two columns.
    text = (files("speclite") / "data" / "filters" / f"{name}.ecsv").read_text()
    unit = text.partition("wavelength, unit: ")[2].partition(",")[0]
    rows = [line for line in text.splitlines() if not line.startswith("#")][1:]
    wave, response = np.loadtxt(rows).T
    seen = np.flatnonzero(response)
    some = slice(max(seen[0] - 1, 0), seen[-1] + 2)
    return Filter(name, wave[some] * UNITS[unit], response[some])


def load_filter(name: str, own: Mapping[str, Filter] | None = None) -> Filter:
    """The filter called `name`.

    Parameters
    ----------
    name : str
        A key of `own`, or speclite's name.
    own : mapping of str to Filter, optional
        The user's own curves.

    Raises
    ------
    InputError
        If there is no such curve, or it lies beyond 5.5 um, as W3 and W4 of WISE do.

    Examples
    --------
    >>> from pix2spec.core.filters import load_filter
    >>> load_filter("wise2010-W1")
    <Filter wise2010-W1: centre 33792, width 2668 Angstrom>
    """
    return own[name] if own and name in own else _speclite_filter(name)


def own_filters(curves: Mapping[str, Any], where="`filters`") -> Mapping[str, Filter]:
    """The user's own curves as filters.

    Parameters
    ----------
    curves : mapping of str to Filter or (wavelength, response)
        Wavelengths are in Angstrom, or have a unit of length.
    where : str
        The object, for the error.

    Returns
    -------
    mapping of str to Filter
        `curves` itself if it holds filters only, none of which is speclite's: galaxies share it. Curves that
        are speclite's are left out.

    Raises
    ------
    InputError
        If a curve is not valid, or has the name of another one of speclite's.
    """
    found: dict[str, Filter] = {}
    for name, given in curves.items():
        try:
            curve = _own_filter(name, given)
        except InputError as error:
            raise InputError(where, f"filters: {str(name)[:MAX_NAME]}: {error.what}", error.hint) from error
        if not _is_known(name):
            found[name] = curve
    unchanged = len(found) == len(curves) and all(found[name] is curve for name, curve in curves.items())
    return curves if unchanged else found


def _own_filter(name: str, given: Any) -> Filter:
    if isinstance(given, tuple | list) and len(given) == 2:
        given = Filter(name, *given)
    if not isinstance(given, Filter):
        what = f"a curve is a pair (wavelength, response), not {type(given).__name__}"
        raise InputError(name, what, "give two arrays of equal length")
    if given.name != name:
        raise InputError(name, f"this curve is called {given.name!r}", "give it under its own name")
    if _is_known(name) and not given.is_same_curve(_speclite_filter(name)):
        what = "speclite has another curve of this name"
        raise InputError(name, what, "give the curve another name, also in the photometry")
    return given


def filter_name(key: str, survey: Survey, where="photometry", own: Mapping[str, Filter] | None = None) -> str:
    """Name of the filter that a user calls `key`.

    Parameters
    ----------
    key : str
        A key of `own`, a band of `survey`, such as ``"g"``, or speclite's name, such as ``"sdss2010-g"``.
    survey : Survey
        Whose filters single letters mean.
    where : str
        The object, for the error.
    own : mapping of str to Filter, optional
        The user's own curves.

    Raises
    ------
    InputError
        If there is no such filter, or it lies beyond 5.5 um.
    """
    bands = dict(zip(survey.photometry_bands, survey.filters))
    if own and key in own:
        return key
    if key in bands:
        return bands[key]
    if _is_known(key):
        return _speclite_filter(key).name
    known = f"bands of {survey.name} ({', '.join(survey.photometry_bands)}) or speclite's names"
    hint = f"{known}, as in sdss2010-g; give a curve of your own as `filters`"
    raise InputError(where, f"photometry: no filter is called {str(key)[:40]!r}", hint)


def is_filter(key: str, survey: Survey, own: Mapping[str, Filter] | None = None) -> bool:
    """Whether `filter_name` knows a filter called `key`, perhaps one that lies too far in the infrared."""
    return key in (own or {}) or key in survey.photometry_bands or _is_known(key)


def typical_error(name: str) -> float:
    """Typical error of a flux in the filter `name`, as a fraction of the flux; larger for a user's curve."""
    return _TYPICAL.get(name, ANY_FILTER_ERROR if _is_known(name) else OWN_CURVE_ERROR)


def with_floor(flux: np.ndarray, error: np.ndarray, floor: float = FLOOR) -> np.ndarray:
    """Errors of fluxes, with a smallest error added in quadrature.

    Parameters
    ----------
    flux, error : array (...)
        Fluxes and their errors, in any unit.
    floor : float
        Smallest error in magnitudes: 0.01 mag are 0.92 % of the flux. A negative flux counts by its absolute
        value.

    Returns
    -------
    array (...), float64
    """
    fraction = 0.4 * np.log(10) * floor
    return np.hypot(np.asarray(error, float), fraction * np.asarray(flux, float))
