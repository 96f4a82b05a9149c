"""Scalings between physical units and the inputs and outputs of networks."""

import numpy as np

__all__ = ["asinh_image", "fill_missing", "from_lupton_rgb", "lupton_rgb", "minmax", "robust"]


def fill_missing(flux: np.ndarray, ivar: np.ndarray) -> np.ndarray:
    """Interpolate linearly over missing pixels, because networks need values in all pixels.

    Losses and metrics do not use the filled values.

    Parameters
    ----------
    flux, ivar : array (..., L)
        Spectra and their inverse variances. A pixel is missing if ivar is 0 or the flux is not finite.

    Returns
    -------
    array (..., L), float32
        A spectrum without valid pixels becomes zero.
    """
    good = (ivar > 0) & np.isfinite(flux)
    filled = np.where(good, flux, 0).astype(np.float32)
    pixels = np.arange(flux.shape[-1])
    for i in np.ndindex(flux.shape[:-1]):
        if good[i].any() and not good[i].all():
            filled[i] = np.interp(pixels, pixels[good[i]], flux[i][good[i]])
    return filled


def minmax(flux: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scale each spectrum to [-1, 1], as the paper does (arXiv:2211.05556, section 2).

    Parameters
    ----------
    flux : array (..., L)
        Spectra without missing pixels (see `fill_missing`).

    Returns
    -------
    x : array (..., L)
        ``(flux - offset) / scale``, in [-1, 1]; zero if a spectrum is constant.
    offset, scale : array (..., 1)
        ``flux = offset + scale * x``.
    """
    low, high = flux.min(-1, keepdims=True), flux.max(-1, keepdims=True)
    scale = (high - low) / 2
    offset = (high + low) / 2
    return (flux - offset) / np.where(scale > 0, scale, 1), offset, scale


def robust(flux: np.ndarray, ivar: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Divide each spectrum by its median over valid pixels, on which spikes have no influence.

    The median noise is used instead of the median flux if it is larger, so that scaled faint spectra do not
    become too large.

    Parameters
    ----------
    flux, ivar : array (..., L)
        Spectra and their inverse variances, 0 in missing pixels.

    Returns
    -------
    x : array (..., L)
        ``flux / scale``; zero in missing pixels.
    offset, scale : array (..., 1)
        As in `minmax`; the offset is zero.
    """
    good = ivar > 0
    noise = np.where(good, 1 / np.sqrt(np.where(good, ivar, 1)), np.nan)
    flux = np.where(good, flux, np.nan)
    scale = np.fmax(np.nanmedian(flux, -1, keepdims=True), np.nanmedian(noise, -1, keepdims=True))
    return np.nan_to_num(flux / scale), np.zeros_like(scale), scale


COLOUR_BALANCE = np.array([1.4, 1.0, 0.82], np.float32)[:, None, None]  # of g, r, i in composites


def asinh_image(image: np.ndarray, softening: float = 0.05) -> np.ndarray:
    """Compress a linear image (...) in nanomaggies per pixel: ``arcsinh(image / softening)``.

    The default `softening` is about twice the sky noise of an SDSS r-band pixel.
    """
    return np.arcsinh(image / softening)


def lupton_rgb(image: np.ndarray, stretch: float = 3.5, q: float = 6.0) -> np.ndarray:
    """Make a colour composite of a linear (g, r, i) image after Lupton et al. (2004, PASP 116:133).

    With the defaults, simulated galaxies match 5,060 JPEG pictures of SDSS's SkyServer in the brightness and
    colour of their cores, and in the level of the background.

    Parameters
    ----------
    image : array (..., 3, y, x)
        Bands g, r, i in nanomaggies per pixel.
    stretch : float
        Brightness of faint parts.
    q : float
        Strength of the compression of bright parts.

    Returns
    -------
    array (..., 3, y, x), float32
        Values from 0 to 255. The channels are in the order g, r, i, which are shown as blue, green, red.
    """
    scaled = np.maximum(image, 0) * COLOUR_BALANCE
    mean = np.maximum(scaled.mean(-3, keepdims=True), 1e-4)
    colour = scaled * (np.arcsinh(q * stretch * mean) / (q * mean))
    brightest = np.maximum(colour.max(-3, keepdims=True), 1)
    return np.minimum(255 * colour / brightest, 255).astype(np.float32)


def from_lupton_rgb(colour: np.ndarray, stretch: float = 3.5, q: float = 6.0) -> np.ndarray:
    """Linear image in nanomaggies per pixel of a colour composite: the inverse of `lupton_rgb`.

    Pixels whose brightest channel was clipped at 255 become too faint. Negative pixels become zero.

    Parameters
    ----------
    colour : array (..., 3, y, x)
        Composite with channels g, r, i and values from 0 to 255.
    stretch, q : float
        As in `lupton_rgb`.

    Returns
    -------
    array (..., 3, y, x), float32
    """
    colour = np.asarray(colour, np.float32)
    intensity = np.maximum(colour.mean(-3, keepdims=True) / 255, 1e-6)
    mean = np.sinh(np.minimum(q * intensity, 20)) / (q * stretch)
    return (colour / 255 * (mean / intensity) / COLOUR_BALANCE).astype(np.float32)
