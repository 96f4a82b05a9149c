import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pix2spec.models.baselines.wu_peek.autoencoder import InfoVAE, infovae_loss, mmd, softened_weight


def test_mmd_equals_a_hand_computed_value():
    a = torch.tensor([[0.0, 0.0], [2.0, 0.0]])  # mean squared distance over two dimensions: 2
    b = torch.tensor([[0.0, 2.0]])  # 2 from the first, 4 from the second
    within_a = (2 + 2 * np.exp(-2)) / 4
    across = (np.exp(-2) + np.exp(-4)) / 2
    assert mmd(a, b).item() == pytest.approx(within_a + 1 - 2 * across, rel=1e-6)


@given(n=st.integers(1, 6), m=st.integers(1, 6), d=st.integers(1, 4), seed=st.integers(0, 99))
def test_mmd_is_a_distance_of_samples(n, m, d, seed):
    generator = torch.Generator().manual_seed(seed)
    a, b = torch.randn((n, d), generator=generator), torch.randn((m, d), generator=generator)
    assert -1e-6 <= mmd(a, b).item() <= 2
    assert mmd(a, b).item() == pytest.approx(mmd(b, a).item(), abs=1e-6)
    assert mmd(a, a.flip(0)).item() == pytest.approx(0, abs=1e-6)


def test_mmd_tells_distributions_apart():
    torch.manual_seed(0)
    prior = torch.randn(800, 3)
    alike, shifted, narrow = torch.randn(800, 3), torch.randn(800, 3) + 1, 0.5 * torch.randn(800, 3)
    assert mmd(prior, alike) < 0.005
    assert mmd(prior, shifted) > 0.05 and mmd(prior, narrow) > 0.02


def test_weights_are_softened_and_zero_where_data_are_missing():
    ivar = torch.tensor([0.0, 100.0, 1e12])
    weight = softened_weight(ivar, 0.1)
    assert torch.allclose(weight, torch.tensor([0.0, 1 / (0.01 + 0.01), 100.0]))
    assert torch.equal(softened_weight(ivar, 0.0), ivar)


def test_loss_equals_a_hand_computed_value():
    x = torch.tensor([[1.0, 2.0, 0.0], [0.0, 0.0, 1.0]])
    reconstruction = torch.tensor([[0.0, 2.0, 9.0], [0.0, 3.0, 1.0]])
    weight = torch.tensor([[4.0, 1.0, 0.0], [1.0, 2.0, 1.0]])
    mean = torch.tensor([[1.0, 0.0], [0.0, 0.0]])
    log_variance = torch.tensor([[0.0, np.log(4)], [0.0, 0.0]])
    code = torch.tensor([[0.0, 0.0], [2.0, 0.0]])
    prior = torch.tensor([[0.0, 2.0]])

    half_chi2 = (0.5 * 4 * 1 + 0.5 * 2 * 9) / 2  # the pixel of weight 0 does not count
    kl = (0.5 * 1 + 0.5 * (4 - 1 - np.log(4))) / 2
    discrepancy = 2 * mmd(prior, code).item()
    arrays = (x, weight, reconstruction, mean, log_variance, code, prior)
    loss = infovae_loss(*arrays, alpha=0.25, lam=10)
    assert loss.item() == pytest.approx(half_chi2 + 0.75 * kl + 9.25 * discrepancy, rel=1e-6)
    ordinary = infovae_loss(*arrays, alpha=0, lam=1)
    assert ordinary.item() == pytest.approx(half_chi2 + kl, rel=1e-6)


def test_shapes_and_the_drawn_code():
    torch.manual_seed(0)
    net = InfoVAE(30, (16, 8), 3)
    x, noise = torch.randn(5, 30), torch.randn(5, 3)
    reconstruction, mean, log_variance, code = net(x, noise)
    assert reconstruction.shape == x.shape and mean.shape == log_variance.shape == code.shape == (5, 3)
    assert torch.allclose((code - mean) / noise, (log_variance / 2).exp(), rtol=1e-4)
    assert torch.equal(net(x, 0 * noise)[0], net.decode(mean))


def test_it_learns_a_low_dimensional_family_of_spectra():
    torch.manual_seed(0)
    net = InfoVAE(40, (32, 16), 2)
    optimizer = torch.optim.Adam(net.parameters(), 3e-3)
    pixels = torch.linspace(-1, 1, 40)

    def spectra(n):
        a, b = torch.randn(2, n, 1)
        return 0.3 * a * pixels + 0.3 * b * pixels**2

    for _ in range(200):
        x = spectra(64)
        arrays = net(x, torch.randn(64, 2))
        loss = infovae_loss(x, torch.full_like(x, 1e4), *arrays, torch.randn(100, 2), alpha=0, lam=1e4)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    x = spectra(500)
    mean, _ = net.encode(x)
    assert (net.decode(mean) - x).square().mean() < 0.1 * x.square().mean()
    assert (mean.mean(0).abs() < 0.4).all() and (mean.std(0) > 0.5).all()  # codes fill the prior
