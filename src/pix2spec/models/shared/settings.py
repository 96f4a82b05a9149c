"""Base classes of presets, and sections that several families of models share."""

from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt

__all__ = ["DataSection", "FittedPreset", "ImagePreset", "Preset", "Section", "TrainSection", "TrainedPreset"]

ImageKind = Literal["linear", "composite"]

# Names of samplers, which `Settings` checks without importing the samplers themselves.
PIXEL_SAMPLERS = ("ddpm", "ddim", "dpm++")  # of `pix2spec.models.pixel.diffusion`
FLOW_SAMPLERS = ("euler", "heun", "dpm++")  # of `pix2spec.models.latent.sampler`


class Section(BaseModel):
    """A part of a preset. Unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class DataSection(Section):
    """Scaling of images and spectra; see `pix2spec.models.shared.inputs`."""

    image: Literal["composite", "linear"] = "composite"
    spectrum: Literal["minmax", "robust"] = "minmax"
    resize: PositiveInt = 71  # pixels
    crop: PositiveInt = 64  # pixels


class ImageNetwork(Section):
    """An image network; see `pix2spec.models.shared.encoders.image_network`."""

    arch: Literal["resnet18", "resnet34", "resnet50"] = "resnet18"
    channels: tuple[PositiveInt, ...] | None = None
    pretrained: bool = False
    revision: str | None = Field(None, pattern="^[0-9a-f]{40}$")  # of the pretrained weights, on the hub


class TrainSection(Section):
    """Settings of the training loop; see `pix2spec.train`."""

    steps: PositiveInt
    batch_size: PositiveInt
    lr: PositiveFloat = 1e-4
    lr_decay: float = Field(1.0, gt=0, le=1)  # factor of the learning rate after each epoch
    lr_schedule: Literal["epochs", "cosine"] = "epochs"  # cosine: a warm-up, then half a cosine down to zero
    warmup: int = Field(0, ge=0)  # steps in which `epochs` raises the rate to `lr`
    weight_decay: float = Field(0.0, ge=0)  # L2 term of Adam
    ema: float = Field(0.99, ge=0, lt=1)  # decay of the moving average of the weights, per step
    seed: int = 0
    validate_every: PositiveInt = 1000
    validation_size: PositiveInt = 1024
    checkpoint_every: PositiveInt = 1000
    workers: int = Field(0, ge=0)
    precision: Literal["no", "bf16", "fp16"] = "no"


class Preset(Section):
    """Settings of one model. `task` names its family in `pix2spec.models.registry`."""

    task: str
    name: str
    about: str

    def contract(self) -> dict[str, str]:
        """Descriptions of the input (``"image"``) and output (``"spectrum"``), for the model card."""
        return {"image": "as the preset says", "spectrum": "as the preset says"}

    def as_stored(self, folder: Path) -> Self:
        """The settings to load the weights of `folder` with. They download nothing.

        Raises
        ------
        InputError
            If the settings name a file outside of the folder.
        """
        return self


class TrainedPreset(Preset):
    """Settings of a network that the training loop trains."""

    train: TrainSection


class FittedPreset(Preset):
    """Settings of a method that is fitted in one pass, without a training loop."""


class ImagePreset(TrainedPreset):
    """Settings of a network that sees scaled images and spectra."""

    data: DataSection = DataSection()

    def contract(self) -> dict[str, str]:
        """The scaling of images and spectra."""
        return {"image": self.data.image, "spectrum": self.data.spectrum}

    def as_stored(self, folder: Path) -> Self:
        """The settings without ImageNet weights, because the trained weights replace them."""
        encoder = getattr(self, "encoder", None)
        if not isinstance(encoder, ImageNetwork) or not encoder.pretrained:
            return self
        return self.model_copy(update={"encoder": encoder.model_copy(update={"pretrained": False})})
