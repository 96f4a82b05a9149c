"""The cutout of a result as a picture with the apertures of its photometry, and the fluxes as a line."""

import io

import numpy as np

from pix2spec.core.photometry import magnitude
from pix2spec.core.scaling import lupton_rgb
from pix2spec.core.survey import Survey
from pix2spec.data.measurements import Measurements
from pix2spec.data.readers.picture_photometry import FROM_PICTURE, PicturePhotometry, measure_picture
from pix2spec.errors import InputError
from pix2spec.products.ensemble import Ensemble

__all__ = ["cutout_png", "measured_line"]

SIDE_PIXELS = 192
FIBRE_COLOUR, TOTAL_COLOUR = "#ffffff", "#ffd166"


def measured_line(ensemble: Ensemble) -> str:
    """The magnitudes that were measured in the picture, in one line; empty without any."""
    given = ensemble.measurements
    if FROM_PICTURE not in ensemble.flags or given is None or not given.filters:
        return ""
    parts = [f"{_magnitudes(given, kind)} {where}" for kind, where in KINDS.items() if kind in given.kinds]
    common = f"; all by ± {given.brightness_error:.2f} brighter or fainter" if given.brightness_error else ""
    return f"Measured in the picture: {', '.join(parts)}{common}."


KINDS = {"fibre": "within the fibre (white circle)", "kron": "in total (yellow ellipse)"}


def _magnitudes(given: Measurements, kind: str) -> str:
    texts = []
    for name, flux, error, own in zip(given.filters, given.flux, given.error, given.kinds):
        if own == kind and flux > 0:
            texts.append(f"{name.rpartition('-')[2]} {magnitude(flux):.2f} ± {1.0857 * error / flux:.2f}")
    return ", ".join(texts)


def cutout_png(ensemble: Ensemble, survey: Survey) -> bytes | None:
    """The image with the apertures of its photometry as PNG; None unless it has three bands."""
    image = ensemble.image
    if image is None or len(image) != 3:
        return None
    from PIL import Image

    is_composite = ensemble.image_kind == "composite"
    rgb = np.clip(image if is_composite else lupton_rgb(image), 0, 255)[::-1].transpose(1, 2, 0)
    picture = Image.fromarray(np.ascontiguousarray(rgb if is_composite else rgb[::-1]).astype(np.uint8))
    picture = picture.resize((SIDE_PIXELS, SIDE_PIXELS), Image.Resampling.BICUBIC)
    if FROM_PICTURE in ensemble.flags:
        _draw_apertures(picture, image, ensemble.image_kind or "linear", survey)
    stream = io.BytesIO()
    picture.save(stream, "PNG")
    return stream.getvalue()


def _draw_apertures(picture, image: np.ndarray, kind: str, survey: Survey) -> None:
    from PIL import ImageDraw

    try:
        found = measure_picture(image, kind, survey)
    except InputError:
        return
    height, width = image.shape[1:]
    scale = np.array([picture.width / width, picture.height / height])
    pen = ImageDraw.Draw(picture)
    for x, y, colour in _outlines(found):
        y = y if kind == "composite" else height - 1 - y  # FITS counts rows from below
        points = (np.stack([x, y], 1) + 0.5) * scale
        pen.line([tuple(point) for point in points], fill=colour, width=1)


def _outlines(found: PicturePhotometry):
    """Points (x, y) in pixels, and the colour, of each aperture."""
    if found.centre is None:
        return
    shapes = [(found.fibre_radius, found.fibre_radius, 0.0, FIBRE_COLOUR)]
    shapes += [(*found.ellipse, TOTAL_COLOUR)] if "kron" in found.measurements.kinds and found.ellipse else []
    turn = np.linspace(0, 2 * np.pi, 73)
    for a, b, angle, colour in shapes:
        along, across = a * np.cos(turn), b * np.sin(turn)
        x = found.centre[0] + along * np.cos(angle) - across * np.sin(angle)
        y = found.centre[1] + along * np.sin(angle) + across * np.cos(angle)
        yield x, y, colour
