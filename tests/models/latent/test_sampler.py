"""The flow's samplers against the schedulers of diffusers, with which the released models were tested."""

import numpy as np
import pytest
import torch

from pix2spec.models.latent.flow import FlowNetwork
from pix2spec.models.latent.sampler import sample_flow
from pix2spec.models.shared.settings import FLOW_SAMPLERS

SHAPE = (5, 7)


def generators():
    return [torch.Generator().manual_seed(k) for k in range(SHAPE[0])]


@pytest.fixture(scope="module")
def velocity():
    """A network with random weights: far from any straight path."""
    torch.manual_seed(0)
    network = FlowNetwork(SHAPE[1], 4, width=32, depth=2)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    condition = torch.randn(SHAPE[0], 4)
    return lambda x, sigma: network(x, sigma, condition)


@torch.no_grad()
def by_diffusers(velocity, sampler, evaluations):
    import diffusers

    levels = {}
    if sampler == "dpm++":
        scheduler = diffusers.DPMSolverMultistepScheduler(
            prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=1.0, final_sigmas_type="zero"
        )
    elif sampler == "heun":
        scheduler, evaluations = diffusers.FlowMatchHeunDiscreteScheduler(), (evaluations + 1) // 2
    else:
        scheduler = diffusers.FlowMatchEulerDiscreteScheduler()
        levels = {"sigmas": np.linspace(1, 1 / evaluations, evaluations)}
    scheduler.set_timesteps(evaluations, **levels)
    x = torch.stack([torch.randn(SHAPE[1:], generator=g) for g in generators()])
    for t in scheduler.timesteps:
        x = scheduler.step(velocity(x, (t / 1000).float().expand(SHAPE[0])), t, x).prev_sample
    return x


@pytest.mark.parametrize("sampler", FLOW_SAMPLERS)
@pytest.mark.parametrize("evaluations", [1, 2, 3, 7, 16, 25, 40])
def test_samples_are_those_of_diffusers(velocity, sampler, evaluations):
    own = sample_flow(velocity, SHAPE, sampler, evaluations, generators())
    # Heun's of diffusers divides a difference of two float32 numbers by sigma, down to 0.001.
    tolerance = 5e-4 if sampler == "heun" else 2e-5
    theirs = by_diffusers(velocity, sampler, evaluations)
    torch.testing.assert_close(own, theirs, rtol=tolerance, atol=tolerance)
