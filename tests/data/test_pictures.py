"""Pictures as they come: units, masks, pixel scales, rotations, small frames, galaxies off the centre."""

import numpy as np
import pytest
from astropy.io import fits
from astropy.nddata import CCDData, StdDevUncertainty
from PIL import Image

from pix2spec.core.stretches import STRETCHES
from pix2spec.core.survey import HSC, LEGACY, PS1, SDSS
from pix2spec.data.dataset import Dataset, write_dataset
from pix2spec.data.pictures import read_picture, with_picture_photometry
from pix2spec.data.readers.images import read_cutout, read_frame
from pix2spec.data.schema import DatasetInfo, Galaxy
from pix2spec.errors import InputError
from support.paths import SHARED
from support.skies import COLOURS, grid, sky, write_sky

CASES = SHARED.parent / "cases" / "pictures"


def fibre(galaxy):
    return {f: v for f, v, k in zip(galaxy.filters, galaxy.photometry, galaxy.kind) if k == "fibre"}


@pytest.mark.parametrize("angle", [0, 30])
@pytest.mark.parametrize("scale", [0.2, 0.262, 0.396, 0.5])
def test_fluxes_do_not_depend_on_pixel_scale_and_rotation(tmp_path, scale, angle):
    size = 2 * int(18.5 / scale)  # the cutout of 64 pixels of 0.396 arcsec, turned, fits in
    path = write_sky(tmp_path / "a.fits", *sky(size, scale, angle, 1e-4))
    galaxy, kind, notes = read_picture(path)
    reference = read_picture(write_sky(tmp_path / "b.fits", *sky(94, noise=1e-4)))[0]
    assert (kind, notes, galaxy.image.shape) == ("linear", [], (3, 64, 64))
    assert galaxy.flags == ("photometry-from-picture",)
    np.testing.assert_allclose(galaxy.photometry, reference.photometry, rtol=0.01)
    np.testing.assert_allclose(galaxy.image.sum((1, 2)), COLOURS, rtol=0.01)
    y, x = np.indices((64, 64)) - 31.5
    for plane in galaxy.image:
        assert (plane * x).sum() / plane.sum() == pytest.approx(0, abs=0.1)
        assert (plane * y).sum() / plane.sum() == pytest.approx(0, abs=0.1)
    assert (galaxy.ra, galaxy.dec) == pytest.approx((180.0, 2.0), abs=1e-5)


def test_bands_on_grids_of_their_own_are_brought_to_one(tmp_path):
    paths = []
    for band, (scale, angle) in zip("gri", ((0.3, 20), (0.396, 0), (0.25, -10))):
        image, wcs = sky(int(40 / scale), scale, angle)
        paths.append(write_sky(tmp_path / f"a-{band}.fits", image["gri".index(band)], wcs))
    galaxy, _, _ = read_picture(paths)
    reference = read_picture(write_sky(tmp_path / "b.fits", *sky(100)))[0]
    np.testing.assert_allclose(galaxy.photometry[:3], reference.photometry[:3], rtol=0.02)


def test_pixels_that_are_not_square_are_resampled(tmp_path):
    image, wcs = sky(100)
    doubled = image.repeat(2, axis=2) / 2
    stretched = grid(100)
    stretched.wcs.cd = wcs.wcs.cd @ np.diag([0.5, 1])
    stretched.wcs.crpix = [100.5, 50.5]
    galaxy, _, _ = read_picture(write_sky(tmp_path / "a.fits", doubled, stretched))
    reference = read_picture(write_sky(tmp_path / "b.fits", image, wcs))[0]
    np.testing.assert_allclose(galaxy.photometry[:3], reference.photometry[:3], rtol=0.03)


@pytest.mark.parametrize(
    ("unit", "cards", "factor"),  # values of one nanomaggy
    [
        ("nmgy", {}, 1.0),
        ("nanomaggies", {}, 1.0),
        ("uJy", {}, 3.631),
        ("nJy", {}, 3631.0),
        ("Jy / pixel", {}, 3.631e-6),
        ("MJy/sr", {}, 3.631e-12 / (0.396 / 206264.806) ** 2),
        ("uJy/arcsec2", {}, 3.631 / 0.396**2),
        ("electron/s", {"MAGZERO": 25.0}, 10 ** (0.4 * (25 - 22.5))),
        ("electrons/s", {"ZP": 25.0}, 10 ** (0.4 * (25 - 22.5))),
        ("adu", {"FLUXMAG0": 1e9}, 1.0),
    ],
)
def test_units_are_followed(tmp_path, unit, cards, factor):
    image, wcs = sky()
    path = write_sky(tmp_path / "a.fits", (image * factor).astype(np.float32), wcs, BUNIT=unit, **cards)
    np.testing.assert_allclose(read_cutout(path)[0], image, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("unit", "says"),
    [
        ("electron/s", "header has no zero point.*MAGZERO"),
        ("Jy/beam", "no flux of a pixel"),
        ("km", "no flux of a pixel"),
        ("furlongs", "a unit that is not known"),
    ],
)
def test_units_that_say_too_little_are_refused(tmp_path, unit, says):
    with pytest.raises(InputError, match=says):
        read_cutout(write_sky(tmp_path / "a.fits", *sky(), BUNIT=unit))


def test_a_surface_brightness_needs_the_size_of_a_pixel(tmp_path):
    fits.PrimaryHDU(sky()[0], fits.Header({"BUNIT": "MJy/sr"})).writeto(tmp_path / "a.fits")
    with pytest.raises(InputError, match="size of a pixel is unknown"):
        read_cutout(tmp_path / "a.fits")


def test_planes_of_ccddata_are_mask_and_errors(tmp_path):
    image, wcs = sky()
    bad = np.zeros((64, 64), bool)
    bad[10, 10] = True
    for k, band in enumerate("gri"):
        ccd = CCDData(image[k], unit="uJy", wcs=wcs, mask=bad,
                      uncertainty=StdDevUncertainty(np.full((64, 64), 0.02)))  # fmt: skip
        ccd.write(tmp_path / f"a-{band}.fits")
    frame = read_frame([tmp_path / f"a-{band}.fits" for band in "irg"])
    assert frame.image.shape == (3, 64, 64) and np.isnan(frame.image[:, 10, 10]).all()
    assert np.isfinite(frame.image).sum() == 3 * (64 * 64 - 1)
    np.testing.assert_allclose(frame.error, 0.02 / 3.631, rtol=1e-5)


@pytest.mark.parametrize(
    ("names", "weight"),
    [
        (("SCI", "MSK", "WGT"), lambda sigma: sigma**-2.0),  # DES
        (("IMAGE", "MASK", "VARIANCE"), lambda sigma: sigma**2),  # HSC and LSST
        (("r", "FLAGS", "ERR"), lambda sigma: sigma),
    ],
)
def test_mask_and_weight_planes_are_not_bands(tmp_path, names, weight):
    image, wcs = sky()
    mask = np.zeros((64, 64), np.int32)
    mask[20, 20] = 1
    sigma = np.full((64, 64), 0.03)
    paths = []
    for k, band in enumerate("gri"):
        planes = [(names[0], image[k]), (names[1], mask), (names[2], weight(sigma))]
        header = wcs.to_header()
        hdus = [fits.PrimaryHDU(header=header)] + [fits.ImageHDU(a, header, name=n) for n, a in planes]
        hdus[0].header["FILTER"] = band
        hdus[1].header["FILTER"] = band
        paths.append(tmp_path / f"x{k}.fits")
        fits.HDUList(hdus).writeto(paths[-1])
    frame = read_frame(paths)
    assert frame.image.shape == (3, 64, 64) and np.isnan(frame.image[:, 20, 20]).all()
    np.testing.assert_allclose(frame.error, 0.03, rtol=1e-5)


def test_bits_of_an_lsst_mask_that_mark_objects_are_good_pixels(tmp_path):
    image, wcs = sky()
    mask = np.full((64, 64), 1 << 5, np.int32)  # DETECTED everywhere
    mask[5, 5] |= 1 << 1
    header = wcs.to_header()
    hdus = [fits.PrimaryHDU(image, header), fits.ImageHDU(mask, name="MASK")]
    hdus[1].header.update({"MP_BAD": 0, "MP_SAT": 1, "HIERARCH MP_DETECTED": 5})
    fits.HDUList(hdus).writeto(tmp_path / "a.fits")
    frame = read_frame(tmp_path / "a.fits")
    assert np.isnan(frame.image[:, 5, 5]).all() and np.isnan(frame.image).sum() == 3


def test_one_band_is_not_enough(tmp_path):
    image, wcs = sky()
    with pytest.raises(InputError, match="one band is there, the model wants g, r, i"):
        read_picture(write_sky(tmp_path / "a.fits", image[1], wcs))
    with pytest.raises(InputError, match=r"one band is there \(r\), the model wants g, r, i"):
        read_picture(write_sky(tmp_path / "a-r.fits", image[1], wcs))


def test_a_small_frame_gives_photometry_without_an_image(tmp_path):
    galaxy, _, notes = read_picture(write_sky(tmp_path / "a.fits", *sky(40, 0.262)))
    whole = read_picture(write_sky(tmp_path / "b.fits", *sky(100, 0.262)))[0]
    assert galaxy.image is None and "64" not in galaxy.flags
    assert any("40 x 40 pixels of 0.262 arcsec, 97 x 97 are needed: its photometry alone" in n for n in notes)
    for band, flux in fibre(galaxy).items():
        assert flux == pytest.approx(fibre(whole)[band], rel=0.02)
    with pytest.raises(InputError, match="97 x 97 are needed"):
        read_cutout(tmp_path / "a.fits")


def test_coarse_pixels_give_photometry_without_an_image(tmp_path):
    galaxy, _, notes = read_picture(write_sky(tmp_path / "a.fits", *sky(60, 0.8)))
    assert galaxy.image is None and "too coarse for an image of 0.396 arcsec" in notes[0]
    reference = read_picture(write_sky(tmp_path / "b.fits", *sky(100)))[0]
    np.testing.assert_allclose(galaxy.photometry[:3], reference.photometry[:3], rtol=0.05)


@pytest.mark.parametrize("size", [64, 100])
def test_a_galaxy_off_the_centre_moves_to_it(tmp_path, size):
    galaxy, _, notes = read_picture(write_sky(tmp_path / "a.fits", *sky(size, at=(3.0, 0.0))))
    centred = read_picture(write_sky(tmp_path / "b.fits", *sky(size)))[0]
    np.testing.assert_allclose(galaxy.photometry[:3], centred.photometry[:3], rtol=0.01)
    assert "off-centre" in galaxy.flags and "3.0 arcsec off the centre" in notes[0]
    assert galaxy.ra == pytest.approx(180 + 3 / 3600 / np.cos(np.radians(2)), abs=2e-5)
    peak = np.unravel_index(galaxy.image[1].argmax(), (64, 64))
    assert np.abs(np.array(peak) - 31.5).max() <= 1.5
    np.testing.assert_allclose(galaxy.image.sum((1, 2)), centred.image.sum((1, 2)), rtol=0.02)
    in_memory = with_picture_photometry(Galaxy("a", image=sky(64, at=(3.0, 0.0))[0]), "linear", SDSS)
    peak = np.unravel_index(in_memory.image[1].argmax(), (64, 64))
    assert np.abs(np.array(peak) - 31.5).max() <= 1.5


def test_a_colour_picture_gives_colours(tmp_path):
    image, _ = sky(flux=60)
    shown = np.rint(STRETCHES["sdss"].shown(image)).astype(np.uint8)
    Image.fromarray(np.moveaxis(shown[::-1], 0, -1)).save(tmp_path / "a.png")
    galaxy, kind, _ = read_picture(tmp_path / "a.png")
    assert kind == "composite" and galaxy.brightness_error == 0.35
    colour = -2.5 * np.log10(galaxy.photometry[0] / galaxy.photometry[1])
    assert colour == pytest.approx(2.5 * np.log10(COLOURS[1] / COLOURS[0]), abs=0.03)


@pytest.mark.parametrize("survey", [LEGACY, PS1, HSC])
def test_pictures_of_other_surveys_have_their_filters(tmp_path, survey):
    bands = len(survey.image_bands)
    image, wcs = sky(100, survey.pixel_scale)
    image = np.stack([image[1]] * bands)
    path = write_sky(tmp_path / "a.fits", image, wcs, BANDS="".join(survey.image_bands), BUNIT="nmgy")
    galaxy, _, _ = read_picture(path, survey)
    assert galaxy.filters[:bands] == tuple(survey.image_filters.values())


def test_fluxes_given_besides_the_picture_are_compared(tmp_path):
    image = sky()[0]
    found = with_picture_photometry(Galaxy("a", image=image), "linear", SDSS)
    given = {"g": (1.66, 0.05), "r": (4.14, 0.05), "i": (6.1, 0.1)}
    same = with_picture_photometry(Galaxy("a", image=image, photometry=given, kind="fibre"), "linear", SDSS)
    assert same.flags == () and len(same.photometry) == 3 and len(found.photometry) == 6
    other = with_picture_photometry(
        Galaxy("a", image=image, photometry={k: (4 * f, e) for k, (f, e) in given.items()}, kind="fibre"),
        "linear", SDSS,
    )  # fmt: skip
    assert other.flags == ("picture-disagrees",)


def test_datasets_keep_the_photometry_of_pictures(tmp_path):
    shown = STRETCHES["sdss"].shown(sky(flux=60)[0])
    galaxy = with_picture_photometry(Galaxy("a", image=shown), "composite", SDSS)
    info = DatasetInfo(image_kind="composite", as_measured=True, of_pictures=True)
    write_dataset(tmp_path, [galaxy, Galaxy("b", image=shown)], info)
    dataset = Dataset(tmp_path)
    back = dataset[0]
    assert dataset.info.of_pictures and back.brightness_error == pytest.approx(0.35)
    assert (back.filters, back.kind, back.flags) == (galaxy.filters, galaxy.kind, galaxy.flags)
    np.testing.assert_allclose(back.photometry, galaxy.photometry)
    assert back.measurements().brightness_error == pytest.approx(0.35)
    assert dataset[1].photometry is None and dataset[1].brightness_error == 0
    assert dataset.batch([0], ["photometry"])["photometry"].shape == (1, 5)


needs_cases = pytest.mark.skipif(not CASES.is_dir(), reason=f"the example pictures are not here ({CASES})")


@needs_cases
def test_a_single_band_as_ccddata_is_refused():
    with pytest.raises(InputError, match="one band is there, the model wants g, r, i"):
        read_picture(CASES / "07_ccddata_one" / "G1.fits")


@needs_cases
def test_a_saturated_core_loses_its_band():
    folder = CASES / "21_nan_core_g"
    galaxy, _, notes = read_picture([folder / f"G1-{band}.fits" for band in "gri"])
    assert {"bad-pixels", "image-unusable", "photometry-from-picture"} <= set(galaxy.flags)
    assert set(fibre(galaxy)) == {"sdss2010-r", "sdss2010-i"}
    assert "bad pixels of band g within the fibre aperture" in notes
