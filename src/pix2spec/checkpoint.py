"""Checkpoints of a training run: all that it needs to go on, in one safetensors file (no pickle)."""

from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file

from pix2spec.errors import InputError
from pix2spec.files import write_atomically

__all__ = ["load_checkpoint", "save_checkpoint"]


def save_checkpoint(out: Path, model, average, optimizer, step: int, seconds: float) -> None:
    """Write weights, their average, Adam's moments and the step to ``OUT/checkpoint.safetensors``."""
    tensors = {f"model.{k}": v for k, v in model.state_dict().items()}
    tensors |= {f"average.{k}": v for k, v in average.state_dict().items()}
    for number, state in optimizer.state_dict()["state"].items():
        tensors |= {f"adam.{number}.{k}": v for k, v in state.items()}
    tensors = {k: v.detach().cpu().contiguous() for k, v in tensors.items()}
    metadata = {"step": str(step), "seconds": str(seconds)}
    write_atomically(out / "checkpoint.safetensors", lambda p: save_file(tensors, p, metadata))


def load_checkpoint(path: Path, model, average, optimizer) -> tuple[int, float]:
    """Restore what `save_checkpoint` wrote; returns the step and the seconds trained so far."""
    try:
        tensors = load_file(path)
        with safe_open(path, "pt") as stream:
            metadata = stream.metadata()
    except SafetensorError as error:
        raise InputError(path, f"damaged checkpoint: {error}", "delete it to start anew") from None

    def part(prefix):
        return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}

    try:
        model.load_state_dict(part("model."))
        average.load_state_dict(part("average."))
    except RuntimeError as error:
        reason = str(error).splitlines()[1].strip()
        raise InputError(path, f"checkpoint of another architecture: {reason}", "use another --out") from None
    adam = optimizer.state_dict()
    for key, value in part("adam.").items():
        number, name = key.split(".")
        adam["state"].setdefault(int(number), {})[name] = value
    optimizer.load_state_dict(adam)
    return int(metadata["step"]), float(metadata["seconds"])
