"""Several networks as one: each answers as it does alone."""

import torch
from tests.support.tiny import tiny_spectrum_model
from torch import nn

from pix2spec.models.shared.stack import part_of, stacked


class Small(nn.Module):
    """A network with a map, a parameter, a buffer, and a constant."""

    def __init__(self, seed: int):
        super().__init__()
        torch.manual_seed(seed)
        self.map = nn.Sequential(nn.Linear(3, 5), nn.SiLU(), nn.Linear(5, 2))
        self.level = nn.Parameter(torch.randn(1, 2))
        self.register_buffer("scale", torch.rand(1, 2))
        self.register_buffer("constant", torch.tensor(2.0), persistent=False)

    def forward(self, x):
        return self.constant * self.map(x) * self.scale + self.level


def test_each_network_of_a_stack_answers_as_it_does_alone():
    networks = [Small(seed) for seed in range(3)]
    stack, x = stacked(networks), torch.randn(3, 7, 3)
    torch.testing.assert_close(stack(x), torch.stack([one(part) for one, part in zip(networks, x)]))
    shared = stack(x[:1])
    torch.testing.assert_close(shared, torch.stack([one(x[0]) for one in networks]))
    torch.testing.assert_close(part_of(stack, slice(1, 2))(x[:1]), shared[1:2])
    inner = x.unflatten(1, (1, 7))
    torch.testing.assert_close(stack.map(inner).flatten(1, 2), stack.map(x))


def test_a_stack_is_no_copy_of_the_networks_it_came_from():
    networks = [Small(seed) for seed in range(2)]
    stack, x = stacked(networks), torch.randn(1, 4, 3)
    before = stack(x)
    with torch.no_grad():
        networks[0].level.add_(1)
    torch.testing.assert_close(stack(x), before)
    assert not list(stack.parameters()) and not stack(x).requires_grad


def test_a_stack_of_spectrum_networks_scores_as_each_of_them():
    networks = tiny_spectrum_model(2).networks
    stack = stacked(list(networks), without=["noise"])
    values = torch.randn(2, 9, networks[0].dimension)
    for name in ("forward", "inverse"):
        expected = torch.stack([getattr(one.normal, name)(part) for one, part in zip(networks, values)])
        torch.testing.assert_close(getattr(stack.normal, name)(values), expected)
    assert not hasattr(stack, "noise") and hasattr(networks[0], "noise")
