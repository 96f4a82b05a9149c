"""Presets of the paper's models."""

from typing import Literal

from pydantic import Field, PositiveFloat, PositiveInt

from pix2spec.models.shared.settings import ImageNetwork, ImagePreset, Section

__all__ = [
    "ContrastivePreset",
    "DiffusionPreset",
]


class EncoderSection(ImageNetwork):
    """The condition encoder of a diffusion model: for an image or, with ``photometry``, for band fluxes.

    For ``photometry``, `channels` are the widths of the layers; see `pix2spec.models.shared.encoders`.
    """

    arch: Literal["resnet18", "resnet34", "resnet50", "photometry"] = "resnet18"  # type: ignore[assignment]


class DenoiserSection(Section):
    """The U-Net; see `pix2spec.models.pixel.unet.UNet1D`."""

    conditioning: Literal["concat", "xattn"]
    width: PositiveInt = Field(64, multiple_of=8)
    multipliers: tuple[PositiveInt, ...] = (1, 2, 4, 8)


class DiffusionSection(Section):
    """The noise schedule; see `pix2spec.models.pixel.diffusion.make_scheduler`."""

    timesteps: PositiveInt = 250
    schedule: Literal["squaredcos_cap_v2", "linear", "scaled_linear"] = "squaredcos_cap_v2"


class ContrastiveSection(Section):
    """Spectrum network, latent space and loss; see `pix2spec.models.shared.contrastive`."""

    spectrum_channels: tuple[PositiveInt, ...] = (64, 128, 256, 512)
    kernel: PositiveInt = 16
    latent: PositiveInt = 128
    temperature: PositiveFloat = 0.05


class DiffusionPreset(ImagePreset):
    """A conditional diffusion model over the pixels of spectra."""

    encoder: EncoderSection = EncoderSection()
    denoiser: DenoiserSection
    diffusion: DiffusionSection = DiffusionSection()


class ContrastivePreset(ImagePreset):
    """A contrastive network of images and spectra, which ranks candidates."""

    encoder: ImageNetwork = ImageNetwork(arch="resnet50")
    contrastive: ContrastiveSection = ContrastiveSection()
