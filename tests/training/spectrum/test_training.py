"""Training of the default model's networks: the simulated bank, the loss, resuming, adaptation."""

import copy

import numpy as np
import pytest
import torch
from tests.support.tiny import tiny_spectrum_model
from torch import nn

from pix2spec.core.filters import load_filter
from pix2spec.core.survey import SDSS
from pix2spec.data.dataset import Dataset, write_dataset
from pix2spec.data.schema import DatasetInfo, Galaxy
from pix2spec.data.simulate import SimulatedSurvey
from pix2spec.data.simulate.images import fibre_weights
from pix2spec.errors import InputError
from pix2spec.models.spectrum.model import PictureNetwork
from pix2spec.training.checkpoint import steps_done
from pix2spec.training.redshift.filters import TrainingFilters
from pix2spec.training.redshift.samples import Samples
from pix2spec.training.spectrum import adapt as adapting
from pix2spec.training.spectrum import recipe
from pix2spec.training.spectrum.bank import build_spectrum_bank
from pix2spec.training.spectrum.image_network import ImageTask, train_camera, train_image_network
from pix2spec.training.spectrum.lent_pictures import Pictures, lend
from pix2spec.training.spectrum.picture_bank import build_picture_bank, picture_vectors, turned
from pix2spec.training.spectrum.recipe import VARIETY, Machine, train_network
from pix2spec.training.spectrum.sources import Vectors, simulated_sample

CURVES = [load_filter(name) for name in SDSS.filters]
FILTERS = TrainingFilters(
    names=list(SDSS.filters), curves=CURVES, centre=np.array([c.centre for c in CURVES]),
    width=np.array([c.width for c in CURVES]), extinction=np.array([4.2, 3.3, 2.3, 1.7, 1.3]),
    sets=[[0, 1, 2, 3, 4], [1, 2, 3]], narrow_sets=[[0, 1, 2, 3, 4]],
)  # fmt: skip


@pytest.fixture(scope="module")
def model():
    return tiny_spectrum_model(2)


@pytest.fixture(scope="module")
def bank(model, tmp_path_factory):
    out = tmp_path_factory.mktemp("bank") / "bank.npz"
    return build_spectrum_bank(FILTERS, list(model.networks), out, blocks=3, processes=1)


def samples_of(bank):
    sample = simulated_sample(bank.fibre, bank.z, 0, [[0, 1, 2, 3, 4]])
    vectors = Vectors.joined([(bank.vector[0][:, None], bank.r[0][:, None])])
    return Samples(FILTERS, {"simulated": sample}, (), 0, (VARIETY,)), vectors


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    return build_picture_bank(tmp_path_factory.mktemp("pictures"), blocks=3, processes=1)


@pytest.fixture(scope="module")
def vectors_of_pictures(model, bank, shown):
    return picture_vectors(shown, model.pictures, len(bank.z))


@pytest.fixture(scope="module")
def pictures(bank, vectors_of_pictures):
    return lend(vectors_of_pictures, *samples_of(bank))


def test_the_bank_holds_galaxies_whose_spectra_and_fluxes_agree(bank):
    assert bank.fibre.shape == (384, 5) and bank.vector.shape[:2] == (2, 384)
    in_r = 10 ** (0.4 * (22.5 - bank.fibre[:, 2]))
    off = np.abs(bank.r[0] / in_r - 1)  # a basis of four components is not exact
    assert np.median(off) < 0.01 and off.max() < 0.15
    assert (bank.total <= bank.fibre + 1e-3).all()  # all light is more than that in the fibre


def test_galaxies_at_other_redshifts_have_no_picture(bank, model, pictures):
    own = torch.arange(384).reshape(3, 128)
    assert (pictures.place.reshape(3, 128, -1)[:2] == own[:2, :, None]).all()
    assert (pictures.place[256:] == -1).all() and bank.z.max() < model.z_max


def test_views_of_a_galaxy_show_the_same_light(bank, shown):
    """The light in the fibre of each picture is that of the galaxy, within noise and what is lost."""
    which, rng = np.flatnonzero(bank.fibre[shown.rows, 2] < 17.5), np.random.default_rng(0)
    aperture = torch.from_numpy(fibre_weights(64)).float()
    truth = 10 ** (0.4 * (22.5 - bank.fibre[shown.rows[which], 2]))
    for view, most in (("steady", 0.01), ("unruly", 0.25), ("composite", 0.35)):
        images, lossy = shown.draw(view, which, rng)
        light = (images[:, 1] * aperture).sum((1, 2)).numpy()
        assert torch.isfinite(images).all() and lossy.eq(view == "composite").all()
        assert abs(np.median(light / truth) - 1) < most, view


def test_the_network_of_cameras_tells_them_apart(vectors_of_pictures):
    """Vectors of the unruly camera that are shifted by twice their scatter: a known share can be told."""
    known = vectors_of_pictures[:, :256].clone()
    known[2] += 2 * known[0].float().std(0).half()
    camera = nn.Sequential(nn.Linear(16, 64), nn.SiLU(), nn.Linear(64, 1))
    train_camera(camera, known, steps=300)
    with torch.no_grad():
        steady, unruly = (torch.sigmoid(camera(known[k].float())[:, 0]) for k in (0, 2))
    assert (steady > 0.5).float().mean() > 0.9 and (unruly < 0.5).float().mean() > 0.9


def test_pictures_are_turned_into_all_eight_positions():
    image = torch.arange(9.0).reshape(1, 1, 3, 3).expand(400, 1, 3, 3)
    made = turned(image, np.random.default_rng(0))
    assert len({tuple(one.flatten().tolist()) for one in made}) == 8
    assert (made.flatten(1).sort(1).values == torch.arange(9.0)).all()


def test_pictures_are_seen_by_the_share_that_is_asked_for():
    place = torch.where(torch.arange(40) < 20, torch.arange(40) % 10, -1)[:, None].expand(-1, 2)
    pictures = Pictures(torch.arange(3.0)[:, None, None].expand(3, 10, 4), place)
    rows = torch.arange(40).repeat(500)
    found, seen = pictures.draw(rows, 0.6)
    assert not seen[rows >= 20].any() and abs(seen[rows < 20].float().mean() - 0.6) < 0.04
    assert set(found[:, 0].tolist()) == {0.0, 1.0, 2.0}  # any view


def test_a_real_galaxy_borrows_the_picture_of_the_most_similar_one(bank, vectors_of_pictures):
    """Real galaxies that are copies of simulated ones borrow, among others, the pictures of these."""
    which = np.arange(10, 250, 20)
    sample = simulated_sample(bank.fibre, bank.z, 0, [[0, 1, 2, 3, 4]])
    both = Samples(FILTERS, {"simulated": sample, "spectra": sample.of(which)}, (), 0, (VARIETY,))
    vectors = bank.vector[0][:, None], bank.r[0][:, None]
    coefficients = Vectors.joined([vectors, tuple(values[which] for values in vectors)])
    lent = lend(vectors_of_pictures, both, coefficients).place[both.parts["spectra"]]
    assert (lent[:, 0].numpy() == which).all() and lent.shape[1] == 4
    assert ((lent >= 0) & (lent < 256)).all() and (lent.sort(1).values.diff(dim=1) > 0).all()


def test_a_killed_training_of_pictures_continues_to_the_same_weights(model, bank, shown, tmp_path):
    network, preset = model.networks[0], model.preset
    torch.manual_seed(0)
    judge, weights = PictureNetwork(preset), []
    for name, stops in (("at-once", [6]), ("killed", [3, 6])):
        for stop in stops:
            parts = copy.deepcopy(model.pictures), copy.deepcopy(judge)
            torch.manual_seed(1)
            task = ImageTask(*parts, preset.flow.width, network.dimension).requires_grad_(True)
            samples, vectors = samples_of(bank)
            train_image_network(
                task, network, samples, vectors, shown, tmp_path / name, stop, lambda line: None, of=6
            )
        weights.append(task.encoder.head[-1].weight.detach().clone())
    torch.testing.assert_close(*weights)
    assert not torch.equal(weights[0], model.pictures.head[-1].weight)


def test_a_killed_training_continues_to_the_same_weights(bank, pictures, tmp_path):
    samples, vectors = samples_of(bank)
    weights = []
    for name, stops in (("at-once", [6]), ("killed", [3, 6])):
        for stop in stops:
            network = tiny_spectrum_model(1).networks[0]
            network.galaxy.requires_grad_(True)
            network.flow.requires_grad_(True)
            train_network(
                network, network.tables(CURVES), samples, vectors, pictures, tmp_path / name, stop, 0,
                lambda line: None, {"simulated": 24}, of=6,
            )  # fmt: skip
        weights.append(network.flow.outlet.weight.detach().clone())
    torch.testing.assert_close(*weights)


def test_a_training_whose_time_is_over_has_done_one_step(bank, pictures, tmp_path):
    samples, vectors = samples_of(bank)
    network = tiny_spectrum_model(1).networks[0].requires_grad_(True)
    late = Machine(batch=2, bfloat16=True, until=0.0)
    checkpoint = train_network(
        network, network.tables(CURVES), samples, vectors, pictures, tmp_path, 5, 0,
        lambda line: None, {"simulated": 8}, machine=late,
    )  # fmt: skip
    assert steps_done(checkpoint) == 1


def test_a_batch_stays_on_its_device(bank, pictures, monkeypatch):
    """Tensors of a GPU without values, so that none is needed; operations across devices are errors."""
    from torch._subclasses.fake_tensor import FakeTensorMode

    # Checks of arguments look at values.
    monkeypatch.setattr(torch.distributions.Distribution, "_validate_args", False)
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda tensor: tensor)  # there is no memory to pin
    samples, vectors = samples_of(bank)
    network = tiny_spectrum_model(1).networks[0]
    tables, images = network.tables(CURVES), pictures
    with FakeTensorMode(allow_non_fake_inputs=True):
        for part in (network, tables, samples, vectors):
            part.to("cuda")
        images = images.to("cuda")
        with torch.device("cuda"):
            for narrow in (False, True):
                inputs, measured = recipe._batch(
                    network,
                    tables,
                    samples,
                    vectors,
                    images,
                    narrow,
                    np.random.default_rng(0),
                    {"simulated": 8},
                )
                loss = recipe.velocity_loss(network.flow, network.galaxy(*measured), *inputs)
                assert loss.device.type == "cuda"


def pairs(n, seed=31):
    batch = SimulatedSurvey(seed).sample(n)
    names = ("object_id", "z", "photometry", "photometry_ivar", "flux", "ivar")
    return [Galaxy(**{k: batch[k][i] for k in names}, kind="fibre") for i in range(n)]


def test_adaptation_changes_flows_and_noise_alone(model, tmp_path, monkeypatch):
    monkeypatch.setattr(adapting, "STEPS", 4)
    monkeypatch.setattr(adapting, "REPLAY", 128)
    write_dataset(tmp_path / "pairs", pairs(40), DatasetInfo())
    made, count = adapting.adapt(model, Dataset(tmp_path / "pairs"), progress=False)
    assert count == 40
    old, new = model.state_dict(), made.state_dict()
    changed = {name.split(".")[2] for name in old if not torch.equal(old[name], new[name])}
    assert changed == {"flow", "galaxy", "noise"}


def test_adaptation_needs_pairs(model, tmp_path):
    write_dataset(tmp_path / "few", pairs(5), DatasetInfo())
    with pytest.raises(InputError, match="only 5 galaxies have fluxes, a redshift below"):
        adapting.adapt(model, Dataset(tmp_path / "few"))
