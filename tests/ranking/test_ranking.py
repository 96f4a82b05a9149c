import json
import re
from types import SimpleNamespace

import numpy as np
import pyarrow.parquet as pq
import pytest
from astropy.io import fits
from astropy.io.votable import parse as parse_votable
from astropy.table import Table
from typer.testing import CliRunner

from pix2spec.apps.cli.main import app
from pix2spec.core.grid import SpectralGrid
from pix2spec.data.dataset import write_dataset
from pix2spec.data.schema import DatasetInfo
from pix2spec.errors import InputError
from pix2spec.measure.candidates import estimated_ivar
from pix2spec.products.catalogue import CatalogueWriter, open_catalogue
from pix2spec.products.columns import Contents
from pix2spec.products.ensemble import Ensemble
from pix2spec.products.units import RELATIVE
from pix2spec.ranking import measure
from pix2spec.ranking.contact_sheet import write_sheets
from pix2spec.ranking.exposure import INSTRUMENTS, REST, exposure_hours, telescope_hours
from pix2spec.ranking.measure import measure_catalogue
from pix2spec.ranking.output import write_tables
from pix2spec.ranking.ranking import Observing, _observed, rank
from support.pages import parse_page
from support.tiny import tiny_galaxy

GRID = SpectralGrid()
N, HALPHA, CONTINUUM, NOISE = 8, 6564.61, 20.0, 0.3
# Rest-frame equivalent widths of Halpha: candidates of one object differ.
WIDTHS = {"strong": [80] * N, "some <b>": [80] * 3 + [20] * 5, "weak é": [5] * N}
Z = {"strong": 0.1, "some <b>": 0.2, "weak é": 0.05}


def spectrum(z, width, rng, noise=NOISE):
    """A flat continuum with an Halpha line of 150 km/s."""
    wave, centre = GRID.wave, HALPHA * (1 + z)
    sigma = centre * 150 / 299792.458
    profile = np.exp(-0.5 * ((wave - centre) / sigma) ** 2) / sigma / np.sqrt(2 * np.pi)
    flux = CONTINUUM * (1 + width * (1 + z) * profile)
    return flux + noise * rng.normal(size=GRID.size)


def ensemble(name, seed=0, noise=NOISE, **values):
    rng = np.random.default_rng([seed, len(name)])
    z = Z[name] + 1e-3 * rng.normal(size=N)
    candidates = [spectrum(own, width, rng, noise) for own, width in zip(z, WIDTHS[name])]
    values = {"candidates": candidates, "redshifts": z, "selected": np.arange(N)} | values
    return Ensemble(name, GRID, ra=180.0, dec=2.0, **values)


def write_catalogue(path, ensembles, noise="observed", keep=True):
    with CatalogueWriter(path, GRID, {"model": "test", "noise": noise}, Contents(candidates=keep)) as writer:
        for own in ensembles:
            writer.add(own)
    return path


@pytest.fixture(scope="module")
def catalogue(tmp_path_factory):
    path = tmp_path_factory.mktemp("rank") / "predictions"
    return write_catalogue(path, [ensemble(name) for name in WIDTHS])


def test_noise_is_found_under_lines_and_slopes():
    rng = np.random.default_rng(0)
    sigma = np.where(GRID.wave < 6000, 1.0, 3.0)
    slope = GRID.wave / 6000
    for z in (0.1 + 0.01 * rng.normal(size=25), np.full(25, 0.1)):
        spectra = [spectrum(own, 50, rng, 0) * slope + sigma * rng.normal(size=GRID.size) for own in z]
        ratio = estimated_ivar(np.array(spectra)) ** -0.5 / sigma
        away = np.abs(GRID.wave - 6000) > 100
        assert np.abs(ratio[away] - 1).max() < (0.3 if z.std() else 0.6)
        assert abs(np.median(ratio) - 1) < 0.02


def test_quantities_of_candidates(catalogue):
    found = measure_catalogue(open_catalogue(catalogue), 1)
    assert found.ids == list(WIDTHS) and found.counts.tolist() == [N] * 3
    values = found.columns(["ew_halpha", "flux_halpha", "flux_halpha_error", "z", "ra"])
    expected = np.concatenate(list(WIDTHS.values()))
    np.testing.assert_allclose(values["ew_halpha"], expected, atol=0.5)
    flux = expected * CONTINUUM * (1 + values["z"])
    np.testing.assert_array_less(np.abs(values["flux_halpha"] - flux), 5 * values["flux_halpha_error"])
    assert (values["ra"] == 180).all()
    np.testing.assert_allclose(values["z"][:N], ensemble("strong").redshifts)  # not fitted again


def test_a_second_ranking_measures_nothing(catalogue, tmp_path, monkeypatch):
    measure_catalogue(open_catalogue(catalogue), 1)
    calls = []
    monkeypatch.setattr(measure, "measure_at", lambda *a: calls.append(a))
    first = rank(catalogue, "ew(Halpha) > 50", workers=1)
    assert len(first.table) == 3 and not calls
    # The same folder with other candidates, and a damaged file, are measured anew.
    monkeypatch.undo()
    other = write_catalogue(tmp_path / "other", [ensemble(name, seed=1) for name in WIDTHS])
    copied = (catalogue / "quantities.parquet").read_bytes()
    for content in (copied, copied[:100]):
        (other / "quantities.parquet").write_bytes(content)
        values = measure_catalogue(open_catalogue(other), 1).columns(["z"])["z"]
        np.testing.assert_allclose(values[:N], ensemble("strong", seed=1).redshifts)


def test_what_cannot_be_measured_costs_no_other(tmp_path):
    objects = [ensemble("strong"), ensemble("some <b>", unit=RELATIVE), ensemble("weak é")]
    objects[2].candidates[0, 0] = np.nan
    path = write_catalogue(tmp_path / "mixed", objects)
    found = measure_catalogue(open_catalogue(path), 1)
    assert found.ids == ["strong", "some <b>"]
    assert found.failures == [("weak é", "its candidates are not all finite")]
    flux, width = (found.columns([name])[name] for name in ("flux_halpha", "ew_halpha"))
    assert np.isfinite(flux[:N]).all() and np.isnan(flux[N:]).all() and np.isfinite(width).all()


def test_catalogues_without_candidates(tmp_path):
    path = write_catalogue(tmp_path / "short", [ensemble("strong")], keep=False)
    with pytest.raises(InputError, match="no candidates"):
        measure_catalogue(open_catalogue(path))


def test_noise_free_spectra_have_no_signal_to_noise(tmp_path):
    path = write_catalogue(tmp_path / "clean", [ensemble("strong", noise=0)], noise="none")
    with pytest.raises(InputError, match="sn needs flux_halpha_error"):
        rank(path, "sn(Halpha) > 3")
    found = rank(path, "ew(Halpha) > 50", workers=1)
    assert found.table["probability"].tolist() == [1] and "noise-free" in found.metadata["about"]


def test_probabilities_are_shares_of_candidates(catalogue):
    found = rank(catalogue, "ew(Halpha) > 50", workers=1)
    assert found.table["object_id"].tolist() == ["strong", "some <b>", "weak é"]
    assert found.table["probability"].tolist() == [1, 3 / 8, 0]
    assert (found.table["probability_error"] > 0.02).all()
    np.testing.assert_allclose(found.table["ew_halpha"], [80, 20, 5], atol=0.5)
    assert found.table["unknown"].tolist() == [0, 0, 0]


def test_what_is_not_covered_is_unknown(catalogue):
    # Beyond z = 0.35 Halpha leaves the grid; at these redshifts [O II] is bluer than it.
    found = rank(catalogue, "not ew(OII3727) < -1000", top=None, workers=1)
    unknown = dict(zip(found.table["object_id"], found.table["unknown"]))
    assert unknown == {"weak é": 1, "strong": 0, "some <b>": 0}
    assert found.table["object_id"][-1] == "weak é" and found.table["probability"][-1] == 0


@pytest.mark.parametrize(
    "by, first",
    [
        ("information_statement", "some <b>"),
        ("-ra + probability * z", "strong"),
        ("1 - probability", "weak é"),
        ("z", "some <b>"),
    ],
)
def test_sorting_by_an_expression(catalogue, by, first):
    assert rank(catalogue, "ew(Halpha) > 50", by=by, workers=1).table["object_id"][0] == first


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({}, "nothing to rank by"),
        ({"by": "probability"}, "probability needs a statement"),
        ({"by": "novelty"}, "novelty needs `train`"),
        ({"by": "sn / hours"}, "needs `instrument`"),
        ({"by": "infomation"}, "did you mean information"),
        ({"by": "z > 1"}, "a number is needed"),
        ({"statement": "ew(Halpha)"}, "a statement is needed"),
        ({"by": "z", "top": 0}, "not positive"),
        ({"by": "z", "train": "nowhere"}, "give their dataset as `data`"),
        ({"by": "z", "observing": Observing("sdss", "Hgamma")}, "'Hgamma' is unknown"),
    ],
)
def test_requests_that_mean_nothing(catalogue, arguments, message):
    with pytest.raises(InputError, match=re.escape(message)):
        rank(catalogue, **arguments)


def test_telescope_time_ends_the_list(catalogue):
    whole = rank(catalogue, "ew(Halpha) > 50", observing=Observing("sdss"), workers=1).table
    assert (np.diff(whole["hours_total"]) > 0).all() and whole["sn"][0] > whole["sn"][2]
    np.testing.assert_allclose(whole["hours_total"], np.cumsum(whole["hours"]))
    assert (whole["hours_q16"] <= whole["hours"]).all() and (whole["hours"] <= whole["hours_q84"]).all()
    assert (whole["hours_q84"] <= whole["hours_q95"]).all() and whole["hours_q95"].unit == "h"
    limit = 1.001 * whole["hours_total"][1]
    cut = rank(catalogue, "ew(Halpha) > 50", observing=Observing("sdss", hours=limit), workers=1)
    assert cut.table["object_id"].tolist() == whole["object_id"][:2].tolist()
    # [O II] of the nearest object is too blue for its spectrum.
    none = rank(catalogue, by="z", observing=Observing("sdss", "OII3727", hours=1e9), workers=1)
    assert none.n_unreachable >= 1 and "weak é" not in none.table["object_id"]


def test_the_list_in_four_formats(catalogue, tmp_path):
    found = rank(catalogue, "ew(Halpha) > 50", observing=Observing("desi"), workers=1)
    paths = write_tables(found, tmp_path / "out")
    assert [p.name for p in paths] == [f"ranking.{end}" for end in ("parquet", "csv", "fits", "vot")]
    parquet = pq.read_table(paths[0])
    facts = [json.loads(parquet.schema.metadata[b"pix2spec"])]
    tables = [Table(parquet.to_pydict()), Table.read(paths[1], format="ascii.ecsv")]
    tables += [Table.read(path) for path in paths[2:]]
    assert b"<BINARY2>" in paths[3].read_bytes()  # astropy writes beyond its memory in text
    facts.append(json.loads(tables[1].meta["pix2spec"]))
    facts.append(json.loads(fits.getheader(paths[2], 1)["PIX2SPEC"]))
    facts.append(json.loads(next(i for i in parse_votable(paths[3]).infos if i.name == "pix2spec").value))
    for fact, table in zip(facts, tables):
        assert fact["statement"] == "ew(Halpha) > 50" and fact["observing"]["model"]["area"] == 8.66
        assert fact["catalogue_provenance"]["model"] == "test" and fact["version"]
        assert table.colnames == found.table.colnames
        np.testing.assert_allclose(table["probability"], [1, 3 / 8, 0])
        np.testing.assert_allclose(table["hours"], found.table["hours"])
    assert [str(t["object_id"][2]) for t in tables] == ["weak é", "weak é", "weak \\xe9", "weak é"]
    assert tables[2]["hours"].unit == "h" and tables[3]["information"].unit == "bit"
    assert not list((tmp_path / "out").glob("*.partial"))


def test_contact_sheets(catalogue, tmp_path):
    data = tmp_path / "data"
    galaxies = [tiny_galaxy(i, GRID) for i in range(2)]
    galaxies[0].object_id, galaxies[1].object_id = "strong", "some <b>"
    write_dataset(data, galaxies, DatasetInfo())
    found = rank(catalogue, "ew(Halpha) > 50", data=data, workers=1)
    pdf, html = write_sheets(found, tmp_path, 3)
    text = html.read_text("utf-8")
    assert {f.get("alt") for f in parse_page(text).iter("img")} > {"Image and candidate spectra of some <b>"}
    assert text.count("data:image/png;base64") == 3 and text.count("<figure>") == 3
    assert "some &lt;b&gt;" in text and "some <b>" not in text and "http" not in text
    assert "P = 0.38 ± 0.15" in text
    assert len(re.findall(rb"/Type /Page\b", pdf.read_bytes())) == 1


def run(*arguments):
    return CliRunner().invoke(app, ["rank", *map(str, arguments)])


def test_command(catalogue, tmp_path):
    result = run(catalogue, "ew(Halpha) > 50", "--out", tmp_path / "list", "--sheet", 1, "--workers", 1)
    assert result.exit_code == 0, result.output
    assert "3 of 3 objects" in result.output and "strong" in result.output
    names = {p.name for p in (tmp_path / "list").iterdir()}
    assert names == {f"ranking.{e}" for e in ("parquet", "csv", "fits", "vot")} | {
        "contact.html",
        "contact.pdf",
    }
    assert isinstance(run(catalogue, "ew(Hapha) > 50").exception, InputError)
    assert isinstance(run(catalogue, "z > 0", "--hours", 3).exception, InputError)


def test_command_names_what_failed(tmp_path):
    path = write_catalogue(tmp_path / "mixed", [ensemble("strong"), ensemble("weak é")])
    with CatalogueWriter(tmp_path / "failed", GRID, {"noise": "observed"}) as writer:
        for own in open_catalogue(path):
            writer.add(own)
        writer.add_failure("broken", "no image")
    result = run(tmp_path / "failed", "z > 0", "--sheet", 0, "--workers", 1)
    assert "broken: no image" in result.output
    assert result.exit_code == 3 and "2 of 2 objects" in result.output


def test_objects_of_a_model_without_redshifts_are_fitted(tmp_path):
    """A redshift fit of galaxy templates to galaxies: here their first spectra are the templates' own."""
    from pix2spec.measure.parallel import _fitter

    template = _fitter(GRID)
    candidates = _galaxy(template, 0.1)
    own = Ensemble("fitted", GRID, candidates=candidates, selected=[0])
    path = write_catalogue(tmp_path / "pixels", [own])
    z = measure_catalogue(open_catalogue(path), 1).columns(["z"])["z"]
    np.testing.assert_allclose(z, 0.1, atol=5e-4)


def _galaxy(fitter, z):
    """Three noisy copies of the first template at a redshift."""
    shift = fitter.zero - round(np.log10(1 + z) / GRID.step)
    flux = fitter.templates[0, shift : shift + GRID.size].numpy()
    flux = 20 * flux / np.median(flux)
    return flux + 0.2 * np.random.default_rng(0).normal(size=(3, GRID.size))


@pytest.mark.slow
def test_pool_gives_the_same_as_one_process(catalogue, tmp_path, monkeypatch):
    alone = measure_catalogue(open_catalogue(catalogue), 1)
    monkeypatch.setattr(measure, "SPECTRA", N)  # one object a batch
    again = write_catalogue(tmp_path / "again", [ensemble(name) for name in WIDTHS])
    pooled = measure_catalogue(open_catalogue(again), 2, progress=False)
    np.testing.assert_equal(pooled.columns(measure.COLUMNS), alone.columns(measure.COLUMNS))


def test_hours_are_quantiles_over_the_candidates():
    """Of ten candidates, two have no line: no time is enough for 95 % of them."""
    flux = np.array([1.0, 2, 3, 4, 5, 6, 7, 8, -1, -2]) * 20

    class Measured:
        rows = np.zeros(10, int)
        catalogue = SimpleNamespace(survey=SimpleNamespace(fibre_diameter=3.0))

        def __len__(self):
            return 1

        def columns(self, names):
            return {"z": np.full(10, 0.1), "flux_halpha": flux, "ew_halpha": flux / 5}

        def split(self, values):
            return [values]

    found = _observed(Measured(), np.ones(10, bool), Observing("sdss"), *Observing("sdss").model())
    continuum = 5 / 1.1
    arguments = (flux, continuum, REST["halpha"] * 1.1)
    each = telescope_hours(INSTRUMENTS["sdss"], exposure_hours(INSTRUMENTS["sdss"], *arguments, 5.0, 3.0))
    ordered = np.sort(each)
    assert found["hours_q16"][0] == pytest.approx(ordered[1])
    assert found["hours_q84"][0] == found["hours_q95"][0] == np.inf
    assert found["hours"][0] == pytest.approx(np.median(each))
