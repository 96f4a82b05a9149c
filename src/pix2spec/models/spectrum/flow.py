"""The flow over a galaxy's coefficients, around the best linear answer.

    measurements, image ── GalaxyNetwork ──► condition, one a galaxy ─────────┐
    measurements, redshift ── fit_linear ──► linear answer, one a candidate ──┴► SpectrumFlow ──► coefficients

The velocity is that of a Gaussian with the mean and spread of the linear answer, plus what the network adds:
it only has to learn in what galaxies are not Gaussian.
"""

import math

import torch
import torch.nn.functional as F
from torch import nn

from pix2spec.models.shared.measurements import SetEncoder, Tokens

__all__ = ["LEAST_SPREAD", "GalaxyNetwork", "SpectrumFlow", "gaussian_velocity", "redshift_features"]

LEAST_SPREAD = 0.1  # of the linear answer, in normal scores: beyond, it trusts itself too much
N_FREQUENCIES = 6  # of the features of a redshift


def gaussian_velocity(x, sigma, mean, spread) -> torch.Tensor:
    """Velocity of the rectified flow of Gaussian data N(mean, spread^2), in closed form.

    Parameters
    ----------
    x, mean, spread : tensor (B, D)
    sigma : tensor (B, 1)
        Noise levels.
    """
    keep, variance = 1 - sigma, spread**2
    return (x * (sigma - keep * variance) - sigma * mean) / (keep**2 * variance + sigma**2)


class GalaxyNetwork(nn.Module):
    """From the measurements and the picture of a galaxy to one vector (width,).

    Parameters
    ----------
    width : int
        Length of the vector.
    image : int
        Length of the vectors that describe pictures.
    """

    def __init__(self, width: int, image: int):
        super().__init__()
        self.measured = SetEncoder(width, queries=24, values=16, width=256)
        self.image = nn.Linear(image, width)
        self.absent = nn.Parameter(0.02 * torch.randn(2, width, device="cpu"))
        self.mix = nn.Sequential(nn.SiLU(), nn.Linear(2 * width, width), nn.SiLU(), nn.Linear(width, width))

    def forward(
        self, tokens: Tokens, image: torch.Tensor, has_image: torch.Tensor, prepared: tuple | None = None
    ) -> torch.Tensor:
        """Vectors (N, width) of galaxies with `tokens`; pictures (N, image) count where `has_image` (N,).

        `prepared` may hold what `SetEncoder.prepare` says of the tokens.
        """
        has_light = tokens.seen.any(-1, keepdim=True)
        light = torch.where(has_light, self.measured(tokens, prepared), self.absent[..., :1, :])
        picture = torch.where(has_image[..., None], self.image(image), self.absent[..., 1:, :])
        return self.mix(torch.cat([light, picture], -1))


class Block(nn.Module):
    """Layer norm, which the condition shifts and scales, and two linear maps (as in DiT)."""

    def __init__(self, width: int):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(width, 2 * width), nn.SiLU(), nn.Linear(2 * width, width))

    def forward(self, x: torch.Tensor, gain, shift, gate) -> torch.Tensor:
        inner, _, outer = self.layers  # called one by one: generation spends its time in small calls
        normed = torch.layer_norm(x, x.shape[-1:])
        return torch.addcmul(x, gate, outer(F.silu(inner(torch.addcmul(shift, normed, gain)))))


class SpectrumFlow(nn.Module):
    """Velocity of the flow from coefficients to noise.

    Parameters
    ----------
    dimension : int
        Number D of coefficients.
    features : int
        Length of the features of a candidate.
    width, depth : int
        Width of the residual network, and number of its blocks.
    """

    def __init__(self, dimension: int, features: int, width: int, depth: int):
        super().__init__()
        self.width, self.depth = width, depth
        self.inlet = nn.Linear(dimension, width)
        self.known = nn.Sequential(nn.Linear(features, width), nn.SiLU(), nn.Linear(width, width))
        frequencies = torch.exp(torch.linspace(0, 6, 32, device="cpu"))
        self.register_buffer("frequencies", frequencies, persistent=False)
        self.time = nn.Linear(64, width)
        self.modulation = nn.Linear(width, 3 * width * depth)
        self.blocks = nn.ModuleList(Block(width) for _ in range(depth))
        self.outlet = nn.Linear(width, dimension)
        for layer in (self.modulation, self.outlet):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def modulate(self, condition: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        """Gains, shifts, gates (..., G, depth, 3, width) of conditions (..., G, width) at levels (..., G)."""
        angle = sigma[..., None] * self.frequencies
        c = F.silu(condition + self.time(torch.cat([angle.sin(), angle.cos()], -1)))
        return self.modulation(c).unflatten(-1, (self.depth, 3, self.width))

    def forward(self, x, sigma, known, modulation, mean, spread) -> torch.Tensor:
        """Velocities.

        Parameters
        ----------
        x, mean, spread : tensor (G, n, D)
            Noisy coefficients of n candidates of G galaxies; the best linear answer.
        sigma : tensor (G,)
            Noise levels.
        known : tensor (G, n, width)
            Features, from `SpectrumFlow.known`.
        modulation : tensor (G, depth, 3, width)
            From `modulate`.

        Returns
        -------
        tensor (G, n, D)
        """
        return self.correction(x, known, modulation) + gaussian_velocity(
            x, sigma[:, None, None], mean, spread
        )

    def correction(self, x: torch.Tensor, known: torch.Tensor, modulation: torch.Tensor) -> torch.Tensor:
        """What the network adds to the velocity of the linear answer; the parameters are as for `forward`."""
        gain, shift, gate = modulation[..., None, :].unbind(-3)
        gains, shifts, gates = (1 + gain).unbind(-3), shift.unbind(-3), (1 + gate).unbind(-3)
        h = self.inlet(x) + known
        for block, *how in zip(self.blocks, gains, shifts, gates):
            h = block(h, *how)
        return self.outlet(h)


def redshift_features(zeta: torch.Tensor) -> torch.Tensor:
    """Features (..., 1 + 2 N_FREQUENCIES) of log10(1 + z)."""
    angle = zeta[..., None] * (2 * math.pi / 0.46) * 2.0 ** torch.arange(N_FREQUENCIES, device=zeta.device)
    return torch.cat([10 * zeta[..., None], angle.sin(), angle.cos()], -1)
