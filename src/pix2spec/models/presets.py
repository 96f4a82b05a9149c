"""Presets: a YAML file holds all settings of a training run, which are validated before it starts."""

import difflib
from importlib import resources
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from pix2spec.errors import InputError
from pix2spec.models.registry import find_family, known_tasks
from pix2spec.models.shared.settings import FittedPreset, Preset, TrainedPreset

__all__ = [
    "FittedPreset",
    "Preset",
    "TrainedPreset",
    "load_preset",
    "parse_yaml",
    "preset_names",
    "validate_preset",
]

MAX_BYTES, MAX_BRACKETS = 2**14, 200  # of a preset: the parser needs minutes for more


def preset_names() -> list[str]:
    """Names of the presets that ship with the package."""
    folder = resources.files("pix2spec") / "presets"
    return sorted(p.name.removesuffix(".yaml") for p in folder.iterdir() if p.name.endswith(".yaml"))


def _nearest(word: str, known) -> str:
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.4)
    return f"did you mean {close[0]!r}?" if close else "known: " + ", ".join(sorted(known))


def _known_keys(path: tuple, preset: Any) -> list[str]:
    for key in path:
        field = preset.model_fields.get(str(key))
        if field is None or not isinstance(field.annotation, type):
            return []
        preset = field.annotation
    return list(preset.model_fields)


def validate_preset(values: dict, where="preset") -> Preset:
    """Turn a plain dictionary into a preset.

    Parameters
    ----------
    values : dict
        Sections and keys of the preset.
    where : str or path
        Source of the values, for error messages.

    Raises
    ------
    InputError
        If no registered family has the preset's task, or if a key is unknown or has a wrong value. The error
        names the key, and suggests the nearest known key.
    """
    task = values.get("task")
    family = find_family(task) if isinstance(task, str) else None
    if family is None:
        what = f"task: {str(task)[:40]!r} is unknown" if "task" in values else "task: Field required"
        raise InputError(where, what, f"known: {', '.join(known_tasks())}")
    preset = family.part("preset")
    try:
        return preset.model_validate(values)
    except ValidationError as error:
        problem = error.errors()[0]
        path = problem["loc"]
        key = ".".join(str(p) for p in path) or "preset"
        if problem["type"] == "extra_forbidden":
            hint = _nearest(str(path[-1]), _known_keys(path[:-1], preset))
            raise InputError(where, f"unknown key {key!r}", hint) from None
        raise InputError(where, f"{key}: {problem['msg']}") from None


def load_preset(name: str | Path, overrides: list[str] | tuple[str, ...] = ()) -> Preset:
    """Load a preset by its name or from a YAML file.

    Parameters
    ----------
    name : str or path
        Name of a preset that ships with the package, or path of a YAML file.
    overrides : sequence of str
        Settings to change, as in ``"train.lr=2e-4"``.

    Raises
    ------
    InputError
        If the name or a key is unknown, or a value is of the wrong type. The error suggests the nearest known
        name or key.
    """
    path = Path(name)
    if path.suffix in (".yaml", ".yml"):
        if not path.is_file():
            raise InputError(path, "no such preset file")
        text = _short_text(path)
    elif str(name) in preset_names():
        text = (resources.files("pix2spec") / "presets" / f"{name}.yaml").read_text()
    else:
        raise InputError("`preset`", f"unknown name {str(name)!r}", _nearest(str(name), preset_names()))
    values = parse_yaml(text, name)
    if not isinstance(values, dict):
        raise InputError(name, "a preset is a mapping of sections, but this text is not")
    for override in overrides:
        _override(values, override)
    return validate_preset(values, where=name)


def parse_yaml(text: str, where):
    """Parse a YAML text of numbers, strings, lists and mappings. Other objects are not allowed.

    Raises
    ------
    InputError
        If the text is not valid YAML, or nested too deep. The error names `where`.
    """
    if sum(map(text.count, ("[", "{", "- -", "? ?"))) > MAX_BRACKETS:
        raise InputError(where, "not valid YAML: it is nested too deep")
    try:
        return yaml.safe_load(text)
    except RecursionError:
        raise InputError(where, "not valid YAML: it is nested too deep") from None
    except (yaml.YAMLError, ValueError, TypeError, OverflowError) as error:  # some come from invalid dates
        raise InputError(where, f"not valid YAML: {' '.join(str(error).split())[:300]}") from None


def _short_text(path: Path) -> str:
    with open(path, "rb") as stream:
        raw = stream.read(MAX_BYTES + 1)
    if len(raw) > MAX_BYTES:
        raise InputError(path, f"the file is longer than {MAX_BYTES // 1024} kB: it is not a preset")
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        raise InputError(path, f"not valid YAML: {error}", "save it as UTF-8") from None


def _override(values: dict, override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals:
        raise InputError(
            "`overrides`", f"{override!r} is not of the form section.key=value", "as in train.lr=2e-4"
        )
    *sections, last = key.strip().split(".")
    for section in sections:
        values = values.setdefault(section, {})
        if not isinstance(values, dict):
            raise InputError("`overrides`", f"{key!r}: {section!r} is not a section")
    values[last] = _parse(text)


def _parse(text: str):
    value = parse_yaml(text, "`overrides`")
    if isinstance(value, str):
        try:
            return float(value)  # YAML 1.1 reads 2e-4 as text
        except ValueError:
            return value
    return value
