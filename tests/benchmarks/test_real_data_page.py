"""What the page on real data tells to do gives archives that are read."""

import re

import numpy as np
import pandas as pd
import pytest

from pix2spec.training.real_sky import READERS, load_real, spectrum_fluxes
from support.fake_sdss import LOGLAM, write_spec
from support.paths import DOCS

PAGE = (DOCS / "guides" / "real-data.md").read_text()
PROGRAMS = re.findall(r"^```python\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)


def test_the_page_names_every_archive():
    assert all(f"`{archive}`" in PAGE for archive, _ in READERS.values())


def test_an_answer_of_casjobs_becomes_an_archive(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "real").mkdir()
    columns = [f"{name}_{band}" for name in ("dered", "modelMagErr") for band in "ugriz"]
    (query,) = (text for text in re.findall(r"```sql\n(.*?)```", PAGE, re.DOTALL) if "SpecObj AS" in text)
    assert re.findall(r"p\.(\w+_[ugriz])\b", query) == columns
    pd.DataFrame({"z": [0.1], **{name: [17.0 if "Err" not in name else 0.02] for name in columns}}).to_csv(
        "casjobs.csv", index=False
    )
    exec(PROGRAMS[0], {})
    table = load_real("real")["mgs"]
    assert table.z == pytest.approx([0.1]) and np.allclose(table.magnitude, 17)


def test_spectra_become_an_archive(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("real", "spectra"):
        (tmp_path / name).mkdir()
    for fibre, target in ((1, 5), (2, 5), (3, 6)):
        path = tmp_path / "spectra" / f"spec-0266-51602-{fibre:04d}.fits"
        model = {"model": np.full(len(LOGLAM), 20, np.float32)}
        write_spec(path, fiber=fibre, seed=fibre, bestobjid=str(target), columns=model)
    exec(PROGRAMS[1], {})
    table = load_real("real")["spectra"]
    assert len(table) == 3 and table.object_group.tolist() == [0, 0, 1]
    flux, error = spectrum_fluxes("real", ["sdss2010-r", "sdss2010-i"])
    assert np.allclose(flux[:, 0], table.flux[:, 2]) and (error > 0).all()
