"""Noise of simulated observations: sky, photons, calibration errors, cosmic rays and missing pixels."""

import numpy as np

from pix2spec.core.grid import SpectralGrid
from pix2spec.core.survey import SDSS
from pix2spec.data.simulate.images import fibre_weights

__all__ = ["BAD_PIXEL", "BRIGHT_SKY", "SpectrumNoise", "add_image_noise", "measure_photometry"]

# Bits of SDSS's SPPIXMASK.
BAD_PIXEL = 1 << 16  # NEARBADPIXEL
REJECTED = 1 << 18  # FULLREJECT: no good exposure, ivar = 0
BRIGHT_SKY = 1 << 23  # BRIGHTSKY

# Imaging in ugriz: sky noise per pixel in nanomaggies, electrons per nanomaggy in 54 s, relative error.
SKY_NOISE = np.array([0.045, 0.019, 0.028, 0.042, 0.15])
ELECTRONS = np.array([170.0, 1000.0, 940.0, 770.0, 145.0])
PHOTOMETRIC_CALIBRATION = np.array([0.02, 0.01, 0.01, 0.01, 0.015])  # Padmanabhan et al. 2008, ApJ 674:1217

# Night-sky emission of [O I], Na I and OH bands: pairs of air wavelength in Angstrom and relative strength.
SKY_LINES = """
5577.3 18  5890.0 2.5  5896.0 1.5  6300.3 5  6363.8 1.8  6498.7 0.6  6533.0 0.7  6553.6 0.8  6829.5 0.6
6863.9 2  6923.2 1.2  7276.4 2.5  7316.3 3  7340.9 3.2  7369.0 1.5  7523.9 1.4  7571.7 1.2  7712.0 1.5
7750.6 4.5  7794.1 5  7821.5 4  7853.2 2  7913.7 7  7964.6 5  7993.3 5  8025.8 2.5  8344.6 7  8399.2 8
8430.2 8  8465.4 4  8493.4 2  8504.6 2  8778.3 5  8827.1 8  8885.9 10  8903.1 4
"""
AIR_TO_VACUUM = 1.000277
LINE_SPREAD = 1.3e-4  # dex: dispersion of an unresolved line


def image_bands() -> list[int]:
    """Indices of the image bands in the photometric bands."""
    return [SDSS.photometry_bands.index(band) for band in SDSS.image_bands]


def add_image_noise(rng, image: np.ndarray) -> np.ndarray:
    """Add sky and photon noise to images (n, 3, y, x) in nanomaggies per pixel."""
    bands = image_bands()
    sky = (SKY_NOISE[bands] ** 2).astype(np.float32)[:, None, None]
    electrons = ELECTRONS[bands].astype(np.float32)[:, None, None]
    noise = rng.standard_normal(image.shape, dtype=np.float32)
    return image + noise * np.sqrt(np.maximum(image, 0) / electrons + sky)


def measure_photometry(rng, bands: np.ndarray):
    """Add noise to fibre photometry.

    Parameters
    ----------
    bands : array (n, 5)
        Noise-free ugriz fluxes in the fibre, nanomaggies.

    Returns
    -------
    flux, ivar : array (n, 5), float32
        Noisy fluxes in nanomaggies and their inverse variances.
    """
    sky = SKY_NOISE**2 * (fibre_weights() ** 2).sum()
    variance = sky + bands / ELECTRONS + (PHOTOMETRIC_CALIBRATION * bands) ** 2
    flux = bands + np.sqrt(variance) * rng.standard_normal(bands.shape)
    return flux.astype(np.float32), (1 / variance).astype(np.float32)


class SpectrumNoise:
    """Noise of the SDSS spectrographs for a 45-minute exposure.

    The photons of source and sky, scaled by the throughput, give Gaussian noise. The residuals of data
    reduction are added: errors of sky lines (in strength and wavelength, with heavy tails), of the sky level,
    of the calibration (smooth) and of telluric bands, and cosmic rays. The inverse variance includes the
    Gaussian noise and the expected variance of all residuals except cosmic rays.

    Parameters
    ----------
    grid : SpectralGrid
        Pixels of the spectra.
    """

    sky_strength = 0.006  # rms of the relative error in the strength of sky lines
    sky_shift = 0.006  # rms of their shift in wavelength, in pixels of 1e-4 dex
    sky_level = 0.01  # rms of the relative error of the sky continuum
    tilt, bend, telluric_depth = 0.010, 0.006, 0.010  # rms of relative calibration errors
    cosmic_rays = 0.15  # probability that a spectrum has a cosmic ray
    flagged = 0.8  # probability that the mask flags it
    gaps = 0.10  # probability of a run of missing pixels

    def __init__(self, grid: SpectralGrid):
        wave = grid.wave
        self.size = grid.size
        lines = np.array(SKY_LINES.split(), float).reshape(-1, 2)
        distance = (grid.loglam[:, None] - np.log10(lines[:, 0] * AIR_TO_VACUUM)) / LINE_SPREAD
        profile = lines[:, 1] * np.exp(-0.5 * distance**2)
        self.lines = 9.0 * profile.sum(1)  # 1e-17 erg/s/cm2/A
        self.slope = 9.0 * (profile * distance).sum(1) * 1e-4 / LINE_SPREAD  # per pixel of 1e-4 dex
        knots = [3800, 4300, 5000, 6000, 7000, 8000, 9000]
        self.continuum = np.interp(wave, knots, [9, 8, 8, 9, 9, 10, 12])
        # Throughput derived from the inverse variances of 1,055 SDSS spectra. The dichroic is at 5900 A.
        knots = [3850, 4000, 4200, 4500, 5200, 5750, 5950, 7000, 8000, 8300, 8900]
        throughput = np.interp(wave, knots, [0.12, 0.21, 0.32, 0.43, 0.64, 0.6, 0.9, 1.1, 0.95, 0.75, 0.6])
        self.per_flux = 0.032 / throughput * (1e-4 / grid.step)  # variance for one unit of flux
        # The B and A bands of oxygen in the atmosphere.
        self.telluric = np.exp(-0.5 * ((wave - 6885) / 18) ** 2)
        self.telluric += 1.5 * np.exp(-0.5 * ((wave - 7630) / 25) ** 2)
        self.x = np.linspace(-1, 1, grid.size)
        for name in ("lines", "slope", "continuum", "per_flux", "telluric", "x"):
            setattr(self, name, getattr(self, name).astype(np.float32))
        self.bright = (self.lines > 30).astype(np.int32) * BRIGHT_SKY
        self.sky_variance = (
            (self.sky_strength * self.lines) ** 2
            + (self.sky_shift * self.slope) ** 2
            + (self.sky_level * self.continuum) ** 2
        )
        self.gain_variance = (
            (self.tilt * self.x) ** 2
            + (self.bend * (1.5 * self.x**2 - 0.5)) ** 2
            + (self.telluric_depth * self.telluric) ** 2
        )

    def observe(self, rng, flux: np.ndarray):
        """Add noise to spectra.

        Parameters
        ----------
        rng : numpy.random.Generator
        flux : array (n, L)
            Noise-free spectra in 1e-17 erg/s/cm2/A.

        Returns
        -------
        noisy, ivar : array (n, L), float32
            Noisy spectra and their inverse variances.
        mask : array (n, L), int32
            Bits of SDSS's SPPIXMASK.
        signal_to_noise : array (n,)
            Median over pixels of flux / noise.
        """
        n = len(flux)
        conditions = np.exp(0.25 * rng.standard_normal((n, 1), dtype=np.float32))  # airmass, clouds, seeing
        variance = self.per_flux * (np.maximum(flux, 0) + self.continuum + self.lines) * conditions
        noise = rng.standard_normal((n, self.size), dtype=np.float32) * np.sqrt(variance)
        noise += self.residuals(rng, flux)
        variance += self.sky_variance + self.gain_variance * flux**2
        sigma = np.sqrt(variance)
        mask = np.broadcast_to(self.bright, flux.shape).copy()
        self.add_cosmic_rays(rng, noise, sigma, mask)
        ivar = 1 / variance
        self.cut_gaps(rng, ivar, mask)
        return flux + noise, ivar, mask, np.median(flux / sigma, axis=1)

    def residuals(self, rng, flux):
        """Errors of sky subtraction and flux calibration (n, L)."""
        n = len(flux)
        # Student's t with 5 degrees of freedom, scaled to unit variance: a few spectra are much worse.
        sky = rng.standard_t(5, (3, n, 1)).astype(np.float32) * np.float32(np.sqrt(3 / 5))
        gain = rng.standard_normal((3, n, 1), dtype=np.float32)
        error = self.sky_strength * sky[0] * self.lines
        error += self.sky_shift * sky[1] * self.slope
        error += self.sky_level * sky[2] * self.continuum
        relative = self.tilt * gain[0] * self.x + self.bend * gain[1] * (1.5 * self.x**2 - 0.5)
        relative += self.telluric_depth * gain[2] * self.telluric
        return error + relative * flux

    def add_cosmic_rays(self, rng, noise, sigma, mask):
        """Add cosmic rays (spikes of three pixels) to `noise` (n, L), and flag most in `mask`, in place."""
        n = len(noise)
        centre = rng.integers(1, self.size - 1, n)
        height = np.clip(8 * (rng.pareto(1.5, n) + 0.5), 0, 150) * np.where(rng.random(n) < 0.75, 1, -0.3)
        u = rng.random((2, n))
        rows = np.flatnonzero(u[0] < self.cosmic_rays)
        seen = np.where(u[1] < self.flagged, BAD_PIXEL, 0).astype(np.int32)
        for offset, share in ((-1, 0.25), (0, 1.0), (1, 0.25)):
            pixel = centre[rows] + offset
            noise[rows, pixel] += (share * height[rows] * sigma[rows, pixel]).astype(np.float32)
            mask[rows, pixel] |= seen[rows]

    def cut_gaps(self, rng, ivar, mask):
        """Remove the data of runs of pixels from `ivar` and `mask` (n, L) in place."""
        n = len(ivar)
        first = rng.integers(0, self.size, n)
        length = 1 + rng.geometric(1 / 60, n)
        for i in np.flatnonzero(rng.random(n) < self.gaps):
            gap = slice(first[i], first[i] + length[i])
            ivar[i, gap] = 0
            mask[i, gap] |= REJECTED
