"""The scale of the coefficient vectors: normal scores, fitted to what training sees."""

import numpy as np
import torch

from pix2spec.models.spectrum.bands import BandTables
from pix2spec.models.spectrum.network import SpectrumNetwork
from pix2spec.training.redshift.samples import Samples
from pix2spec.training.spectrum.recipe import SHARES, VARIETY
from pix2spec.training.spectrum.sources import Vectors

__all__ = ["fit_scores"]

BATCHES = 160


@torch.no_grad()
def fit_scores(
    network: SpectrumNetwork, tables: BandTables, samples: Samples, vectors: Vectors, seed: int
) -> None:
    """Fit the normal scores of a network to vectors, drawn as in training."""
    torch.manual_seed(seed)
    shares, drawn = {name: n for name, n in SHARES.items() if name in samples.names}, []
    network.normal.fit(torch.randn(1000, network.dimension))  # anything, for expected r fluxes
    for step in range(BATCHES):
        tokens, index, rows = samples.draw_rows(
            shares, step % 3 == 2, np.random.default_rng([seed, step]), VARIETY
        )
        vector, r = vectors.draw(rows)
        known = network.known(tokens, index, tables, torch.log10(1 + samples.z[rows]))
        vector = vector.clone()
        vector[:, 0] = torch.log10(r / known.r)
        drawn.append(vector[torch.isfinite(vector[:, 0])])
    network.normal.fit(torch.cat(drawn))
