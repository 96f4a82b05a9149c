"""The report on made-up catalogues whose scores are known beforehand."""

import json

import numpy as np
import pyarrow.parquet as pq
import pytest

from pix2spec.core.grid import SpectralGrid
from pix2spec.data.dataset import Dataset, write_dataset
from pix2spec.data.schema import DatasetInfo, Galaxy
from pix2spec.errors import InputError
from pix2spec.evaluation.compare import evaluate
from pix2spec.evaluation.metrics.pixels import to_minmax
from pix2spec.evaluation.metrics.scoring import Profile, score_ensemble, selections
from pix2spec.products.catalogue import CatalogueWriter
from pix2spec.products.columns import Contents
from pix2spec.products.ensemble import Ensemble
from pix2spec.products.units import PHYSICAL, RELATIVE

GRID = SpectralGrid(3.6, 1e-3, 300)
NOISE = 0.5


def clean(colour):
    bump = np.exp(-0.5 * ((np.arange(GRID.size) - 200) / 4) ** 2)
    return 10 * (1 + 0.4 * colour * np.linspace(-1, 1, GRID.size)) + 10 * bump


def noisy(rng, colour, *shape):
    return clean(colour) + rng.normal(0, NOISE, (*shape, GRID.size))


def galaxy(i, rng, simulated=False, spectrum=True):
    colour = rng.uniform(-1, 1)
    ivar = np.full(GRID.size, NOISE**-2, np.float32)
    ivar[10:20] = 0
    return colour, Galaxy(
        f"object-{i}",
        z=0.1,
        image=rng.uniform(0, 1, (3, 16, 16)).astype(np.float32),
        photometry=np.array([8 - 3 * colour, 9 - 3 * colour, 10, 10 + 3 * colour, 11 + 3 * colour]),
        photometry_ivar=np.full(5, 100.0),
        flux=np.where(ivar > 0, noisy(rng, colour), 1e6) if spectrum else None,
        ivar=ivar if spectrum else None,
        truth={"true_flux": clean(colour)} if simulated else {},
    )


def make(path, n=60, seed=0, simulated=False, unit=PHYSICAL, members=25, scores=True, shift=0, **settings):
    """A data set, and the catalogue of a generator that draws from the exact posterior."""
    rng = np.random.default_rng(seed)
    info = DatasetInfo(grid=GRID, image_size=16, truth={"true_flux": GRID.size} if simulated else {})
    made = [galaxy(i + shift, rng, simulated) for i in range(n)]
    write_dataset(path / "pairs", (p for _, p in made), info)
    with CatalogueWriter(path / "generated", GRID, {"model": "exact"}, **settings) as writer:
        for colour, p in made:
            candidates = noisy(rng, colour, members)
            score = rng.uniform(-1, 1, members) if scores else None
            writer.add(Ensemble(p.object_id, GRID, candidates, [0], score, unit, "single"))
    return path / "generated", Dataset(path / "pairs")


def test_exact_sampler_scores_as_it_should(tmp_path, capsys):
    predictions, truth = make(tmp_path, simulated=True)
    result = evaluate(predictions, truth, out=tmp_path / "report", progress=True)
    methods = result["methods"]
    single, best, whole, clean_ = (methods[m] for m in ("single", "best", "mean_all", "noise_free"))

    def mean(method, metric):
        return method[metric]["mean"]

    assert result["data"] == "simulated" and result["counts"]["scored"] == 60
    expected = result["expected_coverage"]
    assert expected == {"68": pytest.approx(0.68), "90": pytest.approx(0.9)}
    for scale in ("median", "flux"):
        assert mean(whole, f"coverage_68_{scale}") == pytest.approx(0.68, abs=0.02)
        assert mean(whole, f"coverage_90_{scale}") == pytest.approx(0.90, abs=0.02)
    assert mean(whole, "crps_flux") == pytest.approx(0.05 / np.sqrt(np.pi), rel=0.06)  # Gaussian's mean
    assert mean(single, "chi2_per_pixel") == pytest.approx(2, rel=0.05)
    assert mean(whole, "chi2_per_pixel") == pytest.approx(1 + 1 / 25, rel=0.05)
    assert mean(clean_, "scaled_mse") == pytest.approx(0.05**2, rel=0.1)
    assert mean(whole, "minmax_mse") < mean(methods["mean_best_5"], "minmax_mse") < mean(single, "minmax_mse")
    assert mean(single, "minmax_mse") == pytest.approx(mean(best, "minmax_mse"), rel=0.2)
    assert 0 < single["minmax_mse"]["error"] < mean(single, "minmax_mse")
    printed = capsys.readouterr().out
    assert "60 simulated galaxies" in printed and "68.0 and 90.0 %" in printed

    written = json.loads((tmp_path / "report" / "metrics.json").read_text())
    assert written["methods"]["mean_all"]["crps_flux"] == whole["crps_flux"]
    table = pq.read_table(tmp_path / "report" / "metrics.parquet")
    assert len(table) == 60
    column = table["mean_all.crps_flux"].to_numpy()
    assert column.mean() == pytest.approx(mean(whole, "crps_flux"))
    assert (tmp_path / "report" / "evaluation.png").stat().st_size > 50_000
    assert not list((tmp_path / "report").glob("*.partial"))


def test_baselines_stand_beside(tmp_path):
    predictions, truth = make(tmp_path)
    (tmp_path / "train").mkdir()
    _, train = make(tmp_path / "train", n=200, seed=5, shift=1000)
    result = evaluate(predictions, truth, train=train, out=tmp_path / "report", progress=False)
    methods = result["methods"]
    assert result["data"] == "real" and result["neighbours_from"] == "photometry"
    assert "noise_free" not in methods
    mse = {name: values["minmax_mse"]["mean"] for name, values in methods.items()}
    assert mse["mean_all"] < mse["neighbours"] < mse["mean_spectrum"]
    assert mse["neighbours"] < mse["neighbour"]
    assert methods["neighbours"]["coverage_68_median"]["mean"] == pytest.approx(0.68, abs=0.06)
    assert methods["neighbours"]["crps_median"]["mean"] < methods["mean_spectrum"]["crps_median"]["mean"]


def test_unmatched_failed_and_missing_spectra_are_counted(tmp_path):
    rng = np.random.default_rng(0)
    made = [galaxy(i, rng, spectrum=i != 2) for i in range(6)]
    write_dataset(tmp_path / "pairs", (p for _, p in made), DatasetInfo(grid=GRID, image_size=16))
    with CatalogueWriter(tmp_path / "generated", GRID, {}) as writer:
        for colour, p in made[:4]:
            writer.add(Ensemble(p.object_id, GRID, noisy(rng, colour, 5), [0]))
        writer.add(Ensemble("stranger", GRID, noisy(rng, 0, 5), [0]))
        writer.add_failure("object-4", "no image")
    result = evaluate(tmp_path / "generated", tmp_path / "pairs", progress=False)
    assert result["counts"] == {
        "scored": 3,
        "failed": 1,
        "without_spectrum": 1,
        "unmatched_predictions": 1,
        "unmatched_truth": 1,
    }
    assert result["unmatched_predictions"] == ["stranger"]
    assert result["unmatched_truth"] == ["object-5"]
    assert result["expected_coverage"]["90"] == pytest.approx(4 / 6)


def test_relative_spectra_are_scored_by_their_shape(tmp_path):
    predictions, truth = make(tmp_path, n=20, unit=RELATIVE, scores=False)
    methods = evaluate(predictions, truth, progress=False)["methods"]
    assert set(methods) == {"single", "mean_all"}
    assert methods["mean_all"]["coverage_68_median"]["mean"] == pytest.approx(0.68, abs=0.03)
    assert not any("flux" in name or "chi2" in name for name in methods["mean_all"])


def test_unit_of_the_observed_flux_does_not_matter_to_relative_spectra(tmp_path):
    """Bright spectra whose noise exceeds 1, the level of the candidates, and the same in other units."""
    rng = np.random.default_rng(2)
    results = []
    noise = rng.normal(0, NOISE, (5, GRID.size))
    candidates = [noisy(rng, 0.2, 9) / 10 for _ in range(5)]
    for name, scale in (("a", 1.0), ("b", 1e3)):
        made = []
        for i in range(5):
            ivar = np.full(GRID.size, (NOISE * scale) ** -2)
            made.append(Galaxy(f"object-{i}", flux=scale * (clean(0.2) + noise[i]), ivar=ivar))
        write_dataset(tmp_path / name, made, DatasetInfo(grid=GRID, image_kind=None))
        with CatalogueWriter(tmp_path / f"generated-{name}", GRID, {}) as writer:
            for i in range(5):
                writer.add(Ensemble(f"object-{i}", GRID, candidates[i], [0], unit=RELATIVE))
        results.append(evaluate(tmp_path / f"generated-{name}", tmp_path / name, progress=False)["methods"])
    for method, values in results[0].items():
        for metric, value in values.items():
            assert results[1][method][metric]["mean"] == pytest.approx(value["mean"], rel=1e-3), metric
    assert results[0]["single"]["scaled_mse"]["mean"] == pytest.approx(2 * 0.05**2, rel=0.15)


def test_minmax_spectra_have_no_median_scale(tmp_path):
    _, truth = make(tmp_path, n=5)
    rng = np.random.default_rng(1)
    with CatalogueWriter(tmp_path / "b", GRID, {"normalisation": "minmax"}) as writer:
        for i in range(5):
            writer.add(Ensemble(f"object-{i}", GRID, noisy(rng, 0, 5) / 10 - 1.2, [0], unit=RELATIVE))
    methods = evaluate(tmp_path / "b", truth, progress=False, out=tmp_path / "report")["methods"]
    assert "crps_minmax" in methods["mean_all"] and "crps_median" not in methods["mean_all"]
    assert "scaled_mse" not in methods["single"]


def test_a_model_of_the_minmax_scale_is_judged_on_its_own_numbers():
    """A model that says the mean of what may be has no extrema at -1 and 1, and is not to be stretched."""
    rng = np.random.default_rng(1)
    truth, ivar = noisy(rng, 0), np.full(GRID.size, NOISE**-2)
    ivar[:9], truth[:9] = 0, 1e6
    said = 0.8 * to_minmax(truth, ivar)[None]
    said[:, :9] = 50
    flux = 7 + 3 * said
    values = score_ensemble(flux, truth, ivar, {"single": [0]}, "single", False, True, minmax=said)
    expected = 0.04 * np.nanmean(to_minmax(truth, ivar) ** 2)
    assert values["single.minmax_mse"] == pytest.approx(expected, rel=1e-6)
    stretched = score_ensemble(flux, truth, ivar, {"single": [0]}, "single", False, True)
    assert stretched["single.minmax_mse"] == pytest.approx(0, abs=1e-9)


def test_without_candidates_only_the_chosen_flux_is_scored(tmp_path):
    predictions, truth = make(tmp_path, n=8, contents=Contents(candidates=False))
    result = evaluate(predictions, truth, progress=False, out=tmp_path / "report")
    assert set(result["methods"]) == {"chosen"}
    assert result["expected_coverage"] is None
    assert result["methods"]["chosen"]["chi2_per_pixel"]["mean"] == pytest.approx(2, rel=0.1)


def test_nothing_in_common_or_another_grid_is_an_error(tmp_path):
    predictions, _ = make(tmp_path, n=3)
    other = tmp_path / "other"
    other.mkdir()
    _, stranger = make(other, n=3, shift=100)
    with pytest.raises(InputError, match="none of its 3 objects"):
        evaluate(predictions, stranger, progress=False)
    info = DatasetInfo(grid=SpectralGrid(3.6, 1e-3, 299), image_size=16)
    write_dataset(tmp_path / "shorter", [Galaxy("object-0")], info)
    with pytest.raises(InputError, match="wavelength grid"):
        evaluate(predictions, tmp_path / "shorter", progress=False)


def test_ways_of_choosing():
    scores = np.array([0.1, 0.5, 0.2, 0.4, 0.3, 0.9, 0.8])
    chosen = {name: index.tolist() for name, index in selections(7, scores).items()}
    assert chosen == {
        "single": [0],
        "best_of_5": [1],
        "best": [5],
        "mean_best_5": [5, 6, 1, 3, 4],
        "mean_all": list(range(7)),
    }
    assert set(selections(7, None)) == {"single", "mean_all"}
    assert set(selections(3, scores[:3])) == {"single", "best", "mean_all"}
    assert set(selections(1, scores[:1])) == {"single"}


def test_profile_averages_valid_pixels_in_bins():
    profile = Profile(5)
    ivar = np.array([1, 1, 0, 0, 1.0])
    profile.add(np.array([[1.0, 1, 1, 1, 1], [3, 3, 3, 3, 3]]), np.zeros(5), ivar)
    np.testing.assert_allclose(profile.mean("square", 2), [4, np.nan, 4])
