"""Quantiles against NumPy's method of the same plotting position."""

import numpy as np

from pix2spec.core.quantiles import known_quantiles

LEVELS = (0.05, 0.16, 0.5, 0.84, 0.95)


def test_quantiles_are_those_of_weibull():
    values = np.random.default_rng(0).normal(size=(25, 4, 3))
    expected = np.quantile(values, LEVELS, axis=0, method="weibull")
    np.testing.assert_allclose(known_quantiles(values, LEVELS), expected)


def test_unknown_values_do_not_count_unless_they_are_half():
    values = np.random.default_rng(1).normal(size=(9, 3))
    values[:4, 1], values[:5, 2] = np.nan, np.inf
    found = known_quantiles(values, LEVELS)
    np.testing.assert_allclose(found[:, 1], np.quantile(values[4:, 1], LEVELS, method="weibull"))
    assert np.isfinite(found[:, 0]).all() and np.isnan(found[:, 2]).all()
    assert known_quantiles([7.0], [0.5]) == 7
