"""Samplers of a rectified flow. They follow its velocity from noise (level sigma = 1) to data (sigma = 0)."""

from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
import torch

__all__ = ["sample_flow"]

LEAST_LEVEL = 1e-3  # last noise level of Heun's method before zero; DPM-Solver++ starts at 1 - LEAST_LEVEL

Velocity = Callable[[torch.Tensor, float], torch.Tensor]


@torch.no_grad()
def sample_flow(
    velocity: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    shape: tuple[int, ...],
    sampler: str,
    evaluations: int,
    generators: Sequence[torch.Generator],
    device: torch.device | str = "cpu",
) -> torch.Tensor:
    """Draw ``shape[0]`` samples of a rectified flow with a given number of network evaluations.

    Parameters
    ----------
    velocity : callable
        ``(x, sigma (B,)) -> noise - data``; see `pix2spec.models.latent.flow`.
    shape : tuple
        (B, D).
    sampler : {"euler", "heun", "dpm++"}
        Euler's method; Heun's second-order method, with two evaluations per step and one for the last step;
        or the multistep, second-order DPM-Solver++ of Lu et al. (2022, arXiv:2211.01095).
    evaluations : int
        Maximum number of evaluations of `velocity`. ``"heun"`` makes one less if the number is even.
    generators : sequence of torch.Generator, length B
        One generator per sample, on the CPU. The noise of sample k comes from generator k alone.
    device : torch.device or str
        Device of the samples.

    Returns
    -------
    tensor (B, D), float32
    """
    x = torch.stack([torch.randn(shape[1:], generator=g) for g in generators]).to(device)
    method = {"euler": _euler, "heun": _heun, "dpm++": _dpm_solver}[sampler]
    return method(lambda x, sigma: velocity(x, torch.full(shape[:1], sigma, device=device)), x, evaluations)


def _euler(velocity: Velocity, x: torch.Tensor, evaluations: int) -> torch.Tensor:
    for sigma, following in pairwise(np.linspace(1, 0, evaluations + 1).tolist()):
        x = x + (following - sigma) * velocity(x, sigma)
    return x


def _heun(velocity: Velocity, x: torch.Tensor, evaluations: int) -> torch.Tensor:
    levels = [*np.linspace(1, LEAST_LEVEL, (evaluations + 1) // 2).tolist(), 0.0]
    for sigma, following in pairwise(levels):
        step, slope = following - sigma, velocity(x, sigma)
        if following > 0:
            slope = (slope + velocity(x + step * slope, following)) / 2
        x = x + step * slope
    return x


def _dpm_solver(velocity: Velocity, x: torch.Tensor, evaluations: int) -> torch.Tensor:
    """Extrapolate the data x0 that the network predicts, linearly in log((1 - sigma) / sigma)."""
    levels = (1 - np.linspace(1, LEAST_LEVEL, evaluations + 1))[::-1].tolist()
    before, step_before = None, 1.0
    for sigma, following in pairwise(levels):
        # The released models were tested with noise levels rounded down to a multiple of 1/1000.
        x0 = x - sigma * velocity(x, int(1000 * sigma) / 1000)
        target = x0
        if following > 0:
            step = np.log((1 - following) / following) - np.log((1 - sigma) / sigma)
            if before is not None:
                target = x0 + step / (2 * step_before) * (x0 - before)
            before, step_before = x0, step
        x = following / sigma * x + (1 - following / sigma) * target
    return x
