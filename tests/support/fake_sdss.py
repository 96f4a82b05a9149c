"""Files in the layout of SDSS's, made up."""

import numpy as np
from astropy.io import fits
from PIL import Image

LOGLAM = (3.58 + 1e-4 * np.arange(3850)).astype(np.float32)
BESTOBJID = "1237650795146576091"


def spec_hdus(
    plate=266,
    mjd=51602,
    fiber=13,
    ra=146.9341,
    dec=-0.6704,
    bestobjid=BESTOBJID,
    boss=False,
    loglam=LOGLAM,
    columns=None,
    seed=0,
    **facts,
):
    """HDUs of spec-PLATE-MJD-FIBER.fits, with a SPALL row if `boss`; `columns` replaces, None drops."""
    rng = np.random.default_rng(seed)
    size = len(loglam)
    data = {
        "flux": rng.normal(20, 2, size).astype(np.float32),
        "loglam": loglam,
        "ivar": np.full(size, 0.25, np.float32),
        "and_mask": np.zeros(size, np.int32),
    } | (columns or {})
    coadd = fits.BinTableHDU.from_columns(
        [_column(name, values) for name, values in data.items() if values is not None], name="COADD"
    )
    row = {
        "PLATE": plate,
        "MJD": mjd,
        "FIBERID": fiber,
        "PLUG_RA": ra,
        "PLUG_DEC": dec,
        "CLASS": "GALAXY ",
        "Z": 0.12,
        "Z_ERR": 3e-5,
        "ZWARNING": 0,
        "CALIBFLUX": np.array([[4.4, 25.4, 74.4, 115.6, 176.3]], np.float32),
        "CALIBFLUX_IVAR": np.array([[5.0, 19.0, 0.0, 3.0, 0.3]], np.float32),
    }
    if boss:
        row["OBJID"] = bestobjid
    else:
        row |= {"BESTOBJID": bestobjid, "OBJID": np.array([[752, 1, 2, 22, 112]], np.int32)}
    row |= facts
    specobj = fits.BinTableHDU.from_columns(
        [_column(k, v) for k, v in row.items() if v is not None], name="SPALL" if boss else "SPECOBJ"
    )
    primary = fits.PrimaryHDU()
    primary.header.update(VACUUM=True, RA=145.9, DEC=0.06, PLATEID=plate, MJD=mjd, FIBERID=fiber)
    return fits.HDUList([primary, coadd, specobj])


def _column(name, values):
    values = np.atleast_1d(values)
    if values.dtype == object:
        return fits.Column(name, "PE()", array=values)
    code = {"f4": "E", "f8": "D", "i4": "J", "i8": "K"}.get(values.dtype.str[1:])
    if code is None:
        return fits.Column(name, f"{values.dtype.itemsize // 4}A", array=values)
    width = values.shape[1] if values.ndim == 2 else ""
    return fits.Column(name, f"{width}{code}", array=values)


def write_spec(path, **options):
    """Write a fake spec file and return its path."""
    spec_hdus(**options).writeto(path)
    return path


def cutout(size=64, seed=0, bands=3):
    """Linear image [band, y, x] in nanomaggies: a blob that is redder in later bands."""
    y, x = np.indices((size, size)) - size // 2
    blob = np.exp(-np.hypot(x, y) / 5)
    noise = np.random.default_rng(seed).normal(0, 0.01, (bands, size, size))
    return (np.arange(1, bands + 1)[:, None, None] * blob + noise).astype(np.float32)


def wcs_header(size=64, scale=0.396, ra=146.9341, dec=-0.6704, **extra):
    """Header with a tangential WCS about the centre."""
    header = fits.Header()
    header.update(CTYPE1="RA---TAN", CTYPE2="DEC--TAN", CRVAL1=ra, CRVAL2=dec, CUNIT1="deg", CUNIT2="deg")
    header.update(CRPIX1=(size + 1) / 2, CRPIX2=(size + 1) / 2, CD1_1=-scale / 3600, CD2_2=scale / 3600)
    header.update(CD1_2=0.0, CD2_1=0.0, **extra)
    return header


def write_cube(path, size=64, seed=0, bands=3, **header):
    """FITS cutout with one 3-D array."""
    fits.PrimaryHDU(cutout(size, seed, bands), wcs_header(size, **header)).writeto(path)
    return path


def write_picture(path, size=64, colour=(200, 100, 50), mode="RGB"):
    """Picture with a gradient in the given red, green, blue."""
    ramp = np.linspace(0.2, 1, size)[:, None, None] * np.ones((1, size, 1))
    rgb = (ramp * np.array(colour)).astype(np.uint8)
    Image.fromarray(rgb).convert(mode).save(path)
    return path


def write_bundle(path, n=4, **arrays):
    """Npz bundle of spectra on the default grid."""
    rng = np.random.default_rng(0)
    bundle = {
        "loglam": 3.59 + 1e-4 * np.arange(3598),
        "flux": rng.normal(10, 1, (n, 3598)).astype(np.float32),
        "ivar": np.ones((n, 3598), np.float32),
        "and_mask": np.zeros((n, 3598), np.int32),
        "plate": np.full(n, 266),
        "mjd": np.full(n, 51602),
        "fiber": np.arange(1, n + 1),
        "ra": 150 + np.arange(n) * 0.1,
        "dec": np.zeros(n),
        "z": np.full(n, 0.1),
        "zerr": np.full(n, 1e-5),
        "zwarning": np.zeros(n, int),
        "spec_class": np.array(["GALAXY"] * n),
        "bestobjid": np.array([f"{1237650795146576091 + i}" for i in range(n)]),
        "object_group": np.arange(n),
        "calibflux_ugriz": np.full((n, 5), 10, np.float32),
    } | arrays
    np.savez(path, **{name: array for name, array in bundle.items() if array is not None})
    return path
