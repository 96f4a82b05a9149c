"""Presets: one YAML file is the whole truth of a training run, validated before anything starts."""

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

LONGEST, DEEPEST = 2**14, 200  # bytes and brackets of a preset: more takes the parser minutes


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

    Raises
    ------
    InputError
        Names the key at fault; an unknown one comes with the nearest known one. If nobody provides the task.
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
        raise InputError("`preset`", f"unknown name {str(name)!r}", _nearest(str(name), preset_names()))
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
