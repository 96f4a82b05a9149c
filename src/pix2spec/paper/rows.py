"""The rows of Table 1: their presets at both scales, and the paper's numbers."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pix2spec.errors import InputError
from pix2spec.models.presets import Preset, load_preset
from pix2spec.models.storage import shipped_models

__all__ = ["PAPER", "ROWS", "SELECTIONS", "Row", "contrastive", "parse_rows", "sampling"]

SELECTIONS = {
    "single": "single",
    "best_of_5": "contrastive (5)",
    "best": "contrastive (25)",
    "mean_best_5": "contrastive + mean (25/5)",
    "mean_all": "mean of all",
}
CANDIDATES = 25
SMALL_STEPS = 6

# Mean and standard deviation of three runs on 5,000 real SDSS galaxies: arXiv:2211.05556, Table 1.
PAPER = {
    ("concat", "single"): (0.179, 0.017),
    ("concat", "best_of_5"): (0.160, 0.010),
    ("concat", "best"): (0.154, 0.004),
    ("concat", "mean_best_5"): (0.105, 0.003),
    ("xattn", "single"): (0.225, 0.014),
    ("xattn", "best_of_5"): (0.136, 0.008),
    ("xattn", "best"): (0.118, 0.010),
    ("xattn", "mean_best_5"): (0.103, 0.008),
    ("ulisse", "single"): (0.168, 0.000),
    ("wu-peek", "single"): (0.080, 0.000),
}

# Name, label, preset at the paper's scale, preset at the small one. The order is the table's.
_METHODS = (
    ("wu-peek", "Wu & Peek", "paper-wu-peek", "paper-wu-peek-small"),
    ("ulisse", "ULISSE", "ulisse", "ulisse-small"),
    ("concat", "diffusion, concat", "paper-concat", "paper-concat-mini"),
    ("xattn", "diffusion, cross-attention", "paper-xattn", "paper-xattn-mini"),
    ("contrastive", "contrastive network", "paper-contrastive", "paper-contrastive-mini"),
    ("photometry", "diffusion, ugriz only", "photometry-concat", "photometry-concat-mini"),
    ("mean-spectrum", "mean spectrum", "mean-spectrum", "mean-spectrum"),
    ("nearest-neighbour", "nearest neighbour", "nearest-neighbour", "nearest-neighbour"),
    ("neighbours-25", "25 neighbours", "neighbours-25", "neighbours-25"),
    (
        "neighbours-25-photometry",
        "25 neighbours, ugriz only",
        "neighbours-25-photometry",
        "neighbours-25-photometry",
    ),
    ("pca-ridge", "PCA, ridge regression", "pca-ridge", "pca-ridge"),
    ("pca-mlp", "PCA, MLP", "pca-mlp", "pca-mlp"),
    ("noise-free", "noise-free truth", None, None),
    ("default", "pix2spec default", None, None),
)
ROWS = tuple(name for name, *_ in _METHODS)


@dataclass(frozen=True)
class Row:
    """A method of the table.

    A row without preset and model is the noise-free truth.

    Parameters
    ----------
    name, label : str
        Names of the row in files and in the table.
    preset : Preset, optional
        Settings of a model to train with each seed.
    model : str, optional
        A trained model to score.
    overrides : tuple of str
        Changed settings of the preset, as in ``train.steps=100``.
    """

    name: str
    label: str
    preset: Preset | None = None
    model: str | None = None
    overrides: tuple[str, ...] = ()

    @property
    def ranked(self) -> bool:
        """Whether a contrastive network ranks the candidates. It needs a diffusion model of images."""
        return self.preset is not None and self.preset.task == "diffusion" and not self.sees_fluxes

    @property
    def sees_fluxes(self) -> bool:
        """Whether the row is the diffusion model of band fluxes alone."""
        return getattr(getattr(self.preset, "encoder", None), "arch", "") == "photometry"

    @property
    def is_random(self) -> bool:
        """Whether another seed gives another result."""
        if self.preset is None:
            return self.model is not None
        return hasattr(self.preset, "train") or bool(getattr(self.preset, "hidden", ()))

    def seeded(self, seed: int) -> Preset:
        """Preset of the run with a seed, which sets the initial weights and the order of training data."""
        preset: Any = self.preset
        if hasattr(preset, "train"):
            train = preset.train.model_copy(update={"seed": seed})
            return preset.model_copy(update={"train": train})
        return preset.model_copy(update={"seed": seed}) if self.is_random else preset


def parse_rows(names: str | None, scale: str, settings: list[str] | tuple[str, ...] = ()) -> list[Row]:
    """Select rows by name, in the order of the table.

    Parameters
    ----------
    names : str, optional
        Names separated by commas, by default all. ``NAME=PRESET.yaml`` and ``NAME=RUN`` add other rows.
    scale : {"paper", "small"}
        Scale of the presets.
    settings : sequence of str
        ``ROW.section.key=value``, to change a setting of a row's preset.

    Raises
    ------
    InputError
        If a row, preset or key is unknown.
    """
    if scale not in ("paper", "small"):
        raise InputError("`scale`", f"{scale!r} is unknown", "use paper or small")
    wanted = [word.strip() for word in names.split(",") if word.strip()] if names else list(ROWS)
    known = {name: (label, paper if scale == "paper" else small) for name, label, paper, small in _METHODS}
    overrides: dict[str, list[str]] = {}
    for setting in settings:
        row, dot, override = setting.partition(".")
        if not dot or row not in [word.partition("=")[0] for word in [*wanted, "contrastive"]]:
            raise InputError(
                "`settings`", f"{setting!r} does not begin with a row's name", "as in concat.train.steps=99"
            )
        overrides.setdefault(row, []).append(override)
    own = [word for word in wanted if "=" in word]
    unknown = [word for word in wanted if word not in known and word not in own]
    if unknown:
        raise InputError("`rows`", f"{unknown[0]!r} is unknown", f"use some of {', '.join(ROWS)}")
    rows = [_row(n, *known[n], overrides.get(n, [])) for n in known if n in wanted]
    for word in own:
        name, _, source = word.partition("=")
        if not name or name in known or not set(name) <= set(_LETTERS):
            raise InputError("`rows`", f"{name!r} cannot name a new row", "use letters, digits and dashes")
        rows.append(_row(name, name, source, overrides.get(name, [])))
    return rows


_LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"


def _row(name: str, label: str, source: str | None, overrides: list[str]) -> Row:
    if name == "default":
        source = "default"
    if source is None:
        return Row(name, label)
    if (Path(source) / "config.json").is_file() or (name == "default" and source in shipped_models()):
        if overrides:
            raise InputError("`settings`", f"row {name} is a trained model", "leave out its settings")
        return Row(name, label, model=source)
    return Row(name, label, preset=load_preset(source, overrides), overrides=tuple(overrides))


def contrastive(scale: str, settings) -> Row:
    """The row of the contrastive network, which ranks candidates."""
    mine = [setting for setting in settings if setting.startswith("contrastive.")]
    return parse_rows("contrastive", scale, mine)[0]


def sampling(preset: Preset | None, scale: str, seed: int) -> dict:
    """How to draw the candidates of a model: keywords of `pix2spec.models.generator.Settings`.

    On the paper's scale, diffusion models take the paper's 250 ancestral steps. On the small scale they take
    a few steps of DPM-Solver++, to save time.
    """
    settings = {"n": CANDIDATES, "seed": seed, "select": "all"}
    if preset is not None and preset.task == "diffusion":
        small = {"sampler": "dpm++", "steps": SMALL_STEPS}
        return settings | ({"sampler": "ddpm"} if scale == "paper" else small)
    return settings
