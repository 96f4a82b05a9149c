"""What a user names as input becomes a dataset, or one sentence."""

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.table import QTable

import pix2spec
from pix2spec.core.filters import Filter
from pix2spec.core.survey import LEGACY, SDSS
from pix2spec.data.archives.targets import Fetch
from pix2spec.data.archives.urls import Services
from pix2spec.data.dataset import Dataset
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
    with pytest.raises(InputError, match=r"nothing is fetched unasked \(give `survey` sdss or legacy"):
        open_source(table, tmp_path / "out", generator)
    for call in (check_source, lambda source, _: open_source(source, tmp_path / "out", generator)):
        with pytest.raises(InputError, match="no such file or folder"):
            call(tmp_path / "none", None)


def test_an_unknown_release_is_refused_at_once(tmp_path):
    with pytest.raises(InputError, match=r"`release`: 'dr99' is unknown \(choose from dr16, dr17, dr18\)"):
        Fetch(Services(), tmp_path, release="dr99")


WAVE = np.linspace(4900, 5100, 21)
OWN = {"NB500": Filter("NB500", WAVE, np.exp(-0.5 * ((WAVE - 5000) / 30) ** 2))}


def test_own_filters_are_columns_of_the_tables_of_cutouts(generator, tmp_path):
    fits.writeto(tmp_path / "a.fits", tiny_galaxy(0).image)
    magnitudes = {"both.csv": "u,g,r,i,z,NB500\na,20,20,20,17.5,20,20", "own.csv": "NB500\na,20"}
    for name, text in magnitudes.items():
        (tmp_path / name).write_text(f"object_id,{text}\n")
        out = tmp_path / f"out-{name}"
        opened = open_source(tmp_path / "a.fits", out, generator, tables=[tmp_path / name], filters=OWN)
        (galaxy,) = opened.dataset
        bands = SDSS.filters if name == "both.csv" else ()
        assert galaxy.filters == (*bands, "NB500") and set(galaxy.kind) == {"unknown"}
        assert galaxy.curves == OWN and galaxy.photometry[-1] == pytest.approx(10)
    (tmp_path / "none.csv").write_text("object_id,NB600\na,20\n")
    with pytest.raises(InputError, match="no column"):
        open_source(
            tmp_path / "a.fits", tmp_path / "o", generator, tables=[tmp_path / "none.csv"], filters=OWN
        )
    data = write_tiny_dataset(tmp_path / "data", 1)
    with pytest.raises(InputError, match=r"`filters`: .*a dataset has its own filters"):
        open_source(data, tmp_path / "o", generator, filters=OWN)


def write_prism(path, **columns):
    wave = np.arange(4000.0, 7000, 10)
    unit = u.Unit("1e-17 erg / (s cm2 Angstrom)")
    flux = 3.631e-29 * 5 * 2.99792458e18 / wave**2 / 1e-17  # 5 nanomaggies
    QTable({"wavelength": wave * u.AA, "flux": flux * unit, "error": 0.1 * flux * unit} | columns).write(path)
    return path


def test_a_spectrum_joins_the_photometry_of_one_object(generator, tmp_path):
    path = write_prism(tmp_path / "prism.ecsv")
    alone = open_source(None, tmp_path / "out", generator, spectrum=path)
    (galaxy,) = alone.dataset
    assert galaxy.object_id == "prism" and len(galaxy.filters) == 29 and set(galaxy.kind) == {"fibre"}
    np.testing.assert_allclose(galaxy.photometry, 5, rtol=1e-3)
    data = write_tiny_dataset(tmp_path / "data", 1)
    before = Dataset(data)[0]
    opened = open_source(data, tmp_path / "out", generator, spectrum=path)
    (galaxy,) = opened.dataset
    assert galaxy.filters == (*SDSS.filters, *alone.dataset[0].filters)
    np.testing.assert_array_equal(galaxy.photometry[:5], before.photometry)
    np.testing.assert_array_equal(galaxy.image, before.image)
    assert opened.dataset.info.provenance["spectrum"] == str(path) and galaxy.z == before.z


def test_spectra_that_cannot_join_are_refused(generator, tmp_path):
    counts = np.ones(300) * u.ct
    path = write_prism(tmp_path / "counts.ecsv", flux=counts, error=0.1 * counts)
    with pytest.raises(InputError, match="is it in erg/s/cm2/Angstrom, in Jy, or relative"):
        open_source(None, tmp_path / "out", generator, spectrum=path)
    data = write_tiny_dataset(tmp_path / "data", 2)
    with pytest.raises(
        InputError, match=r"`spectrum`: a spectrum belongs to one object, and the input has 2"
    ):
        open_source(data, tmp_path / "out", generator, spectrum=path)
    with pytest.raises(InputError, match="`source`: there is nothing to generate"):
        open_source(None, tmp_path / "out", generator)
    with pytest.raises(InputError, match="no such file"):
        check_source(None, None, None, tmp_path / "none.fits")
    assert not (tmp_path / "out").exists()
