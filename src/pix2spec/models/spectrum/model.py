"""The default model: an ensemble of spectrum networks, and what it says of pictures.

measurements ── redshift model ──► z of each candidate ┐
measurements, picture ── GalaxyNetwork ──► condition ──┼── SpectrumFlow ──► coefficients ── basis ──► spectrum
measurements, z ── fit_linear ──► linear answer ───────┘
"""

import numpy as np
import torch
from torch import nn

from pix2spec.core.grid import SpectralGrid
from pix2spec.core.survey import SDSS, Survey
from pix2spec.models.latent.basis import RestFrameBasis
from pix2spec.models.latent.conditions import ImageEncoder
from pix2spec.models.latent.model import Ranker
from pix2spec.models.shared.measurements import MeasurementTable, Tokens
from pix2spec.models.shared.network import Network
from pix2spec.models.spectrum.flow import GalaxyNetwork
from pix2spec.models.spectrum.network import SpectrumNetwork
from pix2spec.models.spectrum.preset import SpectrumPreset

__all__ = ["PictureNetwork", "SpectrumModel"]

COMPONENTS = 12  # Gaussians of a redshift from a picture
LOG_SD = -6.5, 1.5


class PictureNetwork(nn.Module):
    """What a picture and fluxes in the fibre say of the redshift, and of which spectrum belongs to them.

    It knows simulated pictures alone.
    """

    def __init__(self, preset: SpectrumPreset):
        super().__init__()
        width = preset.flow.width
        self.galaxy = GalaxyNetwork(width, preset.image.width)
        self.redshift = nn.Sequential(
            nn.SiLU(), nn.Linear(width, 256), nn.SiLU(), nn.Linear(256, 3 * COMPONENTS)
        )
        self.ranker = Ranker(width, **preset.ranker.model_dump())

    def mixture(self, condition: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Log weights, means and log sds (N, components) of mixtures in y of `redshift.posterior.to_y`."""
        weight, mean, log_sd = self.redshift(condition).chunk(3, 1)
        return weight.log_softmax(1), mean, log_sd.clamp(*LOG_SD)

    def surprise(self, condition: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """Mean negative log likelihood of redshifts y (N,), but for a constant."""
        weight, mean, log_sd = self.mixture(condition)
        deviation = (y[:, None] - mean) * torch.exp(-log_sd)
        return -torch.logsumexp(weight - log_sd - 0.5 * deviation**2, 1).mean()


class SpectrumModel(Network):
    """Networks, each trained without other folds of the real galaxies, so that it can be tested on them.

    Parameters
    ----------
    preset : SpectrumPreset
        The settings.
    grid : SpectralGrid
        Pixels of the spectra.
    survey : Survey
        Bands and pixel scale of cutouts.
    """

    def __init__(self, preset: SpectrumPreset, grid: SpectralGrid, survey: Survey = SDSS):
        super().__init__(preset, grid, survey)
        self.networks = nn.ModuleList(SpectrumNetwork(preset, grid) for _ in preset.without)
        image = preset.image
        self.pictures = ImageEncoder(survey, image.size, image.channels, image.blocks, image.width)
        self.judge = PictureNetwork(preset)
        self.camera = nn.Sequential(nn.Linear(image.width, 64), nn.SiLU(), nn.Linear(64, 1))

    def likeness(self, picture: torch.Tensor) -> torch.Tensor:
        """Probabilities (N,) that vectors (N, width) are those of the simulated survey's own pictures.

        The alternative are the same galaxies as an unruly camera takes them, and as the sky shows them.
        """
        return torch.sigmoid(self.camera(picture)[:, 0])

    @property
    def z_max(self) -> float:
        """Largest redshift of the spectra."""
        return self.preset.basis.z_max

    @property
    def ranker(self) -> Ranker:
        """The contrastive network."""
        return self.judge.ranker

    @property
    def basis(self) -> RestFrameBasis:
        """The rest-frame basis of the first network."""
        return self.networks[0].basis

    def members(self, fold: int = -1) -> list[int]:
        """Numbers of the networks that never saw a fold of the real galaxies; all for -1."""
        return [k for k, left_out in enumerate(self.preset.without) if fold < 0 or fold in left_out]

    def parts(self) -> dict:
        """One network's flow for one candidate, its galaxy network, and the image network."""
        network, size = self.networks[0], self.preset.image.size
        flux = np.ones((1, 5))
        tokens: Tokens = MeasurementTable(flux, flux, np.linspace(3600, 8900, 5), np.full(5, 300.0)).tokens()
        picture = torch.zeros(1, len(self.survey.image_bands), size, size), torch.zeros(1)
        d, width = network.dimension, self.preset.flow.width
        x, modulation = torch.zeros(1, 1, d), torch.zeros(1, self.preset.flow.depth, 3, width)
        vector, seen = torch.zeros(1, self.preset.image.width), torch.zeros(1, dtype=torch.bool)
        known = torch.zeros(1, 1, width)
        return {
            "galaxy network": (network.galaxy, (tokens, vector, seen)),
            "flow": (network.flow, (x, torch.zeros(1), known, modulation, x, x + 1)),
            "image network": (self.pictures, picture),
        }
