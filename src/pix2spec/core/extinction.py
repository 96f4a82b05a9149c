"""Galactic extinction: how much dust of the Milky Way lies before an object, and what it takes out.

Maps are Schlegel, Finkbeiner & Davis (1998, ApJ 500:525), read by sfdmap2 from a folder that the user names;
nothing is downloaded. Coefficients turn *their* E(B-V), unscaled, into magnitudes of a band: they contain the
recalibration of 0.86 (Schlafly & Finkbeiner 2011, ApJ 737:103), so that the maps must not be scaled too.
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
    # Legacy Surveys (www.legacysurvey.org/dr10/catalogs), computed as in that paper at airmass 1.3; its table
    # 6 has 3.237, 2.176 and 1.217 for the g, r, z of DES.
    **dict(zip([f"decam2014-{b}" for b in "grz"], (3.214, 2.165, 1.211))),
    # desiutil 3.4, dust.py, extinction_total_to_selective_ratio: the same recipe
    **{"BASS-g": 3.258, "BASS-r": 2.176, "MzLS-z": 1.199},
    # The HSC pipeline (lsst/obs_subaru, config/extinctionCoeffs.py): not in table 6
    **dict(zip([f"hsc2017-{b}" for b in "grizy"], (3.240, 2.276, 1.633, 1.263, 1.075))),
}
MAP_FILES = ("SFD_dust_4096_ngp.fits", "SFD_dust_4096_sgp.fits")
PLACE = "SFD_DIR"  # the environment variable that sfdmap2 itself reads


def coefficients(filters) -> np.ndarray:
    """Magnitudes of extinction for E(B-V) = 1 on SFD's maps, one for each response curve: (bands,)."""
    unknown = [name for name in filters if name not in COEFFICIENTS]
    if unknown:
        raise InputError(
            ", ".join(unknown), "its extinction coefficient is not known", 'use `extinction="keep"`'
        )
    return np.array([COEFFICIENTS[name] for name in filters])


def deredden_fluxes(flux, ivar, extinction) -> tuple[np.ndarray, np.ndarray]:
    """Fluxes (..., bands) and inverse variances without `extinction` (bands,), in magnitudes."""
    factor = 10 ** (0.4 * np.asarray(extinction, float))
    return (np.asarray(flux) * factor).astype(np.float32), (np.asarray(ivar) / factor**2).astype(np.float32)


def deredden_image(image: np.ndarray, extinction) -> np.ndarray:
    """Linear image (band, y, x) without `extinction` (band,), in magnitudes: float32."""
    factor = 10 ** (0.4 * np.asarray(extinction, float))
    return (np.asarray(image) * factor[:, None, None]).astype(np.float32)


def find_maps(dust: str | Path | None = None) -> Path | None:
    """The folder with SFD's maps: `dust`, else the environment's SFD_DIR; None where neither is given.

    Raises
    ------
    InputError
        If it lacks one of the two files.
    """
    given = dust or os.environ.get(PLACE)
    if not given:
        return None
    where = f"`dust={given}`" if dust else f"{PLACE} {given}"
    for place in (Path(given), Path(given) / "sfd"):  # the second is how dustmaps stores them
        if all((place / name).is_file() for name in MAP_FILES):
            return place
    raise InputError(where, f"it lacks {' or '.join(MAP_FILES)}", "pix2spec never downloads them")


def open_maps(folder: str | Path):
    """SFD's maps, read from `folder` when first asked for positions: an `sfdmap2` object.

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
