"""The spectra half of the benchmark of the real sky: its scores agree with what is known."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from pix2spec.core.grid import SpectralGrid
from pix2spec.core.photometry import filter_matrix
from pix2spec.evaluation.metrics import scoring
from pix2spec.products.ensemble import Ensemble
from pix2spec.training.real_sky import FOLDS, RealTable
from sky import atlas, ensembles, faint, figure, reference, scores, simulated, spectra

GRID = SpectralGrid()
UGRIZ = tuple(f"sdss2010-{band}" for band in "ugriz")


def table_of(flux, z, filters=UGRIZ) -> RealTable:
    n = len(flux)
    return RealTable(
        flux, 0.03 * np.abs(flux), z, filters, ("fibre",) * len(filters), "observed", np.full(n, "test"),
        np.full(n, -1), np.arange(n), np.arange(n), np.arange(n) % FOLDS,
    )  # fmt: skip


def slopes(n, seed=0):
    """Spectra of straight lines of all slopes (n, L), with noise of 3 % of 10, and their inverse variance."""
    rng = np.random.default_rng(seed)
    x = np.linspace(-1, 1, GRID.size)
    clean = 10 * (1 + np.linspace(-0.5, 0.5, n)[:, None] * x)
    flux = clean + 0.3 * rng.standard_normal(clean.shape)
    return clean, flux.astype(np.float32), np.full(clean.shape, 1 / 0.3**2, np.float32)


class Oracle:
    """A generator that knows each galaxy's spectrum, its noise, and its redshift but for 1 %."""

    def __init__(self, clean, z, fold=-1):
        self.clean, self.z, self.fold, self.grid = clean, z, fold, GRID

    def without(self, fold):
        return Oracle(self.clean, self.z, fold)

    def generate_batch(self, galaxies, image_kind, settings):
        made = []
        for galaxy in galaxies:
            row = int(galaxy.object_id.split()[-1])
            assert self.fold == row % FOLDS
            rng = np.random.default_rng(row)
            shape = settings.n, GRID.size
            clean = np.tile(self.clean[row], (settings.n, 1))
            noisy = clean + 0.3 * rng.standard_normal(shape)
            z = self.z[row] + 0.01 * (rng.standard_normal() + rng.standard_normal(settings.n))
            every = np.arange(settings.n)
            made.append(Ensemble(galaxy.object_id, GRID, noisy, every, redshifts=z, noise_free=clean))
        return made


def judge_of(clean, z):
    made = ensembles.Judge("none", processes=0)
    made.generator = Oracle(clean, z)
    return made


def test_pixels_are_scored_as_evaluate_scores_them():
    rng = np.random.default_rng(1)
    clean, flux, ivar = slopes(1)
    ivar[0, ::7] = 0
    members = (clean + 0.3 * rng.standard_normal((16, GRID.size))) * rng.uniform(0.5, 2, (16, 1))
    found = ensembles.pixel_scores(members, flux[0], ivar[0])
    known = scoring.score_ensemble(members, flux[0], ivar[0], {"mean": np.arange(16)}, "mean", physical=True)
    assert found["crps_median"] == pytest.approx(known["mean.crps_median"])
    assert found["pixels_68"] == pytest.approx(known["mean.coverage_68_median"])
    assert found["pixels_90"] == pytest.approx(known["mean.coverage_90_median"])
    assert found["ranks"].sum() == pytest.approx(1) and found["ranks"].shape == (17,)


def test_a_generator_that_knows_the_truth_is_calibrated():
    clean, flux, ivar = slopes(24)
    z = np.linspace(0.05, 0.1, 24)
    table = table_of(clean @ np.nan_to_num(filter_matrix(GRID.wave, UGRIZ)), z)
    truth = ensembles.Truth(flux, ivar, z)
    found = judge_of(clean, z)(table, truth, ensembles.Task(clean=True, quantities=True))
    assert found["pixels_68"].mean() == pytest.approx(0.68, abs=0.01)
    assert found["pixels_90"].mean() == pytest.approx(0.90, abs=0.01)
    assert found["flux_68"].mean() == pytest.approx(0.68, abs=0.01)
    assert found["crps_median"].mean() == pytest.approx(0.03 / np.sqrt(np.pi), rel=0.03)
    level, inside = figure.coverage_of_ranks(found["ranks"].mean(0))
    assert np.abs(inside - level).max() < 0.01
    off = spectra.offsets(found, table)
    assert off["g_r"] == pytest.approx(0, abs=1e-3) and off["r_i"] == pytest.approx(0, abs=1e-3)
    assert off["dark"] == 0


def test_candidates_without_light_are_counted():
    table = table_of(np.full((3, 5), 10.0), np.full(3, 0.1))
    found = {"g_r": np.zeros(3), "r_i": np.full(3, 0.2), "r": np.array([[10, 9], [0.05, 9], [0.0, 0.01]])}
    assert spectra.offsets(found, table) == {"g_r": 0.0, "r_i": pytest.approx(0.2), "dark": 3}


def test_noise_of_the_truth_is_added_at_its_level():
    clean, flux, ivar = slopes(1)
    candidates = ensembles.with_noise_of(
        np.repeat(2 * clean, 64, 0), flux[0], ivar[0], np.random.default_rng(5)
    )
    found = ensembles.pixel_scores(candidates, flux[0], ivar[0])
    assert found["pixels_68"] == pytest.approx(0.68, abs=0.03)
    assert np.median(candidates) == pytest.approx(10, rel=0.01)


def test_neighbours_are_of_other_folds_and_other_objects():
    n = 60
    clean, flux, ivar = slopes(n)
    z = np.full(n, 0.08)
    table = table_of(np.abs(clean @ np.nan_to_num(filter_matrix(GRID.wave, UGRIZ))) + 1e-3, z)
    table = replace(table, fold=np.arange(n) // 15)  # neighbours in slope are in the same fold
    quantities = {name: np.arange(n, dtype=float) for name in ensembles.QUANTITIES}
    found = reference.neighbours(table, ensembles.Truth(flux, ivar, z), quantities, k=5)
    assert found["ranks"].shape == (n, 6)
    predicted = found["dn4000"]
    assert predicted[0] == pytest.approx(17, abs=1.5) and predicted[-1] == pytest.approx(42, abs=1.5)
    assert np.isfinite(found["crps_median"]).all()


def test_scatter_about_a_running_mean_gives_the_noise():
    _, flux, ivar = slopes(3)
    good = np.ones(flux.shape, bool)
    good[:, :300] = False
    found = faint.running_ivar(np.where(good, flux, 0), good)
    assert (found[:, :300] == 0).all()
    assert np.median(found[:, 500:-500]) == pytest.approx(ivar[0, 0], rel=0.05)


def test_similar_simulated_galaxies_get_the_brightness_of_real_ones():
    bright = np.array([[9.0, 18.0, 5.0], [2.5, 2.5, 1.0]])
    faint = bright / 100  # as similar, but for their brightness
    light = simulated.Light(np.r_[faint, bright], np.ones((4, 4)), np.tile([0.1, 0.3], 2))
    real = table_of(
        np.array([[10.0, 20.0], [3.0, 3.0], [1.0, 9.0]]),
        np.array([0.1, 0.301, 0.6]),
        ("sdss2010-g", "sdss2010-r"),
    )
    chosen, factor = simulated.alike(light, real)
    assert chosen.tolist() == [2, 3] and factor.tolist() == pytest.approx([20 / 18, 1.2])


def test_colours_count_by_their_size():
    row = scores.Row("", "", 1, {"g_r": -0.02, "dark": 0}, scores.at_most(g_r=0.01, dark=0))
    assert row.reached("g_r") is False and row.reached("dark") is True


def test_simulated_galaxies_have_the_colours_of_their_spectra():
    light = simulated.simulate([simulated.G, simulated.R], GRID, 0.6, blocks=2)
    fibre = light.spectra @ np.nan_to_num(filter_matrix(GRID.wave, [simulated.G, simulated.R]))
    share = fibre[:, 1] / light.flux[:, 1]
    assert light.z.max() > 0.5 and (share > 0).all() and (share < 1.01).all()
    colour = -2.5 * np.log10(light.flux[:, 0] / light.flux[:, 1])
    off = -2.5 * np.log10(fibre[:, 0] / fibre[:, 1]) - colour  # discs outside of the fibre are bluer
    assert np.median(np.abs(off)) < 0.1 and np.corrcoef(colour, colour + off)[0, 1] > 0.95


class Known:
    """One network, all candidates of which have griz magnitudes of 17, 16, 15.5, 15 and u by their number."""

    def __init__(self, generator, galaxies, settings, more):
        self.count, self.n = len(galaxies), settings.n

    def vectors(self):
        mag = np.tile([17.0, 16.0, 15.5, 15.0, 18.0], (self.count * self.n, 1))
        mag[:, 4] += np.tile(np.arange(self.n), self.count)
        mag[:, 0] += 0.1 * np.tile(np.arange(self.n), self.count)
        light = torch.from_numpy(10 ** (-0.4 * (mag - 22.5)))[..., None]
        network = SimpleNamespace(linear_parts=lambda vectors: torch.ones(len(vectors), 1))
        tables = SimpleNamespace(at=lambda index, zeta: (light, None))
        yield network, torch.zeros(len(mag), 3), SimpleNamespace(zeta=None), tables


def test_the_best_candidate_has_the_colours_that_were_given(monkeypatch):
    monkeypatch.setattr(atlas, "Drawn", Known)
    real = np.zeros((40, 12))
    real[:, atlas.GRIZ] = np.array([17.2, 16.0, 15.5, 15.0]) - 3  # like the third candidate
    found = atlas.best(None, real, np.zeros(40), n=8)
    assert found.shape == (40, 5)
    assert np.allclose(found, [17.0, 14.2, 13.0, 12.5, 12.0], atol=1e-4)
    assert np.allclose(found[:, 1:], real[:, atlas.GRIZ], atol=1e-4)


def test_examples_go_from_the_bluest_to_the_reddest():
    red = np.random.default_rng(0).permutation(np.linspace(0.2, 2, 40))
    flux = np.array([1.0, 2.0, 3.0, 4.0, 5.0]) ** red[:, None]
    chosen = red[figure.examples(table_of(flux, np.full(40, 0.1)))]
    assert (np.diff(chosen) > 0.2).all() and chosen[0] < 0.4 and chosen[-1] > 1.8
