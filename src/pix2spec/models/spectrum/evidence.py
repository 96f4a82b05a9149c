"""Redshifts from narrow bands: the evidence of the basis at each redshift.

Many narrow bands show lines and breaks, and the basis says how likely they are at a redshift:
p(F | z) of the Gaussian model of `pix2spec.models.spectrum.linear`, in closed form. It is sharper than what a
network learns from such sets. Broad bands leave the choice to the distribution of galaxies, which is not
Gaussian: there the redshift model answers alone.
"""

import numpy as np
import torch

from pix2spec.models.redshift.posterior import GRID, RedshiftPosterior, from_y
from pix2spec.models.shared.device import to_device, to_host
from pix2spec.models.shared.measurements import Tokens
from pix2spec.models.spectrum.bands import BandTables
from pix2spec.models.spectrum.draw import Stack
from pix2spec.models.spectrum.linear import fit_linear

__all__ = ["NARROW", "many_narrow", "sharpened"]

NARROW, LEAST = 100.0, 12  # rms width in Angstrom of narrow bands; the least number of them
NODES = 161  # redshifts at which the evidence is computed
REACH, LEAST_REACH = 4.0, 0.004  # half the range of redshifts: in standard deviations, and at least in z
TRUST = 0.25  # power of the redshift model's density, which is too wide for such sets


def many_narrow(tokens: Tokens) -> np.ndarray:
    """Whether galaxies (N,) are measured in many narrow bands."""
    return ((tokens.seen & (tokens.width < NARROW)).sum(1) >= LEAST).numpy()


def sharpened(
    posterior: RedshiftPosterior, tokens: Tokens, index: torch.Tensor, stack: Stack, tables: BandTables
) -> RedshiftPosterior:  # fmt: skip
    """Redshift distributions of galaxies in many narrow bands, times the evidence.

    Parameters
    ----------
    posterior : RedshiftPosterior
        Of N galaxies, from the redshift model.
    tokens : Tokens
        Their measurements.
    index : tensor (N, K), int
        Filters of the measurements by their number in `tables`.
    stack : Stack
        Networks whose bases give the evidence, the mean of which counts.
    tables : BandTables
        Of these.
    """
    low, middle, high = (posterior.quantile(q) for q in (0.16, 0.5, 0.84))
    half = np.maximum(REACH * (high - low) / 2, LEAST_REACH)[:, None]
    nodes = np.clip(middle[:, None] + half * np.linspace(-1, 1, NODES), 1e-4, stack.network.basis.z_max)
    zeta = to_device(np.log10(1 + nodes), index.device)
    rows = [slice(i, i + 1) for i in range(len(nodes))]
    (evidence,) = to_host(
        torch.stack([_log_evidence(tokens[i], index[i], zeta[i], stack, tables) for i in rows])
    )
    cells = from_y((GRID[1:] + GRID[:-1]) / 2)
    log_factor = np.stack([np.interp(cells, z, e, -np.inf, -np.inf) for z, e in zip(nodes, evidence)])
    with np.errstate(divide="ignore"):
        log_mass = TRUST * np.log(posterior.on_grid()) + log_factor
    mass = np.exp(log_mass - log_mass.max(1, keepdims=True))
    return RedshiftPosterior(
        posterior.weight, posterior.mean, posterior.sd, mass / mass.sum(1, keepdims=True)
    )


def _log_evidence(tokens: Tokens, index, zeta, stack: Stack, tables: BandTables) -> torch.Tensor:
    """Log evidence (Z,) of the measurements of one galaxy at log10(1 + z) (1, Z)."""
    n = zeta.shape[1]
    flux, error, seen = (values.expand(n, -1) for values in (tokens.flux, tokens.error, tokens.seen))
    parts, covered = tables.at(index.expand(n, -1), zeta)
    every = fit_linear(stack.prior, parts, flux, error, seen & covered).log_evidence
    return torch.logsumexp(every, 0)
