"""The four commands of docs/tutorials/skyserver.md, on a made-up export with SkyServer's columns."""

import csv
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from astropy.table import Table

from pix2spec.core.photometry import magnitude
from pix2spec.data.simulate.survey import SimulatedSurvey
from pix2spec.products.catalogue import open_catalogue

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "tutorials" / "skyserver.md"
N = 6


def write_export(path: Path) -> dict[str, float]:
    """An export of simulated galaxies and of a star, as SkyServer writes it; gives the redshifts by id."""
    query = re.search(r"```sql\nSELECT TOP \d+\n(.*?)\nFROM", PAGE.read_text(), re.DOTALL)[1]
    names = [re.split(r"\.| AS ", word.strip())[-1] for word in query.replace("\n", " ").split(",")]
    redshifts = {}
    with open(path, "w", newline="") as stream:
        rows = csv.DictWriter(stream, names)
        stream.write("#Table1\n")
        rows.writeheader()
        for k, galaxy in enumerate(SimulatedSurvey(11).galaxies(N)):
            light = dict(zip("ugriz", magnitude(galaxy.photometry.clip(0.1)).round(4)))
            place = {"ra": 150.0 + k, "dec": 0.5, "run": 752, "rerun": 301, "camcol": 4, "field": 267}
            name = {"specobjid": "3.72E+18", "plate": 300 + k, "mjd": 51602, "fiberid": 7}
            row = light | place | name | {"class": "GALAXY", "redshift": galaxy.z}
            rows.writerow(row)
            redshifts[f"{300 + k:04d}-51602-0007"] = galaxy.z
        rows.writerow(row | {"class": "STAR", "redshift": 0.0001, "plate": 999})
    return redshifts


def test_the_four_commands_lead_from_an_export_to_a_list(tmp_path, monkeypatch, cli):
    commands = re.findall(r"^\$ (.*)$", PAGE.read_text(), re.MULTILINE)
    assert len(commands) == 4
    redshifts = write_export(tmp_path / "skyserver.csv")
    monkeypatch.chdir(tmp_path)
    first = shlex.split(commands[0].replace("--rows 300", f"--rows {N}"))
    assert first[0] == "python"
    script = subprocess.run([sys.executable, ROOT / first[1], *first[2:]], check=True, capture_output=True)
    assert script.stdout.decode().strip() == f"{N} of {N} galaxies in galaxies.csv"
    said = []
    for command in commands[1:]:
        code, out, errors = cli(*shlex.split(command)[1:])
        assert code == 0, errors
        said.append(out + errors)
    assert "r → r, SDSS model magnitude (sdss2010-r)" in said[0]
    assert "plate-mjd-fiberid → object id" in said[0] and "they are not used" in said[0]
    table = open_catalogue("predictions").read(["object_id", "z_given", "status"]).to_pandas()
    assert dict(zip(table.object_id, table.z_given)) == pytest.approx(redshifts, abs=1e-5)
    assert (
        Path("predictions/spectra.png").stat().st_size and Path("predictions/ranking/contact.html").exists()
    )
    ranking = Table.read("predictions/ranking/ranking.fits")
    assert set(ranking["object_id"]) == set(redshifts)
    assert (np.diff(ranking["probability"]) <= 0).all() and (ranking["hours_q84"] >= ranking["hours"]).all()
