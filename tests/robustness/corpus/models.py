"""Folders of models: config.json and safetensors."""

import json
import struct
from pathlib import Path

import numpy as np

from robustness.corpus.registry import GENERATE, INFO, bad
from support.tiny import GRID


def model(folder: Path, change=lambda config: config, weights=None) -> Path:
    """The folder of a mean spectrum, a whole model in a few kB, changed."""
    from pix2spec.core.survey import SDSS
    from pix2spec.models.presets import validate_preset
    from pix2spec.models.registry import build_model
    from pix2spec.models.storage import save_model

    preset = validate_preset({"task": "mean", "name": "m", "about": "of nothing"})
    save_model(folder / "run", build_model(preset, GRID, SDSS), {})
    config = folder / "run" / "config.json"
    changed = change(json.loads(config.read_text()))
    config.write_bytes(changed if isinstance(changed, bytes) else json.dumps(changed).encode())
    if weights is not None:
        (folder / "run" / "model.safetensors").write_bytes(weights)
    return folder / "run"


@bad("config.json", INFO, "damaged")
def config_cut_off(folder):
    return model(folder, lambda c: json.dumps(c)[:100].encode())


@bad("config.json", "model", "damaged")
def config_that_is_a_list(folder):
    return model(folder, lambda c: [c])


@bad("config.json", "model", "damaged")
def config_in_wild_bytes(folder):
    return model(folder, lambda c: b"\xff\xfe{}")


@bad("config.json", "model", "damaged")
def config_nested_too_deep(folder):
    return model(folder, lambda c: b"[" * 200_000)


@bad("config.json", "model", "damaged.*grid")
def config_without_a_grid(folder):
    return model(folder, lambda c: {k: v for k, v in c.items() if k != "grid"})


@bad("config.json", GENERATE + " --model {path}", "size")
def config_with_a_huge_grid(folder):
    return model(folder, lambda c: c | {"grid": c["grid"] | {"size": 10**12}})


@bad("config.json", "model", "damaged: grid: start is nan")
def config_with_a_grid_of_nan(folder):
    return model(folder, lambda c: c | {"grid": c["grid"] | {"start": float("nan")}})


@bad("config.json", "model", "damaged: survey")
def config_whose_survey_is_a_word(folder):
    return model(folder, lambda c: c | {"survey": "sdss"})


@bad("config.json", "model", "pixel_scale")
def config_whose_pixels_have_no_size(folder):
    return model(folder, lambda c: c | {"survey": c["survey"] | {"pixel_scale": -1}})


@bad("config.json", "model", "its format 9 is not 1")
def config_of_the_future(folder):
    return model(folder, lambda c: c | {"format": 9})


@bad("config.json", INFO, "damaged: .*preset")
def config_without_a_preset(folder):
    return model(folder, lambda c: c | {"preset": None})


@bad("config.json", INFO, "no config.json")
def folder_that_is_no_model(folder):
    return folder


@bad("safetensors", GENERATE + " --model {path}", "damaged weights")
def weights_of_nothing(folder):
    return model(folder, weights=b"")


@bad("safetensors", "model", "damaged weights")
def weights_cut_off(folder):
    path = model(folder)
    return model(folder, weights=(path / "model.safetensors").read_bytes()[:-40])


@bad("safetensors", "model", "damaged weights")
def weights_with_a_header_of_10_gigabytes(folder):
    return model(folder, weights=struct.pack("<Q", 10 * 10**9) + b"{}")


@bad("safetensors", "model", "damaged weights")
def weights_whose_header_is_no_json(folder):
    return model(folder, weights=struct.pack("<Q", 8) + b"not json")


def tensors(**arrays) -> bytes:
    from safetensors.numpy import save

    return save(arrays)


@bad("safetensors", "model", "weights of another architecture")
def weights_of_another_model(folder):
    return model(folder, weights=tensors(something=np.ones(3, np.float32)))


@bad("safetensors", "model", "weights of another architecture")
def weights_of_another_size(folder):
    wrong = np.ones(7, np.float32)
    return model(folder, weights=tensors(spectrum=wrong, minmax_spectrum=wrong))


@bad("safetensors", "model", "'minmax_spectrum' has NaN or infinite values")
def weights_of_nan(folder):
    nan = np.full(GRID.size, np.nan, np.float32)
    return model(folder, weights=tensors(spectrum=nan, minmax_spectrum=nan))


@bad("safetensors", "model", "no weights there")
def model_without_weights(folder):
    path = model(folder)
    (path / "model.safetensors").unlink()
    return path
