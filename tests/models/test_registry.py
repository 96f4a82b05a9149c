"""Models of one's own: registered in Python, found in installed packages, missing when they are loaded."""

import json
import os
import shutil
import subprocess
import sys
from functools import partial

import pytest
import torch
from torch import nn

import pix2spec
import pix2spec.models
from pix2spec.core.survey import SDSS
from pix2spec.errors import InputError
from pix2spec.models import registry
from pix2spec.models.pixel.generator import PixelGenerator
from pix2spec.models.pixel.model import PixelDiffusion
from pix2spec.models.pixel.preset import DiffusionPreset
from pix2spec.models.presets import load_preset, validate_preset
from pix2spec.models.registry import Family, find_family, known_tasks
from pix2spec.models.storage import load_model, save_model
from support.tiny import GRID, tiny_galaxy, tiny_preset


class OneLayer(nn.Module):
    """A denoiser as small as can be."""

    def __init__(self, size, conditioning, width, multipliers, context_width):
        super().__init__()
        self.context = nn.Linear(context_width, 1)
        self.layer = nn.Conv1d(1, 1, 3, padding=1)

    def condition(self, tokens):
        return self.context(tokens.mean(1))[:, :, None]

    def forward(self, x, t, context):
        return self.layer(x) + context


@pytest.fixture(autouse=True)
def _forgets(monkeypatch):
    monkeypatch.setattr(registry, "_registered", {})


def register():
    pix2spec.models.register(
        "one-layer",
        preset=DiffusionPreset,
        network=partial(PixelDiffusion, denoiser=OneLayer),
        generator=PixelGenerator,
    )


def one_layer_model():
    return registry.build_model(one_layer_preset(), GRID, SDSS)


def one_layer_preset():
    return validate_preset(tiny_preset().model_dump() | {"task": "one-layer"})


def install(folder, task="one-layer", package="galaxy-layers", body="Family(str, str)", module="layers"):
    """An installed package that provides a task."""
    folder.mkdir(exist_ok=True)
    (folder / f"{module}.py").write_text(f"from pix2spec.models import Family\nfamily = {body}\n")
    info = folder / f"{package.replace('-', '_')}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[pix2spec.models]\n{task} = {module}:family\n")
    return folder


def test_a_registered_model_is_stored_and_generates(tmp_path):
    register()
    assert "one-layer" in known_tasks()
    save_model(tmp_path, one_layer_model(), {})
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["preset"]["task"] == "one-layer" and "package" not in config
    text = (tmp_path / "config.json").read_text()
    assert "OneLayer" not in text and "test_registry" not in text  # no path to code
    model = pix2spec.load(tmp_path, device="cpu")
    assert isinstance(model.model.denoiser, OneLayer)
    ensemble = model.generate(tiny_galaxy(0), n=2, steps=2)
    assert ensemble.candidates.shape == (2, GRID.size)


def test_a_model_of_nobody_says_what_to_do(tmp_path):
    register()
    save_model(tmp_path, one_layer_model(), {})
    registry._registered.clear()
    with pytest.raises(InputError, match=r"'one-layer', is unknown .*pix2spec\.models\.register"):
        pix2spec.load(tmp_path)


@pytest.mark.parametrize(
    ("package", "says"),
    [
        (
            "galaxy-layers",
            r"needs the package galaxy-layers, which .*'one-layer' \(pip install galaxy-layers",
        ),
        ("galaxy-layers; rm -rf", "is unknown"),  # no name of a package: not repeated
        ("--index-url", "is unknown"),
        (["galaxy-layers"], "is unknown"),
    ],
)
def test_a_model_of_a_missing_package_names_it(tmp_path, package, says):
    register()
    save_model(tmp_path, one_layer_model(), {})
    registry._registered.clear()
    config = json.loads((tmp_path / "config.json").read_text()) | {"package": package}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match=says) as caught:
        load_model(tmp_path)
    assert "rm -rf" not in str(caught.value) and "--index-url" not in str(caught.value)


def test_a_package_provides_a_task(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(install(tmp_path / "site", body="Family(int, str, package='not mine')"))
    assert "one-layer" in known_tasks()
    family = find_family("one-layer")
    assert family.part("preset") is int and family.package == "galaxy-layers"
    register()  # what is registered in this process goes first
    assert find_family("one-layer").package is None


def test_a_package_is_recorded_with_the_model(tmp_path, monkeypatch):
    body = "Family('pix2spec.models.pixel.preset:DiffusionPreset', 'test_registry_network:build')"
    site = install(tmp_path / "site", body=body, module="layers2")
    (site / "test_registry_network.py").write_text(
        "from pix2spec.models.pixel.model import PixelDiffusion as build"
    )
    monkeypatch.syspath_prepend(site)
    save_model(tmp_path / "run", one_layer_model(), {})
    assert json.loads((tmp_path / "run" / "config.json").read_text())["package"] == "galaxy-layers"
    with pytest.raises(InputError, match="makes no spectra"):
        pix2spec.load(tmp_path / "run")
    load_model(tmp_path / "run")
    shutil.rmtree(site / "galaxy_layers-1.0.dist-info")
    with pytest.raises(InputError, match="pip install galaxy-layers"):
        load_model(tmp_path / "run")


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (
            "1 / 0",
            "galaxy-layers, which provides the task 'one-layer', cannot be imported: ZeroDivisionError",
        ),
        ("dict", r"galaxy-layers must name a pix2spec\.models\.Family"),
    ],
)
def test_a_package_that_is_broken_is_named(tmp_path, monkeypatch, body, says):
    module = f"broken_{len(body)}"
    monkeypatch.syspath_prepend(install(tmp_path / "site", body=body, module=module))
    with pytest.raises(InputError, match=says):
        validate_preset({"task": "one-layer"})


def test_two_packages_of_one_task_are_named(tmp_path, monkeypatch):
    site = install(tmp_path / "site")
    monkeypatch.syspath_prepend(install(site, package="other-layers"))
    with pytest.raises(InputError, match="galaxy-layers and other-layers"):
        find_family("one-layer")


def test_own_tasks_are_not_replaced(tmp_path, monkeypatch):
    with pytest.raises(InputError, match="'diffusion' is a task of pix2spec itself"):
        pix2spec.models.register("diffusion", preset=DiffusionPreset, network=PixelDiffusion)
    monkeypatch.syspath_prepend(install(tmp_path / "site", task="mean"))
    assert find_family("mean").package is None


def test_every_own_family_has_its_parts():
    for task in registry._OWN:
        family = find_family(task)
        assert isinstance(family, Family) and callable(family.part("network"))
        assert issubclass(family.part("preset"), pix2spec.models.presets.Preset)


def test_networks_name_their_parts():
    for name in (
        "paper-concat-small",
        "photometry-concat-small",
        "paper-contrastive-small",
        "factorised",
        "default",
    ):
        network = registry.build_model(load_preset(name), GRID, SDSS).eval()
        parts = network.parts()
        assert sum(p.numel() for module, _ in parts.values() for p in module.parameters()) > 0
        with torch.no_grad():
            for module, inputs in parts.values():
                assert torch.isfinite(module(*inputs)).all()


@pytest.mark.parametrize(
    ("program", "absent"),
    [
        ("import pix2spec.models", ["torch", "numpy", "pydantic"]),
        ("from pix2spec.models.presets import load_preset; load_preset('default')", ["torch", "astropy"]),
        (
            "import pix2spec; pix2spec.load('default', device='cpu')",
            ["diffusers", "timm", "torchvision", "accelerate", "torch._dynamo", "sympy", "scipy", "pandas"],
        ),
    ],
)
def test_what_is_not_used_is_not_imported(program, absent):
    program = f"{program}; import sys; print([m for m in {absent!r} if m in sys.modules])"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, env=environment
    )
    assert done.stdout.strip() == "[]"


def test_a_model_that_is_loaded_first_has_its_modules_tensors_on_the_cpu():
    """Loading checks sizes on the device "meta"; tensors that a module makes at import must not be there."""
    program = "import pix2spec; pix2spec.load('default', device='cpu'); import torch, sys\n"
    program += "modules = [m for n, m in sys.modules.items() if n.startswith('pix2spec')]\n"
    program += (
        "print({t.device.type for m in modules for t in vars(m).values() if isinstance(t, torch.Tensor)})"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "{'cpu'}"
