"""Stretches of surveys' colour pictures: from the values that are shown back to fluxes.

A picture shows three bands, scaled by s_b: x_b = s_b f_b + m, and, with I = mean(x_b),
v_b = x_b asinh(Q I) / (q I) (Lupton et al. 2004, PASP 116:133). The ratio of two channels is that of the
bands, and the mean of the channels gives I.

Sources
-------
- SkyServer: the form of `djs_rgb_make` of idlutils. `softening` and the three scales come from a fit to the
  fibre fluxes of 38 galaxies in pictures of Galaxy Zoo 2 (``benchmarks/pictures.py``).
- Legacy Surveys' viewer: `dr2_rgb` of github.com/legacysurvey/imagine.
- Colour pictures of Pan-STARRS1's cutout service have no fixed stretch: their limits follow the picture.
"""

from dataclasses import dataclass

import numpy as np

from pix2spec.core.survey import Survey

__all__ = ["STRETCHES", "Stretch", "stretch_of"]

CLIPPED = 253.5  # of 255: compression moves the values of clipped pixels a little


@dataclass(frozen=True)
class Stretch:
    """How the colour pictures of a survey were made, and how well they tell fluxes.

    Parameters
    ----------
    bands : tuple of str
        Bands of the channels, from blue to red.
    scales : tuple of float
        The factors s_b, for nanomaggies per pixel of `pixel_scale`.
    softening, factor : float
        Q and q.
    pedestal : float
        m.
    pixel_scale : float
        Arcsec. Resampled pictures keep the value of a surface brightness.
    keeps_colour : bool
        Whether pixels that are too bright keep the ratio of their channels.
    colour_error : float
        Magnitudes: error of a band besides that of the brightness of all bands.
    brightness_error : float
        Magnitudes: error that all bands share.
    """

    bands: tuple[str, ...]
    scales: tuple[float, ...]
    softening: float
    factor: float
    pedestal: float
    pixel_scale: float
    keeps_colour: bool
    colour_error: float
    brightness_error: float

    def linear(self, colour: np.ndarray, pixel_scale: float | None = None) -> np.ndarray:
        """Fluxes in nanomaggies per pixel of a picture.

        Parameters
        ----------
        colour : array (..., 3, y, x)
            Values from 0 to 255, channels in the order of `bands`.
        pixel_scale : float, optional
            Arcsec per pixel of this picture, by default the survey's.

        Returns
        -------
        array (..., 3, y, x), float32
            NaN where clipping removed the colour.
        """
        colour = np.asarray(colour, np.float32)
        shown = np.maximum(colour.mean(-3, keepdims=True) / 255, 1e-6)
        intensity = np.sinh(np.minimum(self.factor * shown, 20)) / self.softening
        scales = np.array(self.scales, np.float32)[:, None, None]
        area = ((pixel_scale or self.pixel_scale) / self.pixel_scale) ** 2
        flux = (colour / 255 * (intensity / shown) - self.pedestal) / scales * area
        if not self.keeps_colour:
            flux = np.where((colour >= CLIPPED).any(-3, keepdims=True), np.nan, flux)
        return flux.astype(np.float32)

    def shown(self, image: np.ndarray) -> np.ndarray:
        """The picture (..., 3, y, x), 0 to 255, of fluxes in nanomaggies per pixel; inverse of `linear`."""
        scaled = np.maximum(image * np.array(self.scales)[:, None, None] + self.pedestal, 0)
        intensity = np.maximum(scaled.mean(-3, keepdims=True), 1e-6)
        colour = scaled * np.arcsinh(self.softening * intensity) / (self.factor * intensity)
        if self.keeps_colour:
            colour = colour / np.maximum(colour.max(-3, keepdims=True), 1)
        return np.minimum(255 * colour, 255).astype(np.float32)


SKYSERVER = Stretch(
    bands=("g", "r", "i"), scales=(7.60, 4.62, 3.75), softening=8.1, factor=8.1, pedestal=0.0,
    pixel_scale=0.396, keeps_colour=True, colour_error=0.03, brightness_error=0.35,
)  # fmt: skip
LEGACY_VIEWER = Stretch(
    bands=("g", "r", "z"), scales=(6.0, 3.4, 2.2), softening=20.0, factor=20**0.5, pedestal=0.03,
    pixel_scale=0.262, keeps_colour=False, colour_error=0.1, brightness_error=0.35,
)  # fmt: skip
STRETCHES = {"sdss": SKYSERVER, "legacy": LEGACY_VIEWER, "legacy-north": LEGACY_VIEWER}


def stretch_of(survey: Survey) -> Stretch | None:
    """The stretch of a survey's colour pictures; None if it cannot be inverted."""
    return STRETCHES.get(survey.name)
