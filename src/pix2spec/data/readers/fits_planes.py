"""Planes of FITS images: the picture of each band, with its mask and its noise.

Masks, weights and errors are used as what they are, and never taken for bands: the planes of CCDData (MASK,
UNCERT), DES (MSK, WGT), HSC and LSST (MASK, VARIANCE), and of others with such names.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pix2spec.core.survey import Survey
from pix2spec.data.readers.guards import fits_hdus
from pix2spec.data.readers.pixel_units import nanomaggies_per_unit
from pix2spec.errors import InputError

__all__ = ["BAND_LETTERS", "Plane", "check_size", "expected_bands", "read_planes", "sort_planes"]

MAX_PIXELS = 16_000_000  # of a plane; a larger one is no cutout, and may be a decompression bomb
MAX_PLANES = 16
BAND_LETTERS = "ugrizy"
# Matches "frame-g-001234.fits", "0266-51602-0013-g.fits", "galaxy_g.fits.gz".
BAND_IN_NAME = re.compile(
    rf"(?:^frame-|.*[-_.])([{BAND_LETTERS}])(?=\.fits?$|\.fits?\.\w+$|-\d)", re.IGNORECASE
)
# What a plane is, by words in its name (EXTNAME, IMAGETYP, IMTYPE), or in that of its file.
ROLES = {
    "mask": ("MASK", "MSK", "DQ", "FLAG", "FLAGS", "BADPIX"),
    "weight": ("WEIGHT", "WGT", "WHT", "WT", "INVVAR", "IVAR"),
    "variance": ("VARIANCE", "VAR"),
    "error": ("UNCERT", "ERR", "ERROR", "SIGMA", "RMS", "STDDEV", "STD", "NOISE"),
    "other": ("PSF", "NEXP", "EXP", "EXPMAP", "EXPOSURE", "NIMAGES", "MASKBITS", "SKY", "BACKGROUND", "MODEL",
              "RESID", "CHISQ", "DEPTH", "CON", "CTX", "SEG", "NUM"),
}  # fmt: skip
FILE_ROLES = {"mask": ("MASK",), "weight": ("WEIGHT", "WT", "INVVAR")}
CCDDATA = {"StdDevUncertainty": "error", "VarianceUncertainty": "variance", "InverseVariance": "weight"}
# Bits of LSST's masks (header MP_NAME is the number of the bit) that make a pixel useless; others mark
# objects, or pixels that were mended.
BAD_BITS = ("BAD", "SAT", "NO_DATA", "UNMASKEDNAN")


@dataclass
class Plane:
    """The image of one band.

    Parameters
    ----------
    band : str or None
        None where the file does not name it.
    flux : array (y, x), float32
        Nanomaggies per pixel; NaN in bad pixels.
    error : array (y, x) or None
        Noise of the pixels.
    wcs : WCS or None
        None without celestial coordinates.
    """

    band: str | None
    flux: np.ndarray
    error: np.ndarray | None = None
    wcs: Any = None


def read_planes(path: Path, survey: Survey) -> list[Plane]:
    """All images of a FITS file with their masks and errors. They are not cropped."""
    planes: list[Plane] = []
    with fits_hdus(path) as hdus:
        primary = hdus[0].header
        sciences = []  # (first plane, number of planes, factor) of each image
        for hdu in hdus:
            shape: tuple = hdu.shape if getattr(hdu, "is_image", False) else ()
            if len(shape) not in (2, 3) or 0 in shape:
                continue
            role = _role(hdu, path if hdu is hdus[0] else None)
            check_size(path, shape[-2], shape[-1], 1)
            count = shape[0] if len(shape) == 3 else 1
            if count > MAX_PLANES:
                raise InputError(path, f"wrong band count: it has {count} planes", expected_bands(survey))
            if role == "image":
                factor, new = _images(path, hdu, primary, survey, count)
                sciences.append((len(planes), count, factor))
                planes += new
            elif role != "other":
                _apply(role, hdu, sciences, planes)
    if not planes:
        raise InputError(path, "the FITS file holds no image", expected_bands(survey))
    return planes


def expected_bands(survey: Survey) -> str:
    """The bands that the model or dataset wants, as a hint."""
    return f"the bands {', '.join(survey.image_bands)} are expected"


def check_size(path, height: int, width: int, size: int) -> None:
    """Raise `InputError` for images that are no cutouts, or smaller than `size` pixels."""
    if height * width > MAX_PIXELS:
        what = f"it is {width} x {height} pixels: too large for a cutout"
        raise InputError(path, what, "cut the galaxy out first")
    if min(height, width) < size:
        raise InputError(
            path, f"it is {width} x {height} pixels, {size} x {size} are needed", "make a larger cutout"
        )


def _role(hdu, path: Path | None) -> str:
    """What an HDU holds: ``"image"``, a key of `ROLES`."""
    stated = CCDDATA.get(str(hdu.header.get("UTYPE", "")))
    if stated:
        return stated
    names = [hdu.name, hdu.header.get("IMAGETYP"), hdu.header.get("IMTYPE")]
    role = _role_of(names, ROLES)
    return _role_of([path.name], FILE_ROLES) if role == "image" and path is not None else role


def _role_of(names: list, roles: dict) -> str:
    words = {word for name in names for word in re.split(r"[^A-Z]+", str(name or "").upper())}
    return next((role for role, known in roles.items() if words & set(known)), "image")


def _images(path: Path, hdu, primary, survey: Survey, count: int) -> tuple[float, list[Plane]]:
    wcs = _celestial(hdu.header if "CTYPE1" in hdu.header else primary)
    area = None if wcs is None else float(np.prod(_pixel_scales(wcs)))
    factor = nanomaggies_per_unit(path, hdu.header, primary, survey, area)
    bands = _bands(hdu, path, count, survey, primary)
    data = _linear(np.asarray(hdu.data, np.float32), hdu.header) * np.float32(factor)
    data = np.where(np.isfinite(data), data, np.nan)
    return factor, [Plane(band, flux, None, wcs) for band, flux in zip(bands, _stack(data))]


def _stack(data: np.ndarray) -> np.ndarray:
    return data.reshape(-1, *data.shape[-2:])


def _celestial(header):
    from astropy.wcs import WCS

    wcs = WCS(header, naxis=2)
    return wcs if wcs.has_celestial else None


def _pixel_scales(wcs) -> np.ndarray:
    """Arcsec per pixel along x and y."""
    from astropy.wcs.utils import proj_plane_pixel_scales

    return proj_plane_pixel_scales(wcs) * 3600


def _apply(role: str, hdu, sciences: list, planes: list[Plane]) -> None:
    """Use a mask or a plane of errors for the image before it, or for the first one of its shape."""
    stack = _stack(np.asarray(hdu.data))
    shape = stack.shape[-2:]
    fits = (x for x in reversed(sciences) if planes[x[0]].flux.shape == shape and len(stack) in (1, x[1]))
    first, count, factor = next(fits, (0, 0, 1.0))
    for k in range(count):
        plane, values = planes[first + k], stack[k if len(stack) > 1 else 0]
        bad, error = _bad_and_error(role, values, hdu.header)
        plane.flux = np.where(bad, np.nan, plane.flux)
        if error is not None:
            plane.error = (error * factor).astype(np.float32)


def _bad_and_error(role: str, values: np.ndarray, header) -> tuple[np.ndarray, np.ndarray | None]:
    if role == "mask":
        values = np.nan_to_num(values).astype(np.int64)
        bits = [header.get(f"MP_{name}") for name in BAD_BITS]
        known = [1 << int(bit) for bit in bits if isinstance(bit, int) and 0 <= bit < 62]
        return (values & sum(known) if known else values) != 0, None
    values = np.asarray(values, float)
    usable = np.isfinite(values) & (values > 0)
    if role == "weight":  # no weight: no data
        return ~usable, np.where(usable, 1 / np.sqrt(np.where(usable, values, 1)), np.nan)
    error = (
        np.sqrt(np.where(usable, values, np.nan)) if role == "variance" else np.where(usable, values, np.nan)
    )
    return np.isnan(values), error


def _linear(data: np.ndarray, header) -> np.ndarray:
    """Undo the asinh scaling of Pan-STARRS1's full stack images.

    Headers with BSOFTEN and BOFFSET announce this scaling. Pan-STARRS1's cutouts are linear already
    (outerspace.stsci.edu, "PS1 Image Cutout Service").
    """
    if "BSOFTEN" not in header or "BOFFSET" not in header:
        return data
    return header["BOFFSET"] + 2 * header["BSOFTEN"] * np.sinh(data * np.float32(0.4 * np.log(10)))


def _bands(hdu, path: Path, count: int, survey: Survey, primary) -> list[str | None]:
    """Band of each plane, from the header, the extension's name or the file name; None if unknown."""
    header = hdu.header
    if count > 1:
        listed = str(header.get("BANDS", primary.get("BANDS", ""))).replace(",", "").replace(" ", "")
        return list(listed) if len(listed) == count else [None] * count
    named = BAND_IN_NAME.match(path.name)
    candidates = [header.get("FILTER"), header.get("BAND"), hdu.name]
    candidates += [primary.get("FILTER"), named and named.group(1)]
    for text in candidates:
        band = re.split(r"[-_. ]", str(text or "").strip())[-1]  # "SDSS-g", "sdss_g", "g"
        if len(band) == 1 and band.isalpha():
            return [band if band in survey.image_bands else band.lower()]
    return [None]


def sort_planes(planes: list[Plane], path: Path, survey: Survey) -> list[Plane]:
    """Planes in the order of the survey's bands, with their names. Bands that are not needed are dropped.

    Raises
    ------
    InputError
        If a band is missing or comes twice, or the bands cannot be told.
    """
    bands = survey.image_bands
    names = [plane.band for plane in planes]
    if len(planes) == 1 and len(bands) > 1:
        name = f" ({names[0]})" if names[0] else ""
        what = f"wrong band count: one band is there{name}, the model wants {', '.join(bands)}"
        raise InputError(path, what, "give one FITS file for each band, or a file with all of them")
    if None in names:
        if len(planes) != len(bands):
            what = f"wrong band count: {len(planes)} planes of unnamed bands"
            raise InputError(path, what, expected_bands(survey))
        if any(names):
            hint = "set FILTER in the header of each plane"
            raise InputError(path, "some of its planes name their band and some do not", hint)
        for plane, band in zip(planes, bands):
            plane.band = band
    named = {plane.band: plane for plane in planes}
    absent = [band for band in bands if band not in named]
    if absent:
        what = f"wrong band count: {', '.join(absent)} missing, only {', '.join(map(str, names))} found"
        raise InputError(path, what, expected_bands(survey))
    if len(named) < len(planes):
        raise InputError(path, f"a band comes twice: {', '.join(map(str, names))}")
    return [named[band] for band in bands]
