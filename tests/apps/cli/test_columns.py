"""`pix2spec columns` and `pix2spec generate` of a table of magnitudes."""

import json

import numpy as np
import pytest

import pix2spec

TABLE = """objid,ra,dec,u,g,r,i,z,redshift,extinction_r
1,150.1,2.2,19.655,18.149,17.298,16.878,16.563,0.0831,0.2
2,150.2,2.3,-9999,17.85,16.83,16.404,16.034,0.1253,0.2
3,150.3,2.4,99,99,99,99,99,0.1,0.2
"""


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "mine.csv"
    path.write_text(TABLE)
    return path


def test_columns_prints_how_a_table_is_read(cli, table):
    code, out, _ = cli("columns", table)
    assert code == 0 and "mine.csv: 3 rows" in out
    assert "r → r, SDSS magnitude of unknown kind (sdss2010-r)" in out and "corrected by extinction_r" in out
    code, out, _ = cli("columns", table, "--kind", "petrosian", "--json")
    assert code == 0 and "SDSS Petrosian magnitude" in json.loads(out)["columns"][0]


def test_what_cannot_be_known_names_the_option(cli, tmp_path):
    (tmp_path / "t.csv").write_text("id,flux_r\na,100\n")
    code, _, err = cli("columns", tmp_path / "t.csv")
    assert code == 2 and "--columns: unit=nmgy" in err
    code, out, _ = cli("columns", tmp_path / "t.csv", "--columns", "unit=nJy")
    assert code == 0 and "flux of unknown kind in nJy" in out


def test_generate_takes_the_table(cli, table, tmp_path, tiny_factorised_run):
    out = tmp_path / "out"
    code, printed, err = cli("generate", table, "--out", out, "--model", tiny_factorised_run, "-n", 2)
    assert code == 3 and "no usable flux or magnitude" in err  # the third row
    assert "mine.csv: 3 rows" in printed and "columns of the table" in printed
    catalogue = pix2spec.open_catalogue(out)
    one, two = catalogue
    assert one.object_id == "1" and one.measurements.filters == tuple(f"sdss2010-{b}" for b in "ugriz")
    r = 10 ** (0.4 * (22.5 - 17.298 + 0.2))
    assert one.measurements.flux[2] == pytest.approx(r, rel=1e-5)
    assert len(two.measurements.filters) == 4 and "error-assumed" in two.flags
    assert list(catalogue.failures) == ["3"] and np.isfinite(one.flux).all()
