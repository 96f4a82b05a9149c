"""The fitted methods end to end, with the same calls as trained models."""

import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

import pix2spec
from pix2spec.apps.cli.describe import describe
from pix2spec.data.dataset import Dataset, write_dataset
from pix2spec.data.schema import DatasetInfo, Galaxy
from pix2spec.errors import InputError
from pix2spec.evaluation.compare import evaluate
from pix2spec.generate.catalogue import generate_catalogue
from pix2spec.models.baselines.search import nearest
from pix2spec.models.baselines.training_spectra import as_float16
from pix2spec.models.generator import Settings
from pix2spec.models.presets import load_preset, validate_preset
from pix2spec.products.catalogue import open_catalogue
from pix2spec.products.units import PHYSICAL, RELATIVE
from pix2spec.training.fit import fit_model
from pix2spec.training.loop import train
from support.tiny import GRID, tiny_galaxy, write_tiny_dataset

SMALL = {
    "mean-spectrum": (),
    "nearest-neighbour": (),
    "neighbours-25": (),
    "neighbours-25-photometry": (),
    "pca-ridge": ("components=3",),
    "pca-mlp": ("components=3", "hidden=[8]"),
}
CANDIDATES = {"neighbours-25": 6, "neighbours-25-photometry": 6}  # of six asked for; the others make one


@pytest.fixture(scope="module")
def runs(tiny_data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("fitted")
    return {
        name: train(load_preset(name, overrides), tiny_data, folder / name, progress=False)
        for name, overrides in SMALL.items()
    }


@pytest.fixture(scope="module")
def unseen(tmp_path_factory):
    folder = tmp_path_factory.mktemp("unseen") / "data"
    write_dataset(folder, (tiny_galaxy(i) for i in range(1000, 1020)), DatasetInfo(grid=GRID))
    return Dataset(folder)


@pytest.mark.parametrize("name", SMALL)
def test_from_training_set_to_scores(runs, unseen, tmp_path, name):
    generator = pix2spec.load(runs[name])
    made = generate_catalogue(generator, unseen, tmp_path, Settings(n=6), progress=False)
    assert (made.n_ok, made.n_failed) == (20, 0)
    catalogue = open_catalogue(tmp_path)
    ensemble = catalogue.ensemble("tiny-1000")
    assert len(ensemble) == CANDIDATES.get(name, 1) and np.isfinite(ensemble.candidates).all()
    assert ensemble.unit == PHYSICAL and "amplitude-from-photometry" in ensemble.flags
    assert ("point-estimate" in ensemble.flags) == (name in ("mean-spectrum", "pca-ridge", "pca-mlp"))
    assert catalogue.provenance["model"].startswith(f"{name}@")
    result = evaluate(tmp_path, unseen, progress=False)
    assert result["counts"]["scored"] == 20
    assert np.isfinite(result["methods"]["single"]["minmax_mse"]["mean"])


@pytest.mark.parametrize("name", SMALL)
def test_a_run_folder_is_a_model_without_pickles(runs, name):
    files = {path.name for path in runs[name].iterdir()}
    assert files == {"preset.yaml", "config.json", "model.safetensors", "README.md"}
    record = json.loads((runs[name] / "config.json").read_text())["record"]
    assert record["trained_on"].split()[1:3] == ["pairs", "of"] and record["images"] == "linear"
    facts = describe(runs[name])
    assert facts["kind"] == "model" and facts["id"] == pix2spec.load(runs[name]).ids["model"]
    assert describe(name)["task"] == facts["task"]
    assert "## Input and output" in (runs[name] / "README.md").read_text()


def test_what_is_stored_gives_what_was_fitted(runs, tiny_data, unseen):
    model, _ = fit_model(load_preset("pca-mlp", SMALL["pca-mlp"]), Dataset(tiny_data, "train"))
    batch = unseen.batch(slice(None))
    stored = pix2spec.load(runs["pca-mlp"], device="cpu").model
    np.testing.assert_array_equal(stored.predict(batch, "linear")[0], model.predict(batch, "linear")[0])


def test_mlp_learns_what_depends_on_the_input(tmp_path):
    """Spectra that bend by the cosine of a colour: a curve that ridge regression cannot follow."""
    rng = np.random.default_rng(0)
    colour = rng.uniform(-1, 1, 1000).astype(np.float32)
    shape = np.linspace(-1, 1, GRID.size)
    flux = 10 * (1 + 0.5 * np.cos(3 * colour[:, None]) * shape) + rng.normal(0, 0.05, (1000, GRID.size))
    bands = 10 ** (0.4 * np.outer(colour, [2, 1, 0, -1, -2])) * 10
    galaxies = [
        Galaxy(
            f"g{i}", flux=flux[i], ivar=np.full(GRID.size, 400), photometry=bands[i], photometry_ivar=bands[i]
        )
        for i in range(1000)
    ]
    write_dataset(tmp_path, galaxies, DatasetInfo(grid=GRID))
    dataset, error = Dataset(tmp_path), {}
    for name in ("pca-ridge", "pca-mlp"):
        preset = load_preset(name, ("components=2", "limit=900", "features=[photometry]"))
        model, _ = fit_model(preset, dataset)
        spectra, _ = model.predict(dataset.batch(np.arange(900, 1000), [*model.columns, "group_id"]), None, 1)
        truth = flux[900:] / np.median(flux[900:], 1, keepdims=True)
        error[name] = np.square(spectra[:, 0] - truth).mean()
    assert error["pca-mlp"] < 0.2 * error["pca-ridge"]


def test_ridge_beats_the_mean(runs, unseen):
    batch = unseen.batch(slice(None))
    truth = batch["flux"] / np.median(batch["flux"], 1, keepdims=True)
    error = {
        name: np.square(pix2spec.load(runs[name]).model.predict(batch, "linear")[0][:, 0] - truth).mean()
        for name in ("mean-spectrum", "pca-ridge")
    }
    assert error["pca-ridge"] < 0.7 * error["mean-spectrum"]


def test_the_nearest_come_first_and_every_rule_follows(runs):
    generator, galaxy = pix2spec.load(runs["neighbours-25"]), tiny_galaxy(1000)
    ensemble = generator.generate(galaxy, n=8)
    assert ensemble.select == "all" and (np.diff(ensemble.scores) <= 0).all()
    for rule, kept in {"single": [0], "best": [0], "mean:3": [0, 1, 2], "all": list(range(8))}.items():
        assert generator.generate(galaxy, n=8, select=rule).selected.tolist() == kept
    assert len(generator.generate(galaxy, n=100)) == 25  # those of the preset
    for rule in ("single", "best", "mean:5", "all"):
        alone = pix2spec.load(runs["mean-spectrum"]).generate(galaxy, select=rule)
        assert len(alone) == 1 and alone.selected.tolist() == [0] and alone.scores is None


def test_an_object_is_never_its_own_neighbour(runs, tiny_data):
    generator = pix2spec.load(runs["nearest-neighbour"])
    known = Dataset(tiny_data, "train")[0]
    stranger = tiny_galaxy(0)
    stranger.image, stranger.object_id, stranger.group_id = known.image, "stranger", "stranger"
    assert generator.generate(stranger).scores[0] == 0  # the very image
    assert generator.generate(known).scores[0] < 0
    repeat = tiny_galaxy(0)
    repeat.image, repeat.object_id, repeat.group_id = known.image, "again", known.group_id
    assert generator.generate(repeat).scores[0] < 0


def test_amplitudes_follow_the_photometry_or_are_relative(runs):
    generator = pix2spec.load(runs["neighbours-25"])
    galaxy = tiny_galaxy(1000)
    once = generator.generate(galaxy, n=3)
    galaxy.photometry, galaxy.photometry_ivar = 10 * galaxy.photometry, galaxy.photometry_ivar / 100
    np.testing.assert_allclose(generator.generate(galaxy, n=3).candidates, 10 * once.candidates, rtol=1e-4)
    bare = pix2spec.load(runs["mean-spectrum"]).generate(
        tiny_galaxy(1, with_photometry=False), image_kind="composite"
    )
    assert bare.unit == RELATIVE and "relative-flux" in bare.flags
    assert np.median(bare.flux) == pytest.approx(1, abs=0.1)


def test_what_cannot_be_is_refused(runs, tiny_data, tmp_path):
    generator = pix2spec.load(runs["neighbours-25-photometry"])
    with pytest.raises(InputError, match="observed spectra only"):
        generator.generate(tiny_galaxy(0), noise="none")
    with pytest.raises(InputError, match="needs photometry"):
        generator.generate(tiny_galaxy(0), use=("image",))
    with pytest.raises(InputError, match="no photometry"):
        generator.generate(tiny_galaxy(0, with_photometry=False))
    by_image = pix2spec.load(runs["neighbours-25"])
    with pytest.raises(InputError, match="colour composite"):
        by_image.generate(tiny_galaxy(0), image_kind="composite")
    galaxy = tiny_galaxy(0)
    galaxy.image = None
    with pytest.raises(InputError, match="no image"):
        by_image.generate(galaxy)
    with pytest.raises(InputError, match="nothing to rank"):
        pix2spec.load(runs["mean-spectrum"], selector=runs["mean-spectrum"])
    with pytest.raises(InputError, match="has no initial weights"):
        train(load_preset("mean-spectrum"), tiny_data, tmp_path / "run", init=runs["mean-spectrum"])
    with pytest.raises(InputError, match="did you mean 'limit'"):
        load_preset("mean-spectrum", ("limits=3",))
    with pytest.raises(InputError, match="too few"):
        train(load_preset("pca-ridge", ("limit=10",)), tiny_data, tmp_path / "few", progress=False)
    with pytest.raises(InputError, match="neighbours"):
        train(load_preset("neighbours-25", ("limit=1",)), tiny_data, tmp_path / "one", progress=False)


def test_a_finished_fit_is_kept(runs, tiny_data):
    preset, out = load_preset("nearest-neighbour"), runs["nearest-neighbour"]
    with pytest.raises(InputError, match="already holds a run"):
        train(preset, tiny_data, out, progress=False)
    before = (out / "model.safetensors").stat().st_mtime_ns
    assert train(preset, tiny_data, out, resume=True, progress=False) == out
    assert (out / "model.safetensors").stat().st_mtime_ns == before
    with pytest.raises(InputError, match="k = 1, but the preset has 2"):
        train(load_preset("nearest-neighbour", ("k=2",)), tiny_data, out, resume=True)


def test_methods_fitted_to_composites_also_take_linear_images(tmp_path):
    from pix2spec.core.scaling import lupton_rgb

    def composite(i):
        galaxy = tiny_galaxy(i)
        galaxy.image = lupton_rgb(galaxy.image)
        return galaxy

    info = DatasetInfo(grid=GRID, image_kind="composite")
    write_dataset(tmp_path / "data", (composite(i) for i in range(40)), info)
    run = train(load_preset("neighbours-25"), tmp_path / "data", tmp_path / "run", progress=False)
    generator = pix2spec.load(run)
    assert generator.model.preset.image == "composite"
    linear = generator.generate(tiny_galaxy(1000), n=5)
    direct = generator.generate(composite(1000), n=5, image_kind="composite")
    np.testing.assert_allclose(linear.scores, direct.scores, atol=1e-4)


def test_photometry_methods_need_no_images(tmp_path):
    def blind(i):
        galaxy = tiny_galaxy(i)
        galaxy.image = None
        return galaxy

    write_dataset(tmp_path / "data", map(blind, range(30)), DatasetInfo(grid=GRID, image_kind=None))
    preset = load_preset("neighbours-25-photometry")
    run = train(preset, tmp_path / "data", tmp_path / "run", progress=False)
    assert len(pix2spec.load(run).generate(blind(99), n=4)) == 4
    with pytest.raises(InputError, match="no images"):
        train(load_preset("neighbours-25"), tmp_path / "data", tmp_path / "other", progress=False)
    bare = write_tiny_dataset(tmp_path / "bare", 20, with_photometry=False)
    with pytest.raises(InputError, match="no training galaxy has photometry"):
        train(preset, bare, tmp_path / "third", progress=False)


def test_damaged_arrays_are_named(runs, tmp_path):
    source = runs["neighbours-25"]
    for name in ("config.json", "README.md"):
        (tmp_path / name).write_bytes((source / name).read_bytes())
    weights = load_file(source / "model.safetensors")
    save_file(weights | {"groups": weights["groups"][:-1].clone()}, tmp_path / "model.safetensors")
    with pytest.raises(InputError, match="different sizes"):
        pix2spec.load(tmp_path)


def test_half_precision_keeps_spectra_to_a_twentieth_of_a_percent():
    x = np.float32(10) ** np.random.default_rng(0).uniform(-3, 4, 10000).astype(np.float32)
    np.testing.assert_allclose(as_float16(x), x, rtol=5e-4)
    assert np.isfinite(as_float16(np.float32([-1e9, 1e9]))).all()


@given(st.integers(1, 300), st.integers(1, 40), st.integers(0, 2**31))
def test_the_search_is_exact(n, k, seed):
    rng = np.random.default_rng(seed)
    k = min(k, n)
    index, query = (torch.from_numpy(rng.normal(size=(m, 3)).astype(np.float32)) for m in (n, 5))
    index[rng.integers(n)] = query[0]  # a duplicate
    found, distance = nearest(index, query, k)
    expected = torch.cdist(query.double(), index.double()).sort(1).values[:, :k]
    np.testing.assert_allclose(distance, expected, atol=1e-5)
    assert distance[0, 0] == 0 and all(len(set(row.tolist())) == k for row in found)
    np.testing.assert_allclose((index[found] - query[:, None]).norm(dim=-1), distance, atol=1e-6)


@given(
    st.sampled_from(["mean-spectrum", "neighbours-25", "ulisse", "pca-mlp"]),
    st.integers(-3, 10),
)
def test_limits_are_positive(name, limit):
    values = load_preset(name).model_dump(mode="json") | {"limit": limit}
    if limit > 0:
        assert validate_preset(values).limit == limit
    else:
        with pytest.raises(InputError, match="limit"):
            validate_preset(values)
