"""Collective operations for data-parallel training.

With them, N processes compute the same loss as one process on the full batch. torch's DistributedDataParallel
averages gradients over processes. This module has the operations that need more than this mean, such as
statistics over the full batch. The functions are differentiable. All processes must call them in the same
order. With one process, they do nothing. All processes hold the same number of objects.
"""

import os

import torch
import torch.distributed
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm  # base class of torch's batch normalisations

from pix2spec.errors import InputError

__all__ = ["any_process", "check_launch", "gather", "mean_over_processes", "processes", "share_statistics"]


def processes() -> int:
    """Number of processes that train together."""
    available = torch.distributed.is_available() and torch.distributed.is_initialized()
    return torch.distributed.get_world_size() if available else 1


def gather(x: torch.Tensor) -> torch.Tensor:
    """Concatenate the tensors (n, ...) of all processes, in the order of processes: tensor (N, ...)."""
    if processes() == 1:
        return x
    from torch.distributed.nn.functional import all_gather

    return torch.cat(all_gather(x))


def mean_over_processes(x: torch.Tensor) -> torch.Tensor:
    """Mean of a tensor (...) over processes: tensor (...)."""
    if processes() == 1:
        return x
    from torch.distributed.nn.functional import all_reduce

    return all_reduce(x) / processes()


def any_process(flag: bool, device: torch.device) -> bool:
    """Whether `flag` is True in any process. All processes get the same answer."""
    if processes() == 1:
        return flag
    count = torch.tensor(float(flag), device=device)
    torch.distributed.all_reduce(count)
    return count.item() > 0


def share_statistics(model: nn.Module, device: torch.device) -> nn.Module:
    """Make the batch normalisations of a model compute their statistics over the objects of all processes."""
    if processes() == 1:
        return model
    if device.type == "cuda":
        return nn.SyncBatchNorm.convert_sync_batchnorm(model)
    return _shared(model)


def _shared(module: nn.Module) -> nn.Module:
    """Replace each batch normalisation of a module by a `SharedBatchNorm` with the same state."""
    for name, child in module.named_children():
        setattr(module, name, _shared(child))
    if type(module) not in (nn.BatchNorm1d, nn.BatchNorm2d):
        return module
    settings = module.eps, module.momentum, module.affine, module.track_running_stats
    shared = SharedBatchNorm(module.num_features, *settings)
    shared.load_state_dict(module.state_dict())
    return shared.train(module.training)


class SharedBatchNorm(_BatchNorm):
    """Batch normalisation over the objects of all processes, for CPUs. torch's version needs GPUs."""

    def _check_input_dim(self, x: torch.Tensor) -> None:
        pass  # Any number of axes may follow (B, channel).

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Normalise x (B, channel, ...)."""
        if not self.training:
            return super().forward(x)
        axes, shape = (0, *range(2, x.ndim)), (1, -1, *[1] * (x.ndim - 2))
        mean = mean_over_processes(x.mean(axes))
        centred = x - mean.view(shape)
        variance = mean_over_processes(centred.square().mean(axes))
        with torch.no_grad():
            self.num_batches_tracked += 1
            share = self.momentum or 1 / float(self.num_batches_tracked)
            n = processes() * x.numel() / x.shape[1]
            self.running_mean.lerp_(mean, share)
            self.running_var.lerp_(variance * n / (n - 1), share)
        y = centred * (variance + self.eps).rsqrt().view(shape)
        return y * self.weight.view(shape) + self.bias.view(shape) if self.affine else y


def check_launch(sizes: dict[str, int]) -> None:
    """Check that the launcher started all processes, and that they can share batches equally.

    Parameters
    ----------
    sizes : dict of str to int
        Name of each setting to its number of objects in a batch.

    Raises
    ------
    InputError
        If accelerate started one process instead of several, or a batch cannot be shared equally.
    """
    # Without GPUs and MPI, accelerate starts one process, whatever number is requested. Only the port for the
    # communication shows that several were requested.
    launched = {"ACCELERATE_MIXED_PRECISION", "MASTER_PORT"} <= os.environ.keys()
    if launched and "WORLD_SIZE" not in os.environ:
        what = "it started one process instead of several, as it does on CPUs without MPI"
        hint = "use torchrun --nproc-per-node N -m pix2spec train ..."
        raise InputError("accelerate launch", what, hint)
    for name, size in sizes.items():
        if size % processes():
            what = f"{size} objects cannot be shared equally by {processes()} processes"
            raise InputError(name, what, "use a multiple of the number of processes")
