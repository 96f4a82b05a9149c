"""Simulated images of galaxies: bulge, disc, spiral arms, neighbours and seeing.

Bulges, discs and the point-spread function are mixtures of Gaussians, whose convolution is exact (Hogg & Lang
2013, PASP 125:719). No image is Fourier-transformed or resampled.
"""

import numpy as np

from pix2spec.core.photometry import aperture_weights
from pix2spec.core.survey import SDSS
from pix2spec.data.simulate.galaxies import GREEN, LATE, STARBURST, Galaxies
from pix2spec.data.simulate.spectra import Components

__all__ = ["draw_images", "fibre_weights", "render"]

SIZE = 64  # pixels
PIXEL = SDSS.pixel_scale


def axis_of(size: int) -> np.ndarray:
    """Arcsec (size,) of the pixels of a picture from its centre."""
    return ((np.arange(size) - (size - 1) / 2) * PIXEL).astype(np.float32)


AXIS = axis_of(SIZE)
# (share of the light, dispersion in arcsec) of the core and the wing of the seeing.
PSF = tuple(zip((0.87, 0.13), np.array([1.0, 2.2]) * SDSS.psf_fwhm / 2.355 * 0.94))
MAX_NEIGHBOURS = 4
ARM_CONTRAST = {"g": 1.25, "r": 1.0, "i": 0.8}  # Arms are blue.


# (amplitude, dispersion in half-light radii) of the Gaussians of a Sersic profile with unit flux. They come
# from a non-negative least-squares fit, which agrees to 2 % between 0.05 and 4 half-light radii.
MIXTURES = {
    "exponential": (
        (0.001565, 0.08),
        (0.004697, 0.1399),
        (0.02976, 0.2446),
        (0.1229, 0.4278),
        (0.4049, 0.748),
        (0.4143, 1.308),
        (0.02184, 4.0),
    ),
    "de Vaucouleurs": (
        (0.009912, 0.02),
        (0.01727, 0.04229),
        (0.05186, 0.08944),
        (0.1028, 0.1891),
        (0.1783, 0.4),
        (0.2302, 0.8459),
        (0.2179, 1.789),
        (0.1384, 3.783),
        (0.05337, 8.0),
    ),
}


def coordinates(x0, y0, axis=AXIS):
    """Offsets x and y (n, P) of the pixels from the centres `x0`, `y0` (n,), all in arcsec."""
    y, x = np.meshgrid(axis, axis, indexing="ij")
    return x.ravel() - x0[:, None].astype(np.float32), y.ravel() - y0[:, None].astype(np.float32)


def fibre_weights(size: int = SIZE) -> np.ndarray:
    """Share of each pixel that lies in the fibre: array (size, size)."""
    return aperture_weights((size, size), PIXEL, SDSS.fibre_diameter)


def render(profile: str, radius, axis_ratio, angle, x, y, psf=PSF, pixel: float = PIXEL) -> np.ndarray:
    """Images of elliptical profiles with unit total flux, blurred by the seeing.

    Parameters
    ----------
    profile : str
        ``"exponential"`` or ``"de Vaucouleurs"``.
    radius : array (n,)
        Half-light radius in arcsec: the geometric mean of its two axes.
    axis_ratio : array (n,)
        Minor axis over major axis.
    angle : array (n,)
        Position angle in radian.
    x, y : array (n, P)
        Offsets of the pixels in arcsec, as `coordinates` gives them.
    psf : sequence of (float, float)
        Share of the light and dispersion in arcsec of the Gaussians of the seeing.
    pixel : float
        Arcsec per pixel.

    Returns
    -------
    array (n, P)
        Share of the flux in each pixel.
    """
    cos, sin = np.cos(angle), np.sin(angle)
    xx, xy, yy = x * x, x * y, y * y
    image, exponent, term = np.zeros_like(x), np.empty_like(x), np.empty_like(x)

    def column(values):
        return values.astype(np.float32)[:, None]

    for share, sigma in MIXTURES[profile]:
        major, minor = sigma**2 * radius**2 / axis_ratio, sigma**2 * radius**2 * axis_ratio
        for psf_share, psf_sigma in psf:
            # The covariance is that of the galaxy, rotated to its position angle, plus that of the seeing.
            cxx = major * cos**2 + minor * sin**2 + psf_sigma**2
            cyy = major * sin**2 + minor * cos**2 + psf_sigma**2
            cxy = (major - minor) * cos * sin
            determinant = cxx * cyy - cxy**2
            np.multiply(xx, column(-0.5 * cyy / determinant), out=exponent)
            np.multiply(xy, column(cxy / determinant), out=term)
            exponent += term
            np.multiply(yy, column(-0.5 * cxx / determinant), out=term)
            exponent += term
            np.exp(exponent, out=exponent)
            exponent *= column(share * psf_share * pixel**2 / (2 * np.pi * np.sqrt(determinant)))
            image += exponent
    return image


def spiral_arms(rng, galaxies: Galaxies, x, y) -> np.ndarray:
    """Relative brightness (n, SIZE * SIZE) of the arms of resolved discs, which are logarithmic spirals."""
    g, n = galaxies, len(galaxies.z)
    late = (g.kind == LATE) | (g.kind == STARBURST)
    strength, turn, phase, pitch, three = rng.random((5, n))
    amplitude = np.where(late, 0.25 + 0.4 * strength, np.where(g.kind == GREEN, 0.15 * strength, 0))
    amplitude *= np.clip((g.disc_radius - 0.9) / 1.5, 0, 1)
    modulation = np.zeros_like(x)
    rows = np.flatnonzero(amplitude > 0.02)
    if not len(rows):
        return modulation

    def column(values):
        return values[rows, None].astype(np.float32)

    cos, sin = column(np.cos(g.angle)), column(np.sin(g.angle))
    along = x[rows] * cos + y[rows] * sin
    across = (y[rows] * cos - x[rows] * sin) / column(g.disc_axis_ratio)
    radius = np.hypot(along, across) + np.float32(0.1)
    winding = np.log(radius) / column(np.tan(np.radians(12 + 14 * pitch)))
    arms = column(np.where(three < 0.75, 2, 3) * np.where(turn < 0.5, -1, 1))
    wave = np.cos(arms * (np.arctan2(across, along) - winding) + column(2 * np.pi * phase))
    wave += 0.35 * wave * wave - 0.175  # makes the arms narrower than the gaps between them
    inner = np.clip((radius - 1) / (0.8 * column(g.disc_radius)), 0, 1)  # no arms in the centre
    modulation[rows] = wave * inner * column(amplitude)
    return modulation


def gaussians(centre, sigma, axis):
    """Gaussians (n, size) along one axis, whose pixels add up to 1. `centre`, `sigma` (n,) are in arcsec."""
    profile = np.exp(-0.5 * ((axis - centre[:, None]) / sigma[:, None]) ** 2)
    return (profile * PIXEL / (np.sqrt(2 * np.pi) * sigma[:, None])).astype(np.float32)


def add_neighbours(rng, image, axis):
    """Add stars and small galaxies near the target to `image` (n, 3, size * size) in place."""
    n, size = len(image), len(axis)
    larger = (size / SIZE) ** 2
    count = rng.poisson(1.2 * larger, n)
    for k in range(round(MAX_NEIGHBOURS * larger)):
        u = rng.random((7, n))
        magnitude = np.clip(22.5 + np.log10(u[0]) / 0.35, 17.5, 22.4)  # Number counts grow as 10^(0.35 r).
        x0, y0 = (u[1:3] - 0.5) * size * PIXEL
        g_r = 0.3 + 0.9 * u[3]
        r_i = 0.4 * g_r + 0.15 * (u[4] - 0.3)  # along the stellar locus
        extent = np.where(u[5] < 0.3, 0, 0.5 * np.exp(0.4 * rng.standard_normal(n)))  # arcsec; 0 is a star
        flat = 0.3 + 0.7 * u[6]
        rows = np.flatnonzero((count > k) & (np.hypot(x0, y0) > 4))  # Targets are not blended.
        if not len(rows):
            continue
        shape = np.zeros((len(rows), size, size), np.float32)
        for share, sigma in PSF:
            sx, sy = np.hypot(sigma, extent[rows]), np.hypot(sigma, extent[rows] * flat[rows])
            up, along = gaussians(y0[rows], sy, axis), gaussians(x0[rows], sx, axis)
            shape += share * up[:, :, None] * along[:, None, :]
        profile = shape.reshape(len(rows), -1)
        for band, colour in enumerate((g_r, 0 * g_r, -r_i)):
            flux = 10 ** (-0.4 * (magnitude[rows] + colour[rows] - 22.5))
            image[rows, band] += flux.astype(np.float32)[:, None] * profile


def draw_images(rng, galaxies: Galaxies, components: Components, size: int = SIZE):
    """Compute images without noise, and the share of each component's light in the fibre.

    Parameters
    ----------
    rng : numpy.random.Generator
    galaxies, components
        The galaxies and their light.
    size : int
        Pixels per side.

    Returns
    -------
    image : array (n, 3, size, size), float32
        Bands g, r, i in nanomaggies per pixel.
    bulge_share, disc_share : array (n,)
        Share of the bulge's and of the disc's light in the fibre.
    """
    g, n, axis = galaxies, len(galaxies.z), axis_of(size)
    x0, y0 = (rng.random((2, n)) - 0.5) * 0.5 * PIXEL  # offset of the galaxy from the centre
    x, y = coordinates(x0, y0, axis)
    bulge = render("de Vaucouleurs", g.bulge_radius, g.bulge_axis_ratio, g.angle, x, y)
    disc = render("exponential", g.disc_radius, g.disc_axis_ratio, g.angle, x, y)
    aperture = fibre_weights(size).ravel()
    arms = spiral_arms(rng, g, x, y)
    image = np.empty((n, len(SDSS.image_bands), size * size), np.float32)
    for i, band in enumerate(SDSS.image_bands):
        j = SDSS.photometry_bands.index(band)
        image[:, i] = components.bulge_bands[:, j, None].astype(np.float32) * bulge
        lit = components.disc_bands[:, j, None].astype(np.float32) * disc
        image[:, i] += lit * (1 + np.float32(ARM_CONTRAST[band]) * arms)
    add_neighbours(rng, image, axis)
    return image.reshape(n, -1, size, size), bulge @ aperture, disc @ aperture
