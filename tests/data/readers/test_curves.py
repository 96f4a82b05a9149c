"""Transmission curves in files: every form gives the same curves, and others are refused."""

import numpy as np
import pytest
from astropy import units as u
from astropy.table import QTable, Table

from pix2spec.core.filters import load_filter
from pix2spec.data.readers.curves import read_curves
from pix2spec.errors import InputError

WAVE = np.linspace(4000, 8000, 81)
CURVES = {
    name: np.where(np.abs(WAVE - centre) < 900, np.exp(-0.5 * ((WAVE - centre) / 300) ** 2), 0)
    for name, centre in (("my blue", 5000), ("my-red", 6900))
}
LONG = {
    "filter": np.repeat(list(CURVES), len(WAVE)),
    "wavelength": np.tile(WAVE, 2),
    "response": np.concatenate(list(CURVES.values())),
}


def ecsv(path, columns, unit=u.AA, **meta):
    table = QTable(columns, meta=meta)
    table["wavelength"] = (table["wavelength"] * u.AA).to(unit)
    table.write(path, format="ascii.ecsv")


def archive(path, **arrays):
    stacked = np.stack(list(CURVES.values()))
    np.savez(path, **{"name": np.array(list(CURVES)), "wave": WAVE, "response": stacked} | arrays)


def padded(path):
    """Each curve on wavelengths of its own, as filters_surveys.npz has them."""
    wave, response = np.full((2, 90), np.nan), np.full((2, 90), np.nan)
    wave[:, :81], response[:, :81] = WAVE, np.stack(list(CURVES.values()))
    archive(path, wave=wave.astype(np.float32), response=response)


FORMS = {
    "long.ecsv": lambda path: ecsv(path, LONG),
    "long in nm.ecsv": lambda path: ecsv(path, LONG, u.nm),
    "wide.ecsv": lambda path: ecsv(path, {"wavelength": WAVE} | CURVES),
    "wide in um.ecsv": lambda path: ecsv(path, {"wavelength": WAVE} | CURVES, u.um),
    "long.csv": lambda path: Table(LONG).write(path, format="ascii.csv"),
    "wide.csv": lambda path: Table({"Wavelength": WAVE} | CURVES).write(path, format="ascii.csv"),
    "long.fits": lambda path: Table(LONG).write(path),
    "wide.parquet": lambda path: Table({"wave": WAVE} | CURVES).write(path),
    "one grid.npz": archive,
    "padded.npz": padded,
}


@pytest.mark.parametrize("name", FORMS)
def test_every_form_gives_the_same_curves(name, tmp_path):
    FORMS[name](tmp_path / name)
    curves = read_curves(tmp_path / name)
    assert list(curves) == list(CURVES)
    for name, curve in curves.items():
        expected = np.interp(curve.wave, WAVE, CURVES[name])
        np.testing.assert_allclose(curve.response, expected, rtol=1e-6, atol=1e-9)
        assert curve.centre == pytest.approx({"my blue": 5000, "my-red": 6900}[name], abs=1)


def test_a_file_of_one_curve_names_it(tmp_path):
    one = {"wavelength": WAVE, "response": CURVES["my blue"]}
    ecsv(tmp_path / "F500.ecsv", one)
    assert list(read_curves(tmp_path / "F500.ecsv")) == ["F500"]
    ecsv(tmp_path / "named.ecsv", one, group_name="mysurvey", band_name="b")
    assert list(read_curves(tmp_path / "named.ecsv")) == ["mysurvey-b"]


def test_speclites_own_files_are_read_and_need_no_curve(tmp_path):
    from importlib.resources import files

    path = files("speclite") / "data" / "filters" / "wise2010-W1.ecsv"
    assert dict(read_curves(path)) == {}
    table = Table.read(path, format="ascii.ecsv")
    table.meta["band_name"] = "mine"
    table.write(tmp_path / "a.ecsv", format="ascii.ecsv")
    (curve,) = read_curves(tmp_path / "a.ecsv").values()
    assert curve.name == "wise2010-mine" and curve.is_same_curve(load_filter("wise2010-W1"))


WRONG = {
    "a.csv": ("lambdas,response\n1,2\n", "no column wavelength, only lambdas, response"),
    "b.csv": ("wavelength,blue\n4000,0\n4500,low\n5000,0\n", "column 'blue' does not hold numbers"),
    "c.csv": ("wavelength,blue\n400,0\n450,1\n500,0\n", "filters: blue: .*plain numbers mean Angstrom"),
    "d.csv": ("filter,wavelength,response\na,4000,0\na,4500,1\na,4400,0\n", "filters: a: .*do not increase"),
    "e.csv": ("wavelength,sdss2010-r\n4000,0\n4500,1\n5000,0\n", "speclite has another curve of this name"),
    "f.ecsv": ("# %ECSV 0.9\n# ---\n# datatype: [\nwavelength\n1\n", "cannot be read as a table"),
}


@pytest.mark.parametrize("name", WRONG)
def test_other_tables_are_refused(name, tmp_path):
    content, sentence = WRONG[name]
    (tmp_path / name).write_text(content)
    with pytest.raises(InputError, match=sentence) as error:
        read_curves(tmp_path / name)
    assert str(error.value).startswith(str(tmp_path / name))


@pytest.mark.parametrize(
    "arrays, sentence",
    [
        ({"name": np.array(["a", "a"])}, "'a' is there twice"),
        ({"wave": WAVE[:-1]}, r"\(W,\) or \(F, W\)"),
        ({"name": np.arange(2)}, "name must hold texts"),
        ({"response": np.ones(81)}, r"\(F, W\)"),
        ({"response": np.full((2, 81), "x")}, "numbers"),
    ],
)
def test_other_archives_are_refused(arrays, sentence, tmp_path):
    archive(tmp_path / "a.npz", **arrays)
    with pytest.raises(InputError, match=sentence):
        read_curves(tmp_path / "a.npz")


def test_archives_without_curves_are_refused(tmp_path):
    np.savez(tmp_path / "a.npz", wave=WAVE)
    with pytest.raises(InputError, match="no array 'name'"):
        read_curves(tmp_path / "a.npz")
    with pytest.raises(InputError, match="no such file"):
        read_curves(tmp_path / "b.ecsv")
