import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel

from pix2spec.core.extinction import coefficients
from pix2spec.core.filters import FLOOR, load_filter
from pix2spec.data.schema import Galaxy
from pix2spec.models.shared.measurements import (
    LATTICE,
    Brightness,
    MeasurementTable,
    SetEncoder,
    Smooth,
    cat_tokens,
    tokens_of,
)

BANDS = ("sdss2010-u", "sdss2010-g", "sdss2010-r", "sdss2010-i", "sdss2010-z")
CENTRE, WIDTH = (
    np.array([getattr(load_filter(name), what) for name in BANDS]) for what in ("centre", "width")
)
FLUX = np.array([[5.0, 20.0, 40.0, 55.0, 65.0], [80.0, 90.0, np.nan, 100.0, -1.0]])
ERROR = np.array([[0.5, 0.4, 0.5, 0.6, 1.5], [4.0, 1.0, 1.0, 0.0, 2.0]])


def table(order=slice(None), kind="model"):
    return MeasurementTable(FLUX[:, order], ERROR[:, order], CENTRE[order], WIDTH[order], kind, "observed")


@pytest.fixture(scope="module")
def encoder():
    torch.manual_seed(0)
    return SetEncoder(7, queries=4, values=5, width=16).eval()


def test_what_is_not_measured_is_not_seen():
    assert table().tokens().seen.tolist() == [[True] * 5, [True, True, False, False, True]]


def test_the_floor_is_added_in_quadrature():
    error = table().tokens().error[0].numpy()
    np.testing.assert_allclose(error, np.hypot(ERROR[0], FLOOR * np.log(10) / 2.5 * FLUX[0]), rtol=1e-6)
    np.testing.assert_allclose(table().tokens(floor=0).error[0], ERROR[0], rtol=1e-6)


@given(order=st.permutations(range(5)))
def test_the_order_of_the_measurements_does_not_matter(encoder, order):
    with torch.no_grad():
        np.testing.assert_allclose(encoder(table(order).tokens()), encoder(table().tokens()), atol=2e-5)


def test_padding_and_measurements_that_are_not_seen_do_not_matter(encoder):
    wide = MeasurementTable(
        np.c_[FLUX, [np.nan] * 2], np.c_[ERROR, [1.0] * 2], np.r_[CENTRE, 20000], np.r_[WIDTH, 900], "model",
        "observed",
    )  # fmt: skip
    joined = cat_tokens([table().tokens(), wide.tokens()])
    with torch.no_grad():
        out = encoder(joined).numpy()
    np.testing.assert_allclose(out[:2], out[2:], atol=2e-5)


def test_kind_extinction_and_errors_matter(encoder):
    with torch.no_grad():
        base = encoder(table().tokens())
        for other in (
            table(kind="fibre"),
            MeasurementTable(FLUX, 3 * ERROR, CENTRE, WIDTH, "model", "observed"),
            MeasurementTable(FLUX, ERROR, CENTRE, WIDTH, "model", "dereddened"),
            MeasurementTable(2 * FLUX, 2 * ERROR, CENTRE, WIDTH, "model", "observed"),
        ):
            assert not torch.allclose(encoder(other.tokens()), base, atol=1e-4)
        alike = encoder(table(kind="petrosian").tokens())
        assert torch.allclose(alike, base)


def test_the_smooth_curve_is_that_of_scikit_learn():
    tokens = table().tokens()[slice(0, 1)]
    brightness, smooth = Brightness.of(tokens), Smooth()
    mean, log_sd = smooth(tokens, brightness)[0].chunk(2)
    kernel = ConstantKernel(Smooth.LEVEL**2, "fixed")
    for sd, length in Smooth.TERMS:
        kernel = kernel + ConstantKernel(sd**2, "fixed") * RBF(length, "fixed")
    noise = (1.0857 * brightness.relative[0].double().numpy()) ** 2 + Smooth.FLOOR**2
    process = GaussianProcessRegressor(kernel, alpha=noise, optimizer=None)
    process.fit(np.log(CENTRE)[:, None], brightness.colour[0].double().numpy())
    expected, sd = process.predict(LATTICE[:, None], return_std=True)
    np.testing.assert_allclose(mean, expected, atol=2e-3)
    np.testing.assert_allclose(np.exp(2 * log_sd.numpy()), sd, atol=2e-3)


def test_colours_of_bright_galaxies_are_differences_of_magnitudes():
    colour = Brightness.of(table().tokens()).colour[0].numpy()
    magnitude = -2.5 * np.log10(FLUX[0])
    np.testing.assert_allclose((colour - colour[2])[1:], (magnitude[2] - magnitude)[1:], atol=0.035)


def test_galaxies_with_any_filters_and_a_known_extinction():
    red = Galaxy("a", photometry={"g": (20.0, 0.4), "wise2010-W1": (90.0, 3.0)}, kind="model", extinction=0.1)
    blue = Galaxy("b", photometry=[1.0, 2, 3, 4, 5], photometry_ivar=np.ones(5))
    tokens = tokens_of([red.measurements(), blue.measurements()])
    assert tokens.seen.sum(1).tolist() == [2, 5]
    dust = 10 ** (0.04 * coefficients(["sdss2010-g", "wise2010-W1"]))
    np.testing.assert_allclose(tokens.flux[0, :2], [20 * dust[0], 90 * dust[1]], rtol=1e-5)
    assert tokens.extinction.tolist() == [1, 2]  # dereddened; unknown
    assert tokens.kind[0, 0] == 1 and tokens.kind[1].tolist() == [0] * 5  # total; within the fibre
