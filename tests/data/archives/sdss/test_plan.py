import numpy as np
import pytest

from pix2spec.data.archives.sdss.plan import DONE, FAILED, LATER, PENDING, Outcome, Plan
from pix2spec.errors import InputError
from pix2spec.runtime.resumable import Resumable
from support.fake_specobj import spec_row


@pytest.fixture
def job(tmp_path):
    return Resumable(tmp_path, {})


def planned(job, rows, size=4, whole=lambda run2d, count: False):
    plan = Plan(job)
    plan.add(rows, [])
    assert plan.cut(size, whole) == len(rows)
    return plan


def ids_of(plan, *units):
    return [entry.object_id for unit in units for entry in plan.entries(plan.units()[unit])]


def finish(plan, unit, *outcomes):
    """Finish a unit with its shard, if something was written; outcomes are (status, reason)."""
    rows = plan.units()[unit]
    told = [Outcome(entry.object_id, *one) for entry, one in zip(plan.entries(rows), outcomes)]
    if any(one.status == DONE for one in told):
        plan.shard(unit).touch()
    plan.finish(unit, rows, told)


def test_units_follow_plates_and_fields_and_rows_come_back_exactly(job):
    rows = [spec_row(plate, fiber, 11 + fiber % 2) for plate in (900, 266) for fiber in (3, 1, 2)]
    rows[2] = spec_row(900, 2, 11, z_err=np.pi * 1e-5, photometry=None, photometry_ivar=None)
    planned(job, rows)
    plan = Plan(job)  # as the next run finds it
    assert list(plan.units()) == [0, 1] and [len(unit) for unit in plan.units().values()] == [4, 2]
    assert ids_of(plan, 0, 1) == [f"{p:04d}-51602-000{f}" for p in (266, 900) for f in (2, 1, 3)]
    assert {entry.row for unit in plan.units().values() for entry in plan.entries(unit)} == set(rows)
    assert [entry.row.fiber for entry in plan.entries(np.array([5, 0, 4]))] == [3, 2, 1]


def test_a_page_twice_is_a_page_once(job):
    plan = Plan(job)
    assert plan.position() == (0, None) and not plan.begun
    bad = ("0266-51602-0009", "z = nan")
    plan.add([spec_row(fiber=1), spec_row(fiber=2)], [bad])
    assert plan.position() == (2, (266, 51602)) and plan.begun
    plan.add([spec_row(fiber=2), spec_row(fiber=3)], [bad])
    plan.add([], [bad])
    assert Plan(job).position() == (4, (266, 51602)) and not plan.selected
    assert plan.cut(4, lambda *_: False) == 3 and Plan(job).selected
    assert plan.counts()[PENDING] == 3
    assert list(Plan(job).failures()) == [("0266-51602-0009", FAILED, "z = nan")]


def test_a_selection_that_holds_nothing_is_no_selection(job):
    plan = Plan(job)
    plan.add([], [])
    assert plan.cut(4, lambda *_: False) == 0 and not plan.selected


def test_a_kill_before_the_pages_go_costs_nothing(job):
    plan = Plan(job)
    plan.add([spec_row(fiber=1)], [])
    (page,) = (job.folder / "build").glob("page-*")
    kept = page.read_bytes()
    plan.cut(4, lambda *_: False)
    assert not page.exists()
    page.write_bytes(kept)
    assert Plan(job).counts()[PENDING] == 1 and not page.exists()


def test_repeats_share_a_group_by_id_or_position(job):
    first, again = spec_row(fiber=1), spec_row(plate=300, fiber=7)
    near = spec_row(fiber=2, ra=first.ra + 1 / 3600, bestobjid=0)
    again = spec_row(plate=300, fiber=7, bestobjid=first.bestobjid, ra=10.0)
    alone = spec_row(fiber=4, bestobjid=0)
    plan = planned(job, [first, near, again, alone], size=9)
    groups = {e.object_id: e.group_id for e in plan.entries(plan.units()[0])}
    assert {groups[r.object_id] for r in (first, near, again)} == {str(first.bestobjid)}
    assert groups[alone.object_id] == alone.object_id


def test_whole_plates_are_chosen_by_plate(job):
    rows = [spec_row(266, f) for f in range(1, 5)] + [spec_row(900, 1)]
    plan = planned(job, rows, 9, lambda run2d, count: run2d == "26" and count > 2)
    assert {e.row.plate: e.whole for e in plan.entries(plan.units()[0])} == {266: True, 900: False}
    assert plan.left.sum() == 5 and (plan.left & ~plan.whole).sum() == 1 and len(plan.units()) == 1
    assert {plan.plates[i] for i in plan.plate[plan.whole]} == {"26/266/51602"}
    assert plan.fields == ["301/752/1/11"] and set(plan.field) == {0}


def test_what_failed_for_now_is_tried_again_in_units_at_the_end(job):
    plan = planned(job, [spec_row(fiber=f) for f in range(1, 7)])
    ids = ids_of(plan, 0)
    finish(plan, 0, (DONE,), (LATER, "why"), (FAILED, "why"), (LATER, "why"))
    assert plan.counts() == [2, 1, 1, 2]  # PENDING, DONE, FAILED, LATER
    plan = Plan(job)
    assert plan.counts() == [2, 1, 1, 2] and list(plan.units()) == [1, 2]
    assert ids_of(plan, 2) == [ids[1], ids[3]]
    finish(plan, 2, (LATER, "still"), (DONE,))  # of two units under way, the second is done first
    plan = Plan(job)
    assert list(plan.units()) == [1, 3] and ids_of(plan, 3) == [ids[1]]
    assert list(plan.failures()) == [(ids[2], FAILED, "why"), (ids[1], LATER, "still")]
    finish(plan, 1, (DONE,), (DONE,))
    finish(plan, 3, (DONE,))
    assert Plan(job).units() == {} and Plan(job).counts() == [0, 5, 1, 0]


def test_awaited_is_what_an_object_shares_with_others_that_are_left(job):
    plan = planned(job, [spec_row(fiber=f, field=11) for f in (1, 2, 3)], size=2)
    plan.finish(0, np.arange(2), [Outcome("a", FAILED, "404"), Outcome("b", LATER, "503")])
    own, plate, field = plan.awaited(np.arange(2))
    assert own.tolist() == [False, True] and plate.all() and field.all()  # for unit 1, and the retry
    plan.finish(1, np.array([2]), [Outcome("c", FAILED, "404")])
    assert all(one.all() for one in plan.awaited(np.array([1])))
    plan.finish(2, np.array([1]), [Outcome("b", FAILED, "404")])
    assert not any(one.any() for one in plan.awaited(np.arange(3)))
    assert plan.last_done().tolist() == [1]


def test_a_failed_step_leaves_nothing_behind(job):
    plan = planned(job, [spec_row(fiber=f) for f in (1, 2)])
    with pytest.raises(TypeError):
        finish(plan, 0, (DONE,), (None,))
    assert plan.counts()[PENDING] == 2 and list(plan.units()) == [0]
    assert Plan(job).counts()[PENDING] == 2


def test_what_a_kill_left_is_cleaned_away(job):
    plan = planned(job, [spec_row(fiber=f) for f in range(1, 9)])
    finish(plan, 1, (DONE,), (DONE,), (DONE,), (DONE,))
    plan.shard(0).touch()  # no outcome yet
    plan.shard(7).with_name("pairs-00007.parquet.partial").touch()
    (job.folder / "build" / "unit-00000.parquet.partial").touch()
    Plan(job).clean()
    assert sorted(p.name for p in job.folder.iterdir()) == ["build", "pairs-00001.parquet"]
    assert sorted(p.name for p in (job.folder / "build").iterdir()) == [
        "selection.parquet",
        "unit-00001.parquet",
    ]
    assert list(Plan(job).units()) == [0]


def test_a_shard_that_was_deleted_is_made_again(job):
    plan = planned(job, [spec_row(fiber=f) for f in range(1, 9)])
    finish(plan, 0, (DONE,), (FAILED, "404"), (DONE,), (DONE,))
    finish(plan, 1, *[(FAILED, "404")] * 4)  # no shard, and none is missed
    plan.shard(0).unlink()
    assert list(Plan(job).units()) == [0] and Plan(job).counts() == [4, 0, 4, 0]


@pytest.mark.parametrize("name", ["selection", "unit-00000"])
def test_damaged_files_are_named(job, name):
    finish(planned(job, [spec_row(fiber=f) for f in (1, 2)]), 0, (DONE,), (FAILED, "404"))
    path = job.folder / "build" / f"{name}.parquet"
    whole = path.read_bytes()
    for damaged in (b"", whole[: len(whole) // 2], np.random.default_rng(0).bytes(4096)):
        path.write_bytes(damaged)
        with pytest.raises(InputError, match=rf"{name}.parquet: it is damaged"):
            Plan(job)


def test_outcomes_of_another_selection_are_refused(job, tmp_path):
    finish(planned(job, [spec_row(fiber=f) for f in (1, 2)]), 0, (DONE,), (FAILED, "404"))
    other = Resumable(tmp_path / "other", {})
    other.folder.mkdir()
    planned(other, [spec_row(fiber=1)])
    (job.folder / "build" / "unit-00000.parquet").rename(other.folder / "build" / "unit-00000.parquet")
    (other.folder / "pairs-00000.parquet").touch()
    with pytest.raises(InputError, match="it is not of this selection"):
        Plan(other)


def test_failures_are_listed(job, tmp_path):
    plan = planned(job, [spec_row(fiber=f) for f in (1, 2, 3)])
    ids = ids_of(plan, 0)
    finish(plan, 0, (DONE, "no, image"), (LATER, "503"), (FAILED, "short"))
    plan.write_failures(tmp_path / "failures.csv")
    assert (tmp_path / "failures.csv").read_text().splitlines() == [
        "object_id,outcome,reason",
        f'{ids[0]},written without image,"no, image"',
        f"{ids[1]},tried again by the next run,503",
        f"{ids[2]},left out,short",
    ]
