import numpy as np
import pytest
import torch

from pix2spec.core.filters import FLOOR
from pix2spec.data.measurements import EXTINCTIONS
from pix2spec.models.shared.measurements import KIND_GROUPS
from pix2spec.training.redshift.bank import Bank, transfer
from pix2spec.training.redshift.filters import TrainingFilters
from pix2spec.training.redshift.samples import Sample, Samples

CENTRE = np.array([3600.0, 4700, 6200, 7500, 8900, 12000])
F = len(CENTRE)
FILTERS = TrainingFilters(
    names=[f"f{k}" for k in range(F)], curves=[], centre=CENTRE, width=np.full(F, 300.0),
    extinction=np.linspace(4.2, 0.7, F), sets=[[0, 1, 2, 3, 4], [1, 2, 3]], narrow_sets=[[0, 1, 2, 3, 4, 5]],
)  # fmt: skip


def sample(n=400, error=0.02, **options):
    rng = np.random.default_rng(0)
    values = {
        "mag": np.tile(18.0 - 0.3 * np.arange(F), (n, 1)).astype(np.float32),
        "error": np.full((n, F), error, np.float32),
        "z": rng.uniform(0.01, 0.3, n),
        "kind": KIND_GROUPS["model"],
        "extinction": EXTINCTIONS.index("observed"),
        "fold": np.arange(n) % 4,
        "measured": np.ones(F, bool),
        "sets": [[0, 1, 2, 3, 4]],
    }
    return Sample(**values | options)


def drawn(n=20_000, narrow=False, **options):
    torch.manual_seed(0)
    samples = Samples(FILTERS, {"a": sample(**options)}, (1,), 0)
    return samples.draw({"a": n}, narrow, np.random.default_rng(0))


def test_folds_that_are_left_out_are_never_drawn():
    one = sample(z=(np.arange(400) % 4).astype(float))
    samples = Samples(FILTERS, {"a": one}, (1, 3), 0)
    _, z = samples.draw({"a": 500}, False, np.random.default_rng(0))
    assert set(z.tolist()) == {0.0, 2.0}


def test_errors_are_true_to_the_noise_for_most_galaxies():
    """The noise that was added, beside the error that the catalogue's magnitudes have already."""
    tokens, _ = drawn(extinction=EXTINCTIONS.index("dereddened"), error=0.0, is_simulated=False)
    true = 10 ** (-0.4 * (18.0 - 0.3 * np.searchsorted(CENTRE, tokens.centre.numpy()) - 22.5))
    floor = FLOOR * np.log(10) / 2.5 * tokens.flux.numpy()
    stated = np.sqrt(np.maximum(tokens.error.numpy() ** 2 - floor**2, 1e-12))
    clear = (
        tokens.seen.numpy()
        & (tokens.kind.numpy() == 1)
        & (tokens.extinction.numpy() == 1)[:, None]
        & (stated > 0.02 * true)
    )
    pull = ((tokens.flux.numpy() - true) / stated)[clear]
    low, high = np.quantile(pull, [0.16, 0.84])
    assert 0.62 < (high - low) / 2 < 1.05  # some errors are stated too large on purpose
    assert abs(np.median(pull)) < 0.05


def test_errors_do_not_depend_on_the_galaxy():
    torch.manual_seed(0)
    mag = np.where(np.arange(400)[:, None] % 2, 15.0, 20.0) + np.zeros((400, F))
    samples = Samples(FILTERS, {"a": sample(mag=mag.astype(np.float32))}, (), 0)
    tokens, _ = samples.draw({"a": 40_000}, False, np.random.default_rng(0))
    relative, seen = (tokens.error / tokens.flux.abs()).numpy(), tokens.seen.numpy()
    bright = tokens.flux.numpy() > 100
    medians = [np.median(relative[seen & which]) for which in (bright, ~bright)]
    assert medians[0] == pytest.approx(medians[1], rel=0.06)


def test_kinds_states_and_bands_vary():
    tokens, _ = drawn(extinction=EXTINCTIONS.index("dereddened"))
    assert set(tokens.kind.unique().tolist()) == {1, 2, 3}  # total, aperture, unknown
    assert set(tokens.extinction.tolist()) == {0, 1, 2}
    assert set(tokens.seen.sum(1).tolist()) >= {2, 3, 5}
    narrow, _ = drawn(narrow=True)
    assert narrow.flux.shape[1] >= 8


def test_dereddened_magnitudes_are_bluer_than_observed_ones():
    tokens, _ = drawn(error=0.001, extinction=EXTINCTIONS.index("dereddened"))
    colour = torch.log10(tokens.flux[:, 0] / tokens.flux[:, 4])
    both = tokens.seen[:, 0] & tokens.seen[:, 4] & (tokens.error[:, 0] < 0.02 * tokens.flux[:, 0])
    both &= (tokens.centre[:, 0] == 3600) & (tokens.centre[:, 4] == 8900)
    observed, clean = (colour[both & (tokens.extinction == k)].median() for k in (0, 1))
    expected = 0.4 * 0.035 * (FILTERS.extinction[0] - FILTERS.extinction[4])
    assert float(clean - observed) == pytest.approx(expected, rel=0.3)


def test_a_galaxy_of_the_bank_gets_its_own_magnitudes_back():
    rng = np.random.default_rng(0)
    slope, z = rng.normal(size=(2000, 1)), rng.uniform(0, 0.5, 2000)
    total = (20 + slope * np.log(CENTRE / 6000) + 3 * z[:, None]).astype(np.float32)
    bank = Bank(total[:0], z[:0], total, z)
    known = np.array([1, 2, 3, 4])
    found, found_z = transfer(total[:50][:, known].astype(float), z[:50], bank, known, CENTRE, rng)
    np.testing.assert_allclose(found, total[:50], atol=0.1)
    assert np.isin(found_z, z).all() and np.abs(found_z - z[:50]).max() < 0.05
    brighter, _ = transfer(total[:50][:, known].astype(float) - 2, z[:50], bank, known, CENTRE, rng)
    np.testing.assert_allclose(brighter, total[:50] - 2, atol=0.1)


def test_errors_of_unsure_galaxies_are_stated_at_random():
    tokens, _ = drawn(error=0.03, unsure=True)
    relative = (tokens.error / tokens.flux)[tokens.seen & (tokens.kind == KIND_GROUPS["model"])]
    low, high = relative.quantile(torch.tensor([0.1, 0.9]))
    sure, _ = drawn(error=0.03)
    known = (sure.error / sure.flux)[sure.seen & (sure.kind == KIND_GROUPS["model"])]
    assert low < 0.7 * known.quantile(0.1) and high < 1.1 * known.quantile(0.9)


def test_narrow_bands_have_the_redshift_of_the_galaxy_that_lends_them():
    for narrow, expected in ((False, 0.1), (True, 0.2)):
        _, z = drawn(500, narrow, z=np.full(400, 0.1), lent_z=np.full(400, 0.2))
        assert z.unique().tolist() == pytest.approx([expected])
