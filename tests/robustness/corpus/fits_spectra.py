"""FITS spectra and DESI coadds."""

from pathlib import Path

import numpy as np
from astropy.io import fits

from robustness.corpus.fits_cutouts import image
from robustness.corpus.registry import IMPORT, bad, put
from support.fake_desi import write_coadd
from support.fake_sdss import cutout, spec_hdus, write_spec

NAME = "spec-0266-51602-0013.fits"


def spec(folder: Path, **options) -> Path:
    return write_spec(folder / NAME, **options)


@bad("FITS", IMPORT, "no SPECOBJ or SPALL row")
def spectrum_without_facts(folder):
    return put(folder, NAME, spec_hdus()[:2])


@bad("FITS", "spectrum", "its column 'ivar' is missing")
def no_ivar(folder):
    return spec(folder, columns={"ivar": None})


@bad("FITS", "spectrum", "no valid pixel on the grid")
def flux_of_nan(folder):
    return spec(folder, columns={"flux": np.full(3850, np.nan, np.float32)})


@bad("FITS", "spectrum", "no valid pixel on the grid")
def negative_ivar(folder):
    return spec(folder, columns={"ivar": np.full(3850, -1, np.float32)})


@bad("FITS", "spectrum", "wavelengths are missing or not finite")
def wavelengths_of_nan(folder):
    return spec(folder, columns={"loglam": np.full(3850, np.nan, np.float32)})


@bad("FITS", "spectrum", "wavelengths are missing or not finite")
def wavelengths_in_angstrom(folder):
    return spec(folder, columns={"loglam": np.linspace(3800, 9200, 3850).astype(np.float32)})


@bad("FITS", "spectrum", "does not hold one number per pixel")
def flux_of_texts(folder):
    return spec(folder, columns={"flux": np.array(["high"] * 3850)})


@bad("FITS", "spectrum", "are not a position")
def declination_of_a_thousand(folder):
    return spec(folder, dec=1000.0)


@bad("FITS", "spectrum", "cannot be read as FITS")
def plate_that_is_a_name(folder):
    return spec(folder, PLATE=np.array(["north"]))


@bad("FITS", "spectrum", "neither a table with a column flux nor an image")
def image_instead_of_spectrum(folder):
    return put(folder, NAME, image(cutout()))


@bad("FITS", "coadd", "no extension FIBERMAP")
def coadd_without_fibermap(folder):
    return put(folder, "coadd-1.fits", image(cutout()))


@bad("FITS", "coadd", "FIBERMAP has no column TARGETID")
def coadd_without_targets(folder):
    hdu = fits.BinTableHDU.from_columns([fits.Column("Z", "D", array=[0.1])], name="FIBERMAP")
    return put(folder, "coadd-1.fits", fits.HDUList([fits.PrimaryHDU(), hdu]))


@bad("FITS", "coadd", "column COADD_FIBERSTATUS of FIBERMAP does not hold one number per row")
def coadd_whose_flags_are_words(folder):
    return write_coadd(folder, n=1, redrock=False, COADD_FIBERSTATUS=np.array(["good"]))


@bad("FITS", "coadd", "no targets")
def coadd_of_wild_bytes(folder):
    path = write_coadd(folder, n=1, redrock=False)
    return put(folder, path.name, path.read_bytes().replace(b"TGT\0\0\0", b"T\xf6T\0\0\0"))
