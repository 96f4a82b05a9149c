"""The paper's contrastive network, which ranks candidates."""

import torch

from pix2spec.core.grid import SpectralGrid
from pix2spec.core.survey import Survey
from pix2spec.models.pixel.preset import ContrastivePreset
from pix2spec.models.shared.contrastive import ContrastivePair
from pix2spec.models.shared.inputs import image_views, scale_spectra
from pix2spec.models.shared.network import Network
from pix2spec.runtime.random import BatchRng

__all__ = [
    "ContrastiveModel",
]


class ContrastiveModel(Network):
    """An image and a spectrum encoder, trained to find the spectrum that belongs to an image."""

    columns = ("image", "flux", "ivar")

    def __init__(self, preset: ContrastivePreset, grid: SpectralGrid, survey: Survey):
        super().__init__(preset, grid, survey)
        self.pair = ContrastivePair(
            **preset.encoder.model_dump(),
            **preset.contrastive.model_dump(),
            bands=len(survey.image_bands),
        )

    def prepare(self, batch: dict, image_kind: str, rng: BatchRng, train: bool) -> dict:
        """Make the inputs of `forward` from a batch. All random numbers come from `rng`."""
        x, _ = scale_spectra(batch["flux"], batch["ivar"], self.preset.data.spectrum)
        return {"image": image_views(batch, image_kind, self.preset.data, rng if train else None), "x": x}

    def forward(self, image, x) -> torch.Tensor:
        """Training loss (paper, Eq. 3)."""
        return self.pair(image, x)

    def parts(self) -> dict:
        """Both encoders."""
        crop = self.preset.data.crop
        image = torch.zeros(1, len(self.survey.image_bands), crop, crop)
        return {
            "image encoder": (self.pair.image_encoder, (image,)),
            "spectrum encoder": (self.pair.spectrum_encoder, (torch.zeros(1, 1, self.grid.size),)),
        }
