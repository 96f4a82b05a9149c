"""The steps of a training that continues where it was killed."""

import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch.optim.swa_utils import AveragedModel

from pix2spec.training.checkpoint import load_checkpoint, save_checkpoint
from pix2spec.training.redshift.optimizer import MuonAdam

__all__ = ["EMA", "moving_average", "train_steps"]

EMA, DECAY = 0.999, 1e-3
CHECKPOINT_SECONDS = 60
REPORTED = 200  # steps between lines of the report


def train_steps(
    trained: torch.nn.Module, loss_of: Callable[[int], torch.Tensor], rate_of: Callable[[int], float],
    out: Path, steps: int, seed: int, is_late: Callable[[], bool], report=print,
) -> Path:  # fmt: skip
    """Train a module by `MuonAdam`; continue where a killed training stopped.

    Parameters
    ----------
    trained : Module
    loss_of, rate_of : callable
        From the number of a step to its loss, and to its learning rate.
    out : Path
        Folder of the checkpoint, with the average of the weights.
    steps, seed : int
        A step depends on the seed and its number alone.
    is_late : callable
        Whether the time is over: then only one step is done.
    """
    out.mkdir(parents=True, exist_ok=True)
    average = AveragedModel(trained, multi_avg_fn=moving_average)
    optimizer = MuonAdam(trained.parameters(), lr=rate_of(0), weight_decay=DECAY)
    step, seconds = 0, 0.0
    if (out / "checkpoint.safetensors").exists():
        step, seconds = load_checkpoint(out / "checkpoint.safetensors", trained, average, optimizer)
    began = saved = time.monotonic()
    running, first = None, step
    trained.train()
    while step < steps and not (is_late() and step > first):
        torch.manual_seed(seed * 1_000_003 + step)
        for group in optimizer.param_groups:
            group["lr"] = rate_of(step)
        loss = loss_of(step)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained.parameters(), 1.0)
        optimizer.step()
        average.update_parameters(trained)
        step += 1
        running = loss.item() if running is None else 0.99 * running + 0.01 * loss.item()
        if step % REPORTED == 0:
            report(f"{out.name} step {step} loss {running:.4f} {seconds + time.monotonic() - began:.0f} s")
        if step == steps or is_late() or time.monotonic() - saved > CHECKPOINT_SECONDS:
            saved = time.monotonic()
            save_checkpoint(out, trained, average, optimizer, step, seconds + saved - began)
    return out / "checkpoint.safetensors"


def moving_average(average: list, now: list, steps: int) -> None:
    """Move the averaged weights towards those of now: faster at first, when they change fast."""
    share = 1 - min(EMA, (1 + int(steps)) / (10 + int(steps)))
    for a, b in zip(average, now):
        a.lerp_(b, share)
