import bz2

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from hypothesis import given, settings
from hypothesis import strategies as st

from pix2spec.core.survey import SDSS
from pix2spec.data.archives.sdss import frames
from pix2spec.data.archives.sdss.frames import Frame, cut_field, open_frame
from pix2spec.errors import InputError

SHAPE = (300, 400)  # rows, columns
SCALE = 0.396127


def frame_wcs(turn=0.0, dec=2.0):
    """Columns run north, rows east, as in SDSS's scans, turned by some degrees."""
    cos, sin = np.cos(np.radians(turn)), np.sin(np.radians(turn))
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = "RA---TAN", "DEC--TAN"
    wcs.wcs.crpix, wcs.wcs.crval = (201.0, 151.0), (150.0, dec)
    wcs.wcs.cd = SCALE / 3600 * np.array([[-sin, cos], [cos, sin]])
    return wcs


def star(wcs, ra, dec, north=0.0, east=0.0, flux=100.0, sigma=1.5):
    """Image of a round blob whose centre is some arcsec north and east of a position."""
    x, y = wcs.wcs_world2pix(ra + east / 3600 / np.cos(np.radians(dec)), dec + north / 3600, 0)
    rows, columns = np.indices(SHAPE)
    r2 = ((columns - x) ** 2 + (rows - y) ** 2) * SCALE**2
    return (flux * SCALE**2 / (2 * np.pi * sigma**2) * np.exp(-r2 / 2 / sigma**2)).astype(np.float32)


def write_frame(path, data, wcs, band="r", **cards):
    hdu = fits.PrimaryHDU(data, wcs.to_header())
    hdu.header.update(FILTER=band, BUNIT="nanomaggy")
    hdu.header.update(cards)
    hdu.writeto(path.with_suffix(""))
    path.write_bytes(bz2.compress(path.with_suffix("").read_bytes()))
    return path


@settings(max_examples=25)
@given(turn=st.floats(-180, 180), dec=st.sampled_from([-1.0, 2.0, 60.0]), shift=st.floats(-0.5, 0.5))
def test_position_direction_and_flux_survive(turn, dec, shift):
    wcs = frame_wcs(turn, dec)
    ra = 150 + shift * SCALE / 3600
    north, east = 4.0, 2.0
    image = Frame(star(wcs, ra, dec, north, east), wcs).cutout(ra, dec, 64, 0.396)
    assert image.shape == (64, 64) and image.dtype == np.float32
    assert image.sum() == pytest.approx(100, rel=1e-3)
    rows, columns = np.indices(image.shape)
    # north is up, east is left; the position lies between the four middle pixels
    assert (image * rows).sum() / image.sum() == pytest.approx(31.5 + north / 0.396, abs=0.02)
    assert (image * columns).sum() / image.sum() == pytest.approx(31.5 - east / 0.396, abs=0.02)


def test_pixels_are_those_of_the_blob():
    wcs = frame_wcs(33)
    image = Frame(star(wcs, 150, 2), wcs).cutout(150, 2, 64, 0.396)
    rows, columns = np.indices(image.shape) - 31.5
    r2 = (rows**2 + columns**2) * 0.396**2
    assert np.allclose(image, 100 * 0.396**2 / (2 * np.pi * 1.5**2) * np.exp(-r2 / 2 / 1.5**2), atol=2e-3)


def test_other_pixel_scale_keeps_the_flux():
    wcs = frame_wcs()
    image = Frame(star(wcs, 150, 2), wcs).cutout(150, 2, 100, 0.262)
    assert image.sum() == pytest.approx(100, rel=1e-3)


@pytest.fixture
def field(tmp_path):
    """Frames of the bands g, r, i; the i frame is shifted by some pixels, as real ones are."""
    paths = {}
    for k, band in enumerate("gri"):
        wcs = frame_wcs(10)
        wcs.wcs.crpix = 201.0 + 3 * (band == "i"), 151.0
        noise = np.random.default_rng(k).normal(0, 0.002, SHAPE)
        path = tmp_path / f"frame-{band}-000752-1-0011.fits.bz2"
        paths[band] = write_frame(path, star(wcs, 150, 2, flux=10 * (k + 1)) + noise, wcs, band)
    return paths


def at(x, y):
    """Position of a pixel of the g frame."""
    return tuple(float(v) for v in frame_wcs(10).wcs_pix2world(x, y, 0))


def test_field(field, monkeypatch):
    opened = []

    def count(path, band):
        opened.append(band)
        return open_frame(path, band)

    monkeypatch.setattr(frames, "open_frame", count)
    centre, edge, outside = at(200, 150), at(15, 150), at(-500, 150)
    images = cut_field(field, [(150.0, 2.0), centre, edge, outside], SDSS, 64)
    assert opened == ["g", "r", "i"]
    assert np.array_equal(images[0], images[1])
    assert images[0].sum((1, 2)) == pytest.approx([10, 20, 30], rel=0.1)
    peak = [np.unravel_index(plane.argmax(), plane.shape) for plane in images[0]]
    assert all(abs(y - 31.5) <= 1.5 and abs(x - 31.5) <= 1.5 for y, x in peak)
    assert "of the cutout lies beyond the edge of the g frame" in str(images[2])
    assert "100% of the cutout lies beyond" in str(images[3])


def test_a_few_missing_pixels_are_filled(field):
    (image,) = cut_field(field, [at(44, 150)], SDSS, 64)
    assert np.isfinite(image).all()


def test_position_on_the_other_side_of_the_sky():
    assert np.isnan(Frame(np.ones(SHAPE, np.float32), frame_wcs()).cutout(330, -2, 64, 0.396)).all()


@pytest.mark.parametrize(
    ("cards", "says"),
    [
        ({"FILTER": "g"}, "of the band 'g', not 'r'"),
        ({"BUNIT": "counts"}, "not nanomaggy"),
        ({"CTYPE1": "PIXEL", "CTYPE2": "PIXEL"}, "position on the sky"),
    ],
)
def test_wrong_frames(tmp_path, cards, says):
    path = write_frame(tmp_path / "f.fits.bz2", np.ones(SHAPE, np.float32), frame_wcs(), **cards)
    with pytest.raises(InputError, match=says):
        open_frame(path, "r")


def header_only(naxis1, naxis2):
    cards = fits.Header([("SIMPLE", True), ("BITPIX", -32), ("NAXIS", 2)])
    cards["NAXIS1"], cards["NAXIS2"] = naxis1, naxis2
    return cards.tostring().encode()


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"<html>404</html>", "cannot be read as"),
        (bz2.compress(b"<html>404</html>" * 1000), "cannot be read as"),
        (bz2.compress(bytes(100_000_000)), "unpacks to more than"),
        (bz2.compress(header_only(10**9, 10**9)), "not a frame"),
        (bz2.compress(header_only(2048, 1489)), "cannot be read as"),
        (bz2.compress(b"SIMPLE")[:-5], "cannot be read as"),
    ],
    ids=["html", "packed html", "bomb", "huge", "no data", "truncated"],
)
def test_hostile_frames(tmp_path, body, says):
    path = tmp_path / "f.fits.bz2"
    path.write_bytes(body)
    with pytest.raises(InputError, match=says):
        open_frame(path, "r")
