"""A GPU that does not exist: code for one runs on the CPU, and fails where it would fail beside a GPU.

Tensors "on the GPU" hold their values in the memory of the CPU, but say that they lie on ``cuda:0``. An
operation on tensors of both places raises an error, as torch does on a real GPU, and so does ``.numpy()``.
All values are the same as on the CPU, so that results can be compared.
"""

from collections import Counter
from contextlib import contextmanager
from unittest.mock import patch

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._mode_utils import no_dispatch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

__all__ = ["PretendGPU", "pretend_gpu"]

PLACE = torch.device("cuda:0")
MOVES = {"_to_copy", "to", "copy_"}  # the operations that may move a tensor from place to place
WAITS = {"_local_scalar_dense", "item", "nonzero", "equal"}  # those for which the CPU waits for the GPU


class OnGPU(torch.Tensor):
    """A tensor that says that it is on the GPU."""

    @staticmethod
    def __new__(cls, data: torch.Tensor):
        made = torch.Tensor._make_wrapper_subclass(
            cls, data.shape, strides=data.stride(), storage_offset=data.storage_offset(), dtype=data.dtype,
            device=PLACE,
        )  # fmt: skip
        made.data_on_cpu = data
        return made

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        raise RuntimeError(f"{func} outside of `pretend_gpu`")


class PretendGPU(TorchDispatchMode):
    """Runs operations, and counts what moves.

    Attributes
    ----------
    sent, fetched : list of (int, bool)
        For each tensor that moved to the GPU or back: number of elements, and whether the CPU went on at
        once, which needs pinned memory.
    waits : Counter
        Operations for which the CPU waited for the GPU.
    """

    def __init__(self):
        super().__init__()
        self.sent, self.fetched, self.waits = [], [], Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        args, kwargs = list(args), dict(kwargs or {})
        name = func._schema.name.removeprefix("aten::")
        tensors = [x for x in tree_leaves((args, kwargs)) if isinstance(x, torch.Tensor)]
        here = [x for x in tensors if not isinstance(x, OnGPU)]
        is_there = len(here) < len(tensors)
        if name == "_has_compatible_shallow_copy_type":  # modules ask it before they move
            return False
        if name == "is_pinned":
            return _is_pinned(args[0])
        is_pinned = name == "pin_memory" or kwargs.pop("pin_memory", False)
        if is_pinned and is_there:
            raise RuntimeError("only memory of the CPU can be pinned")
        if name in MOVES:
            is_there = self._moved(name, args, kwargs, is_there)
        elif any(isinstance(x, torch.device) and x.type == "cuda" for x in tree_leaves((args, kwargs))):
            is_there = True  # a new tensor
        elif is_there and any(x.dim() for x in here):
            shapes = [(tuple(x.shape), str(x.device)) for x in tensors]
            raise RuntimeError(f"{func} of tensors on two devices: {shapes}")
        self.waits.update([name] if is_there and name in WAITS else [])
        with no_dispatch():
            args, kwargs = tree_map(_to_cpu, (args, kwargs))
            made = args[0].clone() if name == "pin_memory" else func(*args, **kwargs)
            if is_pinned:
                made.is_pretended_pinned = True
            return tree_map(_to_gpu, made) if is_there else made

    def _moved(self, name: str, args: list, kwargs: dict, is_there: bool) -> bool:
        """Count a move; whether the result is on the GPU."""
        if name == "copy_":
            source, target = args[1], isinstance(args[0], OnGPU)
            host, at_once = (
                (source if target else args[0]),
                bool(kwargs.get("non_blocking", args[2:3] == [True])),
            )
        else:
            devices = [x for x in tree_leaves((args, kwargs)) if isinstance(x, torch.device)]
            source, target = args[0], devices[0].type == "cuda" if devices else is_there
            host = source
            at_once = bool(kwargs.get("non_blocking", name == "to" and True in args[2:5]))
        if isinstance(source, OnGPU) != target:
            with no_dispatch():
                size = _to_cpu(source).numel()
            moves = self.sent if target else self.fetched
            moves.append((size, at_once and _is_pinned(host)))
        return target


def _is_pinned(x: torch.Tensor) -> bool:
    return getattr(x, "is_pretended_pinned", False)


def _to_cpu(x):
    if isinstance(x, OnGPU):
        return x.data_on_cpu
    return torch.device("cpu") if isinstance(x, torch.device) else x


def _to_gpu(x):
    return OnGPU(x) if isinstance(x, torch.Tensor) and not isinstance(x, OnGPU) else x


@contextmanager
def pretend_gpu():
    """Context in which ``cuda`` is a device; gives the `PretendGPU`."""
    # Below a fake mode, torch looks for no driver; it must begin before CUDA is said to be there.
    with FakeTensorMode(), PretendGPU() as gpu, torch.inference_mode():
        with patch("torch.cuda.current_stream"), patch("torch.cuda.is_available", return_value=True):
            yield gpu
