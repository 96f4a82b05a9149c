"""The paper's conditional diffusion model: condition encoder, U-Net, noise schedule."""

from collections.abc import Callable

import torch
from torch import nn

from pix2spec.core.grid import SpectralGrid
from pix2spec.core.survey import Survey
from pix2spec.models.pixel.diffusion import make_scheduler, training_loss
from pix2spec.models.pixel.preset import DiffusionPreset
from pix2spec.models.pixel.unet import UNet1D
from pix2spec.models.shared.encoders import ConditionEncoder, PhotometryEncoder
from pix2spec.models.shared.inputs import image_views, photometry_token, scale_spectra
from pix2spec.models.shared.network import Network
from pix2spec.runtime.distributed import mean_over_processes
from pix2spec.runtime.random import BatchRng

__all__ = [
    "PixelDiffusion",
]


class PixelDiffusion(Network):
    """The paper's conditional diffusion model: condition encoder, denoiser, noise schedule.

    Parameters
    ----------
    preset : DiffusionPreset
        Settings.
    grid : SpectralGrid
        Wavelengths of the spectra.
    survey : Survey
        Bands of the photometry.
    denoiser : callable
        Class or function that makes the network to predict the noise, like `UNet1D`:
        ``denoiser(size, **settings, context_width=C)``. The settings are the preset's section ``denoiser``,
        and C is the width of the condition's tokens.
    """

    def __init__(
        self,
        preset: DiffusionPreset,
        grid: SpectralGrid,
        survey: Survey,
        denoiser: Callable[..., nn.Module] = UNet1D,
    ):
        super().__init__(preset, grid, survey)
        if preset.encoder.arch == "photometry":
            self.conditions: tuple[str, ...] = ("photometry", "photometry_ivar")
            self.encoder = PhotometryEncoder(3 * len(survey.photometry_bands), preset.encoder.channels)
        else:
            self.conditions = ("image",)
            self.encoder = ConditionEncoder(**preset.encoder.model_dump(), bands=len(survey.image_bands))
        self.columns = (*self.conditions, "flux", "ivar")
        self.denoiser = denoiser(grid.size, **preset.denoiser.model_dump(), context_width=self.encoder.width)
        self.scheduler = self.make_scheduler("ddpm")

    def make_scheduler(self, sampler: str):
        """Make the scheduler of a sampler. ``ddpm`` is also the scheduler of training."""
        clip = self.preset.data.spectrum == "minmax"
        return make_scheduler(sampler, **self.preset.diffusion.model_dump(), clip=clip)

    def prepare(self, batch: dict, image_kind: str, rng: BatchRng, train: bool) -> dict:
        """Make the inputs of `forward` from a batch. All random numbers come from `rng`."""
        data = self.preset.data
        x0, mask = scale_spectra(batch["flux"], batch["ivar"], data.spectrum)
        t = rng.integers(self.preset.diffusion.timesteps, len(x0))
        noise = rng.normal(*x0.shape)
        known = self.known(batch, image_kind, rng if train else None)
        return {"known": known, "x0": x0, "mask": mask, "t": t, "noise": noise}

    def known(self, batch: dict, image_kind: str, rng: BatchRng | None) -> torch.Tensor:
        """Inputs of the encoder: images, augmented if there is an `rng`, or features of band fluxes."""
        if "photometry" in self.conditions:
            return photometry_token(batch["photometry"], batch["photometry_ivar"])["photometry"]
        return image_views(batch, image_kind, self.preset.data, rng)

    def forward(self, known, x0, mask, t, noise) -> torch.Tensor:
        """Training loss (paper, Eq. 2)."""
        context = self.encode(known)
        valid = mean_over_processes(mask.sum()) if self.training else mask.sum()
        return training_loss(
            lambda x, t: self.denoiser(x, t, context), x0, mask, t, noise, self.scheduler, valid
        )

    def encode(self, known: torch.Tensor) -> torch.Tensor:
        """Encode the inputs `known`. The result serves all candidates and steps of an object."""
        return self.denoiser.condition(self.encoder(known))

    @torch.no_grad()
    def parts(self) -> dict:
        """Condition encoder and denoiser (for one candidate and one step)."""
        crop = self.preset.data.crop
        known = torch.zeros(1, len(self.survey.image_bands), crop, crop)
        if "photometry" in self.conditions:
            known = torch.zeros(1, 3 * len(self.survey.photometry_bands))
        inputs = (torch.zeros(1, 1, self.grid.size), torch.zeros(1, dtype=torch.long), self.encode(known))
        return {"condition encoder": (self.encoder, (known,)), "denoiser": (self.denoiser, inputs)}
