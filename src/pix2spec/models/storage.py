"""Model folders: config.json, model.safetensors, README.md (the model card). Nothing is ever unpickled."""

import hashlib
import json
from importlib import resources
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file

import pix2spec
from pix2spec.core.grid import SpectralGrid
from pix2spec.core.survey import Survey
from pix2spec.errors import InputError
from pix2spec.models.baselines.neighbours import NeighboursModel
from pix2spec.models.presets import validate_preset
from pix2spec.models.registry import FITTED, build_model
from pix2spec.models.shared.hub import CARD, CONFIG, FEATURES, WEIGHTS, fetch_model, is_hub_name
from pix2spec.runtime.atomic import write_atomically

__all__ = [
    "as_bullets",
    "find_model",
    "load_into",
    "load_model",
    "model_id",
    "read_config",
    "save_model",
    "save_weights",
    "shipped_models",
]

FORMAT = 1
FACTORISED_DATA = {
    "image": "linear or composite, with ugriz fluxes and a redshift in any combination",
    "spectrum": "physical flux",
}
HUB_OR_PACKAGE = ("hub", "package", None)
GET_FOLDER_AGAIN = "get the folder again"


def save_model(folder: str | Path, model: torch.nn.Module, record: dict) -> None:
    """Write a model folder: weights, the preset and data contract they need, and a model card.

    Parameters
    ----------
    folder : path
        Created if missing; files there are replaced, the weights last.
    model : PixelDiffusion or ContrastiveModel
    record : dict
        The training record: data, steps, time, scores, version, command (see `pix2spec.train`).
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    config = {
        "format": FORMAT,
        "preset": model.preset.model_dump(mode="json"),
        "grid": model.grid.as_dict(),
        "survey": model.survey.as_dict(),
        "record": record,
    }
    write_atomically(folder / CONFIG, lambda p: p.write_text(json.dumps(config, indent=2) + "\n"))
    write_atomically(folder / CARD, lambda p: p.write_text(_card(config)))
    save_weights(folder / WEIGHTS, model)


def save_weights(path: Path, model: torch.nn.Module) -> None:
    """Write a state dict as safetensors; the file appears when it is whole."""
    weights = {name: tensor.cpu().contiguous() for name, tensor in model.state_dict().items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, lambda p: save_file(weights, p))


def read_config(folder: str | Path) -> dict:
    """The config.json of a model folder.

    Raises
    ------
    InputError
        If the folder is no model, or of a format that this version does not know.
    """
    path = Path(folder) / CONFIG
    if not path.is_file():
        raise InputError(
            folder, "not a model folder: it has no config.json", "give the folder of a trained run"
        )
    try:
        config = json.loads(path.read_text())
        if config["format"] == FORMAT:
            grid, survey = SpectralGrid(**config["grid"]), Survey.from_dict(config["survey"])
            if not isinstance(config["preset"], dict) or not isinstance(config["record"], dict):
                raise TypeError("preset and record are mappings")
            return {**config, "grid": grid, "survey": survey}
    except InputError as error:
        raise InputError(path, f"damaged: {error.where}: {error.what}", error.hint) from None
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise InputError(path, f"damaged: {type(error).__name__} {error}", GET_FOLDER_AGAIN) from None
    raise InputError(path, f"its format {str(config['format'])[:40]} is not {FORMAT}", "use a newer pix2spec")


def load_into(model: torch.nn.Module, path: Path) -> None:
    """Fill `model` with the weights of a safetensors file; they must fit it exactly."""
    try:
        weights = load_file(path)
    except FileNotFoundError:
        raise InputError(path, "no weights there", "the training did not finish: resume it") from None
    except (SafetensorError, OSError) as error:
        raise InputError(path, f"damaged weights: {error}") from None
    if isinstance(model, NeighboursModel):
        model.make_room(weights)
    _compare_shapes(path, model, {name: tuple(tensor.shape) for name, tensor in weights.items()})
    own = model.state_dict()
    for name, tensor in weights.items():
        if tensor.is_floating_point() != own[name].is_floating_point():
            raise InputError(
                path, f"damaged weights: {name!r} is {tensor.dtype}, not {own[name].dtype}", GET_FOLDER_AGAIN
            )
        if not torch.isfinite(tensor.float() if tensor.element_size() == 1 else tensor).all():
            raise InputError(path, f"damaged weights: {name!r} has NaN or infinite values", GET_FOLDER_AGAIN)
    model.load_state_dict(weights)


def _compare_shapes(path: Path, model: torch.nn.Module, shapes: dict[str, tuple]) -> None:
    own = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    wrong = sorted(set(own) ^ set(shapes)) or sorted(name for name in own if own[name] != shapes[name])
    if wrong:
        raise InputError(
            path,
            f"weights of another architecture ({len(wrong)} tensors differ, for example {wrong[0]!r})",
            "config.json and model.safetensors must come from the same training",
        )


def _check_size(path: Path, preset, grid: SpectralGrid, survey: Survey) -> None:
    """Refuse a config.json whose model is not that of the weights before memory is given to it."""
    try:
        with safe_open(path, "pt") as stream:
            shapes = {name: tuple(stream.get_slice(name).get_shape()) for name in stream.keys()}
    except (SafetensorError, OSError):
        return  # `load_into` says what is wrong
    if preset.task == "neighbours":  # its sizes are those of the file
        return
    try:
        with torch.device("meta"):  # shapes alone
            model = build_model(preset, grid, survey)
    except (RuntimeError, OverflowError, MemoryError) as error:
        raise InputError(
            path.parent / CONFIG, f"damaged: no model has these sizes: {error}", GET_FOLDER_AGAIN
        ) from None
    _compare_shapes(path, model, shapes)


def load_model(folder: str | Path):
    """Model of a folder, in evaluation mode, and its config.

    Returns
    -------
    model : PixelDiffusion or ContrastiveModel
    config : dict
    """
    config = read_config(folder)
    preset = validate_preset(_without_download(config["preset"]), where=Path(folder) / CONFIG)
    preset = _within(Path(folder), preset)
    _check_size(Path(folder) / WEIGHTS, preset, config["grid"], config["survey"])
    model = build_model(preset, config["grid"], config["survey"])
    load_into(model, Path(folder) / WEIGHTS)
    return model.eval(), config


def _without_download(preset: dict) -> dict:
    """The trained weights replace pretrained ones: loading must not fetch those again."""
    if not isinstance(preset.get("encoder"), dict):
        return preset
    return {**preset, "encoder": {**preset["encoder"], "pretrained": False}}


def _within(folder: Path, preset):
    """The preset with weights of the features' network, if it names a file, in the model's folder."""
    network = preset.network if preset.task == "neighbours" and preset.features == "network" else None
    if network is None or network.weights in HUB_OR_PACKAGE:
        return preset
    if network.weights != FEATURES:
        what = f"network.weights: {network.weights[:80]!r} is outside of the folder"
        raise InputError(folder / CONFIG, what, "fit the method again")
    network = network.model_copy(update={"weights": str(folder / FEATURES)})
    return preset.model_copy(update={"network": network})


def model_id(folder: str | Path) -> str:
    """Name and content hash of a model, ``"paper-xattn@1f2e3d4c5b6a"``, for provenance."""
    with open(Path(folder) / WEIGHTS, "rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return f"{read_config(folder)['preset']['name']}@{digest[:12]}"


def _card(config: dict) -> str:
    preset, record = config["preset"], config["record"]
    lines = [f"# {preset['name']}", "", preset["about"], ""]
    lines += [f"Made by pix2spec {pix2spec.__version__}. Load it with `pix2spec.load(FOLDER)`.", ""]
    lines += ["## Training record", ""]
    lines += as_bullets(record)
    grid, data = config["grid"], _contract(preset)
    lines += [
        "",
        "## Input and output",
        "",
        f"- image: {data['image']}, bands {', '.join(config['survey']['image_bands'])}, "
        f'{config["survey"]["pixel_scale"]}"/pixel',
        f"- spectrum: {data['spectrum']}, {grid['size']} pixels from log10 lambda "
        f"{grid['start']} in steps of {grid['step']} (vacuum, observed frame)",
    ]
    return "\n".join(lines) + "\n"


def _contract(preset: dict) -> dict[str, str]:
    """What a model of a preset takes and gives."""
    if preset["task"] not in FITTED:
        return preset.get("data", FACTORISED_DATA)
    if preset["task"] == "mean":
        return {"image": "not looked at", "spectrum": "median-scaled"}
    seen = preset["features"]
    kind = "composite" if seen == "network" else preset["image"]
    return {
        "image": "not looked at, the method sees fluxes" if seen == "photometry" else kind,
        "spectrum": "median-scaled, in physical flux where photometry fixes the scale",
    }


def as_bullets(values: dict, indent: str = "") -> list[str]:
    """Markdown list of a nested dictionary."""
    lines = []
    for key, value in values.items():
        label = f"{indent}- {str(key).replace('_', ' ')}:"
        if isinstance(value, dict):
            lines += [label, *as_bullets(value, indent + "  ")]
        elif isinstance(value, list) and any(" " in str(item) for item in value):  # sentences
            lines += [label, *(f"{indent}  - {item}" for item in value)]
        else:
            lines.append(f"{label} {', '.join(map(str, value)) if isinstance(value, list) else value}")
    return lines


def shipped_models() -> dict[str, Path]:
    """Names and folders of the models that come with the package."""
    weights = Path(str(resources.files("pix2spec") / "weights"))
    return {p.name: p for p in sorted(weights.iterdir()) if (p / "config.json").is_file()}


def find_model(model: str | Path) -> Path:
    """Folder of a model, given as a path, as the name of one that ships with the package, or as the hub's."""
    shipped = shipped_models()
    if Path(model).is_dir():
        return Path(model)
    if str(model) in shipped:
        return shipped[str(model)]
    if is_hub_name(model):
        return fetch_model(str(model))
    raise InputError(model, "no such model", f"give a run folder, or one of: {', '.join(shipped)}")
