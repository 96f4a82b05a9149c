import gzip

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy.table import Column, MaskedColumn, Table
from hypothesis import given, settings
from hypothesis import strategies as st

from pix2spec.data.readers.tables import (
    assumed_ivar,
    own_photometry,
    photometry_from_table,
    positions_from_table,
    read_table,
    redshift,
    redshift_error,
)
from pix2spec.errors import InputError
from support.paths import SHARED

CSV = """#Table1
objID,RA,Dec,u,G,r,i,z,redshift
1237650795146576091,146.9341,-0.6704,22.5,20,19,18.5,18.2,0.12
1237650795146576092,147,-0.7,-9999,20,NaN,null,18,0.2
1237650795146576093,147,-0.7,abc,20,19,18,17
1237650795146576094,147,-0.7,99,20,19,18,17,0.1
"""
COLUMNS = {
    "objid": np.array([1237650795146576091, 1237650795146576092]),
    "ra": [10.0, 20.0],
    "dec": [1.0, 2.0],
    **{f"fiberMag_{b}": [20.0, 21.0] for b in "ugriz"},
    **{f"fiberMagErr_{b}": [0.1, 0.2] for b in "ugriz"},
}


def test_csv_of_skyserver(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text(CSV)
    table = read_table(path)
    assert table.meta["bad_rows"] == 1  # the row with a cell too few
    ids, ra, _, flux, ivar = photometry_from_table(table)
    assert ids[0] == "1237650795146576091" and ra[0] == 146.9341
    np.testing.assert_allclose(
        flux[0], 10 ** ((22.5 - np.array([22.5, 20, 19, 18.5, 18.2])) / 2.5), rtol=1e-6
    )
    np.testing.assert_allclose(ivar[0], assumed_ivar(flux[0]), rtol=1e-5)
    assert (ivar[1] > 0).tolist() == [False, True, False, False, True]
    assert np.isnan(flux[1][[0, 2, 3]]).all()
    assert not ivar[2][0]  # 99 means missing
    assert redshift(table).tolist() == [0.12, 0.2, 0.1]


def test_latin1_text(tmp_path):
    path = tmp_path / "t.csv"
    path.write_bytes("name,u,g,r,i,z\nB\u00f6tes,20,20,20,20,20\nm\u00fcde,1\n".encode("latin1"))
    table = read_table(path)
    assert photometry_from_table(table)[0] == ["B\u00f6tes"] and table.meta["bad_rows"] == 1


@pytest.mark.parametrize("kind", ["csv", "fits", "vot", "parquet", "tsv"])
def test_kinds_agree(tmp_path, kind):
    table, path = Table(COLUMNS), tmp_path / f"t.{kind}"
    formats = {"csv": "ascii.csv", "tsv": "ascii.tab", "fits": "fits", "vot": "votable"}
    if kind == "parquet":
        pq.write_table(pa.table({k: np.asarray(v) for k, v in COLUMNS.items()}), path)
    else:
        table.write(path, format=formats[kind])
    ids, ra, dec, flux, ivar = photometry_from_table(read_table(path))
    assert ids == ["1237650795146576091", "1237650795146576092"]
    assert ra.tolist() == [10, 20] and dec.tolist() == [1, 2]
    np.testing.assert_allclose(flux[0], 10, rtol=1e-6)
    np.testing.assert_allclose(ivar[0], (10 * 0.1 * np.log(10) / 2.5) ** -2, rtol=1e-6)


def test_flux_columns_and_their_errors():
    flux = {f"flux_{b}": [5.0, -0.1, -9999] for b in "ugriz"}
    *_, value, ivar = photometry_from_table(
        Table(flux | {f"flux_ivar_{b}": [4.0, 4.0, 4.0] for b in "ugriz"})
    )
    assert ivar[:, 0].tolist() == [4, 4, 0]  # a negative measured flux is one
    assert value[0, 0] == 5
    *_, ivar = photometry_from_table(Table(flux | {f"flux_err_{b}": [0.5, 0.5, 0.5] for b in "ugriz"}))
    assert ivar[:, 0].tolist() == [4, 4, 0]
    *_, ivar = photometry_from_table(Table(flux))
    assert (ivar[:, 0] > 0).tolist() == [True, False, False]


def test_vector_column():
    *_, flux, ivar = photometry_from_table(Table({"CALIBFLUX": np.full((2, 5), 3.0)}))
    assert flux.shape == (2, 5) and (ivar > 0).all()


def test_fibre_magnitudes_are_preferred():
    table = Table(COLUMNS | {b: [10.0, 10.0] for b in "ugriz"})
    assert photometry_from_table(table)[3][0, 0] == pytest.approx(10)


def test_missing_column_suggests_the_nearest():
    table = Table(COLUMNS)
    table.rename_column("fiberMag_g", "fiberMagg")
    with pytest.raises(InputError, match=r"no column fibermag_g.*is 'fiberMagg' meant for 'fibermag_g'"):
        photometry_from_table(table)
    with pytest.raises(InputError, match="no column"):
        photometry_from_table(Table({"ra": [1.0]}))


def test_masked_values_and_ids():
    columns = {b: MaskedColumn([20.0, 20.0], mask=[False, True]) for b in "ugriz"}
    table = Table(columns | {"PLATE": [266, 266], "MJD": [51602, 51602], "FIBERID": [13, 0]})
    ids, ra, _, _, ivar = photometry_from_table(table)
    assert ids[0] == "0266-51602-0013" and np.isnan(ra).all()
    assert not ivar[1].any()


def test_rounded_ids_identify_nothing():
    table = Table({b: [20.0] for b in "ugriz"} | {"specobjid": [3.72e18]})
    assert photometry_from_table(table)[0] == [""]


def test_z_beside_r_is_a_magnitude():
    assert np.isnan(redshift(Table({b: [20.0] for b in "ugriz"}))).all()
    assert redshift(Table({"z": [0.3]})).tolist() == [0.3]


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("t.csv", b"", "empty"),
        ("t.csv", b"<html>login</html>", "web page"),
        ("t.csv", b"a,b\n", "no rows"),
        ("t.parquet", b"PAR1 nonsense", "cannot be read"),
        ("t.vot", b"<?xml version='1.0'?><VOTABLE>", "cannot be read"),
        ("t.fits", b"SIMPLE  = nonsense", "t.fits"),
        ("t.jpg", b"\xff\xd8\xff nonsense", "not a table"),
    ],
)
def test_no_table(tmp_path, name, content, says):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=says):
        read_table(tmp_path / name)


@settings(max_examples=60, deadline=None)
@given(content=st.binary(min_size=0, max_size=400) | st.text(alphabet='ugriz,.\n"0123\t;', max_size=300))
def test_any_bytes_raise_input_error_or_nothing(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "any.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    try:
        photometry_from_table(read_table(path))
    except InputError as error:
        assert "any.csv" in str(error)


@given(st.lists(st.floats(width=32), min_size=1, max_size=20))
def test_assumed_ivar_is_always_usable(flux):
    ivar = assumed_ivar(np.array(flux, np.float32))
    assert np.isfinite(ivar).all() and (ivar >= 0).all()
    assert (ivar[~(np.array(flux) > 0)] == 0).all()


@pytest.mark.skipif(not SHARED.is_dir(), reason=f"no real SDSS data in {SHARED} (set PIX2SPEC_SHARED)")
def test_real_catalogue():
    table = read_table(SHARED / "catalogs" / "Skyserver_SQL2_27_2018.csv")
    ids, _, _, flux, ivar = photometry_from_table(table)
    assert len(ids) == 10000 and len(set(ids)) == 10000
    assert ids[0] == "3306-54922-0491"
    assert (ivar > 0).all() and np.isfinite(redshift(table)).all()
    assert flux[0, 2] == pytest.approx(10 ** ((22.5 - 15.94699) / 2.5), rel=1e-5)


def test_fluxes_in_other_units_become_nanomaggies():
    """One nanomaggy is 3631 nJy; fillers are recognised before they are scaled."""
    table = Table()
    for band in "ugriz":
        table[f"flux_{band}"] = Column([3631.0, -9999.0], unit="nJy")
        table[f"flux_ivar_{band}"] = Column([4 / 3631.0**2, 1.0], unit="nJy-2")
    *_, flux, ivar = photometry_from_table(table)
    np.testing.assert_allclose(flux[0], 1, rtol=1e-6)
    np.testing.assert_allclose(ivar, np.repeat([[4.0], [0.0]], 5, axis=1), rtol=1e-6)


def test_rows_that_were_left_out_are_known_by_number(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("# made by hand\nname,ra,dec\na,1,2\nb,1\nc,3,400\nd,5,x,7\n")
    table = read_table(path)
    assert table.meta["bad_row_numbers"] == [2, 4]
    ids, ra, dec = positions_from_table(table)
    assert ids == ["a", "c"] and list(ra) == [1, 3] and list(dec) == [2, 400]


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


@pytest.mark.parametrize(
    "columns, z, error",
    [
        ({"redshift": [0.1, 0.2], "redshift_err": [0.01, -1.0]}, [0.1, 0.2], [0.01, np.nan]),
        ({"z_spec": [0.1], "e_z_spec": [0.01]}, [0.1], [0.01]),
        ({"z": [0.1], "zerr": [0.01]}, [0.1], [0.01]),
        ({"zsp": [0.1]}, [0.1], [np.nan]),
        ({"g": [20.0], "r": [19.0], "z": [18.0], "z_err": [0.02]}, [np.nan], [np.nan]),  # magnitudes
        ({"z": [18.0], "r": [19.0], "z_err": [0.02], "redshift": [0.1]}, [0.1], [np.nan]),
        ({"z_err": [0.02]}, [np.nan], [np.nan]),
    ],
)
def test_redshifts_come_with_their_errors(columns, z, error):
    table = Table(columns)
    np.testing.assert_array_equal(redshift(table), z)
    np.testing.assert_array_equal(redshift_error(table), error)


def test_own_filters_have_columns_of_the_usual_forms():
    names = ["NB500", "my-Red", "other"]
    magnitudes = {"nb500": [20.0, 99.0], "MY-RED": [17.5, 20.0], "r": [18.0, 18.0]}
    found, flux, ivar = own_photometry(Table(magnitudes), names)
    assert found == ["NB500", "my-Red"] and flux.dtype == ivar.dtype == np.float32
    np.testing.assert_allclose(flux, [[10, 100], [np.nan, 10]], rtol=1e-6)
    np.testing.assert_allclose(ivar[0], 1 / np.hypot(0.1 * flux[0], 0.05) ** 2, rtol=1e-5)  # typical errors
    fluxes = {"flux_NB500": [3.0], "flux_my-red": [4.0], "flux_err_NB500": [0.5], "flux_err_my-red": [0.25]}
    found, flux, ivar = own_photometry(Table(fluxes), names)
    np.testing.assert_allclose([flux[0], ivar[0]], [[3, 4], [4, 16]])
    found, flux, ivar = own_photometry(Table({"r": [18.0]}), names)
    assert found == [] and flux.shape == ivar.shape == (1, 0)
