import errno
import json
import os
import resource
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy import units as u
from astropy.table import Table
from hypothesis import given, settings
from hypothesis import strategies as st

from pix2spec.core.filters import KINDS, Filter
from pix2spec.core.grid import SpectralGrid
from pix2spec.core.survey import SDSS
from pix2spec.data import dataset as module
from pix2spec.data.check import check_dataset
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


WAVE = np.linspace(4000, 6000, 21)
CURVES = {"NB500": Filter("NB500", WAVE, np.exp(-0.5 * ((WAVE - 5000) / 200) ** 2))}
MEASURED = replace(INFO, as_measured=True, curves=CURVES)
KNOWN = ("sdss2010-g", "sdss2010-r", "lsst2023-y", "wise2010-W1", "NB500")


def measured(i, photometry, **changes):
    """A galaxy with photometry by filter, otherwise as `galaxy`."""
    changes = {"photometry_ivar": None, "filters": CURVES, "photometry": photometry} | changes
    return galaxy(i, **changes)


def assert_same_measurements(a, b):
    assert_same(a, b)
    assert (a.filters, a.kind, a.extinction, a.flags) == (b.filters, b.kind, b.extinction, b.flags)


@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_measurements_in_any_filters_come_back(tmp_path_factory, data):
    number = st.floats(2**-10, 1e5, width=32)
    states = st.one_of(st.sampled_from(["observed", "dereddened", "unknown"]), st.floats(0, 5))
    galaxies = []
    for i in range(data.draw(st.integers(1, 5))):
        names = data.draw(st.lists(st.sampled_from(KNOWN), min_size=1, unique=True))
        photometry = {name: (data.draw(number) * u.nmgy, data.draw(number) * u.nmgy) for name in names}
        kinds = tuple(data.draw(st.lists(st.sampled_from(KINDS), min_size=len(names), max_size=len(names))))
        galaxies.append(measured(i, photometry, kind=kinds, extinction=data.draw(states)))
    folder = tmp_path_factory.mktemp("measured")
    write_dataset(folder, galaxies, MEASURED, shard_size=2)
    data = Dataset(folder)
    assert data.info == MEASURED and data.info.schema_version == 2
    for read, written in zip(data, galaxies, strict=True):
        assert (read.filters, read.kind) == (written.filters, written.kind)
        assert read.extinction == written.extinction
        np.testing.assert_array_equal(read.photometry, written.photometry)
        np.testing.assert_allclose(read.photometry_ivar, written.photometry_ivar, rtol=1e-6)
        assert read.curves is data.info.curves and read.measurements().filters == written.filters


def test_measurements_of_all_kinds_of_galaxies_come_back(tmp_path):
    galaxies = [
        measured(0, {"r": (3.0, 0.5), "NB500": 2.0}, extinction=0.25),
        measured(1, {"wise2010-W1": (3.0, 0.5)}, kind="total", image=None),
        galaxy(2, photometry=None, photometry_ivar=None, filters=()),
        galaxy(3),
        galaxy(4, filters=(), photometry_ivar=np.array([1, 0, 1, np.nan, 4], np.float32)),
    ]
    write_dataset(tmp_path / "d", galaxies, MEASURED)
    data = Dataset(tmp_path / "d")
    for i in (0, 1):
        np.testing.assert_allclose(data[i].photometry_ivar, galaxies[i].photometry_ivar, rtol=1e-6)
        assert_same_measurements(replace(data[i], photometry_ivar=galaxies[i].photometry_ivar), galaxies[i])
    assert data[0].flags == ("error-assumed",) and data[1].kind == ("total",)
    assert data[2].photometry is None and data[2].filters == ()
    assert data[3].filters == SDSS.filters and data[3].kind == ("unknown",) * 5
    bands = [SDSS.filters[k] for k in (0, 2, 4)]
    assert data[4].filters == tuple(bands) and data[4].kind == ("fibre",) * 3
    np.testing.assert_array_equal(data[4].photometry, galaxies[4].photometry[[0, 2, 4]])
    assert check_dataset(tmp_path / "d").ok


def test_batches_of_measurements_are_in_the_bands_of_the_survey(tmp_path):
    two = Table({"filter": ["r", "r", "g"], "flux": [9.0, 3.0, 5.0], "error": [1.0, 0.5, 1.0]})
    two["kind"] = ["total", "fibre", "total"]
    galaxies = [measured(0, two), galaxy(1, photometry=None, photometry_ivar=None, filters=())]
    write_dataset(tmp_path / "d", galaxies, MEASURED)
    data = Dataset(tmp_path / "d")
    batch = data.batch([0, 1], ["photometry", "photometry_ivar"])
    assert set(batch) == {"photometry", "photometry_ivar"} and batch["photometry"].dtype == np.float32
    np.testing.assert_array_equal(batch["photometry"][0], [np.nan, 5, 3, np.nan, np.nan])
    np.testing.assert_array_equal(batch["photometry_ivar"], [[0, 1, 4, 0, 0], [0] * 5])
    assert data.batch([0], ["z"])["z"] == [0.1]
    whole = data.batch([0])
    assert whole["photometry"].shape == (1, 5) and whole["extinction"][0] == "unknown"
    np.testing.assert_array_equal(data.having("photometry"), [0])


def test_columns_of_bands_refuse_other_photometry(tmp_path):
    for i, wrong in enumerate(
        (
            measured(0, {"r": 3.0}),
            measured(0, {"r": 3.0, "NB500": 2.0}),
            galaxy(0, kind="total"),
            galaxy(0, filters=tuple(reversed(SDSS.filters))),
            galaxy(0, extinction="observed"),
            galaxy(0, extinction=0.1),
        )
    ):
        with pytest.raises(InputError, match=r"object-0: its photometry is not in the bands of sdss.*as_mea"):
            write_dataset(tmp_path / str(i), [wrong], INFO)
    with pytest.raises(InputError, match="filter 'NB500' is not among the dataset's curves"):
        write_dataset(tmp_path / "d", [measured(0, {"NB500": 2.0})], replace(MEASURED, curves={}))


def test_datasets_in_bands_are_as_before(tmp_path):
    """Their metadata and columns hold nothing new: earlier versions read them."""
    (path,) = write_dataset(tmp_path / "d", [galaxy(0)], INFO)
    schema = pq.read_schema(path)
    facts = json.loads(schema.metadata[b"pix2spec"])
    old = {"grid", "survey", "image_kind", "image_size", "truth", "provenance", "schema_version"}
    assert set(facts) == old and facts["schema_version"] == 1
    assert not {"filters", "kind", "extinction", "flags"} & set(schema.names)
    assert schema.field("photometry").type == pa.list_(pa.float32(), 5)
    read = Dataset(path)[0]
    assert (read.filters, read.kind, read.extinction) == (SDSS.filters, "fibre", "unknown")


@pytest.mark.parametrize(
    "damage, sentence",
    [
        ({"filters": [["sdss2010-r"]]}, "do not fit together"),
        ({"kind": [None]}, "do not fit together"),
        ({"photometry_ivar": [[0.0, 1.0]]}, "do not fit together"),
        ({"photometry_ivar": [[None, 1.0]]}, "do not fit together"),
        ({"filters": [["sdss2010-r", "../../etc/passwd"]]}, "its filter '../../etc/passwd'"),
        ({"filters": [["sdss2010-r", None]]}, "its filter 'None'"),
        ({"filters": [["sdss2010-r", "wise2010-W3"]]}, "templates end at 5.5 um"),
        ({"kind": [["fibre", "isophotal"]]}, "'isophotal' is unknown"),
        ({"extinction": ["much"]}, "extinction: 'much' is unknown"),
        ({"extinction": [None]}, "extinction: None is unknown"),
    ],
)
def test_damaged_measurements_name_the_object(tmp_path, damage, sentence):
    (path,) = write_dataset(tmp_path / "d", [measured(0, {"r": (3.0, 1.0), "NB500": (2.0, 1.0)})], MEASURED)
    table = pq.read_table(path)
    for name, values in damage.items():
        column = pa.array(values, table.schema.field(name).type)
        table = table.set_column(table.schema.get_field_index(name), table.schema.field(name), column)
    pq.write_table(table, path)
    with pytest.raises(InputError, match=f"object-0: .*{sentence}"):
        Dataset(path)[0]
    report = check_dataset(path)
    assert not report.ok and sentence.split("'")[0] in str(report.problems)


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
