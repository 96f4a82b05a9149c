"""Fluxes of pictures whose fluxes are known."""

from dataclasses import replace

import numpy as np
import pytest

from pix2spec.core.photometry import aperture_weights
from pix2spec.core.stretches import STRETCHES
from pix2spec.core.survey import LEGACY, PS1, SDSS
from pix2spec.data.measurements import Measurements
from pix2spec.data.readers.picture_photometry import disagrees, measure_picture
from pix2spec.errors import InputError
from support.paths import SHARED
from support.skies import COLOURS, galaxy_light, grid, offsets, sky


def fluxes(found, kind):
    m = found.measurements
    return np.array([f for f, k in zip(m.flux, m.kinds) if k == kind])


def in_the_fibre(scale=0.05, size=200):
    """Share of the galaxy's light within the fibre, on fine pixels."""
    light = galaxy_light(*offsets(grid(size, scale), size), scale)
    return (light * aperture_weights((size, size), scale, SDSS.fibre_diameter)).sum()


def test_fluxes_in_the_fibre_and_in_total():
    found = measure_picture(sky()[0])
    m = found.measurements
    assert m.filters == SDSS.filters[1:4] * 2 and m.kinds == ("fibre",) * 3 + ("kron",) * 3
    assert m.extinction == "observed" and found.flags == ()
    np.testing.assert_allclose(fluxes(found, "fibre"), np.array(COLOURS) * in_the_fibre(), rtol=0.01)
    np.testing.assert_allclose(fluxes(found, "kron"), COLOURS, rtol=0.06)  # of a Gaussian, 5 % are beyond
    assert found.centre == pytest.approx((31.5, 31.5), abs=0.1)
    assert found.fibre_radius == pytest.approx(1.5 / 0.396) and found.ellipse is not None


def test_errors_are_those_of_the_noise():
    many = [measure_picture(sky(noise=0.05, seed=seed, flux=15)[0]).measurements for seed in range(60)]
    flux = np.array([m.flux[:3] for m in many])
    error = np.array([m.error[:3] for m in many])
    calibration = 0.02 * flux.mean(0)
    noise = np.sqrt(np.median(error**2, 0) - calibration**2)
    np.testing.assert_allclose(flux.std(0), noise, rtol=0.35)
    stated = measure_picture(sky()[0], error=np.full((3, 64, 64), 0.1)).measurements
    pixels = aperture_weights((64, 64), 0.396, 3.0)
    expected = np.hypot(0.1 * np.sqrt((pixels**2).sum()), 0.02 * stated.flux[:3])
    np.testing.assert_allclose(stated.error[:3], expected, rtol=0.02)


def test_a_sky_that_was_not_subtracted_changes_nothing():
    image = sky()[0]
    plain, bright = measure_picture(image), measure_picture(image + np.array([0.5, 1, 2])[:, None, None])
    np.testing.assert_allclose(plain.measurements.flux, bright.measurements.flux, rtol=1e-3)


@pytest.mark.parametrize("pixels", [3, 8])
def test_a_galaxy_off_the_centre_is_measured_where_it_is(pixels):
    offset = pixels * 0.396
    centred, moved = measure_picture(sky()[0]), measure_picture(sky(at=(offset, 0))[0])
    assert moved.flags == ("off-centre",) and moved.offset == pytest.approx(offset, abs=0.1)
    assert f"{moved.offset:.1f} arcsec off the centre" in moved.notes[0]
    np.testing.assert_allclose(moved.measurements.flux, centred.measurements.flux, rtol=0.01)


def test_a_galaxy_beyond_five_arcsec_is_flagged_and_not_measured():
    found = measure_picture(sky(at=(7.0, 0))[0])
    assert found.flags == ("off-centre",) and found.measurements.filters == () and found.centre is None


@pytest.mark.parametrize(("distance", "bright"), [(4.5, 10.0), (6.0, 40.0), (5.0, 3.0)])
def test_a_star_beside_the_galaxy_changes_little(distance, bright):
    alone = measure_picture(sky()[0]).measurements
    beside = measure_picture(sky(extra=[(distance, 0.0, bright)])[0])
    assert "off-centre" not in beside.flags
    change = -2.5 * np.log10(beside.measurements.flux[:3] / alone.flux[:3])
    assert np.abs(change).max() < 0.05 and np.abs(np.diff(change)).max() < 0.03


def test_a_saturated_core_makes_its_band_missing():
    image = sky()[0]
    image[0, 29:34, 29:34] = np.nan
    found = measure_picture(image)
    assert found.flags == ("bad-pixels",) and "band g" in found.notes[0]
    assert [f for f, k in zip(found.measurements.filters, found.measurements.kinds) if k == "fibre"] == [
        "sdss2010-r",
        "sdss2010-i",
    ]


def test_a_few_bad_pixels_take_the_colour_of_the_others_and_a_larger_error():
    image = sky()[0]
    whole = measure_picture(image).measurements
    image[0, 30:33, 31] = np.nan
    found = measure_picture(image)
    assert found.flags == ("bad-pixels",)
    assert found.measurements.flux[0] == pytest.approx(whole.flux[0], rel=0.02)
    assert found.measurements.error[0] > 1.2 * whole.error[0]
    np.testing.assert_allclose(found.measurements.error[1:3], whole.error[1:3], rtol=0.02)
    far = sky()[0]
    far[1, 5, 5] = np.nan
    assert measure_picture(far).flags == ()


def test_bad_pixels_of_all_bands_leave_nothing():
    image = sky()[0]
    image[:, 31, 31] = np.nan
    found = measure_picture(image)
    assert found.flags == ("bad-pixels",) and found.measurements.filters == ()


def test_a_frame_too_small_for_the_galaxy_gives_the_fibre_alone():
    found = measure_picture(sky(size=14)[0])
    assert "frame-too-small" in found.flags and set(found.measurements.kinds) == {"fibre"}
    assert any("too small to hold the whole galaxy" in note for note in found.notes)


def test_an_empty_picture_and_wrong_bands():
    random = np.random.default_rng(0)
    empty = [measure_picture(random.normal(0, 1, (3, 64, 64))).measurements.filters for _ in range(20)]
    assert empty == [()] * 20
    assert measure_picture(np.zeros((3, 64, 64))).measurements.filters == ()
    with pytest.raises(InputError, match="its axes are 3 bands"):
        measure_picture(np.zeros((64, 64, 3)))


@pytest.mark.parametrize("survey", [SDSS, LEGACY])
def test_stretches_are_inverted(survey):
    stretch = STRETCHES[survey.name]
    image = sky(size=64, scale=survey.pixel_scale, noise=0.0, flux=30)[0]
    np.testing.assert_allclose(stretch.linear(stretch.shown(image)), image, rtol=2e-3, atol=2e-4)
    bright = stretch.linear(stretch.shown(100 * image))
    if survey is SDSS:  # clipping keeps the colour
        y, x = 31, 31
        assert bright[0, y, x] / bright[2, y, x] == pytest.approx(COLOURS[0] / COLOURS[2], rel=1e-3)
        assert bright[1, y, x] < 100 * image[1, y, x]
    else:
        assert np.isnan(bright[:, 31, 31]).all()


def test_colours_of_a_colour_picture_and_its_errors():
    image = sky(noise=0.02, flux=60)[0]
    shown = np.rint(STRETCHES["sdss"].shown(image))
    linear, picture = measure_picture(image).measurements, measure_picture(shown, "composite").measurements
    difference = -2.5 * np.log10(picture.flux[:3] / linear.flux[:3])
    assert np.abs(np.diff(difference)).max() < 0.03 and np.abs(difference).max() < 0.1
    assert (picture.error[:3] > 0.045 * picture.flux[:3]).all()
    assert picture.brightness_error == 0.35 and linear.brightness_error == 0
    assert picture.kinds == ("fibre",) * 3


def test_a_stretch_that_is_not_known_is_refused():
    with pytest.raises(InputError, match="stretch of colour pictures of ps1 is not known"):
        measure_picture(np.ones((5, 64, 64)), "composite", PS1)


def test_colours_of_real_pictures_are_those_of_their_fibre_fluxes(sdss_galaxies):
    if not (SHARED / "sdss_pairs.npz").exists():
        pytest.skip(f"real pictures are not here ({SHARED})")
    with np.load(SHARED / "sdss_pairs.npz", allow_pickle=False) as pairs:
        chosen = pairs["kind"] == "sdss_gri"
        pictures, index = pairs["image64"][chosen][:, ::-1], pairs["index"][chosen]
    flux = np.array([measure_picture(p, "composite").measurements.flux for p in pictures])
    wanted = sdss_galaxies["calibflux_ugriz"][index][:, 1:4]
    difference = np.diff(-2.5 * np.log10(flux / wanted), axis=1)
    middle = np.median(difference, 0)
    assert np.abs(middle).max() < 0.01
    assert (1.4826 * np.median(np.abs(difference - middle), 0)).max() < 0.045


def test_pictures_of_another_galaxy_disagree():
    found = measure_picture(sky()[0]).measurements
    given = replace(found, filters=found.filters[:3], kinds=found.kinds[:3], flux=found.flux[:3] * 1.1,
                    error=0.02 * found.flux[:3])  # fmt: skip
    assert not disagrees(found, given)
    assert disagrees(found, replace(given, flux=given.flux * 2))
    assert disagrees(found, replace(given, flux=given.flux * [1.4, 1, 1]))
    assert not disagrees(found, replace(given, kinds=("unknown",) * 3, flux=given.flux * 2))
    shared = replace(found, brightness_error=0.35)
    assert not disagrees(shared, replace(given, flux=given.flux * 2))
    assert not disagrees(found, Measurements((), np.zeros(0), np.zeros(0), ()))


def test_a_bright_knot_does_not_move_the_aperture_from_the_centre():
    disc = np.array(COLOURS)[:, None, None] * np.exp(-np.hypot(*offsets(grid(), 64)) / 6) / 20
    plain = measure_picture(sky(flux=0)[0] + disc)
    knotty = measure_picture(sky(flux=0, extra=[(2.2, 0.5, 3.0)])[0] + disc)  # half as bright as its disc
    assert knotty.offset < 0.5 and "off-centre" not in knotty.flags
    change = -2.5 * np.log10(knotty.measurements.flux[:3] / plain.measurements.flux[:3])
    assert np.abs(change).max() < 0.05
