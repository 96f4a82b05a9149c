"""Copies of shards in the cache: order of rows, several processes, kills, memory, damaged copies."""

import pickle
import signal
import subprocess
import sys
import time

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pix2spec.core.grid import SpectralGrid
from pix2spec.data import row_cache
from pix2spec.data.dataset import Dataset, write_dataset
from pix2spec.data.schema import DatasetInfo, Galaxy
from pix2spec.errors import InputError

INFO = DatasetInfo(grid=SpectralGrid(3.6, 1e-4, 1000), image_kind=None)
OPEN = "import sys; from pix2spec.data.dataset import Dataset; print(len(Dataset(sys.argv[1])))"


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("PIX2SPEC_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "rows"


def write(folder, n, shard_size=1000):
    flux = np.random.default_rng(0).normal(size=(n, 1000)).astype(np.float32)
    write_dataset(folder, (Galaxy(str(i), flux=flux[i]) for i in range(n)), INFO, shard_size)
    return flux


@pytest.fixture
def small_batches(monkeypatch):
    monkeypatch.setattr(row_cache, "ROWS_PER_BATCH", 4)


@given(st.lists(st.integers(-23, 22), max_size=40))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_rows_come_in_the_order_that_is_asked_for(small_batches, tmp_path, index):
    folder = tmp_path / "d"
    flux = np.stack([g.flux for g in Dataset(folder)]) if folder.exists() else write(folder, 23, 10)
    batch = Dataset(folder).batch(np.array(index, int), ["flux", "object_id"])
    np.testing.assert_array_equal(batch["flux"], flux[np.array(index, int)])
    assert batch["object_id"].tolist() == [str(i % 23) for i in index]


def test_a_dataset_without_rows(tmp_path):
    from pix2spec.data.dataset import write_shard

    write_shard(tmp_path / "pairs-00000.parquet", [], INFO)
    data = Dataset(tmp_path, "train")
    assert len(data) == 0 and len(data.having("flux")) == 0 and data.batch([], ["flux"])["flux"].size == 0


def test_spectra_stay_on_disk_and_are_not_sent_to_other_processes(tmp_path):
    write(tmp_path / "d", 3000)
    Dataset(tmp_path / "d")
    before = pa.total_allocated_bytes()
    data = Dataset(tmp_path / "d")
    assert pa.total_allocated_bytes() - before < 100_000  # 12 MB of spectra
    sent = pickle.dumps(data)
    assert len(sent) < 100_000
    np.testing.assert_array_equal(pickle.loads(sent)[2999].flux, data[2999].flux)


def test_a_shard_is_copied_once_and_one_that_changed_again(tmp_path, cache):
    write(tmp_path / "d", 6, shard_size=3)
    Dataset(tmp_path / "d")
    first = {path: path.stat().st_mtime_ns for path in cache.glob("*.arrow")}
    Dataset(tmp_path / "d", "val")
    assert len(first) == 2 and first == {p: p.stat().st_mtime_ns for p in cache.glob("*.arrow")}
    (tmp_path / "d" / "pairs-00001.parquet").touch()
    Dataset(tmp_path / "d")
    assert len(list(cache.glob("*.arrow"))) == 3


def test_columns_without_values_take_no_room(tmp_path, cache):
    """Of two shards one has no spectra; there, a column is None in galaxies, and NaN or 0 in arrays."""
    flux = np.arange(1000, dtype=np.float32)
    galaxies = [Galaxy(f"a{i}") for i in range(500)] + [Galaxy("b0", flux=flux, ivar=flux + 1), Galaxy("b1")]
    write_dataset(tmp_path / "d", galaxies, INFO, 500)
    data = Dataset(tmp_path / "d")
    sizes = sorted(path.stat().st_size for path in cache.glob("*.arrow"))
    assert len(sizes) == 2 and sum(sizes) < 200_000  # 500 spectra would take 2 MB
    assert data.having("flux").tolist() == [500] and not len(data.having("flux", "image"))
    assert data[3].flux is None and data[501].flux is None and data[500].image is None
    np.testing.assert_array_equal(data[500].flux, flux)
    batch = data.batch([0, 500, 501], ["ivar", "flux", "mask"])
    assert np.isnan(batch["flux"][[0, 2]]).all() and not batch["ivar"][[0, 2]].any()
    np.testing.assert_array_equal(batch["ivar"][1], flux + 1)
    assert len(data.rows.column("flux")) == 502


def test_copies_of_an_earlier_form_are_read(tmp_path, cache, monkeypatch):
    monkeypatch.setattr(row_cache, "FORMAT", row_cache.OLDER)
    monkeypatch.setattr(row_cache, "_empty_columns", lambda shard, schema: set())
    flux = write(tmp_path / "d", 3)
    Dataset(tmp_path / "d")
    monkeypatch.undo()
    monkeypatch.setenv("PIX2SPEC_CACHE", str(cache.parent))
    np.testing.assert_array_equal(Dataset(tmp_path / "d").batch([2], ["flux"])["flux"][0], flux[2])
    assert len(list(cache.glob("*.arrow"))) == 1


def test_processes_that_open_a_dataset_at_once_share_its_copies(tmp_path, cache):
    write(tmp_path / "d", 3000)
    command = [sys.executable, "-c", OPEN, str(tmp_path / "d")]
    several = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    assert [process.communicate()[0] for process in several] == ["3000\n"] * 3
    assert {p.suffix for p in cache.iterdir()} <= {".arrow", ".lock"}
    assert len(list(cache.glob("*.arrow"))) == 3


def test_a_process_that_is_killed_leaves_no_half_copy(tmp_path, cache):
    flux = write(tmp_path / "d", 3000)
    killed = False
    for _ in range(20):
        process = subprocess.Popen([sys.executable, "-c", OPEN, str(tmp_path / "d")])
        while process.poll() is None and not list(cache.glob("*.partial")):
            time.sleep(0.0005)
        process.send_signal(signal.SIGKILL)
        process.wait()
        killed = killed or bool(list(cache.glob("*.partial")))
        np.testing.assert_array_equal(Dataset(tmp_path / "d").batch(np.arange(3000), ["flux"])["flux"], flux)
        if killed:
            break
        for path in cache.glob("*.arrow"):
            path.unlink()
    assert killed


@pytest.mark.parametrize("damage", [lambda raw: raw[:-1000], lambda raw: b"", lambda raw: b"no"])
def test_a_damaged_copy_is_named(tmp_path, cache, damage):
    write(tmp_path / "d", 3)
    Dataset(tmp_path / "d")
    (copy,) = cache.glob("*.arrow")
    copy.write_bytes(damage(copy.read_bytes()))
    with pytest.raises(InputError, match=rf"{copy.name}: this copy of a shard is damaged.*delete it"):
        Dataset(tmp_path / "d")
    copy.unlink()
    assert len(Dataset(tmp_path / "d")) == 3


def test_a_cache_that_cannot_be_written_is_named(tmp_path, monkeypatch):
    write(tmp_path / "d", 3)
    (tmp_path / "file").touch()
    monkeypatch.setenv("PIX2SPEC_CACHE", str(tmp_path / "file"))
    with pytest.raises(OSError, match=r"cannot write to the cache .*PIX2SPEC_CACHE.*Not a directory.*arrow"):
        Dataset(tmp_path / "d")


def test_the_cache_folder_is_the_users(monkeypatch, tmp_path):
    assert row_cache.cache_folder() == tmp_path / "cache"
    monkeypatch.delenv("PIX2SPEC_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/x")
    assert str(row_cache.cache_folder()) == "/x/pix2spec"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/home/me")
    assert str(row_cache.cache_folder()) == "/home/me/.cache/pix2spec"
