"""Loss on the validation split. All processes of a training share the work."""

from collections.abc import Callable

import numpy as np
import torch
import torch.distributed

from pix2spec.runtime.distributed import processes
from pix2spec.runtime.random import BatchRng

__all__ = ["refresh_statistics", "to_device", "validation_loss"]

BATCH = 64  # galaxies in a pass; a contrastive loss depends on this number


def to_device(inputs: dict, device) -> dict:
    """Move the tensors of a batch to a device."""
    return {name: tensor.to(device) for name, tensor in inputs.items()}


def never() -> bool:
    """Return False: the validation runs to its end."""
    return False


@torch.no_grad()
def validation_loss(
    model, val_set, index: np.ndarray, size: int, rank: int = 0, stopped: Callable[[], bool] = never
) -> float | None:
    """Mean loss of the first `size` validation galaxies, always with the same noise and timesteps.

    Processes take batches in turns. The result does not depend on the number of processes.

    Parameters
    ----------
    model : Network
        The function leaves it in evaluation mode.
    val_set : Dataset or Prepared
        The validation set.
    index : array of int
        Positions of the galaxies that may be used.
    size : int
        Number of galaxies to use.
    rank : int
        Number of this process, from 0.
    stopped : callable
        All processes call it before each batch. The validation ends once it returns True.

    Returns
    -------
    float or None
        None if `stopped` ended the validation.
    """
    device = next(model.parameters()).device
    model.eval()
    index = index[:size]
    sums = torch.zeros(2, dtype=torch.float64, device=device)  # sum of losses, number of galaxies
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
    """Compute the running statistics of a model with averaged weights, in place.

    The layers of batch normalisation and of network deconvolution hold statistics of their inputs. Averaged
    weights need statistics of their own: Izmailov et al. (2018, arXiv:1803.05407), section 3.2. They are
    means over up to `batches` full batches of the training set, and depend on the weights and data alone.

    Parameters
    ----------
    model : Network
        The function leaves it in training mode.
    train_set : Dataset or Prepared
        The training set.
    index : array of int
        Positions of the galaxies that may be used.
    batch_size : int
        Galaxies in a batch, over all processes.
    rank, stopped
        As for `validation_loss`.
    batches : int
        Number of batches, at most.
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
