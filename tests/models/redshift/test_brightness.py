"""Redshifts of galaxies whose fluxes share an error."""

from dataclasses import replace

import numpy as np
import pytest

from pix2spec.data.measurements import Measurements
from pix2spec.models.redshift.brightness import answer, with_levels
from pix2spec.models.shared.measurements import tokens_of
from pix2spec.models.storage import find_model, load_model


@pytest.fixture(scope="module")
def model():
    return load_model(find_model("redshift"))[0]


def galaxy(shared):
    flux = np.array([40.0, 90.0, 130.0])
    filters = ("sdss2010-g", "sdss2010-r", "sdss2010-i")
    return Measurements(
        filters, flux, 0.05 * flux, ("fibre",) * 3, extinction="observed", brightness_error=shared
    )


def test_levels_keep_colours_and_spread_by_the_error():
    levels = with_levels(galaxy(0.5))
    r = 22.5 - 2.5 * np.log10([level.flux[1] for level in levels])
    np.testing.assert_allclose([level.flux[0] / level.flux[1] for level in levels], 40 / 90)
    assert r.max() - r.min() > 2 * 0.5 and np.median(r) == pytest.approx(22.5 - 2.5 * np.log10(90))


def test_without_a_shared_error_the_answer_is_the_models(model):
    ours, theirs = answer(model, [galaxy(0.0)])[0], model.answer(tokens_of([galaxy(0.0)]))[0]
    np.testing.assert_array_equal(ours.mean, theirs.mean)
    tiny = answer(model, [galaxy(1e-6)])[0]
    np.testing.assert_allclose(tiny.quantile(0.5), ours.quantile(0.5), rtol=1e-3)


def test_the_answer_is_the_mean_over_brightnesses(model):
    given = galaxy(0.6)
    posterior, outside = answer(model, [given, replace(given, brightness_error=0.0)])
    assert posterior.weight.sum(1) == pytest.approx([1, 1]) and outside.shape == (2,)
    z = np.random.default_rng(0).normal(0, 0.6, 400)
    many = [replace(given, flux=given.flux * f, error=given.error * f, brightness_error=0.0)
            for f in 10 ** (0.4 * z)]  # fmt: skip
    expected = model.answer(tokens_of(many))[0].cdf(np.full(400, 0.08)).mean()
    assert posterior.cdf(np.array([0.08, 0.08]))[0] == pytest.approx(expected, abs=0.03)
    widths = posterior.quantile(0.84) - posterior.quantile(0.16)
    assert widths[0] > widths[1]
