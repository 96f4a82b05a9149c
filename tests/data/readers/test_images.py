import warnings

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pix2spec.core.survey import HSC, LEGACY, LSST, PS1, Survey
from pix2spec.data.readers.images import read_cutout
from pix2spec.data.readers.picture_bundle import read_image_bundle
from pix2spec.errors import InputError
from support.fake_sdss import cutout, wcs_header, write_cube, write_picture


def test_cube_without_band_names_is_in_the_surveys_order(tmp_path):
    image, kind, info = read_cutout(write_cube(tmp_path / "a.fits"))
    np.testing.assert_array_equal(image, cutout())
    assert image.dtype == np.float32 and kind == "linear"
    assert info["pixel_scale"] == pytest.approx(0.396)
    assert info["ra"] == pytest.approx(146.9341) and info["dec"] == pytest.approx(-0.6704)
    assert info["notes"] == []


def test_named_bands_are_picked_and_sorted(tmp_path):
    path = write_cube(tmp_path / "a.fits", bands=5, BANDS="zirgu")
    image, *_ = read_cutout(path)
    np.testing.assert_array_equal(image, cutout(bands=5)[[3, 2, 1]])


def test_one_hdu_a_band(tmp_path):
    planes = cutout()
    hdus = [fits.PrimaryHDU()]
    for name, k in (("i", 2), ("g", 0), ("r", 1)):
        hdus.append(fits.ImageHDU(planes[k], wcs_header(), name=f"SDSS-{name}"))
    fits.HDUList(hdus).writeto(tmp_path / "a.fits")
    np.testing.assert_array_equal(read_cutout(tmp_path / "a.fits")[0], planes)


@pytest.mark.parametrize("by_header", [True, False])
def test_one_file_a_band_in_any_order(tmp_path, by_header):
    planes, paths = cutout(), []
    for k in (1, 2, 0):
        band = "gri"[k]
        header = wcs_header(**({"FILTER": band} if by_header else {}))
        paths.append(tmp_path / (f"x{k}.fits" if by_header else f"0266-51602-0013-{band}.fits"))
        fits.PrimaryHDU(planes[k], header).writeto(paths[-1])
    np.testing.assert_array_equal(read_cutout(paths)[0], planes)
    with pytest.raises(InputError, match=r"wrong band count: i missing.*g, r, i are expected"):
        read_cutout([paths[0], paths[2]])
    with pytest.raises(InputError, match="comes twice"):
        read_cutout([*paths, paths[0]])


def test_crop_is_about_the_centre(tmp_path):
    image, *_ = read_cutout(write_cube(tmp_path / "a.fits", size=101))
    y, x = np.unravel_index(image[2].argmax(), (64, 64))
    assert abs(y - 32) <= 1 and abs(x - 32) <= 1


def test_too_small_is_an_error(tmp_path):
    with pytest.raises(InputError, match="63 x 63 pixels, 64 x 64 are needed"):
        read_cutout(write_cube(tmp_path / "a.fits", size=63))
    with pytest.raises(InputError, match="64 x 64 are needed"):
        read_cutout(write_picture(tmp_path / "a.png", 60))


@pytest.mark.parametrize("bands", [1, 2, 4])
def test_wrong_band_count(tmp_path, bands):
    with pytest.raises(InputError, match=r"wrong band count.*g, r, i"):
        read_cutout(write_cube(tmp_path / "a.fits", bands=bands))


def test_pixel_scale(tmp_path):
    path = write_cube(tmp_path / "a.fits", scale=0.262)
    with pytest.raises(InputError, match=r"64 x 64 pixels of 0\.262 arcsec, 97 x 97 are needed"):
        read_cutout(path)
    assert read_cutout(path, pixel_scale=0.262)[2]["pixel_scale"] == pytest.approx(0.262)
    assert read_cutout(path, any_pixel_scale=True)[1] == "linear"
    plane = cutout()[0]
    np.testing.assert_array_equal(read_cutout(write_cube(tmp_path / "b.fits", scale=0.4))[0][0], plane)
    image, *_ = read_cutout(write_cube(tmp_path / "c.fits", scale=0.41))
    assert image.shape == (3, 64, 64) and not np.array_equal(image[0], plane)
    assert image[0].sum() == pytest.approx(plane.sum(), rel=0.02)  # less what lies beyond the frame


def test_without_wcs(tmp_path):
    fits.PrimaryHDU(cutout()).writeto(tmp_path / "a.fits")
    info = read_cutout(tmp_path / "a.fits")[2]
    assert info["notes"] == ["no WCS: the pixel scale was not checked"] and np.isnan(info["ra"])


def test_units(tmp_path):
    read_cutout(write_cube(tmp_path / "a.fits", BUNIT="nanomaggy"))
    with pytest.raises(InputError, match="BUNIT is 'counts/s', and the header has no zero point"):
        read_cutout(write_cube(tmp_path / "b.fits", BUNIT="counts/s"))


def test_few_bad_pixels_are_mended_many_refused(tmp_path):
    image = cutout()
    image[0, 10, 10], image[2, 0, 0] = np.nan, np.inf
    fits.PrimaryHDU(image, wcs_header()).writeto(tmp_path / "a.fits")
    mended, _, info = read_cutout(tmp_path / "a.fits")
    assert np.isfinite(mended).all() and abs(mended[0, 10, 10]) < 0.2 and len(info["notes"]) == 2
    image[1, :10] = np.nan
    fits.PrimaryHDU(image, wcs_header()).writeto(tmp_path / "b.fits")
    with pytest.raises(InputError, match="16% of the r pixels are NaN"):
        read_cutout(tmp_path / "b.fits")


def test_empty_images(tmp_path):
    image = cutout()
    image[1] = 0
    fits.PrimaryHDU(image, wcs_header()).writeto(tmp_path / "a.fits")
    with pytest.raises(InputError, match="r image is zero everywhere"):
        read_cutout(tmp_path / "a.fits")
    with pytest.raises(InputError, match="pixels have the same value"):
        read_cutout(write_picture(tmp_path / "b.png", colour=(0, 0, 0)))
    fits.PrimaryHDU().writeto(tmp_path / "c.fits")
    with pytest.raises(InputError, match="holds no image"):
        read_cutout(tmp_path / "c.fits")


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_picture_channels(tmp_path, mode):
    image, kind, _ = read_cutout(write_picture(tmp_path / "a.png", 80, (200, 100, 50), mode))
    assert kind == "composite" and image.shape == (3, 64, 64) and image.dtype == np.float32
    g, r, i = image.mean((1, 2))
    assert g < r < i and i == pytest.approx(4 * g, rel=0.05)  # red is i


def test_jpeg(tmp_path):
    image, *_ = read_cutout(write_picture(tmp_path / "a.jpg"))
    assert image[2].mean() > image[1].mean() > image[0].mean()


@pytest.mark.parametrize("mode", ["L", "1", "P", "CMYK", "LA", "I;16"])
def test_other_pictures_are_refused(tmp_path, mode):
    suffix = "jpg" if mode == "CMYK" else "png"
    path = tmp_path / f"a.{suffix}"
    if mode == "I;16":
        Image.fromarray(np.arange(64 * 64, dtype=np.uint16).reshape(64, 64)).save(path)
    else:
        write_picture(path, mode=mode)
    with pytest.raises(InputError, match="wrong band count"):
        read_cutout(path)


def test_transparent_and_grey_pictures(tmp_path):
    rgba = np.full((64, 64, 4), 100, np.uint8)
    Image.fromarray(rgba).save(tmp_path / "a.png")
    with pytest.raises(InputError, match="transparent"):
        read_cutout(tmp_path / "a.png")
    info = read_cutout(write_picture(tmp_path / "b.png", colour=(90, 90, 90)))[2]
    assert "greyscale" in info["notes"][0]


def test_pictures_need_three_bands(tmp_path):
    with pytest.raises(InputError, match="cannot hold the bands"):
        read_cutout(write_picture(tmp_path / "a.png"), Survey(image_bands=("g", "r")))


def test_decompression_bomb_is_not_decoded(tmp_path):
    path = tmp_path / "bomb.png"
    Image.new("1", (20000, 20000)).save(path)  # 50 kB that would become 400 million pixels
    assert path.stat().st_size < 100_000
    with pytest.raises(InputError, match=r"too large|decompression bomb"):
        read_cutout(path)


def test_truncated_picture(tmp_path):
    path = tmp_path / "a.jpg"
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(InputError, match=r"a\.jpg.*truncated"):
        read_cutout(path)


def test_two_pictures_of_one_galaxy_and_none(tmp_path):
    path = write_picture(tmp_path / "a.png")
    with pytest.raises(InputError, match="one picture per galaxy"):
        read_cutout([path, path])
    with pytest.raises(InputError, match="no file"):
        read_cutout([])


@settings(max_examples=60, deadline=None)
@given(data=st.data(), name=st.sampled_from(["a.jpg", "a.png", "a.fits"]))
def test_damaged_bytes_raise_input_error_or_nothing(tmp_path_factory, data, name):
    folder = tmp_path_factory.getbasetemp() / "damaged-images"
    folder.mkdir(exist_ok=True)
    pristine = folder / name
    if not pristine.exists():
        (write_cube if name.endswith("fits") else write_picture)(pristine)
    raw = bytearray(pristine.read_bytes())
    places = st.integers(0, min(3000, len(raw) - 1))
    for place, byte in data.draw(st.lists(st.tuples(places, st.integers(0, 255)), min_size=1, max_size=30)):
        raw[place] = byte
    path = folder / f"damaged-{name}"
    path.write_bytes(raw[: data.draw(st.integers(1, len(raw)) | st.just(len(raw)))])
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            image, *_ = read_cutout(path)
        assert image.shape == (3, 64, 64) and np.isfinite(image).all()
    except InputError as error:
        assert "damaged-" in str(error)


def bundle(path, **arrays):
    rgb = np.random.default_rng(0).integers(1, 255, (3, 3, 64, 64), dtype=np.uint8)
    values = {
        "image64": rgb,
        "plate": np.array([266, 266, 266]),
        "mjd": np.array([51602] * 3),
        "fiber": np.array([1, 2, 3]),
        "kind": np.array(["sdss_gri", "legacy_grz", "sdss_gri"]),
        "object_id": np.array(["11", "22", "33"]),
    } | arrays
    np.savez(path, **{k: v for k, v in values.items() if v is not None})
    return path, rgb


def test_bundle(tmp_path):
    path, rgb = bundle(tmp_path / "b.npz")
    failures = []
    rows = list(read_image_bundle(path, failures=failures))
    assert [keys["object_id"] for keys, *_ in rows] == ["0266-51602-0001", "0266-51602-0003"]
    np.testing.assert_array_equal(rows[0][1], rgb[0, ::-1])
    assert rows[0][2] == "composite" and rows[0][0]["photo_id"] == "11"
    assert len(failures) == 1 and "bands g, r, z" in failures[0][1]
    assert len(list(read_image_bundle(path, any_bands=True))) == 3


@pytest.mark.parametrize(
    ("arrays", "says"),
    [
        ({"image64": None, "image": np.ones(3)}, "no array 'image64'"),
        ({"image64": np.ones((3, 64, 64), np.uint8)}, "not uint8"),
        ({"mjd": np.ones(2, int)}, "'mjd' has 2 values"),
        ({"plate": None, "object_id": None}, "neither plate"),
    ],
)
def test_bundle_faults(tmp_path, arrays, says):
    with pytest.raises(InputError, match=says):
        list(read_image_bundle(bundle(tmp_path / "b.npz", **arrays)[0]))


def calibrated(survey, flux):
    """A cutout (band, y, x) of a survey with its header: `flux` nanomaggies in every pixel, plus a slope."""
    bands, size = len(survey.image_bands), 64
    return flux * np.linspace(1, 2, bands * size * size, dtype=np.float32).reshape(bands, size, size)


@pytest.mark.parametrize(
    ("survey", "unit", "cards"),
    [
        (LEGACY, 1.0, {}),
        (LSST, 1 / 3631, {"BUNIT": "nJy"}),  # nanomaggies of one unit of the pixels
        (HSC, 10 ** (-0.4 * (27 - 22.5)), {}),
        (HSC, 10 ** (0.4 * 22.5) / 5e10, {"FLUXMAG0": 5e10, "BUNIT": "ADU"}),
        (PS1, 10 ** (-0.4 * (25 - 22.5)) / 40, {"EXPTIME": 40.0}),
        (HSC, 1.0, {"BUNIT": "nanomaggies"}),
    ],
)
def test_pixels_of_every_survey_become_nanomaggies(tmp_path, survey, unit, cards):
    expected = calibrated(survey, 0.3)
    header = wcs_header(scale=survey.pixel_scale, BANDS="".join(survey.image_bands), **cards)
    fits.PrimaryHDU((expected / unit).astype(np.float32), header).writeto(tmp_path / "a.fits")
    image, kind, info = read_cutout(tmp_path / "a.fits", survey)
    np.testing.assert_allclose(image, expected, rtol=1e-4)
    assert kind == "linear" and info["pixel_scale"] == pytest.approx(survey.pixel_scale)


def test_asinh_scaled_stacks_are_made_linear(tmp_path):
    """Pan-STARRS1's full stack images hold 2.5 log10(e) asinh((flux - BOFFSET) / 2 BSOFTEN)."""
    expected, soften, offset = calibrated(PS1, 0.3), 95.4, 2.2
    counts = expected * 10 ** (0.4 * 2.5) * 40
    header = wcs_header(scale=0.25, BANDS="grizy", EXPTIME=40.0, BSOFTEN=soften, BOFFSET=offset)
    scaled = 2.5 / np.log(10) * np.arcsinh((counts - offset) / (2 * soften))
    fits.PrimaryHDU(scaled.astype(np.float32), header).writeto(tmp_path / "a.fits")
    np.testing.assert_allclose(read_cutout(tmp_path / "a.fits", PS1)[0], expected, rtol=1e-4)


def test_pixels_of_unknown_zero_point_are_refused(tmp_path):
    header = wcs_header(scale=0.25, BANDS="grizy")
    fits.PrimaryHDU(calibrated(PS1, 1), header).writeto(tmp_path / "a.fits")
    with pytest.raises(InputError, match=r"EXPTIME is None \(the calibration needs a positive EXPTIME"):
        read_cutout(tmp_path / "a.fits", PS1)
    header = wcs_header(scale=0.2, BANDS="ugrizy", BUNIT="adu")
    fits.PrimaryHDU(calibrated(LSST, 1), header).writeto(tmp_path / "c.fits")
    with pytest.raises(InputError, match="BUNIT is 'adu', and the header has no zero point"):
        read_cutout(tmp_path / "c.fits", LSST)
