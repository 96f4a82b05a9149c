"""Galaxies as the default model sees them: measurements as tensors, pictures as vectors."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from pix2spec.core.extinction import coefficients
from pix2spec.core.filters import Filter, load_filter
from pix2spec.core.stretches import stretch_of
from pix2spec.core.survey import Survey
from pix2spec.data.measurements import Measurements, known_extinction
from pix2spec.data.schema import Galaxy
from pix2spec.models.latent.conditions import centre, image_token
from pix2spec.models.shared.checks import fibre_photometry
from pix2spec.models.shared.device import to_device
from pix2spec.models.shared.measurements import (
    KIND_GROUPS,
    SetEncoder,
    Tokens,
    tokens_of,
)

__all__ = ["Seen", "as_seen", "light_of_picture", "of_one_kind"]


@dataclass
class Seen:
    """What the networks see of N galaxies; on the CPU, but for `picture`."""

    light: list[Measurements | None]
    tokens: Tokens
    index: torch.Tensor  # (N, K) number of each measurement's filter in `filters`
    filters: tuple[Filter, ...]
    picture: torch.Tensor  # (N, width)
    has_picture: torch.Tensor  # (N,) bool
    linear: bool  # whether the pictures are linear
    ebv: np.ndarray  # (N,) E(B-V) that was removed from the fluxes, and belongs in front of the spectra
    brightness_error: np.ndarray  # (N,) magnitudes: an error that all fluxes of a galaxy share
    _prepared: tuple | None = None
    _moved: "Seen | None" = None

    def on(self, device: torch.device | str) -> "Seen":
        """The same galaxies on a device, to which they move once."""
        if self.index.device.type == torch.device(device).type:
            return self
        if self._moved is None:
            tokens = Tokens(*(to_device(values, device) for values in vars(self.tokens).values()))
            index, picture, has = (
                to_device(values, device) for values in (self.index, self.picture, self.has_picture)
            )
            self._moved = replace(
                self, tokens=tokens, index=index, picture=picture, has_picture=has, _prepared=None
            )
        return self._moved

    def prepared(self, encoder: SetEncoder) -> tuple:
        """What encoders of all networks have in common, computed once."""
        self._prepared = self._prepared or encoder.prepare(self.tokens)
        return self._prepared

    def blind(self) -> "Seen":
        """The same galaxies, of which nothing is seen."""
        tokens = replace(self.tokens, seen=torch.zeros_like(self.tokens.seen))
        return replace(self, tokens=tokens, has_picture=torch.zeros_like(self.has_picture), _prepared=None)


def light_of_picture(image: np.ndarray, image_kind: str, survey: Survey) -> Measurements | None:
    """Fluxes in the fibre of a linear picture (band, y, x); None for composites and empty pictures."""
    usable = np.isin(survey.photometry_bands, survey.image_bands)
    flux, ivar, _ = fibre_photometry(Galaxy("", image=image), image_kind, survey, usable)
    if flux is None:
        return None
    good = np.flatnonzero(np.nan_to_num(ivar) > 0)
    if not len(good):
        return None
    names = tuple(survey.filters[k] for k in good)
    error = 1 / np.sqrt(ivar[good])
    return Measurements(names, flux[good].astype(float), error, ("fibre",) * len(good), extinction="observed")


def of_one_kind(light: Measurements | None, wanted: str) -> Measurements | None:
    """Fluxes of which each filter has one kind: where there are several, one like `wanted`.

    Training never saw a galaxy in two kinds of one filter. Redshifts are learnt from many more galaxies with
    total magnitudes, and the spectrum is that of the light in the fibre.

    Parameters
    ----------
    light : Measurements or None
    wanted : {"fibre", "total"}
    """
    if light is None or len(set(light.filters)) == len(light.filters):
        return light
    is_fibre = [KIND_GROUPS[kind] == KIND_GROUPS["fibre"] for kind in light.kinds]
    order = sorted(range(len(is_fibre)), key=lambda k: is_fibre[k] != (wanted == "fibre"))
    first: dict[str, int] = {}
    for k in order:
        first.setdefault(light.filters[k], k)
    return light.of(sorted(first.values()))


def foreground_of(light: Measurements) -> float:
    """E(B-V) of the dust in front of fluxes, as far as it is known; 0 if it is not, or was removed."""
    if isinstance(light.extinction, str):
        return 0.0
    if isinstance(light.extinction, float):
        return light.extinction
    stated, k = np.nan_to_num(known_extinction(light)), coefficients(light.filters, light.curves)
    seen = stated > 0
    return float(k[seen] @ stated[seen] / (k[seen] @ k[seen])) if seen.any() else 0.0


def as_seen(
    galaxies: list[Galaxy], light: list[Measurements | None], image_kind: str, floor: float, pictures: Any,
    survey: Survey,
) -> Seen:  # fmt: skip
    """Tensors of galaxies.

    Parameters
    ----------
    galaxies : list of Galaxy
        With the inputs that the model may use.
    light : list of Measurements or None
        Their fluxes.
    image_kind : str
        Of their pictures.
    floor : float
        Least error of fluxes in magnitudes.
    pictures : ImageEncoder
        Makes the vectors of pictures.
    survey : Survey
        Bands of the pictures.
    """
    tokens = tokens_of(light, floor)
    number: dict[Filter, int] = {}
    numbers: dict = {}  # of the filters of galaxies in the same filters
    index = torch.zeros(tokens.flux.shape, dtype=torch.long)
    ebv, shared = np.zeros(len(light)), np.zeros(len(light))
    for row, some in enumerate(light):
        if some is None:
            continue
        ebv[row], shared[row] = foreground_of(some), some.brightness_error
        key = some.filters, bool(some.curves) and id(some.curves)
        if key not in numbers:
            curves = [load_filter(name, some.curves) for name in some.filters]
            numbers[key] = torch.tensor([number.setdefault(curve, len(number)) for curve in curves])
        index[row, : len(some.filters)] = numbers[key]
    picture, has_picture = _vectors(galaxies, image_kind, pictures, survey)
    linear = image_kind == "linear"
    return Seen(light, tokens, index, tuple(number), picture, has_picture, linear, ebv, shared)


def _vectors(galaxies: list[Galaxy], image_kind: str, pictures, survey: Survey):
    """Vectors (N, width) of pictures, on the device of their network; which galaxies have one (N,).

    Of colour pictures, the network sees fluxes; it knows that they have lost what a stretch removes.
    """
    device = pictures.apertures.device
    vectors = torch.zeros(len(galaxies), pictures.head[-1].out_features, device=device)
    if all(galaxy.image is None for galaxy in galaxies):
        return vectors, torch.zeros(len(galaxies), dtype=torch.bool)
    size, stretch = pictures.apertures.shape[-1], None
    if image_kind == "composite":
        stretch = stretch_of(survey)
        if stretch is None or stretch.bands != survey.image_bands:
            return vectors, torch.zeros(len(galaxies), dtype=torch.bool)
    images = np.full((len(galaxies), len(survey.image_bands), size, size), np.nan, np.float32)
    for i, galaxy in enumerate(galaxies):
        if galaxy.image is not None:
            images[i] = centre(galaxy.image if stretch is None else stretch.linear(galaxy.image), size)
    token = image_token(images, "linear")
    seen = token["has_image"].bool()
    token["lossy"][:] = float(stretch is not None)
    if seen.any():
        rows, image, lossy = (
            to_device(values, device)
            for values in (seen.nonzero()[:, 0], token["image"][seen], token["lossy"][seen])
        )
        vectors[rows] = pictures(image, lossy)
    return vectors, seen
