"""Presets: one YAML file is the whole truth of a training run, validated before anything starts."""

import difflib
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt, TypeAdapter, ValidationError

from pix2spec.errors import InputError

__all__ = [
    "ContrastivePreset",
    "DiffusionPreset",
    "FactorisedPreset",
    "MeanPreset",
    "NeighboursPreset",
    "Preset",
    "RegressorPreset",
    "WuPeekPreset",
    "load_preset",
    "parse_yaml",
    "preset_names",
    "validate_preset",
]


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


class EncoderSection(ImageNetwork):
    """What a diffusion model is conditioned on: an image, or band fluxes in its place.

    For ``photometry``, `channels` are the widths of the layers; see `pix2spec.models.encoders`.
    """

    arch: Literal["resnet18", "resnet34", "resnet50", "photometry"] = "resnet18"  # type: ignore[assignment]


class DenoiserSection(Section):
    """The U-Net; see `pix2spec.models.unet.UNet1D`."""

    conditioning: Literal["concat", "xattn"]
    width: PositiveInt = Field(64, multiple_of=8)
    multipliers: tuple[PositiveInt, ...] = (1, 2, 4, 8)


class DiffusionSection(Section):
    """The noise schedule; see `pix2spec.diffusion.make_scheduler`."""

    timesteps: PositiveInt = 250
    schedule: Literal["squaredcos_cap_v2", "linear", "scaled_linear"] = "squaredcos_cap_v2"


class ContrastiveSection(Section):
    """Spectrum network, latent space and loss; see `pix2spec.models.contrastive`."""

    spectrum_channels: tuple[PositiveInt, ...] = (64, 128, 256, 512)
    kernel: PositiveInt = 16
    latent: PositiveInt = 128
    temperature: PositiveFloat = 0.05


class BasisSection(Section):
    """Redshift and rest-frame coefficients; see `pix2spec.models.basis`."""

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
    """Image network and tokens; see `pix2spec.models.conditions`."""

    image_size: PositiveInt = 64
    channels: tuple[PositiveInt, ...] = (32, 64, 128)
    blocks: PositiveInt = 2
    width: PositiveInt = 256
    jitter: float = Field(0.0, ge=0)  # relative noise on fluxes in training, heavy-tailed as real errors are
    drop: DropSection = DropSection()


class FlowSection(Section):
    """The flow over latent vectors; see `pix2spec.models.flow`."""

    width: PositiveInt = 256
    depth: PositiveInt = 6
    draws: PositiveInt = 4  # noise levels an object and step: the image network runs once for all


class RankerSection(Section):
    """The contrastive network of the factorised model; see `pix2spec.models.factorised`."""

    channels: tuple[PositiveInt, ...] = (16, 32, 64, 96)
    latent: PositiveInt = 64
    temperature: PositiveFloat = 0.1
    batch: PositiveInt = 128


class AutoencoderSection(Section):
    """The autoencoder of Portillo et al. (2020); see `pix2spec.models.infovae`."""

    hidden: tuple[PositiveInt, PositiveInt] = (3040, 608)
    latent: PositiveInt = 6
    alpha: float = 0.0  # of the InfoVAE
    lam: PositiveFloat = 1.0e4  # likewise: the weight of the MMD term
    softening: float = Field(0.02, ge=0)  # least error of a pixel, in units of the scaled spectra


class HybridSection(Section):
    """The image network of Wu & Peek (2020); see `pix2spec.models.wupeek.HybridNetwork`."""

    stem: tuple[PositiveInt, ...] = (32, 32, 64)
    channels: tuple[PositiveInt, ...] = (64, 128, 256, 512)
    groups: PositiveInt = 64
    reduction: PositiveInt = 8


class PretrainedSection(Section):
    """The network of ULISSE and its weights; see `pix2spec.models.fitted.pretrained`."""

    arch: str = "efficientnet_b0"  # a name of timm
    weights: str | None = None  # "hub", "package" or a file; null: the first of hub and package at hand
    size: PositiveInt | None = None  # pixels that pictures are resized to; null: as the network wants
    # Of the hub; `train` notes which commit it took, and later runs ask for no other.
    revision: str | None = Field(None, pattern="^[0-9a-f]{40}$")
    sha256: str | None = None  # of the weights; `train` notes it, and later runs check it


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


class DiffusionPreset(Section):
    """A conditional diffusion model over the pixels of spectra."""

    task: Literal["diffusion"]
    name: str
    about: str
    data: DataSection = DataSection()
    encoder: EncoderSection = EncoderSection()
    denoiser: DenoiserSection
    diffusion: DiffusionSection = DiffusionSection()
    train: TrainSection


class ContrastivePreset(Section):
    """A contrastive image-spectrum pair, which ranks candidates."""

    task: Literal["contrastive"]
    name: str
    about: str
    data: DataSection = DataSection()
    encoder: ImageNetwork = ImageNetwork(arch="resnet50")
    contrastive: ContrastiveSection = ContrastiveSection()
    train: TrainSection


class FactorisedPreset(Section):
    """Redshift x rest-frame spectrum x noise, given any photometry."""

    task: Literal["factorised"]
    name: str
    about: str
    hold_out_test: bool = True  # false: a final model, which learns from the test split too
    basis: BasisSection = BasisSection()
    condition: ConditionSection = ConditionSection()
    flow: FlowSection = FlowSection()
    ranker: RankerSection = RankerSection()
    train: TrainSection


class WuPeekPreset(Section):
    """The autoencoder of spectra and the image network that predicts its codes (Wu & Peek 2020)."""

    task: Literal["wu-peek"]
    name: str
    about: str
    data: DataSection = DataSection()
    autoencoder: AutoencoderSection = AutoencoderSection()
    network: HybridSection = HybridSection()
    train: TrainSection


ImageKind = Literal["linear", "composite"]


class MeanPreset(Section):
    """The mean training spectrum."""

    task: Literal["mean"]
    name: str
    about: str
    limit: PositiveInt = 500_000  # training pairs at most


class NeighboursPreset(Section):
    """The spectra of look-alikes; see `pix2spec.models.fitted.neighbours`."""

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
    """Principal components of spectra, by regression; see `pix2spec.models.fitted.regressor`."""

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


Trained = DiffusionPreset | ContrastivePreset | FactorisedPreset | WuPeekPreset  # they have a section train
FittedPreset = MeanPreset | NeighboursPreset | RegressorPreset
Preset = Annotated[
    DiffusionPreset | ContrastivePreset | FactorisedPreset | WuPeekPreset
    | MeanPreset | NeighboursPreset | RegressorPreset,
    Field(discriminator="task"),
]  # fmt: skip
PRESETS = {
    "diffusion": DiffusionPreset,
    "contrastive": ContrastivePreset,
    "factorised": FactorisedPreset,
    "wu-peek": WuPeekPreset,
    "mean": MeanPreset,
    "neighbours": NeighboursPreset,
    "regressor": RegressorPreset,
}


LONGEST, DEEPEST = 2**14, 200  # bytes and brackets of a preset: more takes the parser minutes


def preset_names() -> list[str]:
    """Names of the presets that ship with the package."""
    folder = resources.files("pix2spec") / "presets"
    return sorted(p.name.removesuffix(".yaml") for p in folder.iterdir() if p.name.endswith(".yaml"))


def _nearest(word: str, known) -> str:
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.4)
    return f"did you mean {close[0]!r}?" if close else "known: " + ", ".join(sorted(known))


def _known_keys(path: tuple, task: str) -> list[str]:
    model: Any = PRESETS.get(task, ContrastivePreset)
    for key in path:
        field = model.model_fields.get(str(key))
        if field is None or not isinstance(field.annotation, type):
            return []
        model = field.annotation
    return list(model.model_fields)


def validate_preset(values: dict, where="preset") -> Preset:
    """Turn a plain dictionary into a preset.

    Raises
    ------
    InputError
        Names the key at fault; an unknown one comes with the nearest known one.
    """
    try:
        return TypeAdapter(Preset).validate_python(values)
    except ValidationError as error:
        problem = error.errors()[0]
        # pydantic puts the task first; a section may have the same name.
        path = problem["loc"][1:] if problem["loc"][:1] == (values.get("task"),) else problem["loc"]
        key = ".".join(str(p) for p in path) or "preset"
        if problem["type"] == "extra_forbidden":
            mend = _nearest(str(path[-1]), _known_keys(path[:-1], values.get("task", "")))
            raise InputError(where, f"unknown key {key!r}", mend) from None
        raise InputError(where, f"{key}: {problem['msg']}") from None


def load_preset(name: str | Path, overrides: list[str] | tuple[str, ...] = ()) -> Preset:
    """A preset by name, or from a YAML file, with ``"train.lr=2e-4"``-style overrides.

    Raises
    ------
    InputError
        For an unknown name or key (the nearest known one is suggested), or a value of the wrong kind.
    """
    path = Path(name)
    if path.suffix in (".yaml", ".yml"):
        if not path.is_file():
            raise InputError(path, "no such preset file")
        text = _short_text(path)
    elif str(name) in preset_names():
        text = (resources.files("pix2spec") / "presets" / f"{name}.yaml").read_text()
    else:
        raise InputError("preset", f"unknown name {str(name)!r}", _nearest(str(name), preset_names()))
    values = parse_yaml(text, name)
    if not isinstance(values, dict):
        raise InputError(name, "a preset is a mapping of sections")
    for override in overrides:
        _override(values, override)
    return validate_preset(values, where=name)


def parse_yaml(text: str, where):
    """What a YAML text says: numbers, texts, lists and mappings, never other objects."""
    if sum(map(text.count, ("[", "{", "- -", "? ?"))) > DEEPEST:
        raise InputError(where, "not valid YAML: it is nested too deep")
    try:
        return yaml.safe_load(text)
    except RecursionError:
        raise InputError(where, "not valid YAML: it is nested too deep") from None
    except (yaml.YAMLError, ValueError, TypeError, OverflowError) as error:  # also of impossible dates
        raise InputError(where, f"not valid YAML: {' '.join(str(error).split())[:300]}") from None


def _short_text(path: Path) -> str:
    with open(path, "rb") as stream:
        raw = stream.read(LONGEST + 1)
    if len(raw) > LONGEST:
        raise InputError(path, f"it is longer than {LONGEST // 1024} kB: no preset")
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        raise InputError(path, f"not valid YAML: {error}", "save it as UTF-8") from None


def _override(values: dict, override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals:
        raise InputError("--set", f"{override!r} is not of the form section.key=value", "as in train.lr=2e-4")
    *sections, last = key.strip().split(".")
    for section in sections:
        values = values.setdefault(section, {})
        if not isinstance(values, dict):
            raise InputError("--set", f"{key!r}: {section!r} is not a section")
    values[last] = _parse(text)


def _parse(text: str):
    value = parse_yaml(text, "--set")
    if isinstance(value, str):
        try:
            return float(value)  # YAML 1.1 reads 2e-4 as text
        except ValueError:
            return value
    return value
