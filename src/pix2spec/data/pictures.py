"""Pictures of galaxies, with the photometry that is measured in them."""

from dataclasses import replace

import numpy as np

from pix2spec.core.survey import SDSS, Survey
from pix2spec.data.readers.images import Frame, about, read_frame
from pix2spec.data.readers.picture_photometry import (
    BAD_PIXELS,
    FROM_PICTURE,
    IMAGE_UNUSABLE,
    OFF_CENTRE,
    PICTURE_DISAGREES,
    PicturePhotometry,
    disagrees,
    measure_picture,
)
from pix2spec.data.schema import Galaxy
from pix2spec.errors import InputError

__all__ = ["galaxy_of_frame", "measure_frame", "read_picture", "with_picture_photometry"]


def read_picture(
    paths, survey: Survey = SDSS, size: int = 64, fibre: float | None = None, name: str = ""
) -> tuple[Galaxy, str, list[str]]:
    """Read the picture of one galaxy, and measure its photometry.

    Parameters
    ----------
    paths, survey
        As for `pix2spec.data.readers.images.read_frame`.
    size : int
        Pixels per side of the galaxy's image, which has the survey's pixel scale.
    fibre : float, optional
        Diameter in arcsec of the fibre of the spectrograph, by default the survey's.
    name : str
        Object id, by default the name of the file.

    Returns
    -------
    galaxy : Galaxy
        With fluxes of the kinds ``"fibre"`` and ``"kron"``, and the flag ``photometry-from-picture``. Its
        image is about the galaxy where this is off the centre; None where the frame is too small.
    kind : str
        ``"linear"`` or ``"composite"``.
    notes : list of str
        Repairs and doubts, as sentences.

    Raises
    ------
    InputError
        If the files cannot be read, or hold neither a usable image nor a galaxy.

    Examples
    --------
    >>> from pix2spec.data.pictures import read_picture
    >>> galaxy, kind, notes = read_picture("cutout.fits")  # doctest: +SKIP
    >>> galaxy.filters, galaxy.kind, galaxy.photometry  # doctest: +SKIP
    """
    frame = read_frame(paths, survey)
    galaxy = galaxy_of_frame(Galaxy(name or frame.path.stem), frame, survey, size, survey.pixel_scale, fibre)
    return galaxy, frame.kind, frame.notes


def measure_frame(frame: Frame, survey: Survey, fibre: float | None = None) -> PicturePhotometry | None:
    """Photometry of a cutout as it came; None where the stretch of a colour picture cannot be inverted.

    `fibre` is the diameter in arcsec of the fibre of the spectrograph, by default the survey's.
    """
    try:
        found = measure_picture(
            frame.image, frame.kind, survey, frame.pixel_scale, frame.error, fibre, str(frame.path)
        )
    except InputError as error:
        frame.notes.append(error.what)
        return None
    frame.notes += found.notes
    return found


def galaxy_of_frame(
    galaxy: Galaxy,
    frame: Frame,
    survey: Survey,
    size: int,
    scale: float | None,
    fibre: float | None = None,
) -> Galaxy:
    """A galaxy with the image and the photometry of a cutout; fluxes that it has already are kept.

    Parameters
    ----------
    galaxy : Galaxy
    frame : Frame
        Receives notes.
    survey : Survey
        Of the cutout.
    size : int
        Pixels per side of the image.
    scale : float or None
        Arcsec per pixel of the image; None keeps the frame's.
    fibre : float, optional
        Diameter in arcsec of the fibre of the spectrograph, by default the survey's.

    Raises
    ------
    InputError
        If the cutout holds neither a usable image nor a galaxy.
    """
    found = measure_frame(frame, survey, fibre)
    try:
        image = frame.cutout(size, scale, _moved_to(found))
    except InputError as error:
        if found is None or not found.measurements.filters:
            raise
        image = None
        frame.notes.append(f"{error.what}: its photometry alone is used")
    if np.isnan(galaxy.ra):
        ra, dec = frame.position(None if found is None else found.centre)
        galaxy = replace(galaxy, ra=ra, dec=dec)
    galaxy = replace(galaxy, image=image)
    return galaxy if found is None else _with(galaxy, found, survey)


def _moved_to(found: PicturePhotometry | None) -> tuple[float, float] | None:
    """The pixel (x, y) of a galaxy that is off the centre of its frame; None for other ones."""
    return found.centre if found is not None and OFF_CENTRE in found.flags else None


def with_picture_photometry(
    galaxy: Galaxy, kind: str, survey: Survey, pixel_scale: float | None = None
) -> Galaxy:
    """A galaxy with an image, with the photometry of that image; fluxes that it has already are kept.

    An image that shows the galaxy off its centre is moved. Without an image, or with one that cannot be
    measured, the galaxy stays as it is.

    Parameters
    ----------
    galaxy : Galaxy
    kind : str
        ``"linear"`` or ``"composite"``.
    survey : Survey
        Bands and, by default, pixel scale of the image.
    pixel_scale : float, optional
        Arcsec per pixel.
    """
    if galaxy.image is None or FROM_PICTURE in galaxy.flags or not np.nan_to_num(galaxy.image).any():
        return galaxy
    try:
        found = measure_picture(galaxy.image, kind, survey, pixel_scale, where=galaxy.object_id)
    except InputError:
        return galaxy
    centre, shape = _moved_to(found), galaxy.image.shape
    if centre is not None and shape[1] == shape[2]:
        galaxy = replace(galaxy, image=about(galaxy.image, centre, shape[1]))
    return _with(galaxy, found, survey)


def _with(galaxy: Galaxy, found: PicturePhotometry, survey: Survey) -> Galaxy:
    """A galaxy with the flags and, if it has no fluxes, with the fluxes of its picture."""
    is_spoilt = BAD_PIXELS in found.flags
    has_fluxes = len(found.measurements.filters) > 0
    flags = [*galaxy.flags, *found.flags]
    flags += [IMAGE_UNUSABLE] if is_spoilt and galaxy.image is not None and has_fluxes else []
    given = galaxy.measurements(survey) if galaxy.photometry is not None else None
    if given is not None:
        flags += [PICTURE_DISAGREES] if disagrees(found.measurements, given) else []
    elif has_fluxes:
        galaxy = replace(galaxy, photometry=found.measurements, photometry_ivar=None, filters=())
        flags.append(FROM_PICTURE)
    return replace(galaxy, flags=tuple(dict.fromkeys(flags)))
