"""Galaxies as a new user makes them, through the model that ships with the package."""

import numpy as np
import pytest

import pix2spec
from pix2spec import Galaxy
from pix2spec.core.survey import SDSS
from pix2spec.data.simulate import SimulatedSurvey
from pix2spec.errors import InputError
from pix2spec.models.shared.checks import check_image, in_bands_of

FLUXES = np.array([13.7, 55.0, 120.2, 177.0, 237.7])
IVAR = 1 / np.square(0.03 * FLUXES)
QUICK = {"n": 2, "steps": 2}
BY_LETTER = {b: (f, 0.03 * f) for b, f in zip("ugriz", FLUXES)}
ROUNDING = {"rtol": 5e-3, "atol": 0.02}  # sums of float32 in another order; most in steep emission lines


@pytest.fixture(scope="module")
def model():
    return pix2spec.load("default", device="cpu")


@pytest.fixture(scope="module")
def image():
    return SimulatedSurvey(seed=9).sample(1)["image"][0]


def spectra(model, *arguments, **options):
    return model.generate(pix2spec.Galaxy("same id", *arguments, **options), **QUICK)


def test_a_dictionary_in_any_order_is_the_array(model):
    array = spectra(model, photometry=FLUXES, photometry_ivar=IVAR)
    ordered = spectra(model, photometry=BY_LETTER, kind="fibre")
    turned = spectra(model, photometry=dict(reversed(BY_LETTER.items())), kind="fibre")
    for other in (ordered, turned):
        np.testing.assert_allclose(other.candidates, array.candidates, **ROUNDING)
        assert other.flags == array.flags and "amplitude-from-photometry" in array.flags
        np.testing.assert_allclose(other.photometry, FLUXES, rtol=1e-6)


def test_fluxes_alone_and_without_errors_are_enough(model):
    ensemble = spectra(model, photometry=list(FLUXES))
    typical = np.array([0.06, 0.012, 0.01, 0.01, 0.022]) * FLUXES
    stated = spectra(model, photometry=dict(zip("ugriz", zip(FLUXES, typical))))
    np.testing.assert_allclose(ensemble.candidates, stated.candidates, **ROUNDING)
    assert {"error-assumed", "photometry-kind-unknown"} <= set(ensemble.flags)


def test_bands_that_are_missing_are_missing(model):
    three = {band: BY_LETTER[band] for band in "gri"}
    without = np.where([0, 1, 1, 1, 0], IVAR, 0)
    array = spectra(model, photometry=FLUXES, photometry_ivar=without)
    np.testing.assert_allclose(
        spectra(model, photometry=three, kind="fibre").candidates, array.candidates, **ROUNDING
    )


def test_filters_that_a_survey_lacks_are_flagged_for_its_models_and_used_by_the_default(model):
    more = Galaxy("a", photometry=BY_LETTER | {"wise2010-W1": (200.0, 6.0)}, kind="fibre")
    only = Galaxy("a", photometry=BY_LETTER, kind="fibre")
    seen, same = in_bands_of(more, SDSS), in_bands_of(only, SDSS)
    np.testing.assert_array_equal(seen.photometry, same.photometry)
    assert "filters-unused" in seen.flags and "filters-unused" not in same.flags
    with_w1, without = (model.generate(g, **QUICK) for g in (more, only))
    assert not np.array_equal(with_w1.redshifts, without.redshifts)
    assert "filters-unused" not in with_w1.flags


def test_a_filter_that_is_nearly_the_models_stands_for_it_with_a_larger_error():
    lsst = Galaxy("a", photometry={"g": (30.0, 0.3), "r": (60.0, 0.6)}, survey="lsst", kind="fibre")
    seen = in_bands_of(lsst, SDSS)
    np.testing.assert_array_equal(seen.photometry, [np.nan, 30, 60, np.nan, np.nan])
    np.testing.assert_allclose(seen.photometry_ivar[1:3], 1 / (np.array([30, 60]) ** 2 * (0.01**2 + 0.05**2)))
    assert "filters-approximated" in seen.flags and "filters-unused" not in seen.flags
    assert seen.measured.filters == ("lsst2023-g", "lsst2023-r")


def test_filters_unlike_any_of_the_models_are_refused_or_left_to_the_redshift_model():
    infrared = Galaxy("a", photometry={"wise2010-W1": (200.0, 6.0), "twomass-J": (90.0, 3.0)})
    with pytest.raises(InputError, match=r"none of its filters \(wise2010-W1, twomass-J\).*sdss2010-u"):
        in_bands_of(infrared, SDSS)
    seen = in_bands_of(infrared, SDSS, may_lack=True)
    assert seen.photometry is None and seen.measured.filters == ("wise2010-W1", "twomass-J")
    assert "spectrum-from-redshift-alone" in seen.flags


@pytest.mark.parametrize(
    "kind, flag", [("model", "photometry-not-fibre"), ("unknown", "photometry-kind-unknown")]
)
def test_light_that_is_not_the_fibres_is_flagged(kind, flag):
    assert flag in in_bands_of(Galaxy("a", photometry=BY_LETTER, kind=kind), SDSS).flags


def test_the_default_model_takes_light_of_any_kind(model):
    assert "photometry-not-fibre" not in spectra(model, photometry=BY_LETTER, kind="model").flags


def test_the_kind_of_an_array_is_the_fibres_unless_it_is_stated(model):
    array = {"photometry": FLUXES, "photometry_ivar": IVAR}
    assert spectra(model, **array).flags == spectra(model, **array, kind="fibre").flags
    assert "photometry-not-fibre" in in_bands_of(Galaxy("g", **array, kind="model"), SDSS).flags
    with pytest.raises(InputError, match="kind: 'modle' is unknown"):
        pix2spec.Galaxy("g", **array, kind="modle")


def test_magnitudes_given_as_fluxes_are_refused(model):
    magnitudes, errors = [19.66, 18.15, 17.30, 16.88, 16.56], np.full(5, 0.02)
    with pytest.raises(InputError, match=r"look like magnitudes.*u\.ABmag"):
        spectra(model, photometry=magnitudes, photometry_ivar=1 / errors**2)


def test_an_array_of_another_length_shows_the_dictionary(model):
    with pytest.raises(InputError, match=r"shape \(4,\).*u, g, r, i, z.*dictionary by filter"):
        spectra(model, photometry=np.ones(4), photometry_ivar=np.ones(4))
    with pytest.raises(InputError, match=r"photometry_ivar.*shape \(3,\)"):
        spectra(model, photometry=np.ones(5), photometry_ivar=np.ones(3))


def test_masked_fluxes_and_pixels_are_missing(model, image):
    masked = np.ma.masked_array(FLUXES, [True, False, False, False, False])
    array = spectra(model, photometry=FLUXES, photometry_ivar=np.where([0, 1, 1, 1, 1], IVAR, 0))
    ensemble = spectra(model, photometry=masked, photometry_ivar=IVAR)
    np.testing.assert_allclose(ensemble.candidates, array.candidates, **ROUNDING)
    mask = np.zeros(image.shape, bool)
    mask[:, 3, 4] = True
    holed = np.ma.masked_array(image, mask)
    assert {"image-unusable", "photometry-from-picture"} <= set(model.generate(holed, **QUICK).flags)
    with pytest.raises(InputError, match="NaN or inf pixels"):
        check_image(Galaxy("a", image=holed.filled(np.nan)), SDSS.image_bands)


def test_colour_pictures_and_arrays_with_bands_last(model, image):
    rgb = np.random.default_rng(0).integers(0, 255, (64, 64, 3)).astype(np.uint8)
    composite = np.ascontiguousarray(rgb[..., ::-1].transpose(2, 0, 1)).astype(np.float32)
    picture = model.generate(rgb, **QUICK)
    np.testing.assert_allclose(
        picture.candidates, model.generate(composite, image_kind="composite", **QUICK).candidates, **ROUNDING
    )
    with pytest.raises(InputError, match="red, green, blue"):
        model.generate(rgb.transpose(2, 0, 1), **QUICK)
    with pytest.raises(InputError, match=r"shape \(64, 64, 3\).*np\.moveaxis"):
        model.generate(np.moveaxis(image, 0, -1), **QUICK)


def test_a_batch_reports_what_cannot_be_used_and_goes_on(model):
    galaxies = [
        pix2spec.Galaxy("good", photometry=FLUXES, photometry_ivar=IVAR),
        pix2spec.Galaxy("short", photometry=np.ones(4), photometry_ivar=np.ones(4)),
        pix2spec.Galaxy("other"),
    ]
    good, (short, why_short), (other, why_other) = model.run(galaxies, "linear", pix2spec.Settings(**QUICK))
    assert good.object_id == "good" and short.object_id == "short" and other.object_id == "other"
    assert ("shape (4,)" in why_short and "its image" in why_other) or "no image" in why_other
