import numpy as np
import pytest
import torch

from pix2spec.core.grid import SpectralGrid
from pix2spec.models.redshift.network import RedshiftModel, RedshiftNetwork
from pix2spec.models.redshift.posterior import to_y
from pix2spec.models.redshift.preset import RedshiftPreset
from pix2spec.models.shared.measurements import MeasurementTable
from pix2spec.models.storage import load_model, save_model

SMALL = {"task": "redshift", "name": "small", "about": "", "queries": 4, "values": 4, "width": 16}


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    preset = RedshiftPreset(**SMALL, without=((0,), (1,), (0, 2)))
    return RedshiftModel(preset, SpectralGrid()).eval()


def galaxies(n=6):
    flux = np.random.default_rng(0).uniform(10, 100, (n, 3))
    return MeasurementTable(flux, 0.03 * flux, np.array([4700.0, 6200, 7500]), np.full(3, 350.0), "model")


def test_only_networks_that_never_saw_a_fold_answer(model):
    weight = model.posterior(galaxies(4), np.array([0, 1, 2, -1])).weight
    share = weight.reshape(4, 3, -1).sum(2)
    np.testing.assert_allclose(share, [[0.5, 0, 0.5], [0, 1, 0], [0, 0, 1], [1 / 3] * 3], atol=1e-6)
    with pytest.raises(ValueError, match="all networks were trained on fold 3"):
        model.posterior(galaxies(1), np.array([3]))


def test_the_ensemble_is_the_mixture_of_its_networks(model):
    tokens = galaxies().tokens()
    with torch.inference_mode():
        each = [network(tokens) for network in model.networks]
    z = np.full(6, 0.1)
    cdfs = []
    for weight, mean, log_sd, _ in each:
        part = torch.distributions.Normal(mean, log_sd.exp()).cdf(torch.tensor(to_y(0.1)))
        cdfs.append((weight.exp() * part).sum(1).numpy())
    np.testing.assert_allclose(model.posterior(tokens).cdf(z), np.mean(cdfs, 0), atol=1e-6)


def test_the_loss_is_the_negative_log_likelihood():
    torch.manual_seed(1)
    network, tokens = RedshiftNetwork(RedshiftPreset(**SMALL)).eval(), galaxies().tokens()
    z = torch.linspace(0.05, 0.4, 6)
    weight, mean, log_sd, _ = network(tokens)
    mixture = torch.distributions.MixtureSameFamily(
        torch.distributions.Categorical(logits=weight), torch.distributions.Normal(mean, log_sd.exp())
    )
    expected = -mixture.log_prob(to_y(z)) - 0.5 * np.log(2 * np.pi)
    torch.testing.assert_close(network.losses(tokens, z)[0], expected)


def test_answers_do_not_depend_on_the_batch(model):
    whole = model.posterior(galaxies()).quantile(0.5)
    tokens = galaxies().tokens()
    alone = np.concatenate([model.posterior(tokens[slice(k, k + 1)]).quantile(0.5) for k in range(6)])
    np.testing.assert_allclose(whole, alone, rtol=1e-5)


def test_a_model_survives_its_folder(model, tmp_path):
    model.threshold.fill_(0.7)
    save_model(tmp_path, model, {"steps": 1})
    again = load_model(tmp_path)[0]
    assert again.preset.without == model.preset.without and float(again.threshold) == pytest.approx(0.7)
    np.testing.assert_array_equal(again.posterior(galaxies()).mean, model.posterior(galaxies()).mean)
    np.testing.assert_array_equal(again.outside(galaxies()), model.logit(galaxies()) > 0.7)


def test_infrared_fluxes_of_unknown_kind_make_distributions_wider(model):
    centre, width = np.array([4700.0, 6200, 7500, 12_400]), np.full(4, 300.0)
    flux, error = np.full((1, 4), 50.0), np.full((1, 4), 1.0)

    def spread(kind):
        table = MeasurementTable(flux, error, centre, width, kind, "observed")
        low, high = (model.posterior(table).quantile(q) for q in (0.16, 0.84))
        return to_y(high) - to_y(low)

    before = {kind: spread(kind) for kind in ("unknown", "model")}
    model.far_stretch.fill_(1.5**4)  # one measurement of four is in the infrared
    assert spread("unknown") / before["unknown"] == pytest.approx(1.5, rel=0.02)
    assert spread("model") == pytest.approx(before["model"])
    model.far_stretch.fill_(1.0)
