import io

import numpy as np
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from pix2spec.core.grid import SpectralGrid
from pix2spec.core.survey import SDSS
from pix2spec.data.check import check_dataset
from pix2spec.data.dataset import write_dataset
from pix2spec.data.schema import DatasetInfo, Galaxy
from pix2spec.errors import InputError

INFO = DatasetInfo(grid=SpectralGrid(3.6, 1e-4, 20), image_size=8)


def galaxy(i=0, **changes):
    rng = np.random.default_rng(i)
    values = {
        "object_id": f"object-{i}",
        "ra": 10.0,
        "dec": 1.0,
        "z": 0.1,
        "spec_class": "GALAXY",
        "image": rng.normal(size=(3, 8, 8)).astype(np.float32),
        "photometry": np.full(5, 10, np.float32),
        "photometry_ivar": np.ones(5, np.float32),
        "flux": rng.normal(5, 1, 20).astype(np.float32),
        "ivar": np.ones(20, np.float32),
    }
    return Galaxy(**(values | changes))


def check(folder, galaxies, info=INFO, **options):
    write_dataset(folder, galaxies, info, **options)
    return check_dataset(folder)


def spoiled(name, value, place=0):
    array = getattr(galaxy(), name).copy()
    array.ravel()[place] = value
    return {name: array}


def text_of(report):
    console = Console(width=80, file=io.StringIO())
    report.print(console)
    return console.file.getvalue()


def test_good_dataset(tmp_path):
    report = check(tmp_path, [galaxy(i) for i in range(300)], shard_size=100)
    assert report.ok and report.problems == []
    assert report.summary["pairs"] == 300 and report.summary["shards"] == 3
    assert sum(report.summary["splits"].values()) == 300
    assert report.summary["classes"] == {"GALAXY": 300}
    assert len(report.values["S/N per pixel"]) == 300
    assert np.median(report.values["r magnitude"]) == pytest.approx(20)
    text = text_of(report)
    assert "no problems found" in text and "█" in text and "redshift" in text
    assert max(map(len, text.splitlines())) <= 80


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (spoiled("flux", np.nan), "flux is NaN or infinite where ivar > 0"),
        (spoiled("flux", np.inf), "flux is NaN or infinite"),
        (spoiled("ivar", -1), "ivar is negative"),
        (spoiled("ivar", np.nan), "ivar is negative, NaN"),
        ({"ivar": np.zeros(20)}, "no valid pixel"),
        ({"ivar": None}, "flux without ivar"),
        (spoiled("image", np.nan), "image has NaN"),
        ({"image": np.zeros((3, 8, 8))}, "image is constant"),
        (spoiled("photometry", np.nan), "photometry is not finite"),
        (spoiled("photometry_ivar", -1), "photometry_ivar is negative"),
        ({"photometry_ivar": np.zeros(5)}, "no usable band"),
        ({"photometry_ivar": None, "filters": SDSS.filters}, "no usable band"),
        (spoiled("photometry", 1e12), "brighter than magnitude 0"),
        ({"ra": 400.0}, "not a position"),
        ({"dec": np.nan}, "not a position"),
        ({"z": -3.0}, "z is below"),
        ({"image": None, "photometry": None, "flux": None, "ivar": None}, "neither image"),
        ({"object_id": "object-5"}, "more than once"),
        ({"object_id": "", "group_id": "g"}, "is empty"),
    ],
)
def test_each_problem_is_named_with_its_object(tmp_path, changes, says):
    spoilt = galaxy(1, **changes)
    report = check(tmp_path, [galaxy(5), spoilt])
    assert not report.ok
    assert any(says in problem for problem in report.problems)
    assert all(problem.startswith(spoilt.object_id or "(no object_id)") for problem in report.problems)
    assert "problem" in text_of(report)


@pytest.mark.parametrize(
    "changes",
    [
        {"image": None},
        {"photometry": None, "photometry_ivar": None},
        {"flux": None, "ivar": None},
        {"ra": np.nan, "dec": np.nan, "z": np.nan},
        spoiled("flux", np.nan) | spoiled("ivar", 0),
        spoiled("photometry", np.nan) | spoiled("photometry_ivar", 0),
    ],
)
def test_missing_values_are_no_problem(tmp_path, changes):
    report = check(tmp_path, [galaxy(0, **changes), galaxy(1)])
    assert report.ok, report.problems
    assert text_of(report)


def test_nothing_but_nulls_prints(tmp_path):
    empty = dict.fromkeys(("image", "photometry", "photometry_ivar", "flux", "ivar"))
    report = check(tmp_path, [galaxy(0, **empty, z=np.nan)])
    assert report.n_problems == 1 and text_of(report)


def test_composites_stay_within_8_bits(tmp_path):
    info = DatasetInfo(grid=INFO.grid, image_size=8, image_kind="composite")
    report = check(tmp_path, [galaxy(0, image=np.linspace(0, 256, 192).reshape(3, 8, 8))], info)
    assert "values outside 0 to 255" in report.problems[0]


def test_an_object_in_two_splits(tmp_path):
    report = check(tmp_path, [galaxy(0, group_id="galaxy-0"), galaxy(0, group_id="galaxy-1")])
    assert any("two splits" in problem for problem in report.problems)


def test_damaged_shards_and_leftovers_are_named(tmp_path):
    paths = write_dataset(tmp_path, (galaxy(i) for i in range(60)), INFO, shard_size=20)
    paths[0].write_bytes(paths[0].read_bytes()[:-50])
    raw = bytearray(paths[1].read_bytes())
    raw[200:4000] = bytes(3800)
    paths[1].write_bytes(raw)
    (tmp_path / "pairs-00003.parquet.partial").write_bytes(b"half")
    report = check_dataset(tmp_path)
    names = "\n".join(report.problems)
    assert "pairs-00000.parquet: the shard is truncated" in names
    assert "pairs-00001.parquet: it is damaged" in names
    assert "pairs-00003.parquet.partial: an interrupted run left this file" in names
    assert report.summary["pairs"] >= 20 and report.n_problems == 3


def test_foreign_and_mixed_shards(tmp_path):
    (path,) = write_dataset(tmp_path, [galaxy(0)], INFO)
    pq.write_table(pq.read_table(path).replace_schema_metadata(None), tmp_path / "x.parquet")
    pq.write_table(pq.read_table(path).drop_columns(["flux"]), tmp_path / "y.parquet")
    other = DatasetInfo(grid=SpectralGrid(3.7, 1e-4, 20), image_size=8)
    (moved,) = write_dataset(tmp_path / "other", [galaxy(1)], other)
    moved.rename(tmp_path / "z.parquet")
    problems = "\n".join(check_dataset(tmp_path).problems)
    assert "x.parquet: it is Parquet, but not a pix2spec dataset" in problems
    assert "y.parquet: its columns are not those" in problems
    assert "z.parquet: its columns, grid or survey differ" in problems


def test_many_problems_are_counted_not_listed(tmp_path):
    write_dataset(tmp_path, (galaxy(i, z=-5.0) for i in range(30)), INFO)
    report = check_dataset(tmp_path, max_problems=10)
    assert (len(report.problems), report.n_problems) == (10, 30)
    assert "and 20 more" in text_of(report)


def test_no_dataset(tmp_path):
    for path in (tmp_path, tmp_path / "none"):
        with pytest.raises(InputError):
            check_dataset(path)
