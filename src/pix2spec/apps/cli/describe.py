"""What a model or a preset is made of: parts, parameters, cost, data contract, training record."""

from pathlib import Path

import numpy as np
import torch

from pix2spec.core.survey import SDSS
from pix2spec.data.schema import DEFAULT_GRID
from pix2spec.models.baselines.wu_peek.model import WuPeekModel
from pix2spec.models.latent.conditions import image_token, redshift_token
from pix2spec.models.latent.model import FactorisedModel
from pix2spec.models.pixel.model import PixelDiffusion
from pix2spec.models.presets import load_preset, preset_names
from pix2spec.models.registry import FITTED, build_model
from pix2spec.models.shared.inputs import photometry_token
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
    parts = _parts(model)
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


def _parts(model) -> dict:
    """Each network of a model, with inputs for one object."""
    if isinstance(model, FactorisedModel):
        return _factorised_parts(model)
    if model.preset.task in FITTED:
        return model.parts()
    crop, bands = model.preset.data.crop, len(model.survey.image_bands)
    image, x = torch.zeros(1, bands, crop, crop), torch.zeros(1, 1, model.grid.size)
    if isinstance(model, WuPeekModel):
        noise = torch.zeros(1, model.preset.autoencoder.latent)
        return {
            "autoencoder": (model.autoencoder, (x[:, 0], noise)),
            "image network": (model.network, (image,)),
        }
    if not isinstance(model, PixelDiffusion):
        galaxy = model.pair
        return {
            "image encoder": (galaxy.image_encoder, (image,)),
            "spectrum encoder": (galaxy.spectrum_encoder, (x,)),
        }
    if "photometry" in model.conditions:
        image = torch.zeros(1, 3 * len(model.survey.photometry_bands))
    with torch.no_grad():
        context = model.encode(image)
    inputs = (x, torch.zeros(1, dtype=torch.long), context)
    return {"condition encoder": (model.encoder, (image,)), "denoiser": (model.denoiser, inputs)}


def _factorised_parts(model: FactorisedModel) -> dict:
    size, bands = model.preset.condition.image_size, len(model.survey.image_bands)
    image = image_token(np.ones((1, bands, size, size), np.float32), "linear")
    fluxes = np.ones((1, len(model.survey.photometry_bands)), np.float32)
    tokens = image | photometry_token(fluxes, fluxes) | redshift_token(np.zeros(1), np.zeros(1))
    condition, x = torch.zeros(1, model.condition.width), torch.zeros(1, model.dimension)
    return {
        "condition network": (model.condition, (tokens,)),
        "flow": (model.flow, (x, torch.zeros(1), condition)),
        "ranker": (model.ranker, (condition, torch.zeros(1, model.grid.size))),
    }


@torch.no_grad()
def _gflop(module: torch.nn.Module, inputs: tuple) -> float:
    """1e9 floating-point operations of one forward pass, a multiply-add counted as two."""
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    # Fused attention on a CPU is invisible to the counter; the plain one is not.
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        module(*inputs)
    return round(counter.get_total_flops() / 1e9, 4)
