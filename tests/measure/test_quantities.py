"""All quantities of a spectrum together, and velocity dispersions, on spectra of known ones."""

import numpy as np
import pytest
from scipy.interpolate import CubicSpline
from scipy.ndimage import gaussian_filter1d

from pix2spec.core.grid import SpectralGrid
from pix2spec.core.photometry import synthetic_photometry
from pix2spec.data.simulate import SimulatedSurvey
from pix2spec.data.simulate.spectra import load_templates
from pix2spec.errors import InputError
from pix2spec.measure.dispersion import EXCESS_KM2_S2, velocity_dispersion
from pix2spec.measure.emission_lines import equivalent_width, fit_lines
from pix2spec.measure.indices import lick_index
from pix2spec.measure.quantities import BPT_CLASSES, QUANTITIES, measure, measure_at, measure_many
from pix2spec.measure.redshift import RedshiftFitter

GRID = SpectralGrid()
PIXEL = 299792.458 * np.log(10) * GRID.step  # km/s


@pytest.fixture(scope="module")
def fitter():
    return RedshiftFitter()


@pytest.fixture(scope="module")
def galaxies():
    return SimulatedSurvey(9).sample(96)


@pytest.fixture(scope="module")
def measured(galaxies, fitter):
    return measure(galaxies["flux"], galaxies["ivar"], GRID, fitter)


def stars(z, sigma, population=28):
    """Spectra (n, L) of one population of stars of velocity dispersion `sigma` (n,)."""
    stored = load_templates()
    wave = 10 ** (float(stored["start"]) + float(stored["step"]) * np.arange(stored["flux"].shape[1]))
    spectra = []
    for redshift, width in zip(z, sigma):
        broad = gaussian_filter1d(stored["flux"][population].astype(float), width / PIXEL)
        spectra.append(CubicSpline(wave, broad)(GRID.wave / (1 + redshift)))
    return np.array(spectra) * (GRID.wave / 5000) ** 0.7  # and some dust


# ----------------------------------------------------------------------------- velocity dispersions


def test_without_errors_dispersions_are_those_of_equal_errors():
    """The window ends beyond the grid in the last spectra: they have up to 40 % less of it."""
    z = np.array([0.05, 0.1, 0.2, 0.34, 0.5])
    flux = stars(z, np.array([100.0, 150, 200, 250, 300]))
    ivar = np.broadcast_to((100 / flux.mean(1, keepdims=True)) ** 2, flux.shape)
    expected, _ = velocity_dispersion(flux, z, GRID, ivar)
    found, error = velocity_dispersion(flux, z, GRID)
    np.testing.assert_allclose(found[:3], expected[:3], rtol=0.005)
    np.testing.assert_allclose(found[3:], expected[3:], rtol=0.05)
    assert np.isnan(error).all()
    flux[0, 1500:1510] = np.nan
    assert np.isnan(velocity_dispersion(flux, z, GRID)[0][0])


@pytest.mark.parametrize("population", [7, 28, 39])
def test_known_dispersions_come_back(population):
    sigma = np.repeat([90.0, 150, 210, 300, 380], 8)
    z = np.tile(np.linspace(0.05, 0.0502, 8), 5)  # positions within a pixel
    flux = stars(z, sigma, population)
    found, error = velocity_dispersion(flux, z, GRID, (100 / flux) ** 2)
    np.testing.assert_allclose(found, np.sqrt(sigma**2 + EXCESS_KM2_S2), rtol=0.04)
    assert (error < 10).all()


def test_dispersions_neither_see_lines_of_the_gas_nor_errors_of_the_redshift():
    sigma, z = np.full(6, 180.0), np.full(6, 0.08)
    flux = stars(z, sigma)
    ivar = (50 / flux) ** 2
    clean, _ = velocity_dispersion(flux, z, GRID, ivar)
    for wave in (4862.68, 5008.24, 6564.61):
        flux = flux + 5 * np.exp(-(((GRID.wave / 1.08 - wave) / 2) ** 2) / 2)
    np.testing.assert_allclose(velocity_dispersion(flux, z, GRID, ivar)[0], clean, rtol=0.01)
    off = z + np.linspace(-1, 1, 6) * 1e-4  # 28 km/s
    np.testing.assert_allclose(velocity_dispersion(flux, off, GRID, ivar)[0], clean, rtol=0.03)


def test_errors_of_dispersions_are_those_of_the_noise():
    rng = np.random.default_rng(0)
    z, sigma = rng.uniform(0.03, 0.15, 300), np.full(300, 200.0)
    flux = stars(z, sigma)
    noise = flux.mean() / rng.uniform(15, 40, (300, 1))
    found, error = velocity_dispersion(
        flux + noise * rng.normal(size=flux.shape), z, GRID, noise**-2 + 0 * flux
    )
    pull = (found - np.sqrt(200**2 + EXCESS_KM2_S2)) / error
    assert 0.85 < pull.std() < 1.15
    assert abs(pull.mean()) < 0.25
    assert np.median(error[noise[:, 0] < np.median(noise)]) < np.median(error) < 25


def test_what_says_nothing_of_dispersions_is_nan():
    rng = np.random.default_rng(1)
    z = np.full(20, 0.1)
    flux = stars(z, np.full(20, 150.0))
    noise = flux.mean() / 2
    noisy, ivar = flux + noise * rng.normal(size=flux.shape), np.full(flux.shape, noise**-2)
    assert np.isnan(velocity_dispersion(noisy, z, GRID, ivar)).all()
    assert np.isfinite(velocity_dispersion(noisy, z, GRID, 100 * ivar)).any()
    ivar = np.ones_like(flux)
    ivar[:, 1000:] = 0
    assert np.isnan(velocity_dispersion(flux, z, GRID, ivar)).all()
    assert np.isnan(velocity_dispersion(flux, z * np.nan, GRID, np.ones_like(flux))).all()


def test_dispersions_of_real_galaxies_against_the_sdss_pipeline(sdss_galaxies):
    data = {name: sdss_galaxies[name][::3] for name in ("flux", "ivar", "and_mask", "z", "vdisp", "sn_r")}
    ivar = np.where(data["and_mask"] == 0, data["ivar"], 0)
    found, _ = velocity_dispersion(data["flux"], data["z"], GRID, ivar)
    good = (data["sn_r"] > 25) & (data["vdisp"] > 100) & (data["vdisp"] < 260)
    difference = (found - data["vdisp"])[good]
    assert good.sum() > 80 and np.isfinite(difference).mean() > 0.95  # others have masked pixels
    assert abs(np.nanmedian(difference)) < 6
    assert 1.4826 * np.nanmedian(np.abs(difference - np.nanmedian(difference))) < 12


# ------------------------------------------------------------------------------------- all together


def test_tables_have_every_quantity(measured, galaxies):
    n = len(galaxies["z"])
    assert list(measured.values) == list(measured.errors) == list(QUANTITIES)
    for name in QUANTITIES:
        for table in (measured.values, measured.errors):
            assert table[name].shape == (n,) and table[name].dtype == np.float32
        known = np.isfinite(measured.values[name])
        assert known.mean() > 0.2, name
        assert (measured.errors[name][known] > 0).all(), name
    assert measured.bpt.shape == measured.zwarning.shape == (n,)
    assert set(measured.bpt) <= set(range(len(BPT_CLASSES))) and len(set(measured.bpt)) > 1


def test_the_redshift_is_found_and_all_else_measured_there(measured, galaxies):
    clear = measured.zwarning == 0
    assert clear.mean() > 0.9
    assert (np.abs(measured.values["z"] - galaxies["z"]) < 1e-3 * (1 + galaxies["z"]))[clear].mean() > 0.97
    z, flux, ivar = measured.values["z"].astype(float), galaxies["flux"], galaxies["ivar"]
    halpha = fit_lines(flux, z, GRID, ivar, ["H_alpha"])["H_alpha"]
    np.testing.assert_allclose(measured.values["ew_halpha"], halpha.ew, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(measured.errors["flux_halpha"], halpha.flux_error, rtol=1e-3)
    mgb, error = lick_index(flux, z, GRID, "Mgb", ivar)
    np.testing.assert_allclose(measured.values["mgb"], mgb, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(measured.errors["mgb"], error, rtol=1e-3)
    at = measure_at(flux, ivar, z, GRID)
    np.testing.assert_allclose(at.values["dn4000"], measured.values["dn4000"], rtol=1e-5)
    assert np.isnan(at.errors["z"]).all() and not at.zwarning.any()


def test_noise_moves_quantities_by_their_errors(galaxies):
    """Against the same spectra without noise, at the true redshifts."""
    z, ivar = galaxies["z"], galaxies["ivar"]
    noise = np.random.default_rng(4).standard_normal(ivar.shape) / np.sqrt(np.where(ivar > 0, ivar, np.inf))
    noisy = measure_at(galaxies["true_flux"] + noise, ivar, z, GRID)
    clean = measure_at(galaxies["true_flux"], ivar, z, GRID)
    for name in (
        "ew_halpha",
        "ew_hbeta",
        "ew_nii",
        "ew_sii",
        "dn4000",
        "hdelta_a",
        "mgb",
        "fe",
        "g_r",
        "r_i",
    ):
        pull = (noisy.values[name] - clean.values[name]) / noisy.errors[name]
        assert 0.7 < 1.4826 * np.nanmedian(np.abs(pull)) < 1.35, name


def test_scale_matters_to_line_fluxes_alone(galaxies):
    flux, ivar, z = (galaxies[name][:24].astype(float) for name in ("flux", "ivar", "z"))
    one, many = measure_at(flux, ivar, z, GRID), measure_at(50 * flux, ivar / 2500, z, GRID)
    for name in QUANTITIES:
        factor = 50 if name.startswith("flux") else 1
        np.testing.assert_allclose(many.values[name], factor * one.values[name], rtol=1e-3, atol=1e-4)
        np.testing.assert_allclose(many.errors[name], factor * one.errors[name], rtol=1e-3)
    np.testing.assert_array_equal(one.bpt, many.bpt)


def test_colours_are_those_of_synthetic_photometry(galaxies):
    flux, z = galaxies["true_flux"], galaxies["z"]
    measured = measure_at(flux, np.ones_like(flux), z, GRID)
    g, r, i = synthetic_photometry(flux, GRID.wave, ("sdss2010-g", "sdss2010-r", "sdss2010-i"), 0.9).T
    np.testing.assert_allclose(measured.values["g_r"], -2.5 * np.log10(g / r), atol=1e-4)
    np.testing.assert_allclose(measured.values["r_i"], -2.5 * np.log10(r / i), atol=1e-4)


def test_what_is_not_covered_is_nan(fitter):
    red = SimulatedSurvey(9).sample(4)
    flux, ivar = red["flux"], red["ivar"].copy()
    ivar[:, GRID.wave > 7500] = 0
    ivar[0] = 0
    measured = measure(flux, ivar, GRID, fitter)
    assert all(np.isnan(measured.values[name][0]) for name in QUANTITIES if name not in ("g_r", "r_i"))
    assert measured.bpt[0] == 0 and measured.zwarning[0]
    beyond = 6670 * (1 + red["z"]) > 7500
    assert beyond.any() and np.isnan(measured.values["ew_halpha"][beyond]).all()
    assert (measured.bpt[beyond] == 0).all()


def test_ensembles_are_measured_like_single_spectra(galaxies, fitter, measured):
    flux = np.stack([galaxies["flux"][:5], 2 * galaxies["flux"][:5], galaxies["true_flux"][:5]], 1)
    many = measure_many(flux, galaxies["ivar"][:5], GRID, fitter)
    for name in QUANTITIES:
        assert many.values[name].shape == many.errors[name].shape == (5, 3)
        np.testing.assert_allclose(many.values[name][:, 0], measured.values[name][:5], rtol=1e-5)
    assert many.bpt.shape == many.zwarning.shape == (5, 3)
    ew = equivalent_width(flux[:, 2], many.values["z"][:, 2].astype(float), GRID, "H_alpha")[0]
    weighted = many.values["ew_halpha"][:, 2]
    np.testing.assert_allclose(weighted, ew, atol=0.3 + 0.05 * np.abs(ew).max())


def test_other_grids_are_refused(fitter):
    with pytest.raises(InputError, match="redshift templates"):
        measure(np.ones((2, 100)), np.ones((2, 100)), SpectralGrid(size=100), fitter)
    with pytest.raises(InputError, match="ivar"):
        measure(np.ones((2, GRID.size)), np.ones(GRID.size), GRID, fitter)
