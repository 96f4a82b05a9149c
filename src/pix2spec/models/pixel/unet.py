"""The paper's denoiser: a 1D U-Net over the pixels of a spectrum, with one of two kinds of conditioning.

Doorenbos et al. (2022, arXiv:2211.05556), section 2.1 and Table 1. The text does not state all widths, blocks
and places of attention. Here they follow the sizes of the authors' networks; `docs/explanation/paper.md`
lists these choices.
"""

import math

import torch
import torch.nn.functional as F
from torch import nn

__all__ = ["UNet1D", "timestep_embedding"]


def timestep_embedding(t: torch.Tensor, width: int) -> torch.Tensor:
    """Sinusoidal features (B, width) of timesteps (B,), as in Ho et al. (2020, arXiv:2006.11239)."""
    frequency = torch.exp(torch.linspace(0, -math.log(1e4), width // 2, device=t.device))
    angle = t[:, None].float() * frequency
    return torch.cat([angle.sin(), angle.cos()], dim=-1)


class ResidualBlock(nn.Module):
    """Two convolutions with group norm and ReLU. The timestep is added after the first one."""

    def __init__(self, channels_in: int, channels: int, time_width: int):
        super().__init__()
        self.conv1 = nn.Conv1d(channels_in, channels, 3, padding=1)
        self.norm1 = nn.GroupNorm(8, channels)
        self.time = nn.Linear(time_width, channels)
        self.conv2 = nn.Conv1d(channels, channels, 3, padding=1)
        self.norm2 = nn.GroupNorm(8, channels)
        self.skip = nn.Conv1d(channels_in, channels, 1) if channels_in != channels else nn.Identity()

    def forward(self, x: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
        h = F.relu(self.norm1(self.conv1(x)), inplace=True) + self.time(time)[:, :, None]
        return F.relu(self.norm2(self.conv2(h)), inplace=True) + self.skip(x)


class Attention(nn.Module):
    """Multi-head attention of tokens (B, T, C) to themselves or to a context."""

    def __init__(self, width: int, context_width: int, head_width: int = 64):
        super().__init__()
        self.heads = max(1, width // head_width)
        self.query = nn.Linear(width, width, bias=False)
        self.key_value = nn.Linear(context_width, 2 * width, bias=False)
        self.out = nn.Linear(width, width)

    def forward(self, x: torch.Tensor, context: torch.Tensor) -> torch.Tensor:
        def split(y):
            return y.unflatten(-1, (self.heads, -1)).transpose(1, 2)

        key, value = self.key_value(context).chunk(2, dim=-1)
        y = F.scaled_dot_product_attention(split(self.query(x)), split(key), split(value))
        return self.out(y.transpose(1, 2).flatten(2))


class TransformerBlock(nn.Module):
    """Self-attention along the spectrum, cross-attention to the image tokens, gated feed-forward layer.

    Rombach et al. (2022, arXiv:2112.10752), section 3.3. The weights of the last layer start at zero, and so
    the block starts as the identity.
    """

    def __init__(self, width: int, context_width: int, expansion: int = 4):
        super().__init__()
        self.norm = nn.GroupNorm(8, width)
        self.into = nn.Linear(width, width)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(3))
        self.self_attention = Attention(width, width)
        self.cross_attention = Attention(width, context_width)
        self.gate = nn.Linear(width, 2 * expansion * width)  # GEGLU, Shazeer (2020, arXiv:2002.05202)
        self.feed = nn.Linear(expansion * width, width)
        self.out = nn.Linear(width, width)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, x: torch.Tensor, context: torch.Tensor) -> torch.Tensor:
        h = self.into(self.norm(x).transpose(1, 2))
        y = self.norms[0](h)
        h = h + self.self_attention(y, y)
        h = h + self.cross_attention(self.norms[1](h), context)
        value, gate = self.gate(self.norms[2](h)).chunk(2, dim=-1)
        h = h + self.feed(value * F.gelu(gate))
        return x + self.out(h).transpose(1, 2)


class UNet1D(nn.Module):
    """Network that predicts the noise in a spectrum: epsilon_theta(x_t, t, tau(y)) of the paper's Eq. 2.

    Parameters
    ----------
    size : int
        Pixels of a spectrum.
    conditioning : {"concat", "xattn"}
        ``concat``: pooled image features are a second channel of the input. ``xattn``: the two deepest levels
        and the bottom have cross-attention to the image tokens.
    width : int
        Channels of the top level (a multiple of 8).
    multipliers : tuple of int
        Channels of each level in units of `width`. The bottom has as many channels as the deepest level.
    context_width : int
        Width of the image tokens.
    """

    def __init__(
        self,
        size: int,
        conditioning: str,
        width: int = 64,
        multipliers: tuple[int, ...] = (1, 2, 4, 8),
        context_width: int = 512,
    ):
        super().__init__()
        self.size, self.conditioning, self.width = size, conditioning, width
        time_width = 4 * width
        self.time = nn.Sequential(nn.Linear(width, time_width), nn.SiLU(), nn.Linear(time_width, time_width))
        channels = [width * m for m in multipliers]
        attends = [conditioning == "xattn" and i >= len(channels) - 2 for i in range(len(channels))]
        if conditioning == "concat":
            self.project = nn.Linear(context_width, size)

        self.down, self.down_attention, self.shrink = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        previous = 2 if conditioning == "concat" else 1
        for c, attend in zip(channels, attends):
            self.down.append(ResidualBlock(previous, c, time_width))
            self.down_attention.append(TransformerBlock(c, context_width) if attend else None)
            self.shrink.append(nn.Conv1d(c, c, 3, stride=2))
            previous = c

        self.bottom = ResidualBlock(previous, previous, time_width)
        self.bottom_attention = TransformerBlock(previous, context_width) if conditioning == "xattn" else None

        self.grow, self.up = nn.ModuleList(), nn.ModuleList()
        for c in reversed(channels):
            self.grow.append(nn.ConvTranspose1d(previous, c, 4, stride=2))
            self.up.append(ResidualBlock(2 * c, c, time_width))
            previous = c
        self.out = nn.Conv1d(previous, 1, 1)

    def condition(self, tokens: torch.Tensor) -> torch.Tensor:
        """Turn image tokens (B, T, C) into the context of `forward`. It is the same for all steps."""
        if self.conditioning == "concat":
            return self.project(tokens.mean(dim=1))[:, None]
        return tokens

    def forward(self, x: torch.Tensor, t: torch.Tensor, context: torch.Tensor) -> torch.Tensor:
        """Predict the noise in `x` (B, 1, L) at timesteps `t` (B,), given the `context` of `condition`."""
        time = self.time(timestep_embedding(t, self.width))
        if self.conditioning == "concat":
            x = torch.cat([x, context], dim=1)
        skips = []
        for block, attention, shrink in zip(self.down, self.down_attention, self.shrink):
            x = block(x, time)
            x = attention(x, context) if attention is not None else x
            skips.append(x)
            x = shrink(x)
        x = self.bottom(x, time)
        x = self.bottom_attention(x, context) if self.bottom_attention is not None else x
        for grow, block in zip(self.grow, self.up):
            skip = skips.pop()
            x = grow(x)
            if lost := skip.shape[-1] - x.shape[-1]:  # an odd length loses a pixel on the way down
                x = F.pad(x, (0, lost))
            x = block(torch.cat([x, skip], dim=1), time)
        return self.out(x)
