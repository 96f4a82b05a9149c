import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import pix2spec
from pix2spec.apps.cli.describe import describe, parameter_count
from pix2spec.core.scaling import minmax
from pix2spec.core.survey import SDSS
from pix2spec.data.dataset import Dataset
from pix2spec.data.schema import DEFAULT_GRID
from pix2spec.errors import InputError
from pix2spec.evaluation.compare import evaluate
from pix2spec.generate.catalogue import generate_catalogue
from pix2spec.models.baselines.wu_peek.model import HybridNetwork
from pix2spec.models.generator import Settings
from pix2spec.models.presets import load_preset
from pix2spec.models.registry import build_model
from pix2spec.models.storage import load_model
from pix2spec.products.units import PHYSICAL, RELATIVE
from pix2spec.runtime.random import BatchRng
from pix2spec.training import loop as train_module
from pix2spec.training.loop import train
from support.tiny import GRID, TINY_WUPEEK, tiny_galaxy


def preset(*overrides):
    return load_preset("paper-wu-peek-small", (*TINY_WUPEEK, *overrides))


@pytest.fixture(scope="module")
def run(tiny_data, tmp_path_factory):
    return train(preset(), tiny_data, tmp_path_factory.mktemp("runs") / "wu-peek", progress=False)


@pytest.fixture(scope="module")
def model(run):
    return pix2spec.load(run, device="cpu")


@pytest.fixture
def inputs(tiny_data):
    def make(change=lambda batch: None, train=False):
        dataset = Dataset(tiny_data, "train")
        network = build_model(preset(), GRID, SDSS)
        batch = {name: v.copy() for name, v in dataset.batch(np.arange(8), network.columns).items()}
        change(batch)
        return network.prepare(batch, "linear", BatchRng(0), train)

    return make


def losses(run):
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return {(row["step"], name): value for row in rows for name, value in row.items()}


def test_parameter_counts_are_the_papers():
    counts = describe("paper-wu-peek")["parameters"]
    assert counts == {"autoencoder": 25_594_330, "image network": 6_734_167, "total": 32_328_497}
    assert counts["autoencoder"] == pytest.approx(25.6e6, rel=0.01)
    assert counts["image network"] == pytest.approx(6.8e6, rel=0.01)


def test_the_small_sibling():
    big, small = load_preset("paper-wu-peek"), load_preset("paper-wu-peek-small")
    assert big.data == small.data and big.task == small.task
    assert parameter_count(build_model(small, DEFAULT_GRID, SDSS)) < 3e6


def test_the_hybrid_network_sees_every_band_and_starts_with_deconvolution():
    torch.manual_seed(0)
    net = HybridNetwork(3, 5, stem=(4, 4, 4), channels=(8, 8), groups=4)
    kinds = [type(m).__name__ for m in net.features.modules()]
    assert kinds.count("Deconvolution2d") == 3
    assert max(i for i, k in enumerate(kinds) if k == "Deconvolution2d") < kinds.index("BatchNorm2d")
    image = torch.randn(4, 3, 64, 64)
    net(image).square().mean().backward()
    first = net.features[0].weight.grad
    assert net(image).shape == (4, 5) and (first.abs().amax((0, 2, 3)) > 0).all()


def test_the_image_network_sends_no_gradient_to_the_autoencoder(inputs):
    torch.manual_seed(0)
    network = build_model(preset(), GRID, SDSS)

    def gradients(image):
        network.zero_grad()
        network(**(inputs() | {"image": image})).backward()
        return [p.grad.clone() for p in network.autoencoder.parameters()]

    image = inputs()["image"]
    assert all(torch.equal(a, b) for a, b in zip(gradients(image), gradients(image.flip(0))))
    assert all(p.grad is not None for p in network.network.parameters())


def test_inverse_variances_follow_the_scaling_of_the_spectra(inputs, tiny_data):
    batch = Dataset(tiny_data, "train").batch(np.arange(8), ["flux"])
    _, _, scale = minmax(batch["flux"])
    given = inputs()
    assert given["x"].min().item() == pytest.approx(-1) and given["x"].max().item() == pytest.approx(1)
    np.testing.assert_allclose(1 / given["weight"], np.tile(scale**-2 + 0.02**2, GRID.size), rtol=1e-4)


def test_missing_pixels_do_not_count(inputs):
    def spoil(value):
        def change(batch):
            batch["ivar"][:, 50:60] = 0
            batch["flux"][:, 50:60] = value

        return change

    one, other = inputs(spoil(1e6)), inputs(spoil(np.nan))
    assert (one["weight"][:, 50:60] == 0).all() and (one["weight"][:, 60:] > 0).all()
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_only_training_augments(inputs):
    assert torch.equal(inputs()["image"], inputs()["image"])
    assert not torch.equal(inputs()["image"], inputs(train=True)["image"])
    assert torch.equal(inputs(train=True)["image"], inputs(train=True)["image"])


def test_a_resumed_run_repeats_the_uninterrupted_one_exactly(run, tiny_data, tmp_path, monkeypatch):
    class Killed(Exception):
        pass

    real = train_module.save_checkpoint

    def save_then_die(*args):
        real(*args)
        raise Killed

    monkeypatch.setattr(train_module, "save_checkpoint", save_then_die)
    with pytest.raises(Killed):
        train(preset(), tiny_data, tmp_path / "cut", progress=False)
    monkeypatch.undo()
    cut = train(preset(), tiny_data, tmp_path / "cut", resume=True, progress=False)
    assert losses(cut) == losses(run)
    a, b = load_file(run / "model.safetensors"), load_file(cut / "model.safetensors")
    assert a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


@pytest.mark.slow
def test_it_learns_spectra_from_images(tiny_data, tmp_path):
    # Batches of 32 and few pixels: a weight of 1e4 would leave room for nothing but the prior.
    longer = preset(
        "train.steps=80", "train.batch_size=32", "train.validate_every=80", "train.checkpoint_every=80",
        "train.lr=1e-2", "train.lr_schedule=epochs", "train.ema=0.8", "autoencoder.lam=1",
    )  # fmt: skip
    network, _ = load_model(train(longer, tiny_data, tmp_path / "run", progress=False))
    dataset = Dataset(tiny_data, "train")
    batch = dataset.batch(np.arange(len(dataset)), network.columns)
    given = network.prepare(batch, "linear", BatchRng(0), False)
    with torch.inference_mode():
        predicted = network.predict(given["image"])
    error = (predicted - given["x"]).square().mean()
    assert error < 0.5 * (given["x"] - given["x"].mean(0)).square().mean()


@pytest.mark.parametrize("rule", ["single", "best", "mean:5", "all"])
def test_every_selection_gives_the_one_spectrum(model, rule):
    ensemble = model.generate(tiny_galaxy(0), n=7, select=rule)
    assert len(ensemble) == 1 and ensemble.selected.tolist() == [0] and ensemble.scores is None
    assert ensemble.flags[0] == "amplitude-from-photometry" and ensemble.flags[-1] == "point-estimate"
    assert ensemble.unit == PHYSICAL and ensemble.select == rule
    assert np.array_equal(ensemble.flux, model.generate(tiny_galaxy(0), seed=5).flux)
    assert np.isfinite(ensemble.flux).all()


def test_without_photometry_the_scale_is_the_papers(model):
    image = np.full((3, 64, 64), 100, np.float32)
    image[:, 20:40, 20:40] = 200
    ensemble = model.generate(image, image_kind="composite")
    assert ensemble.unit == RELATIVE and ensemble.flags == ["relative-flux", "point-estimate"]


def test_a_spectrum_depends_on_its_image_alone(run):
    model = pix2spec.load(run, device="cpu")
    with torch.no_grad():  # six steps have taught it little: make more of it
        model.model.network.head.weight.mul_(1000)
    galaxies = [tiny_galaxy(i, with_photometry=False) for i in range(3)]
    for galaxy in galaxies:
        galaxy.image *= 200  # a composite reaches 255
    together = model.generate_batch(galaxies, "composite", Settings(select="single"))
    alone = [model.generate(p, image_kind="composite") for p in galaxies]
    spread = np.ptp([e.flux for e in together], axis=0).max()
    assert spread > 1e-4
    for a, b in zip(together, alone):
        np.testing.assert_allclose(a.flux, b.flux, atol=0.02 * spread)


def test_a_catalogue_of_it_is_evaluated(model, tiny_data, tmp_path):
    settings = Settings(select="single")
    generate_catalogue(model, Dataset(tiny_data), tmp_path / "made", settings, limit=6, progress=False)
    result = evaluate(tmp_path / "made", tiny_data, out=tmp_path / "report", progress=False)
    assert np.isfinite(result["methods"]["single"]["minmax_mse"]["mean"])
    assert "best" not in result["methods"]


def test_what_it_cannot_do_is_refused(model, run, tiny_selector):
    with pytest.raises(InputError, match="one spectrum per galaxy"):
        pix2spec.load(run, selector=tiny_selector)
    with pytest.raises(InputError, match="observed spectra only"):
        model.generate(tiny_galaxy(0), noise="none")
    with pytest.raises(InputError, match="no image"):
        model.generate(pix2spec.Galaxy("bare", photometry=np.ones(5), photometry_ivar=np.ones(5)))
