"""The flow against Gaussians, whose velocity is known in closed form, and the latents' normal scores."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kstest

from pix2spec.models.latent.flow import FlowNetwork, NormalScores, flow_loss, logit_normal
from pix2spec.models.latent.sampler import sample_flow
from pix2spec.models.shared.settings import FLOW_SAMPLERS

MU, S = torch.tensor([2.0, -1.0, 0.5]), torch.tensor([0.5, 2.0, 0.1])


def velocity(x, sigma):
    """E[noise - data | x] for data of N(MU, S^2)."""
    sigma = sigma[:, None]
    covariance = sigma - (1 - sigma) * S**2
    variance = (1 - sigma) ** 2 * S**2 + sigma**2
    return -MU + covariance / variance * (x - (1 - sigma) * MU)


def generators(n, seed=0):
    return [torch.Generator().manual_seed(1000 * seed + k) for k in range(n)]


def error(sampler, evaluations, n=200):
    """Root mean square distance from where the exact flow takes each noise vector."""
    start = torch.stack([torch.randn(3, generator=g) for g in generators(n)])
    x = sample_flow(velocity, (n, 3), sampler, evaluations, generators(n))
    return ((x - (MU + S * start)) / S).square().mean().sqrt().item()


# --- samplers -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sampler", FLOW_SAMPLERS)
def test_every_sampler_draws_the_gaussian(sampler):
    x = sample_flow(velocity, (4000, 3), sampler, 100, generators(4000))
    np.testing.assert_allclose(x.mean(0), MU, atol=0.05 * S.max())
    np.testing.assert_allclose(x.std(0) / S, 1, atol=0.07)


@pytest.mark.parametrize("sampler", FLOW_SAMPLERS)
def test_every_sampler_follows_the_exact_path(sampler):
    assert error(sampler, 400) < 0.03


def test_methods_of_second_order_are_nearer_with_as_many_evaluations():
    first, second = error("euler", 32), error("euler", 64)
    assert second == pytest.approx(first / 2, rel=0.15)
    for sampler in ("heun", "dpm++"):
        assert error(sampler, 16) < 0.7 * error("euler", 16)
        assert error(sampler, 32) < 0.4 * first
        assert error(sampler, 64) < 0.4 * error(sampler, 32)


@given(sampler=st.sampled_from(FLOW_SAMPLERS), evaluations=st.integers(1, 40))
def test_evaluations_are_what_they_say(sampler, evaluations):
    levels = []

    def counted(x, sigma):
        assert x.shape == (2, 3) and sigma.shape == (2,) and (sigma == sigma[0]).all()
        levels.append(sigma[0].item())
        return velocity(x, sigma)

    x = sample_flow(counted, (2, 3), sampler, evaluations, generators(2))
    assert torch.isfinite(x).all()
    least = evaluations - (sampler == "heun" and evaluations % 2 == 0)  # Heun's last step takes one
    assert len(levels) == least
    assert levels[0] == pytest.approx(1, abs=2e-3) and min(levels) >= 0
    assert (np.diff(levels) <= 0).all()


@pytest.mark.parametrize("sampler", FLOW_SAMPLERS)
def test_a_sample_depends_on_its_generator_alone(sampler):
    many = sample_flow(velocity, (6, 3), sampler, 8, generators(6))
    for k in (0, 5):
        alone = sample_flow(velocity, (1, 3), sampler, 8, generators(6)[k : k + 1])
        torch.testing.assert_close(alone[0], many[k])
    other = sample_flow(velocity, (6, 3), sampler, 8, generators(6, seed=1))
    assert (other - many).abs().min() > 1e-6


# --- loss and network -----------------------------------------------------------------------------------


def test_the_loss_is_zero_for_the_true_velocity_and_known_for_none():
    rng = torch.Generator().manual_seed(0)
    x0, noise = torch.randn(500, 3, generator=rng), torch.randn(500, 3, generator=rng)
    sigma = torch.rand(500, generator=rng)

    def straight(x, s, condition):  # knows the data, as `condition`
        return (x - condition) / s[:, None]

    assert flow_loss(straight, x0, x0, sigma + 0.01, noise).item() < 1e-6
    nothing = flow_loss(lambda x, s, c: torch.zeros_like(x), x0, x0, sigma, noise)
    assert nothing.item() == pytest.approx((noise - x0).square().mean().item())


def test_the_exact_velocity_has_the_least_loss():
    rng = torch.Generator().manual_seed(0)
    x0 = MU + S * torch.randn(20_000, 3, generator=rng)
    noise, sigma = torch.randn(20_000, 3, generator=rng), torch.rand(20_000, generator=rng)

    def loss(shift=0.0, gain=1.0):
        return flow_loss(lambda x, s, c: gain * velocity(x, s) + shift, x0, x0, sigma, noise)

    assert all(loss() < loss(shift, gain) for shift in (-0.1, 0.1) for gain in (0.95, 1.05))


def test_noise_levels_are_logit_normal():
    levels = logit_normal(torch.randn(20_000, generator=torch.Generator().manual_seed(0)))
    assert ((levels > 0) & (levels < 1)).all()
    logit = torch.logit(levels.double())
    assert abs(logit.mean().item()) < 0.03
    assert logit.var().item() == pytest.approx(1.5, rel=0.03)


def test_the_network_sees_vector_level_and_condition():
    torch.manual_seed(0)
    net = FlowNetwork(7, 5, width=32, depth=2)
    x, sigma, c = torch.randn(4, 7), torch.rand(4), torch.randn(4, 5)
    assert torch.equal(net(x, sigma, c), net.outlet.bias.expand(4, 7))  # it starts at nothing
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    out = net(x, sigma, c)
    assert out.shape == (4, 7)
    for changed in ((x + 0.1, sigma, c), (x, sigma + 0.1, c), (x, sigma, c + 0.1)):
        assert (net(*changed) - out).abs().amax(1).min() > 1e-3
    torch.testing.assert_close(net(x[2:3], sigma[2:3], c[2:3]), out[2:3], rtol=1e-4, atol=1e-4)


# --- normal scores --------------------------------------------------------------------------------------


def skewed(n, seed=0):
    """Columns like the latents': heavy tails, two peaks, an atom, a tiny scale with an offset."""
    rng = np.random.default_rng(seed)
    columns = [
        np.exp(rng.normal(size=n)),
        rng.standard_t(3, n),
        np.where(rng.random(n) < 0.5, rng.normal(-5, 0.1, n), rng.normal(5, 1, n)),
        np.where(rng.random(n) < 0.3, 0.1 * rng.normal(size=n), rng.exponential(50, n)),
        0.05 + 1e-3 * rng.gamma(2, size=n),
    ]
    return torch.from_numpy(np.stack(columns, 1)).float()


@pytest.fixture(scope="module")
def normal():
    return NormalScores(5).fit(skewed(20_000))


def test_scores_of_skewed_data_are_standard_normal(normal):
    scores = normal(skewed(5000, seed=1)).double()
    for column in scores.T:
        assert kstest(column.numpy(), "norm").statistic < 0.03
        assert column.mean().abs() < 0.06 and abs(column.std() - 1) < 0.04


def test_scores_come_back_also_in_the_tails(normal):
    values = torch.cat([skewed(1000, seed=2), 3 * skewed(1000, seed=3)])
    again = normal.inverse(normal(values))
    spread = normal.knots[:, -1] - normal.knots[:, 0]
    assert ((again - values).abs() / (spread + values.abs())).max() < 1e-4


@given(scale=st.floats(0.1, 6))
def test_inverse_scores_are_finite_and_come_back(normal, scale):
    scores = scale * torch.randn(50, 5, generator=torch.Generator().manual_seed(0))
    values = normal.inverse(scores)
    assert torch.isfinite(values).all()
    assert (normal(values) - scores).abs().max() < 0.02


def test_scores_rise_with_the_values(normal):
    x = torch.linspace(-8, 8, 4001)[:, None].expand(-1, 5).contiguous()
    values = normal.inverse(x)
    assert (values.diff(dim=0) >= 0).all()
    assert (normal(values).diff(dim=0) > -1e-3).all()
    # Beyond the knots straight lines go on: no value is out of reach.
    assert (values[-1] > normal.knots[:, -1]).all() and (values[0] < normal.knots[:, 0]).all()


@pytest.mark.parametrize("value", [0.0, 0.0414, 2.0, -300.0])
def test_a_latent_that_is_always_the_same_stays_finite(value):
    # Shows a bug of NormalScores.fit: in float32 the knots of a constant fall together.
    normal = NormalScores(1).fit(torch.full((500, 1), value))
    scores = normal(torch.tensor([[value], [value + 0.1], [value - 0.1]]))
    assert torch.isfinite(scores).all()
    back = normal.inverse(torch.linspace(-4, 4, 30)[:, None])
    assert (back - value).abs().max() < 1e-3 * max(1, abs(value))


def test_values_beyond_a_crowded_end_keep_scores_in_reach():
    # Shows a weakness of NormalScores._map: where few values end in a crowd, the slope beyond is steep.
    values = torch.cat([torch.linspace(-2, 2, 95), torch.tensor([3.0, 3.0001])])[:, None]
    normal = NormalScores(1).fit(values)
    score = normal(torch.tensor([[4.0]]))
    assert 3.5 < score.item() < 10
    assert normal.inverse(score).item() == pytest.approx(4, abs=1e-3)


def test_scores_depend_on_their_own_latent_alone(normal):
    values = skewed(50, seed=4)
    changed = values.clone()
    changed[:, 0] += 1
    assert torch.equal(normal(values)[:, 1:], normal(changed)[:, 1:])
    torch.testing.assert_close(normal(values[7:8]), normal(values)[7:8])
