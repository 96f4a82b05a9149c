"""Redshifts by template fitting: on simulated spectra, whose redshift is known, and on SDSS's own."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pix2spec.data.simulate import SimulatedSurvey
from pix2spec.errors import InputError
from pix2spec.measure.redshift import (
    LITTLE_COVERAGE,
    NEGATIVE_MODEL,
    SMALL_DELTA_CHI2,
    Z_FITLIMIT,
    RedshiftFitter,
)


@pytest.fixture(scope="module")
def fitter():
    return RedshiftFitter()


@pytest.fixture(scope="module")
def galaxies():
    return SimulatedSurvey(77).sample(256, 0)


def error(fit, z):
    return (fit.z - z) / (1 + z)


def test_redshifts_of_noisy_spectra_with_errors_that_hold(fitter, galaxies):
    fit = fitter.fit(galaxies["flux"], galaxies["ivar"])
    dz, clear = error(fit, galaxies["z"]), fit.zwarning == 0
    assert clear.mean() > 0.9
    assert (np.abs(dz[clear]) < 1e-3).mean() > 0.98
    pull = dz[clear] * (1 + galaxies["z"][clear]) / fit.z_err[clear]
    assert 0.7 < 1.4826 * np.median(np.abs(pull)) < 2.5  # templates are not complete, errors a bit small


def test_redshifts_of_spectra_without_noise(fitter, galaxies):
    fit = fitter.fit(galaxies["true_flux"])
    assert (np.abs(error(fit, galaxies["z"])) < 5e-4).mean() > 0.97


def test_chi2_is_that_of_an_explicit_fit(fitter, galaxies):
    import torch

    flux, ivar = (torch.from_numpy(galaxies[k][:1].astype(float)) for k in ("flux", "ivar"))
    chi2, _ = fitter.chi2(flux, ivar)
    for lag in (0, 10, 700, 1500):
        first = fitter.zero + 10 - lag
        design = fitter.templates[:, first : first + fitter.grid.size].numpy().T
        root = np.sqrt(ivar[0].numpy())
        solution = np.linalg.lstsq(design * root[:, None], flux[0].numpy() * root, rcond=None)
        assert chi2[0, lag].item() == pytest.approx(solution[1][0], rel=1e-4)


@settings(max_examples=15, deadline=None)
@given(pixels=st.integers(-3, 300), scale=st.floats(1e-3, 1e3))
def test_a_shift_by_whole_pixels_is_a_redshift(fitter, pixels, scale):
    first = fitter.zero - pixels
    flux = scale * fitter.templates[:1, first : first + fitter.grid.size].numpy()
    fit = fitter.fit(flux)
    assert fit.z[0] == pytest.approx(10 ** (pixels * 1e-4) - 1, abs=1e-5)
    assert fit.chi2[0] < 0.01


def test_flags_name_what_is_wrong(fitter, galaxies):
    flux, ivar = galaxies["flux"][:6].astype(float), galaxies["ivar"][:6].copy()
    rng = np.random.default_rng(0)
    flux[0], ivar[0] = rng.standard_normal(fitter.grid.size), 1.0  # no signal
    ivar[1, : int(0.7 * fitter.grid.size)] = 0
    ivar[2] = 0
    flux[3] *= -1
    flux[4] = fitter.templates[0, fitter.zero + 10 :][: fitter.grid.size]  # the bluest shift that is tried
    flux[5, ::7] = np.nan
    fit = fitter.fit(flux, ivar)
    assert fit.zwarning[0] & SMALL_DELTA_CHI2
    assert fit.zwarning[1] & LITTLE_COVERAGE
    assert np.isnan(fit.z[2]) and fit.zwarning[2] & LITTLE_COVERAGE
    assert fit.zwarning[3] & NEGATIVE_MODEL
    assert fit.zwarning[4] & Z_FITLIMIT
    assert np.isfinite(fit.z[[0, 1, 3, 4, 5]]).all()
    assert abs(fit.z[5] - galaxies["z"][5]) < 2e-3


def test_other_grids_are_refused(fitter):
    with pytest.raises(InputError, match="100 pixels"):
        fitter.fit(np.ones((2, 100)))


@pytest.mark.slow
def test_agrees_with_sdss(fitter, sdss_galaxies):
    known = sdss_galaxies["zwarning"] == 0
    ivar = np.where(sdss_galaxies["and_mask"] == 0, sdss_galaxies["ivar"], 0)
    fit = fitter.fit(sdss_galaxies["flux"], ivar)
    dz = error(fit, sdss_galaxies["z"])[known]
    assert (np.abs(dz) < 1e-3).mean() > 0.98
    assert (fit.zwarning == 0).mean() > 0.97
