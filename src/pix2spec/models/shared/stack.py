"""Several networks of one shape as one, whose tensors have a first axis of networks.

The networks of an ensemble are small: for a few galaxies, most of the time would go into calls of many small
operations. A stack needs as many calls as one network.
"""

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

__all__ = ["Linears", "part_of", "stacked"]


class Linears(nn.Module):
    """Linear maps of M networks.

    Parameters
    ----------
    weight : Tensor (M, in, out)
    bias : Tensor (M, 1, out)
    """

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor):
        super().__init__()
        self.weight, self.bias = weight.contiguous(), bias  # no buffers, which take longer to find

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps (M, ..., out) of x (M, ..., in), or of x (1, ..., in) that all networks share."""
        count, shape = self.weight.shape[0], x.shape
        flat = x if x.dim() == 3 else x.flatten(1, -2)
        flat = flat if shape[0] == count else flat.expand(count, -1, -1)
        made = torch.baddbmm(self.bias, flat, self.weight)
        return made if x.dim() == 3 else made.view(count, *shape[1:-1], -1)

    __call__ = forward  # without the hooks of modules: a galaxy needs a hundred calls


def stacked(networks: Sequence[Any], without: Sequence[str] = ()) -> Any:
    """Networks of one shape as one: inputs and outputs have a first axis, of length M or 1.

    Only modules that count axes from the last one can be stacked. Buffers that are not persistent are
    constants, which all networks share.

    Parameters
    ----------
    networks : sequence of Module
        M of them. The stack does not follow later changes of their tensors.
    without : sequence of str
        Names of modules that the stack is not to have.
    """
    return _joined(networks, torch.stack, without)


def part_of(stack: Any, numbers: slice) -> Any:
    """Some networks of a stack. The tensors are views of those of the stack."""
    return _joined([stack], lambda tensors: tensors[0][numbers])


def _joined(modules, join, without: Sequence[str] = ()):
    first = modules[0]
    if isinstance(first, nn.Linear):
        weights, biases = zip(*((one.weight.detach().mT, one.bias.detach()[None]) for one in modules))
        return Linears(join(weights), join(biases))
    if isinstance(first, Linears):
        return Linears(join([one.weight for one in modules]), join([one.bias for one in modules]))
    made = copy.copy(first)
    constants = first._non_persistent_buffers_set
    made._parameters = {}
    made._buffers = {
        name: values
        if values is None or name in constants
        else join([getattr(one, name).detach() for one in modules])
        for name, values in (first._parameters | first._buffers).items()
    }
    made._modules = {
        name: _joined([getattr(one, name) for one in modules], join)
        for name in first._modules
        if name not in without
    }
    return made.eval()
