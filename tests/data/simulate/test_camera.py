"""The unruly camera against closed forms, and against what the steady camera shows of the same galaxies."""

from dataclasses import replace

import numpy as np
import pytest

from pix2spec.core.photometry import aperture_weights
from pix2spec.core.survey import SDSS
from pix2spec.data.dataset import Dataset
from pix2spec.data.simulate import SimulatedSurvey, simulate
from pix2spec.data.simulate.camera import UNRULY, Camera, composite, moffat
from pix2spec.data.simulate.galaxies import EARLY, draw_galaxies
from pix2spec.data.simulate.images import PSF, render
from pix2spec.data.simulate.shapes import Frame, light_of, smooth_field
from pix2spec.data.simulate.spectra import SpectrumModel
from pix2spec.errors import InputError

CALM = Camera(
    scale_error=0, unknown=0, centring=0, noise=(1e-9, 1e-9), sky=0, companions=0, stars=0, trails=0,
    columns=0,
)  # fmt: skip


@pytest.fixture(scope="module")
def drawn():
    galaxies = draw_galaxies(np.random.default_rng(5), 64)
    return galaxies, SpectrumModel().components(galaxies)


def test_pictures_are_finite_and_depend_on_the_generator_alone(drawn):
    images, known = UNRULY.pictures(np.random.default_rng(1), *drawn)
    again, _ = UNRULY.pictures(np.random.default_rng(1), *drawn)
    assert images.shape == (64, 3, 64, 64) and images.dtype == np.float32
    assert np.isfinite(images).all() and 0 < known.mean() < 1
    np.testing.assert_array_equal(images, again)


def test_shapes_keep_the_light_in_the_fibre(drawn):
    galaxies, parts = drawn
    frame, bands = Frame(64, SDSS.pixel_scale), [SDSS.photometry_bands.index(b) for b in SDSS.image_bands]
    x, y = frame.offsets()
    inside = aperture_weights((64, 64), frame.pixel, SDSS.fibre_diameter)
    x_flat, y_flat = (v.reshape(1, -1).astype(np.float32) for v in (x, y))
    ratios = []
    for row in range(24):
        light = light_of(np.random.default_rng(row), galaxies, parts, row, frame, x, y)
        seen = sum(_seen(light, share, sigma / frame.pixel) for share, sigma in PSF)
        expected = 0
        for profile, name in (("de Vaucouleurs", "bulge"), ("exponential", "disc")):
            shape = (getattr(galaxies, f"{name}_{k}")[row : row + 1] for k in ("radius", "axis_ratio"))
            image = render(profile, *shape, galaxies.angle[row : row + 1], x_flat, y_flat)
            expected = expected + getattr(parts, f"{name}_bands")[row, bands] * (image[0] @ inside.ravel())
        ratios.append((seen * inside).sum((1, 2)) / expected)
    # What is drawn is blurred by 0.24 arcsec besides the seeing, which takes 2 % from the fibre.
    np.testing.assert_allclose(ratios, 0.98, atol=0.012)


def _seen(light, share, sd):
    from scipy.ndimage import gaussian_filter

    return share * gaussian_filter(light, (0, sd, sd))


@pytest.mark.parametrize("fwhm", [2.0, 3.3, 5.5])
def test_seeing_has_the_width_and_the_wings_of_moffat(fwhm):
    kernel = moffat(fwhm, 3.0, (0, 0))
    middle = kernel.shape[0] // 2
    profile, radius = kernel[middle, middle:], np.arange(kernel.shape[0] // 2 + 1)
    half = np.interp(0.5, (profile / profile[0])[::-1], radius[::-1])
    assert kernel.sum() == pytest.approx(1) and half == pytest.approx(fwhm / 2, rel=0.1)
    assert profile[4] > 10 * profile[0] * np.exp(-0.5 * (4 * 2.355 / fwhm) ** 2) or fwhm > 3


def test_noise_has_the_surveys_size_and_is_correlated(drawn):
    camera = replace(CALM, noise=(1, 1), correlation=0)
    empty, frame = np.zeros((3, 64, 64)), Frame(64, SDSS.pixel_scale)
    images = np.array([camera.observed(np.random.default_rng(k), empty, frame) for k in range(40)])
    np.testing.assert_allclose(images.std((0, 2, 3)), [0.019, 0.028, 0.042], rtol=0.02)
    images = np.array(
        [replace(camera, correlation=1.4).observed(np.random.default_rng(k), empty, frame) for k in range(40)]
    )
    np.testing.assert_allclose(images.std((0, 2, 3)), [0.019, 0.028, 0.042], rtol=0.02)
    assert (images[..., 1:] * images[..., :-1]).mean() / (images**2).mean() > 0.2


def test_smooth_fields_have_unit_variance_and_their_scale():
    frame = Frame(128, 0.4)
    fields = [smooth_field(np.random.default_rng(k), frame, 2.0) for k in range(20)]
    # A field smoothed by a Gaussian of 2 arcsec correlates as exp(-r^2 / 16 arcsec^2).
    correlation = np.mean([(f[:, 5:] * f[:, :-5]).mean() for f in fields])
    assert np.mean(np.square(fields)) == pytest.approx(1)
    assert correlation == pytest.approx(np.exp(-(2.0**2) / 16), abs=0.08)


@pytest.mark.parametrize(("centring", "at"), [(4.0, 0.0), (0.0, 3.0)])
def test_a_galaxy_far_from_the_centre_is_seen_there(drawn, centring, at):
    camera = replace(CALM, centring=centring)
    bright = int(np.argmin(drawn[0].r + 10 * (drawn[0].kind != EARLY)))
    picture = camera.take(np.random.default_rng(3), *drawn, bright, Frame(64, SDSS.pixel_scale), at)
    assert centring or picture.centre == pytest.approx((at / SDSS.pixel_scale,) * 2)
    y, x = np.unravel_index(np.argmax(picture.clean[1]), (64, 64))
    assert np.hypot(x - 31.5 - picture.centre[0], y - 31.5 - picture.centre[1]) < 2


def test_colour_pictures_hold_whole_values_of_any_size(drawn):
    images, _ = UNRULY.pictures(np.random.default_rng(1), *drawn)
    for size in (64, 48):
        made = composite(np.random.default_rng(0), images[0], size)
        assert made.shape == (3, size, size) and made.min() >= 0 and made.max() <= 255
        np.testing.assert_array_equal(made, np.rint(made))
    typical = composite(np.random.default_rng(0), images[int(np.argmin(np.abs(drawn[0].r - 17)))])
    assert typical[:, 30:34, 30:34].mean() > 3 * np.median(typical)


def test_the_unruly_survey_changes_pictures_and_nothing_else(tmp_path):
    steady, unruly = SimulatedSurvey(3).block(0), SimulatedSurvey(3, camera="unruly").block(0)
    for name, values in steady.items():
        assert np.array_equal(values, unruly[name]) == (name != "image"), name
    simulate(tmp_path / "data", 4, seed=3, camera="unruly", progress=False)
    data = Dataset(tmp_path / "data")
    np.testing.assert_array_equal(data[2].image, unruly["image"][2])
    assert data.info.provenance["camera"] == "unruly"


def test_an_unknown_camera_is_refused():
    with pytest.raises(InputError, match="camera"):
        SimulatedSurvey(3, camera="kodak")
