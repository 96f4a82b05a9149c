"""The loss on the validation split, its work shared by all processes of a training."""

from collections.abc import Callable

import numpy as np
import torch
import torch.distributed

from pix2spec.runtime.distributed import processes
from pix2spec.runtime.random import BatchRng

__all__ = ["refresh_statistics", "to_device", "validation_loss"]

BATCH = 64  # validation pairs a pass: contrastive losses depend on it


def to_device(inputs: dict, device) -> dict:
    """The tensors of a batch, where the model is."""
    return {name: tensor.to(device) for name, tensor in inputs.items()}


def never() -> bool:
    """Nobody asks to stop."""
    return False


@torch.no_grad()
def validation_loss(
    model, val_set, index: np.ndarray, size: int, rank: int = 0, stopped: Callable[[], bool] = never
) -> float | None:
    """Loss on the first `size` validation pairs, always with the same noise and timesteps.

    Processes take batches in turns, and the result does not depend on their number.

    Parameters
    ----------
    model
        In evaluation mode afterwards.
    val_set, index
        Dataset, and positions of the pairs that may be used.
    rank : int
        Of this process.
    stopped : callable
        Asked before each batch, by all processes; once it says True, there is no loss.

    Returns
    -------
    float or None
    """
    device = next(model.parameters()).device
    model.eval()
    index = index[:size]
    sums = torch.zeros(2, dtype=torch.float64, device=device)  # of losses, of pairs
    for first in range(0, len(index), BATCH * processes()):
        if stopped():
            return None
        start = first + BATCH * rank
        chosen = index[start : start + BATCH]
        if len(chosen):
            batch = val_set.batch(chosen, model.columns)
            inputs = model.prepare(batch, val_set.info.image_kind, BatchRng(0, start), train=False)
            loss = model(**to_device(inputs, device)).double()
            sums += torch.stack([loss * len(chosen), torch.ones_like(loss) * len(chosen)])
    if processes() > 1:
        torch.distributed.all_reduce(sums)
    total, count = sums.tolist()
    return total / count


@torch.no_grad()
def refresh_statistics(
    model,
    train_set,
    index: np.ndarray,
    batch_size: int,
    rank: int = 0,
    stopped: Callable[[], bool] = never,
    batches: int = 8,
) -> None:
    """Measure the running statistics of averaged weights: those of the trained weights do not fit them.

    They are those of batch normalisation and of network deconvolution, over some full batches of the
    training set. Izmailov et al. (2018, arXiv:1803.05407), section 3.2. A pure function of the weights and
    the data. Parameters as for `validation_loss`.
    """
    norms = [m for m in model.modules() if hasattr(m, "reset_running_stats")]
    if not norms:
        return
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain mean over the batches
    model.train()
    device = next(model.parameters()).device
    for number in range(min(batches, len(index) // batch_size)):
        if stopped():
            break
        start = number * batch_size
        rows = train_set.batch(index[start + rank : start + batch_size : processes()], model.columns)
        rng = BatchRng(1, number, share=(rank, processes()))
        inputs = model.prepare(rows, train_set.info.image_kind, rng, train=True)
        model(**to_device(inputs, device))
    for norm, momentum in zip(norms, momenta):
        norm.momentum = momentum
