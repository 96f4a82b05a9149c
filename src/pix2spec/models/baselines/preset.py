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

HUB_OR_PACKAGE = ("hub", "package", None)  # sources of pretrained weights other than a file
SCALED = "median-scaled, in physical flux where photometry fixes the scale"


class PretrainedSection(Section):
    """The network of ULISSE and its weights; see `pix2spec.models.baselines.pretrained`."""

    arch: str = "efficientnet_b0"  # timm's name
    weights: str | None = None  # "hub", "package" or a file; null: the hub, else the package
    size: PositiveInt | None = None  # of pictures after resizing, in pixels; null: the network's own size
    # Commit of the weights on the hub. `train` records it, and later runs use the same commit.
    revision: str | None = Field(None, pattern="^[0-9a-f]{40}$")
    sha256: str | None = None  # of the weights. `train` records it, and later runs check it.


class MeanPreset(FittedPreset):
    """The mean training spectrum."""

    limit: PositiveInt = 500_000  # maximum number of training galaxies

    def contract(self) -> dict[str, str]:
        """The same spectrum for every galaxy."""
        return {"image": "not looked at", "spectrum": "median-scaled"}


class NeighboursPreset(FittedPreset):
    """The spectra of nearest neighbours; see `pix2spec.models.baselines.neighbours`."""

    features: Literal["image", "photometry", "network"]
    image: ImageKind | None = None  # kind of image for apertures; null: that of the training set
    network: PretrainedSection = PretrainedSection()  # for features: network
    metric: Literal["euclidean", "cosine"] = "euclidean"
    components: PositiveInt | None = None  # principal components of the features; null: all features
    k: PositiveInt = 25  # maximum number of neighbours
    limit: PositiveInt = 500_000  # maximum number of training galaxies; each takes 7 kB of memory

    def contract(self) -> dict[str, str]:
        """From pictures, apertures in images, or fluxes to spectra of other galaxies."""
        kinds = {"network": "composite", "photometry": "not looked at, the method sees fluxes"}
        return {"image": kinds.get(self.features, str(self.image)), "spectrum": SCALED}

    def as_stored(self, folder: Path) -> Self:
        """The settings with the path of the network's weights in the model's folder, if they are a file."""
        network = self.network
        if self.features != "network" or network.weights in HUB_OR_PACKAGE:
            return self
        if network.weights != FEATURES:
            what = f"network.weights: {network.weights[:80]!r} is outside of the folder"
            raise InputError(folder / CONFIG, what, "fit the method again")
        network = network.model_copy(update={"weights": str(folder / FEATURES)})
        return self.model_copy(update={"network": network})


class RegressorPreset(FittedPreset):
    """Regression to principal components of spectra; see `pix2spec.models.baselines.regressor`."""

    features: tuple[Literal["image", "photometry"], ...] = Field(("image", "photometry"), min_length=1)
    image: ImageKind | None = None  # kind of image for apertures; null: that of the training set
    components: PositiveInt = 24
    hidden: tuple[PositiveInt, ...] = ()  # widths of the layers of an MLP; empty: ridge regression
    degree: Literal[1, 2] = 1  # of the polynomial in the features
    penalty: float = Field(1e-4, ge=0)  # on squared weights
    seed: int = 0
    limit: PositiveInt = 20_000  # maximum number of training galaxies; each takes 29 kB while fitting

    def contract(self) -> dict[str, str]:
        """From apertures in images, or fluxes, to smooth spectra."""
        return {"image": str(self.image), "spectrum": SCALED}
