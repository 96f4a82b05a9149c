"""Presets of the default model's family."""

from pydantic import Field, PositiveFloat, PositiveInt

from pix2spec.models.shared.settings import Section, TrainedPreset

__all__ = [
    "FactorisedPreset",
]


class BasisSection(Section):
    """Redshift and rest-frame coefficients; see `pix2spec.models.latent.basis`."""

    components: PositiveInt = 11
    z_max: PositiveFloat = 0.45
    spectra: PositiveInt = 6144  # that the basis is fitted to
    iterations: PositiveInt = 12
    refine: float = Field(3.0, ge=0)  # of a basis that is there already: it weighs like so many spectra


class DropSection(Section):
    """How often training hides each token, and how often it shows a composite instead of a cutout."""

    image: float = Field(0.2, ge=0, le=1)
    photometry: float = Field(0.2, ge=0, le=1)
    redshift: float = Field(0.75, ge=0, le=1)
    all: float = Field(0.03, ge=0, le=1)
    composite: float = Field(0.1, ge=0, le=1)


class ConditionSection(Section):
    """Image network and tokens; see `pix2spec.models.latent.conditions`."""

    image_size: PositiveInt = 64
    channels: tuple[PositiveInt, ...] = (32, 64, 128)
    blocks: PositiveInt = 2
    width: PositiveInt = 256
    jitter: float = Field(0.0, ge=0)  # relative noise on fluxes in training, heavy-tailed as real errors are
    drop: DropSection = DropSection()


class FlowSection(Section):
    """The flow over latent vectors; see `pix2spec.models.latent.flow`."""

    width: PositiveInt = 256
    depth: PositiveInt = 6
    draws: PositiveInt = 4  # noise levels an object and step: the image network runs once for all


class RankerSection(Section):
    """The contrastive network of the factorised model; see `pix2spec.models.latent.model`."""

    channels: tuple[PositiveInt, ...] = (16, 32, 64, 96)
    latent: PositiveInt = 64
    temperature: PositiveFloat = 0.1
    batch: PositiveInt = 128


class FactorisedPreset(TrainedPreset):
    """Redshift x rest-frame spectrum x noise, given any photometry."""

    hold_out_test: bool = True  # false: a final model, which learns from the test split too
    basis: BasisSection = BasisSection()
    condition: ConditionSection = ConditionSection()
    flow: FlowSection = FlowSection()
    ranker: RankerSection = RankerSection()

    def contract(self) -> dict[str, str]:
        """Any photometry, to physical flux."""
        return {
            "image": "linear or composite, with ugriz fluxes and a redshift in any combination",
            "spectrum": "physical flux",
        }
