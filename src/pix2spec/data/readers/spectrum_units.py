"""Units of spectra in the spellings that their files have, and wavelengths in vacuum."""

import re
import warnings
from functools import lru_cache

import numpy as np

from pix2spec.errors import InputError

__all__ = ["FLUX_UNIT", "air_to_vacuum", "is_flux_density", "parse_unit", "to_angstrom"]

FLUX_UNIT = "1e-17 erg / (s cm2 Angstrom)"  # of SDSS and of this package
SPELLINGS = {
    "Angstrom": "a aa ang angs angstrom angstroms angström angströms angstroem ångström å",
    "nm": "nm nanometer nanometers nanometre nanometres nanom",
    "um": "um µm μm mum micron microns micrometer micrometers micrometre micrometres",
    "m": "m meter meters metre metres",
    "cm": "cm centimeter centimeters centimetre centimetres",
    "mm": "mm",
    "erg": "erg ergs",
    "s": "s sec secs second seconds",
    "Hz": "hz hertz",
    "W": "w watt watts",
    "J": "j joule joules",
    "Jy": "jy jansky janskys janskies",
    "mJy": "mjy millijansky millijanskys",
    "uJy": "ujy µjy μjy microjansky microjanskys",
    "nJy": "njy nanojansky nanojanskys",
    "ct": "ct cts count counts",
    "adu": "adu adus dn",
    "electron": "electron electrons",
    "ph": "ph photon photons",
    "erg / (s cm2 Angstrom)": "flam",
    "erg / (s cm2 Hz)": "fnu",
}
WORDS = {word: unit for unit, words in SPELLINGS.items() for word in words.split()}
PLAIN = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺·×−{}", "0123456789-+.*-()")
POWER_OF_TEN = re.compile(r"(?:1(?:\.0*)?\s*[x*]\s*)?10\s*(?:\*\*|\^)?\s*(\([-+]?\d+\)|[-+]\d+|(?<=[*^])\d+)")
NUMBER = re.compile(r"\d+(?:\.\d*)?(?:[eE][-+]?\d+)?")
WORD = re.compile(r"[^\W\d_]+")


@lru_cache(maxsize=256)
def parse_unit(text: str):
    """Parse a unit as headers of spectra spell it: ``Angstroms``, ``10**(-17) ergs/s/cm^2/A``, ``NM`` ...

    The letter A stands for Angstrom, not for ampere.

    Returns
    -------
    astropy Unit or None
        None if the text is not a unit.
    """
    from astropy import units as u

    factor, rest = _factor(text.translate(PLAIN).strip().strip("'\"").strip())
    if not rest:
        return None
    first = None
    for spelling in (_respelled(rest, keep=True), _respelled(rest, keep=False)):
        unit = _astropy_unit(spelling)
        if unit is None:
            continue
        # SDSS-I/II writes erg/cm/s/Ang for erg/cm2/s/Ang.
        if unit.is_equivalent("erg / (cm s Angstrom)") and re.search(r"cm(?![\s^*-]*\d)", rest):
            unit = unit / u.cm
        unit = u.Unit(factor * unit) if factor != 1 else unit
        if unit.is_equivalent(u.AA) or is_flux_density(unit):
            return unit
        first = first or unit
    return first


def _factor(text: str) -> tuple[float, str]:
    """Split a leading power of ten or number from a unit."""
    match = POWER_OF_TEN.match(text.lstrip("("))
    if match and not re.match(r"10[eE][-+]?\d", text):
        rest = text.lstrip("(")[match.end() :].lstrip(" )*.")
        return 10.0 ** int(match[1].strip("()")), rest
    match = NUMBER.match(text)
    if match:
        return float(match[0]), text[match.end() :].lstrip(" *.x")
    return 1.0, text


def _respelled(text: str, keep: bool) -> str:
    """The text in astropy's words. With `keep`, words that astropy knows stay as they are."""

    def word(match) -> str:
        found = match[0]
        if keep and found not in ("A", "a", "AA") and _astropy_unit(found) is not None:
            return found
        return WORDS.get(found.lower(), found)

    text = re.sub(r"(\*\*|\^)\s*\(?\s*([-+]?\d+)\s*\)?", r"^\2", text)
    text = re.sub(r"\bper\b", "/", text)
    text = WORD.sub(word, text)
    return re.sub(r"(?<=[A-Za-z0-9)])[.*](?=[A-Za-z(])", " ", text)


@lru_cache(maxsize=512)
def _astropy_unit(text: str):
    from astropy import units as u

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return u.Unit(text)
        except (ValueError, TypeError, ArithmeticError):
            return None


def is_flux_density(unit) -> bool:
    """Whether astropy converts a unit, or its text, to erg/s/cm2/Angstrom."""
    from astropy import units as u

    unit = parse_unit(unit) if isinstance(unit, str) else unit
    if unit is None or hasattr(unit, "function_unit"):  # magnitudes
        return False
    return unit.is_equivalent(u.Unit("erg / (s cm2 Angstrom)"), u.spectral_density(5000 * u.AA))


def to_angstrom(where, values: np.ndarray, unit: str | None, is_log: bool = False) -> np.ndarray:
    """Wavelengths in Angstrom from values in a unit of length, frequency or energy, or their log10.

    Raises
    ------
    InputError
        If `unit` is none of these.
    """
    from astropy import units as u

    text = str(unit or "").strip()
    log = re.fullmatch(r"(?:log10|log|dex)\s*[\s(\[]?(.*?)[)\]]?", text, re.IGNORECASE)
    if log or is_log:
        with np.errstate(over="ignore"):
            values = 10 ** np.asarray(values, float)
        text = log[1] if log else text
    if not text or text.lower() in ("none", "unknown", "pixel"):
        return np.asarray(values, float)
    parsed = parse_unit(text)
    if parsed is None or not parsed.is_equivalent(u.AA, u.spectral()):
        raise InputError(
            where, f"its wavelengths are in {text!r}", "state a unit of length, such as Angstrom"
        )
    with np.errstate(all="ignore"):
        return (values * parsed).to_value(u.AA, u.spectral())


def air_to_vacuum(where, wave: np.ndarray) -> np.ndarray:
    """Convert air wavelengths in Angstrom to vacuum with the formula that SDSS uses: Ciddor (1996)."""
    from astropy import units as u
    from specutils.utils.wcs_utils import air_to_vac

    try:
        return air_to_vac(wave * u.AA, method="Ciddor1996").to_value(u.AA)
    except ValueError as error:
        raise InputError(where, "its air wavelengths begin below 2000 Angstrom") from error
