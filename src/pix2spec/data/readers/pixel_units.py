"""Units of the pixels of FITS images, from headers, converted to nanomaggies."""

import numpy as np

from pix2spec.core.survey import Survey
from pix2spec.errors import InputError

__all__ = ["nanomaggies_per_unit"]

# Names of units in headers that astropy does not know; in lower case and in the singular.
SPELLINGS = {
    "nanomaggie": "nmgy", "nanomaggy": "nmgy", "nanomgy": "nmgy", "nmaggy": "nmgy", "maggy": "mgy",
    "maggie": "mgy", "count": "ct", "counts": "ct", "dn": "ct", "adu": "ct", "electron": "electron",
    "e-": "electron", "e": "electron", "nanojansky": "nJy", "microjansky": "uJy", "janskie": "Jy",
}  # fmt: skip
# Keywords of the AB magnitude of one unit.
ZERO_POINTS = ("MAGZERO", "MAGZPT", "MAGZP", "ZEROPT", "ZEROPNT", "PHOTZP", "ABZP", "ZPAB", "ZP")


def nanomaggies_per_unit(path, header, primary, survey: Survey, pixel_area: float | None) -> float:
    """Nanomaggies per unit of the pixel values.

    Parameters
    ----------
    path : path
        Name of the file, for errors.
    header, primary : Header
        Of the image, and of the file's first HDU.
    survey : Survey
        Its unit and zero point apply to headers that state none.
    pixel_area : float or None
        Square arcsec of a pixel, which surface brightnesses need.

    Raises
    ------
    InputError
        If the header names a unit without a zero point, or a unit that is no flux.
    """
    text = str(header.get("BUNIT", primary.get("BUNIT", ""))).strip()
    if not text:
        return _of_the_survey(path, header, primary, survey)
    unit = _parsed(path, text)
    from astropy import units as u

    light = u.nmgy, u.zero_point_flux(3631 * u.Jy)
    for power, area in ((0, 1.0), (1, pixel_area)):
        # unit * sr is a flux for surface brightnesses
        try:
            factor = float((1 * unit * u.sr**power).to(*light).value)
        except u.UnitConversionError:
            continue
        if area is None:
            what = f"BUNIT is {text!r}, a surface brightness, and the size of a pixel is unknown"
            raise InputError(path, what, "a WCS in the header tells it")
        return factor * (area * (np.pi / 180 / 3600) ** 2 if power else 1.0)
    return _of_counts(path, text, unit, header, primary, survey)


def _parsed(path, text: str):
    from astropy import units as u

    words = text.lower().replace("counts", "count").replace("electrons", "electron")
    base, slash, rest = words.partition("/")
    base = base.strip()
    name = SPELLINGS.get(base) or SPELLINGS.get(base.removesuffix("s")) or text.partition("/")[0].strip()
    per = {"sec": "s", "second": "s", "pixel": "", "pix": ""}.get(rest.strip(), rest.strip())
    if slash and not per:  # a value per pixel is the value of the pixel
        slash = ""
    per = text.partition("/")[2].strip() if per == rest.strip() else per
    try:
        return u.Unit(f"{name}{slash}{per}")
    except (ValueError, TypeError) as error:
        hint = "nanomaggy, uJy, nJy, MJy/sr, or counts with a zero point"
        raise InputError(path, f"BUNIT is {text!r}, a unit that is not known", hint) from error


def _of_counts(path, text: str, unit, header, primary, survey: Survey) -> float:
    from astropy import units as u

    per_second = unit in (u.ct / u.s, u.electron / u.s)
    if not per_second and unit not in (u.ct, u.electron):
        wanted = "nanomaggy, uJy, nJy, MJy/sr, or counts with a zero point"
        raise InputError(path, f"BUNIT is {text!r}, which is no flux of a pixel", f"give {wanted}")
    stated = _zero_point(path, header, primary)
    if stated is not None:
        return stated
    if survey.pixel_unit == "count":
        return _of_the_survey(path, header, primary, survey, per_second)
    hint = f"MAGZERO in the header tells the AB magnitude of one {text}"
    raise InputError(path, f"BUNIT is {text!r}, and the header has no zero point", hint)


def _zero_point(path, header, primary) -> float | None:
    """Nanomaggies of one count, from FLUXMAG0 or a keyword for the zero point; None without one."""
    counts = header.get("FLUXMAG0", primary.get("FLUXMAG0"))  # counts of magnitude 0
    if counts is not None:
        return 10 ** (0.4 * 22.5) / _positive(path, "FLUXMAG0", counts)
    for key in ZERO_POINTS:
        value = header.get(key, primary.get(key))
        if isinstance(value, int | float) and not isinstance(value, bool) and 10 < value < 40:
            return 10 ** (0.4 * (22.5 - value))
    return None


def _of_the_survey(path, header, primary, survey: Survey, per_second: bool = False) -> float:
    """Nanomaggies per unit of the survey's files."""
    if survey.pixel_unit == "count" and not survey.per_second:
        stated = _zero_point(path, header, primary)
        if stated is not None:
            return stated
    factor = 10 ** (0.4 * (22.5 - survey.zero_point))
    if survey.per_second and not per_second:
        factor /= _positive(path, "EXPTIME", header.get("EXPTIME", primary.get("EXPTIME")))
    return factor


def _positive(path, key: str, value) -> float:
    if not isinstance(value, int | float) or not 0 < value < np.inf:
        hint = f"the calibration needs a positive {key} in the header"
        raise InputError(path, f"{key} is {value!r}", hint)
    return float(value)
