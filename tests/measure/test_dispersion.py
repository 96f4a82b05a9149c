"""The interpolation of velocity dispersions; the dispersions themselves are tested in test_quantities.py."""

import numpy as np
from scipy.interpolate import CubicSpline

from pix2spec.measure.dispersion import SIGMAS_KM_S, _spline


def test_chi2_is_interpolated_by_the_cubic_spline_of_scipy():
    fine, spline = _spline()
    values = np.random.default_rng(0).normal(size=(3, len(SIGMAS_KM_S)))
    expected = CubicSpline(SIGMAS_KM_S, values, axis=1, bc_type=("clamped", "not-a-knot"))(fine)
    np.testing.assert_allclose(values @ spline, expected, atol=1e-12)
    np.testing.assert_array_equal(fine[[0, 1, -1]], [0, 1, SIGMAS_KM_S[-1]])
