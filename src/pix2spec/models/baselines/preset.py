"""Presets of the methods that are fitted in one pass."""

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, PositiveInt

from pix2spec.errors import InputError
from pix2spec.models.shared.hub import CONFIG, FEATURES
from pix2spec.models.shared.settings import FittedPreset, ImageKind, Section

__all__ = [
    "MeanPreset",
    "NeighboursPreset",
    "RegressorPreset",
]

HUB_OR_PACKAGE = ("hub", "package", None)  # weights of a pretrained network that are no file
SCALED = "median-scaled, in physical flux where photometry fixes the scale"


class PretrainedSection(Section):
    """The network of ULISSE and its weights; see `pix2spec.models.baselines.pretrained`."""

    arch: str = "efficientnet_b0"  # a name of timm
    weights: str | None = None  # "hub", "package" or a file; null: the first of hub and package at hand
    size: PositiveInt | None = None  # pixels that pictures are resized to; null: as the network wants
    # Of the hub; `train` notes which commit it took, and later runs ask for no other.
    revision: str | None = Field(None, pattern="^[0-9a-f]{40}$")
    sha256: str | None = None  # of the weights; `train` notes it, and later runs check it


class MeanPreset(FittedPreset):
    """The mean training spectrum."""

    limit: PositiveInt = 500_000  # training pairs at most

    def contract(self) -> dict[str, str]:
        """A spectrum, whatever the object."""
        return {"image": "not looked at", "spectrum": "median-scaled"}


class NeighboursPreset(FittedPreset):
    """The spectra of look-alikes; see `pix2spec.models.baselines.neighbours`."""

    features: Literal["image", "photometry", "network"]
    image: ImageKind | None = None  # what apertures are measured on; null: what the training set has
    network: PretrainedSection = PretrainedSection()  # of features: network
    metric: Literal["euclidean", "cosine"] = "euclidean"
    components: PositiveInt | None = None  # principal components of the features; null: all features
    k: PositiveInt = 25  # neighbours at most
    limit: PositiveInt = 500_000  # training pairs at most; each takes 7 kB of memory

    def contract(self) -> dict[str, str]:
        """Pictures, apertures in images or fluxes, to spectra of others."""
        kinds = {"network": "composite", "photometry": "not looked at, the method sees fluxes"}
        return {"image": kinds.get(self.features, str(self.image)), "spectrum": SCALED}

    def as_stored(self, folder: Path) -> Self:
        """With the features' network, if its weights are a file, in the model's folder."""
        network = self.network
        if self.features != "network" or network.weights in HUB_OR_PACKAGE:
            return self
        if network.weights != FEATURES:
            what = f"network.weights: {network.weights[:80]!r} is outside of the folder"
            raise InputError(folder / CONFIG, what, "fit the method again")
        network = network.model_copy(update={"weights": str(folder / FEATURES)})
        return self.model_copy(update={"network": network})


class RegressorPreset(FittedPreset):
    """Principal components of spectra, by regression; see `pix2spec.models.baselines.regressor`."""

    features: tuple[Literal["image", "photometry"], ...] = Field(("image", "photometry"), min_length=1)
    image: ImageKind | None = None  # what apertures are measured on; null: what the training set has
    components: PositiveInt = 24
    hidden: tuple[PositiveInt, ...] = ()  # widths of an MLP's layers; none: ridge regression
    degree: Literal[1, 2] = 1  # of the polynomial in the features
    penalty: float = Field(1e-4, ge=0)  # on squared weights
    seed: int = 0
    limit: PositiveInt = 20_000  # training pairs at most; each takes 29 kB of memory while fitting

    def contract(self) -> dict[str, str]:
        """Apertures in images, or fluxes, to smooth spectra."""
        return {"image": str(self.image), "spectrum": SCALED}
