"""Galactic extinction: maps of the Milky Way's dust, and the correction of fluxes and images.

sfdmap2 reads the maps of Schlegel, Finkbeiner & Davis (SFD; 1998, ApJ 500:525) from a folder of the user.
Nothing is downloaded. Coefficients turn E(B-V) of these maps into magnitudes in a band. They contain the
recalibration by 0.86 (Schlafly & Finkbeiner 2011, ApJ 737:103), so that the maps must not be scaled as well.
"""

import os
from pathlib import Path

import numpy as np

from pix2spec.errors import InputError

__all__ = [
    "COEFFICIENTS",
    "coefficients",
    "deredden_fluxes",
    "deredden_image",
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


def coefficients(filters) -> np.ndarray:
    """Extinction in magnitudes for E(B-V) = 1 on SFD's maps.

    Parameters
    ----------
    filters : sequence of str
        speclite names of the response curves.

    Returns
    -------
    array (band,)

    Raises
    ------
    InputError
        If the coefficient of a response curve is not known.
    """
    unknown = [name for name in filters if name not in COEFFICIENTS]
    if unknown:
        raise InputError(
            ", ".join(unknown), "its extinction coefficient is not known", 'use `extinction="keep"`'
        )
    return np.array([COEFFICIENTS[name] for name in filters])


def deredden_fluxes(flux, ivar, extinction) -> tuple[np.ndarray, np.ndarray]:
    """Correct fluxes for extinction.

    Parameters
    ----------
    flux, ivar : array (..., band)
        Fluxes and their inverse variances.
    extinction : array (band,)
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
