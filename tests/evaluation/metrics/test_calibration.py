"""Calibration tests accept exact posteriors and refuse all others."""

import numpy as np
import pytest

from pix2spec.errors import InputError
from pix2spec.evaluation.metrics.calibration import (
    _generator,
    calibration,
    interval_coverage,
    pit,
    pit_test,
    tarp,
)
from pix2spec.evaluation.metrics.pixels import expected_coverage

SCATTER = np.linalg.cholesky([[0.25, 0.1, 0.0], [0.1, 0.09, 0.05], [0.0, 0.05, 0.64]]).T


def problem(seed, n=32, size=1000, width=1.0, shift=0.0):
    """Gaussian posteriors in three correlated dimensions, and truths drawn from the exact ones."""
    rng = np.random.default_rng(seed)
    mean = rng.normal(size=(size, 3))
    truth = mean + rng.normal(size=(size, 3)) @ SCATTER
    draws = width * rng.normal(size=(size, n, 3)) @ SCATTER + shift * np.array([0.5, 0.3, 0.8])
    return mean[:, None] + draws, truth


WRONG = {"narrow": {"width": 0.7}, "wide": {"width": 1.4}, "shifted": {"shift": 0.4}}


@pytest.mark.parametrize("n", [10, 25])
@pytest.mark.parametrize("level", [0.68, 0.9])
def test_interval_coverage_is_the_level_whatever_the_number_of_samples(n, level):
    samples, truth = problem(1, n, size=20_000)
    covered, error = interval_coverage(samples[..., 0], truth[:, 0], level)
    assert 0.001 < error < 0.004
    assert abs(covered - expected_coverage(level, n)) < 4 * error


def test_interval_coverage_error_is_its_scatter():
    runs = np.array([interval_coverage(*(a[..., 0] for a in problem(i, size=200)), 0.68) for i in range(100)])
    assert runs[:, 0].std() == pytest.approx(runs[:, 1].mean(), rel=0.25)


def test_wrong_widths_miss_the_level():
    (narrow, truth), (wide, _) = problem(2, **WRONG["narrow"]), problem(2, **WRONG["wide"])
    assert interval_coverage(narrow[..., 0], truth[:, 0], 0.68)[0] < 0.6
    assert interval_coverage(wide[..., 0], truth[:, 0], 0.68)[0] > 0.76


def test_ranks_lie_inside_the_unit_interval_and_break_ties_at_random():
    ranks = pit(np.zeros((5000, 3)), np.zeros(5000))
    assert ranks.min() > 0 and ranks.max() < 1
    assert pit_test(ranks).ks_p > 1e-3
    assert (pit(np.zeros((50, 4)), np.ones(50)) > 0.8).all()
    assert (pit(np.zeros((50, 4)), -np.ones(50)) < 0.2).all()


def test_exact_posteriors_pass_at_the_nominal_rate():
    p = []
    for seed in range(100):
        samples, truth = problem(seed, n=16, size=300)
        p.append([*tarp(samples, truth, seed)[2:], *pit_test(pit(samples[..., 0], truth[:, 0], seed))])
    p = np.array(p)
    assert ((p < 0.05).mean(0) <= 0.13).all()
    assert (np.abs((p < 0.5).mean(0) - 0.5) < 0.2).all()


@pytest.mark.parametrize("kind", WRONG)
@pytest.mark.parametrize("seed", [0, 1])
def test_wrong_posteriors_fail(kind, seed):
    samples, truth = problem(seed, **WRONG[kind])
    ranks, random_points = pit_test(pit(samples[..., 0], truth[:, 0])), tarp(samples, truth)
    assert ranks.ks_p < 1e-4
    if kind == "shifted":
        assert ranks.bias_p < 1e-6
        assert random_points.bias_p < 1e-4
    else:
        assert ranks.bias_p > 1e-4
        assert random_points.ks_p < 1e-4


def test_tarp_coverage_follows_the_levels():
    samples, truth = problem(3, size=4000)
    levels = np.array([0.1, 0.5, 0.9])
    exact = tarp(samples, truth, levels=levels)
    np.testing.assert_array_equal(exact.levels, levels)
    np.testing.assert_allclose(exact.coverage, levels, atol=0.03)
    full = tarp(samples, truth)
    assert full.coverage.shape == full.levels.shape == (21,)
    assert full.coverage[0] == 0 and full.coverage[-1] == 1
    narrow = tarp(problem(3, size=4000, width=0.6)[0], truth, levels=levels).coverage
    assert narrow[0] > 0.13 and narrow[2] < 0.87  # too many truths at either end


def test_units_do_not_matter():
    samples, truth = problem(4, size=200)
    unit = np.array([1e-3, 1.0, 1e4])
    np.testing.assert_allclose(tarp(samples * unit, truth * unit)[1], tarp(samples, truth)[1])


def test_objects_without_values_are_left_out():
    samples, truth = problem(5, size=300)
    expected = (
        interval_coverage(samples[2:, :, 0], truth[2:, 0], 0.68),
        tarp(samples[2:], truth[2:])[1],
    )
    samples[0, 3], truth[1] = np.nan, np.nan
    assert interval_coverage(samples[..., 0], truth[:, 0], 0.68) == pytest.approx(expected[0])
    np.testing.assert_array_equal(tarp(samples, truth)[1], expected[1])
    ranks = pit(samples[..., 0], truth[:, 0])
    assert np.flatnonzero(np.isnan(ranks)).tolist() == [0, 1]
    assert np.isfinite(pit_test(ranks)).all()
    nothing = np.full((4, 3), np.nan)
    assert np.isnan(interval_coverage(nothing, nothing[:, 0], 0.68)).all()
    assert np.isnan(pit_test(pit(nothing, nothing[:, 0]))).all()
    assert np.isnan(tarp(nothing[..., None], nothing[:, :1]).ks_p)


def test_calibration_of_exact_samples_is_the_expected_one_before_and_after_a_blind_selection():
    samples, truth = (a[..., 0] for a in problem(6, n=24, size=6000))
    result = calibration(samples, truth, scores=np.random.default_rng(0).normal(size=samples.shape))
    assert [(name, c.n) for name, c in result.items()] == [("all", 24), ("first", 5), ("best", 5)]
    for c in result.values():
        np.testing.assert_array_equal(c.expected, [expected_coverage(level, c.n) for level in (0.68, 0.9)])
        assert (np.abs(c.coverage - c.expected) < 4 * c.error).all()
        assert min(c.ks_p, c.bias_p) > 1e-3
    exact = 2 * 0.994 * 0.5  # 68 % of a normal distribution of sigma 0.5; that of few samples is wider
    assert exact < result["all"].width < 1.06 * exact
    assert result["best"].width == pytest.approx(result["first"].width, rel=0.04)


def test_selection_that_narrows_without_knowing_the_truth_is_found():
    samples, truth = (a[..., 0] for a in problem(7, n=24, size=2000))
    middle = -np.abs(samples - samples.mean(1, keepdims=True))  # a score that likes what is common
    result = calibration(samples, truth, middle)
    assert result["best"].width < 0.5 * result["first"].width
    assert (result["best"].coverage < result["best"].expected - 10 * result["best"].error).all()
    assert result["best"].ks_p < 1e-6 < result["first"].ks_p


def test_a_score_that_knows_the_truth_narrows_and_still_covers():
    samples, truth = (a[..., 0] for a in problem(8, n=24, size=2000))
    result = calibration(samples, truth, -np.abs(samples - truth[:, None]))
    assert result["best"].width < 0.5 * result["first"].width
    assert (result["best"].coverage > result["best"].expected - 4 * result["best"].error).all()


def test_intervals_a_fifth_too_narrow_are_found():
    samples, truth = (a[..., 0] for a in problem(9, n=24, size=2000, width=0.8))
    result = calibration(samples, truth)
    assert list(result) == ["all"]
    assert (result["all"].coverage < result["all"].expected - 4 * result["all"].error).all()
    assert result["all"].ks_p < 1e-3


def test_calibration_leaves_out_objects_without_values_and_refuses_unequal_shapes():
    samples, truth = (a[..., 0] for a in problem(10, n=8, size=60))
    scores = np.random.default_rng(1).normal(size=samples.shape)
    kept = calibration(samples[3:], truth[3:], scores[3:])
    samples[0, 1], truth[1], scores[2, 0] = np.nan, np.nan, np.nan
    broken = calibration(samples, truth, scores)
    for name in kept:
        np.testing.assert_array_equal(np.hstack(broken[name]), np.hstack(kept[name]))
    assert np.isnan(calibration(samples[:1], truth[:1])["all"].width)
    with pytest.raises(InputError, match="do not agree"):
        calibration(samples, truth[:-1])
    with pytest.raises(InputError, match="no width"):
        calibration(samples, truth, scores, best=1)


@pytest.mark.parametrize("width", [1.0, 0.6])
def test_tarp_agrees_with_sbi(width):
    tarp_of = pytest.importorskip("sbi.diagnostics.tarp")
    torch = pytest.importorskip("torch")
    samples, truth = problem(12, n=200, size=2000, width=width)
    references = truth.mean(0) + truth.std(0) * _generator(0).normal(size=truth.shape)  # tarp's own
    tensors = ((a - truth.mean(0)) / truth.std(0) for a in (samples.swapaxes(0, 1), truth, references))
    coverage, levels = tarp_of._run_tarp(*map(torch.from_numpy, tensors), num_bins=20)
    ours = tarp(samples, truth, levels=levels.numpy()).coverage
    np.testing.assert_allclose(ours, coverage.numpy(), atol=0.015)  # their ranks are steps of 1 / 200
    assert (np.abs(ours - levels.numpy()).max() > 0.1) == (width < 1)
