"""Learning rate of the training loop."""

import math

__all__ = ["learning_rate"]


def learning_rate(settings, step: int, per_epoch: int) -> float:
    """Learning rate of a step.

    The schedule ``epochs`` multiplies the rate by `lr_decay` after each epoch, after a linear warm-up if
    `warmup` asks for one. The other schedule is a linear warm-up of 300 steps, times half a cosine that ends
    at zero.
    """
    if settings.lr_schedule == "epochs":
        warm = min(1, (step + 1) / settings.warmup) if settings.warmup else 1
        return settings.lr * warm * settings.lr_decay ** (step // per_epoch)
    return settings.lr * min(1, (step + 1) / 300) * 0.5 * (1 + math.cos(math.pi * step / settings.steps))
