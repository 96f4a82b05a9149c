"""Spectra of candidates whose coefficients were drawn: noise-free, and as the survey would observe them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter

import numpy as np
import torch

from pix2spec.models.shared.device import to_device, to_host
from pix2spec.models.spectrum.likelihood import Misfit
from pix2spec.models.spectrum.network import SpectrumNetwork, spectra_of
from pix2spec.models.spectrum.noise import EnsembleNoise
from pix2spec.runtime.random import normal_rows, object_generator

__all__ = ["Drawn", "make_spectra"]

BLOCK = {"cpu": 64, "cuda": 8192}  # spectra that are made at a time; on the CPU they stay in a core's cache


@dataclass
class Drawn:
    """Coefficients of n candidates of each of N galaxies, before they become spectra."""

    vectors: torch.Tensor  # (N, n, D)
    zeta: torch.Tensor  # (N, n) log10(1 + z)
    r: torch.Tensor  # (N, n) expected r flux
    number: np.ndarray  # (n,) of the network
    misfit: Misfit


@dataclass
class _Run:
    """Candidates of one galaxy from one network, whose noise one generator draws in order."""

    network: int
    galaxy: int
    places: np.ndarray
    purpose: str


def make_spectra(
    networks: Sequence[SpectrumNetwork], noise: EnsembleNoise, drawn: Drawn, kept: np.ndarray, seed: int,
    ids: Sequence[str], dust: torch.Tensor | None,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Noise-free and observed spectra (N, n, L), float32.

    Parameters
    ----------
    networks : sequence of SpectrumNetwork
    noise : EnsembleNoise
        Of these networks.
    drawn : Drawn
    kept : array (N, n)
        Numbers of the candidates that become spectra: all in order, or a choice.
    seed : int
    ids : sequence of str
        Of the galaxies.
    dust : tensor (N, L) or None
        Transmission of the dust in front of galaxies.
    """
    shape = (*kept.shape, networks[0].grid.size)
    spectra, observed = np.empty(shape, np.float32), np.empty(shape, np.float32)
    is_choice = kept.shape[1] < len(drawn.number)
    device = drawn.vectors.device
    for runs in _blocks(drawn.number[kept], is_choice, BLOCK[device.type]):
        sizes = [len(run.places) for run in runs]
        row = np.repeat([run.galaxy for run in runs], sizes)
        place = np.concatenate([run.places for run in runs])
        which = to_device(row, device), to_device(kept[row, place], device)
        number = to_device(np.repeat([run.network for run in runs], sizes), device)
        parts, end = [], 0
        for network, some in groupby(runs, attrgetter("network")):
            start, end = end, end + sum(len(run.places) for run in some)
            parts.append((networks[network], slice(start, end)))
        clean = spectra_of(parts, drawn.vectors[which], drawn.zeta[which], drawn.r[which])
        clean = clean if dust is None else clean.mul_(dust[which[0]])
        own = [object_generator(seed, ids[run.galaxy], run.purpose) for run in runs]
        numbers = to_device(normal_rows(sizes, noise.numbers, own), device)
        noisy = noise.made(clean, numbers, number).add_(clean)
        spectra[row, place], observed[row, place] = to_host(clean, noisy)
    return spectra, observed


def _blocks(number: np.ndarray, is_choice: bool, size: int) -> Iterator[list[_Run]]:
    """Candidates in blocks of `size`, sorted by network; `number` (N, n) is that of each."""
    together = max(1, size // number.shape[1])
    for start in range(0, len(number), together):
        block: list[_Run] = []
        for run in _runs(number[start : start + together], start, is_choice):
            if block and sum(len(some.places) for some in block) + len(run.places) > size:
                yield block
                block = []
            block.append(run)
        yield block


def _runs(number: np.ndarray, first: int, is_choice: bool) -> Iterator[_Run]:
    for network in np.unique(number).tolist():
        for galaxy, mine in enumerate(number == network, first):
            places = np.flatnonzero(mine)
            if is_choice:
                yield from (_Run(network, galaxy, places[[k]], f"noise {p}") for k, p in enumerate(places))
            elif len(places):
                yield _Run(network, galaxy, places, f"noise {network}")
