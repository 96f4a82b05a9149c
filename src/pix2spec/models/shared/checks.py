"""Galaxies as users give them, made ready for a model of one survey; and the reasons why some cannot be."""

from dataclasses import replace

import numpy as np

from pix2spec.core.filters import load_filter, typical_error
from pix2spec.core.photometry import aperture_weights
from pix2spec.core.survey import Survey
from pix2spec.data.measurements import ERROR_ASSUMED, Measurements, choose
from pix2spec.data.readers.picture_photometry import FROM_PICTURE
from pix2spec.data.schema import Galaxy
from pix2spec.errors import InputError

__all__ = [
    "check_image",
    "fibre_photometry",
    "galaxy_of_array",
    "has_photometry",
    "in_bands_of",
    "mask_invalid_fluxes",
]

MAX_NANOMAGGIES = 1e9  # magnitude 0
NEAR, NEAR_ERROR = 0.05, 0.05  # ln(wavelength) between filters that stand for each other; error for that


def galaxy_of_array(source, image_kind: str | None) -> tuple[Galaxy, str]:
    """A galaxy of an image as an array; an 8-bit picture (y, x, red green blue) becomes a composite."""
    image = np.asarray(np.ma.filled(np.ma.asarray(source).astype(np.float32), np.nan))
    if np.asarray(source).dtype == np.uint8 and image_kind is None:
        if image.ndim != 3 or image.shape[-1] != 3:
            what = f"an 8-bit array of shape {image.shape} is a colour picture of unknown order"
            raise InputError("image", what, "pass an array (y, x, 3) of red, green, blue, or image_kind=")
        return Galaxy("galaxy", image=np.ascontiguousarray(image[..., ::-1].transpose(2, 0, 1))), "composite"
    return Galaxy("galaxy", image=image), image_kind or "linear"


def in_bands_of(galaxy: Galaxy, survey: Survey, may_lack: bool = False) -> Galaxy:
    """The galaxy with its fluxes in the order of a survey's bands; bands without a flux are NaN, ivar 0.

    A flux in a filter that is nearly one of the survey's stands for it, with an error of 5 % more. The fluxes
    as they were given are the result's `Galaxy.measured`.

    Parameters
    ----------
    galaxy : Galaxy
    survey : Survey
    may_lack : bool
        Whether a galaxy none of whose filters is like one of the survey's is returned without photometry.

    Raises
    ------
    InputError
        If an array of fluxes has another length than the survey has bands, or none of the galaxy's filters
        is like one of the survey's.
    """
    if galaxy.photometry is None:
        return galaxy
    galaxy = _with_errors(galaxy, survey)
    bands = ", ".join(survey.photometry_bands)
    flux, count = np.ma.filled(np.ma.asarray(galaxy.photometry, np.float32), np.nan), len(survey.filters)
    if not galaxy.filters or galaxy.filters == survey.filters:
        for name, values in (("photometry", flux), ("photometry_ivar", galaxy.photometry_ivar)):
            if values is not None and np.shape(values) != (count,):
                what = (
                    f"{name}: an array of shape {np.shape(values)} does not have the model's bands ({bands})"
                )
                raise InputError(galaxy.object_id, what, 'give a dictionary by filter: {"r": 17.3 * u.ABmag}')
        measured = galaxy.measurements(survey)
        return replace(galaxy, flags=_united(galaxy.flags, _kind_flags(galaxy)), measured=measured)
    measured = galaxy.measurements(survey)
    chosen, near = _nearest(measured, survey) if measured else ({}, set())
    if not chosen and may_lack:
        flags = _united(galaxy.flags, ("spectrum-from-redshift-alone",))
        return replace(galaxy, photometry=None, photometry_ivar=None, measured=measured, flags=flags)
    if not chosen or measured is None:
        theirs, known = ", ".join(galaxy.filters), ", ".join(survey.filters)
        what = f"photometry: none of its filters ({theirs}) is known to the model ({known})"
        raise InputError(galaxy.object_id, what, "give fluxes in the model's filters")
    values, ivar = np.full(count, np.nan, np.float32), np.zeros(count, np.float32)
    for band, k in chosen.items():
        values[band] = measured.flux[k]
        ivar[band] = 1 / (measured.error[k] ** 2 + ((band in near) * NEAR_ERROR * measured.flux[k]) ** 2)
    unused = len(chosen) < len(measured.filters)
    flags = _united(
        galaxy.flags,
        _kind_flags(galaxy),
        ("filters-unused",) if unused and FROM_PICTURE not in galaxy.flags else (),
        ("filters-approximated",) if near else (),
    )
    return replace(
        galaxy, photometry=values, photometry_ivar=ivar, filters=survey.filters, kind="fibre", flags=flags,
        measured=measured,
    )  # fmt: skip


def _nearest(measured: Measurements, survey: Survey) -> tuple[dict[int, int], set[int]]:
    """Number of the measurement for each band of a survey, and the bands whose filter is another one."""
    chosen = choose(measured.filters, measured.kinds, survey.filters)
    near = set()
    theirs = [load_filter(name, measured.curves) for name in measured.filters]
    for band in set(range(len(survey.filters))) - set(chosen):
        own = load_filter(survey.filters[band])
        distance = [abs(np.log(f.centre / own.centre)) for f in theirs]
        like = [k for k, f in enumerate(theirs) if distance[k] < NEAR and 0.6 < f.width / own.width < 1.7]
        if like:
            chosen[band] = min(like, key=lambda k: distance[k])
            near.add(band)
    return chosen, near


def _with_errors(galaxy: Galaxy, survey: Survey) -> Galaxy:
    """The galaxy whose fluxes, if none has an error, have the typical errors of their filters."""
    if galaxy.photometry_ivar is not None:
        return galaxy
    flux = np.ma.filled(np.ma.asarray(galaxy.photometry, np.float32), np.nan)
    typical = np.array([typical_error(name) for name in galaxy.filters or survey.filters])
    if flux.shape != typical.shape:
        return galaxy
    with np.errstate(divide="ignore", invalid="ignore"):
        ivar = np.where(flux > 0, 1 / np.square(typical * flux), 0).astype(np.float32)
    return replace(galaxy, photometry_ivar=ivar, flags=_united(galaxy.flags, (ERROR_ASSUMED,)))


def _united(*flags: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(flag for some in flags for flag in some))


def _kind_flags(galaxy: Galaxy) -> tuple[str, ...]:
    """Flags of fluxes that enclose other light than the fibre, from which models learn."""
    kinds = {galaxy.kind} if isinstance(galaxy.kind, str) else set(galaxy.kind)
    if FROM_PICTURE in galaxy.flags and "fibre" in kinds:
        return ()
    of_the_survey = not galaxy.filters and kinds == {"unknown"}  # an array of which nothing else is said
    if of_the_survey or kinds <= {"fibre"}:
        return ()
    return ("photometry-kind-unknown",) if "unknown" in kinds else ("photometry-not-fibre",)


def check_image(galaxy: Galaxy, bands: tuple[str, ...]) -> None:
    """Raise `InputError` if the image of a galaxy cannot be used."""
    if galaxy.image is None or not np.isfinite(galaxy.image).any():
        raise InputError(galaxy.object_id, "it has no image, and this model needs one")
    if galaxy.image.ndim != 3 or len(galaxy.image) != len(bands):
        wanted = f"its axes are {len(bands)} bands ({', '.join(bands)}), then y, x"
        if galaxy.image.ndim == 3 and galaxy.image.shape[-1] == len(bands):
            wanted += "; np.moveaxis(image, -1, 0) puts the bands first"
        raise InputError(galaxy.object_id, f"image of shape {galaxy.image.shape}", wanted)
    if not np.isfinite(galaxy.image).all():
        raise InputError(galaxy.object_id, "its image has NaN or inf pixels", "fill or cut them out")
    if not galaxy.image.any():
        raise InputError(galaxy.object_id, "its image is zero everywhere")


def mask_invalid_fluxes(galaxy: Galaxy) -> Galaxy:
    """The galaxy, without the fluxes that are no fluxes of a galaxy or have no error."""
    if galaxy.photometry is None or galaxy.photometry_ivar is None:
        return (
            replace(galaxy, photometry=None, photometry_ivar=None)
            if galaxy.photometry is not None
            else galaxy
        )
    flux, ivar = np.asarray(galaxy.photometry), np.asarray(galaxy.photometry_ivar)
    sane = np.isfinite(flux) & (np.abs(flux) < MAX_NANOMAGGIES) & np.isfinite(ivar) & (ivar > 0)
    if (sane | (ivar == 0)).all():
        return galaxy
    return replace(galaxy, photometry=np.where(sane, flux, np.nan), photometry_ivar=np.where(sane, ivar, 0))


def has_photometry(galaxy: Galaxy) -> bool:
    """Whether a galaxy has a flux with an error."""
    if galaxy.photometry is None or galaxy.photometry_ivar is None:
        return False
    return bool((np.isfinite(galaxy.photometry) & (np.nan_to_num(galaxy.photometry_ivar) > 0)).any())


def fibre_photometry(galaxy: Galaxy, image_kind: str, survey, usable: np.ndarray):
    """Band fluxes in the spectrum's aperture: the catalogue's, else the linear image's own.

    Parameters
    ----------
    usable : array (bands,), bool
        Bands that matter, of which there must be two with an error.

    Returns
    -------
    flux, ivar : array (bands,) or None
        In nanomaggies.
    flags : list of str
        Where they come from.
    """
    if galaxy.photometry is not None and galaxy.photometry_ivar is not None:
        ivar = np.nan_to_num(galaxy.photometry_ivar)
        if (ivar[usable] > 0).sum() >= 2:
            return galaxy.photometry, ivar, ["amplitude-from-photometry"]
    if image_kind != "linear" or galaxy.image is None:
        return None, None, []
    fluxes = np.full(len(survey.photometry_bands), np.nan)
    fibre = aperture_weights(galaxy.image.shape[1:], survey.pixel_scale, survey.fibre_diameter)
    for band, plane in zip(survey.image_bands, galaxy.image):
        fluxes[survey.photometry_bands.index(band)] = (plane * fibre).sum()
    bright = fluxes > 0
    error = 0.05 * np.where(bright, fluxes, 1)  # as good as one aperture in one seeing
    ivar = np.where(bright, 1 / np.square(error), 0.0)
    return fluxes, np.nan_to_num(ivar), ["amplitude-from-image"]
