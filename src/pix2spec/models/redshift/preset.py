"""Preset of the redshift model."""

from pydantic import Field, PositiveInt

from pix2spec.models.shared.settings import FittedPreset

__all__ = ["RedshiftPreset"]


class RedshiftPreset(FittedPreset):
    """Redshift, given measurements in any filters."""

    without: tuple[tuple[int, ...], ...] = ((0,), (1,), (2,), (3,))  # folds that each network never saw
    components: PositiveInt = 12  # Gaussians of the mixture
    queries: PositiveInt = 32
    values: PositiveInt = 16
    width: PositiveInt = 256
    dropout: float = Field(0.05, ge=0, lt=1)

    @classmethod
    def released(cls) -> "RedshiftPreset":
        """The preset of the model that ships."""
        about = "Redshift, given measurements in any filters: learnt from spectroscopic surveys."
        return cls(task="redshift", name="redshift", about=about)

    def contract(self) -> dict[str, str]:
        """From measurements in any filters to a redshift."""
        return {"image": "none; measurements in any filters", "spectrum": "none; redshifts from 0 to 0.75"}
