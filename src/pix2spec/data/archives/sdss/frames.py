"""Cutouts from SDSS's corrected frames: north up, east left, in nanomaggies per pixel.

A frame is 2,048 x 1,489 pixels of one band, bzip2-compressed, already calibrated and sky-subtracted
(data.sdss.org/datamodel, BOSS_PHOTOOBJ/frames/RERUN/RUN/CAMCOL/frame.html).
"""

import bz2
import io
from pathlib import Path

import numpy as np

from pix2spec.core.survey import Survey
from pix2spec.data.readers.guards import reading
from pix2spec.data.readers.images import prepare_plane
from pix2spec.errors import InputError

__all__ = ["Frame", "cut_field", "open_frame"]

MAX_BYTES = 64_000_000  # of an unpacked frame; a real one has 12.4 MB
MAX_SIDE = 4096  # pixels
MARGIN = 6  # pixels beyond a cutout that the interpolation uses


class Frame:
    """One frame: its pixels and their positions on the sky.

    Parameters
    ----------
    data : array (y, x), float32
        Nanomaggies per pixel.
    wcs : astropy.wcs.WCS
        Positions of the pixels.
    """

    def __init__(self, data: np.ndarray, wcs):
        self.data, self.wcs = data, wcs

    def cutout(self, ra: float, dec: float, size: int, pixel_scale: float) -> np.ndarray:
        """Cut out the sky around a position, with north up.

        The frame is interpolated (bicubic). Values are multiplied by the ratio of the pixel areas, so that
        flux is conserved.

        Parameters
        ----------
        ra, dec : float
            Centre in degrees.
        size : int
            Pixels per side.
        pixel_scale : float
            Arcsec per pixel.

        Returns
        -------
        array (size, size), float32
            Nanomaggies per pixel; NaN beyond the edge of the frame. Row numbers grow to the north, column
            numbers to the west.
        """
        from astropy.wcs import WCS
        from astropy.wcs.utils import proj_plane_pixel_area
        from reproject import reproject_interp

        target = WCS(naxis=2)
        target.wcs.ctype = "RA---TAN", "DEC--TAN"
        target.wcs.crval = ra, dec
        target.wcs.crpix = (size + 1) / 2, (size + 1) / 2
        target.wcs.cdelt = -pixel_scale / 3600, pixel_scale / 3600
        area = proj_plane_pixel_area(target) / proj_plane_pixel_area(self.wcs)
        x, y = (float(v) for v in self.wcs.wcs_world2pix(ra, dec, 0))
        reach = size * np.sqrt(area / 2) + MARGIN  # half the diagonal, in the frame's pixels
        window = tuple(
            slice(max(int(p - reach), 0), min(int(p + reach) + 2, n)) if np.isfinite(p) else slice(0)
            for p, n in zip((y, x), self.data.shape)
        )
        if any(part.stop - (part.start or 0) < 4 for part in window):
            return np.full((size, size), np.nan, np.float32)
        image = reproject_interp(
            (self.data[window], self.wcs.slice(window)),
            target,
            shape_out=(size, size),
            order="bicubic",
            return_footprint=False,
        )
        return (image * area).astype(np.float32)


def open_frame(path: str | Path, band: str) -> Frame:
    """Read a frame.

    Parameters
    ----------
    path : path
        A file ``frame-BAND-RUN-CAMCOL-FIELD.fits.bz2``.
    band : str
        The expected band.

    Returns
    -------
    Frame

    Raises
    ------
    InputError
        If the frame is damaged, too large, of another band or unit, or has no WCS.
    """
    from astropy.io import fits
    from astropy.wcs import WCS

    with reading(path, "a bzip2-compressed frame"):
        with bz2.open(path) as stream:
            unpacked = stream.read(MAX_BYTES + 1)
        if len(unpacked) > MAX_BYTES:
            raise InputError(path, f"it unpacks to more than {MAX_BYTES} bytes: not a frame")
        with fits.open(io.BytesIO(unpacked), memmap=False) as hdus:
            header = hdus[0].header
            _check(path, header, band)
            data = np.ascontiguousarray(hdus[0].data, np.float32)
            wcs = WCS(header, naxis=2)
    if not wcs.has_celestial:
        raise InputError(path, "its header does not give its position on the sky (WCS)")
    return Frame(data, wcs)


def _check(path, header, band: str) -> None:
    """Raise `InputError` unless the header is that of a frame of this band."""
    shape = [header.get(f"NAXIS{i + 1}") for i in range(header["NAXIS"])]
    if len(shape) != 2 or not all(0 < n <= MAX_SIDE for n in shape):
        raise InputError(path, f"its image has the shape {shape}: not a frame")
    if str(header.get("FILTER", band)).strip() != band:
        raise InputError(path, f"it is of the band {header['FILTER']!r}, not {band!r}")
    if "nanomagg" not in str(header.get("BUNIT", "nanomaggy")).lower():
        raise InputError(path, f"BUNIT is {header['BUNIT']!r}, not nanomaggy")


def cut_field(
    frames: dict[str, Path], positions: list[tuple[float, float]], survey: Survey, size: int
) -> list[np.ndarray | InputError]:
    """Cut out all objects of one field. Each frame is opened once.

    Parameters
    ----------
    frames : dict of str to Path
        The file of each band of `survey.image_bands`.
    positions : list of (ra, dec)
        Degrees.
    survey : Survey
        Bands, in the order of the cutouts' planes, and pixel scale.
    size : int
        Pixels per side.

    Returns
    -------
    list of (array (band, size, size), float32) or InputError
        For each position a cutout in nanomaggies per pixel, or an error if too much of it lies beyond the
        edge of the frame. A few missing pixels are filled from their neighbours, as in imported cutouts.

    Raises
    ------
    InputError
        If a frame cannot be read.
    """
    planes: list[list] = [[] for _ in positions]
    for band in survey.image_bands:
        frame = open_frame(frames[band], band)
        for planes_of_one, (ra, dec) in zip(planes, positions):
            planes_of_one.append(frame.cutout(ra, dec, size, survey.pixel_scale))
    return [_image(planes_of_one, frames, survey, size) for planes_of_one in planes]


def _image(planes: list[np.ndarray], frames: dict, survey: Survey, size: int) -> np.ndarray | InputError:
    try:
        bands = zip(survey.image_bands, planes)
        return np.stack([_plane(plane, frames[band], band, size) for band, plane in bands])
    except InputError as error:
        return error


def _plane(plane: np.ndarray, path: Path, band: str, size: int) -> np.ndarray:
    outside = np.isnan(plane).mean()
    try:
        return prepare_plane(plane, path, band, size, {"notes": []})
    except InputError as error:
        if outside == 0:
            raise
        what = f"{outside:.0%} of the cutout lies beyond the edge of the {band} frame"
        raise InputError(Path(path).name, what) from error
