"""Scalings between physical units and what networks see."""

import numpy as np

__all__ = ["asinh_image", "fill_missing", "from_lupton_rgb", "lupton_rgb", "minmax", "robust"]


def fill_missing(flux: np.ndarray, ivar: np.ndarray) -> np.ndarray:
    """Interpolate linearly over pixels with ivar = 0, so that a network sees no holes.

    The filled values never enter a loss or a metric. A spectrum with no valid pixel becomes zero.
    """
    good = (ivar > 0) & np.isfinite(flux)
    filled = np.where(good, flux, 0).astype(np.float32)
    pixels = np.arange(flux.shape[-1])
    for i in np.ndindex(flux.shape[:-1]):
        if good[i].any() and not good[i].all():
            filled[i] = np.interp(pixels, pixels[good[i]], flux[i][good[i]])
    return filled


def minmax(flux: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The paper's scaling of each spectrum to [-1, 1] (arXiv:2211.05556, section 2).

    Parameters
    ----------
    flux : array (..., L)
        Spectra without holes (see `fill_missing`).

    Returns
    -------
    x : array (..., L)
        ``(flux - offset) / scale``, in [-1, 1]; zero where a spectrum is constant.
    offset, scale : array (..., 1)
        ``flux = offset + scale * x``.
    """
    low, high = flux.min(-1, keepdims=True), flux.max(-1, keepdims=True)
    scale = (high - low) / 2
    offset = (high + low) / 2
    return (flux - offset) / np.where(scale > 0, scale, 1), offset, scale


def robust(flux: np.ndarray, ivar: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Divide each spectrum by its median over valid pixels: one spike moves nothing.

    Same return values as `minmax`; the offset is zero. Median fluxes below the median noise are raised
    to it, so that faint spectra do not blow up.
    """
    good = ivar > 0
    noise = np.where(good, 1 / np.sqrt(np.where(good, ivar, 1)), np.nan)
    flux = np.where(good, flux, np.nan)
    scale = np.fmax(np.nanmedian(flux, -1, keepdims=True), np.nanmedian(noise, -1, keepdims=True))
    return np.nan_to_num(flux / scale), np.zeros_like(scale), scale


COLOUR_BALANCE = np.array([1.4, 1.0, 0.82], np.float32)[:, None, None]  # of g, r, i in composites


def asinh_image(image: np.ndarray, softening: float = 0.05) -> np.ndarray:
    """Compress a linear image in nanomaggies per pixel: ``arcsinh(image / softening)``.

    The default softening is about twice the sky noise of an SDSS r-band pixel.
    """
    return np.arcsinh(image / softening)


def lupton_rgb(image: np.ndarray, stretch: float = 3.5, q: float = 6.0) -> np.ndarray:
    """Colour composite of a linear (g, r, i) image after Lupton et al. (2004, PASP 116:133).

    The defaults make simulated galaxies match 5,060 of SDSS SkyServer's JPEG pictures in the brightness
    and colour of cores and in the level of the background.

    Parameters
    ----------
    image : array (..., 3, y, x)
        Bands g, r, i in nanomaggies per pixel.
    stretch : float
        Brightness of faint parts.
    q : float
        How strongly bright parts are compressed.

    Returns
    -------
    array (..., 3, y, x), float32
        0 to 255, channels still in the order g, r, i (shown as blue, green, red).
    """
    scaled = np.maximum(image, 0) * COLOUR_BALANCE
    mean = np.maximum(scaled.mean(-3, keepdims=True), 1e-4)
    colour = scaled * (np.arcsinh(q * stretch * mean) / (q * mean))
    brightest = np.maximum(colour.max(-3, keepdims=True), 1)
    return np.minimum(255 * colour / brightest, 255).astype(np.float32)


def from_lupton_rgb(colour: np.ndarray, stretch: float = 3.5, q: float = 6.0) -> np.ndarray:
    """Linear image in nanomaggies per pixel of a composite (..., 3, y, x): the inverse of `lupton_rgb`.

    Pixels whose brightest channel was clipped at 255 come out too faint, negative ones as zero.
    """
    colour = np.asarray(colour, np.float32)
    intensity = np.maximum(colour.mean(-3, keepdims=True) / 255, 1e-6)
    mean = np.sinh(np.minimum(q * intensity, 20)) / (q * stretch)
    return (colour / 255 * (mean / intensity) / COLOUR_BALANCE).astype(np.float32)
