import numpy as np
import pytest

from pix2spec.core.grid import SpectralGrid
from pix2spec.core.photometry import filter_matrix, fit_amplitude, magnitude, synthetic_photometry
from pix2spec.core.survey import SDSS

WAVE = SpectralGrid().wave


def test_a_flat_ab_source_has_its_flux_in_every_band():
    # One nanomaggie: f_nu = 3.631e-29 erg/s/cm2/Hz, f_lambda = f_nu c / lambda^2.
    flux = 3.631e-29 * 2.99792458e18 / WAVE**2 / 1e-17
    fluxes = synthetic_photometry(flux, WAVE, SDSS.filters)
    assert np.isnan(fluxes[[0, 4]]).all()  # u and z reach outside the grid
    np.testing.assert_allclose(fluxes[1:4], 1, rtol=1e-6)


def test_synthetic_photometry_agrees_with_speclite():
    import astropy.units as u
    import speclite.filters

    rng = np.random.default_rng(0)
    flux = 20 * (WAVE / 6000) ** 1.5 + rng.normal(size=len(WAVE))
    ours = 22.5 - 2.5 * np.log10(synthetic_photometry(flux, WAVE, SDSS.filters[2:3])[0])
    curve = speclite.filters.load_filter("sdss2010-r")
    theirs = curve.get_ab_magnitude(flux * 1e-17 * u.erg / u.s / u.cm**2 / u.AA, WAVE * u.AA)
    assert ours == pytest.approx(theirs, abs=2e-3)


def test_magnitudes():
    import astropy.units as u

    flux = np.array([1.0, 1e9, 3.7, 0.0, -2.0, np.nan])
    with np.errstate(all="raise"):
        found = magnitude(flux)
    expected = (flux[:3] * 1e-9 * u.mgy).to_value(u.ABmag, u.zero_point_flux(3631 * u.Jy))
    np.testing.assert_allclose(found[:3], expected, atol=1e-4)
    assert found[:2].tolist() == [22.5, 0.0] and np.isnan(found[3:]).all()
    assert magnitude(1.0) == 22.5 and magnitude(np.ones(2, np.float32)).dtype == np.float32


def test_amplitude_and_offset_are_recovered():
    rng = np.random.default_rng(1)
    flux = np.cumsum(rng.normal(size=(4, len(WAVE))), axis=1) / 30 + 30
    low, high = flux.min(1, keepdims=True), flux.max(1, keepdims=True)
    x = 2 * (flux - low) / (high - low) - 1
    weights = filter_matrix(WAVE, SDSS.filters, 0.99)
    for i in range(4):
        observed = flux[i] @ weights
        ivar = np.where(np.isfinite(observed), 1e8, 0)
        offset, scale = fit_amplitude(x[i : i + 1], weights, observed, ivar, fit_offset=True)
        np.testing.assert_allclose(offset + scale * x[i], flux[i : i + 1], rtol=1e-3)
        _, factor = fit_amplitude(flux[i : i + 1] / 7, weights, observed, ivar, fit_offset=False)
        assert factor[0, 0] == pytest.approx(7, rel=1e-6)


def test_no_band_no_amplitude():
    weights = filter_matrix(WAVE, SDSS.filters, 0.99)
    offset, scale = fit_amplitude(np.ones((2, len(WAVE))), weights, np.ones(5), np.zeros(5), True)
    assert np.isnan(offset).all() and np.isnan(scale).all() and scale.shape == (2, 1)
