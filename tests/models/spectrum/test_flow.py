"""The flow around the linear answer: its Gaussian part is exact."""

import itertools

import pytest
import torch

from pix2spec.models.spectrum.flow import SpectrumFlow, gaussian_velocity
from pix2spec.models.spectrum.sampler import LEARNED, noise_levels, sample_around


def test_the_velocity_of_a_gaussian_is_its_exact_denoiser():
    torch.manual_seed(0)
    mean, spread, sigma = torch.randn(200_000, 1) * 0 + 0.7, torch.full((200_000, 1), 0.4), 0.6
    x0, noise = mean + spread * torch.randn_like(mean), torch.randn_like(mean)
    x = (1 - sigma) * x0 + sigma * noise
    found = gaussian_velocity(x, torch.full((len(x), 1), sigma), mean, spread)
    design = torch.cat([x, torch.ones_like(x)], 1)  # the best velocity is linear in x: fit it
    slope, intercept = torch.linalg.lstsq(design, noise - x0).solution[:, 0]
    torch.testing.assert_close(found[:, 0], slope * x[:, 0] + intercept, atol=0.03, rtol=0)


@pytest.mark.parametrize("sampler", ["dpm++", "heun", "euler"])
@pytest.mark.parametrize("evaluations", [1, 2, 4])
def test_an_untrained_flow_draws_the_linear_answer(sampler, evaluations):
    torch.manual_seed(0)
    flow = SpectrumFlow(3, 5, 16, 2)
    n, mean, spread = 4000, torch.tensor([0.5, -1.0, 0.0]), torch.tensor([0.2, 0.5, 1.0])
    known, modulation = flow.known(torch.zeros(1, n, 5)), torch.zeros(1, 2, 3, 16)
    means, spreads = mean.expand(n, 3), spread.expand(n, 3)

    def correction(x, sigma):
        return flow.correction(x[None], known, modulation)[0]

    x = sample_around(correction, means, spreads, sampler, evaluations, torch.randn(n, 3))
    torch.testing.assert_close(x.mean(0), mean, atol=0.05, rtol=0)
    torch.testing.assert_close(x.std(0), spread, atol=0.0, rtol=0.04)


@pytest.mark.parametrize("evaluations", LEARNED)
def test_learned_schedules_have_their_number_of_falling_levels(evaluations):
    levels, weights = LEARNED[evaluations]
    assert len(weights) == evaluations and (levels[0], levels[-1], weights[0]) == (1, 0, 0)
    assert all(after < before for before, after in itertools.pairwise(levels))
    assert noise_levels("dpm++", evaluations) == levels[:evaluations]


def test_more_steps_come_nearer_to_another_distribution():
    n, mean, spread = 3000, torch.zeros(3000, 1), torch.ones(3000, 1)
    truth = torch.full((n, 1), 1.5), torch.full((n, 1), 0.5)

    def correction(x, sigma):
        return gaussian_velocity(x, sigma, *truth) - gaussian_velocity(x, sigma, mean, spread)

    errors = []
    for evaluations in (2, 3, 8, 32):  # none of them learned for the networks that ship
        start = torch.randn(n, 1, generator=torch.Generator().manual_seed(0))
        x = sample_around(correction, mean, spread, "dpm++", evaluations, start)
        errors.append(abs(x.mean().item() - 1.5) + abs(x.std().item() - 0.5))
    assert errors[3] < 0.03 and errors[0] > errors[1] > errors[2]
