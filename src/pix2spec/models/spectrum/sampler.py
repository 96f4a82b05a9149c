"""Samplers of the flow around the linear answer: exact where galaxies are Gaussian.

For Gaussian data with mean m and spread S, a path of the rectified flow is x = (1 - sigma) m + q u with
q^2 = (1 - sigma)^2 S^2 + sigma^2 and a constant u. In u, samplers therefore integrate only what the network
adds to the Gaussian velocity: du / dsigma = (velocity - Gaussian velocity) / q. A few steps are enough.
"""

from collections.abc import Callable
from itertools import pairwise

import torch

__all__ = ["noise_levels", "sample_around"]

FINER = 1.5  # power of the noise levels: steps become shorter towards the data

Correction = Callable[[torch.Tensor, float], torch.Tensor]


def noise_levels(sampler: str, evaluations: int) -> tuple[float, ...]:
    """Noise levels from 1 to 0 between the steps of a sampler, which may evaluate the network at each."""
    steps = max(1, evaluations // 2) if sampler == "heun" else evaluations
    return tuple((k / steps) ** FINER for k in range(steps, -1, -1))


@torch.no_grad()
def sample_around(
    correction: Correction, mean: torch.Tensor, spread: torch.Tensor, sampler: str, evaluations: int,
    start: torch.Tensor,
) -> torch.Tensor:  # fmt: skip
    """Draw samples of a flow whose linear answers are known.

    Parameters
    ----------
    correction : callable
        ``(x (..., D), sigma) -> velocity - gaussian_velocity``: what must be added for other data.
    mean, spread : tensor (..., D)
        The linear answers.
    sampler : {"dpm++", "heun", "euler"}
        Second-order steps that reuse the evaluation before (Adams-Bashforth), Heun's method, or Euler's.
    evaluations : int
        Maximum number of evaluations of `correction`.
    start : tensor (..., D)
        Standard normal numbers, of which each sample is a function.

    Returns
    -------
    tensor (..., D)
    """
    u, variance = start, spread**2

    def slope(u: torch.Tensor, sigma: float) -> torch.Tensor:
        keep = 1 - sigma
        q = torch.sqrt(keep**2 * variance + sigma**2)
        return correction(torch.addcmul(keep * mean, q, u), sigma) / q

    before, last = None, 1.0
    for sigma, following in pairwise(noise_levels(sampler, evaluations)):
        step, now = following - sigma, slope(u, sigma)
        if sampler == "heun":
            direction = (now + slope(u + step * now, following)) / 2
        elif sampler == "euler" or before is None:
            direction = now
        else:
            direction = now + step / (2 * last) * (now - before)
        u, before, last = u + step * direction, now, step
    return mean + spread * u
