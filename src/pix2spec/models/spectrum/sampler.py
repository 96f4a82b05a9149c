"""Samplers of the flow around the linear answer: exact where galaxies are Gaussian.

For Gaussian data with mean m and spread S, a path of the rectified flow is x = (1 - sigma) m + q u with
q^2 = (1 - sigma)^2 S^2 + sigma^2 and a constant u. In u, samplers therefore integrate only what the network
adds to the Gaussian velocity: du / dsigma = (velocity - Gaussian velocity) / q. A few steps are enough.
"""

from collections.abc import Callable
from itertools import pairwise

import torch

__all__ = ["LEARNED", "Schedule", "noise_levels", "sample_around", "schedule"]

FINER = 1.5  # power of the noise levels: steps become shorter towards the data

Correction = Callable[[torch.Tensor, float], torch.Tensor]
# Noise levels from 1 to 0, the ends of the steps; and for each step, how much of the change since the slope
# before is added to the slope, 0 for the first.
Schedule = tuple[tuple[float, ...], tuple[float, ...]]

# Of dpm++, by the number of evaluations. Found by
# `python benchmarks/sampler_levels.py --evaluations 4 --galaxies 32 --candidates 16`.
LEARNED: dict[int, Schedule] = {
    4: ((1.0, 0.6701, 0.357, 0.1641, 0.0), (0.0, 0.3654, 0.4685, 0.449)),
}


def schedule(sampler: str, evaluations: int) -> Schedule:
    """The schedule of a sampler with a number of evaluations of the network: learned, or a formula."""
    if sampler == "dpm++" and evaluations in LEARNED:
        return LEARNED[evaluations]
    count = max(1, evaluations // 2) if sampler == "heun" else evaluations
    levels = tuple((k / count) ** FINER for k in range(count, -1, -1))
    steps = [after - before for before, after in pairwise(levels)]
    # The slope in the middle of a step, if it changes evenly (Adams-Bashforth).
    weights = [step / (2 * last) if sampler == "dpm++" else 0.0 for last, step in pairwise(steps)]
    return levels, (0.0, *weights)


def noise_levels(sampler: str, evaluations: int) -> tuple[float, ...]:
    """Noise levels, from 1 on, at which a sampler evaluates the network."""
    levels, _ = schedule(sampler, evaluations)
    return levels if sampler == "heun" else levels[:-1]


@torch.no_grad()
def sample_around(
    correction: Correction, mean: torch.Tensor, spread: torch.Tensor, sampler: str,
    evaluations: int | Schedule, start: torch.Tensor,
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
    evaluations : int or Schedule
        Maximum number of evaluations of `correction`, or the schedule itself.
    start : tensor (..., D)
        Standard normal numbers, of which each sample is a function.

    Returns
    -------
    tensor (..., D)
    """
    u, variance = start, spread**2
    plan = schedule(sampler, evaluations) if isinstance(evaluations, int) else evaluations

    def slope(u: torch.Tensor, sigma: float) -> torch.Tensor:
        keep = 1 - sigma
        q = torch.sqrt(keep**2 * variance + sigma**2)
        return correction(torch.addcmul(keep * mean, q, u), sigma) / q

    before = None
    for (sigma, following), weight in zip(pairwise(plan[0]), plan[1]):
        step, now = following - sigma, slope(u, sigma)
        direction = now
        if sampler == "heun":
            direction = (now + slope(u + step * now, following)) / 2
        elif before is not None and weight:
            direction = now + weight * (now - before)
        u, before = u + step * direction, now
    return mean + spread * u
