"""Values in the columns of catalogues: numbers, units, and values that mark missing data."""

import re
import warnings
from dataclasses import dataclass
from decimal import Decimal

import numpy as np

from pix2spec.core.photometry import MAX_MAGNITUDE, MIN_MAGNITUDE, NANOMAGGY_MAGNITUDE, is_missing

__all__ = [
    "ASINH_SOFTENING",
    "Unit",
    "declinations",
    "flux_of_magnitude",
    "has_decimal_commas",
    "id_texts",
    "is_sexagesimal",
    "magnitudes",
    "numbers",
    "parse_unit",
    "plain_text",
    "redshifts",
    "right_ascensions",
    "velocity_scale",
]

# Degrees
ANGLES = dict.fromkeys(("rad", "radian", "radians"), 180 / np.pi) | {"arcsec": 1 / 3600, "arcmin": 1 / 60}
NO_ID = (
    "",
    "-",
    "--",
    "---",
    "none",
    "nan",
    "null",
    "n/a",
    "na",
    "#n/a",
    "\\n",
    "...",
    "indef",
    "masked",
    "?",
)
MISSING_POSITION = (-9999.0, -999.0, 999.0)
MIN_REDSHIFT, MAX_REDSHIFT = -0.01, 20.0
# Softening of SDSS's asinh magnitudes (Lupton et al. 1999; www.sdss.org/dr17/algorithms/magnitudes)
ASINH_SOFTENING = dict(zip("ugriz", (1.4e-10, 0.9e-10, 1.2e-10, 1.8e-10, 7.4e-10)))
JY = 1e9 / 3631.0  # nanomaggies
FLUX_UNITS = {"nmgy": 1.0, "mgy": 1e9, "Jy": JY, "mJy": 1e-3 * JY, "uJy": 1e-6 * JY, "nJy": 1e-9 * JY}
FLUX_UNITS |= {"DES": 1e-3}  # counts with the zero point 30
SPELLINGS = [(r"nano[- ]?magg(y|ies|ie)s?", "nmgy"), (r"\bmagg(y|ies|ie)\b", "mgy"),
             (r"micro[- ]?(Jy|jansky)", "uJy"),
             (r"nano[- ]?(Jy|jansky)", "nJy"), (r"milli[- ]?(Jy|jansky)", "mJy"), (r"[µμ]Jy", "uJy"),
             (r"(?i)janskys?", "Jy"), (r"\bergs\b", "erg"), (r"^[Uu](jy|JY)$", "uJy"),
             (r"^[Nn](jy|JY)$", "nJy")]  # fmt: skip
MAGNITUDE = re.compile(r"(ab)?mag(nitude)?s?(ab)?|ab|dexmag")
DECIMAL_COMMA = re.compile(r"\s*[-+]?\d+,\d+(e[-+]?\d+)?\s*", re.I)
SPREADSHEET = re.compile(r"[+]?\d(\.\d+)?[eE]\+?\d\d?")
SAFE = 2**53  # larger integers lose digits in floats


@dataclass(frozen=True)
class Unit:
    """A unit of photometry.

    `form` is ``"mag"``, ``"asinh"``, ``"flux"``, ``"ivar"``, ``"none"`` (no unit), ``"other"`` (a length, an
    angle ...) or ``"unknown"``. `scale` turns fluxes into nanomaggies.
    """

    form: str
    scale: float = 1.0
    text: str = ""


def parse_unit(text) -> Unit:
    """The unit that a text, or astropy's unit, means in photometry.

    Examples
    --------
    >>> from pix2spec.data.readers.column_values import parse_unit
    >>> parse_unit("1/nanomaggies^2").form, round(parse_unit("uJy").scale, 4)
    ('ivar', 0.2754)
    """
    raw = str("" if text is None else text).strip().strip("'\"")
    plain = raw.lower().replace(" ", "").replace("_", "")
    if plain in ("", "-", "--", "---", "none", "1", "dimensionless", "nan"):
        return Unit("none")
    if "asinh" in plain or "luptitude" in plain:
        return Unit("asinh", text=raw)
    if plain in FLUX_UNITS or raw in FLUX_UNITS:
        return Unit("flux", FLUX_UNITS.get(raw, FLUX_UNITS.get(plain, 1.0)), raw)
    if MAGNITUDE.fullmatch(re.sub(r"[\[\](){}]", "", plain)):
        return Unit("mag", text=raw)
    if "vega" in plain:
        return Unit("unknown", text=raw)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return _by_astropy(raw)


def _by_astropy(raw: str) -> Unit:
    from astropy import units as u

    clean = raw
    for pattern, new in SPELLINGS:
        clean = re.sub(pattern, new, clean, flags=0 if pattern.startswith("(?i)") else re.I)
    unit = None
    for form in (None, "fits", "cds", "vounit"):
        try:
            unit = u.Unit(clean, format=form, parse_strict="raise")
            break
        except (ValueError, TypeError, KeyError):
            continue
    if unit is None:
        return Unit("unknown", text=raw)
    forms = ((1, "flux"), (-2, "ivar"))
    for base in (u.nmgy, 3631e-9 * u.Jy):  # astropy's equivalency of the two does not reach into powers
        for power, form in forms:
            try:
                return Unit(form, float(unit.to(base**power)), raw)
            except (u.UnitConversionError, TypeError, AttributeError):
                continue
    physical = str(getattr(unit, "physical_type", ""))
    other = any(kind in physical for kind in ("angle", "length", "time", "speed", "solid angle"))
    return Unit("other" if other else "unknown", text=raw)


def numbers(column) -> np.ndarray:
    """A column as float64, also with decimal commas. Masked values and texts without a number are NaN."""
    values = np.ma.asarray(column)
    if values.dtype.kind in "biuf":
        return np.ma.filled(values.astype(float), np.nan)
    mask = np.ma.getmaskarray(values)
    texts = np.ma.getdata(values)
    texts = np.char.decode(texts, "latin1") if texts.dtype.kind == "S" else texts.astype(str)
    try:
        found = np.where(mask | (np.char.strip(texts) == ""), "nan", texts).astype(float)
    except ValueError:
        found = np.array([_number(t) for t in texts.ravel()]).reshape(texts.shape)
    return np.where(mask, np.nan, found)


def _number(text: str) -> float:
    try:
        return float(text.replace(",", ".") if DECIMAL_COMMA.fullmatch(text) else text)
    except ValueError:
        return {"true": 1.0, "false": 0.0}.get(text.strip().lower(), np.nan)


def has_decimal_commas(column) -> bool:
    """Whether a column of texts holds numbers with decimal commas."""
    values = np.ma.asarray(column)
    return values.dtype.kind in "USO" and any(
        DECIMAL_COMMA.fullmatch(str(v)) for v in np.ma.getdata(values[:1000]).tolist() if v is not None
    )


def magnitudes(values: np.ndarray) -> np.ndarray:
    """Magnitudes; NaN where missing, or outside 1 to 32."""
    good = ~is_missing(values) & (values > MIN_MAGNITUDE) & (values < MAX_MAGNITUDE)
    return np.where(good, values, np.nan)


def flux_of_magnitude(magnitude: np.ndarray, band: str = "", asinh: bool = False) -> np.ndarray:
    """Nanomaggies of AB magnitudes on Pogson's scale, or of SDSS's asinh magnitudes in a band."""
    if asinh and band in ASINH_SOFTENING:
        b = ASINH_SOFTENING[band]
        return 2e9 * b * np.sinh(-0.4 * np.log(10) * magnitude - np.log(b))
    return 10 ** (0.4 * (NANOMAGGY_MAGNITUDE - magnitude))


def redshifts(values: np.ndarray, unit: str = "") -> np.ndarray:
    """Redshifts, also from velocities cz by their unit; NaN where missing, below -0.01, or above 20."""
    values = np.where(is_missing(values), np.nan, values) * velocity_scale(unit)
    with np.errstate(invalid="ignore"):
        good = ~is_missing(values) & (values >= MIN_REDSHIFT) & (values <= MAX_REDSHIFT)
    return np.where(good, values, np.nan)


def velocity_scale(unit: str) -> float:
    """What turns a column with a unit into redshifts: 1, or 1 / c in that unit."""
    found = re.fullmatch(r"(k?)m[.*]?(/s(ec)?|s(\^|\*\*)?-1)", re.sub(r"\s", "", unit.lower()))
    return (1e3 if found[1] else 1.0) / 299792458.0 if found else 1.0


def right_ascensions(column, unit: str = "") -> np.ndarray:
    """Right ascensions in degrees, 0 to 360; NaN where missing. Sexagesimal texts are hours."""
    values = _degrees(column, unit, hours=True)
    good = ~is_missing(values, MISSING_POSITION) & (values >= -180) & (values <= 360)
    return np.where(good, values % 360, np.nan)


def declinations(column, unit: str = "") -> np.ndarray:
    """Declinations in degrees; NaN where missing or outside -90 to 90."""
    values = _degrees(column, unit, hours=False)
    return np.where(~is_missing(values, MISSING_POSITION) & (np.abs(values) <= 90), values, np.nan)


def is_sexagesimal(column) -> bool:
    """Whether a column of texts holds angles such as ``10:00:24.02`` or ``10 00 24.02``."""
    values = np.ma.asarray(column)
    if values.dtype.kind not in "USO":
        return False
    texts = [plain_text(v) for v in np.ma.filled(values[:1000], "").tolist()]
    return any(re.match(r"\s*[-+]?\d+\s*[:hd° ]\s*\d+", t) for t in texts)


def _degrees(column, unit: str, hours: bool) -> np.ndarray:
    if is_sexagesimal(column):
        return np.array(
            [_angle(plain_text(v), hours) for v in np.ma.filled(np.ma.asarray(column), "").tolist()]
        )
    values, plain = numbers(column), unit.lower().strip()
    if plain in ("h", "hour", "hourangle", "hours", "hr"):
        return values * 15 if hours else values
    return values * ANGLES.get(plain, 1.0)


def _angle(text: str, hours: bool) -> float:
    parts = re.findall(r"\d+\.?\d*|\.\d+", text)
    if not 2 <= len(parts) <= 3:
        return _number(text)
    first, minutes, seconds = [float(p) for p in (*parts, "0")[:3]]
    if minutes >= 60 or seconds > 60:
        return np.nan
    degrees = (first + minutes / 60 + seconds / 3600) * (-1 if text.strip().startswith(("-", "−")) else 1)
    in_hours = hours and first <= 24 and not re.match(r"\s*\d+\s*[d°]", text)
    return degrees * 15 if in_hours else degrees


def plain_text(value) -> str:
    """A cell as text; bytes are decoded, also those that Python wrote as ``b'STAR  '``."""
    text = value.decode("latin1") if isinstance(value, bytes) else str(value)
    return re.sub(r"""^b(['"])(.*)\1$""", r"\2", text)


def id_texts(column) -> tuple[list[str], bool]:
    """Ids as texts, and whether they lost digits in a spreadsheet or as floating-point numbers.

    Ids that lost digits are "", as are masked and missing ones.
    """
    values = np.ma.asarray(column)
    mask = np.ma.getmaskarray(values)
    if values.dtype.kind == "f":
        data = np.ma.filled(values.astype(float), np.nan)
        exact = np.isfinite(data) & (np.abs(data) < SAFE) & (data == np.floor(data))
        lost = bool((np.isfinite(data) & (np.abs(data) >= SAFE)).any())
        return [str(int(v)) if ok else "" for v, ok in zip(data, exact)], lost
    texts = [plain_text(v).strip() for v in np.ma.getdata(values).tolist()]
    texts = ["" if m or t.lower() in NO_ID else re.sub(r"^'(.*)'$", r"\1", t) for t, m in zip(texts, mask)]
    lost = False
    if any(SPREADSHEET.fullmatch(t) for t in texts):
        found = list(map(_from_spreadsheet, texts))
        texts, lost = [text for text, _ in found], any(loss for _, loss in found)
    elif texts and any(texts) and all(re.fullmatch(r"\d+\.0", t) for t in texts if t):
        texts = [t[:-2] for t in texts]  # integers that pandas made floats, because one is missing
        large = [int(t) for t in texts if t and int(t) >= SAFE]
        if large and all(int(float(n)) == n for n in large):  # floats have no more digits
            texts, lost = ["" if t and int(t) >= SAFE else t for t in texts], True
    return texts, lost


def _from_spreadsheet(text: str) -> tuple[str, bool]:
    """The integer in exponential notation with all its digits, or "" and True if digits are lost."""
    if not SPREADSHEET.fullmatch(text):
        return text, False
    value, digits = Decimal(text), len(re.sub(r"[eE].*|\D", "", text))
    if value == value.to_integral_value() and digits > value.adjusted():
        return str(int(value)), False
    return "", True
