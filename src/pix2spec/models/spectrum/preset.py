"""Preset of the default model."""

from pydantic import Field, PositiveFloat, PositiveInt

from pix2spec.models.shared.settings import FittedPreset, Section

__all__ = ["SpectrumPreset"]


class BasisSection(Section):
    """The rest-frame basis of each network; see `pix2spec.models.latent.basis`."""

    components: PositiveInt = 16
    z_max: PositiveFloat = 0.7
    red: PositiveFloat = 10_800.0  # Angstrom, rest frame


class ImageSection(Section):
    """The image network, which all networks share."""

    size: PositiveInt = 64  # pixels
    channels: tuple[PositiveInt, ...] = (32, 64, 128)
    blocks: PositiveInt = 2
    width: PositiveInt = 256


class FlowSection(Section):
    """The flow; see `pix2spec.models.spectrum.flow`."""

    width: PositiveInt = 192
    depth: PositiveInt = 6


class RankerSection(Section):
    """The contrastive network, which ranks candidates."""

    channels: tuple[PositiveInt, ...] = (16, 32, 64, 96)
    latent: PositiveInt = 64
    temperature: float = Field(0.1, gt=0)


class SpectrumPreset(FittedPreset):
    """The spectrum, given the redshift and any measurements: an ensemble of networks."""

    redshift: str = "redshift"  # name or folder of the model that redshifts are drawn from
    shape: str = "shape"  # name or folder of the model that knows galaxies' shapes
    start: str = "default"  # `pix2spec train` adapts this model, by name or folder, to a dataset
    without: tuple[tuple[int, ...], ...] = ((0,), (1,), (2,), (3,))  # folds that each network never saw
    basis: BasisSection = BasisSection()
    image: ImageSection = ImageSection()
    flow: FlowSection = FlowSection()
    ranker: RankerSection = RankerSection()

    @classmethod
    def released(cls) -> "SpectrumPreset":
        """The preset of the model that ships."""
        about = (
            "Redshift x rest-frame spectrum x noise, given measurements in any filters, cutout and redshift."
        )
        return cls(task="spectrum", name="default", about=about)

    def contract(self) -> dict[str, str]:
        """From any photometry to physical flux."""
        return {
            "image": "linear or composite, with fluxes in any filters and a redshift in any combination",
            "spectrum": "physical flux",
        }
