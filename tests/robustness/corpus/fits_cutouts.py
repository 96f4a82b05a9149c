"""FITS cutouts."""

import bz2
import gzip
import io

import numpy as np
from astropy.io import fits
from astropy.table import Table

from robustness.corpus.registry import GENERATE, bad, put
from support.fake_sdss import cutout, wcs_header, write_cube


def image(data, **cards) -> fits.HDUList:
    """A primary image with a WCS."""
    header = wcs_header(np.shape(data)[-1])
    header.update(cards)
    return fits.HDUList([fits.PrimaryHDU(np.asarray(data), header)])


def with_cards(hdus, **cards) -> bytes:
    """The bytes of a FITS file, with cards of the first header overwritten, whatever they then say."""
    stream = io.BytesIO()
    hdus.writeto(stream)
    raw = bytearray(stream.getvalue())
    for key, value in cards.items():
        at = raw.index(key.encode().ljust(8) + b"=")
        raw[at : at + 80] = f"{key:8s}= {value!s:>20s}".encode().ljust(80)
    return bytes(raw)


@bad("FITS", GENERATE, "the file is empty")
def empty_cutout(folder):
    return put(folder, "galaxy.fits", b"")


@bad("FITS", GENERATE, "the FITS file is truncated")
def truncated_cutout(folder):
    path = write_cube(folder / "galaxy.fits")
    return put(folder, "galaxy.fits", path.read_bytes()[:20000])


@bad("FITS", "cutout", "it is a web page")
def web_page_named_fits(folder):
    return put(folder, "galaxy.fits", "<!DOCTYPE html><html><body>404 Not Found</body></html>")


@bad("FITS", "cutout", "it cannot be read as FITS")
def header_cut_off(folder):
    path = write_cube(folder / "galaxy.fits")
    return put(folder, "galaxy.fits", path.read_bytes()[:700])


@bad("FITS", "cutout", "does not begin with SIMPLE")
def bytes_of_nothing(folder):
    return put(folder, "galaxy.fits", bytes(5760))


@bad("FITS", "cutout", "cannot be read as FITS")
def negative_sizes(folder):
    return put(folder, "galaxy.fits", with_cards(image(cutout()), NAXIS1=-3, NAXIS2=-3))


@bad("FITS", "cutout", "cannot be read as FITS")
def sides_of_a_billion(folder):
    return put(folder, "galaxy.fits", with_cards(image(cutout()), NAXIS1=10**9, NAXIS2=10**9))


@bad("FITS", "cutout", "cannot be read as FITS: -33")
def unknown_bitpix(folder):
    return put(folder, "galaxy.fits", with_cards(image(cutout()), BITPIX=-33))


@bad("FITS", "cutout", "cannot be read as FITS")
def size_that_is_a_text(folder):
    return put(folder, "galaxy.fits", with_cards(image(cutout()), NAXIS1="'wide'"))


@bad("FITS", "cutout", "100% of the g pixels are NaN")
def nan_everywhere(folder):
    return put(folder, "galaxy.fits", image(np.full((3, 64, 64), np.nan, np.float32)))


@bad("FITS", "cutout", "100% of the g pixels are NaN")
def infinite_everywhere(folder):
    return put(folder, "galaxy.fits", image(np.full((3, 64, 64), np.inf, np.float32)))


@bad("FITS", "cutout", "the g image is zero everywhere")
def zero_everywhere(folder):
    return put(folder, "galaxy.fits", image(np.zeros((3, 64, 64), np.float32)))


@bad("FITS", "cutout", "it is 9 x 9 pixels, 64 x 64 are needed")
def stamp_too_small(folder):
    return put(folder, "galaxy.fits", image(cutout()[:, :9, :9]))


@bad("FITS", "cutout", "wrong band count: 2 planes")
def two_bands(folder):
    return put(folder, "galaxy.fits", image(cutout()[:2]))


@bad("FITS", "cutout", "wrong band count: it has 40 planes")
def forty_planes(folder):
    return put(folder, "galaxy.fits", image(np.ones((40, 64, 64), np.float32)))


@bad("FITS", "cutout", "holds no image")
def four_axes(folder):
    return put(folder, "galaxy.fits", image(np.ones((1, 3, 64, 64), np.float32)))


@bad("FITS", "cutout", "BUNIT is 'Jy/beam', which is no flux of a pixel")
def unit_of_radio_maps(folder):
    return put(folder, "galaxy.fits", image(cutout(), BUNIT="Jy/beam"))


@bad("FITS", "cutout", "its pixels of 1 arcsec are too coarse for an image of 0.396")
def coarse_pixels(folder):
    return write_cube(folder / "galaxy.fits", scale=1.0)


@bad("FITS", "cutout", "cannot be read as FITS.*singular")
def wcs_without_a_direction(folder):
    raw = with_cards(image(cutout()), CD1_1="'east'")
    return put(folder, "galaxy.fits", raw)


@bad("FITS", "cutout", "holds no image")
def table_instead_of_image(folder):
    Table({"flux": [1.0, 2.0]}).write(folder / "galaxy.fits")
    return folder / "galaxy.fits"


@bad("FITS", "cutout", "a band comes twice")
def the_same_band_twice(folder):
    hdus = [fits.ImageHDU(cutout()[0], name=band) for band in "grig"]
    return put(folder, "galaxy.fits", fits.HDUList([fits.PrimaryHDU(), *hdus]))


@bad("FITS", "cutout", "its bands differ in size")
def bands_of_two_sizes(folder):
    hdus = [fits.ImageHDU(np.ones((64 + k, 70), np.float32), name=b) for k, b in enumerate("gri")]
    return put(folder, "galaxy.fits", fits.HDUList([fits.PrimaryHDU(), *hdus]))


@bad("FITS", "cutout", "cannot be read as FITS")
def gzip_cut_off(folder):
    raw = gzip.compress(with_cards(image(cutout())))
    return put(folder, "galaxy.fits.gz", raw[: len(raw) // 2])


@bad("FITS", "cutout", "cannot be read as FITS")
def bz2_of_text(folder):
    return put(folder, "galaxy.fits.bz2", bz2.compress(b"not a FITS file"))


@bad("FITS", "cutout", "it is a folder, not a file")
def folder_named_as_a_file(folder):
    (folder / "galaxy.fits").mkdir()
    return folder / "galaxy.fits"
