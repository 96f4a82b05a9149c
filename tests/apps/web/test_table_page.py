"""The page's part for tables: how a table is read, its first rows as results, and the command for all."""

import shlex

import numpy as np
import pytest

import pix2spec
from pix2spec.apps.web import inputs, tables, text
from pix2spec.core.filters import KINDS
from pix2spec.errors import InputError
from pix2spec.products.catalogue import open_catalogue
from support.pages import cells_of, parse_page, text_of

LIMIT = 2**20
BANDS = "ugriz"
MAGNITUDES = np.array([19.66, 18.15, 17.30, 16.88, 16.56])


def write(path, n=3, bad=(), extra="", names=None):
    """A table like SkyServer's; galaxies get fainter by 0.1 mag, those in `bad` have no magnitude."""
    names = names or [f"fiberMag_{b}" for b in BANDS] + [f"fiberMagErr_{b}" for b in BANDS]
    lines = [",".join(["objid", *names])]
    for i in range(n):
        values = np.full(5, -9999.0) if i in bad else MAGNITUDES + 0.1 * i
        lines.append(",".join(map(str, [1237648720000000000 + i, *values, *[0.05] * (len(names) - 5)])))
    path.write_text("\n".join(lines) + "\n")
    return path


def read(path, columns="", kind="", filters="", curves=None):
    return tables.read_user_table(path, columns, kind, filters, curves, LIMIT)


@pytest.fixture(scope="module")
def model():
    return pix2spec.load("default", device="cpu")


@pytest.fixture(scope="module")
def made(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("table")
    table = read(write(folder / "my table.csv", 3, bad=[1]))
    return tables.first_rows(model, table, tables.Choices(n=4, seed=3), folder / "out")


def test_how_a_table_was_read_stands_on_the_page(tmp_path):
    table = read(write(tmp_path / "a<b>.csv", 150))
    assert len(table.rows) == tables.MAX_ROWS and table.n_rows == 150
    words = text_of(parse_page(text.understood(table)))
    assert "a<b>.csv: 150 rows, read as" in words
    assert "fiberMag_r → r, SDSS fibre magnitude (sdss2010-r), error fiberMagErr_r" in words


def test_the_visitor_says_what_the_columns_do_not(tmp_path):
    path = write(tmp_path / "a.csv", names=["umag1", "gmag1", "best", "imag1", "zmag1"])
    table = read(path, " r=best,r.kind=cmodel ", filters="sdss")
    assert table.choices == {"columns": "r=best,r.kind=cmodel", "filters": "sdss"}
    galaxy = next(table.rows.galaxies())
    seen = galaxy.measurements()
    assert dict(zip(seen.filters, seen.kinds))["sdss2010-r"] == "cmodel"


@pytest.mark.parametrize(
    ("header", "values", "said"),
    [
        ("r,flux_r", "17,3", "flux_r"),  # a flux without a unit, beside a magnitude
        ("fiberMag_r,FIBERMAG_R", "17,18", "--columns"),
    ],
)
def test_errors_name_the_column_and_the_option(tmp_path, header, values, said):
    path = tmp_path / "a.csv"
    path.write_text(f"{header}\n{values}\n{values}\n")
    with pytest.raises(InputError) as caught:
        read(path)
    sentence = inputs.sentence(caught.value, has_options=True)
    assert said in sentence and "--columns" in sentence and str(tmp_path) not in sentence


def test_files_that_are_no_tables_and_two_answers_are_refused(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("r\n")
    curves = write(tmp_path / "curve.csv")
    with pytest.raises(InputError, match="choose a survey or give curves, not both"):
        read(path, filters="sdss", curves=curves)
    path.write_bytes(bytes(LIMIT + 1))
    with pytest.raises(InputError, match="1 MiB are allowed"):
        read(path)
    with pytest.raises(InputError, match="there is none yet"):
        read(None)


def test_rows_have_redshifts_classes_and_reasons(made):
    assert [row.object_id[-1] for row in made.rows] == ["0", "1", "2"]
    good, bad, _ = made.rows
    assert bad.error and np.isnan(bad.z) and "no usable flux or magnitude" in bad.error
    assert good.z_low < good.z < good.z_high < 0.5 and good.likely and 0 < good.share <= 1
    assert made.first == 0 and [path.suffix for path in made.files] == [".parquet", ".fits"]


def test_a_row_shows_the_candidates_of_the_catalogue(made, model):
    catalogue = open_catalogue(made.files[0])
    for i in (0, 2):
        result = tables.row_result(model, made, i, lambda *_: None)
        np.testing.assert_allclose(
            result.ensemble.candidates, catalogue.ensemble(made.rows[i].object_id).candidates, rtol=2e-3
        )
    with pytest.raises(InputError, match="no usable flux or magnitude"):
        tables.row_result(model, made, 1, lambda *_: None)
    with pytest.raises(InputError, match="no such row"):
        tables.row_result(model, made, 3, lambda *_: None)


@pytest.mark.slow
def test_the_command_on_the_page_gives_the_same_catalogue(made, model, cli, tmp_path, monkeypatch):
    command = tables.command(made.table, made.choices, model, "default")
    monkeypatch.chdir(made.table.path.parent)
    words = shlex.split(command)
    assert words[:3] == ["pix2spec", "generate", "my table.csv"] and words[-2:] == ["--out", "predictions"]
    code, _, said = cli(*words[1:-1], tmp_path / "own")
    assert code == 3, said  # one row failed
    names = ["object_id", "z", "z_q16", "z_q84", "ew_halpha"]
    own = open_catalogue(tmp_path / "own").read(names).to_pandas().set_index("object_id")
    here = open_catalogue(made.files[0]).read(names).to_pandas().set_index("object_id")
    np.testing.assert_allclose(own.loc[here.index], here, rtol=1e-3)


def test_the_command_repeats_what_the_visitor_said(made, model, tmp_path):
    table = read(write(tmp_path / "t.csv"), "redshift=none", kind=KINDS[0])
    choices = tables.Choices(use_redshifts=True, noise=True)
    words = shlex.split(tables.command(table, choices, model, "sky"))
    assert words == [
        *("pix2spec", "generate", "t.csv", "--model", "sky", "--columns", "redshift=none"),
        *("--kind", KINDS[0], "--use", "image,photometry,redshift", "--out", "predictions"),
    ]


def test_the_rows_are_valid_html(made, model):
    page = text.row_table(made, 2, tables.command(made.table, made.choices, model, "default"))
    tree = parse_page(page)
    cells = cells_of(tree)
    assert len(cells) == 4 and cells[2][-1] == "failed: no usable flux or magnitude"
    chosen = [row for row in tree.iter("tr") if row.get("class") == "chosen"]
    assert [row.get("data-row") for row in chosen] == ["2"]
    words = text_of(tree)
    assert "my table.csv: 3 rows, 2 with spectra, 1 without." in words
    assert "pix2spec generate 'my table.csv' -n 4 --seed 3 --noise none --out predictions" in words
