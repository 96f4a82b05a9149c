"""Resample the planes of a cutout with reproject; flux is conserved."""

import numpy as np

from pix2spec.data.readers.fits_planes import Plane

__all__ = ["SCALE_TOLERANCE", "aligned", "pixel_scale_of", "regridded", "target_wcs"]

SCALE_TOLERANCE = 0.02  # relative difference of scales that needs no resampling
SHIFT_TOLERANCE = 0.1  # pixels between two bands at the corners of a frame
SQUARE_TOLERANCE = 0.01  # relative difference of the two sides of a pixel
MIN_COVERED = 0.5  # of a new pixel that the frame must hold
BAD_SHARE = 0.01  # of a new pixel that bad pixels may hold


def pixel_scale_of(wcs) -> float:
    """Arcsec per pixel, the geometric mean of both sides."""
    from astropy.wcs.utils import proj_plane_pixel_area

    return float(np.sqrt(proj_plane_pixel_area(wcs)) * 3600)


def aligned(planes: list[Plane]) -> list[Plane]:
    """Planes on one grid of square pixels, that of the middle band; those that are on it already stay."""
    reference = planes[len(planes) // 2]
    if reference.wcs is None:
        return planes
    if not _is_square(reference.wcs):
        reference = _squared(reference)
    shape, wcs = reference.flux.shape, reference.wcs
    return [plane if _same_grid(plane, reference) else regridded(plane, wcs, shape) for plane in planes]


def _is_square(wcs) -> bool:
    x, y = _sides(wcs)
    return abs(x / y - 1) < SQUARE_TOLERANCE


def _squared(plane: Plane) -> Plane:
    """A plane on square pixels of the same area, as large as its shorter side."""
    scale, (height, width) = pixel_scale_of(plane.wcs), plane.flux.shape
    sides = np.array(_sides(plane.wcs)) * (width, height)
    size = max(int(sides.min() / scale), 1)
    wcs = target_wcs(plane.wcs, scale, size, ((width - 1) / 2, (height - 1) / 2))
    return regridded(plane, wcs, (size, size))


def _sides(wcs) -> tuple[float, float]:
    from astropy.wcs.utils import proj_plane_pixel_scales

    x, y = proj_plane_pixel_scales(wcs) * 3600
    return float(x), float(y)


def _same_grid(plane: Plane, reference: Plane) -> bool:
    if plane.wcs is None or plane.wcs is reference.wcs:
        return True
    if plane.flux.shape != reference.flux.shape:
        return False
    height, width = plane.flux.shape
    x, y = np.array([0, width - 1, 0, width - 1]), np.array([0, 0, height - 1, height - 1])
    there = reference.wcs.world_to_pixel(plane.wcs.pixel_to_world(x, y))
    return bool(np.hypot(there[0] - x, there[1] - y).max() < SHIFT_TOLERANCE)


def target_wcs(wcs, scale: float, size: int, centre: tuple[float, float]):
    """A tangential WCS of `size` pixels about the pixel (x, y) `centre` of another; north is up."""
    from astropy.wcs import WCS

    made = WCS(naxis=2)
    made.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    made.wcs.crval = np.array(_position(wcs, centre))
    made.wcs.crpix = [(size + 1) / 2] * 2
    made.wcs.cdelt = [-scale / 3600, scale / 3600]
    return made


def _position(wcs, pixel) -> tuple[float, float]:
    sky = wcs.pixel_to_world(*pixel).icrs
    return float(sky.ra.deg), float(sky.dec.deg)


def regridded(plane: Plane, wcs, shape: tuple[int, int]) -> Plane:
    """A plane on another grid; what the frame does not hold is NaN.

    Each new pixel receives the flux of the parts of the old ones that it overlaps.
    """
    from reproject import reproject_exact

    old, new = plane.wcs, wcs
    ratio = (pixel_scale_of(new) / pixel_scale_of(old)) ** 2
    bad = ~np.isfinite(plane.flux)

    def regrid(values):
        made, covered = reproject_exact((values.astype(float), old), new, shape_out=shape, parallel=False)
        return made, covered

    flux, covered = regrid(np.where(bad, 0, plane.flux))
    spoilt = covered < MIN_COVERED
    if bad.any():
        spoilt |= np.nan_to_num(regrid(bad)[0]) > BAD_SHARE
    error = None
    if plane.error is not None:
        variance, _ = regrid(np.where(np.isfinite(plane.error), plane.error, 0) ** 2)
        error = np.sqrt(np.maximum(np.nan_to_num(variance) * ratio, 0)).astype(np.float32)
    made = np.where(spoilt, np.nan, flux * ratio).astype(np.float32)
    return Plane(plane.band, made, error, new)
