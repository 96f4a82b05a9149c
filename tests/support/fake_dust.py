"""Maps of Galactic dust whose E(B-V) is known everywhere."""

import numpy as np
from astropy.io import fits

from pix2spec.core.extinction import (
    MAP_FILES,
)

SIZE = 256


def sky_dust(b):
    """E(B-V) of the maps that `write_maps` makes, by Galactic latitude in radian."""
    return 0.02 + 0.3 * (1 - np.abs(np.sin(b)))


def write_maps(folder):
    """Both hemispheres in SFD's Lambert projection (SFD 1998, appendix C), of dust in a slab."""
    folder.mkdir(parents=True, exist_ok=True)
    y, x = np.indices((SIZE, SIZE)) + 1.0
    centre, scale = (SIZE + 1) / 2, SIZE / 2
    one_minus = np.clip(((x - centre) ** 2 + (y - centre) ** 2) / scale**2, 0, 1)  # 1 - |sin b|
    for name, sign in zip(MAP_FILES, (1, -1)):
        hdu = fits.PrimaryHDU(sky_dust(np.arcsin(1 - one_minus)).astype(np.float32))
        hdu.header.update(CRPIX1=centre, CRPIX2=centre, LAM_SCAL=scale, LAM_NSGP=sign)
        hdu.writeto(folder / name)
    return folder
