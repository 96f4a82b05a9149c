"""Selection curves against brute force, perfect scores and scores that know nothing."""

from itertools import combinations

import numpy as np
import pytest

from pix2spec.errors import InputError
from pix2spec.evaluation.metrics.selection import selection_curve


@pytest.fixture
def rng():
    return np.random.default_rng(5)


def test_expectation_is_the_mean_over_all_subsets(rng):
    errors, scores = rng.exponential(size=(2, 6)), rng.normal(size=(2, 6))
    curve = selection_curve(errors, scores)
    for k in range(1, 7):
        subsets = [list(c) for c in combinations(range(6), k)]
        chosen = [[e[c][np.argmax(s[c])] for c in subsets] for e, s in zip(errors, scores)]
        lowest = [[e[c].min() for c in subsets] for e in errors]
        assert curve.selected[k - 1] == pytest.approx(np.mean(chosen))
        assert curve.oracle[k - 1] == pytest.approx(np.mean(lowest))


def test_oracle_of_exponential_errors_is_the_expected_minimum(rng):
    curve = selection_curve(rng.exponential(size=(4000, 200)), rng.normal(size=(4000, 200)))
    expected = 1 / curve.k[:20]  # the minimum of k exponentials
    assert (np.abs(curve.oracle[:20] - expected) < 4 * curve.oracle_error[:20]).all()
    assert np.isfinite(curve.selected).all()  # also where binomials exceed 1e50


def test_scores_that_know_the_error_reach_the_oracle(rng):
    errors = rng.exponential(size=(300, 25))
    curve = selection_curve(errors, -errors)
    np.testing.assert_allclose(curve.selected, curve.oracle)
    np.testing.assert_allclose(curve.efficiency[1:], 1)
    np.testing.assert_allclose(curve.efficiency_error[1:], 0, atol=1e-12)
    assert curve.selected[0] == pytest.approx(errors.mean()) == curve.random
    assert (np.diff(curve.selected) < 0).all()
    assert np.isnan(curve.efficiency[0])


def test_random_scores_gain_nothing(rng):
    curve = selection_curve(rng.exponential(size=(1000, 25)), rng.normal(size=(1000, 25)))
    assert (np.abs(curve.gain[1:]) < 4 * curve.gain_error[1:]).all()
    assert (np.abs(curve.efficiency[1:]) < 4 * curve.efficiency_error[1:]).all()
    assert curve.efficiency_error[-1] < 0.1


def test_wrong_scores_lose(rng):
    errors = rng.exponential(size=(300, 25))
    curve = selection_curve(errors, errors)
    assert (curve.gain[1:] < -10 * curve.gain_error[1:]).all()


def test_errors_are_the_scatter_of_repetitions(rng):
    names = ("selected", "gain", "efficiency")
    values = {name: [] for name in names}
    for _ in range(200):
        errors = rng.exponential(size=(60, 10)) * rng.exponential(size=(60, 1))
        curve = selection_curve(errors, -errors + rng.normal(size=errors.shape))
        for name in names:
            values[name].append((getattr(curve, name)[4], getattr(curve, f"{name}_error")[4]))
    for name in names:
        value, error = np.array(values[name]).T
        assert value.std() == pytest.approx(error.mean(), rel=0.25)


def test_equal_errors_have_no_efficiency_and_objects_without_values_are_left_out(rng):
    flat = selection_curve(np.full((5, 4), 0.7), rng.normal(size=(5, 4)))
    assert np.isnan(flat.efficiency).all()
    np.testing.assert_allclose(flat.gain, 0, atol=1e-12)
    errors, scores = rng.exponential(size=(9, 4)), rng.normal(size=(9, 4))
    kept = selection_curve(errors[2:], scores[2:])
    errors[0, 1], scores[1, 2] = np.nan, np.inf
    np.testing.assert_array_equal(selection_curve(errors, scores).selected, kept.selected)
    with pytest.raises(InputError, match="fewer than two"):
        selection_curve(errors[:3], scores[:3])
    with pytest.raises(InputError, match="do not agree"):
        selection_curve(errors, scores[:, :3])
