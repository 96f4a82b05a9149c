"""Training objective and samplers of diffusion over pixels, with the schedulers of diffusers.

A *denoiser* here is any function ``(x_t, t) -> network output``. Neither the loss nor the samplers know
which network they serve. Importing this module imports diffusers, which takes a second.
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
    """A diffusers scheduler; training and every sampler share one and the same noise schedule.

    Parameters
    ----------
    sampler : {"ddpm", "ddim", "dpm++"}
        Ancestral sampling of Ho et al. (2020, arXiv:2006.11239), the paper's; deterministic DDIM of Song
        et al. (2021, arXiv:2010.02502); second-order DPM-Solver++ of Lu et al. (2022, arXiv:2211.01095).
    timesteps : int
        T, the number of noise levels in training.
    schedule : str
        diffusers' name; ``"squaredcos_cap_v2"`` is the cosine schedule of Nichol & Dhariwal (2021).
    prediction : {"epsilon", "sample", "v_prediction"}
        What the network predicts.
    clip : bool
        Whether data lie in [-1, 1], so that the predicted x0 may be clipped to it.
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
        # First-order DPM-Solver++ is DDIM (Lu et al., section 4); unlike diffusers' DDIMScheduler it takes
        # any number of steps, also one that does not divide T. The cosine schedule's last levels hold
        # no signal at all, so lambda is clipped, as diffusers advises.
        # Thresholding with a maximum of one clips the predicted x0 to [-1, 1].
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
        Epsilon-predicting network, already given its condition.
    x0, mask, noise : tensor (B, C, L)
        Clean data, 1 where a pixel counts, and the standard normal noise to add.
    t : tensor (B,), int64
        Timesteps.
    valid : tensor (), optional
        Number of valid pixels to divide by; those of `mask` when None. With several processes it is the
        mean over them, so that a pixel counts the same wherever it is.
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
    """Draw ``shape[0]`` samples from noise, in `steps` steps of the scheduler.

    Parameters
    ----------
    denoiser : callable
        ``(x_t, t) -> output``; called with the whole batch.
    shape : tuple
        (B, C, L).
    scheduler
        From `make_scheduler`.
    generators : sequence of torch.Generator, length B
        One a sample, on the CPU: sample k depends on generator k alone, whatever the batch.

    Returns
    -------
    tensor, float32 of `shape`
    """
    generators = list(generators)
    noisy = isinstance(scheduler, DDPMScheduler)  # the others draw nothing after the start
    if noisy:  # named one by one: given a count that does not divide T, diffusers would skip unevenly
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
