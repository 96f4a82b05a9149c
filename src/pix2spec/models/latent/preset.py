"""Presets of the default model's family."""

from pydantic import Field, PositiveFloat, PositiveInt

from pix2spec.models.shared.settings import Section, TrainedPreset

__all__ = [
    "FactorisedPreset",
]


class BasisSection(Section):
    """The rest-frame basis; see `pix2spec.models.latent.basis`."""

    components: PositiveInt = 11  # continuum components
    z_max: PositiveFloat = 0.45  # largest redshift
    spectra: PositiveInt = 6144  # number of spectra that the basis is fitted to
    iterations: PositiveInt = 12  # of EM
    refine: float = Field(3.0, ge=0)  # weight, in spectra, of the basis of an initial model


class DropSection(Section):
    """Probabilities that training drops each token, all tokens, or replaces a cutout by a composite."""

    image: float = Field(0.2, ge=0, le=1)
    photometry: float = Field(0.2, ge=0, le=1)
    redshift: float = Field(0.75, ge=0, le=1)
    all: float = Field(0.03, ge=0, le=1)
    composite: float = Field(0.1, ge=0, le=1)


class ConditionSection(Section):
    """The condition network and its tokens; see `pix2spec.models.latent.conditions`."""

    image_size: PositiveInt = 64
    channels: tuple[PositiveInt, ...] = (32, 64, 128)
    blocks: PositiveInt = 2
    width: PositiveInt = 256
    jitter: float = Field(0.0, ge=0)  # relative noise on fluxes in training, heavy-tailed like real errors
    drop: DropSection = DropSection()


class FlowSection(Section):
    """The flow over latent vectors; see `pix2spec.models.latent.flow`."""

    width: PositiveInt = 256
    depth: PositiveInt = 6
    draws: PositiveInt = 4  # noise levels per galaxy and step; the image network runs once for all of them


class RankerSection(Section):
    """The contrastive network of the factorised model; see `pix2spec.models.latent.model`."""

    channels: tuple[PositiveInt, ...] = (16, 32, 64, 96)
    latent: PositiveInt = 64
    temperature: PositiveFloat = 0.1
    batch: PositiveInt = 128  # number of spectra of a training batch that it compares


class FactorisedPreset(TrainedPreset):
    """The default model: redshift, rest-frame spectrum and noise, given any photometry."""

    redshift: str = ""  # name or folder of the redshift model that candidates' redshifts are drawn from
    hold_out_test: bool = True  # false: a final model, which is trained on the test split too
    basis: BasisSection = BasisSection()
    condition: ConditionSection = ConditionSection()
    flow: FlowSection = FlowSection()
    ranker: RankerSection = RankerSection()

    def contract(self) -> dict[str, str]:
        """From any photometry to physical flux."""
        return {
            "image": "linear or composite, with ugriz fluxes and a redshift in any combination",
            "spectrum": "physical flux",
        }
