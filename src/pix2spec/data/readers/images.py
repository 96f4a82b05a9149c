"""Read image cutouts: FITS files, converted to nanomaggies, and colour composites (JPEG, PNG).

A *plane* is the image of one band. A *composite* is a colour picture such as SkyServer's: its red, green and
blue channels show three bands on a non-linear scale. A *frame* is a cutout as it came.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from pix2spec.core.survey import SDSS, Survey
from pix2spec.data.readers.fits_planes import Plane, check_size, read_planes, sort_planes
from pix2spec.data.readers.guards import reading, sniff
from pix2spec.data.readers.regrid import SCALE_TOLERANCE, aligned, pixel_scale_of, regridded, target_wcs
from pix2spec.errors import InputError

__all__ = ["Frame", "about", "crop", "image_kind", "prepare_plane", "read_cutout", "read_frame"]

MAX_COARSENESS = 1.5  # of the pixels of a frame to those of the image that is resampled from it
MAX_BAD_FRACTION = 0.05  # of non-finite pixels that are filled in
NO_WCS = "no WCS: the pixel scale was not checked"


def image_kind(path: str | Path) -> str:
    """``"composite"`` for JPEG and PNG files, ``"linear"`` for others; the first bytes decide."""
    return "composite" if sniff(path) in ("jpeg", "png") else "linear"


@dataclass
class Frame:
    """A cutout as it came, with the bands in the survey's order.

    Parameters
    ----------
    path : Path
        The file, or the first one.
    kind : str
        ``"linear"`` or ``"composite"``.
    image : array (band, y, x), float32
        Nanomaggies per pixel, NaN in bad pixels; or 0 to 255.
    bands : tuple of str
    error : array (band, y, x), float32, or None
        Noise of the pixels, where the file states it.
    wcs : WCS or None
    notes : list of str
        Repairs and doubts.
    """

    path: Path
    kind: str
    image: np.ndarray
    bands: tuple[str, ...]
    error: np.ndarray | None = None
    wcs: Any = None
    notes: list[str] = field(default_factory=list)

    @property
    def pixel_scale(self) -> float | None:
        """Arcsec per pixel; None if unknown."""
        return None if self.wcs is None else pixel_scale_of(self.wcs)

    @property
    def centre(self) -> tuple[float, float]:
        """Pixel coordinates (x, y) of the centre."""
        height, width = self.image.shape[-2:]
        return (width - 1) / 2, (height - 1) / 2

    def position(self, pixel: tuple[float, float] | None = None) -> tuple[float, float]:
        """Right ascension and declination in degrees of a pixel (x, y), by default the centre; or NaN."""
        if self.wcs is None:
            return np.nan, np.nan
        ra, dec = self.wcs.wcs_pix2world(*(pixel or self.centre), 0)
        return float(ra), float(dec)

    def cutout(self, size: int, scale: float | None, centre: tuple[float, float] | None = None) -> np.ndarray:
        """The image (band, size, size), float32, about a pixel; bad pixels are filled from their neighbours.

        Parameters
        ----------
        size : int
            Pixels per side.
        scale : float or None
            Arcsec per pixel. None, or a frame without WCS: as the frame has it.
        centre : (float, float), optional
            Pixel (x, y), by default the centre of the frame. About another one, pixels beyond the frame
            are 0.

        Raises
        ------
        InputError
            If the frame is smaller than the cutout, or more than 5 % of the pixels of a band are bad.
        """
        own = self.pixel_scale
        if (
            self.kind == "composite"
            or own is None
            or scale is None
            or abs(own / scale - 1) <= SCALE_TOLERANCE
        ):
            planes = self._cropped(size, centre)
        else:
            planes = self._resampled(size, scale, centre or self.centre)
        if self.kind == "composite":
            return planes
        info: dict = {"notes": self.notes}
        made = [prepare_plane(p, self.path, band, size, info) for band, p in zip(self.bands, planes)]
        return np.stack(made)

    def _cropped(self, size: int, centre) -> np.ndarray:
        height, width = self.image.shape[-2:]
        check_size(self.path, height, width, size)
        if centre is None:
            return crop(self.image, size)
        return about(self.image, centre, size)

    def _resampled(self, size: int, scale: float, centre: tuple[float, float]) -> np.ndarray:
        own, wcs = pixel_scale_of(self.wcs), target_wcs(self.wcs, scale, size, centre)
        if own > MAX_COARSENESS * scale:
            what = f"its pixels of {own:.3g} arcsec are too coarse for an image of {scale:.3g} arcsec"
            raise InputError(self.path, what, "give finer pixels")
        planes = [Plane(b, p, None, self.wcs) for b, p in zip(self.bands, self.image)]
        height, width = self.image.shape[-2:]
        side = size * scale / own
        if min(height, width) < side * (1 - SCALE_TOLERANCE):
            what = f"it is {width} x {height} pixels of {own:.3g} arcsec"
            raise InputError(self.path, f"{what}, {side:.0f} x {side:.0f} are needed", "make a larger cutout")
        made = np.stack([regridded(plane, wcs, (size, size)).flux for plane in planes])
        is_centred = np.allclose(centre, self.centre)
        return made if is_centred else np.nan_to_num(made)


def read_frame(paths, survey: Survey = SDSS) -> Frame:
    """Read the cutout of one galaxy as it is.

    Parameters
    ----------
    paths : path or sequence of paths
        One of these:

        - a FITS file with one HDU per band, or with an array (band, y, x). Planes with names such as MASK,
          WEIGHT and UNCERT are masks and errors of the image before them;
        - one FITS file per band. The header's FILTER or the file name (``...-g.fits``) names the band;
        - a JPEG or PNG composite, whose red, green and blue are the survey's bands in reverse order (for
          SDSS: i, r, g).
    survey : Survey
        The expected bands, and the unit of pixel values without BUNIT.

    Raises
    ------
    InputError
        If a file is damaged, its bands are not the expected ones, or its unit is no flux.
    """
    paths = [Path(p) for p in ([paths] if isinstance(paths, str | Path) else paths)]
    if not paths:
        raise InputError("image", "no file was given")
    if image_kind(paths[0]) == "composite":
        if len(paths) > 1:
            what = f"{paths[0].name} is already the picture of this galaxy"
            raise InputError(paths[1], what, "give one picture per galaxy")
        return _read_composite(paths[0], survey)
    planes = [plane for path in paths for plane in read_planes(path, survey)]
    planes = aligned(sort_planes(planes, paths[0], survey))
    shapes = {plane.flux.shape for plane in planes}
    if len(shapes) > 1:
        raise InputError(paths[0], f"its bands differ in size: {sorted(shapes)} pixels")
    errors = [plane.error for plane in planes]
    known = [e for e in errors if e is not None]
    wcs = planes[len(planes) // 2].wcs
    return Frame(
        paths[0], "linear", np.stack([plane.flux for plane in planes]), survey.image_bands,
        np.stack(known) if len(known) == len(planes) else None, wcs, [] if wcs is not None else [NO_WCS],
    )  # fmt: skip


def read_cutout(
    paths,
    survey: Survey = SDSS,
    size: int = 64,
    pixel_scale: float | None = None,
    any_pixel_scale: bool = False,
) -> tuple[np.ndarray, str, dict]:
    """Read the cutout of one galaxy as the input of networks.

    Parameters
    ----------
    paths, survey
        As for `read_frame`.
    size : int
        Pixels per side of the result. Larger cutouts are cropped about their centre.
    pixel_scale : float, optional
        The pixel scale in arcsec, instead of the survey's, to which FITS images are resampled.
    any_pixel_scale : bool
        Keep the pixels as they are.

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
        As `read_frame`, or if the frame is too small.
    """
    frame = read_frame(paths, survey)
    scale = None if any_pixel_scale else pixel_scale or survey.pixel_scale
    image = frame.cutout(size, scale)
    ra, dec = frame.position()
    return image, frame.kind, {"notes": frame.notes, "pixel_scale": frame.pixel_scale, "ra": ra, "dec": dec}


def _read_composite(path: Path, survey: Survey) -> Frame:
    if len(survey.image_bands) != 3:
        raise InputError(path, f"a colour picture cannot hold the bands {', '.join(survey.image_bands)}")
    with reading(path, "a picture"), _opened_picture(path) as picture:
        check_size(path, picture.height, picture.width, 1)
        if picture.mode == "RGBA" and picture.getchannel("A").getextrema()[0] < 255:
            raise InputError(path, "the picture is partly transparent", "save it without transparency")
        if picture.mode not in ("RGB", "RGBA"):
            raise InputError(
                path,
                f"wrong band count: a picture of mode {picture.mode} (greyscale?), but "
                f"{', '.join(survey.image_bands)} are expected as blue, green, red",
            )
        rgb = np.asarray(picture.convert("RGB"), np.float32)
    image = np.ascontiguousarray(np.moveaxis(rgb, -1, 0)[::-1])  # red, green, blue are i, r, g
    if image.max() == image.min():
        raise InputError(path, "the picture is empty: all its pixels have the same value")
    notes = []
    if (image[0] == image[1]).all() and (image[1] == image[2]).all():
        notes.append("its three channels are the same: it may be a greyscale picture saved as colour")
    return Frame(path, "composite", image, survey.image_bands, notes=notes)


def _opened_picture(path: Path):
    from PIL import Image

    try:
        return Image.open(path, formats=("JPEG", "PNG"))
    except Image.DecompressionBombError as error:
        what = f"the picture is too large for a cutout: {error}"
        raise InputError(path, what, "cut the galaxy out first") from error


def about(image: np.ndarray, centre: tuple[float, float], size: int) -> np.ndarray:
    """The `size` x `size` pixels of images (..., y, x) about the pixel (x, y) `centre`; 0 beyond them."""
    made = np.zeros((*image.shape[:-2], size, size), image.dtype)
    spans = []
    for c, length in zip(centre[::-1], image.shape[-2:]):
        first = round(c - (size - 1) / 2 + 1e-6)
        low, high = max(first, 0), min(first + size, length)
        spans.append((slice(low, high), slice(low - first, high - first)))
    (from_y, to_y), (from_x, to_x) = spans
    made[..., to_y, to_x] = image[..., from_y, from_x]
    return made


def crop(image: np.ndarray, size: int) -> np.ndarray:
    """The central `size` x `size` pixels of images (..., y, x)."""
    y, x = ((n - size) // 2 for n in image.shape[-2:])
    return image[..., y : y + size, x : x + size]


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
    check_size(path, height, width, size)
    plane = crop(plane, size).astype(np.float32)
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
