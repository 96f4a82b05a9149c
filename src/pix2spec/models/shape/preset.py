"""Preset of the shape model."""

from pydantic import PositiveInt

from pix2spec.models.shared.settings import FittedPreset

__all__ = ["ShapePreset"]


class ShapePreset(FittedPreset):
    """Whether a galaxy is of early type, from its shape, and which emission lines that allows."""

    channels: tuple[PositiveInt, ...] = (24, 48, 64)
    width: PositiveInt = 64  # of the embedding
    folds: PositiveInt = 4  # of the real spectra, which the shares of early types among spectra do not see

    @classmethod
    def released(cls) -> "ShapePreset":
        """The preset of the model that ships."""
        about = "Early or late type from the shape of a galaxy, and what that says of its emission lines."
        return cls(task="shape", name="shape", about=about)

    def contract(self) -> dict[str, str]:
        """From a picture to a weight of spectra."""
        weights = "none; weights of candidates of the default model"
        return {"image": "linear or composite", "spectrum": weights}
