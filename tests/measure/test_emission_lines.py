"""The 4000 A break and equivalent widths against lines that were put there, and against SDSS's own."""

import numpy as np
import pytest
from scipy.stats import spearmanr

from pix2spec.core.grid import SpectralGrid
from pix2spec.core.lines import LINES
from pix2spec.data.simulate.survey import SimulatedSurvey
from pix2spec.measure.emission_lines import (
    BPT_CLASSES,
    FEATURES,
    LineFit,
    bpt_class,
    equivalent_width,
    fit_lines,
)
from pix2spec.measure.indices import dn4000

GRID = SpectralGrid()
EW = {  # Angstrom, of every line near a feature
    "H_alpha": 20.0,
    "[N_II] 6583": 9.0,
    "[N_II] 6548": 9.0 / 3.06,
    "H_beta": 4.0,
    "[O_III] 4959": 5.0,
    "[O_III] 5007": 15.0,
    "[S_II] 6716": 6.0,
    "[S_II] 6730": 5.0,
    "[O_II] 3725": 8.0,
    "[O_II] 3727": 11.0,
}
EXPECTED = {name: EW.get(name) for name in FEATURES} | {"[O_II]": 19.0, "[S_II]": 11.0}


def spectra(z, sigma=2.0, slope=0.0, amount=1.0):
    """Lines of dispersion `sigma` pixels and equivalent widths `amount` times EW on a straight continuum."""
    rest = GRID.wave / (1 + np.asarray(z)[..., None])
    flux = 1 + slope * (rest / 6000 - 1)
    for name, ew in EW.items():
        width = sigma * LINES[name] * np.log(10) * GRID.step
        profile = np.exp(-(((rest - LINES[name]) / width) ** 2) / 2) / width / np.sqrt(2 * np.pi)
        flux = flux + amount * ew * (1 + slope * (LINES[name] / 6000 - 1)) * profile
    return flux


@pytest.fixture(scope="module")
def simulated():
    return SimulatedSurvey(5).sample(256)


@pytest.mark.parametrize("line", FEATURES)
@pytest.mark.parametrize("slope", [0.0, 0.8])
@pytest.mark.parametrize("sigma", [1, 1.7, 2.5, 4])
def test_known_equivalent_widths_come_back(line, slope, sigma):
    z = np.linspace(0.06, 0.0603, 9)  # a pixel and a bit, in steps of an eighth
    for amount in (1, -0.2):
        ew, error = equivalent_width(spectra(z, sigma, slope, amount), z, GRID, line)
        np.testing.assert_allclose(ew, amount * EXPECTED[line], rtol=0.01)
        assert np.isnan(error).all()


PIXEL = 299792.458 * np.log(10) * GRID.step  # km/s


@pytest.mark.parametrize("line", FEATURES)
def test_known_fluxes_and_widths_come_back(line):
    z = np.full(3, 0.06)
    for sigma in (1.3, 2.6):
        fit = fit_lines(7 * spectra(z, sigma, slope=0.5), z, GRID)[line]
        name = {"[O_II]": "[O_II] 3727", "[S_II]": "[S_II] 6716"}.get(line, line)
        continuum = 7 * (1 + 0.5 * (LINES[name] / 6000 - 1))
        np.testing.assert_allclose(fit.continuum, continuum, rtol=3e-3)
        np.testing.assert_allclose(fit.flux, EXPECTED[line] * continuum * 1.06, rtol=0.01)
        np.testing.assert_allclose(fit.sigma, sigma * PIXEL, rtol=0.02)
        assert np.isnan([fit.flux_error, fit.ew_error, fit.sigma_error]).all()


def test_errors_of_fluxes_and_widths_are_those_of_the_noise():
    rng = np.random.default_rng(2)
    z = rng.uniform(0.06, 0.09, 1000)
    noise = rng.uniform(0.04, 0.08, (1000, GRID.size))
    flux = spectra(z, amount=0.3) + noise * rng.normal(size=noise.shape)
    fits = fit_lines(flux, z, GRID, noise**-2)
    for line, fit in fits.items():
        pull = (fit.flux - 0.3 * EXPECTED[line] * (1 + z)) / fit.flux_error
        assert 0.9 < pull.std() < 1.1 and abs(pull.mean()) < 0.15, line
    pull = (fits["H_alpha"].sigma - 2 * PIXEL) / fits["H_alpha"].sigma_error
    assert 0.9 < pull.std() < 1.1 and abs(pull.mean()) < 0.15
    np.testing.assert_array_equal(fits["H_alpha"].sigma, fits["[N_II] 6583"].sigma)


def line_fit(ew, error=np.nan, continuum=1.0):
    """Fit of a line of which BPT classes see the equivalent width, its error, and the continuum."""
    return LineFit(0, 0, np.array(ew, float), np.array(error, float), 0, 0, np.array(continuum, float))


def test_bpt_classes_of_known_ratios():
    # log [N II] / Halpha, log [O III] / Hbeta, class; the limits at -0.4 are -0.06 and 0.49
    known = [(-1, 0, 1), (-0.4, -0.1, 1), (-0.4, 0.0, 2), (-0.4, 0.45, 2), (-0.4, 0.55, 3), (0.2, 0.0, 3)]
    known += [(0.5, 0.3, 3), (-1, 1.2, 3), (0.1, -1.5, 2), (0.3, 1, 3)]
    n2, o3, expected = np.array(known).T
    halpha, hbeta = np.full(len(n2), 300.0), np.full(len(n2), 100.0)
    for error in (0.01, np.nan):
        codes = bpt_class(
            line_fit(halpha - 1.3, error),
            line_fit(hbeta / 2 - 1.3, error, continuum=2),
            line_fit(hbeta * 10**o3, error),
            line_fit(halpha * 10**n2, error),
        )
        assert codes.dtype == np.int8
        np.testing.assert_array_equal(codes, expected)
    assert BPT_CLASSES == ("none", "star-forming", "composite", "AGN")


def test_weak_lines_have_no_bpt_class():
    strong = line_fit([30.0] * 6, [1.0] * 6)
    weak = line_fit([2.9, 3.1, np.nan, -5, 30, 30], [1.0, 1, 1, 1, np.nan, 1])
    assert bpt_class(strong, strong, strong, weak).astype(bool).tolist() == [0, 1, 0, 0, 1, 1]
    passive = line_fit(
        [-1.3, -0.5, 0.0], [0.05] * 3
    )  # nothing but the absorption of the stars, or little else
    strong = line_fit([30.0] * 3, [1.0] * 3)
    assert bpt_class(strong, passive, strong, strong).astype(bool).tolist() == [False, False, True]


def test_lines_of_a_blend_do_not_leak_into_each_other():
    z = np.full(5, 0.05)
    flux = spectra(z, sigma=3)
    kept = equivalent_width(flux, z, GRID, "H_alpha")[0]
    width = 3 * LINES["[N_II] 6583"] * np.log(10) * GRID.step
    for name, share in (("[N_II] 6583", 1), ("[N_II] 6548", 1 / 3.06)):
        profile = np.exp(-(((GRID.wave / 1.05 - LINES[name]) / width) ** 2) / 2) / width / np.sqrt(2 * np.pi)
        flux = flux + 10 * share * profile
    np.testing.assert_allclose(equivalent_width(flux, z, GRID, "[N_II] 6583")[0], 19, rtol=0.01)
    np.testing.assert_allclose(equivalent_width(flux, z, GRID, "H_alpha")[0], kept, rtol=0.01)


@pytest.mark.parametrize("line", FEATURES)
@pytest.mark.parametrize(("amount", "limit"), [(0, 1.1), (0.05, 1.15), (1, 1.1)])  # S/N of 0, a few, many
def test_errors_are_those_of_the_noise(line, amount, limit):
    rng = np.random.default_rng(1)
    z = rng.uniform(0.06, 0.09, 1000)
    noise = rng.uniform(0.04, 0.08, (1000, GRID.size))
    flux = spectra(z, amount=amount) + noise * rng.normal(size=noise.shape)
    ew, error = equivalent_width(flux, z, GRID, line, noise**-2)
    pull = (ew - amount * EXPECTED[line]) / error
    assert 0.9 < pull.std() < limit
    assert abs(pull.mean()) < 0.15


def test_outliers_and_missing_pixels_do_not_matter():
    z = np.full(3, 0.06)
    flux, ivar = spectra(z), np.ones((3, GRID.size))
    first = round(GRID.pixel(6500 * 1.06))
    flux[:, first : first + 3] += 50  # in the blue band
    ivar[:, first + 30 : first + 35], flux[:, first + 30 : first + 35] = 0, np.nan
    ew, error = equivalent_width(flux, z, GRID, "H_alpha", ivar)
    np.testing.assert_allclose(ew, EXPECTED["H_alpha"], rtol=0.01)
    assert (error > 0).all()


def test_what_cannot_be_measured_is_nan():
    z = np.array([0.06, 0.5, 0.0, np.nan, -1.0, 0.06, 0.06, 0.06])
    flux = spectra(np.full(len(z), 0.06))
    ivar = np.ones_like(flux)
    centre = round(GRID.pixel(LINES["H_alpha"] * 1.06))
    ivar[5, centre - 1 : centre + 2] = 0
    ivar[6] = 0
    flux[7] -= 5
    ew, error = equivalent_width(flux, z, GRID, "H_alpha", ivar)
    assert np.isfinite(ew).tolist() == [True, False, True, False, False, False, False, False]
    np.testing.assert_array_equal(np.isfinite(error), np.isfinite(ew))
    assert np.isnan(equivalent_width(flux, z, GRID, "[O_II]", ivar)[0][2])  # bluer than the grid
    expected = [True, True, False, False, False, True, False]
    assert np.isfinite(dn4000(flux, z, GRID, ivar)).tolist()[:7] == expected


def test_ensembles_are_measured_like_single_spectra():
    z = np.array([0.06, 0.08, 0.1])
    flux = spectra(z)[:, None] * np.linspace(1, 2, 4)[:, None] + np.linspace(0, 1, 4)[:, None]
    assert flux.shape == (3, 4, GRID.size)
    ivar = np.ones((3, 1, GRID.size))
    for line in FEATURES:
        ew, error = equivalent_width(flux, z[:, None], GRID, line, ivar)
        assert ew.shape == error.shape == (3, 4)
        one = equivalent_width(flux[1, 2], z[1], GRID, line, ivar[1, 0])
        np.testing.assert_allclose((ew[1, 2], error[1, 2]), one)
    assert dn4000(flux, z[:, None], GRID)[1, 2] == pytest.approx(dn4000(flux[1, 2], z[1], GRID))


def test_break_of_a_step():
    z = np.array([0.05, 0.1])
    flux = np.where(GRID.wave / (1 + z[:, None]) < 3980, 1.0, 1.5) / GRID.wave**2
    np.testing.assert_allclose(dn4000(flux, z, GRID), 1.5, rtol=1e-3)
    ivar = np.ones_like(flux)
    ivar[:, ::3], flux[:, ::3] = 0, 1e9
    np.testing.assert_allclose(dn4000(flux, z, GRID, ivar), 1.5, rtol=1e-3)


def test_break_agrees_with_the_simulator(simulated):
    measured = dn4000(simulated["true_flux"], simulated["z"], GRID)
    inside = 3851.09 * (1 + simulated["z"]) > GRID.wave[1]
    np.testing.assert_array_equal(np.isfinite(measured), inside)
    np.testing.assert_allclose(measured[inside], simulated["true_dn4000"][inside], rtol=1e-3)


# Stars have structure near every line, of a few tenths of an Angstrom and more at the Balmer lines: it
# scrambles the order of galaxies that hardly emit.
@pytest.mark.parametrize(
    ("line", "lowest", "absorption"),
    [("[O_III] 5007", 0.9, 1.5), ("[N_II] 6583", 0.9, 0.5), ("[S_II]", 0.9, 0.7), ("H_alpha", 0.85, 3)],
)
def test_simulated_galaxies_keep_their_order(simulated, line, lowest, absorption):
    names = {"[S_II]": ["[S_II] 6716", "[S_II] 6730"]}.get(line, [line])
    columns = [list(LINES).index(name) for name in names]
    true_flux = simulated["true_flux"]
    centre = np.rint(GRID.pixel(LINES[names[-1]] * (1 + simulated["z"]))).astype(int)
    beside = np.clip(centre[:, None] + np.arange(30, 60), 0, GRID.size - 1)
    continuum = np.median(np.take_along_axis(true_flux, beside, 1), 1)
    expected = simulated["true_line_flux"][:, columns].sum(1) / continuum / (1 + simulated["z"])
    ew, _ = equivalent_width(true_flux, simulated["z"], GRID, line)
    some = np.isfinite(ew) & (simulated["true_agn"] != "seyfert1")
    strong = some & (expected > 1)
    assert some.sum() > 200 and strong.sum() > 30
    assert spearmanr(ew[some], expected[some])[0] > lowest
    assert spearmanr(ew[strong], expected[strong])[0] > 0.97
    assert -absorption < np.median((ew - expected)[some]) < 0.1


def test_real_galaxies_against_the_sdss_pipeline(sdss_galaxies):
    data = sdss_galaxies
    names = list(data["line_names"])
    for line, rank in (("H_alpha", 0.98), ("[N_II] 6583", 0.98), ("[O_III] 5007", 0.97)):
        theirs = data["line_ew"][:, names.index(line)]
        ours, error = equivalent_width(data["flux"], data["z"], GRID, line, data["ivar"])
        both = np.isfinite(ours) & np.isfinite(theirs)
        low, median, high = np.percentile((ours - theirs)[both], [16, 50, 84])
        print(f"{line}: {both.sum()} galaxies, ours - SDSS's = {median:.2f} (+{high - median:.2f}", end=" ")
        print(f"-{median - low:.2f}) A, formal error {np.median(error[both]):.2f} A")
        assert both.sum() > 1000
        assert spearmanr(ours[both], theirs[both])[0] > rank


def test_line_fluxes_of_real_galaxies_are_those_of_the_sdss_pipeline(sdss_galaxies):
    data, names = sdss_galaxies, list(sdss_galaxies["line_names"])
    lines = ("H_alpha", "[N_II] 6583", "[O_III] 5007")
    for line, fit in fit_lines(data["flux"], data["z"], GRID, data["ivar"], lines).items():
        column = names.index(line)
        strong = (data["line_flux_err"][:, column] > 0) & (data["line_ew"][:, column] > 15)
        ratio = (fit.flux / data["line_flux"][:, column])[strong & np.isfinite(fit.flux)]
        assert len(ratio) > 80
        # Theirs are above a stellar continuum, which absorbs Halpha by 1.3 A or so.
        assert (0.9 if line == "H_alpha" else 0.97) < np.median(ratio) < 1.02
        assert 1.4826 * np.median(np.abs(ratio - np.median(ratio))) < 0.05
