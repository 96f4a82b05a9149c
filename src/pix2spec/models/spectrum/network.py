"""One network of the default model: its basis, and the flow over the coefficients of the basis.

A *coefficient vector* is (log10 of the r flux relative to the one that the linear answer expects, continuum
coefficients, asinh of the line fluxes, log10 of the line width).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from pix2spec.core.grid import SpectralGrid
from pix2spec.core.photometry import filter_matrix
from pix2spec.models.latent.basis import Coefficients, RestFrameBasis
from pix2spec.models.latent.flow import NormalScores
from pix2spec.models.latent.noise_stack import blocks
from pix2spec.models.shared.device import to_device
from pix2spec.models.shared.measurements import KIND_GROUPS, Tokens
from pix2spec.models.spectrum.bands import BandTables
from pix2spec.models.spectrum.flow import LEAST_SPREAD, GalaxyNetwork, SpectrumFlow, redshift_features
from pix2spec.models.spectrum.linear import LinearPrior, fit_linear
from pix2spec.models.spectrum.noise import SurveyNoise
from pix2spec.models.spectrum.preset import SpectrumPreset

__all__ = ["Known", "SpectrumNetwork", "spectra_of"]

R_FILTER = "sdss2010-r"
LINE_SOFTENING = 0.2  # Angstrom, of asinh line fluxes; weaker lines cannot be detected
LOG_WIDTH = 0.5, 2.8  # range of log10 of line widths in km/s
FAINT_R = 10**0.4  # nanomaggies: log10 of expected r fluxes, where nothing is measured


@dataclass
class Known:
    """What is known of B candidates before their coefficients are drawn; ... are the networks of a stack."""

    zeta: torch.Tensor  # (..., B) log10(1 + z)
    r: torch.Tensor  # (..., B) expected r flux in nanomaggies, float32
    mean: torch.Tensor  # (..., B, D) linear answer in normal scores
    spread: torch.Tensor  # (..., B, D) its spread
    features: torch.Tensor  # (..., B, C)
    parts: torch.Tensor  # (..., B, K, P) of `BandTables`, in the filters of the measurements
    covered: torch.Tensor  # (..., B, K)
    in_r: torch.Tensor  # (..., B, P) the same in r

    def of(self, rows) -> "Known":
        """Some of the candidates, as an index of the axes of networks and candidates."""
        return Known(*(values[rows] for values in vars(self).values()))


class SpectrumNetwork(nn.Module):
    """Basis, noise model, scale of the coefficients, galaxy network and flow."""

    def __init__(self, preset: SpectrumPreset, grid: SpectralGrid):
        super().__init__()
        self.grid = grid
        self.basis = RestFrameBasis(grid, **preset.basis.model_dump())
        self.dimension = 2 + self.basis.n_components + self.basis.n_lines
        self.normal = NormalScores(self.dimension)
        self.noise = SurveyNoise(grid.size)
        width, depth = preset.flow.width, preset.flow.depth
        self.galaxy = GalaxyNetwork(width, preset.image.width)
        n_features = 2 * (self.dimension - 2) + 3 + redshift_features(torch.zeros(1, device="cpu")).shape[-1]
        self.flow = SpectrumFlow(self.dimension, n_features, width, depth)
        weights = filter_matrix(grid.wave, [R_FILTER])[:, 0]
        self.register_buffer("r_weights", torch.from_numpy(weights).float(), persistent=False)
        seen = np.flatnonzero(weights)
        self.r_pixels = slice(int(seen[0]), int(seen[-1]) + 1)  # outside, the weights are zero

    def tables(self, filters, known: dict | None = None) -> BandTables:
        """Tables of the basis in `filters`, and after these in r; see `BandTables`."""
        return BandTables(self.basis, [*filters, R_FILTER], known)

    # ------------------------------------------------------------------------- coefficient vectors

    def vector(self, z: np.ndarray, fits: Coefficients, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
        """Coefficient vectors (n, samples, D) of fits, first place zero, and r fluxes (n, samples)."""
        n, samples = fits.scale.shape
        k = self.basis.n_components
        rng = np.random.default_rng(seed)
        zeta = torch.from_numpy(np.repeat(np.log10(1 + z)[:, None], samples, 1)).flatten()
        values = torch.from_numpy(fits.values).flatten(0, 1)
        unit = self.basis.decode(zeta, values[:, :k], values[:, k:], torch.from_numpy(fits.width).flatten())
        r = (unit.clamp(min=0) @ self.r_weights).numpy().reshape(n, samples) * fits.scale
        # Many galaxies have lines of exactly zero. A little noise makes the distribution continuous.
        lines = fits.values[..., k:] + 0.02 * rng.standard_normal(fits.values[..., k:].shape)
        parts = [np.zeros((n, samples, 1)), fits.values[..., :k], np.arcsinh(lines / LINE_SOFTENING)]
        vector = np.concatenate([*parts, np.log10(fits.width)[..., None]], 2)
        return vector.astype(np.float32), r.astype(np.float32)

    def spectra(self, vectors: torch.Tensor, zeta: torch.Tensor, r: torch.Tensor) -> torch.Tensor:
        """Noise-free spectra (B, L) of vectors (B, D) at log10(1 + z) (B,), with expected r fluxes `r`."""
        return spectra_of([self], np.zeros(len(vectors), int), vectors, zeta, r)

    def linear_parts(self, vectors: torch.Tensor) -> torch.Tensor:
        """What multiplies the fluxes of `BandTables`: (1, continuum, lines) of vectors (..., D)."""
        k = 1 + self.basis.n_components
        lines = LINE_SOFTENING * torch.sinh(vectors[..., k:-1]).clamp(min=0)
        return torch.cat([torch.ones_like(vectors[..., :1]), vectors[..., 1:k], lines], -1)

    # ------------------------------------------------------------------------- what is known

    def prior(self) -> LinearPrior:
        """Gaussian prior of the coefficients."""
        return LinearPrior.of(self.basis.prior_mean, self.basis.prior_precision)

    def known(
        self, tokens: Tokens, index: torch.Tensor, tables: BandTables, zeta: torch.Tensor,
        prior: LinearPrior | None = None,
    ) -> Known:  # fmt: skip
        """The best linear answer for candidates.

        Parameters
        ----------
        tokens : Tokens
            Measurements (..., B, K) of B candidates.
        index : tensor (B, K), int
            Filters of the measurements by their numbers in `tables`.
        tables : BandTables
            From `tables`.
        zeta : tensor (..., B), float32
            log10(1 + z) of each candidate.
        prior : LinearPrior, optional
            What `prior` returns, if it is at hand.
        """
        last = torch.full_like(index[:, :1], tables.flux.shape[-3] - 1)
        parts, covered = tables.at(torch.cat([index, last], 1), zeta)
        parts, in_r, covered = parts[..., :-1, :], parts[..., -1, :], covered[..., :-1]
        seen = tokens.seen & covered
        fibre = seen & (tokens.kind == KIND_GROUPS["fibre"])
        # One aperture, the spectrum's if known.
        seen = torch.where(fibre.sum(-1, keepdim=True) >= 2, fibre, seen)
        fit = fit_linear(prior or self.prior(), parts, tokens.flux, tokens.error, seen)
        least = 0.05 * in_r[..., 0].double()
        expected = fit.scale * (in_r[..., 0] + (in_r[..., 1:] * fit.mean).sum(-1)).clamp(min=least)
        has_light = seen.any(-1)
        r = torch.where(has_light, expected, FAINT_R).clamp(1e-3, 1e6).float()
        mean, spread = self._scores(fit.mean.float(), fit.sd.float())
        features = torch.cat(
            [
                mean[..., 1:-1], spread[..., 1:-1].log(), redshift_features(zeta),
                has_light[..., None].float(), (r.log10() - 1.5)[..., None],
                ((fit.chi2.float() + 0.05).log() / 4).clamp(-1, 3)[..., None],
            ], -1,
        )  # fmt: skip
        return Known(zeta, r, mean, spread, features, parts, covered, in_r)

    def _scores(self, mean: torch.Tensor, sd: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Means and sds (..., B, q) of continuum and lines as those (..., B, D) of normal scores."""
        k = self.basis.n_components
        values = torch.cat([mean - sd, mean, mean + sd], -2)
        knots = self.normal.knots
        median = knots[..., None, :, knots.shape[-1] // 2].expand(*values.shape[:-1], -1)
        lines = torch.asinh(values[..., k:] / LINE_SOFTENING)
        scores = self.normal(torch.cat([median[..., :1], values[..., :k], lines, median[..., -1:]], -1))
        low, middle, high = scores.chunk(3, -2)
        spread = ((high - low) / 2).clamp(LEAST_SPREAD, 1.2)
        spread[..., [0, -1]] = 1.0
        limit = self.normal.MAX_SIGMAS
        return middle.clamp(-limit, limit), spread


def spectra_of(
    networks: Sequence[SpectrumNetwork], which: np.ndarray, vectors: torch.Tensor, zeta: torch.Tensor,
    r: torch.Tensor, out: torch.Tensor | None = None,
) -> torch.Tensor:  # fmt: skip
    """Noise-free spectra (B, L) of the vectors of several networks.

    Parameters
    ----------
    networks : sequence of SpectrumNetwork
    which : array (B,), int
        The network of each vector.
    vectors : tensor (B, D)
    zeta : tensor (B,)
        log10(1 + z).
    r : tensor (B,)
        Expected r fluxes.
    out : tensor (B, L), optional
        Receives the spectra.
    """
    basis, k = networks[0].basis, 1 + networks[0].basis.n_components
    weights, in_r = networks[0].r_weights, networks[0].r_pixels
    zeta = zeta.double().clamp(-0.001, np.log10(1 + basis.z_max))
    first, taps = basis.place(zeta)
    start = int(first.min())
    seen = slice(start, int(first.max()) + basis.grid.size + 3)  # pixels of the lattice
    order = which.argsort(kind="stable")
    coefficients, rest = vectors[to_device(order, vectors.device), 1:k], []
    for network in np.unique(which).tolist():
        own, (a, b) = networks[network].basis, np.searchsorted(which[order], [network, network + 1])
        rest.append(torch.addmm(own.mean[seen], coefficients[a:b], own.components[:, seen]))
    continua = rest[0] if len(rest) == 1 else torch.cat(rest)
    number = to_device(order.argsort(), vectors.device)
    lines = LINE_SOFTENING * torch.sinh(vectors[:, k:-1].clamp(min=0))
    width = 10 ** vectors[:, -1].clamp(*LOG_WIDTH)
    profiles = basis.lines.profiles(basis.grid.size, basis.grid.start, zeta, lines, width)
    amplitude = (r * 10 ** vectors[:, 0])[:, None]
    spectra = vectors.new_empty(len(vectors), basis.grid.size) if out is None else out
    for rows in blocks(len(vectors), vectors.device):
        made = spectra[rows]
        basis.interpolated(continua, number[rows], first[rows] - start, taps[rows], made)
        profiles.add(made, rows)
        made.clamp_(min=0)  # a noise-free flux is not negative
        own_r = (made[:, in_r] @ weights[in_r]).clamp_(min=1e-6)
        made.mul_(amplitude[rows] / own_r[:, None])
    return spectra
