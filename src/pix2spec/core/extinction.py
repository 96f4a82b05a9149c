"""Galactic extinction: maps of the Milky Way's dust, and the correction of fluxes and images.

sfdmap2 reads the maps of Schlegel, Finkbeiner & Davis (SFD; 1998, ApJ 500:525) from a folder of the user.
Nothing is downloaded. Coefficients turn E(B-V) of these maps into magnitudes in a band. They contain the
recalibration by 0.86 (Schlafly & Finkbeiner 2011, ApJ 737:103), so that the maps must not be scaled as well.
Other coefficients are computed from the extinction law of that paper, at the centre of the filter.
"""

import os
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

import numpy as np

from pix2spec.core.filters import Filter, load_filter
from pix2spec.errors import InputError

__all__ = [
    "COEFFICIENTS",
    "coefficients",
    "correct",
    "deredden_fluxes",
    "deredden_image",
    "extinction_law",
    "find_maps",
    "open_maps",
]

# A_b / E(B-V)_SFD by response curve, R_V = 3.1.
COEFFICIENTS = {
    # Schlafly & Finkbeiner (2011), table 6: SDSS, LSST and PS1
    **dict(zip([f"sdss2010-{b}" for b in "ugriz"], (4.239, 3.303, 2.285, 1.698, 1.263))),
    **dict(zip([f"lsst2023-{b}" for b in "ugrizy"], (4.145, 3.237, 2.273, 1.684, 1.323, 1.088))),
    **dict(zip([f"panstarrs-{b}" for b in "grizy"], (3.172, 2.271, 1.682, 1.322, 1.087))),
    # Legacy Surveys (www.legacysurvey.org/dr10/catalogs), computed as in that paper at airmass 1.3. Table 6
    # of the paper has 3.237, 2.176 and 1.217 for the g, r, z of DES.
    **dict(zip([f"decam2014-{b}" for b in "grz"], (3.214, 2.165, 1.211))),
    # desiutil 3.4, dust.py, extinction_total_to_selective_ratio, computed in the same way
    **{"BASS-g": 3.258, "BASS-r": 2.176, "MzLS-z": 1.199},
    # The HSC pipeline (lsst/obs_subaru, config/extinctionCoeffs.py); table 6 does not have HSC
    **dict(zip([f"hsc2017-{b}" for b in "grizy"], (3.240, 2.276, 1.633, 1.263, 1.075))),
}
MAP_FILES = ("SFD_dust_4096_ngp.fits", "SFD_dust_4096_sgp.fits")
FOLDER_VARIABLE = "SFD_DIR"  # environment variable, which sfdmap2 reads too


def coefficients(filters: Sequence[str | Filter], own: Mapping[str, Filter] | None = None) -> np.ndarray:
    """Extinction in magnitudes for E(B-V) = 1 on SFD's maps.

    Parameters
    ----------
    filters : sequence of str or Filter
        speclite's names, keys of `own`, or curves.
    own : mapping of str to Filter, optional
        The user's own curves.

    Returns
    -------
    array (band,)
        From `COEFFICIENTS`, else `extinction_law` at the centre of the filter.

    Raises
    ------
    InputError
        If there is no such filter.

    Examples
    --------
    >>> from pix2spec.core.extinction import coefficients
    >>> coefficients(["sdss2010-r", "wise2010-W1"]).round(3)
    array([2.285, 0.174])
    """
    return np.array([_coefficient(item, own or {}) for item in filters], float)


def _coefficient(item: str | Filter, own: Mapping[str, Filter]) -> float:
    if isinstance(item, str):
        if item in COEFFICIENTS and item not in own:
            return COEFFICIENTS[item]
        item = load_filter(item, own)
    return float(extinction_law(item.centre))


def extinction_law(wave) -> np.ndarray:
    """Extinction in magnitudes at wavelengths (...) in Angstrom, for E(B-V) = 1 on SFD's maps.

    The law of Fitzpatrick (1999, PASP 111:63) for R_V = 3.1, from 0.1 um to the infrared. Its scale is that
    of Schlafly & Finkbeiner (2011): at 1 um, 0.78 times the 1.32 mag of SFD.
    """
    return _SCALE * _fitzpatrick(wave) / _fitzpatrick(1e4)


_SCALE = 0.78 * 1.32  # magnitudes at 1 um


def _fitzpatrick(wave) -> np.ndarray:
    """A(lambda) / E(B-V) for R_V = 3.1: parameters below 0.27 um, a spline in the paper's table 3 above."""
    x = 1e4 / np.asarray(wave, float)  # 1/um
    drude = x**2 / ((x**2 - 4.596**2) ** 2 + (0.99 * x) ** 2)
    y = np.maximum(x - 5.9, 0)
    slope = -0.824 + 4.717 / 3.1
    far = 0.5392 * y**2 + 0.05644 * y**3
    ultraviolet = 3.1 + 2.030 - 3.007 * slope + slope * x + 3.23 * drude + 0.41 * far
    return np.where(x > 1 / 0.27, ultraviolet, _spline()(x))


@cache
def _spline():
    from scipy.interpolate import CubicSpline

    wave = np.array([np.inf, 26500, 12200, 6000, 5470, 4670, 4110, 2700, 2600])
    values = (0, 0.265, 0.829, 2.688, 3.055, 3.806, 4.315, 6.265, 6.591)
    return CubicSpline(1e4 / wave, values, bc_type="natural")


def correct(
    filters: Sequence[str | Filter], flux, ivar, ebv, own: Mapping[str, Filter] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Remove the extinction by the Milky Way's dust from fluxes in any filters.

    Parameters
    ----------
    filters : sequence of str or Filter
        As for `coefficients`, for each of the bands.
    flux, ivar : array (..., band)
        Fluxes and their inverse variances.
    ebv : float or array (...)
        E(B-V) in magnitudes, as on SFD's maps.
    own : mapping of str to Filter, optional
        The user's own curves.

    Returns
    -------
    flux, ivar : array (..., band), float32
        Of dereddened light; the signal-to-noise ratios are those of the input.
    """
    return deredden_fluxes(flux, ivar, np.asarray(ebv, float)[..., None] * coefficients(filters, own))


def deredden_fluxes(flux, ivar, extinction) -> tuple[np.ndarray, np.ndarray]:
    """Correct fluxes for extinction.

    Parameters
    ----------
    flux, ivar : array (..., band)
        Fluxes and their inverse variances.
    extinction : array (band,) or (..., band)
        Extinction in magnitudes.

    Returns
    -------
    flux, ivar : array (..., band), float32
    """
    factor = 10 ** (0.4 * np.asarray(extinction, float))
    return (np.asarray(flux) * factor).astype(np.float32), (np.asarray(ivar) / factor**2).astype(np.float32)


def deredden_image(image: np.ndarray, extinction) -> np.ndarray:
    """Correct a linear image (band, y, x) for `extinction` (band,) in magnitudes. The result is float32."""
    factor = 10 ** (0.4 * np.asarray(extinction, float))
    return (np.asarray(image) * factor[:, None, None]).astype(np.float32)


def find_maps(dust: str | Path | None = None) -> Path | None:
    """Find the folder with SFD's maps.

    Parameters
    ----------
    dust : path, optional
        The folder, or one with a folder ``sfd``. The default is the environment variable SFD_DIR.

    Returns
    -------
    Path or None
        None if no folder is given.

    Raises
    ------
    InputError
        If the folder lacks one of the two files.
    """
    given = dust or os.environ.get(FOLDER_VARIABLE)
    if not given:
        return None
    where = f"`dust={given}`" if dust else f"{FOLDER_VARIABLE} {given}"
    for folder in (Path(given), Path(given) / "sfd"):  # The package dustmaps stores the maps in "sfd".
        if all((folder / name).is_file() for name in MAP_FILES):
            return folder
    raise InputError(where, f"it lacks {' or '.join(MAP_FILES)}", "pix2spec never downloads them")


def open_maps(folder: str | Path):
    """Open SFD's maps in `folder`. They are read at the first use.

    Returns
    -------
    sfdmap2.sfdmap.SFDMap

    Raises
    ------
    InputError
        If sfdmap2 is not installed.
    """
    try:
        from sfdmap2.sfdmap import SFDMap
    except ImportError:
        raise InputError(
            "`dust`", "sfdmap2, which reads dust maps, is not installed", "pip install 'pix2spec[dust]'"
        ) from None
    return SFDMap(str(folder), *MAP_FILES, scaling=1.0)
