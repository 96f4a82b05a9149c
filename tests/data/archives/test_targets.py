"""Tables of positions and names to predictions: cutouts and photometry from a server on loopback."""

import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.table import Table
from typer.testing import CliRunner

from pix2spec.apps.cli.main import app
from pix2spec.core.survey import HSC, LEGACY, SDSS
from pix2spec.data.archives import skyserver
from pix2spec.data.archives.targets import Fetch, fetch_targets, is_position_table
from pix2spec.data.archives.urls import Services
from pix2spec.data.dataset import write_dataset
from pix2spec.data.schema import DatasetInfo, Galaxy
from pix2spec.errors import InputError
from pix2spec.models.registry import build_model
from pix2spec.models.storage import save_model
from pix2spec.products.catalogue import open_catalogue
from support.fake_dust import sky_dust, write_maps
from support.loopback.server import serve
from support.loopback.sky import Sky
from support.tiny import GRID, tiny_preset

NOWHERE = (10.0, -80.0)  # no survey has looked there


@pytest.fixture(scope="module")
def server():
    with serve(Sky(objects=40, distinct=128, run2ds=("26",))) as running:
        yield running


@pytest.fixture(scope="module")
def galaxies(server):
    """Five galaxies of the server's sky."""
    sky = server.sky
    return [
        target for target in sky.targets(sky.plates[0]) if target.kind == "galaxy" and not target.near_edge
    ][:5]


@pytest.fixture(autouse=True)
def _unhurried(monkeypatch):
    monkeypatch.setattr(skyserver, "SPACING", 0.0)
    monkeypatch.setattr(skyserver, "BACKOFF", 0.01)
    monkeypatch.delenv("SFD_DIR", raising=False)


@contextmanager
def sesame(known):
    """A name resolver that answers as CDS's does."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            name = unquote(urlsplit(self.path).query)
            asked.append(name)
            ra, dec = known.get(name, (None, None))
            lines = [f"# {name}\t#Q1", "#=S=Simbad (CDS, via client/server)"]
            lines += ["#!Nothing found"] if ra is None else [f"%J {ra:.7f} {dec:+.7f} = 00:00:00 +00:00:00"]
            body = "\n".join(lines).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args):
            pass

    asked = []
    running = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=running.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{running.server_address[1]}/", asked
    finally:
        running.shutdown()
        running.server_close()


def write_table(path, rows, header="name,ra,dec"):
    path.write_text("\n".join([header, *(",".join(map(str, row)) for row in rows)]) + "\n")
    return path


def fetched(server, tmp_path, path, survey=SDSS, cache=None, sesame=None):
    fetch = Fetch(Services.at(server.url), cache or tmp_path / "cache", sesame=sesame)
    return fetch_targets(path, survey, tmp_path / "data", fetch, GRID, progress=False)


def test_positions_become_pairs_with_image_photometry_and_extinction(server, galaxies, tmp_path):
    path = write_table(tmp_path / "t.csv", [(f"a{i}", g.ra, g.dec) for i, g in enumerate(galaxies)])
    found = fetched(server, tmp_path, path)
    assert found.failures == [] and found.n_photometry == 5
    assert found.dataset.info.survey == SDSS and found.dataset.info.image_kind == "linear"
    for i, (pair, galaxy) in enumerate(zip(found.dataset, galaxies)):
        assert pair.object_id == f"a{i}" and pair.ra == pytest.approx(galaxy.ra)
        expected = np.stack([server.sky.band_image(galaxy, band) for band in "gri"])
        np.testing.assert_allclose(pair.image, expected, atol=1e-5)
        flux, ivar = server.sky.photometry(galaxy)
        np.testing.assert_allclose(pair.photometry[ivar > 0], flux[ivar > 0], rtol=1e-4)
        np.testing.assert_allclose(found.extinction[pair.object_id], server.sky.extinction(galaxy), rtol=1e-5)


def test_bad_rows_are_named_by_number_and_cost_no_other(server, galaxies, tmp_path):
    good = galaxies[0]
    rows = [
        ("good", good.ra, good.dec),
        ("far", 400, 10),
        ("short", 10),
        ("empty", *NOWHERE),
        ("good", good.ra, good.dec),
        ("NGC 9999", "", ""),
        ("", "", ""),
    ]
    path = write_table(tmp_path / "t.csv", rows)
    with sesame({}) as (address, asked):
        found = fetched(server, tmp_path, path, sesame=address)
    assert [pair.object_id for pair in found.dataset] == ["good"]
    assert asked == ["NGC 9999"]
    reasons = dict(found.failures)
    assert set(reasons) == {"far", "t-3", "empty", "good", "NGC 9999", "t-7"}
    assert reasons["far"].startswith("row 2: ra 400, dec 10 is not on the sky")
    assert reasons["t-3"] == "row 3: it has too many or too few cells"
    assert (
        reasons["empty"].startswith("row 4: no cutout: ")
        and "(check that the position lies inside sdss)" in reasons["empty"]
    )
    assert reasons["good"] == "row 5: it repeats the id of row 1"
    assert reasons["NGC 9999"].startswith("row 6: no object is known as 'NGC 9999'")
    assert reasons["t-7"] == "row 7: it has neither a position in degrees nor a name"


def test_names_are_resolved_and_kept(server, galaxies, tmp_path):
    path = write_table(tmp_path / "t.csv", [("NGC 1",), ("NGC 2",)], header="name")
    known = {f"NGC {i + 1}": (g.ra, g.dec) for i, g in enumerate(galaxies[:2])}
    with sesame(known) as (address, asked):
        for _ in range(2):
            found = fetched(server, tmp_path, path, sesame=address)
            assert [p.ra for p in found.dataset] == pytest.approx([g.ra for g in galaxies[:2]])
    assert asked == ["NGC 1", "NGC 2"]


def test_a_silent_resolver_is_left_alone(server, galaxies, tmp_path):
    rows = [(f"NGC {i}", "", "") for i in range(6)] + [("good", galaxies[0].ra, galaxies[0].dec)]
    path = write_table(tmp_path / "t.csv", rows)
    found = fetched(server, tmp_path, path, sesame="http://127.0.0.1:9/")
    assert [pair.object_id for pair in found.dataset] == ["good"]
    told = [reason for _, reason in found.failures]
    assert sum("did not answer for" in reason for reason in told) == 3
    assert sum("was not asked again" in reason for reason in told) == 3


def test_nothing_is_fetched_twice(server, galaxies, tmp_path):
    path = write_table(tmp_path / "t.csv", [(i, g.ra, g.dec) for i, g in enumerate(galaxies)])
    first = fetched(server, tmp_path, path)
    before = server.count()
    again = fetched(server, tmp_path, path)
    assert server.count() == before
    np.testing.assert_array_equal(first.dataset[3].image, again.dataset[3].image)
    answers = sorted((tmp_path / "cache" / "answers").iterdir())
    assert len(answers) == 5
    answers[2].write_text(answers[2].read_text()[:-20])  # damaged
    (tmp_path / "cache" / "answers" / "0.json.partial").touch()  # killed while it wrote
    assert len(fetched(server, tmp_path, path).dataset) == 5
    assert server.count() == before + 1
    assert len(fetched(server, tmp_path, path).dataset) == 5
    assert server.count() == before + 1


def test_a_damaged_file_in_the_cache_is_asked_for_again(server, galaxies, tmp_path):
    path = write_table(
        tmp_path / "t.csv", [("a", galaxies[0].ra, galaxies[0].dec), ("b", galaxies[1].ra, galaxies[1].dec)]
    )
    fetched(server, tmp_path, path)
    cutout = next((tmp_path / "cache").rglob("*.fits"))
    cutout.write_bytes(cutout.read_bytes()[:3000])
    assert len(fetched(server, tmp_path, path).failures) == 1
    assert fetched(server, tmp_path, path).failures == []


def test_own_photometry_and_redshift_go_before_the_servers(server, galaxies, tmp_path):
    row = ("0266-51602-0013", galaxies[0].ra, galaxies[0].dec, *[20.0] * 5, 0.07)
    path = write_table(tmp_path / "t.csv", [row], "object_id,ra,dec,u,g,r,i,z,redshift")
    pair = fetched(server, tmp_path, path).dataset[0]
    np.testing.assert_allclose(pair.photometry, 10.0, rtol=1e-5)
    assert pair.z == 0.07 and pair.object_id == "0266-51602-0013"


def test_legacy_cutouts_have_their_own_bands_and_pixels(server, galaxies, tmp_path):
    path = write_table(tmp_path / "t.csv", [("a", galaxies[0].ra, galaxies[0].dec)])
    found = fetched(server, tmp_path, path, LEGACY)
    info = found.dataset.info
    assert info.survey == LEGACY and info.image_shape == (3, 64, 64) and found.n_photometry == 0
    assert server.count("layer=ls-dr10-south&size=64&pixscale=0.262&bands=grz")
    with pytest.raises(InputError, match="cutouts of hsc cannot be fetched"):
        fetched(server, tmp_path, path, HSC)


def test_tables_are_told_from_pictures_and_datasets(tmp_path):
    assert is_position_table(write_table(tmp_path / "t.csv", [("a", 1, 2)]))
    Table({"ra": [1.0], "dec": [2.0]}).write(tmp_path / "t.fits")
    Table({"ra": [1.0], "dec": [2.0]}).write(tmp_path / "t.vot", format="votable")
    pq.write_table(pa.table({"ra": [1.0], "dec": [2.0]}), tmp_path / "t.parquet")
    for name in ("t.fits", "t.vot", "t.parquet"):
        assert is_position_table(tmp_path / name), name
    fits.PrimaryHDU(np.ones((3, 64, 64), np.float32)).writeto(tmp_path / "cutout.fits")
    shards = write_dataset(tmp_path / "data", [Galaxy("a")], DatasetInfo(grid=GRID))
    for path in (tmp_path / "cutout.fits", *shards, tmp_path / "data", tmp_path / "none"):
        assert not is_position_table(path), path
    with pytest.raises(InputError, match=r"neither ra and dec in degrees nor names \(its columns are x"):
        path = write_table(tmp_path / "x.csv", [(1,)], "x")
        fetch_targets(path, SDSS, tmp_path / "out", Fetch(Services(), tmp_path / "c"), GRID, progress=False)


def run(*words):
    return CliRunner().invoke(app, [str(word) for word in words])


def quick_generate(table, out, server, *words):
    """With the shipped default model, two candidates of two steps each."""
    quick = ("-n", 2, "--steps", 2, "--mirror", server.url)
    return run("generate", table, "--out", out, *quick, *words)


def test_nothing_is_fetched_unasked(server, galaxies, tmp_path):
    path = write_table(tmp_path / "t.csv", [("a", galaxies[0].ra, galaxies[0].dec)])
    before = server.count()
    result = quick_generate(path, tmp_path / "out", server)
    assert isinstance(result.exception, InputError) and server.count() == before
    assert "nothing is fetched unasked (give --survey sdss or legacy" in str(result.exception)


def test_predictions_of_a_table_state_what_was_done(server, galaxies, tmp_path):
    rows = [(f"a{i}", g.ra, g.dec) for i, g in enumerate(galaxies)] + [("far", 400, 0)]
    path = write_table(tmp_path / "t.csv", rows)
    words = ("--survey", "sdss", "--cache", tmp_path / "cache")
    result = quick_generate(path, tmp_path / "out", server, *words)
    assert result.exit_code == 3, result.output
    assert "corrected by SkyServer's extinction" in result.output
    catalogue = open_catalogue(tmp_path / "out")
    assert catalogue.ids == ["far", "a0", "a1", "a2", "a3", "a4"]
    assert catalogue.failures == {"far": "row 6: ra 400, dec 0 is not on the sky (degrees, ra from 0 to 360)"}
    for ensemble, galaxy in zip(catalogue, galaxies):
        assert ensemble.ebv == pytest.approx(server.sky.extinction(galaxy)[1] / 3.303, rel=1e-3)
        assert "extinction-corrected" in ensemble.flags
    assert catalogue.provenance["galactic_extinction"]["corrected"]

    before = server.count()
    kept = quick_generate(path, tmp_path / "kept", server, *words, "--extinction", "keep")
    assert kept.exit_code == 3 and server.count() == before  # the cache has all
    for ensemble, other in zip(open_catalogue(tmp_path / "kept"), catalogue):
        assert ensemble.flags[-1] == "extinction-kept" and ensemble.ebv == other.ebv
        brighter = other.flux.mean() / ensemble.flux.mean()  # less dust before it
        assert brighter == pytest.approx(10 ** (0.4 * 2.285 * other.ebv), rel=0.05)


def test_a_survey_that_the_model_does_not_know_is_refused_before_anything_is_fetched(
    server, galaxies, tmp_path
):
    path = write_table(tmp_path / "t.csv", [("a", galaxies[0].ra, galaxies[0].dec)])
    before = server.count()
    result = quick_generate(path, tmp_path / "out", server, "--survey", "legacy")
    assert isinstance(result.exception, InputError) and server.count() == before
    told = str(result.exception)
    assert "its survey is legacy, that of the model is sdss: image bands grz and gri" in told
    assert "pix2spec train PRESET DATASET" in told
    assert not (tmp_path / "out" / "catalog.parquet").exists()


def test_a_model_of_legacy_data_takes_legacy_targets(server, galaxies, tmp_path):
    """Dust is known from maps alone there; without, it is said that nothing was corrected."""
    model = tmp_path / "model"
    save_model(model, build_model(tiny_preset("paper-concat-small"), GRID, LEGACY), {"trained_on": "nothing"})
    path = write_table(tmp_path / "t.csv", [(f"a{i}", g.ra, g.dec) for i, g in enumerate(galaxies[:2])])
    words = ("--survey", "legacy", "--model", model, "--cache", tmp_path / "cache")
    result = quick_generate(path, tmp_path / "out", server, *words)
    assert result.exit_code == 0, result.output
    assert "nothing was corrected: no map of the dust is at hand (see --dust)" in result.output
    for ensemble in open_catalogue(tmp_path / "out"):
        assert "extinction-unknown" in ensemble.flags and np.isnan(ensemble.ebv)
    assert not open_catalogue(tmp_path / "out").provenance["galactic_extinction"]["corrected"]

    maps = write_maps(tmp_path / "dust")
    result = quick_generate(path, tmp_path / "corrected", server, *words, "--dust", maps)
    assert result.exit_code == 0 and "corrected by SFD's maps" in result.output
    for ensemble in open_catalogue(tmp_path / "corrected"):
        galactic = SkyCoord(ensemble.ra, ensemble.dec, unit="deg").galactic
        assert ensemble.ebv == pytest.approx(sky_dust(galactic.b.rad), abs=2e-4)
        assert "extinction-corrected" in ensemble.flags
