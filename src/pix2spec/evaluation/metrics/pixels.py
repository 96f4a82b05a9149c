"""Metrics of spectra: pure functions of arrays, vectorised over objects.

Shapes: spectra are (..., L), ensembles (..., n, L). Pixels with ivar = 0 never enter, not even the
extrema and medians that set a scale; an object without a valid pixel scores NaN.
"""

import numpy as np

__all__ = [
    "affine_matched_mse",
    "chi2_per_pixel",
    "coverage",
    "crps_ensemble",
    "energy_score",
    "expected_coverage",
    "mean_squared_error",
    "minmax_mse",
    "noise_floor",
    "pixel_coverage",
    "scaled_mse",
    "to_median",
    "to_minmax",
]


def _valid(*arrays, ivar) -> np.ndarray:
    good = np.asarray(ivar) > 0
    for array in arrays:
        good = good & np.isfinite(array)
    return good


def _difference(a: np.ndarray, b: np.ndarray, good: np.ndarray) -> np.ndarray:
    return np.where(good, a, 0) - np.where(good, b, 0)


def _mean(values: np.ndarray, good: np.ndarray, weights=1.0) -> np.ndarray:
    """Weighted mean over the last axis of `values` where `good`; NaN where there is none."""
    weights = np.where(good, weights, 0.0)
    total = np.sum(np.where(good, values, 0.0) * weights, -1, dtype=float)
    return _divide(total, np.sum(np.broadcast_to(weights, np.shape(good)), -1, dtype=float))


def _divide(a, b) -> np.ndarray:
    """A / b, and NaN where b is not positive."""
    b = np.asarray(b, float)
    return np.where(b > 0, a / np.where(b > 0, b, 1), np.nan)


def to_minmax(flux: np.ndarray, ivar: np.ndarray) -> np.ndarray:
    """Scale spectra to [-1, 1] by their extrema over valid pixels (arXiv:2211.05556, section 2).

    Invalid pixels come out as NaN, and constant spectra as zero.
    """
    good = _valid(flux, ivar=ivar)
    low = np.where(good, flux, np.inf).min(-1, keepdims=True)
    high = np.where(good, flux, -np.inf).max(-1, keepdims=True)
    has_range = high > low
    low, half = np.where(has_range, low, flux), np.where(has_range, (high - low) / 2, 1)
    return np.where(good, (flux - low) / half - has_range, np.nan)


def to_median(flux: np.ndarray, ivar: np.ndarray, floor=0.0) -> np.ndarray:
    """Divide spectra by their median over valid pixels, or by `floor` (..., 1) where that is larger.

    Invalid pixels come out as NaN, and so do spectra whose scale is not positive.
    """
    good = _valid(flux, ivar=ivar)
    masked = np.where(good, flux, np.nan)
    some = good.any(-1, keepdims=True)
    median = np.nanmedian(np.where(some, masked, 0), -1, keepdims=True)
    scale = np.maximum(median, floor)
    return np.where(good & (scale > 0), flux / np.where(scale > 0, scale, 1), np.nan)


def noise_floor(ivar: np.ndarray) -> np.ndarray:
    """Median noise of valid pixels (..., 1), the floor of `pix2spec.core.scaling.robust`'s scale."""
    good = np.asarray(ivar) > 0
    noise = np.where(good, 1 / np.sqrt(np.where(good, ivar, 1)), np.nan)
    return np.nanmedian(np.where(good.any(-1, keepdims=True), noise, 0), -1, keepdims=True)


def mean_squared_error(pred: np.ndarray, truth: np.ndarray, ivar: np.ndarray, weights=1.0) -> np.ndarray:
    """Mean squared difference over valid pixels, with no scaling of its own: (...,).

    `weights` (..., L), for example `ivar`, make it a weighted mean.
    """
    good = _valid(pred, truth, ivar=ivar)
    return _mean(_difference(pred, truth, good) ** 2, good, weights)


def minmax_mse(pred: np.ndarray, truth: np.ndarray, truth_ivar: np.ndarray) -> np.ndarray:
    """Mean squared error of spectra scaled to [-1, 1]: Table 1 of arXiv:2211.05556.

    Both are scaled by their own extrema. A mean of candidates is to be taken of the scaled candidates
    (`to_minmax`), as the paper does, and compared by `mean_squared_error`.
    """
    good = _valid(pred, ivar=truth_ivar) * truth_ivar
    return mean_squared_error(to_minmax(pred, good), to_minmax(truth, good), good)


def affine_matched_mse(pred: np.ndarray, truth: np.ndarray, truth_ivar: np.ndarray) -> np.ndarray:
    """Mean squared error after the best a + b pred, in units of the truth's [-1, 1] scale.

    Ordinary least squares over valid pixels, with b >= 0. It does not know of offsets and amplitudes, so
    that one noise spike that moves a whole min-max scaled spectrum (arXiv:2211.05556, section 3, on the
    fifth row of its Figure 2) costs nothing but itself.
    """
    good = _valid(pred, truth, ivar=truth_ivar)
    x = np.where(good, pred, 0).astype(float)
    y = np.where(good, to_minmax(truth, good), 0).astype(float)
    x = np.where(good, x - _mean(x, good)[..., None], 0)
    y = np.where(good, y - _mean(y, good)[..., None], 0)
    xx, xy, yy = ((a * b).sum(-1) for a, b in ((x, x), (x, y), (y, y)))
    explained = np.where(xx > 0, np.maximum(xy, 0) ** 2 / np.where(xx > 0, xx, 1), 0)
    return _divide(np.maximum(yy - explained, 0), good.sum(-1))


def scaled_mse(pred: np.ndarray, truth: np.ndarray, truth_ivar: np.ndarray) -> np.ndarray:
    """Inverse-variance weighted mean squared error of median-scaled spectra.

    Each spectrum is divided by its own median, the truth's being raised to its median noise if need be
    (`pix2spec.core.scaling.robust`). The weights are those of the likelihood of Gaussian noise:
    sum(ivar (pred - truth)^2) / sum(ivar).
    """
    pred, truth = to_median(pred, truth_ivar), to_median(truth, truth_ivar, noise_floor(truth_ivar))
    return mean_squared_error(pred, truth, truth_ivar, truth_ivar)


def chi2_per_pixel(pred: np.ndarray, truth: np.ndarray, truth_ivar: np.ndarray) -> np.ndarray:
    """Mean of ivar (pred - truth)^2 over valid pixels: 1 for the noise-free truth itself."""
    good = _valid(pred, truth, ivar=truth_ivar)
    return _mean(_difference(pred, truth, good) ** 2 * truth_ivar, good)


def crps_ensemble(ensemble: np.ndarray, truth: np.ndarray, ivar: np.ndarray) -> np.ndarray:
    """Continuous ranked probability score, averaged over valid pixels: (...,).

    The energy form E|X - y| - E|X - X'| / 2 (Gneiting and Raftery 2007, JASA 102:359, Eq. 21) in its
    fair version, which is unbiased for any number of members (Ferro 2014, QJRMS 140:1917): the second
    mean runs over pairs of different members. A single member scores its absolute error.

    Parameters
    ----------
    ensemble : array (..., n, L)
        Members.
    truth, ivar : array (..., L)
        Observation, and where it is valid.

    Examples
    --------
    Two members, -1 and 1, and a truth of 0: the distance to the truth is 1, and half of that between
    members too. The pixel without a truth does not count.

    >>> from pix2spec.evaluation.metrics.pixels import crps_ensemble
    >>> crps_ensemble(np.array([[-1.0, 5.0], [1.0, 5.0]]), np.zeros(2), np.array([1, 0]))
    array(0.)
    """
    n = ensemble.shape[-2]
    good = _valid(truth, ivar=ivar) & np.isfinite(ensemble).all(-2)
    distance = np.abs(ensemble - np.asarray(truth)[..., None, :]).mean(-2)
    if n > 1:
        rank = (2 * np.arange(n, dtype=np.asarray(ensemble).dtype) - n + 1)[:, None]
        spread = (np.sort(ensemble, axis=-2) * rank).sum(-2)  # sum over pairs i < j of |x_i - x_j|
        distance = distance - spread / (n * (n - 1))
    return _mean(distance, good)


def energy_score(ensemble: np.ndarray, truth: np.ndarray, ivar: np.ndarray) -> np.ndarray:
    """Energy score of whole spectra, in units of flux: (...,).

    E||X - y|| - E||X - X'|| / 2 (Gneiting and Raftery 2007, JASA 102:359, Eq. 22), in the fair version as
    in `crps_ensemble`. Unlike the CRPS of single pixels, it sees whether pixels vary together. Norms are
    Euclidean over valid pixels, divided by the square root of their number; of a single pixel, it is the
    CRPS.

    Parameters
    ----------
    ensemble : array (..., n, L)
        Members. A pixel that is not finite in one of them is left out.
    truth, ivar : array (..., L)
        Observation, and where it is valid.
    """
    n = ensemble.shape[-2]
    good = _valid(truth, ivar=ivar) & np.isfinite(ensemble).all(-2)
    error = _difference(ensemble, np.asarray(truth)[..., None, :], good[..., None, :]).astype(float)
    gram = error @ error.swapaxes(-1, -2)  # ||x_i - x_j||^2 = g_ii + g_jj - 2 g_ij
    square = np.diagonal(gram, axis1=-2, axis2=-1)
    score = np.sqrt(square).mean(-1)
    if n > 1:
        apart = square[..., :, None] + square[..., None, :] - 2 * gram
        score = score - np.sqrt(np.maximum(apart, 0)).sum((-1, -2)) / (2 * n * (n - 1))
    return _divide(score, np.sqrt(good.sum(-1)))


def coverage(ensemble: np.ndarray, truth: np.ndarray, ivar: np.ndarray, level: float) -> np.ndarray:
    """Fraction of valid pixels whose truth lies in the ensemble's central interval of `level`: (...,).

    See `pixel_coverage` for the interval, and `expected_coverage` for what a calibrated one reaches.
    """
    return _mean(*pixel_coverage(ensemble, truth, ivar, level))


def pixel_coverage(ensemble, truth, ivar, level: float) -> tuple[np.ndarray, np.ndarray]:
    """Coverage of each pixel, 0 to 1, and whether it is valid; both (..., L).

    Between the k-th smallest of n members and the k-th largest, a truth that is drawn like them falls with
    probability (n + 1 - 2k) / (n + 1), whatever the distribution. `level` lies between two such
    intervals; their outcomes, 0 or 1, are weighted so that the expectation is exactly `level`. Plain
    quantiles of 25 members would cover 63 % at 68, and 83 % at 90.
    """
    n = ensemble.shape[-2]
    good = _valid(truth, ivar=ivar) & np.isfinite(ensemble).all(-2)
    ordered = np.sort(ensemble, axis=-2)
    position = min(max((1 - level) / 2 * (n + 1) - 1, 0), (n - 1) / 2)
    outer = int(position)
    inside = np.zeros(good.shape)
    for k, weight in ((outer, 1 - position + outer), (outer + 1, position - outer)):
        if weight > 0:  # k + 1 may not exist when its weight is 0
            inside += weight * ((truth >= ordered[..., k, :]) & (truth <= ordered[..., n - 1 - k, :]))
    return inside, good


def expected_coverage(level: float, n: int) -> float:
    """Coverage that n exchangeable members can reach at nominal `level`.

    It is `level` itself, but no interval of n members covers more than (n - 1) / (n + 1): for 90 %, that
    takes 19 members.
    """
    return min(level, (n - 1) / (n + 1))
