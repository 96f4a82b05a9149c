import gzip

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy.table import Table
from hypothesis import given, settings
from hypothesis import strategies as st

from pix2spec.data.readers.catalogue_rows import CatalogueRows, read_catalogue
from pix2spec.data.readers.table_formats import read_table
from pix2spec.data.readers.tables import assumed_ivar, flux_of_magnitudes
from pix2spec.errors import InputError
from support.paths import SHARED

CSV = """#Table1
objID,RA,Dec,u,G,r,i,z,redshift
1237650795146576091,146.9341,-0.6704,22.5,20,19,18.5,18.2,0.12
1237650795146576092,147,-0.7,-9999,20,NaN,null,18,0.2
1237650795146576093,147,-0.7,abc,20,19,18,17
1237650795146576094,147,-0.7,99,20,19,18,17,0.1
"""


def test_csv_of_skyserver(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text(CSV)
    rows = read_catalogue(path)
    assert rows.table.meta["bad_rows"] == 1  # the row with a cell too few
    one, two, three = rows.galaxies()
    assert one.object_id == "1237650795146576091" and one.ra == 146.9341
    np.testing.assert_allclose(one.photometry, 10 ** (0.4 * (22.5 - np.array([22.5, 20, 19, 18.5, 18.2]))))
    assert two.filters == ("sdss2010-g", "sdss2010-z") and len(three.filters) == 4  # 99 means missing
    assert [g.z for g in (one, two, three)] == [0.12, 0.2, 0.1]


def test_latin1_text(tmp_path):
    path = tmp_path / "t.csv"
    path.write_bytes("name,u,g,r,i,z\nB\u00f6tes,20,20,20,20,20\nm\u00fcde,1\n".encode("latin1"))
    rows = read_catalogue(path)
    assert rows.ids == ["B\u00f6tes"] and rows.table.meta["bad_rows"] == 1


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("t.csv", b"", "empty"),
        ("t.csv", b"<html>login</html>", "web page"),
        ("t.csv", b"a,b\n", "no rows"),
        ("t.parquet", b"PAR1 nonsense", "cannot be read"),
        ("t.vot", b"<?xml version='1.0'?><VOTABLE>", "cannot be read"),
        ("t.fits", b"SIMPLE  = nonsense", "t.fits"),
        ("t.hdf5", b"\x89HDF\r\n\x1a\nnonsense", "cannot be read"),
        ("t.tbl", b"|a|b|\n|nonsense", "t.tbl"),
        ("t.gz", b"\x1f\x8bnonsense", "cannot be read"),
        ("t.jpg", b"\xff\xd8\xff nonsense", "not a table"),
    ],
)
def test_no_table(tmp_path, name, content, says):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=says):
        read_table(tmp_path / name)


@settings(max_examples=60, deadline=None)
@given(content=st.binary(min_size=0, max_size=400) | st.text(alphabet='ugriz,.\n"0123\t; |#-', max_size=300))
def test_any_bytes_raise_input_error_or_nothing(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "any.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    try:
        rows = read_catalogue(path)
        rows.lines(), list(rows.galaxies())
    except InputError as error:
        assert "any.csv" in str(error)


@given(st.lists(st.floats(width=32), min_size=1, max_size=20))
def test_assumed_ivar_is_always_usable(flux):
    ivar = assumed_ivar(np.array(flux, np.float32))
    assert np.isfinite(ivar).all() and (ivar >= 0).all()
    assert (ivar[~(np.array(flux) > 0)] == 0).all()


def test_fluxes_of_magnitudes():
    flux, ivar = flux_of_magnitudes(np.array([20.0, np.nan]), np.array([0.1, 0.1]))
    assert flux[0] == pytest.approx(10) and ivar[1] == 0
    assert ivar[0] == pytest.approx((10 * 0.1 * np.log(10) / 2.5) ** -2, rel=1e-6)
    flux, ivar = flux_of_magnitudes(np.array([20.0]), None)
    assert ivar == assumed_ivar(flux)


@pytest.mark.skipif(not SHARED.is_dir(), reason=f"no real SDSS data in {SHARED} (set PIX2SPEC_SHARED)")
def test_real_catalogue():
    rows = read_catalogue(SHARED / "catalogs" / "Skyserver_SQL2_27_2018.csv")
    assert len(rows.ids) == 10000 == len(set(rows.ids)) and rows.ids[0] == "3306-54922-0491"
    galaxies = list(rows.galaxies())
    assert all(len(g.filters) == 5 and np.isfinite(g.z) and set(g.kind) == {"model"} for g in galaxies)
    assert galaxies[0].photometry[2] == pytest.approx(10 ** ((22.5 - 15.94699) / 2.5), rel=1e-5)


def test_rows_that_were_left_out_are_known_by_number(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("# made by hand\nname,ra,dec,r\na,1,2,17\nb,1\nc,3,400,17\nd,5,x,7,8,9\n")
    table = read_table(path)
    assert table.meta["bad_row_numbers"] == [2, 4]
    assert CatalogueRows(table).ids == ["a", "c"] and list(table["ra"]) == [1, 3]


def test_a_table_that_would_fill_the_memory_is_refused(tmp_path):
    with gzip.open(tmp_path / "bomb.csv.gz", "wb") as stream:
        stream.write(b"ra,dec\n")
        for _ in range(80):
            stream.write(b"1.00000,2.00000\n" * 2**16)
    with pytest.raises(InputError, match=r"would take .* MiB of memory"):
        read_table(tmp_path / "bomb.csv.gz")
    zeros = pa.array(np.zeros(10_000_000))
    pq.write_table(
        pa.table({"ra": zeros, "dec": zeros}),
        tmp_path / "bomb.parquet",
        use_dictionary=False,
        compression="zstd",
    )
    with pytest.raises(InputError, match=r"the table would take .* MiB of memory"):
        read_table(tmp_path / "bomb.parquet")


def test_a_table_in_memory_needs_no_file():
    (galaxy,) = CatalogueRows(Table({"r": [17.5]})).galaxies()
    assert galaxy.photometry[0] == pytest.approx(100) and galaxy.object_id == "table-1"
