"""The comparison with other programs: scores, files between programs, and which galaxies each one sees."""

import json
import sys

import numpy as np
import pytest

from peering import galaxies, report
from peering.programs import REDSHIFTS, SPECTRA
from peering.runners import common
from peering.running import RUNNERS, Peer, Run, Unusable, answer, command
from peering.scoring import Answer, draws_from_density, redshift_scores
from pix2spec.training.real_sky import RealTable

SIGMA = 0.02
FILTERS = tuple(f"sdss2010-{band}" for band in "ugriz")


def test_draws_follow_a_density_that_is_linear_between_points():
    grid = np.array([0.0, 0.1, 0.4, 1.0])
    found = np.sort(draws_from_density(grid, 3 * grid[None], n=4000)[0])
    assert np.abs(found**2 - np.arange(4000) / 4000).max() < 0.03  # the distribution function is z^2


def test_a_density_without_light_gives_no_draws():
    found = draws_from_density(np.linspace(0, 1, 5), np.array([[0, 0, 0, 0, 0], [0, 1, np.nan, 0, 0]]), n=9)
    assert np.isnan(found[0]).all() and np.isfinite(found[1]).all()


def test_scores_of_calibrated_gaussians_are_those_of_the_closed_forms():
    rng = np.random.default_rng(0)
    centre = np.full((4000, 1), 0.1)
    z, *_ = (centre + SIGMA * rng.standard_normal((4000, 1))).T
    draws = centre + SIGMA * rng.standard_normal((4000, 101))
    found = redshift_scores(draws, z)
    assert found["inside"] == pytest.approx(0.68, abs=0.02)
    assert found["crps"] == pytest.approx(SIGMA / np.sqrt(np.pi), rel=0.03)
    assert found["sigma_nmad"] == pytest.approx(SIGMA / 1.1, rel=0.05)


def test_a_galaxy_without_an_answer_is_off_and_outside():
    z = np.full(4, 0.1)
    draws = np.tile(np.linspace(0.09, 0.11, 25), (4, 1))
    draws[3] = np.nan
    found = redshift_scores(draws, z)
    assert (found["off"], found["inside"], found["unanswered"]) == (0.25, 0.75, 1)


# ------------------------------------------------------------------------------- files


@pytest.fixture
def task(tmp_path):
    """A task of 6 galaxies whose first magnitude tells the row, and of 4 to learn from."""
    mag = np.tile(np.arange(6.0)[:, None], 5)
    path = tmp_path / "task.npz"
    train = {"train_mag": mag[:4], "train_error": mag[:4], "train_z": np.arange(4) / 10}
    np.savez(path, mag=mag, error=mag, fold=np.arange(6) % 2, **train)
    return path


@pytest.mark.parametrize("kind", ["draws", "density"])
def test_answers_come_back_as_a_program_gave_them(task, tmp_path, monkeypatch, kind):
    monkeypatch.setattr(sys, "argv", ["", str(task), str(tmp_path / "out.parquet")])
    grid = np.linspace(0, 7, 57)

    def reply(model, mag, error, fold):
        assert model == [0.0, 0.1, 0.2, 0.3] and fold.tolist() == [0, 1, 0, 1, 0, 1]
        if kind == "draws":
            return {"draws": np.tile(mag[:, :1] + 0.5, 3)}
        return {"grid": grid, "density": np.maximum(0.25 - np.abs(grid - mag[:, :1] - 0.5), 0)}

    common.run(lambda mag, error, z: z.tolist(), reply, version="x")
    found = Answer.read(tmp_path / "out.parquet")
    assert found.cost["learnt"] == 4 and found.cost["version"] == "x"
    assert {"fit", "answer"} == set(found.cost["wall"]) and found.cost["peak_bytes"] > 1e6
    assert np.allclose(np.median(found.draws, 1), np.arange(6) + 0.5, atol=0.2)


def test_a_cost_alone_has_no_draws(tmp_path):
    common.write(tmp_path / "cost.parquet", {}, {"spectra": 7})
    assert Answer.read(tmp_path / "cost.parquet") == Answer({"spectra": 7})


# ------------------------------------------------------------------------------- galaxies


def table(z, mag, group, fold):
    n = len(z)
    flux = 10 ** (-0.4 * (mag - 22.5))
    source, none = np.full(n, "x"), np.full(n, -1)
    kind = ("model",) * 5
    return RealTable(flux, 0.01 * flux, z, FILTERS, kind, "unknown", source, none, none, group, fold)


def test_no_program_learns_from_a_galaxy_that_it_answers_for(tmp_path):
    rng = np.random.default_rng(1)
    group = np.arange(400)
    fold, z, mag = group % 4, rng.uniform(0.01, 0.3, 400), rng.uniform(15, 18, (400, 5))
    dust = np.array([0.2, 0.15, 0.1, 0.07, 0.05])
    tables = {"mgs": table(z, mag, group, fold), "sdss": table(z, mag + dust, group, fold)}
    task = galaxies.choose(tables, 60)
    assert len(task.z) == 60 and np.isin(task.z, z).all() and len(np.unique(task.z)) == 60
    assert np.bincount(task.fold, minlength=4).tolist() == [30, 30, 0, 0]
    assert np.array_equal(np.sort(np.unique(task.train_z)), np.sort(z[fold > 1]))
    assert np.allclose(task.train_mag[:200], task.train_mag[200:])  # the median extinction is taken off
    for name in ("one.npz", "two.npz"):
        task.write(tmp_path / name)
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "two.npz").read_bytes()
    seen = np.concatenate([value.ravel() for value in np.load(tmp_path / "one.npz").values()])
    assert not np.isin(task.z, seen).any()


# ------------------------------------------------------------------------------- runs


def test_a_failure_is_told_by_its_last_line(tmp_path):
    with pytest.raises(Unusable, match=r"^no such thing$"):
        command([sys.executable, "-c", "raise SystemExit('no such thing')"], 60, tmp_path / "log")
    with pytest.raises(Unusable, match="not ready"):
        command([sys.executable, "-c", "import time; time.sleep(60)"], 0.2, tmp_path / "log")


def test_a_run_is_repeated_only_if_something_changed(task, tmp_path, monkeypatch):
    runners = tmp_path / "runners"
    runners.mkdir()
    for name in ("common.py", "templates.py"):
        (runners / name).write_text((RUNNERS / name).read_text())
    count = tmp_path / "count"
    program = f"import sys\nopen({str(count)!r}, 'a').write('x')\nopen(sys.argv[2], 'w').close()\n"
    (runners / "mine.py").write_text(program)
    monkeypatch.setattr("peering.running.RUNNERS", runners)
    peer = Peer("mine, own", "mine.py", (), "", "")
    path, record = answer(peer, task, tmp_path, Run())
    assert path.name == "mine-own.parquet" and answer(peer, task, tmp_path, Run()) == (path, record)
    assert count.read_text() == "x"
    answer(peer, task, tmp_path, Run(again=True))
    (runners / "mine.py").write_text(program + "# changed\n")
    answer(peer, task, tmp_path, Run())
    answer(peer, task, tmp_path, Run("another"))
    assert count.read_text() == "xxxx"


def test_every_program_has_its_runner_and_its_own_files():
    every = (*REDSHIFTS, *SPECTRA)
    assert all((RUNNERS / peer.runner).exists() for peer in every)
    assert len({peer.file for peer in every}) == len({peer.name for peer in every}) == len(every)


def test_rows_of_the_tables_have_the_headings_length():
    cost = {
        "processor": {"fit": 3.0, "answer": 2.0}, "wall": {"fit": 4.0, "answer": 3.0}, "learnt": 20,
        "peak_bytes": 2e9, "spectra": 50,
    }  # fmt: skip
    scores = redshift_scores(np.tile(np.linspace(0, 0.2, 25), (3, 1)), np.full(3, 0.1))
    row = report.redshift_row(REDSHIFTS[2], json.loads(json.dumps(cost)), scores, 3000)
    assert len(row) == len(report.REDSHIFT_HEADINGS) and row[2] == "1,500" and row[4] == "2.00"
    assert len(report.spectrum_row(SPECTRA[0], cost)) == len(report.SPECTRUM_HEADINGS)
    record = {"versions": {"scikit-learn": "1"}, "load": 0.5, "seconds": 9.0}
    assert len(report.run_row(REDSHIFTS[2], cost, record)) == len(report.RUN_HEADINGS)


def test_a_page_gets_new_tables_and_keeps_its_text():
    found = report.tables([["ours"] * 10], [], [], [["a \\1 b", "pip says no"]])
    page = (
        "Text.\n\n<!-- table: redshifts -->\n\nMore.\n\n<!-- table: failures -->\n| old |\n| row |\n\nEnd.\n"
    )
    filled = report.fill(page, found)
    assert filled.startswith("Text.\n\n<!-- table: redshifts -->\n| program |") and "old" not in filled
    assert "| ours | ours |" in filled and "| a \\1 b | pip says no |\n\nEnd.\n" in filled
    assert report.fill(filled, found) == filled
