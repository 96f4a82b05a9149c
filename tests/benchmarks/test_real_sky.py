"""The benchmark of the real sky: its scores agree with what is known of Gaussian posteriors."""

import json

import numpy as np
import pyarrow.parquet as pq
import pytest
from rich.console import Console

import real_sky
from pix2spec.core.photometry import synthetic_photometry
from pix2spec.errors import InputError
from pix2spec.training.real_sky import FOLDS, RealTable, digest, jpas_filters, load_real
from sky import context, flags, report, rows, scores, surveys
from support.paths import SHARED

SIGMA = 0.02


class Gaussian:
    """A posterior of known width about redshifts that are off by draws of that width."""

    def __init__(self, centre, sigma):
        self.centre, self.sigma = centre, sigma

    def sample(self, n, seed):
        noise = np.random.default_rng(seed).standard_normal((len(self.centre), n))
        return self.centre[:, None] + self.sigma * noise

    def quantile(self, q):
        return self.centre + self.sigma * (q - 0.5)


class Oracle:
    """A model that knows the truth but for errors of SIGMA, and flags what is red."""

    def __init__(self, stated=SIGMA):
        self.stated, self.asked = stated, []

    def posterior(self, table, without=None):
        self.asked.append(without)
        off = np.random.default_rng(len(table)).standard_normal(len(table)) * SIGMA
        return Gaussian(table.z + off, self.stated)

    def outside(self, table, without=None):
        self.asked.append(without)
        return table.flux[:, 1] > 2 * table.flux[:, 0]


@pytest.fixture(autouse=True)
def tables_go_to_the_oracle(monkeypatch):
    for module in (context, flags):
        monkeypatch.setattr(module, "as_measurements", lambda table: table)


def table_of(n=4000, filters=("sdss2010-g", "sdss2010-r"), **changes) -> RealTable:
    rng = np.random.default_rng(0)
    flux = rng.uniform(10, 100, (n, len(filters)))
    values = {
        "flux": flux, "error": 0.02 * flux, "z": rng.uniform(0.05, 0.1, n), "filters": filters,
        "kind": ("model",) * len(filters), "extinction": "observed", "source": np.full(n, "test"),
        "object_group": np.full(n, -1), "row": np.arange(n), "group": np.arange(n),
        "fold": np.arange(n) % FOLDS,
    }  # fmt: skip
    return RealTable(**values | changes)


def sky_of(tables, model=None, folder=None, folds=True):
    return context.Sky(model or Oracle(), tables, folder, folds)


def test_scores_of_calibrated_gaussians():
    z = np.full(40_000, 0.0)
    rng = np.random.default_rng(0)
    draws = SIGMA * (rng.standard_normal((len(z), 1)) + rng.standard_normal((len(z), 256)))
    found = scores.redshift_scores(draws, z)
    assert found["sigma_nmad"] == pytest.approx(SIGMA, rel=0.03)
    assert found["crps"] == pytest.approx(SIGMA / np.sqrt(np.pi), rel=0.02)
    assert found["inside"] == pytest.approx(0.68 * 255 / 257, abs=0.007)  # of 256 draws' percentiles
    assert found["bias"] == pytest.approx(0, abs=3e-4)
    assert found["off_0.05"] == pytest.approx(2 * 0.00621, abs=0.002)  # beyond 2.5 sigma
    assert scores.coverage(draws, z, np.array([0.5, 0.9])) == pytest.approx([0.5, 0.9], abs=0.015)


def test_scores_of_an_offset_that_all_share():
    z = np.array([0.0, 1.0, 3.0])
    found = scores.redshift_scores(np.repeat((z + 0.1 * (1 + z))[:, None], 64, 1), z)
    assert found["bias"] == pytest.approx(0.1) and found["sigma_nmad"] == pytest.approx(0, abs=1e-12)
    assert found["off_0.05"] == 1 and found["off_0.15"] == 0
    assert found["crps"] == pytest.approx(np.mean(0.1 * (1 + z)))


def test_too_narrow_posteriors_are_seen():
    table = table_of()
    row = sky_of({}, Oracle(stated=SIGMA / 2)).score("", "", table, scores.within(0.66, 0.7))
    assert row.values["inside"] == pytest.approx(0.38, abs=0.02) and row.reached("inside") is False


@pytest.mark.parametrize("folds", [True, False])
def test_networks_that_saw_a_galaxy_do_not_answer_for_it(folds):
    table, sky = table_of(context.BATCH + 50), sky_of({}, folds=folds)
    sky.score("", "", table)
    sky.flagged("", "", table)
    if folds:
        assert np.array_equal(np.concatenate(sky.model.asked[:2]), table.fold)
        assert np.array_equal(sky.model.asked[2], table.fold)
    else:
        assert sky.model.asked == [None] * 3


def test_simulated_objects_belong_to_no_fold():
    table, sky = (
        flags.unknown_table(np.ones((5, 2)), np.ones((5, 2)), ("a", "b"), "psf", "observed"),
        sky_of({}),
    )
    sky.flagged("", "", table)
    assert sky.model.asked == [None]


def test_larger_errors_come_with_noise_to_match():
    table = table_of(50_000)
    noisy = context.with_noise(table, 10, seed=1)
    assert np.allclose(noisy.error, 10 * table.error)
    assert np.std((noisy.flux - table.flux) / table.error) == pytest.approx(np.sqrt(99), rel=0.01)


def test_a_floor_and_a_wrong_statement_leave_the_fluxes():
    table = table_of()
    floored, small = context.with_floor(table, 0.05), context.with_statement(table, 0.3)
    assert floored.flux is table.flux and small.flux is table.flux
    assert np.allclose(floored.error, np.hypot(0.02, 0.0460517) * table.flux)
    assert np.allclose(small.error, 0.3 * table.error)


def test_targets_are_checked():
    values = {"crps": 0.02, "inside": 0.7, "bias": -0.004, "flagged": 0.95}
    targets = scores.at_most(crps=0.02, bias=0.003) | scores.within(0.66, 0.7) | scores.at_least(flagged=0.9)
    row = scores.Row("", "", 1, values, targets)
    assert [row.reached(m) for m in values] == [True, True, False, True]
    assert scores.Row("", "", 1, values).reached("crps") is None
    assert [report.target(m, targets[m]) for m in values] == ["≤ 0.02", "66–70 %", "≤ 0.003", "≥ 90 %"]
    assert scores.at_most(off=0.02, far_off=0.003) == {"off_0.05": (0, 0.02), "off_0.15": (0, 0.003)}


def write_spectra(folder, z):
    loglam, n = 3.59 + 1e-4 * np.arange(3598), len(z)
    flux = np.linspace(3, 5, 3598) * np.ones((n, 1))
    np.savez(
        folder / "sdss_galaxies.npz", z=z, calibflux_ugriz=np.full((n, 5), 10.0), loglam=loglam, flux=flux,
        object_group=np.arange(n), model=flux, ivar=np.full((n, 3598), 4.0),
    )  # fmt: skip
    wave, centres = np.arange(3000.0, 11000, 5), np.arange(3800, 9200, 100)
    response = np.array([abs(wave - c) < 72 for c in centres], float)
    names = [f"J{c}" for c in centres]
    np.savez(
        folder / "filters_jpas.npz", name=np.array([*names, "Jblue"]), wave=wave, response=[*response, wave]
    )
    return 10**loglam, flux[0]


def test_rows_of_spectra(tmp_path):
    wave, flux = write_spectra(tmp_path, np.linspace(0.02, 0.1, 200))
    sky = sky_of(load_real(tmp_path), folder=tmp_path)
    found = list(rows.spectra(sky))
    assert len(found) == 5 and all(row.n == 200 for row in found)
    narrow = rows.covered(rows.synthetic(sky, jpas_filters(tmp_path), stated=0.01, noise=0.01))
    assert len(narrow.filters) == 49  # those at 3800, 3900 and 8900 to 9100 A are not covered
    table = rows.synthetic(sky, ["panstarrs-g", "panstarrs-i"], stated=0.02, noise=0.0)
    expected = synthetic_photometry(flux, wave, ("panstarrs-g", "panstarrs-i", "sdss2010-r"))
    assert np.allclose(table.flux[0], expected[:2] * 10 / expected[2])
    assert np.allclose(table.error / table.flux, 0.02, rtol=0.03) and table.kind == ("fibre", "fibre")
    noisy = rows.synthetic(sky, ["panstarrs-g", "panstarrs-i"], stated=0.05, noise=0.05)
    assert np.std(noisy.flux / table.flux) == pytest.approx(0.05, rel=0.15)


def test_rows_of_stars_and_quasars(monkeypatch):
    monkeypatch.setattr(flags, "STARS", 500)
    found = list(flags.stars(sky_of({})))
    assert [row.n for row in found] == [3000] + [500] * 6
    assert found[0].values["flagged"] == pytest.approx(np.mean([row.values["flagged"] for row in found[1:]]))
    red = table_of(flux=np.tile([1.0, 3.0], (4000, 1)))
    (quasars, galaxies) = flags.known(sky_of({"quasars": red, "mgs": red}))
    assert quasars.reached("flagged") is True and galaxies.reached("flagged") is False


def test_a_survey_sees_galaxies_at_its_depth():
    flux = 10 ** (-0.4 * (np.tile([24.0, 23.4, 22.5], (20_000, 1)) - 22.5))
    table = table_of(20_000, ("decam2014-g", "decam2014-r", "decam2014-z"), flux=flux, error=0 * flux)
    seen = surveys.observe(table, ("Legacy",), np.random.default_rng(0))
    assert np.allclose(flux / seen.error, 5, rtol=0.01)
    assert np.allclose(((seen.flux - flux) / seen.error).std(0), 1, atol=0.02)
    point = surveys.observe(table.bands("gr"), ("WISE",), np.random.default_rng(0), extended=False)
    assert np.allclose(2 * point.error[:, 0], surveys.observe(table.bands("gr"), ("WISE",),
        np.random.default_rng(0)).error[:, 0], rtol=0.01)  # fmt: skip


def test_every_survey_has_a_depth_for_each_band_and_a_source():
    for survey in surveys.DEPTHS.values():
        assert len(survey.depth) == max(len(survey.filters), 1) and survey.source
    assert all(name in surveys.DEPTHS for names in surveys.SETS.values() for name in names)


def test_lent_magnitudes_are_those_of_galaxies_that_have_them(monkeypatch):
    monkeypatch.setattr(surveys, "BANK_SIZE", 4 * surveys.BANK_BLOCK)
    griz, others = [f"decam2014-{b}" for b in "griz"], ["sdss2010-r", "panstarrs-z"]
    mag, z = surveys.simulated_magnitudes([*griz, *others])
    lent, _ = surveys.lend(mag[:300, :4] + 1.5, z[:300], griz, others, np.random.default_rng(0))
    # one of the four nearest lends, which here is the galaxy itself or one like it
    assert np.median(np.abs(lent - 1.5 - mag[:300, 4:]), 0) == pytest.approx([0, 0], abs=0.02)


def test_files_and_figure(tmp_path):
    sky = sky_of({"mgs": table_of(filters=tuple(f"sdss2010-{b}" for b in "ugriz"))})
    found = list(real_sky.score(sky, ["mgs", "deep"]))
    assert len(found) == 1  # the folder has no table "deep"
    report.write(found, tmp_path, {"data": "here"})
    report.draw(sky.kept, tmp_path / "figure.png")
    report.show(found, Console(record=True, width=200))
    stored = json.loads((tmp_path / "real_sky.json").read_text())
    assert stored["data"] == "here" and [r["measure"] for r in stored["rows"]] == list(found[0].values)
    assert pq.read_table(tmp_path / "real_sky.parquet").num_rows == len(stored["rows"])
    page = (tmp_path / "real_sky.md").read_text()
    assert page.startswith("| SDSS | galaxies |") and "| mgs: as given | 4,000 |" in page
    assert "**0.0111** (≤ 0.0079)" in page
    assert (tmp_path / "figure.png").stat().st_size > 10_000


def test_a_model_is_scored_by_folds_on_its_own_tables_alone():
    tables = {"mgs": table_of(), "sdss": table_of(100)}
    record = {"tables": digest(tables)}
    real_sky.check_folds(record, tables)
    real_sky.check_folds(record, {"mgs": tables["mgs"]})
    with pytest.raises(InputError, match="not trained on these galaxies in these folds: sdss"):
        real_sky.check_folds(record, tables | {"sdss": tables["mgs"]})
    with pytest.raises(InputError, match="mgs, sdss"):
        real_sky.check_folds({}, tables)


def test_folds_are_trained_once(tmp_path):
    asked = []

    def train(*arguments, **options):
        asked.append((arguments, options))

    assert real_sky.train_folds("data", tmp_path, "quick", train) == tmp_path
    (tmp_path / "config.json").touch()
    real_sky.train_folds("data", tmp_path, "quick", train)
    assert asked == [(("data", tmp_path), {"recipe": "quick", "resume": True})]


def test_timing(monkeypatch):
    monkeypatch.setattr(flags, "MANY", 1000)
    single, many = flags.timing(sky_of({"mgs": table_of()}))
    assert single.values["milliseconds"] < 3 and many.values["seconds"] < 120


@pytest.mark.slow
@pytest.mark.skipif(not (SHARED / "mgs_photometry.npz").exists(), reason=f"no real photometry in {SHARED}")
def test_rows_of_the_real_tables():
    sky = sky_of(load_real(SHARED), folder=SHARED)
    names = ["sdss", "mgs", "gama", "zcosmos", "deep", "errors", "spectra", "fors2", "flags"]
    found = {row.name: row for row in real_sky.score(sky, names)}
    assert found["sdss: model magnitudes"].n == 24_733 and found["mgs: as given"].n == 5000
    assert found["gama: griz"].n == 9728 and found["zcosmos: u B V g r i z"].n == 4504
    assert (
        found["deep: VVDS and VIPERS, griz"].n == 4303 and found["spectra: fibre ugriz, 3% stated"].n == 1055
    )
    assert len(found) == 31
    assert found["sdss: errors x 3, noise to match"].values["inside"] == pytest.approx(0.675, abs=0.01)
