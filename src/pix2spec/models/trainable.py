"""Networks with their data: what `pix2spec.train` trains and `pix2spec.generate` runs."""

import torch
from torch import nn

from pix2spec.config import ContrastivePreset, DiffusionPreset, Preset
from pix2spec.data.augment import scale_image, scale_spectra, view
from pix2spec.diffusion import make_scheduler, training_loss
from pix2spec.distributed import mean_over_processes
from pix2spec.draws import Draws
from pix2spec.grid import SpectralGrid
from pix2spec.models.conditions import photometry_token
from pix2spec.models.contrastive import ContrastivePair
from pix2spec.models.encoders import ConditionEncoder, PhotometryEncoder
from pix2spec.models.factorised import FactorisedModel
from pix2spec.models.fitted.mean import MeanModel
from pix2spec.models.fitted.neighbours import NeighboursModel
from pix2spec.models.fitted.regressor import RegressorModel
from pix2spec.models.unet import UNet1D
from pix2spec.models.wupeek import WuPeekModel
from pix2spec.survey import Survey

__all__ = ["ContrastiveModel", "PixelDiffusion", "build_model"]


def _views(batch: dict, image_kind: str, data, draws: Draws | None) -> torch.Tensor:
    """Images of a batch as the networks see them; augmented when there are draws."""
    image = scale_image(batch["image"], image_kind, data.image)
    return view(image, data.resize, data.crop, draws)


class PixelDiffusion(nn.Module):
    """The paper's conditional diffusion model: condition encoder, U-Net, noise schedule."""

    def __init__(self, preset: DiffusionPreset, grid: SpectralGrid, survey: Survey):
        super().__init__()
        self.preset, self.grid, self.survey = preset, grid, survey
        if preset.encoder.arch == "photometry":
            self.conditions: tuple[str, ...] = ("photometry", "photometry_ivar")
            self.encoder = PhotometryEncoder(3 * len(survey.photometry_bands), preset.encoder.channels)
        else:
            self.conditions = ("image",)
            self.encoder = ConditionEncoder(**preset.encoder.model_dump(), bands=len(survey.image_bands))
        self.columns = (*self.conditions, "flux", "ivar")
        self.denoiser = UNet1D(grid.size, **preset.denoiser.model_dump(), context_width=self.encoder.width)
        self.scheduler = self.make_scheduler("ddpm")

    def make_scheduler(self, sampler: str):
        """Noise schedule of the model, for training or for one of the samplers."""
        clip = self.preset.data.spectrum == "minmax"
        return make_scheduler(sampler, **self.preset.diffusion.model_dump(), clip=clip)

    def prepare(self, batch: dict, image_kind: str, draws: Draws, train: bool) -> dict:
        """All that `forward` needs of a batch; every random number comes from `draws`."""
        data = self.preset.data
        x0, mask = scale_spectra(batch["flux"], batch["ivar"], data.spectrum)
        t = draws.integers(self.preset.diffusion.timesteps, len(x0))
        noise = draws.normal(*x0.shape)
        known = self.known(batch, image_kind, draws if train else None)
        return {"known": known, "x0": x0, "mask": mask, "t": t, "noise": noise}

    def known(self, batch: dict, image_kind: str, draws: Draws | None) -> torch.Tensor:
        """What the encoder sees of a batch: views of images, augmented with draws, or band fluxes."""
        if "photometry" in self.conditions:
            return photometry_token(batch["photometry"], batch["photometry_ivar"])["photometry"]
        return _views(batch, image_kind, self.preset.data, draws)

    def forward(self, known, x0, mask, t, noise) -> torch.Tensor:
        """Training loss (paper, Eq. 2)."""
        context = self.encode(known)
        valid = mean_over_processes(mask.sum()) if self.training else mask.sum()
        return training_loss(
            lambda x, t: self.denoiser(x, t, context), x0, mask, t, noise, self.scheduler, valid
        )

    def encode(self, known: torch.Tensor) -> torch.Tensor:
        """The condition of what `known` gives, once for all candidates and steps."""
        return self.denoiser.condition(self.encoder(known))


class ContrastiveModel(nn.Module):
    """The contrastive pair, trained to recognise which spectrum belongs to which image."""

    columns = ("image", "flux", "ivar")

    def __init__(self, preset: ContrastivePreset, grid: SpectralGrid, survey: Survey):
        super().__init__()
        self.preset, self.grid, self.survey = preset, grid, survey
        self.pair = ContrastivePair(
            **preset.encoder.model_dump(),
            **preset.contrastive.model_dump(),
            bands=len(survey.image_bands),
        )

    def prepare(self, batch: dict, image_kind: str, draws: Draws, train: bool) -> dict:
        """All that `forward` needs of a batch; every random number comes from `draws`."""
        x, _ = scale_spectra(batch["flux"], batch["ivar"], self.preset.data.spectrum)
        return {"image": _views(batch, image_kind, self.preset.data, draws if train else None), "x": x}

    def forward(self, image, x) -> torch.Tensor:
        """Training loss (paper, Eq. 3)."""
        return self.pair(image, x)


KINDS = {
    "diffusion": PixelDiffusion,
    "contrastive": ContrastiveModel,
    "factorised": FactorisedModel,
    "wu-peek": WuPeekModel,
    "mean": MeanModel,
    "neighbours": NeighboursModel,
    "regressor": RegressorModel,
}


def build_model(preset: Preset, grid: SpectralGrid, survey: Survey):
    """The network that a preset describes, with random weights."""
    return KINDS[preset.task](preset, grid, survey)
