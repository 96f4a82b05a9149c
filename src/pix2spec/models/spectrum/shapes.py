"""Choice of candidates by the shape of a galaxy in its colour picture."""

import numpy as np
import torch

from pix2spec.core.stretches import stretch_of
from pix2spec.core.survey import Survey
from pix2spec.data.readers.picture_photometry import IMAGE_UNUSABLE
from pix2spec.data.schema import Galaxy
from pix2spec.errors import InputError
from pix2spec.models.shape.network import ShapeModel
from pix2spec.models.shared.checks import check_image

__all__ = ["BANDS", "types_of"]

BANDS = ("g", "r", "i")  # of the pictures that the shape model learnt from


def types_of(shapes: ShapeModel, galaxies: list[Galaxy], image_kind: str, survey: Survey) -> torch.Tensor:
    """Logits (N,) of early types, on the device of `shapes`; NaN without a picture that shows the type.

    Linear pictures count as none: the networks that make candidates see these themselves.

    Parameters
    ----------
    shapes : ShapeModel
    galaxies : list of Galaxy
    image_kind : str
        Of their pictures.
    survey : Survey
        Of their pictures.
    """
    logits = torch.full((len(galaxies),), torch.nan, device=shapes.number_mean.device)
    stretch = stretch_of(survey)
    if image_kind != "composite" or stretch is None or survey.image_bands != BANDS:
        return logits
    for i, galaxy in enumerate(galaxies):
        if galaxy.image is None or IMAGE_UNUSABLE in galaxy.flags:
            continue
        try:
            check_image(galaxy, survey.image_bands)
        except InputError:
            continue
        linear = stretch.linear(galaxy.image)
        logits[i] = shapes.of_pictures(linear[None], np.array([np.nan]))[0]
    return logits
