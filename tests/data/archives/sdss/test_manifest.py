import sqlite3
import subprocess
import sys

import numpy as np
import pytest

from pix2spec.data.archives.sdss.manifest import DONE, FAILED, LATER, PENDING, Manifest, Outcome
from pix2spec.errors import InputError
from support.fake_specobj import spec_row


@pytest.fixture
def manifest(tmp_path):
    with Manifest(tmp_path / "manifest.sqlite") as manifest:
        yield manifest


def plan(manifest, rows, size=4, whole=lambda run2d, count: False):
    manifest.add(rows, [])
    manifest.plan(size, whole)


def test_units_follow_plates_and_fields_and_rows_come_back_exactly(manifest):
    rows = [spec_row(plate, fiber, 11 + fiber % 2) for plate in (900, 266) for fiber in (3, 1, 2)]
    plan(manifest, rows)
    assert manifest.pending_units() == [0, 1]
    ids = [e.object_id for unit in (0, 1) for e in manifest.entries(unit)]
    assert ids == [f"{p:04d}-51602-000{f}" for p in (266, 900) for f in (2, 1, 3)]
    assert len(manifest.entries(0)) == 4
    assert {e.row for unit in (0, 1) for e in manifest.entries(unit)} == set(rows)


def test_a_page_twice_is_a_page_once(manifest):
    manifest.add([spec_row(fiber=1), spec_row(fiber=2)], [("0266-51602-0009", "z = nan")], (266, 51602))
    manifest.add([spec_row(fiber=2), spec_row(fiber=3)], [("0266-51602-0009", "z = nan")], (266, 51602))
    assert manifest.counts()[PENDING] == 3 and manifest.fact("plate") == [266, 51602]
    assert list(manifest.failures()) == [("0266-51602-0009", FAILED, "z = nan")]
    assert not manifest.selected


def test_repeats_share_a_group_by_id_or_position(manifest):
    first, again = spec_row(fiber=1), spec_row(plate=300, fiber=7)
    near = spec_row(fiber=2, ra=first.ra + 1 / 3600, bestobjid=0)
    again = spec_row(plate=300, fiber=7, bestobjid=first.bestobjid, ra=10.0)
    alone = spec_row(fiber=4, bestobjid=0)
    plan(manifest, [first, near, again, alone], size=9)
    groups = {e.object_id: e.group_id for e in manifest.entries(0)}
    assert {groups[r.object_id] for r in (first, near, again)} == {str(first.bestobjid)}
    assert groups[alone.object_id] == alone.object_id


def test_whole_plates_are_chosen_by_plate(manifest):
    rows = [spec_row(266, f) for f in range(1, 5)] + [spec_row(900, 1)]
    plan(manifest, rows, 9, lambda run2d, count: run2d == "26" and count > 2)
    assert {e.row.plate: e.whole for e in manifest.entries(0)} == {266: True, 900: False}
    waiting = manifest.waiting()
    assert (waiting.objects, waiting.spectra, waiting.folders, waiting.fields) == (5, 1, 1, 1)
    assert waiting.plates == {"26": 1} and waiting.units == 1 and waiting.example in rows


def test_what_failed_for_now_is_tried_again_in_units_at_the_end(manifest):
    plan(manifest, [spec_row(fiber=f) for f in range(1, 7)])
    ids = [e.object_id for e in manifest.entries(0)]
    status = (DONE, LATER, FAILED, LATER)
    manifest.finish(0, [Outcome(i, s, "why" * (s != DONE)) for i, s in zip(ids, status)], {}, keep=False)
    assert manifest.counts() == {PENDING: 2, DONE: 1, FAILED: 1, LATER: 2}
    manifest.retry(1)
    assert manifest.pending_units() == [1, 2, 3]
    assert [e.object_id for unit in (2, 3) for e in manifest.entries(unit)] == [ids[1], ids[3]]
    assert list(manifest.failures()) == [(ids[2], FAILED, "why")]
    manifest.retry(1)  # nothing more to retry
    assert manifest.pending_units() == [1, 2, 3]


def test_raw_files_go_when_the_last_object_that_shares_them_is_done(manifest, tmp_path):
    plan(manifest, [spec_row(fiber=f, field=11) for f in (1, 2, 3)], size=2)
    cache = tmp_path / "cache"
    cache.mkdir()
    first, second = manifest.entries(0), manifest.entries(1)
    for name in ("frame", "own", "kept"):
        (cache / name).write_bytes(b"x")
    files = {"frame": ("field_key", first[0].field_key), "own": ("object_id", first[0].object_id)}
    files["kept"] = ("object_id", first[1].object_id)
    outcomes = [Outcome(first[0].object_id, DONE), Outcome(first[1].object_id, LATER, "503")]
    manifest.finish(0, outcomes, files, keep=False)
    manifest.sweep(cache)
    assert sorted(p.name for p in cache.iterdir()) == ["frame", "kept"]
    manifest.retry(2)
    (again,) = manifest.entries(2)
    manifest.finish(1, [Outcome(second[0].object_id, DONE)], {"frame": files["frame"]}, keep=False)
    manifest.finish(2, [Outcome(again.object_id, FAILED, "404")], files, keep=False)
    manifest.sweep(cache)
    assert not list(cache.iterdir())


def test_a_failed_step_leaves_nothing_behind(manifest):
    plan(manifest, [spec_row(fiber=f) for f in (1, 2)])
    ids = [e.object_id for e in manifest.entries(0)]
    with pytest.raises(sqlite3.Error):
        manifest.finish(0, [Outcome(ids[0], DONE), Outcome(ids[1], None)], {}, keep=True)
    assert manifest.counts()[PENDING] == 2 and manifest.pending_units() == [0]


def test_other_options_are_named(manifest, tmp_path):
    manifest.settle({"release": "dr17", "n": 5})
    manifest.settle({"release": "dr16", "n": 5})  # nothing was selected by the first
    manifest.add([spec_row()], [])
    manifest.settle({"release": "dr16", "n": 5})
    with pytest.raises(InputError, match=r"release was 'dr16' and is 'dr17' now; where was None and is 'z"):
        manifest.settle({"release": "dr17", "n": 5, "where": "z > 1"})


def test_one_process_at_a_time(manifest):
    code = "import sys; from pix2spec.data.archives.sdss.manifest import Manifest; Manifest(sys.argv[1])"
    done = subprocess.run([sys.executable, "-c", code, manifest.path], capture_output=True, text=True)
    assert done.returncode and "another build is at work in this folder" in done.stderr


def test_no_manifest(tmp_path):
    path = tmp_path / "manifest.sqlite"
    path.write_bytes(np.random.default_rng(0).bytes(4096))
    with pytest.raises(InputError, match="not a manifest"):
        Manifest(path)
    path.unlink()
    with Manifest(path) as manifest:
        manifest._set("version", 99)
    with pytest.raises(InputError, match="version 99"):
        Manifest(path)


def test_failures_are_listed(manifest, tmp_path):
    plan(manifest, [spec_row(fiber=f) for f in (1, 2, 3)])
    ids = [e.object_id for e in manifest.entries(0)]
    reasons = ("no, image", "503", "short")
    outcomes = [Outcome(*one) for one in zip(ids, (DONE, LATER, FAILED), reasons)]
    manifest.finish(0, outcomes, {}, keep=True)
    assert manifest.write_failures(tmp_path / "failures.csv") == 3
    assert (tmp_path / "failures.csv").read_text().splitlines() == [
        "object_id,outcome,reason",
        f'{ids[0]},written without image,"no, image"',
        f"{ids[1]},tried again by the next run,503",
        f"{ids[2]},left out,short",
    ]
