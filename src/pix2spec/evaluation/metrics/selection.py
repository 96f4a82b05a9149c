"""Does the score choose well? Selection against chance and against the best possible choice."""

from typing import NamedTuple

import numpy as np
from scipy.special import gammaln

from pix2spec.errors import InputError

__all__ = ["SelectionCurve", "selection_curve"]


class SelectionCurve(NamedTuple):
    """Mean error over objects of the best of k candidates; arrays (n,), for k = 1 to n.

    Every `_error` is a standard error over objects; that of a difference is of paired differences.
    """

    k: np.ndarray
    selected: np.ndarray  # the highest score of k candidates
    selected_error: np.ndarray
    oracle: np.ndarray  # the lowest error of k candidates
    oracle_error: np.ndarray
    random: float  # one candidate, or one of k at random
    random_error: float
    gain: np.ndarray  # random - selected
    gain_error: np.ndarray
    efficiency: np.ndarray  # gain / (random - oracle); NaN for k = 1
    efficiency_error: np.ndarray


def selection_curve(errors: np.ndarray, scores: np.ndarray) -> SelectionCurve:
    """Expected error of the best of k by score, for all k.

    The expectation over all subsets of k of the n candidates is exact: the winner is the candidate of rank
    r, 1 the highest score, with probability C(n - r, k - 1) / C(n, k).

    Parameters
    ----------
    errors : array (N, n)
        Error of each candidate of N objects, as `pix2spec.evaluation.metrics.pixels.affine_matched_mse`.
    scores : array (N, n)
        Scores, higher is better. Candidates of equal score keep their order. Objects with a value that is
        not finite are left out.

    Raises
    ------
    InputError
        If the shapes differ, or fewer than two objects are left.
    """
    errors, scores = np.asarray(errors, float), np.asarray(scores, float)
    if errors.shape != scores.shape or errors.ndim != 2:
        raise InputError("selection", f"errors {errors.shape} and scores {scores.shape} do not agree")
    keep = np.isfinite(errors).all(1) & np.isfinite(scores).all(1)
    errors, scores = errors[keep], scores[keep]
    if len(errors) < 2:
        raise InputError("selection", "fewer than two objects have errors and scores of all candidates")
    weights = _rank_weights(errors.shape[1])
    order = np.argsort(-scores, axis=1, kind="stable")
    selected = np.take_along_axis(errors, order, 1) @ weights.T
    oracle = np.sort(errors, axis=1) @ weights.T
    single = errors.mean(1, keepdims=True)
    gain, most = (single - selected), (single - oracle)
    possible = np.where(most.mean(0) > 1e-12 * np.abs(errors).mean(), most.mean(0), np.nan)
    efficiency = gain.mean(0) / possible
    values: tuple = (
        np.arange(1, errors.shape[1] + 1),
        *_mean_and_error(selected),
        *_mean_and_error(oracle),
        *(float(value[0]) for value in _mean_and_error(single)),
        *_mean_and_error(gain),
        efficiency,
        _mean_and_error(gain - efficiency * most)[1] / possible,  # of a ratio of means
    )
    return SelectionCurve(*values)


def _rank_weights(n: int) -> np.ndarray:
    """Probability (k, rank) that of n candidates the one of that rank is the best of k drawn at random."""
    k, rank = np.arange(1, n + 1)[:, None], np.arange(1, n + 1)
    possible = k <= n - rank + 1
    others = np.where(possible, n - rank - k + 1, 0)
    log = gammaln(n - rank + 1) - gammaln(k) - gammaln(others + 1)  # C(n - rank, k - 1)
    log -= gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1)  # C(n, k)
    return np.where(possible, np.exp(log), 0)


def _mean_and_error(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return values.mean(0), values.std(0, ddof=1) / np.sqrt(len(values))
