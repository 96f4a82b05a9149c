"""Sections of presets that several families of models share."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt

ImageKind = Literal["linear", "composite"]


class Section(BaseModel):
    """A part of a preset; unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class DataSection(Section):
    """How pairs reach the networks."""

    image: Literal["composite", "linear"] = "composite"
    spectrum: Literal["minmax", "robust"] = "minmax"
    resize: PositiveInt = 71
    crop: PositiveInt = 64


class ImageNetwork(Section):
    """A timm network; `channels` narrows a ResNet's four stages."""

    arch: Literal["resnet18", "resnet34", "resnet50"] = "resnet18"
    channels: tuple[PositiveInt, ...] | None = None
    pretrained: bool = False
    revision: str | None = Field(None, pattern="^[0-9a-f]{40}$")  # of the pretrained weights, on the hub


class TrainSection(Section):
    """The training loop; see `pix2spec.train`."""

    steps: PositiveInt
    batch_size: PositiveInt
    lr: PositiveFloat = 1e-4
    lr_decay: float = Field(1.0, gt=0, le=1)  # factor an epoch
    lr_schedule: Literal["epochs", "cosine"] = "epochs"  # cosine: a short warm-up, then down to zero
    weight_decay: float = Field(0.0, ge=0)  # as Adam's L2 term
    ema: float = Field(0.99, ge=0, lt=1)
    seed: int = 0
    validate_every: PositiveInt = 1000
    validation_size: PositiveInt = 1024
    checkpoint_every: PositiveInt = 1000
    workers: int = Field(0, ge=0)
    precision: Literal["no", "bf16", "fp16"] = "no"
