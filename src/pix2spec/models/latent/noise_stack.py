"""Draw noise of several noise models at once: each spectrum has its own model."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

__all__ = ["DRAWN_SPIKES", "UNIFORM", "WIDTH", "NoiseStack"]

WIDTH = 5  # pixels of a spike
DRAWN_SPIKES = 12  # at most, in a spectrum that is drawn
UNIFORM = 2 + 2 * DRAWN_SPIKES  # numbers that choose a row of the bank, and spikes


class NoiseStack:
    """The tensors of K noise models, as draws need them.

    Parameters
    ----------
    models : sequence of NoiseModel
        With the same numbers of pixels, patterns, rows and spikes.
    """

    def __init__(self, models: Sequence[Any]):
        first = models[0]

        def joined(values) -> Tensor:
            return torch.stack(list(values))

        self.length = len(first.white)
        self.parts = first.additive, len(first.patterns) - first.additive
        self.sky, self.source = (joined(m.law[k] * m.white for m in models) for k in (0, 1))  # (K, L)
        self.additive = torch.cat([m.patterns[: m.additive] for m in models])  # (K * additive, L)
        self.relative = torch.cat([m.patterns[m.additive :] for m in models])
        self.bank, self.trend, self.memory, self.snippets = (
            joined(getattr(m, name) for m in models) for name in ("bank", "trend", "memory", "snippets")
        )
        self.brightness = self.bank[..., 0].contiguous()  # (K, rows), in ascending order
        counts = torch.arange(DRAWN_SPIKES, dtype=torch.float64, device=first.rate.device)
        rate = joined(m.rate for m in models).double()[:, None].expand(-1, DRAWN_SPIKES)
        self.below = torch.special.gammaincc((counts + 1).expand_as(rate), rate)  # of Poisson, (K, spikes)
        self.snippet_scale = (1 + self.memory**2).sqrt()  # a snippet includes white noise of unit variance

    @property
    def numbers(self) -> int:
        """Normal numbers of which the noise of one spectrum is a function."""
        return self.length + 1 + UNIFORM

    def made(
        self, clean: Tensor, bright: Tensor, numbers: Tensor, which: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Noise (B, L) and conditions (B,) from normal numbers.

        Parameters
        ----------
        clean : Tensor (B, L)
            Noise-free flux.
        bright : Tensor (B,)
            Its `sampled_brightness`.
        numbers : Tensor (B, `numbers` or more)
            Standard normal numbers.
        which : Tensor (B,), int64, optional
            The model of each spectrum; by default the first one.
        """

        def own(values: Tensor) -> Tensor:
            return values[0] if which is None else values[which]

        row, z = self._drawn(bright, numbers.to(clean.device), which)
        trend, memory = own(self.trend), own(self.memory)
        conditions = row[:, 1] + trend[..., 0] + trend[..., 1] * bright
        photons = torch.addcmul(own(self.sky), own(self.source), clean.clamp(min=0))
        level = row[:, 2] * conditions.exp() / (1 + memory**2)
        noise = z.mul_(photons.sqrt_()).mul_(level.sqrt()[:, None])
        additive, relative = row[:, 3:].split(self.parts, 1)
        noise.addmm_(self._placed(additive, which), self.additive)
        noise.addcmul_(clean, self._placed(relative, which) @ self.relative)
        return noise, conditions

    def _placed(self, amplitudes: Tensor, which: Tensor | None) -> Tensor:
        """Amplitudes (B, k) among those of all models (B, K * k), which are zero."""
        if which is None:
            return amplitudes
        count, k = amplitudes.shape
        placed = amplitudes.new_zeros(count, len(self.bank), k)
        placed[torch.arange(count, device=which.device), which] = amplitudes
        return placed.flatten(1)

    def _drawn(self, bright: Tensor, numbers: Tensor, which: Tensor | None) -> tuple[Tensor, Tensor]:
        """Rows of the banks (B, 3 + factors); white noise (B, L) with spikes, of variance 1 + memory^2."""
        length, count = self.length, len(bright)
        uniform = torch.special.ndtr(numbers[:, length + 1 : length + 1 + UNIFORM].double())
        mine = torch.zeros(count, dtype=torch.long, device=bright.device) if which is None else which
        # Residuals may depend on brightness: draw from the quarter of the bank with the nearest brightness.
        rows = self.bank.shape[1]
        among = max(1, rows // 4)
        first = torch.searchsorted(self.brightness, bright.expand(len(self.brightness), -1).contiguous())
        first = first[mine, torch.arange(count, device=mine.device)] - among // 2
        first = first.clamp(0, rows - among)
        chosen = first + (among * uniform[:, 0]).long().clamp(max=among - 1)
        memory = self.memory[mine][:, None]
        z = torch.addcmul(numbers[:, :length], memory, numbers[:, 1 : length + 1])
        self._add_spikes(z, uniform[:, 1:], mine)
        return self.bank[mine, chosen], z

    def _add_spikes(self, z: Tensor, uniform: Tensor, mine: Tensor) -> None:
        """Put spikes into white noise (B, L), as uniform numbers (B, 1 + 2 DRAWN_SPIKES) say."""
        row, k = (uniform[:, :1] > self.below[mine]).nonzero(as_tuple=True)
        start = (uniform[row, 1 + 2 * k] * (z.shape[1] - WIDTH + 1)).long()
        model = mine[row]
        chosen = (uniform[row, 2 + 2 * k] * self.snippets.shape[1]).long()
        pixels = start[:, None] + torch.arange(WIDTH, device=z.device)
        z[row[:, None], pixels] = self.snippet_scale[model][:, None] * self.snippets[model, chosen]
