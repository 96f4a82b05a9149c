"""`pix2spec data sdss` from end to end, against the loopback server."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from typer.testing import CliRunner

from pix2spec.apps.cli.main import app
from pix2spec.data.archives.download import Downloader
from pix2spec.data.archives.sdss import build as build_module
from pix2spec.data.archives.sdss import work as work_module
from pix2spec.data.archives.sdss.build import BuildReport, build_sdss
from pix2spec.data.archives.sdss.pairs import Job, make_galaxies
from pix2spec.data.archives.sdss.plan import DONE, FAILED, LATER, Entry, Plan
from pix2spec.data.archives.sdss.request import Order
from pix2spec.data.archives.sdss.select_sql import select_by_sql
from pix2spec.data.archives.urls import Services
from pix2spec.data.check import check_dataset
from pix2spec.data.dataset import Dataset
from pix2spec.data.import_files import import_data
from pix2spec.errors import InputError
from pix2spec.runtime.resumable import Resumable
from support.loopback.server import serve
from support.loopback.sky import Sky
from support.tiny import tiny_preset

pytestmark = pytest.mark.slow  # tests/data/archives/sdss has the fast ones

FAST = {"rate": 2000.0, "backoff": 0.01, "timeout": 60.0, "attempts": 3, "processes": 1, "progress": False}
OBJECTS = 12
VECTORS = ("image", "photometry", "photometry_ivar", "flux", "ivar", "mask")
SCALARS = ("object_id", "group_id", "ra", "dec", "z", "z_err", "spec_class")


@pytest.fixture(scope="module")
def sky():
    """Two plates, one of SDSS and one of BOSS."""
    return Sky(objects=OBJECTS, fibres=8, per_frame=8, distinct=128)


@pytest.fixture(scope="module")
def shared_server(sky):
    with serve(sky) as server:
        yield server


@pytest.fixture
def server(shared_server):
    """The server without memory of other tests, but for the files that it has made."""
    shared_server.requests.clear()
    shared_server.faults.planned.clear()
    return shared_server


@pytest.fixture(scope="module")
def truth(sky):
    """What the readers should end with, by object id."""
    return {target.object_id: sky.expected_galaxy(target) for target in sky.selected()}


def build(out, server, *, order=None, **options):
    """Build with few requests unless told otherwise."""
    order = order or Order(spectra="plates", images="none")
    return build_sdss(out, order, mirror=server.url, **FAST | options)


def galaxies_of(out):
    pairs = list(Dataset(out))
    found = {pair.object_id: pair for pair in pairs}
    assert len(found) == len(pairs)  # no object twice
    return found


def assert_same(one, other, columns=VECTORS):
    """Bit-equal arrays, equal facts (NaN equals NaN)."""
    for name in SCALARS:
        a, b = getattr(one, name), getattr(other, name)
        assert a == b or (a != a and b != b), (one.object_id, name, a, b)
    for name in columns:
        a, b = getattr(one, name), getattr(other, name)
        assert (a is None) == (b is None), (one.object_id, name)
        assert a is None or np.array_equal(a, b), (one.object_id, name)


def plan_of(out):
    return Plan(Resumable(out, {}))


def failures(report):
    with open(report.failures, newline="") as stream:
        return list(csv.reader(stream))[1:]


def remains(out):
    """Files in a dataset's folder that are no shards."""
    return sorted(str(p.relative_to(out)) for p in out.rglob("*") if p.is_file() and p.suffix != ".parquet")


# --- contents -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("images", "spectra"), [("cutouts", "lite"), ("jpeg", "plates"), ("none", "auto")])
def test_dataset_holds_what_the_survey_has(tmp_path, server, truth, images, spectra):
    report = build(tmp_path / "out", server, order=Order(images=images, spectra=spectra))
    assert (report.n_written, report.n_total, report.n_problems) == (OBJECTS, OBJECTS, 0)
    pairs = galaxies_of(tmp_path / "out")
    assert pairs.keys() == truth.keys()
    columns = VECTORS if images == "cutouts" else VECTORS[1:]
    for name, pair in pairs.items():
        # the pipeline's photometric error is the catalogue's, with 5 % and a floor added by the reader
        assert (pair.photometry_ivar <= truth[name].photometry_ivar).all()
        assert_same(pair, replace(truth[name], photometry_ivar=pair.photometry_ivar), columns)
        if images == "jpeg":
            assert 0 <= pair.image.min() < pair.image.max() <= 255
    info = Dataset(tmp_path / "out").info
    assert info.image_kind == {"cutouts": "linear", "jpeg": "composite", "none": None}[images]
    kept = info.provenance
    assert kept["release"] == "dr17" and "zWarning = 0" in kept["selection"] and kept["survey"] == "SDSS"
    assert kept["services"]["sas"] == f"{server.url}/sas" and kept["version"] and kept["command"]
    assert check_dataset(tmp_path / "out").ok
    assert remains(tmp_path / "out") == ["failures.csv", "run.json"]


def test_five_bands_from_frames(tmp_path, server, truth):
    order = Order(images="frames", spectra="plates", bands="ugriz")
    report = build(tmp_path / "out", server, order=order)
    assert report.n_written == OBJECTS
    info = Dataset(tmp_path / "out").info
    assert info.survey.image_bands == tuple("ugriz") and info.image_shape == (5, 64, 64)
    pairs = galaxies_of(tmp_path / "out")
    edge = {name for name, pair in pairs.items() if pair.image is None}
    # the sky puts one galaxy of a plate at a frame's edge
    assert edge == {t.object_id for t in server.sky.selected() if t.near_edge} and edge
    assert report.n_without_image == len(edge)
    rows = failures(report)
    assert {row[0] for row in rows} == edge
    assert all("beyond the edge" in why and outcome == "written without image" for _, outcome, why in rows)
    for name in pairs.keys() - edge:
        got, true = pairs[name].image[1:4], truth[name].image
        # interpolating to a frame and back takes noise of single pixels away, and nothing else
        assert got.sum() == pytest.approx(true.sum(), rel=0.01)
        got, true = (gaussian_filter(image, (0, 1.5, 1.5)).ravel() for image in (got, true))
        assert np.corrcoef(got, true)[0, 1] > 0.999
    frames = {r.path for r in server.seen("frame-")}
    assert server.count("frame-") == len(frames)  # each frame once


def test_equals_the_import_of_the_same_files(tmp_path, server):
    report = build(tmp_path / "out", server, order=Order(spectra="lite"), keep=True)
    assert report.n_problems == 0
    cache, images = tmp_path / "out" / ".cache", tmp_path / "images"
    images.mkdir()
    entries = plan_of(tmp_path / "out").entries(np.arange(OBJECTS))
    order, services = Order(spectra="lite"), Services.at(server.url)
    for entry in entries:
        cutout = order.files(services, entry)[1][""]
        shutil.copy(cache / cutout.name, images / f"{entry.object_id}.fits")
    imported = import_data(tmp_path / "imported", [cache / "dr17" / "spec-lite"], images, progress=False)
    assert imported.n_written == OBJECTS
    ours, theirs = galaxies_of(tmp_path / "out"), galaxies_of(tmp_path / "imported")
    assert ours.keys() == theirs.keys()
    for name in ours:
        assert_same(ours[name], theirs[name])


def test_lite_and_plate_files_give_the_same_spectra(tmp_path, server):
    build(tmp_path / "lite", server, order=Order(spectra="lite", images="none"))
    build(tmp_path / "plates", server)
    lite, plates = galaxies_of(tmp_path / "lite"), galaxies_of(tmp_path / "plates")
    assert lite.keys() == plates.keys()
    for name, pair in plates.items():
        # older plug maps have no fluxes: these come from the selection, and are the same but for rounding
        assert np.allclose(pair.photometry, lite[name].photometry, rtol=1e-6)
        assert_same(pair, lite[name], ("flux", "ivar", "mask"))


def test_selection_from_a_catalogue_file(tmp_path, server):
    from support.fake_specobj import write_catalogue, write_photometry

    facts = [server.skyserver.facts(target) for target in server.sky.all_targets()]
    build(tmp_path / "sql", server)  # opens the server's database
    files = {
        "catalogue": write_catalogue(tmp_path / "specObj.fits", facts),
        "photometry": write_photometry(tmp_path / "photoPosPlate.fits", server, facts),
    }
    asked = server.count("skyserver")
    order = Order(spectra="plates", images="none", **files)
    assert build(tmp_path / "file", server, order=order).n_written == OBJECTS
    assert server.count("skyserver") == asked
    sql, file = galaxies_of(tmp_path / "sql"), galaxies_of(tmp_path / "file")
    assert sql.keys() == file.keys()
    for name, pair in sql.items():
        # from magnitudes with errors there, from fluxes with ivar here: the same but for rounding
        assert np.allclose(pair.photometry, file[name].photometry, rtol=1e-6)
        assert np.allclose(pair.photometry_ivar, file[name].photometry_ivar, rtol=1e-6)
        assert_same(pair, file[name], ("image", "flux", "ivar", "mask"))


def test_whole_plates_where_they_are_fewer_bytes():
    order = Order()
    assert not order.takes_whole_plate("26", 294) and order.takes_whole_plate("26", 295)
    assert Order(spectra="plates").takes_whole_plate("26", 1)
    assert not Order(spectra="lite").takes_whole_plate("v5_13_2", 1000)


# --- going on -------------------------------------------------------------------------------------------


def test_finished_build_fetches_nothing_again(tmp_path, server):
    build(tmp_path / "out", server)
    before = server.count()
    report = build(tmp_path / "out", server)
    assert server.count() == before
    assert (report.n_written, report.n_total, report.n_problems) == (0, OBJECTS, 0)


def test_other_options_are_refused(tmp_path, server):
    build(tmp_path / "out", server)
    with pytest.raises(InputError, match=r"other options: n was None and is 5 now"):
        build(tmp_path / "out", server, order=Order(n=5, spectra="plates", images="none"))
    (tmp_path / "out" / "run.json").unlink()
    with pytest.raises(InputError, match="already holds a dataset"):
        build(tmp_path / "out", server)


def test_folders_of_other_versions_are_refused(tmp_path, server):
    (tmp_path / "older").mkdir()
    (tmp_path / "older" / "manifest.sqlite").touch()
    with pytest.raises(
        InputError, match=r"an older version of pix2spec began.*start again in another folder"
    ):
        build(tmp_path / "older", server)
    build(tmp_path / "out", server)
    record = tmp_path / "out" / "run.json"
    record.write_text(record.read_text().replace('"format": 2', '"format": 99'))
    with pytest.raises(InputError, match="other options: format was 99 and is 2 now"):
        build(tmp_path / "out", server)


def test_one_build_at_a_time(tmp_path, server):
    with (
        Resumable(tmp_path / "out", {}).locked(),
        pytest.raises(InputError, match="another process is at work in this folder"),
    ):
        build(tmp_path / "out", server)


def test_raw_files_go_with_the_last_object_that_needs_them(tmp_path, server, monkeypatch):
    """Two plates in units of 3: a killed run leaves what later units need, and no file that none needs."""
    monkeypatch.setattr(build_module, "SHARD", 3)
    monkeypatch.setattr(work_module, "BACKLOG", 0)
    out, finished = tmp_path / "out", []

    def finish(plan, unit, *told):
        original(plan, unit, *told)
        finished.append(unit)
        if len(finished) == 3:  # killed before the raw files of the unit go
            raise KeyboardInterrupt

    original = Plan.finish
    with monkeypatch.context() as patch:
        patch.setattr(Plan, "finish", finish)
        with pytest.raises(KeyboardInterrupt):
            build(out, server, order=Order(spectra="plates"))
    plan, order, services = plan_of(out), Order(spectra="plates"), Services.at(server.url)
    files = [order.files(services, entry) for entry in plan.entries(np.arange(OBJECTS))]
    left = {r.name for (s, i), w in zip(files, plan.left) if w for r in (s, *i.values())}

    def here():
        return {str(p.relative_to(out / ".cache")) for p in (out / ".cache").rglob("*.fits")}

    assert {files[row][1][""].name for row in plan.last_done()} <= here() - left  # the kill left them
    with monkeypatch.context() as patch, Downloader(out / ".cache") as downloader:
        patch.setattr(Plan, "units", lambda self: {})
        work = work_module.Work(plan, order, services, BuildReport(out, None), False, downloader, None)
        assert not list(work.remotes())
    assert here() <= left
    plates = server.count(r"spPlate.*fits$")
    report = build(out, server, order=order)
    assert report.n_total == OBJECTS and server.count(r"spPlate.*fits$") == plates == 2


def test_first_n(tmp_path, server):
    build(tmp_path / "all", server)
    build(tmp_path / "few", server, order=Order(n=5, spectra="plates", images="none"))
    few, every = galaxies_of(tmp_path / "few"), galaxies_of(tmp_path / "all")
    assert len(few) == 5 and few.keys() < every.keys()
    for name in few:
        assert_same(few[name], every[name])


def test_selection_goes_on_where_it_was_cut_off(tmp_path, server, monkeypatch):
    monkeypatch.setattr(build_module, "PAGE", 1)

    def cut_off(*args, **options):
        for number, row in enumerate(select_by_sql(*args, **options)):
            if number == OBJECTS - 2:  # in the second plate
                raise KeyboardInterrupt
            yield row

    monkeypatch.setattr(build_module, "select_by_sql", cut_off)
    with pytest.raises(KeyboardInterrupt):
        build(tmp_path / "out", server)
    asked = server.count("skyserver")
    monkeypatch.setattr(build_module, "select_by_sql", select_by_sql)
    report = build(tmp_path / "out", server)
    assert report.n_written == OBJECTS
    assert server.count("skyserver") == asked + 2  # the plates' sizes, and the second plate


def test_temporary_failures_are_tried_again_by_the_next_run(tmp_path, server):
    order = Order(spectra="lite")
    bad = sorted(t.object_id for t in server.sky.selected())[3]
    server.faults.plan(rf"spec-{bad}\.fits", "503", 3)
    server.faults.retry_after = 0.0
    report = build(tmp_path / "out", server, order=order)
    assert (report.n_written, report.n_later, report.n_failed) == (OBJECTS - 1, 1, 0)
    ((name, outcome, reason),) = failures(report)
    assert name == bad and "next run" in outcome and "503" in reason
    cutouts = server.count("cutout.fits")
    report = build(tmp_path / "out", server, order=order)
    assert (report.n_written, report.n_total, report.n_problems) == (1, OBJECTS, 0)
    assert server.count("cutout.fits") == cutouts  # its image was here already
    assert len(list((tmp_path / "out").glob("pairs-*.parquet"))) == 2
    assert len(galaxies_of(tmp_path / "out")) == OBJECTS and failures(report) == []
    assert remains(tmp_path / "out") == ["failures.csv", "run.json"]


def test_permanent_failures_cost_nobody_else(tmp_path, server):
    order = Order(spectra="lite")
    no_spectrum, no_image, *_ = sorted(server.sky.selected(), key=lambda t: t.object_id)
    server.faults.plan(rf"spec-{no_spectrum.object_id}\.fits", "404", -1)
    server.faults.plan(rf"cutout.fits.*ra={no_image.ra:.7f}", "404", -1)
    report = build(tmp_path / "out", server, order=order)
    assert (report.n_written, report.n_without_image, report.n_failed) == (OBJECTS - 1, 1, 1)
    pairs = galaxies_of(tmp_path / "out")
    assert no_spectrum.object_id not in pairs and pairs[no_image.object_id].image is None
    said = {name: (outcome, reason) for name, outcome, reason in failures(report)}
    assert said[no_spectrum.object_id][0] == "left out" and "404" in said[no_spectrum.object_id][1]
    assert said[no_image.object_id][0] == "written without image"
    before = server.count()
    assert build(tmp_path / "out", server, order=order).n_problems == 0
    assert server.count() == before  # for good is for good


def test_unreadable_file_is_fetched_anew_by_the_next_run(tmp_path, server, monkeypatch):
    """A cutout that arrives whole but makes no FITS file: no checksum is published that would tell."""
    target = next(server.sky.selected())
    make = server.make

    def spoilt(path, query):
        made = make(path, query)
        if path.endswith("cutout.fits") and query["ra"] == f"{target.ra:.7f}":
            return replace(made, body=made.body[:4000])
        return made

    with monkeypatch.context() as patch:
        patch.setattr(server, "make", spoilt)
        report = build(tmp_path / "out", server, order=Order(spectra="plates"))
    assert (report.n_written, report.n_later) == (OBJECTS - 1, 1)
    assert "truncated" in failures(report)[0][2]
    report = build(tmp_path / "out", server, order=Order(spectra="plates"))
    assert (report.n_written, report.n_total) == (1, OBJECTS)


def test_killed_between_shard_and_outcome(tmp_path, server, monkeypatch):
    """What was written is written again under the same name; files that were here are not fetched again."""

    def killed(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Plan, "finish", killed)
        with pytest.raises(KeyboardInterrupt):
            build(tmp_path / "out", server)
    assert len(list((tmp_path / "out").glob("pairs-*.parquet"))) == 1
    (tmp_path / "out" / "pairs-00007.parquet.partial").write_bytes(b"half")
    plates = server.count("spPlate")
    report = build(tmp_path / "out", server)
    assert report.n_written == OBJECTS and len(galaxies_of(tmp_path / "out")) == OBJECTS
    assert server.count(r"spPlate.*fits$") == plates == 2
    assert remains(tmp_path / "out") == ["failures.csv", "run.json"]


# --- what servers may send ------------------------------------------------------------------------------


def test_rows_of_a_hostile_server_reach_no_path(tmp_path, sky):
    first, second, *_ = sky.selected()
    bad = {first.number: {"run2d": "v5/../../../../tmp/x"}, second.number: {"plate": -1}}
    with serve(sky) as server:
        facts = server.skyserver.facts
        server.skyserver.facts = lambda target: facts(target) | bad.get(target.number, {})
        report = build(tmp_path / "out", server)
    assert (report.n_written, report.n_failed) == (OBJECTS - 2, 2)
    assert any("run2d" in reason for _, _, reason in failures(report))
    assert remains(tmp_path) == ["out/failures.csv", "out/run.json"]


def test_huge_bodies_and_web_pages(tmp_path, server, monkeypatch):
    names = sorted(t.object_id for t in server.sky.selected())
    make = server.make

    def spoilt(path, query):
        made = make(path, query)
        if names[0] in path:
            return replace(made, body=made.body + bytes(3_000_000))
        return replace(made, body=b"<!DOCTYPE html><html></html>") if names[1] in path else made

    monkeypatch.setattr(server, "make", spoilt)
    order = Order(spectra="lite", images="none")
    report = build(tmp_path / "out", server, order=order, max_bytes=2_000_000)
    said = {name: (outcome, reason) for name, outcome, reason in failures(report)}
    assert said.keys() == set(names[:2]) and report.n_written == OBJECTS - 2
    assert said[names[0]][0] == "left out" and "more than the 2000000 allowed" in said[names[0]][1]
    assert "next run" in said[names[1]][0]


def test_spectrum_of_another_object(tmp_path, server):
    build(tmp_path / "out", server, order=Order(spectra="lite", images="none"), keep=True)
    one, other = plan_of(tmp_path / "out").entries(np.arange(2))
    files = sorted((tmp_path / "out" / ".cache").rglob("spec-*.fits"))
    path = next(p for p in files if other.object_id in p.name)
    info = Order(images="none").info()
    wrong, right = make_galaxies([Job(one, path), Job(other, path)], info)
    assert (wrong.outcome.status, right.outcome.status) == (FAILED, DONE)
    assert f"it is the spectrum of {other.object_id}" in wrong.outcome.reason
    path.write_bytes(path.read_bytes()[:5000])
    (cut,) = make_galaxies([Job(other, path)], info)
    assert cut.outcome.status == LATER and cut.unreadable == [path]


# --- options and the command ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"release": "dr7"}, "dr7"),
        ({"bands": "ugriz"}, "cutout service has SDSS only in the bands g, r, i"),
        ({"bands": "gg", "images": "frames"}, "not a choice"),
        ({"images": "jpeg", "bands": "gr"}, "colour pictures"),
        ({"images": "png"}, "not one of"),
        ({"spectra": "some"}, "not one of"),
        ({"catalogue": Path("nowhere.fits")}, "no such file"),
        ({"photometry": Path("nowhere.fits")}, "give `catalogue` too"),
        ({"catalogue": Path("nowhere.fits"), "where": "s.z < 1"}, "`where`"),
    ],
)
def test_contradicting_options(options, says):
    with pytest.raises(InputError, match=says):
        Order(**options)


def test_empty_selection_binds_nobody(tmp_path, server):
    with pytest.raises(InputError, match="no object passes the cut"):
        build(tmp_path / "out", server, order=Order(where="s.z > 99"))
    assert build(tmp_path / "out", server).n_written == OBJECTS


def test_objects_without_usable_numbers_fail_alone(sky):
    target = next(sky.selected())
    row = next(select for select in [_row(target)])
    with pytest.raises(InputError, match="no imaging"):
        Order(images="frames").files(Services(), Entry(replace(row, run=0, field=0, camcol=0)))


def _row(target):
    from support.fake_specobj import spec_row as row

    return row(target.plate.plate, target.fiber)


def test_command(tmp_path, server):
    command = ["data", "sdss", str(tmp_path / "out"), "--mirror", server.url, "--rate", "2000"]
    command += ["--spectra", "plates", "--images", "none"]
    dry = CliRunner().invoke(app, [*command, "--dry-run"])
    assert dry.exit_code == 0, dry.output
    assert "s.zWarning = 0" in dry.output and f"objects   {OBJECTS}" in dry.output
    assert "nothing else was" in dry.output and "/sas/dr17/" in dry.output
    assert server.count() == server.count("skyserver") > 0
    assert remains(tmp_path / "out") == ["run.json"]
    queries = server.count("skyserver")
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0 and f"Wrote {OBJECTS} objects ({OBJECTS} in all)" in done.output
    assert server.count("skyserver") == queries
    again = CliRunner().invoke(app, command)
    assert again.exit_code == 0 and "nothing is left to fetch" in again.output


def test_command_says_what_failed(tmp_path, server):
    bad = next(server.sky.selected()).object_id
    server.faults.plan(rf"spec-{bad}\.fits", "404", -1)
    command = ["data", "sdss", str(tmp_path / "out"), "--mirror", server.url, "--rate", "2000"]
    command += ["--spectra", "lite", "--images", "none"]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 3 and "1 left out" in done.output
    assert CliRunner().invoke(app, command).exit_code == 0  # nothing is left to do


# --- killed, again and again ----------------------------------------------------------------------------


def run_command(out, server, *options):
    command = [Path(sys.executable).with_name("pix2spec"), "data", "sdss", out, "--mirror", server.url]
    return subprocess.Popen([*map(str, command), *options], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def complete_urls(out, order, services):
    """Addresses of the files that are here whole, or whose object is done."""
    complete, plan = set(), plan_of(out)
    for row, entry in enumerate(plan.entries(np.arange(len(plan.status))) if plan.selected else ()):
        spectrum, images = order.files(services, entry)
        for remote in (spectrum, *images.values()):
            if (out / ".cache" / remote.name).exists() or plan.status[row] in (DONE, FAILED):
                complete.add(remote.url)
    return complete


@pytest.mark.timeout(3600)
def test_killed_five_times_with_faults(tmp_path):
    # three whole plates, and single spectra of a fourth
    sky, order, out = Sky(objects=2000, distinct=512), Order(), tmp_path / "out"
    rng = np.random.default_rng(11)
    options = ("--rate", "100")
    kinds = ("503", "hang", "truncate", "html", "reset")
    with serve(sky, probability=0.1, kinds=kinds, hang=0.5, retry_after=0.1) as server:
        # wrong bytes are told by the published checksums, which cutouts do not have
        server.faults.plan(r"/sp(ec|Plate)-\d", "corrupt", 10)
        services = Services.at(server.url)
        for _ in range(5):
            process, begun = run_command(out, server, *options), server.count()
            enough = rng.integers(1, 300)
            while server.count() < begun + enough and process.poll() is None:
                time.sleep(rng.uniform(0, 0.1))
            assert process.poll() is None, process.stdout.read().decode()
            os.kill(process.pid, signal.SIGKILL)
            process.communicate()
            time.sleep(0.5)  # what it had sent arrives
            complete = {url.removeprefix(server.url) for url in complete_urls(out, order, services)}
            here = server.count()
            process = run_command(out, server, *options)  # goes on, and is stopped as a batch system does
            while server.count() < here + 50 and process.poll() is None:
                time.sleep(0.05)
            process.send_signal(signal.SIGTERM)
            text = process.communicate(timeout=300)[0].decode()
            assert process.returncode in (0, 3, 130), text
            assert not complete & {r.path for r in server.requests[here:]}
        for _ in range(6):
            run = run_command(out, server, *options)
            text = run.communicate(timeout=2000)[0].decode()
            assert run.returncode in (0, 3), text
            if run.returncode == 0:
                break
        assert run.returncode == 0, text
        server.faults.probability, server.faults.planned = 0.0, []
        build(tmp_path / "undisturbed", server, order=order, processes=2)
    assert remains(out) == ["failures.csv", "run.json"]
    killed, undisturbed = galaxies_of(out), galaxies_of(tmp_path / "undisturbed")
    # what lies after the last pixel with data is left out of a plate's spectra: a galaxy without data at the
    # grid's end is too short, unless its plate goes on beyond it, as BOSS's do
    expected = {
        t.object_id
        for t in sky.selected()
        if t.plate.run2d == "v5_13_2" or sky.expected_galaxy(t).ivar[-1] > 0
    }
    assert killed.keys() == undisturbed.keys() == expected and len(expected) > 1990
    for name in killed:
        assert_same(killed[name], undisturbed[name])
    assert check_dataset(out).ok

    from pix2spec.training.loop import train

    run = train(tiny_preset("paper-concat", "train.steps=2", "train.workers=0"), out, tmp_path / "run")
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert rows and all(np.isfinite(value) for row in rows for value in row.values())
