"""What a user names as input becomes a dataset, or one sentence."""

import numpy as np
import pytest
from astropy.io import fits

import pix2spec
from pix2spec.core.survey import LEGACY, SDSS
from pix2spec.data.archives.targets import Fetch
from pix2spec.data.archives.urls import Services
from pix2spec.errors import InputError
from pix2spec.generate.sources import check_source, open_source
from support.loopback.server import serve
from support.loopback.sky import Sky
from support.tiny import tiny_galaxy, write_tiny_dataset


@pytest.fixture(scope="module")
def generator(tiny_run):
    return pix2spec.load(tiny_run)


def test_a_dataset_is_opened_where_it_is(generator, tmp_path):
    data = write_tiny_dataset(tmp_path / "data", 4)
    for source in (data, str(data), next(data.glob("*.parquet"))):
        opened = open_source(source, tmp_path / "out", generator)
        assert len(opened.dataset) == 4 and opened.failures == [] and opened.extinction is None
    assert open_source(data, tmp_path / "out", generator, survey=SDSS).dataset.info.survey == SDSS
    with pytest.raises(InputError, match=r"it is a dataset of sdss, not legacy \(leave out `survey`\)"):
        open_source(data, tmp_path / "out", generator, survey=LEGACY)
    assert not (tmp_path / "out").exists()


def test_cutouts_become_a_dataset_of_the_models_survey(generator, tmp_path):
    folder = tmp_path / "cuts"
    folder.mkdir()
    fits.writeto(folder / "a.fits", tiny_galaxy(0).image)
    (folder / "b.jpg").write_text("<html>404</html>")
    for _ in range(2):  # what a run that failed left behind is replaced
        opened = open_source(folder, tmp_path / "out", generator)
        assert [pair.object_id for pair in opened.dataset] == ["a"] and opened.extinction is None
        assert opened.dataset.info.survey == generator.survey and opened.dataset.info.grid == generator.grid
        assert [name for name, _ in opened.failures] == [str(folder / "b.jpg")]
    (tmp_path / "out" / "catalog.parquet").write_bytes(b"")
    with pytest.raises(InputError, match=r"already holds a catalogue \(choose another `out`"):
        open_source(folder, tmp_path / "out", generator)


def test_positions_are_downloaded_with_their_extinction(generator, tmp_path):
    with serve(Sky(objects=40, distinct=128, run2ds=("26",))) as server:
        galaxy = next(
            target for target in server.sky.targets(server.sky.plates[0])
            if target.kind == "galaxy" and not target.near_edge
        )  # fmt: skip
        table = tmp_path / "t.csv"
        table.write_text(f"name,ra,dec\nmine,{galaxy.ra},{galaxy.dec}\nfar,400,0\n")
        fetch = Fetch(Services.at(server.url), tmp_path / "cache")
        opened = open_source(table, tmp_path / "out", generator, survey=SDSS, fetch=fetch)
        assert [pair.object_id for pair in opened.dataset] == ["mine"]
        assert [name for name, _ in opened.failures] == ["far"]
        np.testing.assert_allclose(opened.extinction["mine"], server.sky.extinction(galaxy), rtol=1e-5)
        assert opened.note == (
            f"1 targets with cutouts of sdss, 1 with photometry, 1 failed; kept in {tmp_path / 'cache'}"
        )
        before = server.count()
        with pytest.raises(InputError, match="its survey is legacy, that of the model is sdss"):
            open_source(table, tmp_path / "out", generator, survey=LEGACY, fetch=fetch)
        assert server.count() == before


def test_nothing_is_downloaded_unasked(generator, tmp_path):
    table = tmp_path / "t.csv"
    table.write_text("name,ra,dec\na,1,2\n")
    assert check_source(table, SDSS) and not check_source(write_tiny_dataset(tmp_path / "d", 2), None)
    for call in (check_source, lambda source, _: open_source(source, tmp_path / "out", generator)):
        with pytest.raises(InputError, match=r"nothing is fetched unasked \(give `survey` sdss or legacy"):
            call(table, None)
        with pytest.raises(InputError, match="no such file or folder"):
            call(tmp_path / "none", None)


def test_an_unknown_release_is_refused_at_once(tmp_path):
    with pytest.raises(InputError, match=r"`release`: 'dr99' is unknown \(choose from dr16, dr17, dr18\)"):
        Fetch(Services(), tmp_path, release="dr99")
