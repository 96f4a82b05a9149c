"""Signal to noise of an emission line, and the exposure that it needs: a simple model of fibre spectrographs.

Photons of the line are counted in a matched Gaussian window against those of the galaxy's continuum and of
the dark sky, and against read noise (Horne 1986, PASP 98:609). Line and continuum are those that the
catalogue's fibre would see; a narrower fibre sees less of a galaxy. `docs/guides/rank.md` says how far
to trust it.
"""

from dataclasses import dataclass
from difflib import get_close_matches

import numpy as np

from pix2spec.core.lines import LIGHT_SPEED
from pix2spec.core.lines import LINES as WAVELENGTHS
from pix2spec.errors import InputError

__all__ = [
    "INSTRUMENTS",
    "REST",
    "Instrument",
    "exposure_hours",
    "instrument_of",
    "line_sn",
    "telescope_hours",
]

PHOTON = 1.98645e-8  # erg Angstrom: energy of a photon times its wavelength
FLUX_UNIT = 1e-17  # erg/s/cm2
LINE_DISPERSION = 100.0  # km/s of a galaxy's gas
GROWTH = 1.2  # light within a diameter grows as its power, from 1.4 to 3 arcsec; see benchmarks/ranking.py
# Dark sky at Paranal, UBVRI mag/arcsec2 (Patat 2003, A&A 400:1183), airglow lines included, and the flux of
# magnitude zero at the bands' effective wavelengths (Bessell, Castelli & Plez 1998, A&A 333:231).
SKY_WAVE = np.array([3660.0, 4380.0, 5450.0, 6410.0, 7980.0])  # Angstrom
SKY_MAG = np.array([22.3, 22.6, 21.6, 20.9, 19.7])
ZERO_FLUX = np.array([4.175e-9, 6.32e-9, 3.631e-9, 2.177e-9, 1.126e-9])  # erg/s/cm2/Angstrom
SKY = ZERO_FLUX * 10 ** (-0.4 * SKY_MAG) / FLUX_UNIT
# Rest-frame vacuum wavelength of each line of the quantities, in Angstrom.
REST = {
    "oii": (WAVELENGTHS["[O_II] 3725"] + WAVELENGTHS["[O_II] 3727"]) / 2,
    "hbeta": WAVELENGTHS["H_beta"],
    "oiii": WAVELENGTHS["[O_III] 5007"],
    "halpha": WAVELENGTHS["H_alpha"],
    "nii": WAVELENGTHS["[N_II] 6583"],
    "sii": (WAVELENGTHS["[S_II] 6716"] + WAVELENGTHS["[S_II] 6730"]) / 2,
}


@dataclass(frozen=True)
class Instrument:
    """A telescope with a fibre spectrograph.

    Parameters
    ----------
    name : str
    area : float
        Unobscured, m2.
    throughput : float
        Detected electrons for a photon above the atmosphere that falls on the fibre; one number.
    fibre : float
        Diameter in arcsec.
    resolution : float
        Wavelength / FWHM.
    pixel : float
        Angstrom.
    rows : float
        Pixels across a spectrum that its extraction sums.
    read_noise : float
        Electrons a pixel and exposure.
    exposure, overhead : float
        Seconds of one exposure, and of what follows each.
    wave : (float, float)
        Angstrom.
    source : str
        Where the numbers are from.
    """

    name: str
    area: float
    throughput: float
    fibre: float
    resolution: float
    pixel: float
    rows: float
    read_noise: float
    exposure: float
    overhead: float
    wave: tuple[float, float]
    source: str


_ALL = (
    Instrument(
        "sdss", 3.58, 0.07, 3.0, 2000, 1.2, 3, 5.0, 900, 75, (3800, 9200),
        "Gunn et al. 2006, AJ 131:2332; Smee et al. 2013, AJ 146:32; throughput fitted to the inverse "
        "variances of SDSS spectra, losses included",
    ),
    Instrument(
        "boss", 3.58, 0.13, 2.0, 2000, 1.2, 3, 2.5, 900, 75, (3600, 10400),
        "Smee et al. 2013, AJ 146:32: throughput nearly twice that of sdss",
    ),
    Instrument(
        "desi", 8.66, 0.25, 1.52, 3500, 0.6, 3.5, 3.3, 1000, 120, (3600, 9800),
        "desimodel's desi.yaml; DESI Collaboration 2022, AJ 164:207; throughput a round number",
    ),
    Instrument(
        "4most", 9.0, 0.20, 1.43, 6000, 0.4, 3.5, 2.5, 900, 240, (3700, 9500),
        "de Jong et al. 2019, Messenger 175:3; fibre of the exposure time calculator; area and throughput "
        "round numbers",
    ),
)  # fmt: skip
INSTRUMENTS = {instrument.name: instrument for instrument in _ALL}


def instrument_of(name: str) -> Instrument:
    """The instrument called `name`; `InputError` with the nearest name where there is none."""
    key = name.strip().casefold()
    if key in INSTRUMENTS:
        return INSTRUMENTS[key]
    near = get_close_matches(key, INSTRUMENTS, 1, 0.4)
    hint = f"did you mean {near[0]}? " if near else ""
    raise InputError("`instrument`", f"{name!r} is unknown", f"{hint}known are {', '.join(INSTRUMENTS)}")


def _rates(instrument: Instrument, flux, continuum, wave, fibre: float):
    """Electrons a second of the line, and of all else in its window; NaN outside the instrument's range."""
    flux, continuum, wave = (np.asarray(a, float) for a in (flux, continuum, wave))
    inside = (wave >= instrument.wave[0]) & (wave <= instrument.wave[1])
    wave = np.where(inside, wave, np.nan)
    electrons = FLUX_UNIT * instrument.area * 1e4 * instrument.throughput * wave / PHOTON
    share = min(instrument.fibre / fibre, 1.0) ** GROWTH
    sigma = wave * np.hypot(1 / instrument.resolution / np.sqrt(8 * np.log(2)), LINE_DISPERSION / LIGHT_SPEED)
    window = 2 * np.sqrt(np.pi) * sigma  # noise in it enters the flux of a line fitted with its profile
    sky = np.interp(wave, SKY_WAVE, SKY) * np.pi / 4 * instrument.fibre**2
    light = np.maximum(continuum, 0) * share + sky
    reads = window / instrument.pixel * instrument.rows * instrument.read_noise**2 / instrument.exposure
    line = electrons * np.maximum(flux, 0) * share
    return line, line + electrons * light * window + reads


def line_sn(instrument: Instrument, flux, continuum, wave, hours: float, fibre: float) -> np.ndarray:
    """Expected signal to noise of emission lines.

    Parameters
    ----------
    instrument : Instrument
    flux : array
        Line fluxes in the catalogue's fibre, 1e-17 erg/s/cm2; 0 is taken for negative ones.
    continuum : array
        Under the line, in the same fibre, 1e-17 erg/s/cm2/Angstrom.
    wave : array
        Observed wavelengths of the lines, Angstrom.
    hours : float
        Exposure, without overheads.
    fibre : float
        Diameter of the catalogue's fibre, arcsec.

    Returns
    -------
    array
        NaN where the line is outside the instrument's range, or not known.
    """
    line, noise = _rates(instrument, flux, continuum, wave, fibre)
    return line * np.sqrt(3600 * hours / noise)


def exposure_hours(instrument: Instrument, flux, continuum, wave, sn: float, fibre: float) -> np.ndarray:
    """Exposure in hours that brings a line to a signal to noise, the inverse of `line_sn`.

    Infinite where there is no line, NaN where it is outside the instrument's range or not known.
    """
    line, noise = _rates(instrument, flux, continuum, wave, fibre)
    with np.errstate(divide="ignore"):
        return sn**2 * noise / line**2 / 3600


def telescope_hours(instrument: Instrument, hours) -> np.ndarray:
    """Hours that an exposure of `hours` takes, with the overhead of each of its exposures."""
    hours = np.asarray(hours, float)
    return hours + np.ceil(hours * 3600 / instrument.exposure - 1e-9) * instrument.overhead / 3600
