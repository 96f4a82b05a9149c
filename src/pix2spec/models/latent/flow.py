"""The conditional rectified flow over latent vectors: its network and loss, and the scale of the latents."""

import math

import torch
import torch.nn.functional as F
from torch import nn

__all__ = ["FlowNetwork", "NormalScores", "flow_loss", "logit_normal"]


class NormalScores(nn.Module):
    """Monotone maps that give each latent a standard normal distribution.

    Redshifts, coefficients and line fluxes differ in scale and have heavy tails. After the map, the flow
    needs to learn only how they depend on each other. Each map is piecewise linear between the quantiles of
    the training set. Beyond the quantiles it has the mean slope of the outermost tenth, or that of the whole
    range if this gives smaller scores.

    Parameters
    ----------
    dimension : int
        Length D of the latent vectors.
    knots : int
        Number of quantiles.
    """

    MAX_SIGMAS = 3.5  # standard deviations

    def __init__(self, dimension: int, knots: int = 141):
        super().__init__()
        self.register_buffer("knots", torch.zeros(dimension, knots))
        scores = torch.linspace(-self.MAX_SIGMAS, self.MAX_SIGMAS, knots, device="cpu")
        self.register_buffer("scores", scores, persistent=False)

    def fit(self, values: torch.Tensor) -> "NormalScores":
        """Fit the maps to the latent vectors (n, D) of the training set."""
        levels = torch.special.ndtr(self.scores.double())
        knots = torch.quantile(values.double()[:200_000], levels, dim=0).T
        # Repeated values give equal quantiles: keep the knots apart, also in float32.
        least = 1e-5 * (knots[:, -1:] - knots[:, :1]) + 1e-6 * (knots.abs().amax(1, keepdim=True) + 1e-3)
        rising = torch.cat([torch.zeros_like(least), (knots.diff(dim=1)).clamp(min=least)], dim=1).cumsum(1)
        self.knots = (knots[:, :1] + rising).float()
        return self

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Normal scores (..., n, D) of vectors (..., n, D)."""
        return self._map(values, self.knots, self.scores.expand_as(self.knots), torch.minimum)

    def inverse(self, scores: torch.Tensor) -> torch.Tensor:
        """Vectors (..., n, D) of normal scores (..., n, D)."""
        return self._map(scores, self.scores.expand_as(self.knots), self.knots, torch.maximum)

    @staticmethod
    def _map(x, xs, ys, gentler):
        n, x = xs.shape[-1], x.mT.contiguous()
        high = torch.searchsorted(xs.contiguous(), x).clamp_(1, n - 1)
        low = high - 1
        x0, y0 = xs.gather(-1, low), ys.gather(-1, low)
        inside = y0 + (x - x0) * (ys.gather(-1, high) - y0) / (xs.gather(-1, high) - x0)
        rise, run, tail = ys[..., -1:] - ys[..., :1], xs[..., -1:] - xs[..., :1], n // 10
        low_slope = (ys[..., tail, None] - ys[..., :1]) / (xs[..., tail, None] - xs[..., :1])
        high_slope = (ys[..., -1:] - ys[..., -1 - tail, None]) / (xs[..., -1:] - xs[..., -1 - tail, None])
        mean_slope = rise / run  # values may be dense at the ends
        below = ys[..., :1] + (x - xs[..., :1]) * gentler(low_slope, mean_slope)
        above = ys[..., -1:] + (x - xs[..., -1:]) * gentler(high_slope, mean_slope)
        return torch.where(x < xs[..., :1], below, torch.where(x > xs[..., -1:], above, inside)).mT


class ResidualBlock(nn.Module):
    """Layer norm, which the condition shifts and scales, and two linear maps (as in DiT)."""

    def __init__(self, width: int):
        super().__init__()
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.modulation = nn.Linear(width, 3 * width)
        self.layers = nn.Sequential(nn.Linear(width, 2 * width), nn.SiLU(), nn.Linear(2 * width, width))
        nn.init.zeros_(self.modulation.weight)
        nn.init.zeros_(self.modulation.bias)

    def forward(self, x: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
        gain, shift, gate = self.modulation(c).chunk(3, dim=-1)
        return x + (1 + gate) * self.layers(self.norm(x) * (1 + gain) + shift)


class FlowNetwork(nn.Module):
    """Velocity of the flow from latents to noise: ``(x, sigma, condition) -> noise - latents``.

    Parameters
    ----------
    dimension : int
        Length D of the latent vectors.
    condition : int
        Length of the condition vectors.
    width, depth : int
        Width of the residual network, and number of its blocks.
    """

    def __init__(self, dimension: int, condition: int, width: int = 320, depth: int = 5):
        super().__init__()
        self.inlet = nn.Linear(dimension, width)
        self.register_buffer(
            "frequencies", torch.exp(torch.linspace(0, 6, 32, device="cpu")), persistent=False
        )
        self.time = nn.Linear(64, width)
        self.condition = nn.Linear(condition, width)
        self.blocks = nn.ModuleList(ResidualBlock(width) for _ in range(depth))
        self.outlet = nn.Linear(width, dimension)
        nn.init.zeros_(self.outlet.weight)

    def forward(self, x: torch.Tensor, sigma: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
        """Velocities (B, D) at x (B, D), noise levels sigma (B,) in [0, 1], conditions (B, C)."""
        angle = sigma[:, None] * self.frequencies
        c = F.silu(self.condition(condition) + self.time(torch.cat([angle.sin(), angle.cos()], dim=1)))
        h = self.inlet(x)
        for block in self.blocks:
            h = block(h, c)
        return self.outlet(h)


def flow_loss(network, x0, condition, sigma, noise, weights=1.0) -> torch.Tensor:
    """Loss of a rectified flow (Liu et al. 2022, arXiv:2209.03003) with straight paths from data to noise.

    On the path ``x = (1 - sigma) x0 + sigma noise``, the velocity in sigma is ``noise - x0``.

    Parameters
    ----------
    network : FlowNetwork
        Velocity of the flow.
    x0, noise : tensor (B, D)
        Data, and standard normal noise.
    condition : tensor (B, C)
        Conditions.
    sigma : tensor (B,)
        Noise levels in [0, 1].
    weights : tensor (D,)
        Weight of each dimension. The best velocity does not depend on it.

    Returns
    -------
    tensor ()
    """
    x = (1 - sigma[:, None]) * x0 + sigma[:, None] * noise
    return (weights * (network(x, sigma, condition) - (noise - x0)).square()).mean()


def logit_normal(normal: torch.Tensor) -> torch.Tensor:
    """Turn normal numbers into noise levels, mostly near 0.5 (Esser et al. 2024, arXiv:2403.03206)."""
    return torch.sigmoid(normal * math.sqrt(1.5))
