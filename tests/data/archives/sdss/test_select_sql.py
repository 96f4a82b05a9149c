"""The selection of galaxies, from SQL on the loopback sky and from catalogue files made of the same sky."""

import json
import os
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import given
from hypothesis import strategies as st

from pix2spec.data.archives import skyserver
from pix2spec.data.archives.sdss import select_catalogue as specobj
from pix2spec.data.archives.sdss import select_sql as query
from pix2spec.data.archives.sdss.select_catalogue import select_from_specobj
from pix2spec.data.archives.sdss.select_sql import decode_objid, photometry_near, plate_rank, select_by_sql
from pix2spec.data.archives.skyserver import safe_where
from pix2spec.data.archives.urls import Services
from pix2spec.errors import InputError
from support.fake_specobj import write_catalogue, write_photometry
from support.loopback.server import serve
from support.loopback.sky import Sky

GALAXIES = 90


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch):
    monkeypatch.setattr(skyserver, "SPACING", 0.0)
    monkeypatch.setattr(skyserver, "BACKOFF", 0.0)


@pytest.fixture(scope="module")
def server():
    with serve(Sky(objects=GALAXIES, fibres=20, per_frame=10, distinct=128), retry_after=0) as server:
        yield server


@pytest.fixture(scope="module")
def facts(server):
    return [server.skyserver.facts(target) for target in server.sky.all_targets()]


@pytest.fixture
def services(server):
    return Services.at(server.url)


def wanted(facts):
    """The cut, in other words than the module's."""
    for fact in facts:
        covered = fact["waveMin"] < 10**3.59 and fact["waveMax"] > 10**3.9497
        if fact["class"] == "GALAXY" and not fact["zWarning"] and fact["sciencePrimary"] and covered:
            yield fact


def key(row):
    return row.plate, row.mjd, row.fiber


def test_the_selection_is_the_cut_and_nothing_else(services, facts):
    rows = list(select_by_sql(services, "dr17"))
    assert len(rows) == GALAXIES < len(facts)
    assert {key(row) for row in rows} == {(f["plate"], f["mjd"], f["fiberID"]) for f in wanted(facts)}
    by_key = {(f["plate"], f["mjd"], f["fiberID"]): f for f in facts}
    for row in rows:
        fact = by_key[key(row)]
        assert (row.ra, row.dec, row.z, row.run2d) == tuple(
            fact[name] for name in ("ra", "dec", "z", "run2d")
        )
        assert row.bestobjid == fact["bestObjID"]
        assert decode_objid(row.bestobjid) == (row.rerun, row.run, row.camcol, row.field)
        assert row.extinction == tuple(fact[f"extinction_{band}"] for band in "ugriz")
        assert len(row.photometry) == len(row.photometry_ivar) == 5 and min(row.photometry_ivar) > 0


def test_plates_are_whole_in_an_order_of_their_own(services):
    rows = list(select_by_sql(services, "dr17"))
    plates = list(dict.fromkeys((row.plate, row.mjd) for row in rows))
    assert len(plates) > 3 and plates == sorted(plates, key=lambda plate: plate_rank(*plate)) != sorted(
        plates
    )
    assert [key(row) for row in rows] == sorted(
        map(key, rows), key=lambda one: (plates.index(one[:2]), one[2])
    )


@pytest.mark.parametrize("n", [0, 1, 25, GALAXIES, 10 * GALAXIES])
def test_the_first_n_are_the_first_of_all(services, n):
    everything = list(select_by_sql(services, "dr17"))
    assert list(select_by_sql(services, "dr17", n=n)) == everything[:n]


def test_small_pages_give_the_same(services, server, monkeypatch):
    everything = list(select_by_sql(services, "dr17"))
    before = server.count("x_results")
    assert list(select_by_sql(services, "dr17", page=1)) == everything
    plates = {(row.plate, row.mjd) for row in everything}
    assert server.count("x_results") - before == 1 + len(plates)
    monkeypatch.setattr(query, "PLATES", 2)
    assert list(select_by_sql(services, "dr17")) == everything


def test_a_selection_goes_on_behind_a_plate(services):
    everything = list(select_by_sql(services, "dr17"))
    last = everything[0].plate, everything[0].mjd
    rest = [row for row in everything if (row.plate, row.mjd) != last]
    assert list(select_by_sql(services, "dr17", after=last)) == rest
    assert list(select_by_sql(services, "dr17", after=last, n=3)) == rest[:3]


def test_a_condition_of_the_user_narrows_the_cut(services):
    everything = list(select_by_sql(services, "dr17"))
    middle = float(np.median([row.z for row in everything]))
    some = list(select_by_sql(services, "dr17", where=f"s.z < {middle} OR s.z < 0"))
    assert some == [row for row in everything if row.z < middle] and some


@pytest.mark.parametrize(
    "where",
    [
        "s.z < 1; DROP TABLE x",
        "s.z < 1 -- rest",
        "s.z < 1 /* rest",
        "1 = 1) OR (1 = 1",
        "(s.z < 1",
        "s.class = 'GALAXY",
        "')' = '(' )",
        " ",
        "s.z < 1 OR " * 200,
    ],
)
def test_a_condition_that_is_more_than_one_is_refused(services, server, where):
    before = server.count("x_results")
    with pytest.raises(InputError, match="`where`"):
        list(select_by_sql(services, "dr17", where=where))
    assert server.count("x_results") == before


def test_conditions_with_brackets_in_quotes_are_allowed():
    assert safe_where("s.survey = ':)' AND\n (s.z < 1)") == "(s.survey = ':)' AND (s.z < 1))"


@given(st.text("()'ab= ", max_size=20))
def test_no_condition_leaves_its_parentheses(where):
    try:
        inside = safe_where(where)
    except InputError:
        return
    depth, quoted = 0, False
    for place, letter in enumerate(inside):
        quoted ^= letter == "'"
        depth += 0 if quoted else {"(": 1, ")": -1}.get(letter, 0)
        assert depth > 0 or place == len(inside) - 1
    assert depth == 0 and not quoted


def test_what_skyserver_says_about_a_wrong_query_reaches_the_user(services, server):
    before = server.count("x_results")
    with pytest.raises(InputError, match=r"no such column: s\.colour"):
        list(select_by_sql(services, "dr17", where="s.colour > 1"))
    assert server.count("x_results") == before + 1


@pytest.mark.parametrize("fault", ["503", "429", "500", "truncate", "html", "reset", "corrupt"])
def test_faults_on_the_way_are_passed_over(services, server, fault):
    everything = list(select_by_sql(services, "dr17"))
    server.faults.plan("x_results", fault, times=2)
    assert list(select_by_sql(services, "dr17", n=30)) == everything[:30]


def test_a_server_that_is_down_is_named(services, server):
    server.faults.plan("x_results", "503", times=6)
    with pytest.raises(InputError, match=r"skyserver \(dr17\): status 503 .*6 attempts.*later"):
        list(select_by_sql(services, "dr17"))
    with pytest.raises(InputError, match="no answer from the server: ConnectionError"):
        list(select_by_sql(Services.at("http://127.0.0.1:9"), "dr17"))


ASKED = {"plate": "int64", "z": "float64", "run2d": "str"}


def answering(monkeypatch, *texts, status=200):
    """Let the service answer these texts in turn, the last for ever."""
    texts = list(texts)

    def ask(*_):
        text = texts.pop(0) if len(texts) > 1 else texts[0]
        return SimpleNamespace(text=text, status_code=status, reason="", headers={})

    monkeypatch.setattr(skyserver, "_ask", ask)
    return lambda: skyserver.query(Services(), "dr17", "SELECT", ASKED)


def test_columns_are_found_in_any_case_and_order(monkeypatch):
    found = answering(monkeypatch, "#Table1\nRun2D,Z,PLATE,more\n26,0.5,266,x\nv5_13_2,,7000,y\n")()
    assert found["plate"].tolist() == [266, 7000] and found["run2d"].tolist() == ["26", "v5_13_2"]
    assert found["z"][0] == 0.5 and np.isnan(found["z"][1])
    assert list(found) == list(ASKED)


def test_an_answer_of_no_rows_is_one(monkeypatch):
    found = answering(monkeypatch, "#Table1\nplate,z,run2d\n")()
    assert [len(column) for column in found.values()] == [0, 0, 0]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("<html>busy</html>", "not a table"),
        ("", "not a table"),
        ("#Table1\nplate,z\n266,0.5\n", "lacks the column run2d"),
        ("#Table1\nplate,z,run2d\nabc,0.5,26\n", "abc"),
        ("#Table1\nplate,z,run2d\n266,0.5\n", "3 columns"),
        ("#Table1\nplate,z,run2d\n266.5,0.5,26\n", "266.5"),
    ],
)
def test_answers_of_the_wrong_form_are_asked_for_again_and_then_named(monkeypatch, text, told):
    good = "#Table1\nplate,z,run2d\n266,0.5,26\n"
    assert answering(monkeypatch, text, good)()["plate"].tolist() == [266]
    with pytest.raises(InputError, match=told):
        answering(monkeypatch, text)()


def test_queries_are_spaced(monkeypatch):
    from astroquery.sdss import SDSS

    slept = []
    monkeypatch.setattr(skyserver, "SPACING", 30.0)
    monkeypatch.setattr(skyserver.time, "sleep", slept.append)
    monkeypatch.setattr(SDSS, "query_sql_async", lambda *_, **__: None)
    for _ in range(2):
        skyserver._ask(Services(), "dr17", "SELECT 1", 1)
    assert 29 < slept[-1] <= 30


def test_a_message_of_a_busy_server_is_no_refusal():
    text = json.dumps({"error_message": "too many queries"})
    assert skyserver._complaint(text, 200) == "too many queries"
    assert skyserver._complaint(text, 429) == skyserver._complaint(text, 503) == ""


def test_rows_that_make_no_sense_are_told_and_left_out(services, monkeypatch):
    everything = list(select_by_sql(services, "dr17"))
    real = query.query

    def spoiled(*args, **kwargs):
        found = real(*args, **kwargs)
        if "ra" in found:
            for name, i, value in (("ra", 0, np.nan), ("camcol", 1, 9), ("z", 2, np.inf), ("plate", 3, -5)):
                found[name] = found[name].copy()
                found[name][i] = value
            found["run2d"] = np.array(["../../etc", *found["run2d"][1:]], object)
            found["fiberFlux_g"] = np.where(np.arange(len(found["ra"])) == 5, -9999.0, found["fiberFlux_g"])
        return found

    monkeypatch.setattr(query, "query", spoiled)
    told = []
    rows = list(select_by_sql(services, "dr17", rejected=lambda *reason: told.append(reason)))
    assert len(rows) == len(everything) - 4 and len(told) == 4
    assert sorted(reason.split()[0] for _, reason in told) == ["camcol", "plate", "ra", "z"]
    (missing,) = (row for row in rows if 0 in row.photometry_ivar)
    assert missing.photometry[1] == missing.photometry_ivar[1] == 0 and missing.photometry[0] != 0


def test_an_objid_is_taken_apart_as_pydl_puts_it_together():
    # sdss_objid(3704, 3, 91, 146) == 1237661382772195474 in pydl's documentation
    assert decode_objid(1237661382772195474) == (301, 3704, 3, 91)
    rerun, run, camcol, field = decode_objid(np.array([1237661382772195474]))
    assert (rerun[0], run[0], camcol[0], field[0]) == (301, 3704, 3, 91)


def test_the_nearest_object_of_a_position(services):
    row = next(select_by_sql(services, "dr17"))
    near = photometry_near(services, "dr17", row.ra, row.dec + 1 / 3600)
    assert near.objid == row.bestobjid and near.photometry == row.photometry
    assert near.extinction == row.extinction and (near.run, near.field) == (row.run, row.field)
    assert photometry_near(services, "dr17", (row.ra + 180) % 360, -80) is None
    with pytest.raises(InputError):
        photometry_near(services, "dr17", float("nan"), 0)


@pytest.fixture(scope="module")
def catalogue(tmp_path_factory, server, facts):
    folder = tmp_path_factory.mktemp("catalogue")
    mixed = [facts[i] for i in np.random.default_rng(1).permutation(len(facts))]
    return write_catalogue(folder / "specObj.fits", mixed), write_photometry(
        folder / "photo.fits", server, mixed
    )


@pytest.mark.parametrize("chunk", [7, 20_000])
def test_a_catalogue_gives_the_same_rows_in_the_same_order(services, catalogue, monkeypatch, chunk):
    monkeypatch.setattr(specobj, "CHUNK", chunk)
    by_sql = list(select_by_sql(services, "dr17"))
    rows = list(select_from_specobj(catalogue[0], photometry=catalogue[1]))
    assert [key(row) for row in rows] == [key(row) for row in by_sql]
    for row, other in zip(rows, by_sql):
        assert (row.ra, row.dec, row.run2d, row.bestobjid) == (
            other.ra,
            other.dec,
            other.run2d,
            other.bestobjid,
        )
        assert (row.run, row.camcol, row.field, row.rerun) == (
            other.run,
            other.camcol,
            other.field,
            other.rerun,
        )
        assert row.z == pytest.approx(other.z, rel=1e-6)
        for name in ("photometry", "photometry_ivar", "extinction"):
            assert getattr(row, name) == pytest.approx(getattr(other, name), rel=1e-6)
    assert list(select_from_specobj(catalogue[0], n=20, photometry=catalogue[1])) == rows[:20]
    last = rows[0].plate, rows[0].mjd
    rest = [row for row in rows if (row.plate, row.mjd) != last]
    assert list(select_from_specobj(catalogue[0], photometry=catalogue[1], after=last)) == rest


def test_without_photometry_there_is_none(catalogue):
    rows = list(select_from_specobj(catalogue[0]))
    assert len(rows) == GALAXIES and all(row.photometry is row.extinction is None for row in rows)


def test_other_forms_of_the_columns_are_read(tmp_path, facts, catalogue):
    other = {"BESTOBJID": ("K", "bestObjID"), "SPECPRIMARY": None, "SCIENCEPRIMARY": ("I", "sciencePrimary")}
    path = write_catalogue(tmp_path / "other.fits", facts, **other)
    assert list(select_from_specobj(path)) == list(select_from_specobj(catalogue[0]))


def test_rows_without_imaging_have_none(tmp_path, facts):
    path = write_catalogue(tmp_path / "bare.fits", [fact | {"bestObjID": 0} for fact in facts])
    row = next(select_from_specobj(path))
    assert (row.bestobjid, row.run, row.camcol, row.field, row.rerun) == (0, 0, 0, 0, 0)


def test_rows_of_a_catalogue_that_make_no_sense_are_told(tmp_path, facts):
    chosen = list(wanted(facts))
    spoiled = [chosen[0] | {"ra": 999.0}, chosen[1] | {"run2d": "..//x"}, *chosen[2:]]
    told = []
    rows = list(
        select_from_specobj(write_catalogue(tmp_path / "x.fits", spoiled), rejected=lambda *r: told.append(r))
    )
    assert len(rows) == GALAXIES - 2 and sorted(reason.split()[0] for _, reason in told) == ["ra", "run2d"]


def test_files_that_are_no_catalogue_are_refused(tmp_path, facts, catalogue):
    whole = catalogue[0].read_bytes()
    (tmp_path / "cut.fits").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "page.fits").write_text("<html>no</html>")
    fits.PrimaryHDU(np.zeros((5, 5))).writeto(tmp_path / "image.fits")
    huge = whole.replace(
        b"NAXIS2  = " + f"{len(facts):>20}".encode(), b"NAXIS2  = " + f"{10**15:>20}".encode()
    )
    assert huge != whole
    (tmp_path / "huge.fits").write_bytes(huge)
    write_catalogue(tmp_path / "lacks.fits", facts, ZWARNING=None)
    write_catalogue(tmp_path / "number.fits", facts, CLASS=("J", "plate"))
    write_catalogue(tmp_path / "text.fits", facts, BESTOBJID=("9A", "class"))
    write_catalogue(tmp_path / "vector.fits", facts, BESTOBJID=None)
    for path in sorted(tmp_path.iterdir()):
        with pytest.raises(InputError, match=path.name):
            list(select_from_specobj(path))
    with pytest.raises(InputError, match="missing"):
        list(select_from_specobj(tmp_path / "missing.fits"))
    few = write_catalogue(tmp_path / "few.fits", facts[:5])
    with pytest.raises(InputError, match="same release"):
        list(select_from_specobj(few, photometry=catalogue[1]))


MEASURE = r"""
import re, sys
from pix2spec.data.archives.sdss.select_catalogue import select_from_specobj

rows = sum(1 for _ in select_from_specobj(sys.argv[1]))
print(rows, re.search(r"VmHWM:\s+(\d+)", open("/proc/self/status").read())[1])
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
def test_memory_does_not_grow_with_the_catalogue(tmp_path, facts):
    peaks = []
    for times in (20, 800):
        path = write_catalogue(tmp_path / f"{times}.fits", facts)
        with fits.open(path) as hdus:
            table = np.asarray(hdus[1].data)
        wide = np.dtype([*table.dtype.descr, ("MORE", ">f8", (100,))])  # rows of 1 kB, as in the real file
        rows = np.zeros(len(table) * times, wide)
        for name in table.dtype.names:
            rows[name] = np.tile(table[name], (times,) + (1,) * (table[name].ndim - 1))
        rows["PLATE"] += np.repeat(
            10 * np.arange(times), len(table)
        )  # plates lie together, as in the real file
        fits.BinTableHDU(rows).writeto(path, overwrite=True)
        result = subprocess.run(
            [sys.executable, "-c", MEASURE, str(path)],
            capture_output=True,
            text=True,
            check=True,
            env=os.environ,
        )
        found, peak = map(int, result.stdout.split())
        assert found == GALAXIES * times
        peaks.append(peak / 1024)
        assert path.stat().st_size > 800 * len(rows)
    assert path.stat().st_size > 80e6 and peaks[1] - peaks[0] < 30, peaks  # MB
