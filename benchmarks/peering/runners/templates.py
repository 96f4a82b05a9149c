"""What programs that fit templates share: kcorrect's templates, speclite's curves, fluxes in AB."""

from pathlib import Path

import numpy as np

TO_AB = np.array([-0.04, 0.0, 0.0, 0.0, 0.02])  # AB - SDSS; https://www.sdss.org/dr17/algorithms/fluxcal/


def ab_fluxes(mag, error):
    """Fluxes and errors (N, 5) in nanomaggies of SDSS's magnitudes, which are almost AB."""
    flux = 10 ** (-0.4 * (mag + TO_AB - 22.5))
    return flux, flux * error * np.log(10) / 2.5


def kcorrect_templates():
    """Wavelengths (W,) [Angstrom] and fluxes (5, W) per Angstrom of kcorrect's default templates."""
    import kcorrect
    from astropy.io import fits

    path = Path(kcorrect.__file__).parent / "data" / "templates" / "kcorrect-default-v4.fits"
    with fits.open(path) as hdus:
        row = hdus["FLUX"].data[0]
        return np.array(row["wave"], float), np.array(row["flux"], float)


def sdss_curves():
    """Wavelengths [Angstrom] and responses of ugriz by name."""
    from speclite.filters import load_filters

    return {item.name: (item.wavelength, item.response) for item in load_filters("sdss2010-*")}
