"""Pictures with known fluxes."""

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS

SEEING = 1.3 / 2.355  # arcsec, dispersion
COLOURS = (4.0, 10.0, 15.0)  # fluxes of the galaxy in g, r, i, in units of its r flux over 10


def grid(size=64, scale=0.396, angle=0.0, ra=180.0, dec=2.0):
    """WCS of a square frame whose pixels are rotated by `angle` degrees."""
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval, wcs.wcs.crpix = [ra, dec], [(size + 1) / 2] * 2
    c, s = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    wcs.wcs.cd = scale / 3600 * np.array([[-c, s], [s, c]])
    return wcs


def offsets(wcs, size, ra=180.0, dec=2.0):
    """Offsets (y, x) of the pixels from a position in arcsec: along right ascension and declination."""
    y, x = np.indices((size, size))
    at_ra, at_dec = wcs.wcs_pix2world(x.ravel(), y.ravel(), 0)
    east = (at_ra - ra) * np.cos(np.radians(dec)) * 3600
    return east.reshape(size, size), ((at_dec - dec) * 3600).reshape(size, size)


def galaxy_light(east, north, scale, radius=1.6, flux=1.0, at=(0.0, 0.0), axis_ratio=0.7):
    """A Gaussian galaxy of a flux, in the seeing: array (y, x)."""
    sx, sy = np.hypot(radius, SEEING), np.hypot(radius * axis_ratio, SEEING)
    profile = np.exp(-0.5 * (((east - at[0]) / sx) ** 2 + ((north - at[1]) / sy) ** 2))
    return flux * scale**2 * profile / (2 * np.pi * sx * sy)


def sky(size=64, scale=0.396, angle=0.0, noise=0.001, at=(0.0, 0.0), extra=(), seed=0, flux=10.0):
    """A frame (band, y, x) of g, r, i in nanomaggies, and its WCS.

    `at` is the galaxy's offset in arcsec. `extra` are stars: (east, north, flux in r).
    """
    wcs = grid(size, scale, angle)
    east, north = offsets(wcs, size)
    light = galaxy_light(east, north, scale, at=at)
    image = np.array(COLOURS)[:, None, None] / 10 * flux * light
    for x, y, bright in extra:
        image = image + bright * galaxy_light(east, north, scale, 0.01, 1.0, (x, y)) * np.ones((3, 1, 1))
    random = np.random.default_rng(seed)
    image = image + random.normal(0, noise * scale / 0.396, image.shape)
    return image.astype(np.float32), wcs


def write_sky(path, image, wcs, planes=(), **cards):
    """Write a frame as FITS with its WCS, and more planes, (name, array) each."""
    header = wcs.to_header()
    header.update(cards)
    hdus = [fits.PrimaryHDU(image, header)] + [fits.ImageHDU(a, name=name) for name, a in planes]
    fits.HDUList(hdus).writeto(path)
    return path
