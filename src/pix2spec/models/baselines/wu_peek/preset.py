"""Preset of the method of Wu & Peek (2020)."""

from pydantic import Field, PositiveFloat, PositiveInt

from pix2spec.models.shared.settings import ImagePreset, Section

__all__ = [
    "WuPeekPreset",
]


class AutoencoderSection(Section):
    """The autoencoder of Portillo et al. (2020); see `pix2spec.models.baselines.wu_peek.autoencoder`."""

    hidden: tuple[PositiveInt, PositiveInt] = (3040, 608)
    latent: PositiveInt = 6
    alpha: float = 0.0  # weight of the InfoVAE
    lam: PositiveFloat = 1.0e4  # weight of the InfoVAE, for the MMD term
    softening: float = Field(0.02, ge=0)  # least error of a pixel, in units of the scaled spectra


class HybridSection(Section):
    """The image network of Wu & Peek (2020); see `pix2spec.models.baselines.wu_peek.model.HybridNetwork`."""

    stem: tuple[PositiveInt, ...] = (32, 32, 64)
    channels: tuple[PositiveInt, ...] = (64, 128, 256, 512)
    groups: PositiveInt = 64
    reduction: PositiveInt = 8


class WuPeekPreset(ImagePreset):
    """An autoencoder of spectra and the image network that predicts its codes (Wu & Peek 2020)."""

    autoencoder: AutoencoderSection = AutoencoderSection()
    network: HybridSection = HybridSection()
