"""Quantiles of a few draws, some of which may be missing."""

from collections.abc import Sequence

import numpy as np

__all__ = ["finite_quantiles", "known_quantiles"]


def finite_quantiles(values: np.ndarray, levels: Sequence[float]) -> np.ndarray:
    """Quantiles (level, ...) along the first axis of values (n, ...) that are all finite.

    The plotting position is that of `known_quantiles`. The result has the type of `values`.
    """
    n = len(values)
    position = np.clip(np.asarray(levels, float) * (n + 1) - 1, 0, n - 1)
    low = np.floor(position).astype(int)
    high = np.minimum(low + 1, n - 1)
    ordered = np.sort(values, axis=0)
    share = (position - low).astype(values.dtype).reshape(-1, *[1] * (values.ndim - 1))
    return ordered[low] * (1 - share) + ordered[high] * share


def known_quantiles(values: np.ndarray, levels: Sequence[float]) -> np.ndarray:
    """Quantiles of the finite values along the first axis.

    Parameters
    ----------
    values : array (n, ...)
        Draws. Those that are not finite are unknown.
    levels : sequence of float
        Probabilities, in [0, 1].

    Returns
    -------
    array (number of levels, ...), float64
        The plotting position is k / (n + 1) (Hyndman and Fan 1996, type 6), so that a truth drawn like the
        values falls below level q with probability q also when they are few. NaN where half of the values or
        more are unknown.
    """
    values = np.asarray(values, float)
    if len(values) and np.isfinite(values).all():
        return finite_quantiles(values, levels)
    ordered = np.sort(np.where(np.isfinite(values), values, np.nan), axis=0)  # NaN comes last
    count = np.isfinite(ordered).sum(0)
    enough = 2 * count > len(values)
    result = []
    for level in levels:
        position = np.clip(level * (count + 1) - 1, 0, np.maximum(count - 1, 0))
        low = np.floor(position).astype(int)
        high = np.minimum(low + 1, np.maximum(count - 1, 0))
        below, above = (np.take_along_axis(ordered, index[None], 0)[0] for index in (low, high))
        result.append(np.where(enough, below + (above - below) * (position - low), np.nan))
    return np.stack(result)
