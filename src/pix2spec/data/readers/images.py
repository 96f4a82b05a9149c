"""Read image cutouts: FITS files, converted to nanomaggies, and colour composites (JPEG, PNG).

A *plane* is the image of one band. A *composite* is a colour picture such as SkyServer's: its red, green and
blue channels show three bands on a non-linear scale.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from pix2spec.core.survey import SDSS, Survey
from pix2spec.data.readers.guards import fits_hdus, load_arrays, reading, sniff, spec_id
from pix2spec.errors import InputError

__all__ = ["BAND_LETTERS", "ImageBundle", "image_kind", "prepare_plane", "read_cutout", "read_image_bundle"]

MAX_PIXELS = 16_000_000  # of a plane; a larger one is no cutout, and may be a decompression bomb
MAX_BAD_FRACTION = 0.05  # of non-finite pixels that are filled in
SCALE_TOLERANCE = 0.02  # relative
NANOMAGGY = ("nanomagg", "nmgy", "nanomgy")
UNITS = {"nanomaggy": (), "nJy": ("njy", "nanojansky"), "count": ("count", "adu", "dn", "ct")}
BAND_LETTERS = "ugrizy"
# Kinds of dtype that the arrays of a bundle may have.
NUMBERS = dict.fromkeys(("plate", "mjd", "fiber"), "iu") | dict.fromkeys(("ra", "dec"), "iuf")
# Matches "frame-g-001234.fits", "0266-51602-0013-g.fits", "galaxy_g.fits.gz".
BAND_IN_NAME = re.compile(
    rf"(?:^frame-|.*[-_.])([{BAND_LETTERS}])(?=\.fits?$|\.fits?\.\w+$|-\d)", re.IGNORECASE
)


def image_kind(path: str | Path) -> str:
    """``"composite"`` for JPEG and PNG files, ``"linear"`` for others; the first bytes decide."""
    return "composite" if sniff(path) in ("jpeg", "png") else "linear"


def read_cutout(
    paths,
    survey: Survey = SDSS,
    size: int = 64,
    pixel_scale: float | None = None,
    any_pixel_scale: bool = False,
) -> tuple[np.ndarray, str, dict]:
    """Read the cutout of one galaxy.

    Parameters
    ----------
    paths : path or sequence of paths
        One of these:

        - a FITS file with one HDU per band, or with an array (band, y, x);
        - one FITS file per band. The header's FILTER or the file name (``...-g.fits``) names the band;
        - a JPEG or PNG composite, whose red, green and blue are the survey's bands in reverse order (for
          SDSS: i, r, g).
    survey : Survey
        The expected bands, pixel scale and unit of the pixel values.
    size : int
        Pixels per side of the result. Larger cutouts are cropped about their centre.
    pixel_scale : float, optional
        The expected pixel scale in arcsec, instead of the survey's.
    any_pixel_scale : bool
        Accept any pixel scale.

    Returns
    -------
    image : array (band, size, size), float32
        Bands in the survey's order. The unit is nanomaggies; a composite has values from 0 to 255.
    kind : str
        ``"linear"`` or ``"composite"``.
    info : dict
        ``notes``: list of str, repairs and doubts. ``pixel_scale``: arcsec, or None if unknown. ``ra`` and
        ``dec``: position of the centre in degrees, NaN without a WCS.

    Raises
    ------
    InputError
        If a file is damaged, or its bands, size, unit or pixel scale are not the expected ones.
    """
    paths = [Path(p) for p in ([paths] if isinstance(paths, str | Path) else paths)]
    if not paths:
        raise InputError("image", "no file was given")
    info: dict = {"notes": [], "pixel_scale": None, "ra": np.nan, "dec": np.nan}
    if image_kind(paths[0]) == "composite":
        if len(paths) > 1:
            what = f"{paths[0].name} is already the picture of this galaxy"
            raise InputError(paths[1], what, "give one picture per galaxy")
        return _read_composite(paths[0], survey, size, info), "composite", info
    expected = None if any_pixel_scale else pixel_scale or survey.pixel_scale
    planes = [plane for path in paths for plane in _read_planes(path, survey, expected, info)]
    image = np.stack(
        [prepare_plane(p, paths[0], band, size, info) for band, p in _sort(planes, paths[0], survey)]
    )
    return image, "linear", info


def _read_composite(path: Path, survey: Survey, size: int, info: dict) -> np.ndarray:
    if len(survey.image_bands) != 3:
        raise InputError(path, f"a colour picture cannot hold the bands {', '.join(survey.image_bands)}")
    with reading(path, "a picture"), _opened_picture(path) as picture:
        _check_size(path, picture.height, picture.width, size)
        if picture.mode == "RGBA" and picture.getchannel("A").getextrema()[0] < 255:
            raise InputError(path, "the picture is partly transparent", "save it without transparency")
        if picture.mode not in ("RGB", "RGBA"):
            raise InputError(
                path,
                f"wrong band count: a picture of mode {picture.mode} (greyscale?), but "
                f"{', '.join(survey.image_bands)} are expected as blue, green, red",
            )
        rgb = np.asarray(picture.convert("RGB"), np.float32)
    image = _crop(np.moveaxis(rgb, -1, 0)[::-1], size)  # red, green, blue are i, r, g
    if image.max() == image.min():
        raise InputError(path, "the picture is empty: all its pixels have the same value")
    if (image[0] == image[1]).all() and (image[1] == image[2]).all():
        info["notes"].append("its three channels are the same: it may be a greyscale picture saved as colour")
    return np.ascontiguousarray(image)


def _opened_picture(path: Path):
    from PIL import Image

    try:
        return Image.open(path, formats=("JPEG", "PNG"))
    except Image.DecompressionBombError as error:
        what = f"the picture is too large for a cutout: {error}"
        raise InputError(path, what, "cut the galaxy out first") from error


def _check_size(path, height: int, width: int, size: int) -> None:
    if height * width > MAX_PIXELS:
        what = f"it is {width} x {height} pixels: too large for a cutout"
        raise InputError(path, what, "cut the galaxy out first")
    if min(height, width) < size:
        raise InputError(
            path, f"it is {width} x {height} pixels, {size} x {size} are needed", "make a larger cutout"
        )


def _crop(image: np.ndarray, size: int) -> np.ndarray:
    y, x = ((n - size) // 2 for n in image.shape[-2:])
    return image[..., y : y + size, x : x + size]


def _read_planes(path: Path, survey: Survey, expected_scale: float | None, info: dict) -> list:
    """List of (band or None, plane (y, x)) of all images in a FITS file. Planes are not cropped."""
    planes: list = []
    with fits_hdus(path) as hdus:
        for hdu in hdus:
            shape: tuple = hdu.shape if getattr(hdu, "is_image", False) else ()
            if len(shape) not in (2, 3) or 0 in shape:
                continue
            _check_size(path, shape[-2], shape[-1], 1)
            count = shape[0] if len(shape) == 3 else 1
            if count > 16:
                raise InputError(path, f"wrong band count: it has {count} planes", _expected(survey))
            factor = _nanomaggies(path, hdu.header, hdus[0].header, survey)
            _check_scale(path, hdu, hdus[0].header, expected_scale, info)
            bands = _bands(hdu, path, count, survey, hdus[0].header)
            data = _linear(np.asarray(hdu.data, np.float32), hdu.header) * np.float32(factor)
            planes += zip(bands, data.reshape(count, *shape[-2:]))
    if not planes:
        raise InputError(path, "the FITS file holds no image", _expected(survey))
    return planes


def _expected(survey: Survey) -> str:
    return f"the bands {', '.join(survey.image_bands)} are expected"


def _nanomaggies(path, header, primary, survey: Survey) -> float:
    """Nanomaggies per unit of the pixel values, from BUNIT and the zero point of the header or survey."""
    unit = str(header.get("BUNIT", "")).strip()
    if any(name in unit.lower() for name in NANOMAGGY):
        return 1.0
    if unit and _singular(unit) not in UNITS[survey.pixel_unit]:
        wanted = " or ".join(dict.fromkeys([survey.pixel_unit, "nanomaggy"]))
        what = f"BUNIT is {header['BUNIT']!r}, not {wanted}"
        raise InputError(path, what, "calibrate the image to nanomaggies")
    zero_point = survey.zero_point
    if survey.pixel_unit == "count":
        at_zero = header.get("FLUXMAG0", primary.get("FLUXMAG0"))  # counts of magnitude 0
        if at_zero is not None:
            return 10 ** (0.4 * 22.5) / _positive(path, "FLUXMAG0", at_zero)
    factor = 10 ** (0.4 * (22.5 - zero_point))
    if survey.per_second:
        factor /= _positive(path, "EXPTIME", header.get("EXPTIME", primary.get("EXPTIME")))
    return factor


def _singular(unit: str) -> str:
    """The name of a unit in lower case and in the singular: "Counts" becomes "count"."""
    return unit.lower().removesuffix("s")


def _positive(path, key: str, value) -> float:
    if not isinstance(value, int | float) or not 0 < value < np.inf:
        hint = f"the calibration needs a positive {key} in the header"
        raise InputError(path, f"{key} is {value!r}", hint)
    return float(value)


def _linear(data: np.ndarray, header) -> np.ndarray:
    """Undo the asinh scaling of Pan-STARRS1's full stack images.

    Headers with BSOFTEN and BOFFSET announce this scaling. Pan-STARRS1's cutouts are linear already
    (outerspace.stsci.edu, "PS1 Image Cutout Service").
    """
    if "BSOFTEN" not in header or "BOFFSET" not in header:
        return data
    return header["BOFFSET"] + 2 * header["BSOFTEN"] * np.sinh(data * np.float32(0.4 * np.log(10)))


def _check_scale(path, hdu, primary, expected: float | None, info: dict) -> None:
    from astropy.wcs import WCS
    from astropy.wcs.utils import proj_plane_pixel_scales

    header = hdu.header if "CTYPE1" in hdu.header else primary
    wcs = WCS(header, naxis=2)
    if not wcs.has_celestial:
        if "no WCS: the pixel scale was not checked" not in info["notes"]:
            info["notes"].append("no WCS: the pixel scale was not checked")
        return
    scales = proj_plane_pixel_scales(wcs) * 3600
    height, width = hdu.shape[-2:]
    ra, dec = wcs.wcs_pix2world((width - 1) / 2, (height - 1) / 2, 0)
    info.update(pixel_scale=float(scales.mean()), ra=float(ra), dec=float(dec))
    if expected and np.abs(scales / expected - 1).max() > SCALE_TOLERANCE:
        raise InputError(
            path,
            f"its pixel scale is {scales.mean():.4g} arcsec, {expected:.4g} is expected",
            "resample the image, or accept it with `any_pixel_scale=True`",
        )


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


def _sort(planes: list, path: Path, survey: Survey) -> list:
    """List of (band, plane) in the survey's order. Named bands that are not needed are dropped."""
    bands = survey.image_bands
    names = [band for band, _ in planes]
    if None in names:
        if len(planes) != len(bands):
            raise InputError(
                path, f"wrong band count: {len(planes)} planes of unnamed bands", _expected(survey)
            )
        if any(names):
            hint = "set FILTER in the header of each plane"
            raise InputError(path, "some of its planes name their band and some do not", hint)
        named = dict(zip(bands, (plane for _, plane in planes)))
    else:
        named = dict(planes)
        absent = [band for band in bands if band not in named]
        if absent:
            what = f"wrong band count: {', '.join(absent)} missing, only {', '.join(names)} found"
            raise InputError(path, what, _expected(survey))
        if len(named) < len(planes):
            raise InputError(path, f"a band comes twice: {', '.join(names)}")
    shapes = {named[band].shape for band in bands}
    if len(shapes) > 1:
        raise InputError(path, f"its bands differ in size: {sorted(shapes)} pixels")
    return [(band, named[band]) for band in bands]


def prepare_plane(plane: np.ndarray, path: str | Path, band: str, size: int, info: dict) -> np.ndarray:
    """Crop a plane and replace its bad pixels by the median of the good ones within 2 pixels.

    Parameters
    ----------
    plane : array (y, x)
        Image of one band. NaN and infinite pixels are bad.
    path : str or Path
        Name of the file for messages.
    band : str
        Name of the band for messages.
    size : int
        Pixels per side of the result.
    info : dict
        Receives a line in its list ``notes`` if pixels were replaced.

    Returns
    -------
    array (size, size), float32

    Raises
    ------
    InputError
        If the plane is too small, has more than 5 % of bad pixels, or is zero everywhere.
    """
    height, width = plane.shape
    _check_size(path, height, width, size)
    plane = _crop(plane, size).astype(np.float32)
    bad = ~np.isfinite(plane)
    if bad.mean() > MAX_BAD_FRACTION:
        what = f"{bad.mean():.0%} of the {band} pixels are NaN or infinite"
        raise InputError(path, what, "leave this image out")
    for y, x in np.argwhere(bad):
        around = plane[max(y - 2, 0) : y + 3, max(x - 2, 0) : x + 3]
        around = around[np.isfinite(around)]
        plane[y, x] = np.median(around) if around.size else np.median(plane[~bad])
    if bad.any():
        info["notes"].append(f"{bad.sum()} bad pixels of band {band} were filled from their neighbours")
    if not plane.any():
        raise InputError(path, f"the {band} image is zero everywhere", "leave this image out")
    return plane


class ImageBundle:
    """Colour pictures in one npz file.

    The array ``image64`` (N, 3, y, x), uint8, holds the pictures with channels red, green, blue. The arrays
    ``plate``, ``mjd`` and ``fiber``, or ``object_id``, or ``dr7objid``, identify them. The arrays ``ra``,
    ``dec`` (degrees), ``kind`` and ``scale_is_exact`` are optional. `kind` names the channels' bands at its
    end, for example ``legacy_grz``.

    Parameters
    ----------
    path : str or Path
        The npz file.
    survey : Survey
        The expected bands.
    size : int
        Pixels per side of the images. Larger pictures are cropped about their centre.
    any_bands : bool
        Accept pictures of other bands than the survey's. Otherwise `image` refuses them one by one.

    Raises
    ------
    InputError
        If the file lacks an array, or an array has the wrong shape or type.
    """

    OPTIONAL = ("plate", "mjd", "fiber", "object_id", "dr7objid", "ra", "dec", "kind", "scale_is_exact")

    def __init__(self, path: str | Path, survey: Survey = SDSS, size: int = 64, any_bands: bool = False):
        self.path, self.survey, self.size, self.any_bands = path, survey, size, any_bands
        self.arrays = load_arrays(path, ("image64",), self.OPTIONAL)
        images = self.arrays["image64"]
        if images.ndim != 4 or images.shape[1] != 3 or images.dtype != np.uint8:
            raise InputError(path, f"image64 is {images.dtype} {images.shape}, not uint8 (N, 3, y, x)")
        for name, array in self.arrays.items():
            if array.shape[:1] != images.shape[:1]:
                raise InputError(path, f"its array {name!r} has {array.size} values, not {len(images)}")
            if name in NUMBERS and array.dtype.kind not in NUMBERS[name]:
                wanted = "integers" if NUMBERS[name] == "iu" else "numbers"
                raise InputError(path, f"its array {name!r} is {array.dtype}, not {wanted}")
        if not {"plate", "object_id", "dr7objid"} & set(self.arrays):
            raise InputError(path, "it has neither plate, mjd, fiber nor object_id", "add one of them")

    def __len__(self) -> int:
        return len(self.arrays["image64"])

    def label(self, i: int) -> str:
        """Name of picture `i` for messages."""
        return f"{self.path}[{i}]"

    def keys(self, i: int) -> dict:
        """Dictionary with ``object_id``, ``photo_id``, ``ra`` and ``dec`` (degrees or NaN) of picture `i`."""
        a = self.arrays
        photo = next((str(a[name][i]) for name in ("object_id", "dr7objid") if name in a), "")
        spectrum = "plate" in a and "mjd" in a and "fiber" in a
        return {
            "object_id": spec_id(a["plate"][i], a["mjd"][i], a["fiber"][i]) if spectrum else photo,
            "photo_id": photo,
            "ra": float(a["ra"][i]) if "ra" in a else np.nan,
            "dec": float(a["dec"][i]) if "dec" in a else np.nan,
        }

    def notes(self, i: int) -> list[str]:
        """Doubts about picture `i` that the bundle itself records."""
        exact = self.arrays.get("scale_is_exact")
        return [] if exact is None or exact[i] else ["its pixel scale is known only roughly"]

    def image(self, i: int) -> tuple[np.ndarray, str]:
        """Picture `i` as an array (band, y, x), float32, with bands in the survey's order; and its kind.

        Raises
        ------
        InputError
            If the picture shows other bands, is too small, or is empty.
        """
        label, a = self.label(i), self.arrays
        bands = str(a["kind"][i]).rpartition("_")[2] if "kind" in a else ""
        if bands and set(bands) != set(self.survey.image_bands) and not self.any_bands:
            raise InputError(
                label,
                f"its picture shows the bands {', '.join(bands)}",
                _expected(self.survey) + "; accept it with `any_bands=True`",
            )
        picture = a["image64"][i]
        _check_size(label, picture.shape[-2], picture.shape[-1], self.size)
        image = _crop(picture[::-1], self.size).astype(np.float32)
        if image.max() == image.min():
            raise InputError(label, "the picture is empty: all its pixels have the same value")
        return image, "composite"


def read_image_bundle(
    path: str | Path, survey: Survey = SDSS, any_bands: bool = False, failures: list | None = None
) -> Iterator[tuple[dict, np.ndarray, str]]:
    """Read all pictures of an npz bundle.

    Parameters
    ----------
    path, survey, any_bands
        As in `ImageBundle`.
    failures : list, optional
        Receives ``(source, reason)`` of each picture that cannot be used.

    Yields
    ------
    keys : dict
        As `ImageBundle.keys` gives it.
    image : array (band, y, x), float32
    kind : str
        Always ``"composite"``.
    """
    bundle = ImageBundle(path, survey, any_bands=any_bands)
    for i in range(len(bundle)):
        try:
            yield bundle.keys(i), *bundle.image(i)
        except InputError as error:
            if failures is not None:
                failures.append((error.where, str(error)))
