"""`pix2spec export --format`: a catalogue for another program."""

import json
import sys

import numpy as np
import pytest
from astropy.table import Table

from pix2spec.apps.cli.main import main
from pix2spec.core.grid import SpectralGrid
from pix2spec.products.catalogue import CatalogueWriter
from pix2spec.products.ensemble import Ensemble
from pix2spec.products.units import PHYSICAL

GRID = SpectralGrid()


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    with CatalogueWriter(tmp_path / "predictions", GRID, {"noise": "none", "seed": 1}) as writer:
        flux = np.linspace(1, 2, 5)[:, None] * np.ones(GRID.size)
        redshifts = np.linspace(0.1, 0.12, 5)
        writer.add(Ensemble("7", GRID, flux, np.arange(5), unit=PHYSICAL, redshifts=redshifts))

    def call(*words):
        monkeypatch.setattr(sys, "argv", ["pix2spec", "export", *map(str, words)])
        with pytest.raises(SystemExit) as stop:
            main()
        return stop.value.code, *capsys.readouterr()

    return call


def test_a_catalogue_becomes_a_truth_table(run, tmp_path):
    words = [tmp_path / "predictions", "--format", "desi-truth", "--out", tmp_path / "truth.fits"]
    code, out, _ = run(*words, "--json")
    assert code == 0 and json.loads(out)["format"] == "desi-truth"
    assert Table.read(tmp_path / "truth.fits", hdu="TRUTH")["TARGETID"].tolist() == [7]
    code, out, _ = run(
        tmp_path / "predictions", "--format", "4most", "--radius", 2, "--out", tmp_path / "etc"
    )
    assert code == 0 and "and 2 more files" in out
    assert Table.read(tmp_path / "etc" / "targets.fits")["EXTENT_PARAMETER"].tolist() == [2.0]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["predictions", "--format", "qp"], "a catalogue is written to a file or a folder (give --out)"),
        (["predictions", "--format", "vot", "--out", "x"], "'vot' is unknown (known are qp, 4most"),
        (
            ["predictions", "--format", "specsim", "--radius", "1", "--out", "x"],
            "--radius: the format specsim",
        ),
        (
            ["default", "--radius", "1", "--out", "x"],
            "--radius: it belongs to a catalogue (give --format too)",
        ),
        (["predictions", "--format", "qp", "--hub", "me/x"], "--hub: it publishes a model, not a catalogue"),
        (["nowhere", "--format", "qp", "--out", "x.hdf5"], "nowhere"),
    ],
)
def test_wrong_requests_end_in_one_sentence(run, tmp_path, monkeypatch, words, message):
    monkeypatch.chdir(tmp_path)
    code, _, err = run(*words)
    assert code == 2 and message in err and err.count("\n") == 1
