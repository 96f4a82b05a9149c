"""Inverse variances and masks on another grid (fluxes alone: test_predictions)."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pix2spec.core.grid import SpectralGrid
from pix2spec.core.resample import resample, resample_mask, resample_with_ivar

GRID = SpectralGrid(3.65, 1e-4, 400)


def test_coinciding_pixels_are_cut_out_to_the_bit():
    rng = np.random.default_rng(0)
    wave = 10 ** (3.64 + 1e-4 * np.arange(1000))
    flux, ivar = rng.normal(5, 1, (2, 1, 1000)).astype(np.float32)
    ivar = np.abs(ivar)
    ivar[0, 150], flux[0, 160] = 0, np.nan
    out, weight = resample_with_ivar(flux, ivar, wave.astype(np.float32), GRID)  # as files give them
    np.testing.assert_array_equal(out[0], np.nan_to_num(flux[0, 100:500]))
    expected = ivar[0, 100:500].copy()
    expected[60] = 0
    np.testing.assert_array_equal(weight[0], expected)
    assert out.dtype == weight.dtype == np.float32
    mask = np.arange(1000, dtype=np.int32)[None]
    np.testing.assert_array_equal(resample_mask(mask, wave, GRID), mask[:, 100:500])


def test_variance_is_that_of_the_weighted_mean():
    """Against many realisations of the noise."""
    rng = np.random.default_rng(1)
    wave = np.arange(4450.0, 4920, 0.61)
    ivar = rng.uniform(0.2, 5, (1, len(wave)))
    ivar[0, 200:260] = 0
    noise = rng.normal(0, 1, (1500, len(wave))) / np.sqrt(np.where(ivar > 0, ivar, 1))
    noise[:, 200:260] = 1e9  # must not matter
    flux, weight = resample_with_ivar(noise, np.repeat(ivar, 1500, 0), wave, GRID)
    known = weight[0] > 0
    assert 0 < (~known).sum() < 60
    ratio = flux[:, known].var(0) * weight[0, known]
    assert abs(ratio.mean() - 1) < 0.01 and abs(ratio - 1).max() < 0.2  # 5 sigma of 1,500 draws


def test_covariance_that_is_ignored():
    """Pixels of equal width, shifted by a half: what the documentation says of sums."""
    wave = 10 ** (GRID.start + GRID.step * (np.arange(-2, GRID.size + 2) + 0.5))
    noise = np.random.default_rng(2).normal(0, 1, (1500, len(wave)))
    flux, ivar = resample_with_ivar(noise, np.ones_like(noise), wave, GRID)
    np.testing.assert_allclose(ivar, 2, rtol=0.01)
    inner = flux[:, 5:-5]
    assert inner.sum(1).std() / np.sqrt((1 / ivar[0, 5:-5]).sum()) == pytest.approx(np.sqrt(2), rel=0.05)


@given(st.floats(0.3, 3.0), st.floats(0, 1), st.integers(0, 2**32 - 1))
def test_flux_is_that_of_resample_where_all_is_known(step, shift, seed):
    wave = np.arange(4400 + shift * step, 4950, step)
    rng = np.random.default_rng(seed)
    flux, ivar = rng.normal(3, 1, (1, len(wave))), rng.uniform(0.1, 1, (1, len(wave)))
    out, weight = resample_with_ivar(flux, ivar, wave, GRID)
    np.testing.assert_allclose(out, resample(flux, wave, GRID), rtol=1e-12)
    assert np.isfinite(weight).all() and (weight > 0).all()
    assert weight.max() <= ivar.max() * max(1, np.diff(GRID.wave).max() / step) * 2 + 1e-9


def test_masks_are_united_and_empty_pixels_stay_empty():
    wave = np.arange(4470.0, 4600, 0.5)
    mask = np.zeros((1, len(wave)), np.int32)
    mask[0, 100], mask[0, 101] = 1, 4
    out = resample_mask(mask, wave, GRID)[0]
    touched = np.flatnonzero(out)
    assert np.abs(GRID.wave[touched] - 4520.25).max() < 1.5 and 5 in out[touched]
    assert not out[GRID.wave > 4601].any()
    union = np.bitwise_or.reduce(out)
    assert union == 5
