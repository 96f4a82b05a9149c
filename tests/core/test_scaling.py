import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pix2spec.core.scaling import fill_missing, lupton_rgb, minmax, robust
from pix2spec.errors import InputError
from pix2spec.models.shared.inputs import scale_image, scale_spectra, view
from pix2spec.runtime.random import BatchRng

spectra = arrays(np.float64, (3, 20), elements=st.floats(-1e4, 1e4))


@given(spectra)
def test_minmax_and_its_inverse_round_trip(flux):
    x, offset, scale = minmax(flux)
    assert x.min() >= -1 - 1e-9 and x.max() <= 1 + 1e-9
    np.testing.assert_allclose(offset + scale * x, flux, atol=1e-6, rtol=1e-9)


@given(spectra)
def test_robust_and_its_inverse_round_trip(flux):
    x, offset, scale = robust(flux, np.ones_like(flux))
    assert (scale >= 1).all()  # never below the noise
    np.testing.assert_allclose(offset + scale * x, flux, atol=1e-6, rtol=1e-9)


def test_robust_ignores_a_spike_and_minmax_does_not():
    flux = np.linspace(1, 2, 101)[None]
    spiked = flux.copy()
    spiked[0, 50] = 1000
    assert robust(spiked, np.full_like(flux, 100))[2] == pytest.approx(1.5, abs=0.02)
    assert minmax(spiked)[2] > 100 * minmax(flux)[2]


def test_holes_are_interpolated_and_masked():
    flux = np.array([[1.0, 99, 3, np.nan, 5], [7, 7, 7, 7, 7]], np.float32)
    ivar = np.array([[1.0, 0, 1, 1, 1], [0, 0, 0, 0, 0]], np.float32)
    assert fill_missing(flux, ivar).tolist() == [[1, 2, 3, 4, 5], [0, 0, 0, 0, 0]]
    x, mask = scale_spectra(flux, ivar, "minmax")
    assert x.shape == (2, 1, 5) and mask[0, 0].tolist() == [1, 0, 1, 0, 1]
    assert torch.isfinite(x).all()


def test_a_composite_is_bounded_and_keeps_colour():
    image = np.zeros((3, 8, 8), np.float32)
    image[2, 4, 4], image[:, 2, 2] = 5.0, -1.0
    rgb = lupton_rgb(image)
    assert rgb.min() >= 0 and rgb.max() <= 255
    assert rgb[2, 4, 4] > rgb[0, 4, 4] and not rgb[:, 2, 2].any()


def test_linear_images_reach_a_composite_network_but_not_the_reverse():
    image = np.random.default_rng(0).uniform(0, 1, (2, 3, 8, 8)).astype(np.float32)
    torch.testing.assert_close(
        scale_image(image, "linear", "composite"), scale_image(lupton_rgb(image), "composite", "composite")
    )
    assert scale_image(image, "linear", "linear").shape == (2, 3, 8, 8)
    with pytest.raises(InputError, match="linear fluxes"):
        scale_image(image, "composite", "linear")


def test_views_are_crops_of_the_resized_image_flipped_half_of_the_time():
    ramp = torch.arange(64.0).expand(400, 1, 64, 64)
    out = view(ramp, 71, 64, BatchRng(0))
    assert out.shape == (400, 1, 64, 64)
    slope = out[:, 0, 0, 32] - out[:, 0, 0, 31]
    assert 0.4 < (slope < 0).float().mean() < 0.6
    torch.testing.assert_close(slope.abs(), torch.full((400,), 64 / 71), atol=1e-4, rtol=0)
    assert len(torch.unique((out[:, 0, 0].mean(-1) * 100).round())) > 5  # the crops move
    assert torch.equal(view(ramp, 71, 64, BatchRng(0)), out)
    centre = view(ramp, 71, 64, None)[0, 0, 0]
    torch.testing.assert_close(centre.mean(), torch.tensor(31.5), atol=0.6, rtol=0)
