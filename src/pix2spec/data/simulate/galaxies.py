"""Draw the properties of simulated galaxies, such as redshift, luminosity and type.

All properties are drawn from published mean relations with their scatter. `Galaxies` lists the properties.
"""

from dataclasses import dataclass

import numpy as np

from pix2spec.core.lines import LIGHT_SPEED_KM_S

__all__ = ["AGN_TYPES", "GALAXY_TYPES", "MAX_REDSHIFT", "Galaxies", "draw_galaxies", "luminosity_distance"]

GALAXY_TYPES = ("early", "green", "late", "starburst", "post-starburst")
AGN_TYPES = ("none", "seyfert2", "liner", "seyfert1")
EARLY, GREEN, LATE, STARBURST, POST_STARBURST = range(5)
SAMPLES = ("main", "luminous red", "faint", "nearby")
SAMPLE_FRACTIONS = (0.65, 0.15, 0.05, 0.15)
MAIN, RED, FAINT, NEARBY = range(4)

MAX_REDSHIFT = 0.45  # At higher redshifts, the templates do not cover the u band.
SOLAR_R = 4.65  # absolute AB magnitude of the Sun (Willmer 2018, ApJS 236:47)

# Flat Lambda-CDM, H0 = 70 km/s/Mpc, Omega_m = 0.3.
_Z = np.linspace(0, 0.6, 1201)
_E = np.sqrt(0.3 * (1 + _Z) ** 3 + 0.7)
_INTEGRAL = np.concatenate([[0], np.cumsum(np.diff(_Z) / 2 * (1 / _E[1:] + 1 / _E[:-1]))])
_COMOVING = LIGHT_SPEED_KM_S / 70 * _INTEGRAL  # Mpc


@dataclass
class Galaxies:
    """Drawn properties of n galaxies. Fields have the shape (n,) if no other shape is given."""

    z: np.ndarray
    r: np.ndarray  # total observed r magnitude (AB)
    sample: np.ndarray  # index into SAMPLES
    kind: np.ndarray  # index into GALAXY_TYPES
    agn: np.ndarray  # index into AGN_TYPES
    logmass: np.ndarray  # expected for type and luminosity; the truth has the mass of the spectrum instead
    # structure
    bulge_fraction: np.ndarray  # of the observed r light
    bulge_radius: np.ndarray  # half-light radius, arcsec
    disc_radius: np.ndarray
    bulge_axis_ratio: np.ndarray
    disc_axis_ratio: np.ndarray
    angle: np.ndarray  # position angle, radian
    # kinematics, km/s
    bulge_dispersion: np.ndarray
    disc_dispersion: np.ndarray  # includes rotation inside the fibre
    gas_dispersion: np.ndarray
    # chemistry and star formation
    bulge_metallicity: np.ndarray  # log10 Z / 0.02
    disc_metallicity: np.ndarray
    oxygen: np.ndarray  # 12 + log10 O/H of the gas
    start: np.ndarray  # Gyr since star formation began
    bulge_timescale: np.ndarray  # tau of the delayed exponential, Gyr
    disc_timescale: np.ndarray
    recent: np.ndarray  # last 0.2 Gyr relative to that history
    burst: np.ndarray  # mass fraction formed 0.5 to 1.2 Gyr ago
    # dust
    av: np.ndarray  # of the disc's stars, mag
    ebv_milky_way: np.ndarray
    # scatter of lines and nuclei, standard normal
    line_scatter: np.ndarray  # (n, 10)
    agn_scatter: np.ndarray  # clipped


def luminosity_distance(z) -> np.ndarray:
    """Luminosity distance in Mpc at redshift `z`."""
    return np.interp(z, _Z, _COMOVING) * (1 + np.asarray(z))


def distance_modulus(z) -> np.ndarray:
    """Distance modulus in magnitudes at redshift `z`."""
    return 5 * np.log10(luminosity_distance(z)) + 25


class RedshiftDistribution:
    """The distribution p(z | r) of redshifts at an apparent magnitude.

    It is the comoving volume times a Schechter function (Blanton et al. 2003, ApJ 592:819).

    Parameters
    ----------
    low, high : float
        Limits of the redshift.
    """

    def __init__(self, low: float, high: float):
        self.z = np.linspace(low, high, 241)
        self.r = np.linspace(12.5, 20.5, 161)
        magnitude = self.r[:, None] - distance_modulus(self.z) - 1.0 * self.z  # rough K-correction
        luminosity = 10 ** (-0.4 * (magnitude + 21.2))  # M* for h = 0.7
        volume = np.interp(self.z, _Z, _COMOVING) ** 2 / np.interp(self.z, _Z, _E)
        density = volume * luminosity**-0.05 * np.exp(-luminosity)  # alpha = -1.05
        self.cumulative = np.cumsum(density, 1) / density.sum(1, keepdims=True)

    def draw(self, rng, r):
        """Draw redshifts (n,) for apparent magnitudes `r` (n,)."""
        row = np.clip(np.rint((r - self.r[0]) / (self.r[1] - self.r[0])), 0, len(self.r) - 1).astype(int)
        return np.array([np.interp(u, self.cumulative[i], self.z) for u, i in zip(rng.random(len(r)), row)])


ANY_REDSHIFT = RedshiftDistribution(0.005, 0.25)
LOW_REDSHIFT = RedshiftDistribution(0.004, 0.06)


def choose(index, values):
    """Array of ``values[index]``, where `values` has one number per type."""
    return np.asarray(values, float)[index]


def draw_magnitudes(rng, n):
    """Draw sample, r magnitude, redshift and absolute r magnitude: arrays (n,).

    The main sample is complete to r = 17.77 (Strauss et al. 2002, AJ 124:1810), with number counts that grow
    as 10^(0.6 r). Luminous red galaxies follow Eisenstein et al. (2001, AJ 122:2267). Nearby galaxies of all
    magnitudes are added, because the main sample has few of them.
    """
    sample = rng.choice(4, n, p=SAMPLE_FRACTIONS)
    r = 17.77 + 0.72 * np.log(1 - rng.random(n) * (1 - np.exp((14.5 - 17.77) / 0.72)))
    r = np.where(sample == NEARBY, 12.5 + (17.77 - 12.5) * rng.random(n), r)
    r = np.where(sample == FAINT, 17.8 + 2.2 * rng.random(n), r)
    z = np.where(sample == NEARBY, LOW_REDSHIFT.draw(rng, r), ANY_REDSHIFT.draw(rng, r))
    z = np.where(sample == RED, 0.15 + 0.25 * rng.beta(2.0, 1.5, n), z)
    red_r = -22.7 + 0.35 * rng.standard_normal(n) + distance_modulus(z) + 1.0 * z
    r = np.where(sample == RED, np.clip(red_r, 14.5, 19.6), r)
    absolute = r - distance_modulus(z) - np.where(sample == RED, 1.0, 0.8) * z
    return sample, r, z, absolute


def draw_types(rng, sample, absolute):
    """Draw type and mass. The red fraction grows with luminosity (Baldry et al. 2004, ApJ 600:681)."""
    n = len(sample)
    red_fraction = 0.08 + 0.66 / (1 + np.exp((absolute + 20.9) / 0.7))
    u, rare = rng.random((2, n))
    green_fraction = 0.22 * (1 - red_fraction)
    kind = np.where(u < red_fraction, EARLY, np.where(u < red_fraction + green_fraction, GREEN, LATE))
    kind = np.where((kind == LATE) & (rare < 0.07), STARBURST, kind)
    kind = np.where((kind <= GREEN) & (rare > 0.98), POST_STARBURST, kind)
    kind = np.where(sample == RED, EARLY, kind)
    mass_to_light = choose(kind, [2.6, 2.0, 1.3, 0.7, 1.3])  # r band (Bell et al. 2003, ApJS 149:289)
    logmass = np.log10(mass_to_light) - 0.4 * (absolute - SOLAR_R) + 0.1 * rng.standard_normal(n)
    return kind, logmass


def draw_agn(rng, sample, kind, logmass):
    """Draw types of active nuclei, which massive galaxies have (Kauffmann et al. 2003, MNRAS 346:1055)."""
    massive = 1 / (1 + np.exp(-(logmass - 10.5) / 0.25))
    seyfert2 = choose(kind, [0.02, 0.22, 0.10, 0.02, 0.1]) * massive
    liner = choose(kind, [0.22, 0.25, 0.06, 0.0, 0.1]) * massive
    liner = np.where(sample == RED, 0.12, liner)
    seyfert2, seyfert1 = (np.where(sample == RED, 0, x) for x in (seyfert2, 0.012 * massive))
    bounds = np.cumsum([seyfert2, liner, seyfert1], 0)
    u = rng.random(len(kind))
    return np.where(u < bounds[0], 1, np.where(u < bounds[1], 2, np.where(u < bounds[2], 3, 0)))


def draw_structure(rng, z, kind, logmass):
    """Draw bulges and discs. Sizes follow the mass-size relation of Shen et al. (2003, MNRAS 343:978)."""
    n = len(z)
    late = (kind == LATE) | (kind == STARBURST)
    fraction = choose(kind, [0.72, 0.5, 0.18, 0.12, 0.5]) + 0.15 * rng.standard_normal(n)
    mass = 10**logmass
    radius = np.where(late, 0.1 * mass**0.14 * (1 + mass / 3.98e10) ** 0.25, 3.47e-6 * mass**0.56)
    radius = np.clip(radius, 0.8, 25) * np.exp(0.3 * rng.standard_normal(n))  # kpc
    disc = np.where(late, 1.15, 1.3) * radius
    bulge = np.where(late, 0.3, 0.75) * radius * np.exp(0.2 * rng.standard_normal(n))
    kpc_per_arcsec = luminosity_distance(z) / (1 + z) ** 2 * 1e3 / 206265
    inclination = rng.random(n)  # its cosine
    thickness = np.where(late, 0.18, 0.35)
    return dict(
        bulge_fraction=np.clip(fraction + 0.1 * (logmass - 10.5), 0.01, 0.98),
        bulge_radius=np.clip(bulge / kpc_per_arcsec, 0.2, 10),
        disc_radius=np.clip(disc / kpc_per_arcsec, 0.3, 16),
        bulge_axis_ratio=np.clip(0.75 + 0.15 * rng.standard_normal(n), 0.4, 1.0),
        disc_axis_ratio=np.sqrt(inclination**2 * (1 - thickness**2) + thickness**2),
        angle=np.pi * rng.random(n),
    ), inclination


def draw_kinematics(rng, logmass, inclination):
    """Draw velocity dispersions: the Faber-Jackson relation for bulges, rotation in the fibre for discs."""
    n = len(logmass)
    bulge = 10 ** (2.25 + 0.28 * (logmass - 10.8) + 0.07 * rng.standard_normal(n))
    disc = np.clip(10 ** (1.95 + 0.25 * (logmass - 10.3) + 0.1 * rng.standard_normal(n)), 35, 220)
    disc = disc * np.sqrt(0.3 + 0.7 * (1 - inclination**2))
    gas = 0.85 * disc * np.exp(0.15 * rng.standard_normal(n))
    return dict(
        bulge_dispersion=np.clip(bulge, 60, 380),
        disc_dispersion=disc,
        gas_dispersion=np.clip(gas, 30, 250),
    )


def draw_metallicities(rng, kind, logmass):
    """Draw metallicities of stars and gas.

    They follow Gallazzi et al. (2005, MNRAS 362:41) and Tremonti et al. (2004, ApJ 613:898).
    """
    n = len(kind)
    stars = -0.12 + 0.30 * (logmass - 10.7) + 0.13 * rng.standard_normal(n)
    oxygen = 8.80 - 0.10 * (10.6 - logmass) - 0.12 * np.clip(10.0 - logmass, 0, None) ** 1.3
    oxygen += 0.07 * rng.standard_normal(n) - 0.1 * (kind == STARBURST)
    return dict(
        bulge_metallicity=np.clip(np.clip(stars, -0.69, 0.39) + 0.1, -0.69, 0.39),
        disc_metallicity=np.clip(np.clip(stars, -0.69, 0.39) - 0.1, -0.69, 0.39),
        oxygen=np.clip(oxygen, 7.9, 8.95),
    )


def draw_histories(rng, z, kind, logmass):
    """Draw star formation histories: a delayed exponential, recent star formation, and bursts."""
    n = len(z)
    lookback = 9.2 * z  # Gyr; approximation for z < 0.45
    start = choose(kind, [9.6, 9.8, 9.0, 8.0, 9.0]) + 1.2 * rng.standard_normal(n) - lookback
    downsizing = 10 ** (-0.20 * np.clip(logmass - 10.0, -1, 1))
    disc = choose(kind, [1.0, 1.8, 3.4, 7.0, 1.5]) * np.exp(0.3 * rng.standard_normal(n)) * downsizing
    bulge = choose(kind, [0.7, 0.9, 1.5, 3.0, 1.0]) * np.exp(0.2 * rng.standard_normal(n))
    scatter = choose(kind, [0.8, 0.6, 0.4, 0.5, 0.8])
    recent = choose(kind, [0.02, 0.25, 0.85, 3.0, 0.02]) * np.exp(scatter * rng.standard_normal(n))
    burst = np.where(kind == POST_STARBURST, 0.08 * np.exp(0.7 * rng.standard_normal(n)), 0.0)
    return dict(
        start=np.clip(start, 3.0, 13.2),
        bulge_timescale=bulge,
        disc_timescale=disc,
        recent=recent,
        burst=np.minimum(burst, 0.5),
    )


def draw_dust(rng, kind, logmass, inclination):
    """Draw dust: attenuation grows with mass, and in discs with inclination. The foreground is log-normal."""
    n = len(kind)
    av = choose(kind, [0.10, 0.34, 0.68, 0.60, 0.25]) * np.exp(0.45 * rng.standard_normal(n))
    av = av * 10 ** (0.45 * np.clip(logmass - 10.2, -1.2, 0.6))
    av = av * np.where(kind == EARLY, 1, 0.75 + 0.5 * (1 - inclination))
    foreground = 0.03 * np.exp(0.5 * rng.standard_normal(n))
    return dict(av=np.clip(av, 0, 2.0), ebv_milky_way=np.clip(foreground, 0, 0.2))


def draw_galaxies(rng: np.random.Generator, n: int) -> Galaxies:
    """Draw the properties of `n` galaxies of a magnitude-limited survey like SDSS."""
    sample, r, z, absolute = draw_magnitudes(rng, n)
    kind, logmass = draw_types(rng, sample, absolute)
    structure, inclination = draw_structure(rng, z, kind, logmass)
    return Galaxies(
        z=z,
        r=r,
        sample=sample,
        kind=kind,
        logmass=logmass,
        agn=draw_agn(rng, sample, kind, logmass),
        **structure,
        **draw_kinematics(rng, logmass, inclination),
        **draw_metallicities(rng, kind, logmass),
        **draw_histories(rng, z, kind, logmass),
        **draw_dust(rng, kind, logmass, inclination),
        line_scatter=rng.standard_normal((n, 10)),
        agn_scatter=np.clip(rng.standard_normal(n), -2, 1.5),
    )
