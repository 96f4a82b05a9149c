"""Lick indices and the 4000 A break: against numbers worked out by hand, and against the noise."""

import numpy as np
import pytest
from scipy.integrate import quad

from pix2spec.core.grid import SpectralGrid
from pix2spec.data.simulate.spectra import load_templates
from pix2spec.measure.indices import LICK, air_to_vacuum, break_4000, lick_index

GRID = SpectralGrid()


def absorbed(z, name, depth=0.3, slope=0.0):
    """Gaussian absorption in the middle of an index's feature, on a straight continuum; and its index."""
    bands = LICK[name][0]
    centre, width = float(air_to_vacuum(np.mean(bands.feature))), 4.0
    rest = GRID.wave / (1 + np.asarray(z)[..., None])

    def flux(wave):
        line = depth * np.exp(-(((wave - centre) / width) ** 2) / 2)
        return (1 + slope * (wave / centre - 1)) * (1 - line)

    blue, feature, red = (air_to_vacuum(np.array(band)) for band in bands)
    levels = [quad(flux, *band)[0] / np.ptp(band) for band in (blue, red)]

    def continuum(wave):
        share = (wave - blue.mean()) / (red.mean() - blue.mean())
        return levels[0] + share * (levels[1] - levels[0])

    expected = quad(lambda wave: 1 - flux(wave) / continuum(wave), *feature)[0]
    return flux(rest), expected


def test_air_and_vacuum():
    # NIST: [O III] 5006.843 and Halpha 6562.80 in air
    np.testing.assert_allclose(air_to_vacuum([5006.843, 6562.80]), [5008.240, 6564.61], atol=0.01)


def test_a_box_of_absorption_is_the_index_that_one_works_out_by_hand():
    z = np.linspace(0.03, 0.0303, 7)  # positions within a pixel
    low, high = air_to_vacuum(np.array([5252.0, 5272.0]))  # inside of Fe5270's feature, outside of its bands
    rest = GRID.wave / (1 + z[:, None])
    step = 10 ** (GRID.step / 2)
    inside = np.clip(np.minimum(rest * step, high) - np.maximum(rest / step, low), 0, None)
    flux = 2.0 - inside / (rest * step - rest / step)  # half of the light is gone
    np.testing.assert_allclose(lick_index(flux, z, GRID, "Fe5270")[0], 0.5 * (high - low), rtol=1e-3)


@pytest.mark.parametrize("name", ["HdeltaA", "Mgb", "Fe5270", "Fe5335"])
@pytest.mark.parametrize("slope", [0.0, 2.0, -2.0])
def test_known_indices_come_back(name, slope):
    z = np.linspace(0.06, 0.0603, 9)
    flux, expected = absorbed(z, name, slope=slope)
    assert 1 < expected < 5
    np.testing.assert_allclose(lick_index(flux, z, GRID, name)[0], expected, rtol=2e-3)


def test_passbands_are_shifted_to_vacuum():
    """HdeltaA's feature ends at 4122.25 A in air, 4123.41 in vacuum."""
    rest = GRID.wave / 1.03
    inside = np.where(np.abs(rest - 4122.0) < 1.4, 0.5, 1.0)  # three pixels of 0.95 A
    outside = np.where(np.abs(rest - 4125.5) < 1.4, 0.5, 1.0)
    assert (inside < 1).sum() == (outside < 1).sum() == 3
    assert lick_index(inside, 0.03, GRID, "HdeltaA")[0] == pytest.approx(3 * 0.5 * 0.95, rel=0.01)
    assert lick_index(outside, 0.03, GRID, "HdeltaA")[0] == 0


def test_mean_of_the_iron_indices():
    rng = np.random.default_rng(0)
    flux, ivar = 1 + 0.05 * rng.standard_normal((3, GRID.size)), np.full((3, GRID.size), 400.0)
    z = np.array([0.02, 0.05, 0.1])
    mean, error = lick_index(flux, z, GRID, "<Fe>", ivar)
    (first, first_error), (second, second_error) = (
        lick_index(flux, z, GRID, name, ivar) for name in ("Fe5270", "Fe5335")
    )
    np.testing.assert_allclose(mean, (first + second) / 2)
    assert (np.abs(error / np.hypot(first_error, second_error) * 2 - 1) < 0.1).all()  # bands hardly overlap


@pytest.fixture(scope="module")
def noisy():
    """1,500 spectra of one old population with noise that differs by pixel: z, truth, noise, ivar."""
    stored = load_templates()
    wave = 10 ** (float(stored["start"]) + float(stored["step"]) * np.arange(stored["flux"].shape[1]))
    rng = np.random.default_rng(3)
    z = rng.uniform(0.03, 0.12, 1500)
    truth = np.stack([np.interp(GRID.wave / (1 + x), wave, stored["flux"][28].astype(float)) for x in z])
    sigma = rng.uniform(0.03, 0.09, truth.shape)
    ivar = np.where(rng.random(truth.shape) < 0.03, 0, sigma**-2)
    return z, truth, truth + sigma * rng.standard_normal(truth.shape), ivar


@pytest.mark.parametrize("name", ["Dn4000", *LICK])
def test_errors_are_those_of_the_noise(noisy, name):
    z, truth, flux, ivar = noisy

    def measure(values):
        if name == "Dn4000":
            return break_4000(values, z, GRID, ivar)
        return lick_index(values, z, GRID, name, ivar)

    (value, error), (expected, _) = measure(flux), measure(truth)
    pull = ((value - expected) / error)[np.isfinite(expected)]
    assert len(pull) > 1000
    assert 0.93 < pull.std() < 1.08
    assert abs(pull.mean()) < 0.12


def test_old_stars_have_what_is_published_of_them(noisy):
    # 5 Gyr, solar: about Mgb 3, <Fe> 2.8, HdeltaA -1 at Lick's resolution (Thomas et al. 2003, MNRAS 339:897;
    # 2004, MNRAS 351:L19), a little more at 3 A; Dn4000 1.8 to 1.9 (Kauffmann et al. 2003, MNRAS 341:33).
    z, truth, *_ = noisy
    expected = {"Mgb": (2.5, 3.6), "<Fe>": (2.3, 3.4), "HdeltaA": (-3, 1)}
    for name, (low, high) in expected.items():
        assert low < np.nanmedian(lick_index(truth, z, GRID, name)[0]) < high
    assert 1.7 < np.nanmedian(break_4000(truth, z, GRID)[0]) < 2.0


@pytest.mark.parametrize("name", ["Dn4000", *LICK])
def test_scale_does_not_matter(noisy, name):
    z, _, flux, ivar = (values[:20] for values in noisy)

    def measure(factor):
        if name == "Dn4000":
            return break_4000(factor * flux, z, GRID, ivar / factor**2)
        return lick_index(factor * flux, z, GRID, name, ivar / factor**2)

    np.testing.assert_allclose(measure(1e3), measure(1))
    np.testing.assert_allclose(measure(1e-3), measure(1))


def test_what_cannot_be_measured_is_nan():
    z = np.array([0.06, 0.0, 0.06, 0.9, np.nan, 0.06])
    flux = absorbed(np.full(len(z), 0.06), "Mgb")[0]
    ivar = np.ones_like(flux)
    first, last = GRID.pixel(air_to_vacuum(np.array([5165.0, 5185.0])) * 1.06).astype(int)
    ivar[2, first:last] = 0  # of the feature
    flux[5] -= 3
    value, error = lick_index(flux, z, GRID, "Mgb", ivar)
    assert np.isfinite(value).tolist() == [True, True, False, False, False, False]
    np.testing.assert_array_equal(np.isfinite(error), np.isfinite(value))
    assert np.isnan(lick_index(flux, z, GRID, "Mgb")[1]).all()
    assert np.isnan(break_4000(flux, z, GRID, ivar)[1]).tolist() == [False, True, False, False, True, True]
    assert np.isnan(break_4000(flux, z, GRID)[1]).all()


def test_a_few_missing_pixels_hardly_matter():
    z = np.full(4, 0.06)
    flux, expected = absorbed(z, "Mgb")
    ivar = np.where(np.random.default_rng(1).random(flux.shape) < 0.05, 0, 1.0)
    broken = np.where(ivar > 0, flux, np.nan)
    np.testing.assert_allclose(lick_index(broken, z, GRID, "Mgb", ivar)[0], expected, rtol=0.12)


def test_ensembles_are_measured_like_single_spectra():
    z = np.array([0.05, 0.1])
    flux = absorbed(z, "Mgb")[0][:, None] * np.linspace(1, 2, 3)[:, None] + np.linspace(0, 1, 3)[:, None]
    ivar = np.ones((2, 1, GRID.size))
    value, error = lick_index(flux, z[:, None], GRID, "Mgb", ivar)
    one = lick_index(flux[1, 2], z[1], GRID, "Mgb", ivar[1, 0])
    assert value.shape == error.shape == (2, 3)
    np.testing.assert_allclose((value[1, 2], error[1, 2]), one)
