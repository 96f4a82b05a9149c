"""Simulated spectra of bulges and discs: stars, dust, emission lines, velocities and redshift.

The rest-frame spectrum of a component is a sum of simple stellar populations behind dust. Emission lines are
added in Fourier space. There, broadening and redshift are a multiplication (Cappellari 2017, MNRAS 466:798),
which is exact to a fraction of a pixel.
"""

from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files

import numpy as np

from pix2spec.core.lines import LIGHT_SPEED_KM_S, LINES, SDSS_LINE_SPREAD_KM_S
from pix2spec.core.photometry import filter_matrix
from pix2spec.core.survey import SDSS
from pix2spec.data.simulate.galaxies import Galaxies, luminosity_distance
from pix2spec.data.simulate.gas import BROAD, agn_lines, star_forming_lines

__all__ = [
    "Components",
    "RestFrameModel",
    "SpectrumModel",
    "dn4000",
]

HALPHA_PER_SFR = 4.8e7  # Lsun per Msun/yr (Kennicutt & Evans 2012, ARA&A 50:531)
YOUNGEST = 1.05e7  # yr: length of the youngest age bin, whose stars ionise the gas
REMAINING = 0.6  # mass in stars and remnants over mass formed, for old Chabrier populations
SOLAR_LUMINOSITY = 3.828e33  # erg/s
MEGAPARSEC = 3.0857e24  # cm


@dataclass
class Components:
    """Observed-frame spectra of the complete bulges and discs of n galaxies.

    Spectra are in 1e-17 erg/s/cm2/A on the W pixels of the model's lattice. Band fluxes (ugriz) are in
    nanomaggies. Fluxes of narrow lines, in the order of LINES, are in 1e-17 erg/s/cm2.
    """

    bulge: np.ndarray  # (n, W) float32
    disc: np.ndarray
    bulge_bands: np.ndarray  # (n, 5)
    disc_bands: np.ndarray
    bulge_lines: np.ndarray  # (n, number of lines)
    disc_lines: np.ndarray
    logmass: np.ndarray  # (n,) log10 of the stellar mass / Msun
    logssfr: np.ndarray  # (n,) log10 of SFR / stellar mass in 1/yr, last 10 Myr


@lru_cache(maxsize=1)
def load_templates() -> dict:
    """Load the stellar templates. The script scripts/build_templates.py makes their file."""
    with (files("pix2spec.data.simulate") / "templates.npz").open("rb") as stream:
        stored = dict(np.load(stream, allow_pickle=False))
    flux = stored["flux"].astype(np.float32)
    # The Fourier transform needs a periodic spectrum: the red end, beyond all filters, approaches the blue
    # one.
    ramp = np.linspace(0, 1, 40, dtype=np.float32)
    flux[:, -40:] += ramp * (flux[:, :1] - flux[:, -40:])
    return stored | {"flux": flux}


def milky_way_extinction(wave) -> np.ndarray:
    """A(lambda) / A(V) for R_V = 3.1 at wavelengths above 1000 A (Cardelli et al. 1989, ApJ 345:245)."""
    x = 1e4 / np.asarray(wave, float)
    y = np.clip(x, 1.1, 3.3) - 1.82
    a = np.polyval([0.32999, -0.77530, 0.01979, 0.72085, -0.02427, -0.50447, 0.17699, 1.0], y)
    b = np.polyval([-2.09002, 5.30260, -0.62251, -5.38434, 1.07233, 2.28305, 1.41338, 0.0], y)
    optical = np.where(x < 1.1, (0.574 - 0.527 / 3.1) * x**1.61, a + b / 3.1)
    return np.where(x > 3.3, _ultraviolet_extinction(np.clip(x, 3.3, 10)), optical)


def _ultraviolet_extinction(x):
    """A(lambda) / A(V) for R_V = 3.1 at x = 3.3 to 10 per micrometre (the same authors)."""
    a = 1.752 - 0.316 * x - 0.104 / ((x - 4.67) ** 2 + 0.341)
    b = -3.090 + 1.825 * x + 1.206 / ((x - 4.62) ** 2 + 0.263)
    y = np.clip(x, 5.9, 8) - 5.9
    a += np.polyval([-0.009779, -0.04473, 0, 0], y)
    b += np.polyval([0.1207, 0.2130, 0, 0], y)
    y = x - 8
    far_a = np.polyval([-0.070, 0.137, -0.628, -1.073], y)
    far_b = np.polyval([0.374, -0.420, 4.257, 13.670], y)
    return np.where(x > 8, far_a + far_b / 3.1, a + b / 3.1)


def dn4000(flux: np.ndarray, z: np.ndarray, start: float, step: float) -> np.ndarray:
    """The 4000 A break: the ratio of the mean f_nu in two narrow windows (Balogh et al. 1999, ApJ 527:54).

    Parameters
    ----------
    flux : array (n, W)
        f_lambda at the wavelengths log10(lambda / A) = `start` + `step` * i.
    z : array (n,)
        Redshifts.
    start, step : float
        The lattice of wavelengths.

    Returns
    -------
    array (n,)
        NaN where a window is outside the spectrum.
    """

    def mean_fnu(low, high):  # limits in rest-frame vacuum wavelength
        first = np.rint((np.log10(low * (1 + z)) - start) / step).astype(int)
        count = round(np.log10(high / low) / step)
        index = first[:, None] + np.arange(count)
        inside = (first >= 0) & (first + count <= flux.shape[1])
        values = np.take_along_axis(flux, np.clip(index, 0, flux.shape[1] - 1), 1)
        width = 10 ** (step * np.arange(count))  # proportional to dlambda
        mean = (values * width**3).sum(1) / width.sum() * (low * (1 + z)) ** 2  # f_nu ~ lambda^2 f_lambda
        return np.where(inside, mean, np.nan)

    return mean_fnu(4001.13, 4101.16) / mean_fnu(3851.09, 3951.12)


@dataclass
class RestFrame:
    """Rest-frame spectra of bulges and discs per Msun formed, behind their own dust.

    Continua are in Lsun/A on the W pixels of a model's lattice, luminosities of lines in Lsun, in the order
    of LINES. Narrow and broad lines of the nucleus belong to the bulge, whose continuum includes the
    nucleus's. The fractions of the mass that formed in the last 10.5 Myr are `bulge_young` and `disc_young`.
    """

    bulge: np.ndarray  # (n, W)
    disc: np.ndarray
    bulge_gas: np.ndarray  # (n, number of lines)
    disc_gas: np.ndarray
    narrow: np.ndarray
    broad: np.ndarray
    narrow_dispersion: np.ndarray  # (n,) km/s
    broad_dispersion: np.ndarray
    bulge_young: np.ndarray  # (n,)
    disc_young: np.ndarray


class RestFrameModel:
    """Computes the rest-frame spectra of the components of galaxies on a lattice of wavelengths.

    Parameters
    ----------
    flux : array (40, W)
        Stellar templates relative to their mean at 5500 A.
    start, step : float
        The lattice: log10 of the first vacuum wavelength in Angstrom, and the step in dex.
    """

    def __init__(self, flux, start, step):
        stored = load_templates()
        self.flux = flux
        self.level = stored["level"].astype(float)  # Lsun/A per Msun formed, at 5500 A
        self.ages, self.metallicities = stored["ages"], stored["metallicities"]
        self.start, self.step = float(start), float(step)
        self.wave = 10 ** (self.start + self.step * np.arange(flux.shape[1]))
        # Power laws for the diffuse dust and the birth clouds (Charlot & Fall 2000, ApJ 539:718).
        self.diffuse_dust = ((self.wave / 5500) ** -0.7).astype(np.float32)
        self.birth_dust = ((self.wave / 5500) ** -1.3).astype(np.float32)
        self.line_wave = np.array(list(LINES.values()))
        self.line_dust = milky_way_extinction(self.line_wave)
        self.near_halpha = (self.wave > 6450) & (self.wave < 6680)

    def ssp_weights(self, logz, start, tau, recent, burst):
        """Fraction of the formed mass in each simple stellar population.

        A delayed exponential history, t exp(-t / tau), is integrated over the templates' age bins. The last
        0.2 Gyr are scaled by `recent`, and a burst 0.5 to 1.2 Gyr ago is added. Templates are interpolated
        linearly in log Z.

        Parameters
        ----------
        logz : array (n,)
            log10 of Z / 0.02.
        start, tau : array (n,)
            Time since star formation began, and its time-scale, in Gyr.
        recent : array (n,)
            Factor of the star formation in the last 0.2 Gyr.
        burst : array (n,)
            Fraction of the mass that the burst formed.

        Returns
        -------
        weights : array (n, metallicities x ages)
            Mass fractions.
        youngest : array (n,)
            Fraction of the mass that formed in the last 10.5 Myr.
        """
        edges = np.concatenate([[0.0, 0.0105], np.sqrt(self.ages[1:-1] * self.ages[2:]), [13.8]])
        x = (start[:, None] - np.minimum(edges, start[:, None])) / tau[:, None]  # time since the start
        formed = 1 - (1 + x) * np.exp(-x)
        history = formed[:, :-1] - formed[:, 1:]
        history[:, :3] *= recent[:, None]
        history /= history.sum(1, keepdims=True)
        history *= 1 - burst[:, None]
        history[:, 4] += 0.6 * burst
        history[:, 5] += 0.4 * burst
        knots = np.log10(self.metallicities / 0.02)
        upper = np.clip((logz[:, None] - knots[:-1]) / np.diff(knots), 0, 1)
        ones, zeros = np.ones((len(logz), 1)), np.zeros((len(logz), 1))
        share = np.hstack([ones, upper]) - np.hstack([upper, zeros])
        return (share[:, :, None] * history[:, None, :]).reshape(len(logz), -1), history[:, 0]

    def stars(self, weights, av, av_birth):
        """Rest-frame spectra (n, W) of stars behind dust, in Lsun/A per Msun formed.

        `av` (n,) attenuates all stars, in magnitudes in V. `av_birth` (n,) also attenuates the youngest
        population (5 Myr), which is still in its birth clouds.
        """
        light = (weights * self.level).astype(np.float32)
        young = np.zeros_like(light)
        young[:, :: len(self.ages)] = light[:, :: len(self.ages)]
        magnitudes = np.float32(-0.4 * np.log(10))
        spectrum = young @ self.flux
        spectrum *= np.exp(magnitudes * av_birth[:, None].astype(np.float32) * self.birth_dust)
        spectrum += (light - young) @ self.flux
        spectrum *= np.exp(magnitudes * av[:, None].astype(np.float32) * self.diffuse_dust)
        return spectrum

    def nucleus(self, galaxies: Galaxies, stars):
        """Lines and power-law continuum of active nuclei, scaled to the bulges' continuum `stars` (n, W).

        Returns
        -------
        narrow, broad : array (n, lines)
            Luminosities of narrow and broad lines.
        continuum : array (n, W) or 0
            The power law; 0 if no galaxy has one.
        """
        g = galaxies
        near_halpha = stars[:, self.near_halpha].mean(1)
        width, scatter = np.array([[0, 1.25, 0.35, 1.3], [0, 0.35, 0.25, 0.25]])[:, g.agn]
        halpha = np.where(g.agn > 0, 10 ** (width + scatter * g.agn_scatter), 0) * near_halpha
        narrow = agn_lines(halpha, g.agn == 2, g.line_scatter[:, 5:])
        seyfert1 = g.agn == 3
        broad_halpha = np.where(seyfert1, 10 ** (2.1 + 0.2 * g.agn_scatter), 0) * near_halpha
        broad = broad_halpha[:, None] * BROAD
        strength = np.where(seyfert1, 0.35 * np.exp(0.5 * g.agn_scatter), 0) * near_halpha
        continuum = 0
        if seyfert1.any():
            continuum = (strength[:, None] * (self.wave / 6500) ** -1.5).astype(np.float32)
        return narrow, broad, continuum

    def rest_frame(self, galaxies: Galaxies) -> RestFrame:
        """Compute the rest-frame spectra of bulges and discs, not yet broadened by motions."""
        g = galaxies
        bulge_weights, bulge_young = self.ssp_weights(
            g.bulge_metallicity, g.start, g.bulge_timescale, 0.1 * g.recent, g.burst
        )
        disc_weights, disc_young = self.ssp_weights(
            g.disc_metallicity, g.start, g.disc_timescale, g.recent, g.burst
        )
        bulge = self.stars(bulge_weights, 0.6 * g.av, g.av)
        disc = self.stars(disc_weights, g.av, g.av)
        # Dust attenuates gas about twice as much as stars (Calzetti et al. 2000, ApJ 533:682).
        gas_av = np.clip(1.9 * g.av, 0, 3.5) + 0.05
        gas_dust = 10 ** (-0.4 * gas_av[:, None] * self.line_dust)
        nuclear_dust = 10 ** (-0.4 * np.minimum(gas_av, 1.0)[:, None] * self.line_dust)
        halpha = HALPHA_PER_SFR / YOUNGEST  # Lsun per Msun formed in the youngest bin
        narrow, broad, continuum = self.nucleus(g, bulge)
        return RestFrame(
            bulge=bulge + continuum,
            disc=disc,
            bulge_gas=gas_dust * star_forming_lines(halpha * bulge_young, g.oxygen, g.line_scatter),
            disc_gas=gas_dust * star_forming_lines(halpha * disc_young, g.oxygen, g.line_scatter),
            narrow=narrow * nuclear_dust,
            broad=broad,
            narrow_dispersion=np.clip(1.1 * g.bulge_dispersion, 90, 350),
            broad_dispersion=1300 * np.exp(0.3 * g.agn_scatter),
            bulge_young=bulge_young,
            disc_young=disc_young,
        )


class SpectrumModel(RestFrameModel):
    """Computes the observed spectra of the components of galaxies.

    Attributes
    ----------
    start, step : float
        The lattice of wavelengths: log10 of the first vacuum wavelength in Angstrom, and the step in dex.
    wave : array (W,)
        Wavelengths of the lattice in Angstrom. They are rest-frame for templates, observed for `Components`.
    """

    def __init__(self):
        stored = load_templates()
        super().__init__(stored["flux"], stored["start"], stored["step"])
        size = len(self.wave)
        self.bands = filter_matrix(self.wave, SDSS.filters).astype(np.float32)
        self.frequency = np.fft.rfftfreq(size)
        position = (np.log10(self.line_wave) - self.start) / self.step
        pixel_width = self.line_wave * np.log(10) * self.step
        phase = np.exp(-2j * np.pi * np.outer(position, self.frequency))
        self.line_transforms = (phase / pixel_width[:, None]).astype(np.complex64)  # of unit line flux
        # The limit keeps the u band of simulated galaxies at the values that published datasets have.
        self.foreground = milky_way_extinction(np.maximum(self.wave, 1e4 / 3.3)).astype(np.float32)

    def broadening(self, dispersion):
        """Fourier transform of velocity distribution and line spread, for `dispersion` (n,) in km/s."""
        pixel = LIGHT_SPEED_KM_S * np.log(10) * self.step
        variance = ((dispersion**2 + SDSS_LINE_SPREAD_KM_S**2) / pixel**2).astype(np.float32)
        return np.exp(variance[:, None] * (-2 * np.pi**2 * self.frequency**2).astype(np.float32))

    def add_lines(self, transform, luminosity, dispersion):
        """Add lines of `luminosity` (n, lines) to the Fourier transforms `transform` of spectra, in place."""
        rows = np.flatnonzero(luminosity.any(1))
        if len(rows):
            lines = luminosity[rows].astype(np.float32) @ self.line_transforms
            transform[rows] += lines * self.broadening(dispersion[rows])

    def observe(self, transform, z, ebv):
        """Observed spectra (n, W): redshift the transforms, transform them back, add Galactic extinction."""
        shift = np.log10(1 + z) / self.step
        phase = np.exp(-2j * np.pi * shift[:, None] * self.frequency).astype(np.complex64)
        spectrum = np.fft.irfft(transform * phase, n=len(self.wave), axis=1)
        depth = (-0.4 * np.log(10) * 3.1 * ebv).astype(np.float32)
        spectrum *= np.exp(depth[:, None] * self.foreground)
        return spectrum.astype(np.float32, copy=False)

    def components(self, galaxies: Galaxies) -> Components:
        """Compute the observed spectra of bulges and discs, scaled to the r magnitude of each galaxy."""
        g, rest = galaxies, self.rest_frame(galaxies)
        bulge_transform = np.fft.rfft(rest.bulge, axis=1) * self.broadening(g.bulge_dispersion)
        disc_transform = np.fft.rfft(rest.disc, axis=1) * self.broadening(g.disc_dispersion)
        self.add_lines(bulge_transform, rest.bulge_gas, g.gas_dispersion)
        self.add_lines(disc_transform, rest.disc_gas, g.gas_dispersion)
        self.add_lines(bulge_transform, rest.narrow, rest.narrow_dispersion)
        self.add_lines(bulge_transform, rest.broad, rest.broad_dispersion)
        bulge = self.observe(bulge_transform, g.z, g.ebv_milky_way)
        disc = self.observe(disc_transform, g.z, g.ebv_milky_way)
        bulge_lines, disc_lines = rest.bulge_gas + rest.narrow, rest.disc_gas
        return self.scale(g, bulge, disc, bulge_lines, disc_lines, rest.bulge_young, rest.disc_young)

    def scale(self, g, bulge, disc, bulge_lines, disc_lines, bulge_young, disc_young) -> Components:
        """Scale each component to its share of the r flux, and compute masses and star formation rates."""
        bulge_bands, disc_bands = bulge @ self.bands, disc @ self.bands
        r = SDSS.photometry_bands.index("r")
        total = 10 ** (-0.4 * (g.r - 22.5))
        bulge_scale = g.bulge_fraction * total / bulge_bands[:, r]
        disc_scale = (1 - g.bulge_fraction) * total / disc_bands[:, r]
        # A line flux is the flux density times the width of a pixel, which grows by 1 + z.
        foreground = 10 ** (
            -0.4 * 3.1 * g.ebv_milky_way[:, None] * milky_way_extinction(self.line_wave * (1 + g.z[:, None]))
        )
        to_flux = (1 + g.z[:, None]) * foreground
        # The mass formed follows from f_lambda(observed) = L_lambda(rest) / (4 pi D^2 (1 + z)).
        area = 4 * np.pi * (luminosity_distance(g.z) * MEGAPARSEC) ** 2
        per_scale = 1e-17 * area * (1 + g.z) / SOLAR_LUMINOSITY  # Msun formed per unit of scale
        formed = per_scale * (bulge_scale + disc_scale)
        sfr = per_scale * (bulge_scale * bulge_young + disc_scale * disc_young) / YOUNGEST
        return Components(
            bulge=bulge * bulge_scale[:, None].astype(np.float32),
            disc=disc * disc_scale[:, None].astype(np.float32),
            bulge_bands=bulge_bands * bulge_scale[:, None],
            disc_bands=disc_bands * disc_scale[:, None],
            bulge_lines=bulge_lines * bulge_scale[:, None] * to_flux,
            disc_lines=disc_lines * disc_scale[:, None] * to_flux,
            logmass=np.log10(REMAINING * formed),
            logssfr=np.log10(sfr / (REMAINING * formed) + 1e-15),
        )
