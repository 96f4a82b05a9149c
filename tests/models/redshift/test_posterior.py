import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from pix2spec.models.redshift.posterior import Z_MAX, RedshiftPosterior, from_y, to_y


def gaussians(mean, sd):
    mean, sd = (np.asarray(x, float)[:, None] for x in (mean, sd))
    return RedshiftPosterior(np.ones_like(mean), mean, sd)


def test_the_coordinate_and_its_inverse():
    z = np.array([1e-3, 0.02, 0.1, 0.3, 0.7])
    np.testing.assert_allclose(from_y(to_y(z)), z, rtol=1e-12)


@given(z=st.floats(0.01, 0.6), sd=st.floats(0.003, 0.2), q=st.floats(0.02, 0.98))
def test_quantiles_of_a_gaussian(z, sd, q):
    posterior = gaussians([to_y(z)], [sd])
    expected = from_y(to_y(z) + sd * norm.ppf(q))
    np.testing.assert_allclose(posterior.quantile(q), expected, rtol=2e-5, atol=1e-6)
    if 2e-3 < expected < Z_MAX - 2e-3:
        np.testing.assert_allclose(posterior.cdf(np.array([expected])), q, atol=1e-4)


def test_draws_follow_the_mixture():
    weight, mean, sd = np.array([[0.7, 0.3]]), to_y(np.array([[0.1, 0.3]])), np.array([[0.05, 0.02]])
    z = RedshiftPosterior(weight, mean, sd).sample(20_000, seed=3)[0]
    assert abs(np.mean(z < 0.2) - 0.7) < 0.01
    far = to_y(z[z > 0.2])
    assert abs(far.mean() - to_y(0.3)) < 1e-3 and abs(far.std() - 0.02) < 1e-3


def test_a_draw_depends_on_seed_id_and_number_alone():
    posterior = gaussians(to_y(np.array([0.1, 0.2, 0.3])), [0.1, 0.2, 0.3])
    every = posterior.sample(6, seed=1, ids=["a", "b", "c"])
    np.testing.assert_array_equal(posterior[[2, 0]].sample(4, seed=1, ids=["c", "a"]), every[[2, 0], :4])
    assert not np.array_equal(posterior.sample(6, seed=2, ids=["a", "b", "c"]), every)


def test_a_product_with_a_gaussian_is_the_gaussian_of_textbooks():
    a, b, sd = to_y(0.1), to_y(0.12), 0.05
    product = gaussians([a], [sd]).times(lambda z: norm.pdf(to_y(z), b, 2 * sd)[None])
    mean, width = (a + b / 4) / 1.25, sd / np.sqrt(1.25)
    for q in (0.16, 0.5, 0.84):
        np.testing.assert_allclose(product.quantile(q), from_y(mean + width * norm.ppf(q)), rtol=1e-3)
    draws = product.sample(4000, seed=0)[0]
    assert abs(to_y(draws).mean() - mean) < 3 * width / 60


def test_a_factor_that_is_constant_changes_nothing_and_one_that_is_zero_is_ignored():
    posterior = gaussians([to_y(0.1)], [0.2])
    np.testing.assert_allclose(
        posterior.times(lambda z: np.ones((1, len(z)))).quantile(0.3), posterior.quantile(0.3), rtol=1e-3
    )
    nothing = posterior.times(lambda z: np.zeros((1, len(z))))
    assert np.isfinite(nothing.quantile(0.5)).all()


@pytest.mark.parametrize("z", [1e-6, 5.0])
def test_redshifts_stay_in_the_range(z):
    draws = gaussians([to_y(z)], [1.0]).sample(50)
    assert draws.min() > 0 and draws.max() <= Z_MAX
