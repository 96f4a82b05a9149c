"""Training of the default model's networks: the simulated bank, the loss, resuming, adaptation."""

import numpy as np
import pytest
import torch
from tests.support.tiny import tiny_spectrum_model

from pix2spec.core.filters import load_filter
from pix2spec.core.survey import SDSS
from pix2spec.data.dataset import Dataset, write_dataset
from pix2spec.data.schema import DatasetInfo, Galaxy
from pix2spec.data.simulate import SimulatedSurvey
from pix2spec.errors import InputError
from pix2spec.training.checkpoint import steps_done
from pix2spec.training.redshift.filters import TrainingFilters
from pix2spec.training.redshift.samples import Samples
from pix2spec.training.spectrum import adapt as adapting
from pix2spec.training.spectrum import recipe
from pix2spec.training.spectrum.bank import build_spectrum_bank
from pix2spec.training.spectrum.recipe import VARIETY, Machine, pictures_of, train_network
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
    return build_spectrum_bank(FILTERS, list(model.networks), model.pictures, out, blocks=3, processes=1)


def samples_of(bank):
    sample = simulated_sample(bank.fibre, bank.z, 0, [[0, 1, 2, 3, 4]])
    vectors = Vectors.joined([(bank.vector[0][:, None], bank.r[0][:, None])])
    return Samples(FILTERS, {"simulated": sample}, (), 0, (VARIETY,)), vectors


def pictures(bank):
    return torch.from_numpy(bank.image), torch.from_numpy(bank.has_image)


def test_the_bank_holds_galaxies_whose_spectra_and_fluxes_agree(bank):
    assert bank.fibre.shape == (384, 5) and bank.vector.shape[:2] == (2, 384)
    in_r = 10 ** (0.4 * (22.5 - bank.fibre[:, 2]))
    off = np.abs(bank.r[0] / in_r - 1)  # a basis of four components is not exact
    assert np.median(off) < 0.01 and off.max() < 0.15
    assert (bank.total <= bank.fibre + 1e-3).all()  # all light is more than that in the fibre


def test_galaxies_at_other_redshifts_have_no_picture(bank, model):
    assert bank.has_image.reshape(3, 128).all(1).tolist() == [True, True, False]
    assert np.abs(bank.image[256:]).max() == 0 and bank.z.max() < model.z_max


def test_pictures_are_seen_by_the_share_that_is_asked_for():
    vectors, exists = torch.ones(10, 4), torch.arange(10) < 5
    rows = torch.arange(20).repeat(500)
    _, seen = pictures_of((vectors, exists), rows, 0.6)
    assert not seen[rows >= 5].any() and abs(seen[rows < 5].float().mean() - 0.6) < 0.04


def test_a_killed_training_continues_to_the_same_weights(bank, tmp_path):
    samples, vectors = samples_of(bank)
    weights = []
    for name, stops in (("at-once", [6]), ("killed", [3, 6])):
        for stop in stops:
            network = tiny_spectrum_model(1).networks[0]
            network.galaxy.requires_grad_(True)
            network.flow.requires_grad_(True)
            train_network(
                network, network.tables(CURVES), samples, vectors, pictures(bank), tmp_path / name, stop, 0,
                lambda line: None, {"simulated": 24}, of=6,
            )  # fmt: skip
        weights.append(network.flow.outlet.weight.detach().clone())
    torch.testing.assert_close(*weights)


def test_a_training_whose_time_is_over_has_done_one_step(bank, tmp_path):
    samples, vectors = samples_of(bank)
    network = tiny_spectrum_model(1).networks[0].requires_grad_(True)
    late = Machine(batch=2, bfloat16=True, until=0.0)
    checkpoint = train_network(
        network, network.tables(CURVES), samples, vectors, pictures(bank), tmp_path, 5, 0,
        lambda line: None, {"simulated": 8}, machine=late,
    )  # fmt: skip
    assert steps_done(checkpoint) == 1


def test_a_batch_stays_on_its_device(bank, monkeypatch):
    """Tensors of a GPU without values, so that none is needed; operations across devices are errors."""
    from torch._subclasses.fake_tensor import FakeTensorMode

    # Checks of arguments look at values.
    monkeypatch.setattr(torch.distributions.Distribution, "_validate_args", False)
    samples, vectors = samples_of(bank)
    network = tiny_spectrum_model(1).networks[0]
    tables, images = network.tables(CURVES), pictures(bank)
    with FakeTensorMode(allow_non_fake_inputs=True):
        for part in (network, tables, samples, vectors):
            part.to("cuda")
        images = tuple(part.to("cuda") for part in images)
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
