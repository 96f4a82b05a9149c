"""Selection curves against brute force, perfect scores and scores that know nothing."""

from itertools import combinations

import numpy as np
import pytest

from pix2spec.errors import InputError
from pix2spec.evaluate.selection import retrieval, selection_curve, truth_rank


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


def test_retrieval_of_perfect_ignorant_and_known_scores(rng):
    n = 400
    perfect = retrieval(np.eye(n))
    assert (perfect.top1, perfect.top1_error, perfect.top5) == (1, 0, 1)
    assert (perfect.top1_chance, perfect.top5_chance) == (1 / n, 5 / n)
    for similarity in (np.zeros((n, n)), rng.normal(size=(n, n))):
        blind = retrieval(similarity)
        assert abs(blind.top1 - 1 / n) < 0.01
        assert abs(blind.top5 - 5 / n) < 0.025
    known = np.zeros((6, 6))
    known[0, 1:4] = 1  # third places are shared: three above, of two that are equal to the truth
    known[0, 4] = -1
    known[range(1, 6), range(1, 6)] = 2
    result = retrieval(known)
    assert result.top1 == pytest.approx(5 / 6)
    assert result.top5 == pytest.approx(1)
    shuffled = np.roll(np.eye(n), 1, axis=1)
    assert retrieval(shuffled).top1 == 0


def test_retrieval_refuses_what_is_not_square_or_not_finite():
    with pytest.raises(InputError, match="N x N"):
        retrieval(np.zeros((3, 4)))
    with pytest.raises(InputError, match="not finite"):
        retrieval(np.full((3, 3), np.nan))


def test_truth_rank_is_one_half_for_exchangeable_truths_and_one_for_perfect_scores(rng):
    scores = rng.normal(size=(3000, 25))
    mean, error = truth_rank(scores, rng.normal(size=3000))
    assert abs(mean - 0.5) < 4 * error < 0.03
    assert truth_rank(scores, np.full(3000, 9.0)) == (1, 0)
    assert truth_rank(np.zeros((4, 3)), np.zeros(4)) == (0.5, 0)
    found, error = truth_rank(scores, rng.normal(0.5, size=3000))
    assert found > 0.5 + 5 * error
    scores[0, 0] = np.nan
    assert np.isfinite(truth_rank(scores, np.zeros(3000))).all()
    assert np.isnan(truth_rank(scores[:1], np.zeros(1))).all()
