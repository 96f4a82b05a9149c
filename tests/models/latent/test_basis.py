"""The rest-frame basis against spectra that are made of a known mean, two components and lines."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pix2spec.core.grid import SpectralGrid
from pix2spec.core.lines import LIGHT_SPEED_KM_S, LINE_GROUPS
from pix2spec.models.latent.basis import (
    NORMALISATION,
    WIDTHS,
    RestFrameBasis,
    between_widths,
    cubic_weights,
    fourier_shift,
    weighted_sums,
)

GRID = SpectralGrid(3.68, 1e-4, 1660)  # 4786 to 7014 Angstrom
Z_MAX = 0.1
INSIDE = ["H_beta", "[O_III]", "He_I"]  # seen at any redshift below
NAMES = list(LINE_GROUPS)
AT = [NAMES.index(name) for name in INSIDE]
LOW, HIGH = np.log10(NORMALISATION)


def continuum(loglam):
    """Mean and two components at rest-frame log10 wavelengths, in the basis's gauge: (3, ...)."""

    def raw(x):
        t = (x - 3.7) / 0.1
        dips = [np.exp(-0.5 * ((x - c) / w) ** 2) for c, w in ((3.69, 5e-4), (3.715, 8e-4), (3.77, 6e-4))]
        mean = 1 - 0.2 * t - 0.2 * dips[0] - 0.1 * dips[2]
        return np.stack([mean, 0.7 * t + 0.5 * dips[1], t**2 - 0.3 * dips[0] + 0.2 * dips[1]])

    window = np.arange(np.ceil(LOW / 1e-4), np.floor(HIGH / 1e-4) + 1) * 1e-4
    level = raw(window).mean(-1)
    values = raw(loglam)
    mean = values[0] / level[0]
    return np.stack([mean, *(values[k] - level[k] * mean for k in (1, 2))])


def truth(n, seed=0, grid=GRID, widths=None):
    """Noise-free spectra, and what they are made of; of one in five no line is seen."""
    rng = np.random.default_rng(seed)
    z = rng.uniform(0, 1.1 * Z_MAX, n).clip(0.01, Z_MAX)  # many reach the ends of the lattice
    zeta = np.log10(1 + z)
    scale = np.exp(rng.normal(2, 0.5, n))
    h = rng.normal(size=(n, 2)) * [0.2, 0.1]
    width = rng.uniform(60, 250, n) if widths is None else rng.choice(widths, n)
    flux = rng.gamma(4, 1.5, (n, len(AT))) * (rng.random(n) < 0.8)[:, None]
    rest = grid.loglam - zeta[:, None]
    spectra = continuum(rest)
    spectra = spectra[0] + h[:, :1] * spectra[1] + h[:, 1:] * spectra[2]
    sigma = np.hypot(width, 64) / LIGHT_SPEED_KM_S / np.log(10)  # dex
    for column, name in enumerate(INSIDE):
        for line, strength in LINE_GROUPS[name]:
            x = (rest - np.log10(line)) / sigma[:, None]
            peak = strength * flux[:, column] / (line * np.log(10) * sigma * np.sqrt(2 * np.pi))
            spectra += peak[:, None] * np.exp(-0.5 * x**2)
    known = {"z": z, "scale": scale, "h": h, "width": width, "flux": flux}
    return (scale[:, None] * spectra).astype(np.float32), known


def noisy(n, seed=0, sn=20.0, widths=None):
    """The same with noise, with missing pixels that hold garbage, and some with missing ends."""
    clean, known = truth(n, seed, widths=widths)
    rng = np.random.default_rng(100 + seed)
    sigma = known["scale"][:, None] / sn * (1 + 0.5 * np.sin(np.arange(GRID.size) / 300)) * np.ones((n, 1))
    flux, ivar = clean + sigma * rng.normal(size=clean.shape), 1 / sigma**2
    missing = rng.random(clean.shape) < 0.02
    missing[::4, :100] = missing[1::4, -150:] = True
    flux[missing], ivar[missing] = 0, 0
    return flux.astype(np.float32), ivar.astype(np.float32), clean, known


def decode(basis, fits, z, sample=0):
    values, k = torch.from_numpy(fits.values[:, sample]), basis.n_components
    zeta, width = torch.from_numpy(np.log10(1 + z)), torch.from_numpy(fits.width[:, sample])
    return basis.decode(zeta, values[:, :k], values[:, k:], width).numpy() * fits.scale[:, sample, None]


def new_basis():
    return RestFrameBasis(GRID, components=2, z_max=Z_MAX)


def true_basis():
    """The basis as it should be, with the population's prior."""
    basis = new_basis()
    values = torch.from_numpy(continuum(basis.loglam.numpy())).float()
    basis.mean, basis.components = values[0], values[1:]
    precision = torch.full((3 + basis.n_lines,), 1e-2, dtype=torch.float64)
    precision[0], precision[1], precision[2] = 1e-2, 1 / 0.2**2, 1 / 0.1**2
    basis.prior_mean[0] = 1
    basis.prior_precision.copy_(torch.diag(precision))
    return basis


@pytest.fixture(scope="module")
def clean_fit():
    spectra, known = truth(300)
    return new_basis().fit(spectra, None, known["z"], GRID, iterations=10, progress=False)


@pytest.fixture(scope="module")
def noisy_fit():
    flux, ivar, _, known = noisy(300)
    return new_basis().fit(flux, ivar, known["z"], GRID, iterations=10, progress=False)


# --- resampling -----------------------------------------------------------------------------------------


@given(shift=st.floats(-0.999, 0.999), centre=st.floats(100, 300), sigma=st.floats(1.5, 15))
def test_fourier_shift_moves_a_gaussian_exactly(shift, centre, sigma):
    x = np.arange(400)
    before, after = (np.exp(-0.5 * ((x - centre - s) / sigma) ** 2) for s in (0, shift))
    moved = fourier_shift(torch.from_numpy(before)[None].float(), torch.tensor([shift]).double())
    np.testing.assert_allclose(moved[0], after, atol=1e-5)


def test_fourier_shift_keeps_noise_white():
    noise = torch.randn(200, 500, generator=torch.Generator().manual_seed(0))
    moved = fourier_shift(noise, torch.full((200,), 0.5).double())[:, 20:-20]
    assert moved.var().item() == pytest.approx(1, abs=0.02)
    assert abs((moved[:, 1:] * moved[:, :-1]).mean().item()) < 0.02


@given(st.floats(0, 1))
def test_cubic_weights_sum_to_one_and_hold_straight_lines(u):
    w = cubic_weights(torch.tensor([[u]], dtype=torch.float64))[0]
    assert w.sum().item() == pytest.approx(1, abs=1e-12)
    assert (w @ torch.tensor([-1.0, 0, 1, 2]).double()).item() == pytest.approx(u, abs=1e-12)
    assert (w @ torch.tensor([1.0, 0, 1, 4]).double()).item() == pytest.approx(u**2, abs=1e-12)


def test_the_way_to_the_rest_frame_and_back_are_exact_at_any_redshift():
    basis = true_basis()
    for z in (0.0, 0.0123456, 0.05, Z_MAX):
        expected = continuum(GRID.loglam - np.log10(1 + z))[0]
        nothing = torch.zeros(1, basis.n_lines)
        made = basis.decode(torch.tensor([np.log10(1 + z)]), torch.zeros(1, 2), nothing, torch.ones(1))
        np.testing.assert_allclose(made[0], expected, atol=2e-4)
        spectrum = expected[None].astype(np.float32)
        # Shows a weakness of fourier_shift: what it pads jumps where its ends meet, and that rings by 4e-4.
        rest, weight = basis.to_rest(spectrum, None, np.array([z]), GRID)
        inside = weight[0] > 0
        assert inside.sum() == GRID.size
        target = continuum(basis.loglam.numpy())[0]
        np.testing.assert_allclose(rest[0][inside][20:-20], target[inside][20:-20], atol=2e-5)


def test_widths_between_those_of_the_lattice():
    torch.testing.assert_close(between_widths(torch.arange(10).double()).float(), WIDTHS)
    assert between_widths(torch.tensor([1.5])).item() == pytest.approx(57.5)
    assert between_widths(torch.tensor([-3.0, 40.0])).tolist() == [WIDTHS[0], WIDTHS[-1]]


ROWS = {
    "uniform": [[0, 2, 2, 2, 0], [3, 3, 3, 3, 3]],
    "empty": [[0, 0, 0, 0, 0], [0, 1, 1, 0, 0]],
    "a gap": [[2, 0, 2, 2, 2]],
    "a gap that the count hides": [[1, 1, 0, 1, 1]],
    "unequal": [[1, 2, 1, 2, 1], [1, 1, 1, 1, 0]],
}


@pytest.mark.parametrize("name", ROWS)
def test_weighted_sums_are_the_matrix_product(name):
    weight = torch.tensor(ROWS[name], dtype=torch.float32)
    products = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    expected = weight.double() @ products.double()
    torch.testing.assert_close(weighted_sums(weight, products), expected, atol=1e-5, rtol=0)


# --- noise-free spectra ---------------------------------------------------------------------------------


# The next four show a weakness of RestFrameBasis._maximise: with its ridge of 1e-3, whatever the
# coefficients' size, a component runs away to pixels that few spectra reach, and is lost to the others.


def test_held_out_spectra_come_back(clean_fit):
    spectra, known = truth(100, seed=1)
    fits = clean_fit.encode(spectra, None, known["z"], GRID)
    residual = (decode(clean_fit, fits, known["z"]) - spectra) / known["scale"][:, None]
    rms = np.sqrt((residual**2).mean(1))
    assert np.median(rms) < 4e-3 and rms.max() < 0.012
    np.testing.assert_allclose(fits.scale[:, 0], known["scale"], rtol=0.01)


def test_line_fluxes_and_widths_are_recovered(clean_fit):
    spectra, known = truth(200, seed=2)
    fits = clean_fit.encode(spectra, None, known["z"], GRID)
    lines = fits.values[:, 0, 2:][:, AT]
    for fitted, flux in zip(lines.T, known["flux"].T):
        slope, offset = np.polyfit(flux, fitted, 1)
        assert slope == pytest.approx(1, abs=0.06) and abs(offset) < 0.5
        assert np.std(fitted - slope * flux) < 0.55  # 0.47 in double precision throughout
    lit = known["flux"].max(1) > 2
    error = np.abs(fits.width[lit, 0] / known["width"][lit] - 1)
    assert np.median(error) < 0.08 and error.max() < 0.3


def test_the_true_basis_recovers_everything_exactly():
    spectra, known = truth(100, seed=2)
    basis = true_basis()
    fits = basis.encode(spectra, None, known["z"], GRID)
    residual = (decode(basis, fits, known["z"]) - spectra) / known["scale"][:, None]
    assert np.sqrt((residual**2).mean(1)).max() < 1e-3
    np.testing.assert_allclose(fits.scale[:, 0], known["scale"], rtol=1e-3)
    np.testing.assert_allclose(fits.values[:, 0, :2], known["h"], atol=2e-3)
    np.testing.assert_allclose(fits.values[:, 0, 2:][:, AT], known["flux"], rtol=0.01, atol=0.02)
    lit = known["flux"].max(1) > 2
    np.testing.assert_allclose(fits.width[lit, 0], known["width"][lit], rtol=0.02)


def test_a_misfit_is_the_mean_square_over_that_of_the_scale():
    spectra, known = truth(20, seed=3)
    # Shows a bug of RestFrameBasis._encode: chi2 of noise-free spectra is in units of CLEAN_VARIANCE.
    spectra += 0.05 * known["scale"][:, None] * np.sin(np.arange(GRID.size) * 1.5)  # no basis has this
    fits = true_basis().encode(spectra, None, known["z"], GRID)
    np.testing.assert_allclose(fits.chi2, 0.05**2 / 2, rtol=0.1)


def test_the_gauge(clean_fit):
    window = clean_fit.window()
    assert window.sum().item() == pytest.approx(1)
    wave = 10 ** clean_fit.loglam[window > 0]
    assert NORMALISATION[0] <= wave.min() < 5001 and 5499 < wave.max() <= NORMALISATION[1]
    assert (window @ clean_fit.mean).item() == pytest.approx(1, abs=1e-3)
    np.testing.assert_allclose(clean_fit.components @ window, 0, atol=1e-4)


def test_components_span_those_of_the_truth(clean_fit):
    inside = np.arange(450, 1900)  # where every redshift reaches
    expected = torch.from_numpy(continuum(clean_fit.loglam.numpy())).float()[:, inside]
    design = torch.cat([clean_fit.mean[None], clean_fit.components])[:, inside].T
    fitted = design @ torch.linalg.lstsq(design, expected.T).solution
    assert (fitted - expected.T).square().mean().sqrt().item() < 0.06


def test_spectra_longer_than_the_grid_show_what_lies_beyond_it():
    longer = SpectralGrid(GRID.start, GRID.step, GRID.size + 150)
    spectra, known = truth(200, seed=4, grid=longer)
    basis = new_basis().fit(spectra, None, known["z"], longer, iterations=6, progress=False)
    fits = basis.encode(spectra, None, known["z"], longer)
    here = decode(basis, fits, known["z"])
    assert here.shape == (200, GRID.size)
    rms = np.sqrt(np.mean((here - spectra[:, : GRID.size]) ** 2, 1)) / known["scale"]
    assert np.median(rms) < 6e-3


# --- noisy spectra --------------------------------------------------------------------------------------


def test_noisy_spectra_are_fitted_to_their_noise_and_better_than_it(noisy_fit):
    flux, ivar, clean, known = noisy(100, seed=1)
    fits = noisy_fit.encode(flux, ivar, known["z"], GRID, samples=16)
    assert np.median(fits.chi2) == pytest.approx(1, abs=0.05) and fits.chi2.max() < 1.3
    mean = np.mean([decode(noisy_fit, fits, known["z"], k) for k in range(16)], 0)
    error = ((mean - clean) / known["scale"][:, None])[:, 200:-200]
    assert np.sqrt((error**2).mean()) < 0.02  # the noise is 0.05


def test_posterior_samples_have_the_errors_covariance():
    flux, ivar, _, known = noisy(400, seed=2, sn=10, widths=WIDTHS[2:6].numpy())
    lit = known["flux"][:, 0] > 1
    fits = true_basis().encode(flux[lit], ivar[lit], known["z"][lit], GRID, samples=64)
    expected = np.concatenate([known["h"], known["flux"]], 1)[lit]
    drawn = fits.values[..., [0, 1, *(2 + k for k in AT)]]
    pull = (expected - drawn.mean(1)) / drawn.std(1)
    np.testing.assert_allclose(np.median(np.abs(pull), 0) / 0.6745, 1, atol=0.2)
    np.testing.assert_allclose(pull.mean(0), 0, atol=0.25)
    scale = (known["scale"][lit] - fits.scale.mean(1)) / fits.scale.std(1)
    assert scale.std() == pytest.approx(1, abs=0.15)
    # The two components overlap: so do their errors.
    error = (expected - drawn.mean(1))[:, :2]
    inner = np.mean([np.corrcoef(sample[:, :2].T)[0, 1] for sample in drawn])
    assert np.corrcoef(error.T)[0, 1] == pytest.approx(inner, abs=0.15)


def test_missing_pixels_do_not_matter_whatever_they_hold(noisy_fit):
    flux, ivar, _, known = noisy(12, seed=3)
    dirty = np.where(ivar > 0, flux, 1e6).astype(np.float32)
    a, b = (noisy_fit.encode(f, ivar, known["z"], GRID, samples=2) for f in (flux, dirty))
    for name in ("scale", "values", "width", "chi2"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name))


def test_samples_are_a_function_of_the_seed(noisy_fit):
    flux, ivar, _, known = noisy(12, seed=3)
    a, b, c = (noisy_fit.encode(flux, ivar, known["z"], GRID, samples=2, seed=s) for s in (0, 0, 1))
    np.testing.assert_array_equal(a.values, b.values)
    assert np.abs(a.values - c.values).max() > 1e-3 and a.values.shape == (12, 2, 2 + len(NAMES))


def test_a_line_that_is_not_there_is_zero():
    flux, ivar, _, known = noisy(100, seed=4)
    dark = known["flux"][:, 0] == 0
    fits = true_basis().encode(flux[dark], ivar[dark], known["z"][dark], GRID, samples=8)
    lines = fits.values[..., [2 + k for k in AT]]
    assert 0.2 < (np.abs(lines) < 1e-4).mean() < 0.8  # half of them would be negative
    assert np.abs(lines).max() < 4


# --- refining -------------------------------------------------------------------------------------------


def test_refining_starts_from_the_given_basis(clean_fit):
    few, known = truth(6, seed=5)  # fewer spectra than would determine anything
    basis = new_basis()
    basis.load_state_dict(clean_fit.state_dict())
    basis.fit(few, None, known["z"], GRID, iterations=3, refine=1e4, progress=False)
    torch.testing.assert_close(basis.mean, clean_fit.mean, atol=2e-3, rtol=0)
    torch.testing.assert_close(basis.components, clean_fit.components, atol=2e-3, rtol=0)


def test_refining_follows_the_data_and_keeps_what_they_do_not_show(clean_fit):
    flux, ivar, _, known = noisy(300, seed=6)
    tilt = (1 + 0.05 * np.sin(np.arange(GRID.size) / 40)).astype(np.float32)  # another calibration
    ivar[:, -300:] = 0
    basis = new_basis()
    basis.load_state_dict(clean_fit.state_dict())
    basis.fit(flux * tilt, ivar, known["z"], GRID, iterations=6, refine=3.0, progress=False)
    fits = basis.encode(flux * tilt, ivar, known["z"], GRID)
    assert np.median(fits.chi2) < np.median(clean_fit.encode(flux * tilt, ivar, known["z"], GRID).chi2)
    unseen = basis.loglam > GRID.loglam[-300] - np.log10(1.01) + 2e-3
    torch.testing.assert_close(basis.mean[unseen], clean_fit.mean[unseen], atol=1e-3, rtol=0)
