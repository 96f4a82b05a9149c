import json

import numpy as np
import pytest
import torch

from pix2spec.apps.cli.describe import describe, parameter_count
from pix2spec.core.survey import SDSS
from pix2spec.data.schema import DEFAULT_GRID
from pix2spec.errors import InputError
from pix2spec.models.pixel.unet import UNet1D
from pix2spec.models.presets import load_preset
from pix2spec.models.registry import build_model
from pix2spec.models.shared.contrastive import nt_xent
from pix2spec.models.storage import load_into, load_model, model_id, save_model
from support.tiny import GRID, tiny_preset

# Sizes of the authors' networks, in the paper's Table 1 and in their code.
PAPER_SIZES = {
    "paper-concat": {"denoiser": 12_374_031, "condition encoder": 11_176_512},
    "paper-xattn": {"denoiser": 23_663_617, "condition encoder": 11_176_512},
    "paper-contrastive": {"spectrum encoder": 19.7e6, "image encoder": 23.8e6},
}


@pytest.mark.parametrize("name", PAPER_SIZES)
def test_parameter_counts_are_the_papers(name):
    counts = describe(name)["parameters"]
    for part, expected in PAPER_SIZES[name].items():
        assert counts[part] == pytest.approx(expected, rel=0.02)


@pytest.mark.parametrize("name", ["paper-concat", "paper-xattn", "paper-contrastive"])
def test_every_paper_preset_has_a_small_sibling(name):
    big, small = load_preset(name), load_preset(f"{name}-small")
    assert big.data == small.data and big.task == small.task
    model = build_model(small, DEFAULT_GRID, SDSS)
    assert parameter_count(model) < 3e6


@pytest.mark.parametrize("conditioning", ["concat", "xattn"])
@pytest.mark.parametrize("size", [3598, 200, 317])
def test_unet_keeps_the_length_and_sees_the_condition(conditioning, size):
    torch.manual_seed(0)
    net = UNet1D(size, conditioning, width=8, multipliers=(1, 1, 1, 1), context_width=16).eval()
    for parameter in net.parameters():  # attention starts as the identity: wake it up
        torch.nn.init.normal_(parameter, std=0.2)
    x, t = torch.randn(2, 1, size), torch.tensor([3, 200])
    a = net(x, t, net.condition(torch.randn(2, 4, 16)))
    b = net(x, t, net.condition(torch.randn(2, 4, 16)))
    assert a.shape == x.shape
    assert (a - b).abs().max() > 1e-3
    assert (net(x, t + 1, net.condition(torch.zeros(2, 4, 16))) - a).abs().max() > 1e-3


def test_nt_xent_equals_a_hand_computed_value():
    # Two objects in the plane: views at 0 and 90 degrees, partners at 0 and 180 degrees.
    a = torch.tensor([[2.0, 0.0], [0.0, 1.0]])
    b = torch.tensor([[1.0, 0.0], [0.0, -3.0]])
    # Similarities / 0.5: a0-b0 = 2, a1-b1 = -2, all others 0. Each view has three others.
    first = -np.log(np.exp(2) / (np.exp(2) + 2))  # views a0 and b0
    second = -np.log(np.exp(-2) / (np.exp(-2) + 2))  # views a1 and b1
    assert nt_xent(a, b, temperature=0.5).item() == pytest.approx((first + second) / 2, rel=1e-6)


def test_nt_xent_is_least_for_matching_views():
    torch.manual_seed(0)
    codes = torch.nn.functional.normalize(torch.randn(16, 32), dim=-1)
    matched = nt_xent(codes, codes, 0.05)
    shuffled = nt_xent(codes, codes.roll(1, 0), 0.05)
    assert matched < 0.1 < shuffled
    assert nt_xent(torch.randn(64, 512), torch.randn(64, 512), 1e6).item() == pytest.approx(
        np.log(127), rel=1e-4
    )


def test_a_saved_model_comes_back(tmp_path):
    model = build_model(tiny_preset(), GRID, SDSS).eval()
    save_model(tmp_path, model, {"steps": 0})
    again, config = load_model(tmp_path)
    assert config["grid"] == GRID and config["survey"] == SDSS
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), again.state_dict().values()))
    assert model_id(tmp_path).startswith("paper-concat-small@")
    assert "steps: 0" in (tmp_path / "README.md").read_text()


def test_weights_of_another_architecture_are_refused(tmp_path):
    save_model(tmp_path, build_model(tiny_preset(), GRID, SDSS), {})
    other = build_model(tiny_preset("paper-xattn-small"), GRID, SDSS)
    with pytest.raises(InputError, match="another architecture"):
        load_into(other, tmp_path / "model.safetensors")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("config.json", "{", "damaged"),
        ("config.json", '{"format": 99}', "format 99"),
        ("config.json", '{"format": 1}', "damaged: KeyError"),
        ("model.safetensors", "garbage", "damaged weights"),
        ("model.safetensors", None, "did not finish"),
    ],
)
def test_damaged_model_folders_are_named(tmp_path, name, content, message):
    save_model(tmp_path, build_model(tiny_preset(), GRID, SDSS), {})
    (tmp_path / name).unlink()
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(InputError, match=message) as caught:
        load_model(tmp_path)
    assert str(tmp_path) in str(caught.value)


def test_a_config_cannot_name_code_or_unknown_networks(tmp_path):
    save_model(tmp_path, build_model(tiny_preset(), GRID, SDSS), {})
    config = json.loads((tmp_path / "config.json").read_text())
    config["preset"]["encoder"]["arch"] = "os.system"
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match=r"encoder\.arch"):
        load_model(tmp_path)


def test_flops_count_attention_and_convolution():
    facts = describe("paper-xattn-small")
    # One 1x1 output convolution alone is 2 * 16 * 3598 operations; the network has far more.
    assert facts["forward_gflop"]["denoiser"] > 100 * 2 * 16 * 3598 / 1e9
    assert describe("paper-xattn")["forward_gflop"]["denoiser"] > 10 * facts["forward_gflop"]["denoiser"]
