"""Generation that is cut off and goes on: nothing lost, nothing twice, the same numbers to the bit."""

import json
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest

from pix2spec.data.dataset import Dataset, write_dataset
from pix2spec.data.schema import DatasetInfo
from pix2spec.data.simulate import SimulatedSurvey
from pix2spec.errors import InputError
from pix2spec.generate.catalogue import generate_catalogue
from pix2spec.generate.load import load
from pix2spec.models.generator import Settings
from pix2spec.products import shards
from pix2spec.products.catalogue import open_catalogue

N, BATCH = 23, 4


@pytest.fixture(scope="module")
def generator():
    return load()


@pytest.fixture(scope="module")
def galaxies(tmp_path_factory):
    folder = tmp_path_factory.mktemp("galaxies")
    pairs = [replace(pair, truth={}) for pair in SimulatedSurvey(seed=5).galaxies(N)]
    bare = {"image": None, "photometry": None, "photometry_ivar": None}
    pairs[9] = replace(pairs[9], **bare)  # nothing is known of it: it fails
    write_dataset(folder, pairs, DatasetInfo())
    return Dataset(folder)


@pytest.fixture(autouse=True)
def small_shards(monkeypatch):
    monkeypatch.setattr(shards, "SHARD", 8)


def run(generator, galaxies, out, stop_after=None, **options):
    """Generate; after `stop_after` objects the user presses Ctrl-C."""
    settings = Settings(n=2, select="all", steps=2)

    class Interrupted:
        count = 0

        def __getattr__(self, name):
            return getattr(generator, name)

        def run(self, *arguments):
            for result in generator.run(*arguments):
                if self.count == stop_after:
                    raise KeyboardInterrupt
                self.count += 1
                yield result

    options = {"batch": BATCH, "progress": False, "failures": [("unread.fits", "damaged")]} | options
    return generate_catalogue(Interrupted(), galaxies, out, settings, **options)


def rows(out):
    return open_catalogue(out).read(open_catalogue(out).schema.names).to_pydict()


@pytest.fixture(scope="module")
def whole(generator, galaxies, tmp_path_factory):
    out = tmp_path_factory.mktemp("whole")
    return out, run(generator, galaxies, out)


@pytest.mark.slow
@pytest.mark.parametrize("stops", [(3,), (13,), (8, 8), (20, 1, 0)])
def test_a_run_that_was_cut_off_ends_as_if_it_had_not_been(generator, galaxies, tmp_path, stops, whole):
    for i, stop in enumerate(stops):
        with pytest.raises(KeyboardInterrupt):
            run(generator, galaxies, tmp_path / "cut", stop, resume=i > 0)
        with pytest.raises(InputError, match=r"unfinished.*resume its generation"):
            open_catalogue(tmp_path / "cut")
    summary = run(generator, galaxies, tmp_path / "cut", resume=True)
    assert (summary.n_ok, summary.n_failed) == (whole[1].n_ok, whole[1].n_failed) == (N - 1, 2)
    assert [p.name for p in (tmp_path / "cut").iterdir()] == ["catalog.parquet"]
    np.testing.assert_equal(rows(tmp_path / "cut"), rows(whole[0]))


def test_a_run_goes_on_only_if_asked_and_only_as_it_was_begun(generator, galaxies, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        run(generator, galaxies, tmp_path, 9)
    with pytest.raises(InputError, match=r"beginning of a catalogue.*`resume=True`"):
        run(generator, galaxies, tmp_path)
    with pytest.raises(
        InputError, match=r"begun in it with other options: objects was 23 and is 20 now.*same options"
    ):
        run(generator, galaxies, tmp_path, resume=True, limit=20)
    assert run(generator, galaxies, tmp_path, resume=True).n_ok == N - 1
    with pytest.raises(InputError, match="exists already"):
        run(generator, galaxies, tmp_path, resume=True)


def test_figures_of_a_run_that_went_on_show_the_first_objects(generator, galaxies, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        run(generator, galaxies, tmp_path, 9)
    summary = run(generator, galaxies, tmp_path, resume=True, figures=2)
    assert summary.files == [tmp_path / "spectra.png"] and summary.files[0].stat().st_size > 10_000


def test_large_catalogues_stay_in_shards(generator, galaxies, tmp_path, monkeypatch, whole):
    monkeypatch.setattr(shards, "MAX_JOINED_OBJECTS", 10)
    summary = run(generator, galaxies, tmp_path / "many")
    assert summary.catalogue == tmp_path / "many" / "catalog"
    assert len(list(summary.catalogue.glob("*.parquet"))) == 4
    one, many = open_catalogue(whole[0]), open_catalogue(tmp_path / "many")
    assert sorted(one.ids) == sorted(many.ids) and len(one) == len(many) == N + 1
    assert many.failures == one.failures
    for a, b in zip(one, many):
        assert a.object_id == b.object_id
        np.testing.assert_array_equal(a.candidates, b.candidates)
    np.testing.assert_array_equal(
        many.ensemble(galaxies[17].object_id).flux, one.ensemble(galaxies[17].object_id).flux
    )
    with pytest.raises(InputError, match="catalogue that is complete"):
        run(generator, galaxies, tmp_path / "many", resume=True)


@pytest.mark.slow
def test_killed_at_random_moments(generator, galaxies, tmp_path):
    code = (
        "import sys; from pix2spec.products import shards; shards.SHARD = 4; "
        "from pix2spec.apps.cli.main import main; "
        "sys.argv = ['pix2spec', *sys.argv[1:]]; main()"
    )
    words = [
        "generate",
        str(galaxies.path),
        "--out",
        str(tmp_path / "cut"),
        "-n",
        "2",
        "--steps",
        "2",
        "--batch",
        "4",
    ]
    command = [sys.executable, "-c", code, *words]
    rng, kills = np.random.default_rng(3), 0
    while kills < 2:
        process = subprocess.Popen(
            [*command, "--resume"], stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL
        )
        until = time.monotonic() + 300
        while process.poll() is None and time.monotonic() < until:
            if len(list((tmp_path / "cut" / "catalog").glob("part-*.parquet"))) > kills:
                time.sleep(rng.uniform(0, 0.3))
                break
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.wait()
        kills += 1
    subprocess.run([*command, "--resume"], check=False, capture_output=True)
    settings = Settings(n=2, select="all", steps=2)
    generate_catalogue(generator, galaxies, tmp_path / "whole", settings, batch=4, progress=False)
    np.testing.assert_equal(rows(tmp_path / "cut"), rows(tmp_path / "whole"))
    assert [p.name for p in (tmp_path / "cut").iterdir()] == ["catalog.parquet"]


def test_the_record_is_plain_json(generator, galaxies, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        run(generator, galaxies, tmp_path, 9)
    record = json.loads((tmp_path / "catalog" / "run.json").read_text())
    assert not record["complete"] and record["run"]["objects"] == N
