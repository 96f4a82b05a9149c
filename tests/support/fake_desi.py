"""DESI coadds in the real layout (HDUs, columns and units that the readers use), made up."""

import numpy as np
from astropy.io import fits

ARMS = {"B": (3600.0, 2751), "R": (5760.0, 2326), "Z": (7520.0, 2881)}  # first wavelength, pixels of 0.8 A


def write_coadd(
    folder, n=3, name="coadd-4-80613-thru20210324.fits", redrock=True, spectrum=None, change=None, **columns
):
    """A coadd and its redrock file; `spectrum` gives f(wave) for the flux, `change` gets the HDU list."""
    rng, target = np.random.default_rng(0), 39633345008634465 + np.arange(n)
    facts = {
        "TARGETID": target,
        "COADD_FIBERSTATUS": np.zeros(n, np.int32),
        "TARGET_RA": 105.4 + 0.01 * np.arange(n),
        "TARGET_DEC": np.full(n, 56.67),
        "OBJTYPE": np.array(["TGT"] * n),
        "FIBERFLUX_G": np.full(n, 2.0, np.float32),
        "FIBERFLUX_R": np.full(n, 4.0, np.float32),
        "FIBERFLUX_Z": np.full(n, -99.0, np.float32),
        "FLUX_G": np.full(n, 8.0, np.float32),
        "FLUX_R": np.full(n, 16.0, np.float32),
        "FLUX_IVAR_G": np.full(n, 25.0, np.float32),
        "FLUX_IVAR_R": np.full(n, 25.0, np.float32),
    } | columns
    hdus = fits.HDUList([fits.PrimaryHDU(), _table("FIBERMAP", facts)])
    for arm, (start, size) in ARMS.items():
        wave = start + 0.8 * np.arange(size)
        flux = rng.normal(5, 1, (n, size)) if spectrum is None else np.tile(spectrum(wave), (n, 1))
        hdus += [
            _image(f"{arm}_WAVELENGTH", wave, "Angstrom"),
            _image(f"{arm}_FLUX", flux.astype(np.float32), "10**-17 erg/(s cm2 Angstrom)"),
            _image(f"{arm}_IVAR", np.ones((n, size), np.float32), "10**+34 (s2 cm4 Angstrom2) / erg2"),
            _image(f"{arm}_MASK", np.zeros((n, size), np.int32)),
        ]
    if change is not None:
        change(hdus)
    hdus.writeto(folder / name)
    if redrock:
        facts = {
            "TARGETID": target[::-1],  # another order than the coadd's
            "Z": 0.1 * (1 + np.arange(n)[::-1]),
            "ZERR": np.full(n, 1e-5),
            "ZWARN": np.where(np.arange(n)[::-1] == 1, 4, 0),
            "SPECTYPE": np.array(["GALAXY"] * n),
        }
        hdus = fits.HDUList([fits.PrimaryHDU(), _table("REDSHIFTS", facts)])
        hdus.writeto(folder / name.replace("coadd-", "redrock-"))
    return folder / name


def _image(name, data, unit=None):
    hdu = fits.ImageHDU(data, name=name)
    if unit:
        hdu.header["BUNIT"] = unit
    return hdu


def _table(name, columns):
    formats = {"i": "K", "f": "D", "U": "6A"}
    made = [
        fits.Column(key, formats[np.asarray(v).dtype.kind], array=v)
        for key, v in columns.items()
        if v is not None
    ]
    return fits.BinTableHDU.from_columns(made, name=name)
