"""Metrics against closed forms and their defining invariances."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.special import gammaln
from scipy.stats import norm

from pix2spec.evaluation.metrics import pixels as metrics

L = 400
PAIRWISE = (
    metrics.minmax_mse,
    metrics.affine_matched_mse,
    metrics.scaled_mse,
    metrics.chi2_per_pixel,
    metrics.mean_squared_error,
)


@pytest.fixture
def rng():
    return np.random.default_rng(3)


def spectra(rng, *shape):
    return 5 + np.sin(np.linspace(0, 9, L)) + rng.normal(0, 0.3, (*shape, L))


@pytest.mark.parametrize("metric", PAIRWISE)
def test_perfect_prediction_scores_zero(metric, rng):
    truth = spectra(rng, 3)
    np.testing.assert_allclose(metric(truth, truth, np.ones((3, L))), 0, atol=1e-12)


@pytest.mark.parametrize("metric", PAIRWISE)
def test_invalid_pixels_never_enter(metric, rng):
    pred, truth, ivar = spectra(rng, 3), spectra(rng, 3), np.ones((3, L))
    ivar[:, ::7] = 0
    kept = ivar[0] > 0
    expected = metric(pred[:, kept], truth[:, kept], ivar[:, kept])
    for bad in (1e9, -1e9, np.nan, np.inf):
        pred_bad, truth_bad = pred.copy(), truth.copy()
        pred_bad[:, ::7], truth_bad[:, ::7] = 3 * bad, bad
        np.testing.assert_allclose(metric(pred_bad, truth_bad, ivar), expected, rtol=1e-9)


@pytest.mark.parametrize("metric", PAIRWISE)
def test_vectorised_over_objects_like_one_by_one(metric, rng):
    pred, truth, ivar = spectra(rng, 2, 3), spectra(rng, 2, 3), rng.uniform(0.1, 2, (2, 3, L))
    together = metric(pred, truth, ivar)
    assert together.shape == (2, 3)
    assert together[1, 2] == pytest.approx(metric(pred[1, 2], truth[1, 2], ivar[1, 2]))


@pytest.mark.parametrize("metric", PAIRWISE)
def test_object_without_valid_pixels_scores_nan(metric, rng):
    ivar = np.ones((2, L))
    ivar[1] = 0
    score = metric(spectra(rng, 2), spectra(rng, 2), ivar)
    assert np.isfinite(score[0]) and np.isnan(score[1])


def test_minmax_mse_of_known_spectra():
    truth = np.array([0.0, 1, 2, 4])  # scaled: -1, -0.5, 0, 1
    pred = np.array([0.0, 2, 3, 4])  # scaled: -1, 0, 0.5, 1
    assert metrics.minmax_mse(pred, truth, np.ones(4)) == pytest.approx((0.25 + 0.25) / 4)


def test_constant_spectrum_scales_to_zero():
    flat = metrics.to_minmax(np.full((1, 5), 7.0), np.ones((1, 5)))
    np.testing.assert_array_equal(flat, 0)


def test_spike_moves_minmax_but_not_the_affine_match(rng):
    truth = spectra(rng)
    pred = truth.copy()
    pred[5] += 30
    ivar = np.ones(L)
    assert metrics.minmax_mse(pred, truth, ivar) > 0.2
    ivar[5] = 0
    assert metrics.affine_matched_mse(pred, truth, ivar) < 1e-9


finite = st.floats(-100, 100).map(lambda x: round(x, 3))


@settings(deadline=None, max_examples=40)
@given(
    arrays(float, 20, elements=finite),
    arrays(float, 20, elements=finite),
    st.floats(0.1, 10),
    st.floats(-50, 50),
)
def test_affine_invariance(pred, truth, b, a):
    ivar = np.ones(20)
    moved = a + b * pred
    for metric in (metrics.minmax_mse, metrics.affine_matched_mse):
        before, after = metric(pred, truth, ivar), metric(moved, truth, ivar)
        np.testing.assert_allclose(after, before, rtol=1e-5, atol=1e-6)
        scaled = metric(pred, a + b * truth, ivar)
        np.testing.assert_allclose(scaled, before, rtol=1e-5, atol=1e-6)


@settings(deadline=None, max_examples=40)
@given(arrays(float, 20, elements=finite), arrays(float, 20, elements=finite))
def test_affine_match_never_exceeds_minmax_mse(pred, truth):
    ivar = np.ones(20)
    matched = metrics.affine_matched_mse(pred, truth, ivar)
    assert 0 <= matched <= metrics.minmax_mse(pred, truth, ivar) + 1e-9
    assert matched <= 1


def test_scaled_mse_ignores_amplitude_and_weights_by_ivar(rng):
    truth = spectra(rng)
    ivar = np.full(L, 100.0)
    for amplitude in (1e-3, 3, 1e3):
        assert metrics.scaled_mse(amplitude * truth, truth, ivar) == pytest.approx(0, abs=1e-12)
    pred = truth.copy()
    pred[:10] += 1
    ivar[:10] = 1e-6
    assert metrics.scaled_mse(pred, truth, ivar) < 1e-4 < metrics.scaled_mse(pred, truth, np.ones(L))


def test_chi2_of_the_noise_free_truth_is_one(rng):
    ivar = rng.uniform(0.5, 4, (50, L))
    truth = rng.normal(size=(50, L)) / np.sqrt(ivar)
    assert metrics.chi2_per_pixel(np.zeros((50, L)), truth, ivar).mean() == pytest.approx(1, abs=0.04)


@pytest.mark.parametrize("n", [2, 5, 25])
def test_crps_is_unbiased_for_gaussians_whatever_the_number_of_members(n, rng):
    y, sigma = 0.7, 1.3
    w = y / sigma
    exact = sigma * (w * (2 * norm.cdf(w) - 1) + 2 * norm.pdf(w) - 1 / np.sqrt(np.pi))
    members = rng.normal(0, sigma, (n, 200_000))
    score = metrics.crps_ensemble(members, np.full(200_000, y), np.ones(200_000))
    assert score == pytest.approx(exact, abs=0.006)


def test_crps_equals_the_double_sum(rng):
    members, truth = rng.normal(size=(2, 6, 11)), rng.normal(size=(2, 11))
    galaxies = np.abs(members[:, :, None] - members[:, None]).sum((1, 2)) / (6 * 5)
    direct = (np.abs(members - truth[:, None]).mean(1) - galaxies / 2).mean(-1)
    np.testing.assert_allclose(metrics.crps_ensemble(members, truth, np.ones((2, 11))), direct)


def test_crps_of_one_member_is_its_absolute_error(rng):
    member, truth = rng.normal(size=(1, L)), rng.normal(size=L)
    score = metrics.crps_ensemble(member, truth, np.ones(L))
    assert score == pytest.approx(np.abs(member[0] - truth).mean())


def test_crps_and_coverage_skip_invalid_pixels(rng):
    members, truth, ivar = rng.normal(size=(9, L)), rng.normal(size=L), np.ones(L)
    ivar[3] = 0
    crps = metrics.crps_ensemble(members, truth, ivar)
    covered = metrics.coverage(members, truth, ivar, 0.68)
    truth[3] = 1e12
    members[2, 3] = np.nan
    assert metrics.crps_ensemble(members, truth, ivar) == pytest.approx(crps)
    assert metrics.coverage(members, truth, ivar, 0.68) == pytest.approx(covered)


@pytest.mark.parametrize("n", [2, 5, 10, 25, 100])
@pytest.mark.parametrize("level", [0.68, 0.9])
def test_coverage_of_an_exact_sampler_is_the_expected_one(n, level, rng):
    members, truth = rng.normal(size=(n, 100_000)), rng.normal(size=100_000)
    covered = metrics.coverage(members, truth, np.ones(100_000), level)
    assert covered == pytest.approx(metrics.expected_coverage(level, n), abs=0.006)


def test_coverage_of_a_single_member_is_zero(rng):
    truth = rng.normal(size=L)
    assert metrics.coverage(rng.normal(size=(1, L)), truth, np.ones(L), 0.68) == 0
    assert metrics.expected_coverage(0.68, 1) == 0


def test_median_scale_refuses_spectra_without_positive_median():
    flux = np.array([[-1.0, -2, -3], [1, 2, 4]])
    scaled = metrics.to_median(flux, np.ones((2, 3)))
    assert np.isnan(scaled[0]).all()
    np.testing.assert_allclose(scaled[1], [0.5, 1, 2])


def test_energy_score_equals_the_double_sum(rng):
    members, truth, ivar = rng.normal(size=(2, 6, 11)), rng.normal(size=(2, 11)), np.ones((2, 11))
    ivar[1, :4] = 0
    for i, good in enumerate(ivar > 0):
        x, y = members[i][:, good], truth[i][good]
        galaxies = np.linalg.norm(x[:, None] - x, axis=-1).sum() / (6 * 5)
        direct = (np.linalg.norm(x - y, axis=-1).mean() - galaxies / 2) / np.sqrt(good.sum())
        assert metrics.energy_score(members, truth, ivar)[i] == pytest.approx(direct)


@pytest.mark.parametrize("n", [1, 7])
def test_energy_score_of_one_pixel_is_the_crps(n, rng):
    members, truth, ivar = rng.normal(size=(50, n, 1)), rng.normal(size=(50, 1)), np.ones((50, 1))
    score = metrics.energy_score(members, truth, ivar)
    np.testing.assert_allclose(score, metrics.crps_ensemble(members, truth, ivar))


@pytest.mark.parametrize("n", [2, 25])
def test_energy_score_is_unbiased_whatever_the_number_of_members(n, rng):
    # Of unit Gaussians in D dimensions, |X - y| and |X - X'| have the same mean sqrt(2) E[chi_D].
    chi = np.sqrt(2) * np.exp(gammaln((L + 1) / 2) - gammaln(L / 2))
    score = metrics.energy_score(rng.normal(size=(400, n, L)), rng.normal(size=(400, L)), np.ones((400, L)))
    error = score.std() / np.sqrt(400)
    assert abs(score.mean() - np.sqrt(2) * chi / 2 / np.sqrt(L)) < 4 * error
    assert error < 0.005


def test_energy_score_sees_lost_correlations_that_the_crps_does_not(rng):
    # All pixels of a spectrum share one error: the exact ensemble against one with independent pixels.
    common, truth = rng.normal(size=(2000, 20, 1)), rng.normal(size=(2000, 1)) + np.zeros(30)
    together, apart = common + np.zeros(30), rng.normal(size=(2000, 20, 30))
    for metric, sees in ((metrics.energy_score, True), (metrics.crps_ensemble, False)):
        worse = metric(apart, truth, np.ones_like(truth)) - metric(together, truth, np.ones_like(truth))
        assert (worse.mean() > 4 * worse.std() / np.sqrt(2000)) == sees


def test_energy_score_skips_invalid_pixels_and_objects(rng):
    members, truth, ivar = rng.normal(size=(3, 9, L)), rng.normal(size=(3, L)), np.ones((3, L))
    ivar[:, 3], ivar[2] = 0, 0
    before = metrics.energy_score(members, truth, ivar)
    truth[:, 3], members[0, 2, 3] = 1e12, np.nan
    np.testing.assert_allclose(metrics.energy_score(members, truth, ivar), before)
    assert np.isfinite(before[:2]).all() and np.isnan(before[2])
