"""The default model: a flow draws latent vectors, and the rest-frame basis decodes them to spectra.

    tokens ── ConditionNetwork ──► condition ── flow, few steps ──► latent vector ── basis ──► clean spectrum
                                                                                  ── noise model ──► observed

A latent vector is (log10(1 + z), log10 r, h, lines, log10 width): redshift, synthetic r flux in
nanomaggies, and the continuum coefficients, asinh line fluxes and line width of `RestFrameBasis`.
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from pix2spec.core.grid import SpectralGrid
from pix2spec.core.photometry import filter_matrix
from pix2spec.core.survey import Survey
from pix2spec.models.latent.basis import Coefficients, RestFrameBasis
from pix2spec.models.latent.conditions import (
    ConditionNetwork,
    augment,
    drop_tokens,
    image_token,
    redshift_token,
)
from pix2spec.models.latent.flow import FlowNetwork, NormalScores, flow_loss, logit_normal
from pix2spec.models.latent.noise import NoiseModel
from pix2spec.models.latent.preset import FactorisedPreset
from pix2spec.models.shared.contrastive import nt_xent
from pix2spec.models.shared.inputs import photometry_token
from pix2spec.models.shared.network import Network
from pix2spec.runtime.distributed import gather
from pix2spec.runtime.random import BatchRng

__all__ = ["FactorisedModel"]

LINE_SOFTENING = 0.2  # Angstrom, of asinh line fluxes; weaker lines cannot be detected
REDSHIFT_WEIGHT = 5.0  # of the redshift in the loss: it moves every line, other latents change fewer pixels
REDSHIFT_ERRORS = (1e-4, 0.1)  # range of the errors of redshift tokens in training, log-uniform


class Ranker(nn.Module):
    """Contrastive network that finds the spectrum of each condition (paper, Eq. 3).

    Parameters
    ----------
    condition : int
        Length of the condition vectors.
    channels : tuple of int
        Channels of the convolutions of the spectrum encoder.
    latent : int
        Length of the latent codes.
    temperature : float
        tau of Eq. 3.
    """

    def __init__(self, condition: int, channels: tuple[int, ...], latent: int, temperature: float):
        super().__init__()
        self.temperature = temperature
        self.query = nn.Sequential(nn.Linear(condition, condition), nn.SiLU(), nn.Linear(condition, latent))
        layers, previous = [], 1
        for i, c in enumerate(channels):
            kernel, stride = (16, 8) if i == 0 else (8, 2)
            layers += [
                nn.Conv1d(previous, c, kernel, stride, padding=kernel // 2),
                nn.SiLU(),
                nn.GroupNorm(1, c),
            ]
            previous = c
        self.layers = nn.Sequential(*layers)
        self.key = nn.Linear(2 * previous, latent)

    def forward(self, condition: torch.Tensor, spectra: torch.Tensor) -> torch.Tensor:
        """Contrastive loss of conditions (B, C) and the spectra (B, L) that belong to them."""
        a, b = self.query(condition), self.encode(spectra)
        if self.training:  # the negative pairs include the objects of all processes
            a, b = gather(a), gather(b)
        return nt_xent(a, b, self.temperature)

    def encode(self, spectra: torch.Tensor) -> torch.Tensor:
        """Latent codes (B, latent) of spectra (B, L) in any unit."""
        scale = spectra.median(1, keepdim=True).values.clamp(min=1e-3)
        x = self.layers(torch.asinh(spectra / scale)[:, None])
        return self.key(torch.cat([x.mean(2), x.amax(2)], dim=1))

    def scores(self, condition: torch.Tensor, spectra: torch.Tensor) -> torch.Tensor:
        """Cosine similarity (B, n) of conditions (B, C) with candidate spectra (B, n, L)."""
        n = spectra.shape[1]
        keys = self.encode(spectra.flatten(0, 1)).unflatten(0, (-1, n))
        return F.cosine_similarity(self.query(condition)[:, None], keys, dim=-1)


def student(shape: tuple[int, ...], rng: BatchRng) -> np.ndarray:
    """Random numbers of Student's t distribution with two degrees of freedom, clipped to +-10."""
    normal, uniform = rng.normal(*shape), rng.uniform(*shape)
    return (normal / (-torch.log(uniform.clamp(min=1e-6))).sqrt()).clamp(-10, 10).numpy()


class FactorisedModel(Network):
    """The default model: condition network, flow, basis, noise model and ranker.

    The constants of its parts are computed on the CPU, also under ``torch.device("meta")``, where loading
    compares shapes: arithmetic on that device imports torch._dynamo, which takes a second.
    """

    columns = ()  # training uses `pix2spec.models.latent.prepare.Prepared`, which has columns of its own

    def __init__(self, preset: FactorisedPreset, grid: SpectralGrid, survey: Survey):
        super().__init__(preset, grid, survey)
        self.basis = RestFrameBasis(grid, **preset.basis.model_dump(include={"components", "z_max"}))
        self.noise = NoiseModel(grid.size)
        self.dimension = 3 + self.basis.n_components + self.basis.n_lines
        self.normal = NormalScores(self.dimension)
        self.condition = ConditionNetwork(survey, **preset.condition.model_dump(exclude={"drop", "jitter"}))
        self.flow = FlowNetwork(self.dimension, self.condition.width, preset.flow.width, preset.flow.depth)
        self.ranker = Ranker(self.condition.width, **preset.ranker.model_dump(exclude={"batch"}))
        r = survey.photometry_bands.index("r")
        weights = filter_matrix(grid.wave, survey.filters)[:, r]
        self.register_buffer("r_weights", torch.from_numpy(weights).float(), persistent=False)
        latent_weights = torch.ones(self.dimension, device="cpu")
        latent_weights[0] = REDSHIFT_WEIGHT
        self.register_buffer("latent_weights", latent_weights / latent_weights.mean(), persistent=False)

    # ------------------------------------------------------------------------------------- latents

    def vector(self, z: np.ndarray, fits: Coefficients, seed: int = 0) -> np.ndarray:
        """Make latent vectors (n, samples, D) from the fits of spectra at redshifts `z` (n,)."""
        n, samples = fits.scale.shape
        k = self.basis.n_components
        rng = np.random.default_rng(seed)
        zeta = np.repeat(np.log10(1 + z)[:, None], samples, 1)
        values, lines = torch.from_numpy(fits.values).flatten(0, 1), fits.values[..., k:]
        unit = self.basis.decode(
            torch.from_numpy(zeta).flatten(),
            values[:, :k],
            values[:, k:],
            torch.from_numpy(fits.width).flatten(),
        )
        r = (unit @ self.r_weights).numpy().reshape(n, samples) * fits.scale
        # All galaxies without a line have the value zero. A little noise makes the distribution continuous.
        lines = lines + 0.02 * rng.standard_normal(lines.shape)
        columns = [zeta, np.log10(np.maximum(r, 1e-3))]
        vector = np.concatenate(
            [
                np.stack(columns, -1),
                fits.values[..., :k],
                np.arcsinh(lines / LINE_SOFTENING),
                np.log10(fits.width)[..., None],
            ],
            axis=-1,
        )
        return vector.astype(np.float32)

    def spectra(self, latents: torch.Tensor, z: torch.Tensor | None = None):
        """Decode latent vectors.

        Parameters
        ----------
        latents : tensor (B, D)
            Latent vectors.
        z : tensor (B,), optional
            Redshifts. Finite values replace those of the latent vectors.

        Returns
        -------
        flux : tensor (B, L)
            Noise-free spectra in 1e-17 erg/s/cm2/A.
        z : tensor (B,)
            Their redshifts.
        """
        k = 2 + self.basis.n_components
        zeta = latents[:, 0].double()
        if z is not None:
            zeta = torch.where(torch.isfinite(z), torch.log10(1 + z.double()), zeta)
        zeta = zeta.clamp(-0.001, np.log10(1 + self.basis.z_max))
        lines = LINE_SOFTENING * torch.sinh(latents[:, k:-1])
        unit = self.basis.decode(zeta, latents[:, 2:k], lines, 10 ** latents[:, -1].clamp(0.5, 2.8))
        unit = unit.clamp(min=0)  # a noise-free flux is not negative
        r = (unit @ self.r_weights).clamp(min=1e-6)
        return unit * (10 ** latents[:, 1] / r)[:, None], (10**zeta - 1).float()

    # ------------------------------------------------------------------------------------- training

    def prepare(self, batch: dict, image_kind: str, rng: BatchRng, train: bool) -> dict:
        """Make the inputs of `forward` from a batch of `Prepared`. All random numbers come from `rng`."""
        n, levels = len(batch["z"]), self.preset.flow.draws
        latents = torch.from_numpy(batch["latents"])
        which = rng.integers(latents.shape[1], n)
        x0 = self.normal(latents[torch.arange(n), which])
        z, error = self._redshifts(torch.from_numpy(batch["z"]), rng)
        photometry = batch["photometry"]
        if train and self.preset.condition.jitter:
            photometry = photometry * (1 + self.preset.condition.jitter * student(photometry.shape, rng))
        tokens = (
            image_token(batch["image"].astype(np.float32), image_kind)
            | photometry_token(photometry, batch["photometry_ivar"])
            | redshift_token(z.numpy(), error.numpy())
        )
        if train:
            tokens = augment(tokens, self.preset.condition.drop.composite, rng)
        drop = self.preset.condition.drop.model_dump()
        tokens = drop_tokens(tokens, drop, rng)
        ranked = min(n, rng.first(self.preset.ranker.batch))
        spectra, _ = self.spectra(latents[torch.arange(n), which][:ranked])
        observed = spectra + self.noise.sample(spectra, rng.generators(ranked))[0]
        return tokens | {
            "x0": x0.repeat(levels, 1),
            "sigma": logit_normal(rng.normal(levels, n, axis=1)).flatten(),
            "noise": rng.normal(levels, n, self.dimension, axis=1).flatten(0, 1),
            "observed": observed,
        }

    @staticmethod
    def _redshifts(z: torch.Tensor, rng: BatchRng):
        """Redshifts with random errors, and these errors: half spectroscopic, half photometric."""
        low, high = np.log(REDSHIFT_ERRORS)
        error = torch.exp(low + (high - low) * rng.uniform(len(z), dtype=z.dtype))
        error = torch.where(rng.uniform(len(z)) < 0.5, REDSHIFT_ERRORS[0], error)
        return z + error * rng.normal(len(z), dtype=z.dtype), error

    def forward(self, x0, sigma, noise, observed, **tokens) -> torch.Tensor:
        """Training loss: that of the flow, plus the contrastive loss, which does not train the condition."""
        condition = self.condition(tokens)
        repeated = condition.repeat(len(x0) // len(condition), 1)
        loss = flow_loss(self.flow, x0, repeated, sigma, noise, self.latent_weights)
        return loss + 0.02 * self.ranker(condition[: len(observed)].detach(), observed)

    def parts(self) -> dict:
        """Condition network, flow (for one candidate and one evaluation) and ranker."""
        size, bands = self.preset.condition.image_size, len(self.survey.image_bands)
        image = image_token(np.ones((1, bands, size, size), np.float32), "linear")
        fluxes = np.ones((1, len(self.survey.photometry_bands)), np.float32)
        tokens = image | photometry_token(fluxes, fluxes) | redshift_token(np.zeros(1), np.zeros(1))
        condition, x = torch.zeros(1, self.condition.width), torch.zeros(1, self.dimension)
        return {
            "condition network": (self.condition, (tokens,)),
            "flow": (self.flow, (x, torch.zeros(1), condition)),
            "ranker": (self.ranker, (condition, torch.zeros(1, self.grid.size))),
        }
