"""Read and write model folders: config.json, model.safetensors and README.md (the model card)."""

import hashlib
import json
import re
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch.nn import init
from torch.overrides import TorchFunctionMode

import pix2spec
from pix2spec.core.grid import SpectralGrid
from pix2spec.core.survey import Survey
from pix2spec.errors import InputError
from pix2spec.models.presets import Preset, validate_preset
from pix2spec.models.registry import build_model, find_family, network_of
from pix2spec.models.shared.hub import CARD, CONFIG, WEIGHTS, fetch_model, is_hub_name
from pix2spec.models.shared.network import Network
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
PACKAGE = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,98}[A-Za-z0-9])?")  # names of distributions
GET_FOLDER_AGAIN = "download or copy the folder again"


def save_model(folder: str | Path, model: Network, record: dict) -> None:
    """Write a model folder: weights, settings and a model card.

    Parameters
    ----------
    folder : path
        The function creates it if it does not exist, and replaces its files, the weights last.
    model : Network
        The network, with its preset, wavelength grid and survey.
    record : dict
        The training record: data, steps, time, scores, version, command (see `pix2spec.train`).
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    family = find_family(model.preset.task)
    config = {
        "format": FORMAT,
        "preset": model.preset.model_dump(mode="json"),
        **({"package": family.package} if family and family.package else {}),
        "grid": model.grid.as_dict(),
        "survey": model.survey.as_dict(),
        "record": record,
    }
    write_atomically(folder / CONFIG, lambda p: p.write_text(json.dumps(config, indent=2) + "\n"))
    write_atomically(folder / CARD, lambda p: p.write_text(_card(config, model.preset.contract())))
    save_weights(folder / WEIGHTS, model)


def save_weights(path: Path, model: torch.nn.Module) -> None:
    """Write a model's state dict as safetensors. The file appears once it is complete."""
    weights = {name: tensor.cpu().contiguous() for name, tensor in model.state_dict().items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, lambda p: save_file(weights, p))


def read_config(folder: str | Path) -> dict:
    """Read the config.json of a model folder.

    Returns
    -------
    dict
        Its ``grid`` is a `SpectralGrid`, and its ``survey`` a `Survey`.

    Raises
    ------
    InputError
        If the folder holds no model, if the file is damaged, or if this version does not know its format.
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


def load_into(model: Network, path: Path) -> None:
    """Load the weights of a safetensors file into `model`.

    Raises
    ------
    InputError
        If names, shapes or types differ from the model's, or if a value is NaN or infinite.
    """
    weights = _read(path, load_file)
    _fit_shapes(path, model, {name: tuple(tensor.shape) for name, tensor in weights.items()})
    own = model.state_dict()
    for name, tensor in weights.items():
        if tensor.is_floating_point() != own[name].is_floating_point():
            raise InputError(
                path, f"damaged weights: {name!r} is {tensor.dtype}, not {own[name].dtype}", GET_FOLDER_AGAIN
            )
        if not torch.isfinite(tensor.float() if tensor.element_size() == 1 else tensor).all():
            raise InputError(path, f"damaged weights: {name!r} has NaN or infinite values", GET_FOLDER_AGAIN)
    model.load_state_dict(weights)


def _read(path: Path, read: Callable[[Path], dict]) -> dict:
    """Call `read` on a safetensors file. Turn its errors into `InputError`."""
    try:
        return read(path)
    except FileNotFoundError:
        hint = "if the training did not finish, resume it"
        raise InputError(path, "no weights there", hint) from None
    except (SafetensorError, OSError) as error:
        raise InputError(path, f"damaged weights: {error}") from None


def _shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Shapes of the tensors in a safetensors file, without reading their values."""
    with safe_open(path, "pt") as stream:
        return {name: tuple(stream.get_slice(name).get_shape()) for name in stream.keys()}


def _fit_shapes(path: Path, model: Network, shapes: dict[str, tuple[int, ...]]) -> None:
    """Resize arrays that depend on the training set. Raise `InputError` if the shapes still differ."""
    model.make_room(shapes)
    own = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    wrong = sorted(set(own) ^ set(shapes)) or sorted(name for name in own if own[name] != shapes[name])
    if wrong:
        raise InputError(
            path,
            f"weights of another architecture ({len(wrong)} tensors differ, for example {wrong[0]!r})",
            "config.json and model.safetensors must come from the same training",
        )


def load_model(folder: str | Path) -> tuple[Any, dict]:
    """Load the model of a folder.

    Returns
    -------
    model : Network
        In evaluation mode.
    config : dict
        As `read_config` returns it.

    Raises
    ------
    InputError
        If the folder holds no model or a damaged one, or if a package that the model needs is missing.
    """
    folder = Path(folder)
    config = read_config(folder)
    _check_task(folder, config)
    preset = validate_preset(config["preset"], where=folder / CONFIG).as_stored(folder)
    _check_size(folder, preset, config)
    with _NoRandomWeights():
        model = build_model(preset, config["grid"], config["survey"])
    load_into(model, folder / WEIGHTS)
    return model.eval(), config


class _NoRandomWeights(TorchFunctionMode):
    """Leave the weights of layers as they are in memory: a file replaces them."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func in (init.kaiming_uniform_, init.uniform_, init.normal_):
            return args[0] if args else kwargs["tensor"]
        return func(*args, **kwargs)


def _check_task(folder: Path, config: dict) -> None:
    """Raise `InputError` if no registered family has the model's task. The hint says how to get it."""
    task, package = config["preset"].get("task"), config.get("package")
    if not isinstance(task, str) or find_family(task) is not None:
        return
    if isinstance(package, str) and PACKAGE.fullmatch(package):
        what = f"this model needs the package {package}, which provides the task {task[:40]!r}"
        raise InputError(folder, what, f"pip install {package}, if you trust its authors")
    hint = "before loading, register it with pix2spec.models.register"
    raise InputError(folder, f"the task of this model, {task[:40]!r}, is unknown", hint)


def _check_size(folder: Path, preset: Preset, config: dict) -> None:
    """Check that config.json and weights describe the same model, before memory is allocated for it."""
    shapes = _read(folder / WEIGHTS, _shapes)
    network = network_of(preset)  # imported here: modules make tensors, which must not be on "meta"
    try:
        with torch.device("meta"):  # tensors with shapes but without values
            model = network(preset, config["grid"], config["survey"])
    except (RuntimeError, OverflowError, MemoryError) as error:
        what = f"damaged: no model has these sizes: {error}"
        raise InputError(folder / CONFIG, what, GET_FOLDER_AGAIN) from None
    _fit_shapes(folder / WEIGHTS, model, shapes)


def model_id(folder: str | Path) -> str:
    """Name and content hash of a model, as in ``"paper-xattn@1f2e3d4c5b6a"``, for provenance."""
    with open(Path(folder) / WEIGHTS, "rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return f"{read_config(folder)['preset']['name']}@{digest[:12]}"


def _card(config: dict, data: dict[str, str]) -> str:
    preset, record = config["preset"], config["record"]
    lines = [f"# {preset['name']}", "", preset["about"], ""]
    lines += [f"Made by pix2spec {pix2spec.__version__}. Load it with `pix2spec.load(FOLDER)`.", ""]
    lines += ["## Training record", ""]
    lines += as_bullets(record)
    grid = config["grid"]
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
    """Find the folder of a model.

    Parameters
    ----------
    model : str or path
        A folder, the name of a model that ships with the package, or a name on the Hugging Face hub. A model
        on the hub is downloaded if it is not in the cache.

    Raises
    ------
    InputError
        If there is no such model.
    """
    shipped = shipped_models()
    if Path(model).is_dir():
        return Path(model)
    if str(model) in shipped:
        return shipped[str(model)]
    if is_hub_name(model):
        return fetch_model(str(model))
    raise InputError(model, "no such model", f"give a run folder, or one of: {', '.join(shipped)}")
