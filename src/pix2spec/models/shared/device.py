"""Moves between the CPU and the device on which networks compute.

Redshifts and random numbers are made on the CPU, so that they are the same on every device. They move once a
batch, through pinned memory, while the CPU goes on (https://docs.pytorch.org/docs/stable/notes/cuda.html,
"Use pinned memory buffers"). On the CPU, nothing moves or is copied.
"""

import numpy as np
import torch

__all__ = ["to_device", "to_host"]


def to_device(values: torch.Tensor | np.ndarray, device: torch.device | str) -> torch.Tensor:
    """A tensor or array of the CPU on a device, which need not be there yet when this returns."""
    tensor = torch.from_numpy(values) if isinstance(values, np.ndarray) else values
    if tensor.is_cuda or torch.device(device).type != "cuda":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


def to_host(*tensors: torch.Tensor) -> list[np.ndarray]:
    """Tensors of one device as arrays, for which the CPU waits once."""
    if not tensors[0].is_cuda:
        return [tensor.numpy() for tensor in tensors]
    made = [torch.empty(t.shape, dtype=t.dtype, pin_memory=True).copy_(t, non_blocking=True) for t in tensors]
    torch.cuda.current_stream(tensors[0].device).synchronize()
    return [tensor.numpy() for tensor in made]
