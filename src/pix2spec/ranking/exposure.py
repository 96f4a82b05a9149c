"""Signal to noise of an emission line, and exposure time: a simple model of fibre spectrographs.

The signal is the photons of the line in a matched Gaussian window. The noise comes from the photons of the
line, of the galaxy's continuum and of the dark sky, and from read-out (Horne 1986, PASP 98:609). The fluxes
of line and continuum are those in the catalogue's fibre; a narrower fibre receives less light of a galaxy.
`docs/guides/rank.md` describes the accuracy of the model.
"""

from dataclasses import dataclass
from difflib import get_close_matches

import numpy as np

from pix2spec.core.lines import LIGHT_SPEED_KM_S, LINES, mean_wavelength
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
GAS_DISPERSION_KM_S = 100.0  # velocity dispersion of the gas in a galaxy
# The light within a diameter d of 1.4 to 3 arcsec grows as d**GROWTH; see benchmarks/ranking.py.
GROWTH = 1.2
# Dark sky at Paranal with airglow lines, UBVRI mag/arcsec2 (Patat 2003, A&A 400:1183), and the flux of
# magnitude zero at the bands' effective wavelengths (Bessell, Castelli & Plez 1998, A&A 333:231).
SKY_WAVE = np.array([3660.0, 4380.0, 5450.0, 6410.0, 7980.0])  # Angstrom
SKY_MAG = np.array([22.3, 22.6, 21.6, 20.9, 19.7])
ZERO_FLUX = np.array([4.175e-9, 6.32e-9, 3.631e-9, 2.177e-9, 1.126e-9])  # erg/s/cm2/Angstrom
SKY = ZERO_FLUX * 10 ** (-0.4 * SKY_MAG) / FLUX_UNIT
# Rest-frame vacuum wavelengths in Angstrom of the lines of `pix2spec.measure.quantities`.
REST = {
    "oii": mean_wavelength("[O_II] 3725", "[O_II] 3727"),
    "hbeta": LINES["H_beta"],
    "oiii": LINES["[O_III] 5007"],
    "halpha": LINES["H_alpha"],
    "nii": LINES["[N_II] 6583"],
    "sii": mean_wavelength("[S_II] 6716", "[S_II] 6730"),
}


@dataclass(frozen=True)
class Instrument:
    """A telescope with a fibre spectrograph.

    Parameters
    ----------
    name : str
        Name of the instrument.
    area : float
        Unobscured area of the telescope in m2.
    throughput : float
        Detected electrons per photon that would enter the fibre without an atmosphere. It is the same at all
        wavelengths.
    fibre : float
        Diameter of a fibre in arcsec.
    resolution : float
        Wavelength / FWHM.
    pixel : float
        Size of a pixel in Angstrom.
    rows : float
        Number of pixels across a spectrum that the extraction adds up.
    read_noise : float
        Electrons per pixel and exposure.
    exposure, overhead : float
        Seconds of one exposure, and of the overhead after it.
    wave : (float, float)
        Range of wavelengths in Angstrom.
    source : str
        Source of the numbers.
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
    """Find an instrument by its name, in any case.

    Raises
    ------
    InputError
        If there is no such instrument. The hint suggests the nearest name.
    """
    key = name.strip().casefold()
    if key in INSTRUMENTS:
        return INSTRUMENTS[key]
    near = get_close_matches(key, INSTRUMENTS, 1, 0.4)
    hint = f"did you mean {near[0]}? " if near else ""
    raise InputError("`instrument`", f"{name!r} is unknown", f"{hint}known are {', '.join(INSTRUMENTS)}")


def _rates(instrument: Instrument, flux, continuum, wave, fibre: float):
    """Electrons per second of the line, and variance per second in its window.

    Both are NaN outside the instrument's range.
    """
    flux, continuum, wave = (np.asarray(a, float) for a in (flux, continuum, wave))
    inside = (wave >= instrument.wave[0]) & (wave <= instrument.wave[1])
    wave = np.where(inside, wave, np.nan)
    electrons = FLUX_UNIT * instrument.area * 1e4 * instrument.throughput * wave / PHOTON
    share = min(instrument.fibre / fibre, 1.0) ** GROWTH
    spread = 1 / instrument.resolution / np.sqrt(8 * np.log(2))
    sigma = wave * np.hypot(spread, GAS_DISPERSION_KM_S / LIGHT_SPEED_KM_S)
    window = 2 * np.sqrt(np.pi) * sigma  # width whose noise affects the flux of a fitted Gaussian profile
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
        The spectrograph.
    flux : array
        Line fluxes in the catalogue's fibre, in 1e-17 erg/s/cm2. Negative fluxes count as 0.
    continuum : array
        Continuum at the lines, in the same fibre, in 1e-17 erg/s/cm2/Angstrom.
    wave : array
        Observed wavelengths of the lines in Angstrom.
    hours : float
        Exposure time, without overheads.
    fibre : float
        Diameter of the catalogue's fibre in arcsec.

    Returns
    -------
    array
        NaN if the line is outside the instrument's range, or if its flux is NaN.
    """
    line, noise = _rates(instrument, flux, continuum, wave, fibre)
    return line * np.sqrt(3600 * hours / noise)


def exposure_hours(instrument: Instrument, flux, continuum, wave, sn: float, fibre: float) -> np.ndarray:
    """Exposure time in hours for a signal to noise of `sn`, the inverse of `line_sn`.

    The other parameters are those of `line_sn`.

    Returns
    -------
    array
        Infinite if there is no line; NaN if it is outside the instrument's range, or if its flux is NaN.
    """
    line, noise = _rates(instrument, flux, continuum, wave, fibre)
    with np.errstate(divide="ignore"):
        return sn**2 * noise / line**2 / 3600


def telescope_hours(instrument: Instrument, hours) -> np.ndarray:
    """Telescope time in hours for a total exposure time of `hours`, with the overhead of each exposure."""
    hours = np.asarray(hours, float)
    return hours + np.ceil(hours * 3600 / instrument.exposure - 1e-9) * instrument.overhead / 3600
