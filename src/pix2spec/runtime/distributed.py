"""What the processes of one training tell each other, so that they give what a single one would.

Gradients are averaged by torch's DistributedDataParallel. What is more than a mean over objects is here:
statistics and sets that span the whole batch. The functions are differentiable, must be called by all
processes alike, and do nothing where there is one process. Each process holds equally many objects.
"""

import os

import torch
import torch.distributed
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm  # what torch's own variants derive from

from pix2spec.errors import InputError

__all__ = ["any_process", "check_launch", "gather", "mean_over_processes", "processes", "share_statistics"]


def processes() -> int:
    """Number of processes that train together."""
    available = torch.distributed.is_available() and torch.distributed.is_initialized()
    return torch.distributed.get_world_size() if available else 1


def gather(x: torch.Tensor) -> torch.Tensor:
    """Rows (N, ...) of all processes, of this one's (n, ...); in the order of processes."""
    if processes() == 1:
        return x
    from torch.distributed.nn.functional import all_gather

    return torch.cat(all_gather(x))


def mean_over_processes(x: torch.Tensor) -> torch.Tensor:
    """Mean of a tensor over processes."""
    if processes() == 1:
        return x
    from torch.distributed.nn.functional import all_reduce

    return all_reduce(x) / processes()


def any_process(flag: bool, device: torch.device) -> bool:
    """Whether any process has the flag raised; all of them get the same answer."""
    if processes() == 1:
        return flag
    count = torch.tensor(float(flag), device=device)
    torch.distributed.all_reduce(count)
    return count.item() > 0


def share_statistics(model: nn.Module, device: torch.device) -> nn.Module:
    """Let batch normalisation take its statistics from the objects of all processes."""
    if processes() == 1:
        return model
    if device.type == "cuda":
        return nn.SyncBatchNorm.convert_sync_batchnorm(model)
    return _shared(model)


def _shared(module: nn.Module) -> nn.Module:
    """The module with a `SharedBatchNorm` in place of each batch normalisation, with its numbers."""
    for name, child in module.named_children():
        setattr(module, name, _shared(child))
    if type(module) not in (nn.BatchNorm1d, nn.BatchNorm2d):
        return module
    settings = module.eps, module.momentum, module.affine, module.track_running_stats
    shared = SharedBatchNorm(module.num_features, *settings)
    shared.load_state_dict(module.state_dict())
    return shared.train(module.training)


class SharedBatchNorm(_BatchNorm):
    """Batch normalisation over the objects of all processes, on CPUs: torch's own needs GPUs."""

    def _check_input_dim(self, x: torch.Tensor) -> None:
        pass  # any number of axes after (B, channel)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Normalised x (B, channel, ...)."""
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
    """Refuse batches that the processes cannot share equally, and a launcher that lost all but one.

    Parameters
    ----------
    sizes : dict
        Objects in a batch, by name of the setting.
    """
    # Without GPUs and MPI, accelerate starts one process, whatever number it is asked for; the port that
    # it chose for their meeting is all that is left of them.
    launched = {"ACCELERATE_MIXED_PRECISION", "MASTER_PORT"} <= os.environ.keys()
    if launched and "WORLD_SIZE" not in os.environ:
        what = "it started one process where several were asked for, as it does on CPUs without MPI"
        raise InputError("accelerate launch", what, "torchrun --nproc-per-node N -m pix2spec train ...")
    for name, size in sizes.items():
        if size % processes():
            what = f"{size} objects cannot be shared equally by {processes()} processes"
            raise InputError(name, what, "use a multiple of their number")
