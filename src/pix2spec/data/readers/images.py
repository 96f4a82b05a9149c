"""Image cutouts: linear FITS, converted to nanomaggies, and SkyServer's colour composites (JPEG, PNG)."""

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from pix2spec.core.survey import SDSS, Survey
from pix2spec.data.readers.guards import fits_hdus, load_arrays, reading, sniff, spec_id
from pix2spec.errors import InputError

__all__ = ["BAND_LETTERS", "ImageBundle", "image_kind", "prepare_plane", "read_cutout", "read_image_bundle"]

MAX_PIXELS = 16_000_000  # a plane: more is no cutout, and may be a decompression bomb
MAX_BAD = 0.05  # fraction of non-finite pixels that is filled in
SCALE_TOLERANCE = 0.02
NANOMAGGY = ("nanomagg", "nmgy", "nanomgy")
UNITS = {"nanomaggy": (), "nJy": ("njy", "nanojansky"), "count": ("count", "adu", "dn", "ct")}
BAND_LETTERS = "ugrizy"
NUMBERS = dict.fromkeys(("plate", "mjd", "fiber"), "iu") | dict.fromkeys(("ra", "dec"), "iuf")  # of bundles
# "frame-g-001234.fits", "0266-51602-0013-g.fits", "galaxy_g.fits.gz"
BAND_IN_NAME = re.compile(
    rf"(?:^frame-|.*[-_.])([{BAND_LETTERS}])(?=\.fits?$|\.fits?\.\w+$|-\d)", re.IGNORECASE
)


def image_kind(path: str | Path) -> str:
    """``"composite"`` for a picture (JPEG, PNG), ``"linear"`` for anything else, by the first bytes."""
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
        One FITS file with a 3-D array or an HDU a band; or one FITS file a band (band from the header's
        FILTER or the name: ``...-g.fits``); or one JPEG or PNG composite (red = i, green = r, blue = g).
    survey : Survey
        Bands, pixel scale and unit of the pixel values that are expected.
    size : int
        Pixels a side; larger cutouts are cropped about their centre.
    pixel_scale : float, optional
        Arcsec per pixel to expect instead of the survey's.
    any_pixel_scale : bool
        Accept whatever pixel scale.

    Returns
    -------
    image : array (band, size, size), float32
        Bands in the survey's order; nanomaggies, or 0 to 255 for a composite.
    kind : str
        ``"linear"`` or ``"composite"``.
    info : dict
        ``notes`` (list of str), ``pixel_scale`` (arcsec or None), ``ra`` and ``dec`` of the centre
        (degrees, or NaN without a WCS).

    Raises
    ------
    InputError
        Naming the file, what is wrong and what to do.
    """
    paths = [Path(p) for p in ([paths] if isinstance(paths, str | Path) else paths)]
    if not paths:
        raise InputError("image", "no file was given")
    info: dict = {"notes": [], "pixel_scale": None, "ra": np.nan, "dec": np.nan}
    if image_kind(paths[0]) == "composite":
        if len(paths) > 1:
            raise InputError(paths[1], f"it competes with {paths[0].name}", "give one picture a galaxy")
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
    image = _crop(np.moveaxis(rgb, -1, 0)[::-1], size)  # red, green, blue to g, r, i
    if image.max() == image.min():
        raise InputError(path, "the picture is empty: all its pixels are alike")
    if (image[0] == image[1]).all() and (image[1] == image[2]).all():
        info["notes"].append("its three channels are the same: a greyscale picture saved as colour?")
    return np.ascontiguousarray(image)


def _opened_picture(path: Path):
    from PIL import Image

    try:
        return Image.open(path, formats=("JPEG", "PNG"))
    except Image.DecompressionBombError as error:
        raise InputError(path, f"too large for a cutout: {error}", "cut it out first") from error


def _check_size(path, height: int, width: int, size: int) -> None:
    if height * width > MAX_PIXELS:
        raise InputError(path, f"it is {width} x {height} pixels: too large for a cutout", "cut it out first")
    if min(height, width) < size:
        raise InputError(
            path, f"it is {width} x {height} pixels, {size} x {size} are needed", "make a larger cutout"
        )


def _crop(image: np.ndarray, size: int) -> np.ndarray:
    y, x = ((n - size) // 2 for n in image.shape[-2:])
    return image[..., y : y + size, x : x + size]


def _read_planes(path: Path, survey: Survey, expected_scale: float | None, info: dict) -> list:
    """(band or None, plane [y, x]) of every image in a FITS file, uncropped."""
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
    """Nanomaggies of one unit of the pixel values, from BUNIT, the header's zero point or the survey's."""
    unit = str(header.get("BUNIT", "")).strip()
    if any(name in unit.lower() for name in NANOMAGGY):
        return 1.0
    if unit and _singular(unit) not in UNITS[survey.pixel_unit]:
        wanted = " or ".join(dict.fromkeys([survey.pixel_unit, "nanomaggy"]))
        raise InputError(path, f"BUNIT is {header['BUNIT']!r}, not {wanted}", "calibrate it to nanomaggies")
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
    """The name of a unit in lower case, "counts" as "count"."""
    return unit.lower().removesuffix("s")


def _positive(path, key: str, value) -> float:
    if not isinstance(value, int | float) or not 0 < value < np.inf:
        raise InputError(path, f"{key} is {value!r}", "its zero point needs a positive one in the header")
    return float(value)


def _linear(data: np.ndarray, header) -> np.ndarray:
    """Undo the asinh scaling of Pan-STARRS1's full stack images, which BSOFTEN and BOFFSET announce.

    Cutouts of that archive are linear already (outerspace.stsci.edu, "PS1 Image Cutout Service").
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
            "resample it, or accept it with `any_pixel_scale=True`",
        )


def _bands(hdu, path: Path, count: int, survey: Survey, primary) -> list[str | None]:
    """Band of each plane, from the header, the extension's name or the file's; None where unknown."""
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
    """(band, plane) in the survey's order; more bands than needed are fine when they are named."""
    bands = survey.image_bands
    names = [band for band, _ in planes]
    if None in names:
        if len(planes) != len(bands):
            raise InputError(
                path, f"wrong band count: {len(planes)} planes of unnamed bands", _expected(survey)
            )
        if any(names):
            raise InputError(path, "some of its planes name their band and some do not", "set FILTER")
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
        raise InputError(path, f"its bands differ in size: {sorted(shapes)}")
    return [(band, named[band]) for band in bands]


def prepare_plane(plane: np.ndarray, path: str | Path, band: str, size: int, info: dict) -> np.ndarray:
    """Crop a plane and fill its few bad pixels with the median of their neighbours."""
    height, width = plane.shape
    _check_size(path, height, width, size)
    plane = _crop(plane, size).astype(np.float32)
    bad = ~np.isfinite(plane)
    if bad.mean() > MAX_BAD:
        raise InputError(path, f"{bad.mean():.0%} of the {band} pixels are NaN or infinite", "leave it out")
    for y, x in np.argwhere(bad):
        around = plane[max(y - 2, 0) : y + 3, max(x - 2, 0) : x + 3]
        around = around[np.isfinite(around)]
        plane[y, x] = np.median(around) if around.size else np.median(plane[~bad])
    if bad.any():
        info["notes"].append(f"{bad.sum()} bad pixels of band {band} were filled from their neighbours")
    if not plane.any():
        raise InputError(path, f"the {band} image is zero everywhere", "leave it out")
    return plane


class ImageBundle:
    """Colour pictures of one npz file: ``image64`` uint8 [N, 3, y, x] in the order red, green, blue.

    Identified by ``plate``, ``mjd``, ``fiber``, or by ``object_id`` or ``dr7objid``; ``ra``, ``dec`` and
    ``kind`` are optional. Pictures whose `kind` says that red, green, blue are not the survey's bands
    (``legacy_grz``) are refused one by one, unless `any_bands`.
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
        """``object_id``, ``photo_id``, ``ra``, ``dec`` of picture `i`."""
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
        """What the bundle itself says against picture `i`."""
        exact = self.arrays.get("scale_is_exact")
        return [] if exact is None or exact[i] else ["its pixel scale is known only roughly"]

    def image(self, i: int) -> tuple[np.ndarray, str]:
        """Picture `i` as float32 (band, y, x) in the survey's order, and its kind."""
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
            raise InputError(label, "the picture is empty: all its pixels are alike")
        return image, "composite"


def read_image_bundle(
    path: str | Path, survey: Survey = SDSS, any_bands: bool = False, failures: list | None = None
) -> Iterator[tuple[dict, np.ndarray, str]]:
    """(keys, image, kind) of each picture of an npz bundle (see `ImageBundle`).

    Pictures that cannot be used are skipped, and ``(source, reason)`` is appended to `failures`.
    """
    bundle = ImageBundle(path, survey, any_bands=any_bands)
    for i in range(len(bundle)):
        try:
            yield bundle.keys(i), *bundle.image(i)
        except InputError as error:
            if failures is not None:
                failures.append((error.where, str(error)))
