import errno
import os
import resource
import subprocess
import sys
import time

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pix2spec.core.grid import SpectralGrid
from pix2spec.core.survey import SDSS
from pix2spec.data import dataset as module
from pix2spec.data.dataset import Dataset, split_of, write_dataset
from pix2spec.data.schema import DatasetInfo, Galaxy
from pix2spec.errors import InputError

INFO = DatasetInfo(grid=SpectralGrid(3.6, 1e-4, 20), image_size=8, truth={"true_z": 0, "true_sed": 3})


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("PIX2SPEC_CACHE", str(tmp_path / "cache"))


def galaxy(i, seed=0, **changes):
    rng = np.random.default_rng((seed, i))
    values = {
        "object_id": f"object-{i}",
        "group_id": f"group-{i // 2}",
        "ra": 10.0 + i,
        "dec": -1.0,
        "z": 0.1,
        "z_err": 0.01,
        "spec_class": "GALAXY",
        "image": rng.normal(size=(3, 8, 8)).astype(np.float32),
        "photometry": rng.normal(size=5).astype(np.float32),
        "photometry_ivar": np.ones(5, np.float32),
        "filters": SDSS.filters,
        "flux": rng.normal(size=20).astype(np.float32),
        "ivar": np.ones(20, np.float32),
        "mask": rng.integers(0, 9, 20).astype(np.int32),
        "truth": {"true_z": 0.1 * i, "true_sed": np.arange(3, dtype=np.float32) + i},
    }
    return Galaxy(**(values | changes))


def assert_same(a, b):
    for name in ("object_id", "group_id", "spec_class"):
        assert getattr(a, name) == getattr(b, name)
    for name in ("ra", "dec", "z", "z_err"):
        np.testing.assert_equal(getattr(a, name), getattr(b, name))
    for name in ("image", "photometry", "photometry_ivar", "flux", "ivar", "mask"):
        x, y = getattr(a, name), getattr(b, name)
        assert (x is None) == (y is None), name
        if x is not None:
            np.testing.assert_array_equal(x, y)
            assert x.dtype == y.dtype and x.shape == y.shape
    assert a.truth.keys() == b.truth.keys()
    for name in a.truth:
        np.testing.assert_array_equal(a.truth[name], b.truth[name])


def test_round_trip_over_shards(tmp_path):
    galaxies = [galaxy(i) for i in range(7)]
    paths = write_dataset(tmp_path / "d", galaxies, INFO, shard_size=3)
    assert [p.name for p in paths] == ["pairs-00000.parquet", "pairs-00001.parquet", "pairs-00002.parquet"]
    data = Dataset(tmp_path / "d")
    assert len(data) == 7 and data.info == INFO
    for read, written in zip(data, galaxies):
        assert_same(read, written)
    assert_same(data[-1], galaxies[-1])
    with pytest.raises(IndexError):
        data[7]
    assert len(Dataset(paths[0])) == 3


arrays = {
    "image": (3, 8, 8),
    "photometry": 5,
    "photometry_ivar": 5,
    "flux": 20,
    "ivar": 20,
    "mask": 20,
}


@st.composite
def any_pair(draw, i):
    changes = {name: None for name in arrays if draw(st.booleans())}
    number = st.floats(width=32)
    if "flux" not in changes:
        changes["flux"] = np.array(draw(st.lists(number, min_size=20, max_size=20)), np.float32)
    changes |= {n: draw(st.floats()) for n in ("ra", "z")}
    text = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
    changes |= {"spec_class": draw(text), "group_id": draw(text)}
    return galaxy(i, **changes)


@settings(max_examples=20, deadline=None)
@given(data=st.data(), shard_size=st.integers(1, 5))
def test_whatever_is_written_comes_back(tmp_path_factory, data, shard_size):
    folder = tmp_path_factory.mktemp("any")
    galaxies = [data.draw(any_pair(i)) for i in range(data.draw(st.integers(1, 6)))]
    write_dataset(folder, galaxies, INFO, shard_size)
    for read, written in zip(Dataset(folder), galaxies, strict=True):
        assert_same(read, written)


def test_null_values_in_a_batch(tmp_path):
    empty = dict.fromkeys(arrays)
    write_dataset(tmp_path / "d", [galaxy(0), galaxy(1, **empty), galaxy(2)], INFO)
    batch = Dataset(tmp_path / "d").batch([0, 1])
    assert batch["image"].shape == (2, 3, 8, 8) and np.isnan(batch["image"][1]).all()
    assert np.isnan(batch["flux"][1]).all() and not batch["ivar"][1].any() and not batch["mask"][1].any()
    np.testing.assert_array_equal(batch["flux"][0], galaxy(0).flux)
    assert batch["mask"].dtype == np.int32


def test_all_null_images_and_chosen_columns(tmp_path):
    write_dataset(tmp_path / "d", [galaxy(i, image=None) for i in range(3)], INFO)
    data = Dataset(tmp_path / "d")
    batch = data.batch(np.arange(3), ["image", "z"])
    assert set(batch) == {"image", "z"} and np.isnan(batch["image"]).all()
    assert data[0].image is None
    assert data.batch([], ["flux"])["flux"].shape == (0, 20)


def test_splits_are_pure_and_follow_the_group(tmp_path):
    write_dataset(tmp_path / "d", (galaxy(i) for i in range(400)), INFO)
    parts = {name: Dataset(tmp_path / "d", name) for name in ("train", "val", "test")}
    assert sum(map(len, parts.values())) == 400
    groups = {name: {p.group_id for p in part} for name, part in parts.items()}
    assert not groups["train"] & groups["test"] and not groups["train"] & groups["val"]
    for name, members in groups.items():
        assert {split_of(g) for g in members} <= {name}
    with pytest.raises(InputError, match="'validation' is not train, val or test"):
        Dataset(tmp_path / "d", "validation")


def test_split_fractions_and_stability():
    splits = [split_of(f"{1237648720000000000 + 7 * i}") for i in range(20000)]
    assert abs(splits.count("train") / 20000 - 0.9) < 0.01
    assert abs(splits.count("val") / 20000 - 0.05) < 0.006
    # known values: a change would leak test objects of trained models
    known = {"galaxy-0": "val", "galaxy-1": "train", "galaxy-2": "test"}
    assert {group: split_of(group) for group in known} == known


def test_data_are_never_overwritten(tmp_path):
    write_dataset(tmp_path / "d", [galaxy(0)], INFO)
    with pytest.raises(InputError, match="already holds a dataset"):
        write_dataset(tmp_path / "d", [galaxy(1)], INFO)
    assert len(Dataset(tmp_path / "d")) == 1


def test_wrong_lengths_name_the_object(tmp_path):
    with pytest.raises(InputError, match=r"object-1: its flux has 19 values, the dataset needs 20"):
        write_dataset(tmp_path / "d", [galaxy(0), galaxy(1, flux=np.zeros(19))], INFO)
    assert not list((tmp_path / "d").glob("*"))


def test_full_disk_leaves_no_half_shard(tmp_path, monkeypatch):
    real, calls = pq.write_table, []

    def full(table, where, **options):
        calls.append(where)
        if len(calls) == 2:
            where.write_bytes(b"PAR1 half")
            raise OSError(errno.ENOSPC, "Error writing bytes to file")
        real(table, where, **options)

    monkeypatch.setattr(module.pq, "write_table", full)
    with pytest.raises(OSError, match=r"No space left on device.*pairs-00001\.parquet") as error:
        write_dataset(tmp_path / "d", (galaxy(i) for i in range(4)), INFO, shard_size=2)
    assert error.value.errno == errno.ENOSPC
    assert [p.name for p in (tmp_path / "d").iterdir()] == ["pairs-00000.parquet"]
    assert len(Dataset(tmp_path / "d")) == 2


def test_a_real_limit_of_file_size(tmp_path):
    code = f"""
import resource, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (20000, resource.RLIM_INFINITY))
sys.path[:0] = {sys.path!r}
sys.path.insert(0, {os.path.dirname(__file__)!r})
from test_dataset import INFO, galaxy, write_dataset
try:
    write_dataset({str(tmp_path / "d")!r}, (galaxy(i) for i in range(400)), INFO)
except OSError as error:
    print(type(error).__name__, error)
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "File too large" in ran.stdout and "pairs-00000.parquet" in ran.stdout, ran.stdout + ran.stderr
    assert not list((tmp_path / "d").iterdir())
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY


def test_interruption_leaves_no_half_shard(tmp_path, monkeypatch):
    def interrupted(table, where, **options):
        where.write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(module.pq, "write_table", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_dataset(tmp_path / "d", [galaxy(0)], INFO)
    assert not list((tmp_path / "d").iterdir())


def test_partial_files_are_never_read(tmp_path):
    write_dataset(tmp_path / "d", [galaxy(0)], INFO)
    (tmp_path / "d" / "pairs-00001.parquet.partial").write_bytes(b"half")
    assert len(Dataset(tmp_path / "d")) == 1


def test_broken_and_foreign_shards_are_named(tmp_path):
    with pytest.raises(InputError, match="no Parquet shards"):
        Dataset(tmp_path / "nowhere")
    paths = write_dataset(tmp_path / "d", (galaxy(i) for i in range(4)), INFO, shard_size=2)
    whole = paths[1].read_bytes()
    for broken in (whole[:-100], b"", b"<html>", whole[:100]):
        paths[1].write_bytes(broken)
        with pytest.raises(InputError, match=r"pairs-00001\.parquet: the shard is truncated"):
            Dataset(tmp_path / "d")
    pq.write_table(pa.table({"a": [1]}), paths[1])
    with pytest.raises(InputError, match=r"pairs-00001\.parquet: its columns differ"):
        Dataset(tmp_path / "d")
    with pytest.raises(InputError, match="not a pix2spec dataset"):
        Dataset(paths[1])


def test_damage_in_the_middle_of_a_shard_is_named(tmp_path):
    paths = write_dataset(tmp_path / "d", (galaxy(i) for i in range(40)), INFO, shard_size=20)
    raw = bytearray(paths[1].read_bytes())
    raw[100:4000] = bytes(3900)
    paths[1].write_bytes(raw)
    with pytest.raises(InputError, match=r"pairs-00001\.parquet: the shard is damaged"):
        Dataset(tmp_path / "d")


@pytest.mark.parametrize(
    "metadata", [b"{", b"[]", b"{}", b'{"schema_version": 1}', b'{"schema_version": 99}']
)
def test_damaged_metadata(tmp_path, metadata):
    table = pa.table({"object_id": ["a"]}).replace_schema_metadata({"pix2spec": metadata})
    pq.write_table(table, tmp_path / "x.parquet")
    with pytest.raises(InputError, match=r"x\.parquet: (its pix2spec metadata|schema version 99)"):
        Dataset(tmp_path / "x.parquet")


def test_shards_of_two_grids_do_not_mix(tmp_path):
    write_dataset(tmp_path / "a", [galaxy(0)], INFO)
    other = DatasetInfo(grid=SpectralGrid(3.7, 1e-4, 20), image_size=8, truth=INFO.truth)
    (path,) = write_dataset(tmp_path / "b", [galaxy(1)], other)
    path.rename(tmp_path / "a" / "pairs-00001.parquet")
    with pytest.raises(InputError, match="grid, survey or images differ"):
        Dataset(tmp_path / "a")


@pytest.mark.parametrize("keep_time", [False, True])
def test_a_new_dataset_of_the_same_name_is_not_read_stale(tmp_path, keep_time):
    for seed in range(3):
        (path,) = write_dataset(tmp_path / "d", [galaxy(i, seed) for i in range(3)], INFO)
        if keep_time:  # as rsync -t or tar may do
            os.utime(path, (1e9, 1e9))
        read = Dataset(tmp_path / "d")[1]
        assert_same(read, galaxy(1, seed))
        path.unlink()


def test_reading_is_silent(tmp_path):
    write_dataset(tmp_path / "d", [galaxy(0)], INFO)
    code = f"from pix2spec.data.dataset import Dataset; Dataset({str(tmp_path / 'd')!r})[0]"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (ran.stdout, ran.stderr, ran.returncode) == ("", "", 0)


def test_importing_is_light():
    code = "import sys, pix2spec.data.import_files, pix2spec.data.check; print(sorted(sys.modules))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    loaded = set(eval(ran.stdout))
    assert not {"datasets", "torch", "astropy.table", "astropy.io.fits", "PIL.Image", "scipy"} & loaded


def test_memory_stays_flat_while_writing(tmp_path):
    live, peak = [], []

    def galaxies():
        import weakref

        for i in range(300):
            p = galaxy(i)
            live.append(weakref.ref(p))
            peak.append(sum(ref() is not None for ref in live))
            yield p

    write_dataset(tmp_path / "d", galaxies(), INFO, shard_size=50)
    assert max(peak) <= 52


def test_getitem_is_quick(tmp_path):
    write_dataset(tmp_path / "d", (galaxy(i) for i in range(200)), INFO)
    data = Dataset(tmp_path / "d")
    start = time.perf_counter()
    for i in range(200):
        data[i]
    assert time.perf_counter() - start < 2  # measured: 0.03
