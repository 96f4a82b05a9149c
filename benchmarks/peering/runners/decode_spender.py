"""Spectra a second of spender's decoder for SDSS, at its default size; the input does not matter.

Its weights are random, because its time does not depend on them. The rest-frame grid is that of its authors'
training program for redshifts up to 0.5.
"""

import sys

import torch
from spender import SpectrumDecoder
from spender.data.sdss import SDSS

from common import Clock, peak_bytes, write

SPECTRA, BATCHES, LATENT, Z_MAX = 256, 20, 10, 0.5


def decode(clock: Clock) -> dict:
    """Decode batches of latent vectors at their redshifts: the number of spectra and of pixels."""
    instrument = SDSS()
    observed = instrument.wave_obs
    rest = torch.linspace(observed[0] / (1 + Z_MAX), observed[-1], int(len(observed) * (1 + Z_MAX)))
    decoder = SpectrumDecoder(rest, n_latent=LATENT)
    rng = torch.Generator().manual_seed(0)
    latent = torch.randn(SPECTRA, LATENT, generator=rng)
    z = torch.rand(SPECTRA, generator=rng) * 0.3
    with torch.no_grad():
        made = decoder(latent, instrument=instrument, z=z)
        clock("answer", lambda: [decoder(latent, instrument=instrument, z=z) for _ in range(BATCHES)])
    return {"spectra": SPECTRA * BATCHES, "pixels": made.shape[1]}


if __name__ == "__main__":
    torch.set_num_threads(1)
    clock = Clock()
    made = decode(clock)
    cost = {"wall": clock.wall, "processor": clock.processor, "peak_bytes": peak_bytes()}
    write(sys.argv[2], {}, cost | made)
