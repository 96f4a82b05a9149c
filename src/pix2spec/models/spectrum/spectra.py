"""Spectra of candidates whose coefficients were drawn: noise-free, and as the survey would observe them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from pix2spec.models.shared.device import to_device, to_host
from pix2spec.models.spectrum.likelihood import Misfit
from pix2spec.models.spectrum.network import SpectrumNetwork, spectra_of
from pix2spec.models.spectrum.noise import EnsembleNoise
from pix2spec.runtime.random import normal_rows, object_generator

__all__ = ["Drawn", "make_spectra"]

ROWS = {"cpu": 400, "cuda": 8192}  # spectra whose lines and random numbers are prepared at a time


@dataclass
class Drawn:
    """Coefficients of n candidates of each of N galaxies, before they become spectra."""

    vectors: torch.Tensor  # (N, n, D)
    zeta: torch.Tensor  # (N, n) log10(1 + z)
    r: torch.Tensor  # (N, n) expected r flux
    number: np.ndarray  # (n,) of the network
    misfit: Misfit
    spectra: torch.Tensor | None = None  # (N, n, L) without noise, if they are made together with the rest


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
    (count, n), device = kept.shape, drawn.vectors.device
    spectra, observed = (drawn.vectors.new_empty(count, n, networks[0].grid.size) for _ in range(2))
    if drawn.spectra is not None:
        spectra = drawn.spectra.contiguous()
    number, is_choice = drawn.number[kept], n < len(drawn.number)
    values: list[torch.Tensor] = [drawn.vectors, drawn.zeta, drawn.r]
    if is_choice:
        rows = to_device(np.arange(count)[:, None], device), to_device(kept, device)
        values = [some[rows] for some in values]
    step = max(1, ROWS[device.type] // n)
    for start in range(0, count, step):
        some = slice(start, min(start + step, count))
        clean, noisy = spectra[some].flatten(0, 1), observed[some].flatten(0, 1)
        which = number[some].ravel()
        vectors, zeta, r = (part[some].flatten(0, 1) for part in values)
        if drawn.spectra is None:
            spectra_of(networks, which, vectors, zeta, r, clean)
        if dust is not None:
            spectra[some] *= dust[some, None]
        numbers = to_device(_numbers(number[some], is_choice, noise.numbers, seed, ids[some]), device)
        noise.observed(clean, numbers, to_device(which, device), out=noisy)
    every = to_host(spectra, observed)
    return every[0], every[1]


def _numbers(number: np.ndarray, is_choice: bool, length: int, seed: int, ids: Sequence[str]) -> torch.Tensor:
    """Normal numbers (N * n, `length` or a few more) of candidates from the networks `number` (N, n).

    One generator draws those of a galaxy's candidates from one network, in order; where candidates are a
    choice, each has its own.
    """
    if is_choice:
        purposes = [f"noise {place}" for place in range(number.shape[1])]
        own = [object_generator(seed, name, purpose) for name in ids for purpose in purposes]
        return normal_rows(len(own), length, own)
    networks, counts = np.unique(number[0], return_counts=True)
    own = [object_generator(seed, name, f"noise {k}") for name in ids for k in networks.tolist()]
    place = number[0].argsort(kind="stable").argsort()  # of a galaxy's candidates among the numbers
    places = (np.arange(len(ids))[:, None] * len(place) + place).ravel()
    return normal_rows(counts.tolist() * len(ids), length, own)[torch.from_numpy(places)]
