"""Draw noise of several noise models at once: each spectrum has its own model."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

__all__ = ["DRAWN_SPIKES", "UNIFORM", "WIDTH", "NoiseStack", "blocks", "some_of"]

WIDTH = 5  # pixels of a spike
DRAWN_SPIKES = 12  # at most, in a spectrum that is drawn
BLOCK = 25  # spectra
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
        self, clean: Tensor, bright: Tensor, numbers: Tensor, which: Tensor | None = None,
        out: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        """Observed spectra (B, L) and conditions (B,) from normal numbers.

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
        out : Tensor (B, L), optional
            Receives the spectra.
        """
        length, numbers = self.length, numbers.to(clean.device)
        mine = torch.zeros(len(bright), dtype=torch.long, device=bright.device) if which is None else which
        uniform = torch.special.ndtr(numbers[:, length + 1 : length + 1 + UNIFORM].double())
        row, memory = self._rows(bright, uniform[:, 0], mine), self.memory[mine]
        conditions = row[:, 1] + (self.trend[mine] * torch.stack([torch.ones_like(bright), bright], 1)).sum(1)
        level = (row[:, 2] * conditions.exp() / (1 + memory**2))[:, None]
        additive, relative = (self._placed(part, mine) for part in row[:, 3:].split(self.parts, 1))
        spikes, memory = self._spikes(uniform[:, 1:], mine), memory[:, None]
        observed = torch.empty_like(clean) if out is None else out
        one = clean.new_ones(1)
        for rows in blocks(len(clean), clean.device):
            true, model = clean[rows], mine[rows]
            white = torch.addcmul(numbers[rows, :length], memory[rows], numbers[rows, 1 : length + 1])
            spikes.put(white, rows)
            photons = torch.addcmul(self.sky[model], self.source[model], true.clamp(min=0))
            white.mul_(photons.mul_(level[rows]).sqrt_()).addmm_(additive[rows], self.additive)
            torch.addcmul(white, true, torch.addmm(one, relative[rows], self.relative), out=observed[rows])
        return observed, conditions

    def _placed(self, amplitudes: Tensor, which: Tensor) -> Tensor:
        """Amplitudes (B, k) among those of all models (B, K * k), which are zero."""
        if len(self.bank) == 1:
            return amplitudes
        count, k = amplitudes.shape
        placed = amplitudes.new_zeros(count, len(self.bank), k)
        placed[torch.arange(count, device=which.device), which] = amplitudes
        return placed.flatten(1)

    def _rows(self, bright: Tensor, uniform: Tensor, mine: Tensor) -> Tensor:
        """Rows (B, 3 + factors) of the banks, which uniform numbers (B,) choose.

        Residuals may depend on brightness: a row is one of the quarter of the bank with the nearest
        brightness.
        """
        rows, own = self.bank.shape[1], torch.arange(len(mine), device=mine.device)
        among = max(1, rows // 4)
        first = torch.searchsorted(self.brightness, bright.expand(len(self.brightness), -1).contiguous())
        first = (first[mine, own] - among // 2).clamp(0, rows - among)
        return self.bank[mine, first + (among * uniform).long().clamp(max=among - 1)]

    def _spikes(self, uniform: Tensor, mine: Tensor) -> "_Spikes":
        """Spikes of B spectra, as uniform numbers (B, 1 + 2 DRAWN_SPIKES) say."""
        row, k = (uniform[:, :1] > self.below[mine]).nonzero(as_tuple=True)
        start = (uniform[row, 1 + 2 * k] * (self.length - WIDTH + 1)).long()
        model = mine[row]
        chosen = (uniform[row, 2 + 2 * k] * self.snippets.shape[1]).long()
        pixels = start[:, None] + torch.arange(WIDTH, device=row.device)
        return _Spikes(row, pixels, self.snippet_scale[model][:, None] * self.snippets[model, chosen])


@dataclass
class _Spikes:
    """Spikes of some spectra, in the order of the spectra."""

    row: Tensor  # (S,) number of the spectrum
    pixel: Tensor  # (S, WIDTH)
    value: Tensor  # (S, WIDTH)

    def put(self, noise: Tensor, rows: slice) -> None:
        """Put the spikes of the spectra with the numbers `rows` into white noise (rows, L)."""
        some = some_of(self.row, rows)
        noise[self.row[some, None] - rows.start, self.pixel[some]] = self.value[some]


def blocks(count: int, device: torch.device) -> Iterator[slice]:
    """Numbers of spectra that are made together: on the CPU, they stay in the cache of a core."""
    size = BLOCK if device.type == "cpu" else count
    return (slice(start, min(start + size, count)) for start in range(0, count, size))


def some_of(row: Tensor, rows: slice) -> slice:
    """Where ascending numbers `row` (P,) are among `rows`."""
    if rows.start == 0 and row.device.type != "cpu":  # one block has all: see `blocks`
        return slice(None)
    return slice(*torch.searchsorted(row, row.new_tensor([rows.start, rows.stop])).tolist())
