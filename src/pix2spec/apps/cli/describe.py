"""What a model or a preset is made of: parts, parameters, cost, data contract, training record."""

from pathlib import Path

import torch

from pix2spec.core.survey import SDSS
from pix2spec.data.schema import DEFAULT_GRID
from pix2spec.models.presets import load_preset, preset_names
from pix2spec.models.registry import build_model
from pix2spec.models.storage import find_model, load_model, model_id, shipped_models

__all__ = ["describe", "parameter_count"]


def parameter_count(module: torch.nn.Module) -> int:
    """Number of trainable numbers in a network."""
    return sum(p.numel() for p in module.parameters())


def describe(name: str | Path) -> dict:
    """Facts of a preset (by name or YAML file) or of a model folder, ready for JSON.

    Returns
    -------
    dict
        ``parameters`` and ``forward_gflop`` by part (one object; for a denoiser one candidate and one
        step), ``grid``, ``bands``, ``survey``, ``preset``, and for models ``id``, ``record`` and
        ``selector``.
    """
    is_preset = str(name) in preset_names() and str(name) not in shipped_models()
    if is_preset or str(name).endswith((".yaml", ".yml")):
        preset = load_preset(name)
        facts: dict = {"kind": "preset"}
        grid, survey = DEFAULT_GRID, SDSS
        with torch.random.fork_rng():
            model = build_model(preset, grid, survey).eval()
    else:
        folder = find_model(name)
        model, config = load_model(folder)
        preset, grid, survey = model.preset, config["grid"], config["survey"]
        facts = {"kind": "model", "id": model_id(folder), "record": config["record"]}
        if (folder / "selector").is_dir():
            facts["selector"] = describe(folder / "selector")
    parts = model.parts()
    facts |= {
        "name": preset.name,
        "about": preset.about,
        "task": preset.task,
        "parameters": {part: parameter_count(module) for part, (module, _) in parts.items()},
        "forward_gflop": {part: _gflop(module, inputs) for part, (module, inputs) in parts.items()},
        "grid": grid.as_dict(),
        "bands": list(survey.image_bands),
        "pixel_scale": survey.pixel_scale,
        "survey": survey.as_dict(),
        "preset": preset.model_dump(mode="json"),
    }
    facts["parameters"]["total"] = parameter_count(model) or sum(facts["parameters"].values())
    return facts


@torch.no_grad()
def _gflop(module: torch.nn.Module, inputs: tuple) -> float:
    """1e9 floating-point operations of one forward pass, a multiply-add counted as two."""
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    # Fused attention on a CPU is invisible to the counter; the plain one is not.
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        module(*inputs)
    return round(counter.get_total_flops() / 1e9, 4)
