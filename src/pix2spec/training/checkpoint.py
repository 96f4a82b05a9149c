"""Preset and checkpoint from which a training run resumes. The checkpoint is a safetensors file."""

from pathlib import Path

import torch
import yaml
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file

from pix2spec.errors import InputError
from pix2spec.models.presets import Preset, load_preset
from pix2spec.runtime.atomic import write_atomically

__all__ = ["check_run", "load_checkpoint", "record_preset", "save_checkpoint", "steps_done"]


def save_checkpoint(out: Path, model, average, optimizer, step: int, seconds: float) -> None:
    """Write ``OUT/checkpoint.safetensors``: weights, their average, Adam's moments, step and time."""
    tensors = {f"model.{k}": v for k, v in model.state_dict().items()}
    tensors |= {f"average.{k}": v for k, v in average.state_dict().items()}
    for number, state in optimizer.state_dict()["state"].items():
        tensors |= {f"adam.{number}.{k}": v for k, v in state.items()}
    tensors = {k: v.detach().cpu().contiguous() for k, v in tensors.items()}
    metadata = {"step": str(step), "seconds": str(seconds)}
    write_atomically(out / "checkpoint.safetensors", lambda p: save_file(tensors, p, metadata))


def load_checkpoint(path: Path, model, average, optimizer) -> tuple[int, float]:
    """Restore model, average and optimiser from a checkpoint of `save_checkpoint`.

    Returns
    -------
    step : int
        Steps done.
    seconds : float
        Time trained so far.

    Raises
    ------
    InputError
        If the file is damaged, or its tensors do not fit the model.
    """
    try:
        tensors = load_file(path)
        with safe_open(path, "pt") as stream:
            metadata = stream.metadata()
        step, seconds = int(metadata["step"]), float(metadata["seconds"])
        _load_networks(path, tensors, model, average)
        moments = _moments(tensors, optimizer)
    except InputError:
        raise
    except (SafetensorError, LookupError, TypeError, ValueError) as error:
        raise InputError(path, f"damaged checkpoint: {error}", "delete it to start anew") from None
    adam = optimizer.state_dict()
    adam["state"] |= moments
    optimizer.load_state_dict(adam)
    return step, seconds


def steps_done(path: Path) -> int:
    """Number of steps in a checkpoint."""
    with safe_open(path, "pt") as stream:
        return int(stream.metadata()["step"])


def _load_networks(path: Path, tensors: dict, model, average) -> None:
    def part(prefix):
        return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}

    try:
        model.load_state_dict(part("model."))
        average.load_state_dict(part("average."))
    except RuntimeError as error:
        reason = str(error).splitlines()[1].strip()
        raise InputError(path, f"checkpoint of another architecture: {reason}", "use another `out`") from None


def _moments(tensors: dict, optimizer) -> dict[int, dict[str, torch.Tensor]]:
    """Adam's moments by parameter number. Each must have the shape of its parameter."""
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    moments: dict[int, dict[str, torch.Tensor]] = {}
    for key, value in tensors.items():
        if key.startswith("adam."):
            _, number, name = key.split(".")
            if name != "step" and value.shape != parameters[int(number)].shape:
                raise ValueError(f"{key} has the shape {tuple(value.shape)}")
            moments.setdefault(int(number), {})[name] = value
    return moments


def check_run(out: Path, resume: bool) -> None:
    """Raise `InputError` if `out` holds a run and `resume` is false."""
    if (out / "preset.yaml").exists() and not resume:
        raise InputError(
            out, "the folder already holds a run", "continue it with `resume=True`, or use another `out`"
        )


def record_preset(out: Path, preset: Preset) -> None:
    """Write ``OUT/preset.yaml``. Raise `InputError` if `out` holds a run that has other settings."""
    recorded = out / "preset.yaml"
    values = preset.model_dump(mode="json")
    if recorded.exists():
        # A setting that an older version did not know takes its default.
        before = load_preset(recorded)
        _compare(before.model_dump(mode="json"), values, out)
    out.mkdir(parents=True, exist_ok=True)
    write_atomically(recorded, lambda p: p.write_text(yaml.safe_dump(values, sort_keys=False)))


def _compare(before: dict, now: dict, out: Path, path: str = "") -> None:
    """Raise `InputError` if a setting differs that a resumed run must keep."""
    free = {"train.steps", "train.workers", "train.checkpoint_every", "train.lr"}
    for key in before.keys() | now.keys():
        name, a, b = f"{path}{key}", before.get(key), now.get(key)
        if isinstance(a, dict) and isinstance(b, dict):
            _compare(a, b, out, f"{name}.")
        elif a != b and name not in free:
            what = f"the run in this folder has {name} = {a!r}, but the preset has {b!r}"
            raise InputError(out, what, "use another `out`")
