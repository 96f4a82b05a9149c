import json
import os
import re
import subprocess
import sys

import numpy as np
import pytest

from pix2spec.apps.cli.main import main
from pix2spec.models.presets import preset_names
from support.tiny import tiny_galaxy, write_tiny_dataset


@pytest.mark.parametrize(
    "command",
    [
        "",
        "demo",
        "data",
        "data simulate",
        "data import",
        "data check",
        "train",
        "generate",
        "evaluate",
        "info",
    ],
)
def test_every_command_explains_itself(cli, command):
    code, out, err = cli(*command.split(), "--help")
    assert code == 0 and "Usage" in out and not err


def test_help_is_fast():
    """In seconds of a core: other processes on the machine do not count."""
    best = 9.0
    for _ in range(3):
        before = os.times()
        subprocess.run([sys.executable, "-m", "pix2spec", "--help"], check=True, capture_output=True)
        after = os.times()
        spent = after.children_user + after.children_system - before.children_user - before.children_system
        best = min(best, spent)
    assert best < 0.5


@pytest.mark.parametrize("words", ["--help", "generate --help"])
def test_help_loads_nothing_heavy(words):
    code = (
        "import sys; from pix2spec.apps.cli.main import app; app(sys.argv[1:], standalone_mode=False); "
        "print(sorted({'torch', 'astropy', 'pyarrow', 'numpy', 'pandas'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code, *words.split()], capture_output=True, text=True)
    assert done.returncode == 0 and "Usage" in done.stdout and done.stdout.endswith("\n[]\n")


def test_importing_the_package_loads_nothing_heavy():
    code = "import sys, pix2spec; print(len({'torch', 'astropy', 'pyarrow', 'numpy'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "0"


def test_version(cli):
    code, out, _ = cli("--version")
    assert code == 0 and re.fullmatch(r"pix2spec \d+\.\d+\.\d+\n", out)


def test_info_lists_and_describes(cli):
    code, out, _ = cli("info")
    assert code == 0 and all(name in out for name in preset_names())
    code, out, _ = cli("info", "paper-concat-small", "--json")
    facts = json.loads(out)
    assert code == 0 and facts["parameters"]["denoiser"] > 1e5 and facts["forward_gflop"]["denoiser"] > 0
    assert facts["grid"]["size"] == 3598 and facts["bands"] == ["g", "r", "i"]


def test_the_whole_road(cli, tmp_path, tiny_run, tiny_selector):
    """Train, generate with a bad row, evaluate: as a user would type it."""
    data = write_tiny_dataset(tmp_path / "data", 100)
    short = ["--set", "train.steps=2", "--set", "train.batch_size=4", "--set", "denoiser.width=8"]
    code, out, _ = cli("train", "paper-concat-small", data, "--out", tmp_path / "run", *short)
    assert code == 0 and "pix2spec generate" in out
    code, out, _ = cli("info", tmp_path / "run")
    assert code == 0 and "steps: 2" in out
    code, out, err = cli(
        "generate", data, "--model", tiny_run, "--selector", tiny_selector, "--out", tmp_path / "made",
        "-n", 4, "--steps", 3, "--select", "mean:2", "--limit", 8, "--fits", "--figures", 2,
    )  # fmt: skip
    assert code == 0, err
    assert "8 ensembles of 4 candidates" in out
    code, out, err = cli("evaluate", tmp_path / "made", "--truth", data, "--train", data)
    assert code == 0, err
    metrics = json.loads((tmp_path / "made" / "evaluation" / "metrics.json").read_text())
    assert metrics


def test_a_bad_object_is_listed_and_the_rest_completes(cli, tmp_path, tiny_run):
    from pix2spec.data.dataset import write_dataset
    from pix2spec.data.schema import DatasetInfo
    from support.tiny import GRID

    galaxies = [tiny_galaxy(i) for i in range(3)]
    galaxies[1].image[:] = 0
    write_dataset(tmp_path / "data", galaxies, DatasetInfo(grid=GRID))
    code, out, err = cli(
        "generate", tmp_path / "data", "--model", tiny_run, "--out", tmp_path / "made", "-n", 2, "--steps", 2
    )
    assert code == 3 and "2 ensembles" in out and "tiny-1: its image is zero everywhere" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["generate", "nowhere", "--out", "x"], "nowhere: no such file or folder"),
        (["generate", ".", "--out", "x", "--model", "nomodel"], "no such model"),
        (["generate", "nowhere", "--out", "x", "--select", "bets"], "single, best, mean:M"),
        (["generate", "nowhere", "--out", "x", "--sampler", "rk4"], "ddim, ddpm, dpm"),
        (["train", "paper-xatn", "d", "--out", "x"], "did you mean 'paper-xattn'"),
        (["train", "paper-xattn", "d", "--out", "x", "--set", "train.lrr=1"], "did you mean 'lr'"),
        (["train", "paper-xattn-small", "d", "--out", "x"], "no Parquet shards"),
        (["data", "check", "d"], "d: no such file or folder"),
        (["evaluate", "d", "--truth", "d"], "d"),
        (["info", "nothing"], "no such model"),
    ],
)
def test_wrong_input_ends_in_one_sentence(cli, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    code, _, err = cli(*arguments)
    assert code == 2 and message in err
    assert "Traceback" not in err and err.count("\n") == 1


def test_data_commands(cli, tmp_path):
    code, out, _ = cli("data", "simulate", tmp_path / "sim", "-n", 20, "--seed", 3)
    assert code == 0 and "20 simulated pairs" in out
    code, out, _ = cli("data", "check", tmp_path / "sim")
    assert code == 0 and "20" in out
    code, _, err = cli("data", "simulate", tmp_path / "sim", "-n", 20)
    assert code == 2 and "already holds a dataset" in err
    (tmp_path / "broken.fits").write_text("<html>")
    code, out, err = cli("data", "import", tmp_path / "real", tmp_path / "broken.fits")
    assert code == 3 and "broken.fits" in err and "0 pairs" in out


def test_cutouts_as_a_file_and_as_a_folder(cli, tmp_path):
    """One FITS file; a folder of pictures of which one is a web page in disguise."""
    from astropy.io import fits
    from PIL import Image

    from pix2spec.core.scaling import lupton_rgb
    from pix2spec.products.catalogue import open_catalogue

    image = tiny_galaxy(0).image
    fits.writeto(tmp_path / "cut.fits", image)
    code, out, err = cli("generate", tmp_path / "cut.fits", "--out", tmp_path / "one", "-n", 2, "--steps", 2)
    assert code == 0, err
    assert open_catalogue(tmp_path / "one").ids == ["cut"]
    folder = tmp_path / "cuts"
    folder.mkdir()
    Image.fromarray(lupton_rgb(image)[::-1].transpose(1, 2, 0).astype(np.uint8)).save(folder / "a.png")
    (folder / "b.jpg").write_text("<html>404</html>")
    code, out, err = cli("generate", folder, "--out", tmp_path / "many", "-n", 2, "--steps", 2)
    assert code == 3 and "1 ensembles" in out and "b.jpg: its content is html, not an image" in err
    assert sorted(open_catalogue(tmp_path / "many").ids) == sorted(["a", str(folder / "b.jpg")])
    fits.writeto(tmp_path / "two.fits", image[:2])
    code, out, err = cli("generate", tmp_path / "two.fits", "--out", tmp_path / "two")
    assert code == 2 and "two.fits" in err and "band" in err


def test_own_filters_and_a_spectrum_join_the_photometry(cli, tmp_path):
    """As a user would type it: one cutout, a table with a band of the user's own, and a prism's spectrum."""
    from astropy import units as u
    from astropy.io import fits
    from astropy.table import QTable

    from pix2spec.products.catalogue import open_catalogue

    fits.writeto(tmp_path / "cut.fits", tiny_galaxy(0).image)
    (tmp_path / "t.csv").write_text("object_id,u,g,r,i,z,NB500\ncut,20,19,18.5,18,17.5,19\n")
    (tmp_path / "curves.csv").write_text("wavelength,NB500\n4900,0\n5000,1\n5100,0\n")
    wave = np.arange(4000.0, 7000, 10)
    flux = np.full(300, 12.0) * u.Unit("1e-17 erg / (s cm2 Angstrom)")
    QTable({"wavelength": wave * u.AA, "flux": flux, "error": 0.1 * flux}).write(tmp_path / "prism.ecsv")
    files = ["--table", tmp_path / "t.csv", "--filters", tmp_path / "curves.csv"]
    files += ["--spectrum", tmp_path / "prism.ecsv", "--out", tmp_path / "out"]
    code, _, err = cli("generate", tmp_path / "cut.fits", *files, "-n", 2, "--steps", 2, "--fits")
    assert code == 0, err
    (ensemble,) = open_catalogue(tmp_path / "out")
    given = ensemble.measurements
    assert given.filters[4:7] == ("sdss2010-z", "NB500", "box-4100-100") and len(given.filters) == 35
    assert set(given.curves) == set(given.filters[5:])
    assert len(fits.getdata(tmp_path / "out" / "spectra" / "cut.fits", "PHOTOMETRY")) == 35
    code, _, err = cli("generate", "--out", tmp_path / "none")
    assert code == 2 and err == "pix2spec: INPUT: there is nothing to generate spectra for (name an input)\n"
    files = ["--filters", tmp_path / "none.csv", "--out", tmp_path / "none"]
    code, _, err = cli("generate", tmp_path / "cut.fits", *files)
    assert code == 2 and "none.csv: no such file" in err


def test_a_missing_extra_is_named(tmp_path, monkeypatch, capsys):
    loaded = [name for name in sys.modules if name.startswith("astroquery.")]
    for name in ("astroquery", *loaded):  # as if it could not be imported
        monkeypatch.setitem(sys.modules, name, None)
    words = ["data", "sdss", str(tmp_path / "out"), "-n", "5", "--mirror", "http://127.0.0.1:9"]
    monkeypatch.setattr("sys.argv", ["pix2spec", *words])
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 2
    assert "needs the package astroquery (pip install 'pix2spec[sdss]')" in capsys.readouterr().err
