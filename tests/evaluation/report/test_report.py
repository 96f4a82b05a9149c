"""Three controls of the whole report: perfect predictions, shuffled ones, planted faults."""

import json
import re
from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest
from scipy.ndimage import gaussian_filter1d

from pix2spec.data.dataset import Dataset, write_dataset
from pix2spec.data.simulate import simulate
from pix2spec.evaluation.compare import compare, evaluate
from pix2spec.products.catalogue import CatalogueWriter
from pix2spec.products.ensemble import Ensemble
from support.pages import parse_page

N, MEMBERS = 160, 7
ALONE = {"progress": False, "workers": 1}  # processes take longer to start than these spectra
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def galaxies(tmp_path_factory):
    """Galaxies whose observed spectra differ from the noise-free ones by white noise alone."""
    folder = tmp_path_factory.mktemp("report")
    simulate(folder / "simulated", N, seed=5, progress=False)
    dataset, rng = Dataset(folder / "simulated"), np.random.default_rng(4)

    def pairs():
        for i in range(N):
            pair = dataset[i]
            noise = rng.normal(size=len(pair.flux)) / np.sqrt(np.where(pair.ivar > 0, pair.ivar, 1))
            yield replace(pair, flux=(pair.truth["true_flux"] + noise).astype(np.float32))

    write_dataset(folder / "galaxies", pairs(), dataset.info)
    return Dataset(folder / "galaxies")


@pytest.fixture(scope="module")
def training(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report") / "train"
    simulate(folder, 400, seed=6, progress=False)
    return Dataset(folder)


def drawn(clean, sigma, rng):
    """Candidates that differ from the observed spectrum by nothing but the noise: calibrated exactly."""
    return clean + sigma * rng.normal(size=(MEMBERS, len(clean)))


def predictions(folder, galaxies, change=None, order=None, scores=False):
    """A catalogue of perfect predictions, or of `change` (candidates, clean, sigma, i) of them."""
    rng = np.random.default_rng(3)
    batch = galaxies.batch(np.arange(N), ["object_id", "flux", "ivar", "true_flux"])
    order = np.arange(N) if order is None else order
    with CatalogueWriter(folder, galaxies.info.grid, {"model": "oracle"}) as writer:
        for i, j in enumerate(order):
            ivar = batch["ivar"][i]
            sigma = 1 / np.sqrt(np.where(ivar > 0, ivar, np.median(ivar[ivar > 0])))
            clean = batch["true_flux"][j]
            candidates = drawn(clean, sigma, rng)
            if change is not None:
                candidates = change(candidates, clean, sigma, i)
            error = -np.square((candidates - batch["flux"][i])[:, ivar > 0]).mean(1) if scores else None
            writer.add(Ensemble(str(batch["object_id"][i]), galaxies.info.grid, candidates, [0], error))
    return folder


@pytest.fixture(scope="module")
def perfect(galaxies, training, tmp_path_factory):
    folder = tmp_path_factory.mktemp("perfect")
    made = predictions(folder / "oracle", galaxies, scores=True)
    return folder / "report", evaluate(made, galaxies, training, folder / "report", **ALONE)


def faults(result):
    return " ".join(finding["text"] for finding in result["findings"] if finding["fault"])


def test_perfect_predictions_are_ideal(perfect):
    _, result = perfect
    assert faults(result) == ""
    assert result["findings"][0]["text"].startswith("No fault was found by:")
    redshift = result["redshift"]["median of candidates"]
    assert abs(redshift["bias"]) < 3e-4 and redshift["nmad"] < 2e-3
    assert result["redshift"]["another object's"]["nmad"] > 20 * redshift["nmad"]
    assert abs(result["realism"]["power"]["ratio"] - 1) < 0.05
    assert abs(result["realism"]["two_sample"]["accuracy"] - 0.5) < 0.15
    assert abs(result["realism"]["line_widths"]["ratio"] - 1) < 0.1
    assert result["realism"]["memorisation"]["copies"] < 0.05
    assert result["types"]["accuracy"] > max(0.85, result["types"]["chance"] + 0.1)  # most have no lines
    assert result["calibration"]["joint"]["ks_p"] > 1e-3
    covered = [parts["all"] for parts in result["calibration"]["quantities"].values()]
    assert np.mean([c["coverage_68"] - c["expected_68"] for c in covered]) == pytest.approx(0, abs=0.04)
    assert result["methods"]["mean_all"]["coverage_68_median"]["mean"] == pytest.approx(0.68, abs=0.02)
    assert result["selection"]["efficiency"] > 0.8  # scores that know the truth


def test_shuffled_predictions_are_chance(galaxies, tmp_path):
    order = np.roll(np.arange(N), 7)
    result = evaluate(predictions(tmp_path / "a", galaxies, order=order), galaxies, **ALONE)
    assert "tell nothing of their object" in faults(result)
    redshift = result["redshift"]
    assert redshift["median of candidates"]["nmad"] > 0.5 * redshift["another object's"]["nmad"]
    assert result["types"]["accuracy"] == pytest.approx(result["types"]["chance"], abs=0.15)
    assert abs(np.mean([v["skill"] for v in result["science"].values()])) < 0.15


def shifted(candidates, clean, sigma, i):
    pixels = np.log10(1.01) / 1e-4
    x = np.arange(candidates.shape[1])
    noise = candidates - clean
    return np.interp(x - pixels, x, clean) + noise


def broadened(candidates, clean, sigma, i):
    return gaussian_filter1d(clean, 4) + (candidates - clean)


def narrowed(candidates, clean, sigma, i):
    return candidates.mean(0) + 0.8 * (candidates - candidates.mean(0))


def noiseless(candidates, clean, sigma, i):
    return np.broadcast_to(clean, candidates.shape)


@pytest.mark.parametrize(
    "change, sentence, silent",
    [
        (shifted, r"Redshifts are too high: .* is \+0\.0(09|10|11)", "lack noise|too broad"),
        (noiseless, r"The candidates lack noise", "Redshifts are|too broad"),
        (narrowed, r"The intervals are too narrow: those of 68 % hold 5\d\.\d %", "Redshifts are|too broad"),
        (broadened, r"Emission lines are too broad", "Redshifts are|lack noise"),
    ],
)
def test_planted_fault_is_stated(galaxies, tmp_path, change, sentence, silent):
    result = evaluate(predictions(tmp_path / "a", galaxies, change), galaxies, **ALONE)
    assert re.search(sentence, faults(result)), faults(result)
    assert not re.search(silent, faults(result)), faults(result)


def test_memorised_training_spectra_are_stated(galaxies, training, tmp_path):
    known = training.batch(np.arange(N), ["flux", "ivar"])
    spectra = np.where(known["ivar"] > 0, known["flux"], np.median(known["flux"], 1, keepdims=True))

    def memorised(candidates, clean, sigma, i):
        copies = candidates.copy()
        if i % 5 == 0:
            copies[0] = spectra[i] * 1.3
        return copies

    made = predictions(tmp_path / "a", galaxies, memorised)
    result = evaluate(made, galaxies, training, **ALONE)
    assert re.search(
        r"Copies: (1[5-9]|2[0-5])\.\d ± \d\.\d % of the candidates look like copies", faults(result)
    )


def test_report_is_one_file_that_opens_offline(perfect):
    folder, result = perfect
    html = (folder / "report.html").read_text()
    assert not re.search(r"""(src|href)\s*=\s*['"]?(https?:)?//""", html)
    parse_page(html)
    assert html.count("data:image/png;base64,") == 6
    for heading in (
        "Redshift",
        "Lines, breaks, colours",
        "Types",
        "Calibration",
        "Realism",
        "By kind of object",
    ):
        assert f"<h3>{heading}</h3>" in html
    assert "No fault was found by" in html and "simulated galaxies" in html
    numbers = json.loads((folder / "metrics.json").read_text())
    assert numbers["redshift"]["objects"] == result["redshift"]["objects"]
    assert pq.read_table(folder / "metrics.parquet").num_rows == N


def test_comparison_sets_models_side_by_side(galaxies, tmp_path):
    made = [
        predictions(tmp_path / name, galaxies, change) for name, change in (("a", None), ("b", noiseless))
    ]
    results = compare(made, galaxies, out=tmp_path / "report", **ALONE)
    assert [result["name"] for result in results] == ["a", "b"]
    html = (tmp_path / "report/report.html").read_text()
    parse_page(html)
    assert "Side by side" in html and html.count("<h2>What it says") == 2
    assert set(pq.read_table(tmp_path / "report/metrics.parquet")["predictions"].to_pylist()) == {"a", "b"}
    assert set(json.loads((tmp_path / "report/metrics.json").read_text())) == {"models"}


def test_number_of_processes_changes_nothing(galaxies, perfect):
    folder, one = perfect
    two = evaluate(folder.parent / "oracle", galaxies, progress=False, workers=2)
    assert one["science"] == two["science"] and one["redshift"] == two["redshift"]
