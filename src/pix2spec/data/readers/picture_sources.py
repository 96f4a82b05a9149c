"""Find the galaxy in a picture, and what else is there: sky, noise, neighbours."""

from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["Scene", "find_target", "neighbours", "scene_of"]

SEARCH = 5.0  # arcsec from the frame's centre within which the galaxy is looked for
NEARNESS = 2.5  # arcsec; of two objects, the one farther out must be brighter by exp((d2^2 - d1^2) / this^2)
DETECTION = 2.0  # sigma above the sky of the smoothed picture
MIN_PIXELS = 6
MIN_SIGNAL = 8.0  # of a galaxy, in units of the noise of the sum of its pixels
CONTRAST = 0.02  # share of the light that makes a peak an object of its own
SMOOTHING = 0.5  # arcsec, dispersion of the kernel for the detection
GROWTH = 1.2  # arcsec by which neighbours are grown
MAX_SHIFT = 1.5  # arcsec between the peak of a galaxy and its centroid
KNOT = 1.5  # arcsec from the centre, from which on the peak of a galaxy may be a knot, beyond the fibre
PLATEAU = 0.7  # of the light of such a peak: a centre that is brighter is that of the galaxy
MIN_SKY = 0.1  # share of the frame that must be sky for it to be measured


@dataclass(frozen=True)
class Scene:
    """A picture with its sky removed, and the objects in it.

    Parameters
    ----------
    flux : array (band, y, x), float64
        Nanomaggies per pixel; NaN in bad pixels.
    error : array (band, y, x)
        Noise of the pixels.
    sky_error : array (band,)
        Error of the sky's level, which pixels share.
    light : array (y, x)
        Sum of the bands, weighted by their noise, without bad pixels.
    segments : SegmentationImage or None
        The objects; None without any.
    has_sky : bool
        Whether the sky could be measured. Otherwise it was taken to be 0.
    """

    flux: np.ndarray
    error: np.ndarray
    sky_error: np.ndarray
    light: np.ndarray
    segments: Any
    has_sky: bool


def scene_of(image: np.ndarray, error: np.ndarray | None, pixel_scale: float) -> Scene:
    """Measure sky and noise of a picture, and find its objects.

    Parameters
    ----------
    image : array (band, y, x)
        Nanomaggies per pixel, NaN in bad pixels.
    error : array (band, y, x), optional
        Noise of the pixels; by default the scatter of the sky.
    pixel_scale : float
        Arcsec.
    """
    image = np.asarray(image, float)
    sky, noise, free = _sky(image, np.isfinite(image))
    segments = None
    for _ in range(2):  # The first sky is that of all pixels, the second that of those without objects.
        light = _light(image - sky[:, None, None], noise)
        segments = _objects(light, pixel_scale)
        if segments is None:
            break
        empty = _grown(segments.data > 0, 2 * GROWTH / pixel_scale)
        sky, noise, free = _sky(image, np.isfinite(image) & ~empty)
    has_sky = free >= MIN_SKY
    if not has_sky:
        sky = np.zeros(len(image))
    flux = image - sky[:, None, None]
    pixels = np.broadcast_to(noise[:, None, None], image.shape) if error is None else np.asarray(error, float)
    count = max(free * image[0].size, 1)
    sky_error = noise / np.sqrt(count) if has_sky else noise
    return Scene(flux, pixels, sky_error, _light(flux, noise), segments, has_sky)


def _sky(image: np.ndarray, used: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Level and scatter (band,) of the sky, and the share of the frame that shows it."""
    from astropy.stats import sigma_clipped_stats

    share = float(used.all(0).mean())
    if share < 0.02:  # the galaxy fills the frame: its faintest pixels tell the noise
        used = np.isfinite(image)
    level, noise = np.zeros(len(image)), np.zeros(len(image))
    for band, (plane, good) in enumerate(zip(image, used)):
        values = plane[good]
        if not len(values):
            continue
        _, level[band], noise[band] = sigma_clipped_stats(values, sigma=3.0, maxiters=10)
        if share < MIN_SKY:  # differences of neighbouring pixels know nothing of gradients
            steps = np.diff(plane, axis=1)
            steps = steps[np.isfinite(steps)]
            noise[band] = 1.4826 * np.median(np.abs(steps)) / np.sqrt(2) if len(steps) else noise[band]
    smallest = 1e-6 * np.nanmax(np.abs(image), initial=1e-6)
    return level, np.maximum(noise, smallest), share


def _light(flux: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """Sum of the bands in units of its noise (y, x); bad pixels of a band take the mean of the others."""
    relative = flux / noise[:, None, None]
    good = np.isfinite(relative)
    total = np.where(good, relative, 0).sum(0) / np.maximum(good.sum(0), 1)
    return total * np.sqrt(len(flux))


def _objects(light: np.ndarray, pixel_scale: float):
    """Segments of the objects, deblended; None without any."""
    from astropy.stats import mad_std
    from photutils.segmentation import deblend_sources, detect_sources

    smooth = _smooth(light, pixel_scale)
    # Smoothing lowers the noise; differences of pixels that the kernel does not join measure by how much.
    lag = min(int(4 * SMOOTHING / pixel_scale) + 3, light.shape[1] // 2)
    noise = min(mad_std(smooth[:, lag:] - smooth[:, :-lag]) / np.sqrt(2), mad_std(smooth)) or 1e-9
    found = _quietly(detect_sources, smooth, DETECTION * noise + np.zeros_like(smooth), MIN_PIXELS)
    if found is None:
        return None
    return _quietly(deblend_sources, smooth, found, MIN_PIXELS, contrast=CONTRAST, progress_bar=False)


def _smooth(light: np.ndarray, pixel_scale: float) -> np.ndarray:
    from scipy.ndimage import gaussian_filter

    return gaussian_filter(light, SMOOTHING / pixel_scale)


def _quietly(function, *arguments, **options):
    """Call a function of photutils without its remarks on pictures without objects."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return function(*arguments, **options)


def _grown(mask: np.ndarray, radius: float) -> np.ndarray:
    from scipy.ndimage import distance_transform_edt

    return distance_transform_edt(~mask) <= radius


def neighbours(scene: Scene, label: int, pixel_scale: float) -> np.ndarray:
    """Pixels (y, x), bool, of other objects than the target, grown where they do not belong to it."""
    others = (scene.segments.data > 0) & (scene.segments.data != label)
    return _grown(others, GROWTH / pixel_scale) & (scene.segments.data != label) if others.any() else others


def find_target(scene: Scene, pixel_scale: float) -> tuple[int, tuple[float, float]] | None:
    """The label of the galaxy and its position (x, y) in pixels; None if there is none near the centre.

    The galaxy is the brightest object, near ones preferred, whose peak lies within 5 arcsec of the centre.
    Its position is the centre itself where the galaxy is nearly as bright there as at its peak: a knot in an
    arm does not move the aperture from where the user points.
    """
    if scene.segments is None:
        return None
    height, width = scene.light.shape
    middle = np.array([(width - 1) / 2, (height - 1) / 2])
    smooth = _smooth(scene.light, pixel_scale)
    best, where = 0.0, None
    for segment in scene.segments.segments:
        part = smooth[segment.slices] * (segment.data_masked.filled(0) > 0)
        if part.sum() < MIN_SIGNAL * np.sqrt(np.count_nonzero(part)):
            continue
        y, x = np.unravel_index(np.argmax(part), part.shape)
        peak = np.array([x + segment.slices[1].start, y + segment.slices[0].start], float)
        distance = np.hypot(*(peak - middle)) * pixel_scale
        weight = part.sum() * np.exp(-((distance / NEARNESS) ** 2))
        if distance <= SEARCH and weight > best:
            best, where = weight, (segment.label, peak)
    if where is None:
        return None
    label, peak = where
    is_far = np.hypot(*(peak - middle)) * pixel_scale > KNOT
    if is_far and _is_plateau(scene.segments.data == label, smooth, peak, middle):
        return label, (float(middle[0]), float(middle[1]))
    return label, _centroid(scene.light, scene.segments, label, peak, pixel_scale)


def _is_plateau(own: np.ndarray, smooth: np.ndarray, peak: np.ndarray, middle: np.ndarray) -> bool:
    """Whether an object (y, x) holds the middle, nearly as bright as its peak; both are pixels (x, y)."""
    about = tuple(slice(int(np.floor(c)), int(np.ceil(c)) + 1) for c in middle[::-1])
    x, y = peak.astype(int)
    return bool(own[about].all() and smooth[about].mean() > PLATEAU * smooth[y, x])


def _centroid(light: np.ndarray, segments, label: int, peak: np.ndarray, pixel_scale: float):
    """Centroid (x, y) of an object in a Gaussian window; its peak if the window moved away from it."""
    from photutils.segmentation import SourceCatalog

    catalogue = _quietly(SourceCatalog, light, segments)
    found = np.atleast_1d(_quietly(catalogue.select_label, label).centroid_win).ravel()
    near = np.isfinite(found).all() and np.hypot(*(found - peak)) * pixel_scale < MAX_SHIFT
    return tuple(map(float, found if near else peak))
