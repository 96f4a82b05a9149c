import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from pix2spec.models.redshift.network import RedshiftNetwork
from pix2spec.models.redshift.posterior import RedshiftPosterior, from_y, to_y
from pix2spec.models.redshift.preset import RedshiftPreset
from pix2spec.models.shared.measurements import Tokens
from pix2spec.training.redshift import recipe
from pix2spec.training.redshift.optimizer import MuonAdam
from pix2spec.training.redshift.recipe import averaged_weights, scrambled, train_network
from pix2spec.training.redshift.samples import Samples
from training.redshift.test_samples import FILTERS, sample

SMALL = RedshiftPreset(task="redshift", name="small", about="", queries=4, values=4, width=16, components=2)


@pytest.fixture
def samples():
    return Samples(FILTERS, {"sdss": sample(), "quasars": sample(z=np.full(400, 2.0))}, (0,), 0)


def test_a_killed_training_gives_the_same_weights(samples, tmp_path, monkeypatch):
    train_network(SMALL, samples, tmp_path / "whole", (6, 2), seed=3)
    monkeypatch.setattr(recipe, "CHECKPOINT_SECONDS", 0)
    calls = []

    def batch(*arguments, real=recipe.batch):
        calls.append(1)
        if len(calls) == 6:
            raise KeyboardInterrupt
        return real(*arguments)

    monkeypatch.setattr(recipe, "batch", batch)
    with pytest.raises(KeyboardInterrupt):
        train_network(SMALL, samples, tmp_path / "killed", (6, 2), seed=3)
    train_network(SMALL, samples, tmp_path / "killed", (6, 2), seed=3)
    a, b = (load_file(tmp_path / name / "checkpoint.safetensors") for name in ("whole", "killed"))
    assert a.keys() == b.keys()
    for name in a:
        torch.testing.assert_close(a[name], b[name])


def test_the_learning_rate_falls_to_zero_in_each_part():
    steps, seen = (1000, 400, 200), []
    for step in (300, 999, 1000, 1399, 1400, 1599):
        part, rate = recipe.part_of(step, steps)
        seen.append((recipe.PARTS.index(part), rate))
    assert [part for part, _ in seen] == [0, 0, 1, 1, 2, 2]
    assert seen[0][1] == pytest.approx(5e-3 * 0.5 * (1 + np.cos(0.3 * np.pi)), rel=1e-3)
    assert all(rate < 2e-6 for _, rate in seen[1::2])
    assert [rate for _, rate in seen[2::2]] == pytest.approx([2.5e-3, 2e-3], rel=1e-3)


def test_scrambled_galaxies_have_one_or_more_bands_far_off():
    n, k = 200, 4
    flux = torch.full((n, k), 10.0)
    tokens = Tokens(
        flux, 0.1 * flux, flux, flux, torch.ones(n, k, dtype=torch.bool), torch.zeros(n, k, dtype=torch.long),
        torch.zeros(n, dtype=torch.long),
    )  # fmt: skip
    torch.manual_seed(0)
    offset = (2.5 * torch.log10(scrambled(tokens).flux / flux)).abs().amax(1)
    assert (offset > 0.5).float().mean() > 0.85


def test_the_optimiser_gives_matrices_to_muon_and_solves_a_regression():
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Linear(3, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1))
    optimizer = MuonAdam(network.parameters(), lr=0.02, weight_decay=0.0)
    assert optimizer.count == 2 and len(optimizer.adam.param_groups[0]["params"]) == 2
    x = torch.randn(256, 3)
    y = (x[:, :1] * 0.5).tanh()
    for _ in range(200):
        loss = (network(x) - y).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 2e-3


@pytest.mark.slow
def test_a_network_learns_the_exact_posterior_of_a_gaussian_galaxy(tmp_path):
    """Magnitudes are linear in y with Gaussian errors of 10 %: the posterior's sd follows from them."""
    rng = np.random.default_rng(0)
    y, prior, error = rng.normal(0.5, 0.5, 4000), 0.5, 0.1
    tilt = np.linspace(-1, 1, len(FILTERS.names))
    mag = 18 + y[:, None] * tilt + 1.086 * error * rng.normal(size=(4000, len(tilt)))
    values = {"error": error, "mag": mag.astype(np.float32), "z": from_y(y), "fold": np.zeros(4000, int)}
    samples = Samples(FILTERS, {"sdss": sample(4000, extinction=1, **values)}, (3,), 0)
    preset = SMALL.model_copy(update={"width": 64})
    train_network(preset, samples, tmp_path, (2000, 500), seed=0)
    network = RedshiftNetwork(preset).eval()
    network.load_state_dict(averaged_weights(tmp_path))
    torch.manual_seed(5)
    tokens, z = samples.draw({"sdss": 4000}, False, rng)
    with torch.no_grad():
        weight, mean, log_sd, _ = network(tokens)
    posterior = RedshiftPosterior(*(v.double().numpy() for v in (weight.exp(), mean, log_sd.exp())))
    low, high = posterior.quantile(0.16), posterior.quantile(0.84)
    assert np.mean((z.numpy() > low) & (z.numpy() < high)) == pytest.approx(0.68, abs=0.04)
    # Galaxies with all five bands and no more noise than their own have the smallest sd.
    found = ((to_y(high) - to_y(low)) / 2)[(tokens.seen.sum(1) == 5).numpy()]
    exact = (1 / prior**2 + (tilt[:5] ** 2).sum() / error**2) ** -0.5
    assert np.quantile(found, 0.1) == pytest.approx(exact, rel=0.15)
