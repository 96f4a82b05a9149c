"""Training loss and samplers of diffusion over pixels, with the schedulers of the package diffusers.

A *denoiser* is any function ``(x_t, t) -> network output``: the loss and the samplers work with any network.
Importing this module imports diffusers, which takes a second.
"""

from collections.abc import Callable, Sequence

import torch
from diffusers import DDPMScheduler, DPMSolverMultistepScheduler
from diffusers.utils.torch_utils import randn_tensor

from pix2spec.errors import InputError
from pix2spec.models.shared.settings import PIXEL_SAMPLERS

__all__ = ["make_scheduler", "sample", "training_loss"]

Denoiser = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def make_scheduler(
    sampler: str = "ddpm",
    timesteps: int = 250,
    schedule: str = "squaredcos_cap_v2",
    prediction: str = "epsilon",
    clip: bool = True,
):
    """Make a diffusers scheduler. Training and all samplers use the same noise schedule.

    Parameters
    ----------
    sampler : {"ddpm", "ddim", "dpm++"}
        Ancestral sampling of Ho et al. (2020, arXiv:2006.11239), which the paper uses; deterministic DDIM of
        Song et al. (2021, arXiv:2010.02502); or second-order DPM-Solver++ of Lu et al. (2022,
        arXiv:2211.01095).
    timesteps : int
        Number T of noise levels in training.
    schedule : str
        diffusers' name of the schedule; ``"squaredcos_cap_v2"`` is the cosine schedule of Nichol & Dhariwal
        (2021).
    prediction : {"epsilon", "sample", "v_prediction"}
        Quantity that the network predicts.
    clip : bool
        Clip the predicted x0 to [-1, 1]. Use it for data in this range.

    Raises
    ------
    InputError
        If the sampler is unknown.
    """
    common = {
        "num_train_timesteps": timesteps,
        "beta_schedule": schedule,
        "prediction_type": prediction,
        "timestep_spacing": "trailing",
    }
    if sampler == "ddpm":
        return DDPMScheduler(**common, clip_sample=clip)
    if sampler in ("ddim", "dpm++"):
        # First-order DPM-Solver++ is DDIM (Lu et al., section 4). Unlike diffusers' DDIMScheduler, it allows
        # a number of steps that does not divide T. The last levels of the cosine schedule hold no signal:
        # diffusers recommends to clip lambda. Thresholding with a maximum of one clips x0 to [-1, 1].
        return DPMSolverMultistepScheduler(
            **common,
            solver_order=1 if sampler == "ddim" else 2,
            lambda_min_clipped=-5.1,
            thresholding=clip,
            sample_max_value=1.0,
        )
    raise InputError("`sampler`", f"{sampler!r} is not one of {', '.join(PIXEL_SAMPLERS)}")


def training_loss(
    denoiser: Denoiser,
    x0: torch.Tensor,
    mask: torch.Tensor,
    t: torch.Tensor,
    noise: torch.Tensor,
    scheduler: DDPMScheduler,
    valid: torch.Tensor | None = None,
) -> torch.Tensor:
    """Mean squared error of the predicted noise over valid pixels (paper, Eqs. 1 and 2).

    Parameters
    ----------
    denoiser : callable
        Network that predicts the noise epsilon. It already has its condition.
    x0, mask, noise : tensor (B, C, L)
        Noise-free data, a mask that is 1 for valid pixels, and the standard normal noise to add.
    t : tensor (B,), int64
        Timesteps.
    scheduler : DDPMScheduler
        Noise schedule.
    valid : tensor (), optional
        Number of valid pixels to divide by, by default that of `mask`. For several processes, give the mean
        over processes: all pixels then have the same weight.

    Returns
    -------
    tensor ()
    """
    error = denoiser(scheduler.add_noise(x0, noise, t), t) - noise
    valid = mask.sum() if valid is None else valid
    return (error.square() * mask).sum() / valid.clamp(min=1)


@torch.no_grad()
def sample(
    denoiser: Denoiser,
    shape: tuple[int, ...],
    scheduler,
    steps: int,
    generators: Sequence[torch.Generator],
    device: torch.device | str = "cpu",
) -> torch.Tensor:
    """Draw ``shape[0]`` samples from noise in a given number of steps.

    Parameters
    ----------
    denoiser : callable
        ``(x_t, t) -> output``, for the whole batch.
    shape : tuple
        (B, C, L).
    scheduler
        A scheduler of `make_scheduler`.
    steps : int
        Number of steps.
    generators : sequence of torch.Generator, length B
        One generator per sample, on the CPU. The noise of sample k comes from generator k alone.
    device : torch.device or str
        Device of the samples.

    Returns
    -------
    tensor, float32 of `shape`
    """
    generators = list(generators)
    noisy = isinstance(scheduler, DDPMScheduler)  # the other samplers add no noise after the start
    if noisy:  # list the timesteps: diffusers spaces them unevenly if `steps` does not divide T
        total = scheduler.config.num_train_timesteps
        spaced = [total - 1 - (k * total) // steps for k in range(steps)]
        scheduler.set_timesteps(timesteps=spaced, device=device)
    else:
        scheduler.set_timesteps(steps, device=device)
    x = randn_tensor(shape, generator=generators, device=torch.device(device))
    x = x * scheduler.init_noise_sigma
    for t in scheduler.timesteps:
        output = denoiser(scheduler.scale_model_input(x, t), t.expand(shape[0]))
        x = scheduler.step(output, t, x, **({"generator": generators} if noisy else {})).prev_sample
    return x
