import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from pix2spec.models.baselines.wu_peek.deconvolution import Deconvolution2d, inverse_square_root


def correlated_images(n=64, channels=3, size=16, seed=0):
    """Noise, mixed over channels and smoothed over neighbouring pixels, about a mean."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn((n, channels, size, size), generator=generator)
    mix = torch.eye(channels) + 0.3
    smoothed = noise + 0.3 * noise.roll(1, -1) + 0.2 * noise.roll(1, -2)
    return torch.einsum("cd,ndyx->ncyx", mix, smoothed) + 2


def patch_layer(channels, **kwargs):
    """A layer whose outputs are the whitened patches themselves."""
    size = channels * 9
    layer = Deconvolution2d(channels, size, 3, **kwargs)
    layer.padding = (0, 0)
    with torch.no_grad():
        layer.weight.copy_(torch.eye(size).view_as(layer.weight))
        layer.bias.zero_()
    return layer


def covariance(maps):
    return torch.cov(maps.permute(1, 0, 2, 3).flatten(1), correction=0)


def test_newton_schulz_gives_the_inverse_square_root():
    torch.manual_seed(0)
    root = torch.randn(2, 5, 5, dtype=torch.float64)
    matrix = root @ root.mT + torch.eye(5)
    inverse = inverse_square_root(matrix, 20)
    assert torch.allclose(inverse @ matrix @ inverse, torch.eye(5, dtype=torch.float64), atol=1e-9)
    values, vectors = torch.linalg.eigh(matrix)
    assert torch.allclose(inverse, vectors @ torch.diag_embed(values**-0.5) @ vectors.mT, atol=1e-9)
    # Half-way there after fewer steps: eigenvalues far below the norm come last.
    assert not torch.allclose(inverse_square_root(matrix, 3), inverse, atol=1e-2)


def test_gradients_of_the_inverse_square_root():
    root = torch.randn(3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    matrix = (root @ root.mT + torch.eye(3)).requires_grad_()
    assert torch.autograd.gradcheck(lambda m: inverse_square_root(m, 5), matrix)


def test_patches_are_white_in_training():
    x = correlated_images()
    before = covariance(F.unfold(x, 3).unflatten(-1, (14, 14)))
    assert (before - torch.diag(before.diagonal())).abs().max() > 0.5  # there is something to take out
    whitened = patch_layer(3, sampling=1, iterations=15)(x)
    assert torch.allclose(covariance(whitened), torch.eye(27), atol=1e-3)
    assert whitened.mean((0, 2, 3)).abs().max() < 1e-4


def test_patches_are_white_in_evaluation_and_from_sampled_statistics():
    layer = patch_layer(3, iterations=15)  # sampling every third patch along y and x
    for seed in range(60):
        layer(correlated_images(seed=seed))
    layer.eval()
    unseen = correlated_images(seed=99)
    whitened = layer(unseen)
    assert torch.allclose(covariance(whitened), torch.eye(27), atol=0.1)
    assert torch.equal(layer(unseen[:2]), layer(unseen[:2]))
    assert torch.allclose(layer(unseen[:2]), whitened[:2], atol=1e-5)  # whatever else is in the batch


def test_the_default_iterations_take_out_most_of_the_correlation():
    x = correlated_images()
    before = torch.corrcoef(F.unfold(x, 3).transpose(0, 1).flatten(1))
    after = torch.corrcoef(patch_layer(3, sampling=1)(x).transpose(0, 1).flatten(1))
    off = ~torch.eye(27, dtype=torch.bool)
    assert after[off].square().mean() < 0.1 * before[off].square().mean()


@given(
    channels_in=st.integers(1, 6),
    block=st.integers(1, 4),
    kernel=st.sampled_from([1, 3]),
    stride=st.integers(1, 2),
    size=st.integers(5, 8),
)
def test_folded_weights_equal_whitening_the_patches(channels_in, block, kernel, stride, size):
    torch.manual_seed(0)
    layer = Deconvolution2d(channels_in, 4, kernel, stride, block=block).eval()
    torch.nn.init.normal_(layer.running_mean)
    torch.nn.init.normal_(layer.running_whitening)
    layer.running_whitening.copy_(layer.running_whitening + layer.running_whitening.mT)
    x = torch.randn(2, channels_in, size, size)
    patches = F.unfold(x, kernel, padding=kernel // 2, stride=stride).unflatten(1, layer.running_mean.shape)
    white = torch.einsum("gst,bgtp->bgsp", layer.running_whitening, patches - layer.running_mean[..., None])
    expected = torch.einsum("os,bsp->bop", layer.weight.flatten(1), white.flatten(1, 2))
    expected = expected + layer.bias[:, None]
    assert channels_in % layer.block == 0 and layer.block <= block
    assert torch.allclose(layer(x).flatten(2), expected, atol=1e-4)


def test_gradients_reach_weights_and_input():
    layer = Deconvolution2d(4, 5, 3, block=2)
    x = correlated_images(8, channels=4).requires_grad_()
    layer(x).square().mean().backward()
    for gradient in (x.grad, layer.weight.grad, layer.bias.grad):
        assert gradient.isfinite().all() and gradient.abs().max() > 0


def test_its_running_statistics_are_saved():
    layer = Deconvolution2d(3, 5, 3, stride=2)
    for seed in range(3):
        layer(correlated_images(8, seed=seed))
    again = Deconvolution2d(3, 5, 3, stride=2)
    again.load_state_dict(layer.state_dict())
    x = correlated_images(4, seed=9)
    assert torch.equal(layer.eval()(x), again.eval()(x))
    assert not torch.equal(again(x), again.train()(x))


@pytest.mark.parametrize("training", [True, False])
def test_half_precision_does_not_reach_the_whitening(training):
    layer = Deconvolution2d(3, 5, 3).train(training)
    x = correlated_images(8)
    exact = layer(x)
    with torch.autocast("cpu", torch.bfloat16):
        half = layer(x)
    assert torch.allclose(half.float(), exact, atol=0.1)


def test_a_constant_input_stays_finite():
    x = torch.full((2, 3, 8, 8), 7.0, requires_grad=True)
    out = Deconvolution2d(3, 4, 1)(x)
    out.sum().backward()
    assert out.isfinite().all() and x.grad.isfinite().all()
