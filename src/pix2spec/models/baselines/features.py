"""Features of a galaxy for the simple methods: colours, brightness and sizes."""

import numpy as np
import torch
from torch import nn

from pix2spec.core.photometry import aperture_weights
from pix2spec.core.scaling import lupton_rgb
from pix2spec.core.survey import Survey
from pix2spec.errors import InputError

__all__ = ["ApertureFeatures", "image_features", "photometry_features"]

RADII = (1.5, 3.0, 5.0, 8.0)  # of apertures in arcsec; the first is the radius of the SDSS fibre
SOFTENING = {"linear": 0.3, "composite": 30.0}  # of asinh magnitudes: near the noise of an aperture sum
COLUMNS = {"image": ("image",), "photometry": ("photometry", "photometry_ivar")}


def photometry_features(photometry: np.ndarray, ivar: np.ndarray, middle: int = 2) -> np.ndarray:
    """Colours of neighbouring bands, and the magnitude of one band.

    Magnitudes are asinh magnitudes (Lupton et al. 1999, AJ 118:1406) without their factor, so that fluxes
    may be negative.

    Parameters
    ----------
    photometry, ivar : array (N, bands)
        Fluxes in nanomaggies and their inverse variances.
    middle : int
        Position of the band for the magnitude, by default r of ugriz.

    Returns
    -------
    array (N, bands)
        NaN where a band is missing.
    """
    magnitude = np.arcsinh(np.where(ivar > 0, photometry, np.nan) / (2 * SOFTENING["linear"]))
    return np.hstack([np.diff(magnitude, axis=1), magnitude[:, middle : middle + 1]])


def image_features(image: np.ndarray, kind: str, pixel_scale: float) -> np.ndarray:
    """Colours and brightness in an aperture of 3", and the growth of light with radius.

    Parameters
    ----------
    image : array (N, bands, y, x)
        Nanomaggies per pixel, or composites from 0 to 255.
    kind : str
        ``"linear"`` or ``"composite"``.
    pixel_scale : float
        Arcsec per pixel.

    Returns
    -------
    array (N, bands + radii - 1)
        asinh magnitudes and their differences, without their factor.
    """
    image = np.nan_to_num(np.asarray(image, np.float32))
    if kind == "composite":  # subtract the sky, which is not zero in a composite
        border = np.concatenate([image[..., 0, :], image[..., -1, :], image[..., 0], image[..., -1]], -1)
        image = image - np.median(border, -1)[..., None, None]
    inside = np.stack([aperture_weights(image.shape[-2:], pixel_scale, 2 * r) for r in RADII])
    apertures = np.einsum("nbyx,ayx->nba", image, inside)
    brightness = np.arcsinh(apertures / (2 * SOFTENING[kind]))
    middle = brightness[:, image.shape[1] // 2]
    return np.hstack([np.diff(brightness[..., 0], axis=1), middle[:, :1], np.diff(middle, axis=1)])


class ApertureFeatures(nn.Module):
    """Colours, brightness and sizes, each in units of its scatter over the training set.

    Parameters
    ----------
    sources : tuple of {"image", "photometry"}
        Data to measure the features on.
    image_kind : {"linear", "composite"}
        Kind of the images to measure them on. Linear images can be turned into composites.
    survey : Survey
        Bands and pixel scale.
    """

    def __init__(self, sources: tuple[str, ...], image_kind: str | None, survey: Survey):
        super().__init__()
        self.sources, self.image_kind, self.survey = tuple(sources), image_kind or "linear", survey
        sizes = {
            "image": len(survey.image_bands) + len(RADII) - 1,
            "photometry": len(survey.photometry_bands),
        }
        self.size = sum(sizes[source] for source in self.sources)
        self.register_buffer("mean", torch.zeros(self.size))
        self.register_buffer("deviation", torch.ones(self.size))

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns of a batch that `measure` needs."""
        return tuple(name for source in self.sources for name in COLUMNS[source])

    def measure(self, batch: dict, image_kind: str | None) -> np.ndarray:
        """Features (N, features) of a batch of galaxies before scaling; NaN where a band is missing."""
        bands, parts = self.survey.photometry_bands, []
        for source in self.sources:
            if source == "photometry":
                middle = bands.index("r") if "r" in bands else 0
                parts.append(photometry_features(batch["photometry"], batch["photometry_ivar"], middle))
            else:
                image = self._of_kind(batch["image"], image_kind)
                parts.append(image_features(image, self.image_kind, self.survey.pixel_scale))
        return np.hstack(parts)

    def _of_kind(self, image: np.ndarray, image_kind: str | None) -> np.ndarray:
        if image_kind == self.image_kind:
            return image
        if self.image_kind == "linear":
            raise InputError(
                "image",
                "this method measures linear fluxes in nanomaggies, but the input is a colour composite",
                "use FITS cutouts, or a method fitted to composites",
            )
        return lupton_rgb(image)

    def fit(self, measured: np.ndarray) -> None:
        """Learn mean and scatter from the features (N, features) of the training set."""
        known = np.isfinite(measured)
        if not known.any():
            raise InputError("features", f"no training galaxy has {' or '.join(self.sources)}")
        count = np.maximum(known.sum(0), 1)
        mean = np.where(known, measured, 0).sum(0) / count
        variance = np.where(known, (measured - mean) ** 2, 0).sum(0) / count
        self.mean.copy_(torch.from_numpy(mean))
        self.deviation.copy_(torch.from_numpy(np.sqrt(np.where(variance > 0, variance, 1))))

    def forward(self, measured: np.ndarray) -> torch.Tensor:
        """Standardised features (N, features), float32. A missing feature takes its mean."""
        x = torch.from_numpy(np.asarray(measured, np.float32)).to(self.mean.device)
        return torch.nan_to_num((x - self.mean) / self.deviation)
