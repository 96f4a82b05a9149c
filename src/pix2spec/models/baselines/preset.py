"""Presets of the methods that are fitted in one pass."""

from typing import Literal

from pydantic import Field, PositiveInt

from pix2spec.models.shared.settings import ImageKind, Section

__all__ = [
    "MeanPreset",
    "NeighboursPreset",
    "RegressorPreset",
]


class PretrainedSection(Section):
    """The network of ULISSE and its weights; see `pix2spec.models.baselines.pretrained`."""

    arch: str = "efficientnet_b0"  # a name of timm
    weights: str | None = None  # "hub", "package" or a file; null: the first of hub and package at hand
    size: PositiveInt | None = None  # pixels that pictures are resized to; null: as the network wants
    # Of the hub; `train` notes which commit it took, and later runs ask for no other.
    revision: str | None = Field(None, pattern="^[0-9a-f]{40}$")
    sha256: str | None = None  # of the weights; `train` notes it, and later runs check it


class MeanPreset(Section):
    """The mean training spectrum."""

    task: Literal["mean"]
    name: str
    about: str
    limit: PositiveInt = 500_000  # training pairs at most


class NeighboursPreset(Section):
    """The spectra of look-alikes; see `pix2spec.models.baselines.neighbours`."""

    task: Literal["neighbours"]
    name: str
    about: str
    features: Literal["image", "photometry", "network"]
    image: ImageKind | None = None  # what apertures are measured on; null: what the training set has
    network: PretrainedSection = PretrainedSection()  # of features: network
    metric: Literal["euclidean", "cosine"] = "euclidean"
    components: PositiveInt | None = None  # principal components of the features; null: all features
    k: PositiveInt = 25  # neighbours at most
    limit: PositiveInt = 500_000  # training pairs at most; each takes 7 kB of memory


class RegressorPreset(Section):
    """Principal components of spectra, by regression; see `pix2spec.models.baselines.regressor`."""

    task: Literal["regressor"]
    name: str
    about: str
    features: tuple[Literal["image", "photometry"], ...] = Field(("image", "photometry"), min_length=1)
    image: ImageKind | None = None  # what apertures are measured on; null: what the training set has
    components: PositiveInt = 24
    hidden: tuple[PositiveInt, ...] = ()  # widths of an MLP's layers; none: ridge regression
    degree: Literal[1, 2] = 1  # of the polynomial in the features
    penalty: float = Field(1e-4, ge=0)  # on squared weights
    seed: int = 0
    limit: PositiveInt = 20_000  # training pairs at most; each takes 29 kB of memory while fitting
