"""Are ensembles as wide as their errors? Tests of calibration for measured quantities.

`samples` hold n draws for each of N objects, and `truth` the observed values. Objects with a value that is
not finite are left out.
"""

from typing import NamedTuple

import numpy as np

from pix2spec.errors import InputError
from pix2spec.evaluation.metrics.pixels import expected_coverage, pixel_coverage

__all__ = ["Calibration", "PitTest", "Tarp", "calibration", "interval_coverage", "pit", "pit_test", "tarp"]

LEVELS = (0.68, 0.9)


def interval_coverage(samples: np.ndarray, truth: np.ndarray, level: float) -> tuple[float, float]:
    """Fraction of objects whose truth lies in the central interval of `level`, and its standard error.

    The interval is that of `pix2spec.evaluation.metrics.pixels.pixel_coverage`: calibrated samples reach
    `pix2spec.evaluation.metrics.pixels.expected_coverage`, whatever their number.

    Parameters
    ----------
    samples : array (N, n)
    truth : array (N,)
    level : float
        Between 0 and 1.
    """
    samples, truth = np.asarray(samples), np.asarray(truth)
    inside, good = pixel_coverage(samples.T, truth, np.ones(len(truth)), level)
    inside = inside[good]
    if not len(inside):
        return np.nan, np.nan
    return float(inside.mean()), float(inside.std() / np.sqrt(len(inside)))


def _finite_objects(samples, truth) -> np.ndarray:
    samples, truth = (np.isfinite(a) for a in (samples, truth))
    return samples.all(tuple(range(1, samples.ndim))) & truth.all(tuple(range(1, truth.ndim)))


def _generator(seed: int):
    return np.random.default_rng([seed, 2302])  # not the stream that simulations draw from the same seed


def _random_rank(below, equal, n: int, rng) -> np.ndarray:
    """Position in (0, 1) among n draws: uniform if exchangeable with them, ties broken at random."""
    return (below + rng.uniform(size=len(below)) * (equal + 1)) / (n + 1)


def pit(samples: np.ndarray, truth: np.ndarray, seed: int = 0) -> np.ndarray:
    """Probability integral transform: randomised ranks of the truth among its samples.

    They are uniform in (0, 1) for calibrated samples, of any number (Gneiting, Balabdaoui & Raftery
    2007, JRSS B 69:243).

    Parameters
    ----------
    samples : array (N, n)
    truth : array (N,)
    seed : int
        Of the random part of the ranks, which is at most 1 / (n + 1) without ties.

    Returns
    -------
    array (N,)
        NaN for objects that have a value which is not finite.
    """
    samples, truth = np.asarray(samples), np.asarray(truth)
    below, equal = (samples < truth[:, None]).sum(1), (samples == truth[:, None]).sum(1)
    rank = _random_rank(below, equal, samples.shape[1], _generator(seed))
    return np.where(_finite_objects(samples, truth), rank, np.nan)


class PitTest(NamedTuple):
    """p-values of calibration: small ones speak against it."""

    bias_p: float  # that the mean rank is 0.5
    ks_p: float  # that ranks are uniform


def pit_test(ranks: np.ndarray) -> PitTest:
    """Test the ranks (N,) of `pit`: a two-sided z-test of their mean, and Kolmogorov-Smirnov."""
    from scipy.stats import kstest, norm

    ranks = np.asarray(ranks)[np.isfinite(ranks)]
    if not len(ranks):
        return PitTest(np.nan, np.nan)
    score = (ranks.mean() - 0.5) * np.sqrt(12 * len(ranks))
    return PitTest(float(2 * norm.sf(abs(score))), float(kstest(ranks, "uniform").pvalue))


class Tarp(NamedTuple):
    """Result of `tarp`: `coverage` equals `levels` (both (K,)) if the samples are calibrated."""

    levels: np.ndarray
    coverage: np.ndarray
    ks_p: float  # that credibilities are uniform: samples too narrow or too wide
    bias_p: float  # that they do not depend on where the reference point lies: a common shift


def tarp(samples: np.ndarray, truth: np.ndarray, seed: int = 0, levels: np.ndarray | None = None) -> Tarp:
    """Tests of accuracy with random points (Lemos et al. 2023, arXiv:2302.03026).

    For each object a reference point is drawn. The ball around it that reaches the truth holds a fraction
    of the samples, the truth's credibility. It is uniform if the samples are drawn like the truth, in all
    D dimensions at once; samples that are too narrow or too wide show best. Samples that are shifted all
    alike hardly change the distribution of credibilities, for reference points lie on all sides, but
    raise them on one side and lower them on the other; `bias_p` is a chi2 test of that.

    Parameters
    ----------
    samples : array (N, n, D)
    truth : array (N, D)
    seed : int
        Of the reference points: normally distributed, in coordinates that are standardised by the truths'
        means and standard deviations.
    levels : array (K,), optional
        Credibilities to report the coverage at; 0, 0.05 ... 1 by default.
    """
    from scipy.stats import chi2, kstest

    samples, truth = np.asarray(samples, float), np.asarray(truth, float)
    keep = _finite_objects(samples, truth)
    samples, truth = samples[keep], truth[keep]
    levels = np.linspace(0, 1, 21) if levels is None else np.asarray(levels)
    if not len(truth):
        return Tarp(levels, np.full(len(levels), np.nan), np.nan, np.nan)
    scale = truth.std(0)
    scale = np.where(scale > 0, scale, 1)
    middle = truth.mean(0)
    samples, truth = (samples - middle) / scale, (truth - middle) / scale
    rng = _generator(seed)
    reference = rng.normal(size=truth.shape)
    truth_distance = ((truth - reference) ** 2).sum(-1)[:, None]
    distance = ((samples - reference[:, None]) ** 2).sum(-1)
    below, equal = (distance < truth_distance).sum(1), (distance == truth_distance).sum(1)
    credibility = _random_rank(below, equal, samples.shape[1], rng)
    coverage = (credibility[:, None] <= levels).mean(0)

    # The mean of samples and truth together tells nothing of which of them is the truth.
    direction = reference - (samples.sum(1) + truth) / (samples.shape[1] + 1)
    direction /= np.maximum(np.linalg.norm(direction, axis=1, keepdims=True), 1e-12)
    score = (credibility - 0.5) @ direction
    bias = score @ np.linalg.pinv(direction.T @ direction / 12) @ score
    bias_p = chi2.sf(bias, np.linalg.matrix_rank(direction))
    return Tarp(levels, coverage, float(kstest(credibility, "uniform").pvalue), float(bias_p))


class Calibration(NamedTuple):
    """Calibration of n samples an object; (2,) arrays are for nominal levels of 68 and 90 %."""

    n: int
    coverage: np.ndarray  # (2,)
    error: np.ndarray  # (2,), standard errors
    expected: np.ndarray  # (2,), what n calibrated samples reach
    bias_p: float  # see `PitTest`
    ks_p: float
    width: float  # median over objects of the 68 % interval's width


def calibration(
    samples: np.ndarray, truth: np.ndarray, scores: np.ndarray | None = None, best: int = 5, seed: int = 0
) -> dict[str, Calibration]:
    """Calibration and sharpness before and after selection by score.

    Calibration alone is cheap, and so is a narrow interval: a good ensemble has the smallest width among
    those that cover what they should (Gneiting, Balabdaoui & Raftery 2007, JRSS B 69:243).

    Parameters
    ----------
    samples : array (N, n)
        A quantity measured on n candidates of N objects.
    truth : array (N,)
        The same, observed.
    scores : array (N, n), optional
        Higher is better, as the contrastive network's. Objects with a score that is not finite are left
        out of all results.
    best : int
        Number of candidates to keep.
    seed : int
        Of the random part of ranks, see `pit`.

    Returns
    -------
    dict
        ``"all"`` candidates; with scores and n > best, also the ``"best"`` ones, and the ``"first"`` ones:
        as many, not selected, so that the difference of the two shows the effect of the selection.

    Raises
    ------
    InputError
        If the shapes do not agree, or `best` is less than 2.
    """
    samples, truth = np.asarray(samples, float), np.asarray(truth, float)
    shape = () if scores is None else np.shape(scores)
    if samples.ndim != 2 or len(samples) != len(truth) or shape not in ((), samples.shape):
        what = f"samples {samples.shape}, truth {truth.shape} and scores {shape} do not agree"
        raise InputError("calibration", what)
    if best < 2:
        raise InputError("calibration", f"the best {best} of the candidates have no width", "keep 2 or more")
    keep = _finite_objects(samples, truth)
    if scores is not None:
        scores = np.asarray(scores)
        keep &= np.isfinite(scores).all(1)
    samples, truth = samples[keep], truth[keep]
    chosen = {"all": samples}
    if scores is not None and samples.shape[1] > best:
        order = np.argsort(-scores[keep], axis=1, kind="stable")[:, :best]
        chosen |= {"first": samples[:, :best], "best": np.take_along_axis(samples, order, 1)}
    return {name: _calibration(values, truth, seed) for name, values in chosen.items()}


def _calibration(samples: np.ndarray, truth: np.ndarray, seed: int) -> Calibration:
    n = samples.shape[1]
    if not len(truth):
        nothing = np.full(len(LEVELS), np.nan)
        return Calibration(n, nothing, nothing, nothing, np.nan, np.nan, np.nan)
    covered = np.array([interval_coverage(samples, truth, level) for level in LEVELS])
    # The plotting position k / (n + 1) makes these quantiles the ends of `pixel_coverage`'s interval.
    low, high = np.quantile(samples, [(1 - LEVELS[0]) / 2, (1 + LEVELS[0]) / 2], axis=1, method="weibull")
    values: tuple = (
        n,
        *covered.T,
        np.array([expected_coverage(level, n) for level in LEVELS]),
        *pit_test(pit(samples, truth, seed)),
        float(np.median(high - low)),
    )
    return Calibration(*values)
