"""Measure the photometry of a galaxy in its picture.

Fluxes within the fibre of the spectrograph are sums in a circle, total ones in Kron's ellipse (Kron 1980,
ApJS 43:305; 2.5 Kron radii). Pixels of neighbours take the value of the pixel on the other side of the
galaxy.
"""

from dataclasses import dataclass, replace

import numpy as np

from pix2spec.core.stretches import stretch_of
from pix2spec.core.survey import SDSS, Survey
from pix2spec.data.measurements import Measurements
from pix2spec.data.readers.picture_sources import Scene, find_target, neighbours, scene_of
from pix2spec.errors import InputError

__all__ = [
    "BAD_PIXELS",
    "FROM_PICTURE",
    "IMAGE_UNUSABLE",
    "OFF_CENTRE",
    "PICTURE_DISAGREES",
    "TOO_SMALL",
    "PicturePhotometry",
    "disagrees",
    "measure_picture",
]

# Flags of a galaxy with a picture.
FROM_PICTURE = "photometry-from-picture"
OFF_CENTRE = "off-centre"
BAD_PIXELS = "bad-pixels"
TOO_SMALL = "frame-too-small"
PICTURE_DISAGREES = "picture-disagrees"
IMAGE_UNUSABLE = "image-unusable"  # networks do not see the image

CALIBRATION = 0.02  # error of a flux in a linear picture: zero point, centring, seeing
MIN_FRAME = 8  # pixels per side
MIN_OFFSET = 1.0  # arcsec from the centre, from which on a galaxy is off it
FILLED_ERROR = 0.3  # of the flux of bad pixels that other bands fill in
MAX_FILLED = 0.5  # share of a flux that may come from such pixels
KRON = (2.5, 1.4, 0.0)  # Kron radii of the ellipse, least unscaled radius, least circular radius
CORRELATION = 1.5  # the noise of sums to that of independent pixels, in colour pictures
DISAGREEMENT = {"brightness": 0.3, "colour": 0.1}  # magnitudes beyond three sigma


@dataclass(frozen=True)
class PicturePhotometry:
    """Fluxes measured in a picture, and where.

    Parameters
    ----------
    measurements : Measurements
        Of the kinds ``"fibre"`` and, in linear pictures, ``"kron"``; empty if no galaxy was found.
    centre : (float, float) or None
        Position (x, y) of the galaxy in pixels.
    offset : float
        Arcsec from the centre of the frame.
    fibre_radius : float
        Pixels.
    ellipse : (float, float, float) or None
        Semi-axes of Kron's ellipse in pixels, and its angle from the x axis in radian.
    flags : tuple of str
        Some of ``off-centre``, ``bad-pixels``, ``frame-too-small``.
    notes : tuple of str
        The same as sentences.
    """

    measurements: Measurements
    centre: tuple[float, float] | None = None
    offset: float = np.nan
    fibre_radius: float = np.nan
    ellipse: tuple[float, float, float] | None = None
    flags: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def measure_picture(
    image: np.ndarray,
    kind: str = "linear",
    survey: Survey = SDSS,
    pixel_scale: float | None = None,
    error: np.ndarray | None = None,
    fibre: float | None = None,
    where: str = "image",
) -> PicturePhotometry:
    """Measure the galaxy near the centre of a picture.

    Parameters
    ----------
    image : array (band, y, x)
        Bands of `survey` in nanomaggies per pixel, NaN in bad pixels; or, for composites, values from 0 to
        255.
    kind : {"linear", "composite"}
        Kind of the image. The stretch of a composite is that of the survey's pictures.
    survey : Survey
        Gives the bands and, by default, the pixel scale and the diameter of the fibre.
    pixel_scale : float, optional
        Arcsec per pixel.
    error : array (band, y, x), optional
        Noise of the pixels of a linear image; by default the scatter of the sky.
    fibre : float, optional
        Diameter in arcsec of the fibre of the spectrograph.
    where : str
        Name of the picture, for errors.

    Returns
    -------
    PicturePhotometry

    Raises
    ------
    InputError
        If the image has not the survey's bands, or the stretch of its survey's pictures is not known.

    Examples
    --------
    >>> import numpy as np
    >>> from pix2spec.data.readers.picture_photometry import measure_picture
    >>> y, x = np.indices((64, 64)) - 31.5
    >>> image = np.exp(-np.hypot(x, y) / 4) * np.array([1, 2, 3])[:, None, None]
    >>> noise = np.random.default_rng(0).normal(0, 0.01, image.shape)
    >>> found = measure_picture(image + noise)
    >>> found.measurements.filters[:3], found.measurements.kinds[:3], found.measurements.flux[:3].round(0)
    (('sdss2010-g', 'sdss2010-r', 'sdss2010-i'), ('fibre', 'fibre', 'fibre'), array([24., 49., 73.]))
    """
    pixel_scale = pixel_scale or survey.pixel_scale
    if np.ndim(image) != 3 or len(image) != len(survey.image_bands):
        wanted = f"its axes are {len(survey.image_bands)} bands ({', '.join(survey.image_bands)}), then y, x"
        raise InputError(where, f"image of shape {np.shape(image)}", wanted)
    if min(np.shape(image)[1:]) < MIN_FRAME:
        note = f"the frame is too small to measure: {MIN_FRAME} x {MIN_FRAME} pixels are needed"
        return PicturePhotometry(_no_fluxes(), flags=(TOO_SMALL,), notes=(note,))
    stretch = None
    if kind == "composite":
        stretch = stretch_of(survey)
        if stretch is None or stretch.bands != survey.image_bands:
            what = f"the stretch of colour pictures of {survey.name} is not known"
            raise InputError(where, what, "give FITS cutouts for photometry")
        image = stretch.linear(image, pixel_scale)
    scene = scene_of(image, error, pixel_scale)
    target = find_target(scene, pixel_scale)
    if target is None:
        note = "no galaxy was found within 5 arcsec of the centre"
        return PicturePhotometry(_no_fluxes(), flags=(OFF_CENTRE,), notes=(note,))
    found = _measure(scene, *target, survey, pixel_scale, fibre or survey.fibre_diameter)
    return found if stretch is None else replace(found, measurements=_of_a_stretch(found, stretch))


def _no_fluxes() -> Measurements:
    return Measurements((), np.zeros(0), np.zeros(0), (), extinction="observed")


def _of_a_stretch(found: PicturePhotometry, stretch) -> Measurements:
    """Fluxes of a colour picture within the fibre, with the errors that its stretch leaves.

    Total fluxes are left out: the picture has lost what is fainter than the sky's noise.
    """
    m = found.measurements
    count = m.kinds.count("fibre")
    flux = m.flux[:count]
    error = np.hypot(CORRELATION * m.error[:count], 0.4 * np.log(10) * stretch.colour_error * flux)
    filters, shared = m.filters[:count], stretch.brightness_error
    return replace(m, filters=filters, kinds=m.kinds[:count], flux=flux, error=error, brightness_error=shared)


def _measure(
    scene: Scene, label: int, centre, survey: Survey, pixel_scale: float, fibre: float
) -> PicturePhotometry:
    from photutils.aperture import CircularAperture, EllipticalAperture

    height, width = scene.light.shape
    middle = np.array([(width - 1) / 2, (height - 1) / 2])
    offset = float(np.hypot(*(np.array(centre) - middle)) * pixel_scale)
    radius = fibre / 2 / pixel_scale
    flags, notes = [], []
    if offset > MIN_OFFSET:
        flags.append(OFF_CENTRE)
        notes.append(f"the galaxy is {offset:.1f} arcsec off the centre, and measured where it is")
    clean = _without_neighbours(scene.flux, neighbours(scene, label, pixel_scale), centre)
    ellipse = _kron_ellipse(scene, label)
    apertures = {"fibre": CircularAperture(centre, radius)}
    if ellipse is not None:
        apertures["kron"] = EllipticalAperture(centre, ellipse[0], ellipse[1], theta=ellipse[2])
    filters, parts = tuple(survey.image_filters.values()), []
    for kind, aperture in apertures.items():
        if not _inside(aperture, height, width):
            flags.append(TOO_SMALL)
            held = "the fibre" if kind == "fibre" else "the whole galaxy"
            notes.append(f"the frame of {width} x {height} pixels is too small to hold {held}")
            continue
        flux, error, filled = _sums(scene, clean, aperture)
        spoilt = filled > 0
        if spoilt.any():
            flags.append(BAD_PIXELS)
            bands = ", ".join(b for b, s in zip(survey.image_bands, spoilt) if s)
            notes.append(f"bad pixels of band {bands} within the {kind} aperture")
        good = np.isfinite(flux) & (error > 0)
        parts.append((kind, [filters[k] for k in np.flatnonzero(good)], flux[good], error[good]))
    if scene.has_sky is False:
        flags.append(TOO_SMALL)
        notes.append("the galaxy fills the frame: the sky was not measured, and taken to be zero")
    measured = _joined(parts)
    once = (tuple(dict.fromkeys(texts)) for texts in (flags, notes))
    return PicturePhotometry(measured, centre, offset, radius, ellipse, *once)


def _joined(parts: list) -> Measurements:
    if not parts:
        return _no_fluxes()
    kinds = tuple(kind for kind, names, *_ in parts for _ in names)
    filters = tuple(name for _, names, *_ in parts for name in names)
    flux, error = (np.concatenate([part[k] for part in parts]) for k in (2, 3))
    return Measurements(filters, flux, error, kinds, extinction="observed")


def _without_neighbours(flux: np.ndarray, others: np.ndarray, centre) -> np.ndarray:
    """Fluxes (band, y, x) with those on the other side of the galaxy in the pixels of neighbours."""
    if not others.any():
        return flux
    y, x = np.nonzero(others)
    mirror_x, mirror_y = (np.rint(2 * c - v).astype(int) for c, v in zip(centre, (x, y)))
    height, width = others.shape
    there = (mirror_x >= 0) & (mirror_x < width) & (mirror_y >= 0) & (mirror_y < height)
    there[there] = ~others[mirror_y[there], mirror_x[there]]
    clean = flux.copy()
    clean[:, y[~there], x[~there]] = 0
    clean[:, y[there], x[there]] = flux[:, mirror_y[there], mirror_x[there]]
    return clean


def _kron_ellipse(scene: Scene, label: int) -> tuple[float, float, float] | None:
    """Semi-axes in pixels and angle in radian of Kron's ellipse; None where it cannot be measured."""
    import warnings

    from photutils.segmentation import SourceCatalog

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        catalogue = SourceCatalog(scene.light, scene.segments, kron_params=KRON)
        (aperture,) = np.atleast_1d(catalogue.select_label(label).kron_aperture)
    if aperture is None:
        return None
    if not hasattr(aperture, "a"):  # a circle
        return float(aperture.r), float(aperture.r), 0.0
    theta = getattr(aperture.theta, "value", aperture.theta)
    return float(aperture.a), float(aperture.b), float(theta)


def _inside(aperture, height: int, width: int) -> bool:
    box = aperture.bbox
    return box.ixmin >= 0 and box.iymin >= 0 and box.ixmax <= width and box.iymax <= height


def _sums(scene: Scene, clean: np.ndarray, aperture) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Flux and error (band,) in an aperture, and the share of the flux from bad pixels, which bands share.

    A bad pixel takes the flux of the other bands there, at the colour of the rest of the aperture. A flux
    that comes from such pixels to more than a half is NaN.
    """
    weight = aperture.to_mask(method="exact").to_image(scene.light.shape)
    inside = weight > 0
    w, values, noise = weight[inside], clean[:, inside], scene.error[:, inside]
    bad = ~np.isfinite(values)
    noise = np.where(np.isfinite(noise), noise, 0)
    filled, share = values.copy(), np.zeros(len(values))
    flux, error = np.full((2, len(values)), np.nan)
    for band in range(len(values)):
        estimate, known = _from_others(values, band, w) if bad[band].any() else (0.0, True)
        filled[band, bad[band]] = 0
        flux[band] = (w * filled[band]).sum() + estimate
        share[band] = abs(estimate) / abs(flux[band]) if known and flux[band] else float(bad[band].any())
        variance = (w**2 * noise[band] ** 2).sum() + (w.sum() * scene.sky_error[band]) ** 2
        variance += (CALIBRATION * flux[band]) ** 2 + (FILLED_ERROR * estimate) ** 2
        error[band] = np.sqrt(variance)
        if not known or share[band] > MAX_FILLED:
            flux[band] = np.nan
    return flux, error, np.where(bad.any(1), np.maximum(share, 1e-9), 0)


def _from_others(values: np.ndarray, band: int, weight: np.ndarray) -> tuple[float, bool]:
    """Flux of the bad pixels of a band from the other bands, and whether these are good there."""
    bad = ~np.isfinite(values[band])
    for other in np.argsort(np.abs(np.arange(len(values)) - band), kind="stable")[1:]:
        if np.isfinite(values[other][bad]).all():
            both = ~bad & np.isfinite(values[other])
            own, reference = ((weight * values[k])[both].sum() for k in (band, other))
            if reference > 0 and own > 0:
                return float(own / reference * (weight * values[other])[bad].sum()), True
    return 0.0, False


def disagrees(picture: Measurements, given: Measurements) -> bool:
    """Whether the fluxes of a picture and those given besides it are of different galaxies.

    Fluxes of the same filter and the same light are compared: in brightness if both kinds are known and the
    picture's scale is, and in colour.
    """
    deltas = [_differences(picture, given, kinds) for kinds in (("fibre",), TOTAL)]
    for difference, sigma, brightness_error in deltas:
        if not len(difference):
            continue
        allowed = 3 * np.hypot(np.min(sigma), brightness_error) + DISAGREEMENT["brightness"]
        if abs(np.median(difference)) > allowed:
            return True
    apart = _differences(picture, given, None)
    difference, sigma, _ = apart
    if len(difference) < 2:
        return False
    colour = difference - np.average(difference, weights=1 / sigma**2)
    return bool((np.abs(colour) > 3 * sigma + DISAGREEMENT["colour"]).any())


TOTAL = ("kron", "model", "cmodel", "petrosian", "total")


def _differences(picture: Measurements, given: Measurements, kinds: tuple[str, ...] | None):
    """Magnitudes of the picture minus those given, and their errors, for filters in both."""
    preferred = {"fibre": "fibre"} | dict.fromkeys(TOTAL, "kron")
    own = {(n, k): i for i, (n, k) in enumerate(zip(picture.filters, picture.kinds))}
    found = []
    for j, (name, kind) in enumerate(zip(given.filters, given.kinds)):
        if kinds is not None and kind not in kinds:
            continue
        i = own.get((name, preferred.get(kind, "fibre")))
        if i is None or not (picture.flux[i] > 0 and given.flux[j] > 0):
            continue
        ours, theirs = picture.flux[i], given.flux[j]
        sigma = 1.0857 * np.hypot(picture.error[i] / ours, given.error[j] / theirs)
        found.append((-2.5 * np.log10(ours / theirs), sigma))
    difference, sigma = np.array(found).T if found else (np.zeros(0), np.zeros(0))
    return difference, sigma, picture.brightness_error
