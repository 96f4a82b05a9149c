"""Tables as astronomers have them: small ones of the shared cases, and the same faults made here."""

import bz2
import gzip

import h5py
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.table import MaskedColumn, QTable, Table

from pix2spec.core.extinction import coefficients
from pix2spec.data.readers.catalogue_rows import CatalogueRows, read_catalogue
from pix2spec.data.readers.table_formats import read_table
from pix2spec.errors import InputError
from support.paths import SHARED

CASES = SHARED.parent / "cases" / "tables"
FIRST = (19.655, 18.149, 17.298, 16.878, 16.563)  # the first galaxy of most of the tables, u to z
FIBRE = ((20.345, 18.324, 17.269, 16.753, 16.367), (20.126, 18.769, 17.903, 17.46, 17.169))
FIBRE_ERRORS = (0.059, 0.012, 0.012, 0.011, 0.017)
SDSS = tuple(f"sdss2010-{b}" for b in "ugriz")
LSST = tuple(f"lsst2023-{b}" for b in "ugrizy")
PS1 = tuple(f"panstarrs-{b}" for b in "grizy")
# name: (filters, kinds, magnitudes, redshift, id, a sentence) of the first row
PLAIN_ID = "1237648720142401537"
READ = {
    "01_plain.csv": (SDSS, {"unknown"}, FIRST, 0.0831, PLAIN_ID, "u → u, SDSS magnitude of unknown kind"),
    "01_maggies.fits": (SDSS, {"unknown"}, FIBRE[0], np.nan, "G1", "in mgy"),
    "03_negative_ra.csv": (SDSS, {"fibre"}, FIBRE[0], 0.0639, "G1", "2 right ascensions are negative"),
    "04_floatid.csv": (SDSS, {"unknown"}, FIRST, 0.0831, "04_floatid-1", "lost their last digits"),
    "05_hash_id.tsv": (SDSS, {"fibre"}, FIBRE[0], 0.0639, "G1", "object_id → object id"),
    "06_semicolon_comma.csv": (SDSS, {"unknown"}, FIRST, 0.0831, PLAIN_ID, "decimal commas"),
    "08_kaggle.csv": (SDSS, {"model"}, FIRST, 0.0831, PLAIN_ID, "obj_ID → object id"),
    "09_vizier.tsv": (SDSS, {"unknown"}, FIRST, 0.0831, PLAIN_ID, "zsp → redshift"),
    "10_extinction.csv": (SDSS, {"unknown"}, FIRST, 0.0831, PLAIN_ID, "corrected by extinction_r"),
    "10_unnamed_index.parquet": (
        SDSS, {"fibre"}, FIBRE[0], 0.0639, PLAIN_ID, "__index_level_0__ → object id"),
    "11_Z_then_z.csv": (SDSS, {"unknown"}, FIBRE[0], 0.0639, "G1", "Z is the redshift and z the magnitude"),
    "11_dered.csv": (SDSS, {"model"}, FIRST, 0.0831, PLAIN_ID, "dereddened already, error deredErr_r"),
    "11_fiberMag.csv": (SDSS, {"fibre"}, FIRST, 0.0831, PLAIN_ID, "SDSS fibre magnitude"),
    "11_modelMag.csv": (SDSS, {"model"}, FIRST, 0.0831, PLAIN_ID, "SDSS model magnitude"),
    "11_petroMag.csv": (SDSS, {"petrosian"}, FIRST, 0.0831, PLAIN_ID, "SDSS Petrosian magnitude"),
    "11_psfMag.csv": (SDSS, {"psf"}, FIRST, 0.0831, PLAIN_ID, "SDSS PSF magnitude"),
    "12_model_and_fiber.csv": (
        SDSS * 2, {"model", "fibre"}, FIRST + tuple(m + 0.8 for m in FIRST), 0.0831, PLAIN_ID, "no error"),
    "12_uJy.parquet": (SDSS, {"unknown"}, FIBRE[0], np.nan, "G1", "in uJy"),
    "13_tractor.fits": (
        ("decam2014-g", "decam2014-r", "decam2014-z"), {"model"}, (18.149, 17.298, 16.563), np.nan,
        PLAIN_ID, "corrected by MW_TRANSMISSION_G"),
    "13_wild_negative.fits": (SDSS, {"unknown"}, None, np.nan, "G1", "sigma (photometry-misfit): G1"),
    "14_masked.ecsv": (SDSS[1:], {"unknown"}, FIRST[1:], 0.0831, PLAIN_ID, "u: 1 of 3 values are missing"),
    "14_masked.fits": (SDSS[1:], {"unknown"}, FIRST[1:], 0.0831, PLAIN_ID, "u: 1 of 3 values are missing"),
    "14_rail_columns.parquet": (
        LSST, {"unknown"}, FIBRE[0] + (16.267,), np.nan, "1152921504606846977", "LSST"),
    "16_zwarn.csv": (SDSS, {"fibre"}, FIBRE[0], 0.0639, "G1", "1 redshifts have a warning"),
    "17_star.csv": (SDSS, {"unknown"}, FIRST, 0.0831, PLAIN_ID, "1 rows are stars (class-star)"),
    "23_ps1.csv": (PS1, {"kron"}, FIRST, 0.0831, PLAIN_ID, "Pan-STARRS Kron magnitude"),
    "ipac.tbl": (SDSS, {"fibre"}, FIRST, np.nan, "a", "fiberMagErr_r: 1 of 3 errors"),
    "neg.csv": (SDSS, {"fibre"}, FIRST, np.nan, "a", "2 redshifts are missing"),
    "u64.csv": (SDSS, {"fibre"}, FIRST, np.nan, "18446744073709551615", "specObjID → object id"),
}  # fmt: skip


def nanomaggies(magnitudes):
    return (np.array(magnitudes) * u.ABmag).to(u.nmgy, u.zero_point_flux(3631 * u.Jy)).value


@pytest.mark.parametrize("name", READ)
def test_a_shared_case_is_read(name):
    if not (CASES / name).exists():
        pytest.skip(f"the shared cases are not here ({CASES})")
    filters, kinds, magnitudes, z, object_id, sentence = READ[name]
    rows = read_catalogue(CASES / name)
    galaxies = list(rows.galaxies())
    first = galaxies[0]
    assert len(galaxies) == 3 and first.filters == filters and set(first.kind) == kinds
    if magnitudes is not None:
        np.testing.assert_allclose(first.photometry, nanomaggies(magnitudes), rtol=1e-4)
    assert first.object_id == object_id
    np.testing.assert_equal(first.z, z)
    assert sentence in "\n".join(rows.lines())
    assert all(np.isfinite(g.photometry_ivar).all() and (g.photometry_ivar > 0).all() for g in galaxies)


def case(name):
    if not (CASES / name).exists():
        pytest.skip(f"the shared cases are not here ({CASES})")
    return list(read_catalogue(CASES / name).galaxies())


def test_details_of_the_shared_cases():
    assert case("03_negative_ra.csv")[0].ra == pytest.approx(360 - 148.6972)
    assert case("10_extinction.csv")[0].extinction == (0.35, 0.27, 0.19, 0.14, 0.1)
    assert case("11_dered.csv")[0].extinction == "dereddened"
    np.testing.assert_allclose(case("13_tractor.fits")[0].extinction, -2.5 * np.log10([0.92, 0.95, 0.97]))
    assert "photometry-misfit" in case("13_wild_negative.fits")[0].flags
    assert [g.flags for g in case("17_star.csv")] == [("class-star",), ("class-qso",), ()]
    assert [g.spec_class for g in case("17_star.csv")] == ["STAR", "QSO", "GALAXY"]
    assert [g.object_id for g in case("u64.csv")][1:] == ["9223372036854775809", "10282190123456789012"]
    assert np.isnan(case("16_zwarn.csv")[1].z)
    neg = case("neg.csv")
    assert [g.flags for g in neg] == [("error-assumed",)] * 3 and [len(g.filters) for g in neg] == [5] * 3
    sigma = 0.01 * nanomaggies(17.298)  # of r, whose error is -0.01: the typical one, 1 %
    assert neg[0].photometry_ivar[2] == pytest.approx(sigma**-2, rel=1e-3)
    wanted = (0.4 * np.log(10) * np.array(FIBRE_ERRORS) * nanomaggies(FIBRE[0])) ** -2
    for name in ("01_maggies.fits", "12_uJy.parquet", "05_hash_id.tsv"):
        np.testing.assert_allclose(case(name)[0].photometry_ivar, wanted, rtol=1e-3)


# ------------------------------------------------------------------------------ formats

IDS = ["1237648720142401537", "1237648720142401538"]
COLUMNS = {"objid": np.array(IDS, int), "ra": [150.1, 150.2], "dec": [2.2, 2.3]}
COLUMNS |= {f"modelMag_{b}": [m, m + 1] for b, m in zip("ugriz", FIRST)}
COLUMNS |= {f"modelMagErr_{b}": [0.02, 0.03] for b in "ugriz"}


def write(path, name):
    table = Table(COLUMNS)
    if name.endswith(".parquet"):
        pq.write_table(pa.table({k: np.asarray(v) for k, v in COLUMNS.items()}), path)
    elif name.endswith(".columns.hdf5"):  # RAIL's form
        with h5py.File(path, "w") as file:
            for key in table.colnames:
                file[f"photometry/{key}"] = np.asarray(table[key])
    else:
        forms = {"csv": "ascii.csv", "tsv": "ascii.tab", "txt": "ascii.basic", "tbl": "ascii.ipac"}
        forms |= {"dat": "ascii.commented_header", "ecsv": "ascii.ecsv", "vot": "votable"}
        forms |= {"fits": "fits", "hdf5": "hdf5"}
        form = forms[name.rpartition(".")[2]]
        if form == "hdf5":
            table.write(path, format=form, path="data")
        else:
            table.write(path, format=form)


FORMATS = ["t.csv", "t.tsv", "t.txt", "t.dat", "t.ecsv", "t.fits", "t.vot", "t.parquet", "t.hdf5",
           "t.columns.hdf5", "t.tbl"]  # fmt: skip


@pytest.mark.parametrize("packer", [None, gzip, bz2])
@pytest.mark.parametrize("name", FORMATS)
def test_all_formats_agree(tmp_path, name, packer):
    path = tmp_path / name
    write(path, name)
    if packer is not None:
        content = path.read_bytes()
        path = tmp_path / "table.packed"
        with packer.open(path, "wb") as stream:
            stream.write(content)
    rows = read_catalogue(path)
    one, two = rows.galaxies()
    assert [one.object_id, two.object_id] == IDS and two.ra == 150.2
    order = [one.filters.index(name) for name in SDSS]  # HDF5 sorts the columns
    np.testing.assert_allclose(one.photometry[order], nanomaggies(FIRST), rtol=1e-4)
    assert len(one.filters) == 5 and set(one.kind) == {"model"} and one.flags == ()


VIZIER = """#
#   VizieR Astronomical Server
#Column\tRA_ICRS\t(F10.6)\tRight ascension
RA_ICRS;DE_ICRS;SDSS16;umag;e_umag;rmag;e_rmag;zsp
deg;deg; ;mag;mag;mag;mag;
----------;----------;-----;----;---;---;---;---
150.1001;2.2001;J1000+02;19.655;0.064;17.298;0.006;0.0831
150.2001;2.3001;J1001+02;19.845; ;16.83;0.006;
"""


def test_vizier_as_it_downloads(tmp_path):
    (tmp_path / "v.tsv").write_text(VIZIER)
    rows = read_catalogue(tmp_path / "v.tsv")
    one, two = rows.galaxies()
    np.testing.assert_allclose(one.photometry, nanomaggies([19.655, 17.298]), rtol=1e-4)
    assert one.object_id == "J1000+02" and one.z == 0.0831 and np.isnan(two.z)
    assert two.flags == ("error-assumed",) and str(rows.table["umag"].unit) == "mag"


TEXTS = {
    "names in the last comment": "# made by hand\n# id ra dec u g r\na 1 2 19 18 17\nb 3 4 19 18 17\n",
    "aligned columns": " id ra dec    u    g    r\n  a  1   2 19.0 18.0 17.0\n  b  3   4   19   18   17\n",
    "a byte-order mark": "\ufeffid,ra,dec,u,g,r\na,1,2,19,18,17\nb,3,4,19,18,17\n",
    "quotes": '"id","ra","dec","u","g","r"\n"a","1","2","19","18","17"\n"b",3,4,"19","18","17"\n',
    "decimal commas in tabs": "id\tra\tdec\tu\tg\tr\na\t1,0\t2,0\t19,0\t18,0\t17,0\nb\t3\t4\t19\t18\t17\n",
    "a row too short": "id,ra,dec,u,g,r\na,1,2,19,18,17\nx,1\nb,3,4,19,18,17\n",
    "a row too short, spaces": "id ra dec u g r\na 1 2 19 18 17\nx 1\nb 3 4 19 18 17\n",
    "words for numbers": "id,ra,dec,u,g,r\na,1,2,19,18,17\nb,3,4,bad,18,17\n",
}


@pytest.mark.parametrize("name", TEXTS)
def test_texts_in_many_forms(tmp_path, name):
    (tmp_path / "t.txt").write_text(TEXTS[name], encoding="utf8")
    one, two = read_catalogue(tmp_path / "t.txt").galaxies()
    assert (one.object_id, two.object_id, one.ra, two.dec) == ("a", "b", 1, 4)
    np.testing.assert_allclose(one.photometry, nanomaggies([19, 18, 17]), rtol=1e-4)


def test_units_of_ecsv_parquet_votable_and_hdf5(tmp_path):
    flux = nanomaggies(FIRST[:3])
    for name, form in (("t.ecsv", "ascii.ecsv"), ("t.parquet", "parquet"), ("t.vot", "votable")):
        plain = Table({b: [f * 3.631] for b, f in zip("ugr", flux)})
        for b in "ugr":
            plain[b].unit = u.uJy
        plain.write(tmp_path / name, format=form)
        (galaxy,) = read_catalogue(tmp_path / name).galaxies()
        np.testing.assert_allclose(galaxy.photometry, flux, rtol=1e-5)
    QTable({"r": [17.0] * u.ABmag, "g": [18.0] * u.ABmag}).write(tmp_path / "q.ecsv", format="ascii.ecsv")
    (galaxy,) = read_catalogue(tmp_path / "q.ecsv").galaxies()
    np.testing.assert_allclose(galaxy.photometry, nanomaggies([17, 18]), rtol=1e-4)
    plain["coord"] = SkyCoord([150.1] * u.deg, [2.2] * u.deg)
    plain.write(tmp_path / "sky.ecsv", format="ascii.ecsv")
    (galaxy,) = read_catalogue(tmp_path / "sky.ecsv").galaxies()
    assert (galaxy.ra, galaxy.dec) == pytest.approx((150.1, 2.2))


# ------------------------------------------------------------------------------ values


def rows_of(**columns):
    return CatalogueRows(Table(columns), where="t")


@pytest.mark.parametrize("value", [-9999, -999, -99, -9, 99, 999, np.nan, np.inf])
def test_sentinels_of_magnitudes_remove_a_band_and_nothing_else(value):
    (galaxy,) = rows_of(g=[18.0], r=[float(value)], err_g=[0.01], err_r=[0.01]).galaxies()
    assert galaxy.filters == ("sdss2010-g",) and galaxy.flags == ()


@pytest.mark.parametrize("value", [-9999, -999, -99, -9, 99, 999, np.nan, 0, -0.01])
def test_sentinels_of_errors_leave_the_flux(value):
    (galaxy,) = rows_of(g=[18.0], r=[17.0], err_g=[0.01], err_r=[float(value)]).galaxies()
    assert galaxy.filters == ("sdss2010-g", "sdss2010-r") and galaxy.flags == ("error-assumed",)
    assert galaxy.photometry_ivar[1] == pytest.approx((0.01 * nanomaggies(17.0)) ** -2, rel=1e-3)


@pytest.mark.parametrize("value", [-9999, -999, -99, -9, 99, 999, np.nan, -1, -0.011])
def test_sentinels_of_redshifts(value):
    one, two = rows_of(r=[17.0, 17.0], redshift=[value, -0.005]).galaxies()
    assert np.isnan(one.z) and two.z == -0.005


@pytest.mark.parametrize("ra, dec, known", [
    (99, 0, True), (-180, 0, True), (360, 90, True), (-9999, 0, False), (-999, 0, False), (999, 0, False),
    (361, 0, False), (-181, 0, False), (10, 91, False), (10, np.nan, False), (10, -90, True)])  # fmt: skip
def test_sentinels_of_coordinates(ra, dec, known):
    (galaxy,) = rows_of(r=[17.0], ra=[float(ra)], dec=[float(dec)]).galaxies()
    assert np.isfinite([galaxy.ra, galaxy.dec]).all() == known
    assert not known or galaxy.ra == ra % 360 or galaxy.ra == 360


@pytest.mark.parametrize("ra, dec", [
    ("10:00:24.0", "-02:12:00"), ("10 00 24.0", "-02 12 00"), ("10h00m24.0s", "-02d12m00s"),
    ("150:06:00", "-2:12:0"), ("150.1", "-2.2"), ("150d06m00s", "-02d12m")])  # fmt: skip
def test_sexagesimal_positions(ra, dec):
    (galaxy,) = rows_of(r=[17.0], ra=[ra], dec=[dec]).galaxies()
    assert (galaxy.ra, galaxy.dec) == pytest.approx((150.1, -2.2))


def test_masked_values_are_missing():
    table = Table(
        {"g": [18.0], "r": MaskedColumn([17.0], mask=[True]), "err_g": MaskedColumn([0.1], mask=[True])}
    )
    (galaxy,) = CatalogueRows(table).galaxies()
    assert galaxy.filters == ("sdss2010-g",) and galaxy.flags == ("error-assumed",)


def test_one_bad_row_costs_no_other():
    found = list(rows_of(objid=["a", "b", "c"], r=["17", "x", "18"]).galaxies())
    assert found[1] == ("b", "no usable flux or magnitude")
    assert [g.object_id for g in (found[0], found[2])] == ["a", "c"]


def test_ids_are_unique_and_complete():
    rows = rows_of(objid=["a", "a", "", "b"], r=[17.0] * 4)
    assert rows.ids == ["a", "a-2", "t-3", "b"]
    assert any("repeat an id of objid" in line for line in rows.lines())
    rows = rows_of(
        objid=[1, 1, 2], specobjid=np.array([2**63 + 1, 2**63 + 2, 2**63 + 3], np.uint64), r=[17.0] * 3
    )
    assert rows.ids == [str(2**63 + k) for k in (1, 2, 3)]  # those of the spectra are unique
    rows = rows_of(
        RELEASE=[9010, 9010], BRICKID=[1, 2], OBJID=[5, 5], FLUX_R=[1.0, 2.0], FLUX_IVAR_R=[1.0, 1.0]
    )
    assert rows.ids == ["9010-1-5", "9010-2-5"]
    assert rows_of(objid=[1.2376487201424015e18, 1e18], r=[17.0] * 2).ids == ["t-1", "t-2"]
    assert rows_of(objid=[1.0, 2.0], r=[17.0] * 2).ids == ["1", "2"]
    assert rows_of(plate=[266], MJD=[51602], fiber_ID=[13], r=[17.0]).ids == ["0266-51602-0013"]


def test_pandas_tables_with_an_index(tmp_path):
    frame = pd.DataFrame({"r": [17.0, 18.0], "ra": [1.0, 2.0], "dec": [3.0, 4.0]}, index=["a", "b"])
    frame.to_csv(tmp_path / "t.csv")
    frame.to_parquet(tmp_path / "t.parquet")
    for name in ("t.csv", "t.parquet"):
        assert [g.object_id for g in read_catalogue(tmp_path / name).galaxies()] == ["a", "b"]
    frame.reset_index(drop=True).to_csv(tmp_path / "n.csv")  # 0, 1 ... are no ids
    assert [g.object_id for g in read_catalogue(tmp_path / "n.csv").galaxies()] == ["n-1", "n-2"]


@pytest.mark.parametrize("dec, ra, filters", [
    (32.4, 180.0, ("BASS-g", "MzLS-z")), (32.3, 180.0, ("decam2014-g", "decam2014-z")),
    (33.0, 10.0, ("decam2014-g", "decam2014-z"))])  # fmt: skip
def test_tractor_has_the_filters_of_its_telescope(dec, ra, filters):
    columns = {"FLUX_G": [10.0], "FLUX_Z": [20.0], "FLUX_IVAR_G": [4.0], "FLUX_IVAR_Z": [4.0]}
    (galaxy,) = rows_of(RA=[ra], DEC=[dec], **columns).galaxies()
    assert galaxy.filters == filters
    (galaxy,) = rows_of(PHOTSYS=["N"], **columns).galaxies()
    assert galaxy.filters == ("BASS-g", "MzLS-z")


def test_a_flux_that_was_not_observed_is_missing():
    (galaxy,) = rows_of(FLUX_G=[10.0], FLUX_R=[0.0], FLUX_IVAR_G=[4.0], FLUX_IVAR_R=[0.0]).galaxies()
    assert galaxy.filters == ("decam2014-g",)


def test_extinction_by_ebv_and_beside_dereddened_magnitudes():
    one, two = rows_of(r=[17.0, 17.0], EBV=[0.1, np.nan]).galaxies()
    assert one.extinction == 0.1 and two.extinction == "observed"
    (galaxy,) = rows_of(dered_r=[17.0], fiberMag_r=[18.0], EBV=[0.1]).galaxies()
    assert galaxy.extinction == pytest.approx((0.0, 0.1 * coefficients(["sdss2010-r"])[0]))
    rows = rows_of(modelMag_r=[17.2], dered_r=[17.0], extinction_r=[0.2])
    (galaxy,) = rows.galaxies()
    assert galaxy.extinction == (0.2,) and galaxy.photometry[0] == pytest.approx(nanomaggies(17.2), rel=1e-4)
    (galaxy,) = rows_of(modelMag_r=[17.2], dered_r=[17.0]).galaxies()
    assert galaxy.extinction == "dereddened"


@pytest.mark.parametrize("columns, z, error", [
    ({"r": [17.0], "z": [16.5], "z_err": [0.02], "r_err": [0.01]}, np.nan, np.nan),
    ({"r": [17.0], "Z": [0.1], "ZERR": [0.001]}, 0.1, 0.001),
    ({"modelMag_r": [17.0], "z": [0.1], "zErr": [0.001]}, 0.1, 0.001),
    ({"r": [17.0], "z": [16.5], "redshift": [0.1], "redshift_err": [0.001]}, 0.1, 0.001),
    ({"r": [17.0], "z": [16.5], "zsp": [0.1], "e_zsp": [0.001]}, 0.1, 0.001),
    ({"r": [17.0], "z": [0.1]}, 0.1, np.nan),
    ({"r": [17.0], "zphot": [0.3]}, np.nan, np.nan),
])  # fmt: skip
def test_redshifts_beside_magnitudes_in_z(columns, z, error):
    (galaxy,) = rows_of(**columns).galaxies()
    np.testing.assert_equal((galaxy.z, galaxy.z_err), (z, error))
    assert ("sdss2010-z" in galaxy.filters) == (columns.get("z", [0])[0] > 10)


def test_vectors_of_five_fluxes():
    table = Table({"CALIBFLUX": [[5.0, 10, 20, 30, 40]], "CALIBFLUX_IVAR": [[1.0] * 5]})
    (galaxy,) = CatalogueRows(table).galaxies()
    assert galaxy.filters == SDSS and set(galaxy.kind) == {"fibre"}
    np.testing.assert_allclose(galaxy.photometry, [5, 10, 20, 30, 40])
    np.testing.assert_allclose(galaxy.photometry_ivar, 1)


def test_a_column_that_comes_twice_is_refused(tmp_path):
    (tmp_path / "t.csv").write_text("id,r,r\na,17,18\n")
    assert read_table(tmp_path / "t.csv").meta["twice"] == ["r"]
    with pytest.raises(InputError, match="'r' comes more than once"):
        read_catalogue(tmp_path / "t.csv")
