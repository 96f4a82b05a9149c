"""What the page reads, shows and writes, without a browser."""

import csv
import json
import os
from dataclasses import replace

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from pix2spec.apps.web import exports, inputs, results, text
from pix2spec.apps.web.picture import cutout_png
from pix2spec.core.grid import SpectralGrid
from pix2spec.core.survey import SDSS
from pix2spec.data.measurements import Measurements
from pix2spec.data.schema import Galaxy
from pix2spec.errors import InputError
from pix2spec.measure.quantities import QUANTITIES, Measurement
from pix2spec.products.ensemble import Ensemble
from pix2spec.products.units import PHYSICAL, RELATIVE
from support.fake_sdss import write_spec
from support.pages import parse_page
from support.skies import sky, write_sky

GRID = SpectralGrid()
LIMIT = 2**20


def ensemble(n=5, **more):
    rng = np.random.default_rng(1)
    flux = 10 + rng.normal(size=(n, GRID.size)).astype(np.float32)
    facts = {"redshifts": np.linspace(0.1, 0.2, n), "scores": np.linspace(0, 1, n), "provenance": {"seed": 0}}
    return Ensemble("galaxy", GRID, flux, np.arange(n), **facts | more)


def measured(n=5, **known):
    values = {name: np.full(n, np.nan, np.float32) for name in QUANTITIES}
    values |= {name: np.asarray(v, np.float32) for name, v in known.items()}
    errors = {name: np.full(n, np.nan, np.float32) for name in QUANTITIES}
    return Measurement(values, errors, np.array([1, 1, 1, 3, 0][:n], np.int8), np.zeros(n, int))


# ------------------------------------------------------------------------------------ uploads


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("NGC 4258.fits.gz", "NGC_4258"),
        ("../../etc/passwd", "passwd"),
        ("a.JPG", "a"),
        ("<b>x</b>.png", "b"),
        ("...", "galaxy"),
        ("spec-0266-51602-0013.fits", "spec-0266-51602-0013"),
    ],
)
def test_names_of_uploads_become_safe(name, safe):
    assert inputs.safe_name(name) == safe


@given(st.text())
def test_a_safe_name_is_a_plain_file_name(name):
    safe = inputs.safe_name(name)
    assert 0 < len(safe) <= 60 and safe.isascii() and not set(safe) & set("/\\ <>\0\n")
    assert safe not in (".", "..")


def test_a_jpeg_is_recognised_by_its_content(tmp_path):
    path = tmp_path / "cutout.fits"  # its name lies
    pixels = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    Image.fromarray(pixels).save(path, "JPEG")
    galaxy, kind = inputs.cutout_galaxy(path, SDSS, LIMIT)
    assert kind == "composite" and galaxy.image.shape == (3, 64, 64) and galaxy.object_id == "cutout"


def test_a_fits_cutout_keeps_its_fluxes(tmp_path):
    path = tmp_path / "x.fits"
    image = np.random.default_rng(0).normal(size=(3, 64, 64)).astype(np.float32)
    fits.PrimaryHDU(image).writeto(path)
    galaxy, kind = inputs.cutout_galaxy(path, SDSS, LIMIT)
    assert kind == "linear"
    np.testing.assert_array_equal(galaxy.image, image)


def test_what_is_no_cutout_gets_one_sentence(tmp_path):
    path = tmp_path / "notes.jpg"
    path.write_text("not a picture")
    with pytest.raises(InputError) as caught:
        inputs.cutout_galaxy(path, SDSS, LIMIT)
    said = inputs.sentence(caught.value)
    assert said == "notes.jpg: its content is text (give a cutout as FITS, JPEG or PNG)."
    assert str(tmp_path) not in said


def test_uploads_have_a_largest_size(tmp_path):
    path = tmp_path / "big.fits"
    path.write_bytes(b"SIMPLE  =" + bytes(LIMIT))
    with pytest.raises(InputError, match=r"1\.0 MiB, and 1 MiB are allowed"):
        inputs.cutout_galaxy(path, SDSS, LIMIT)
    with pytest.raises(InputError, match="empty"):
        path.write_bytes(b"")
        inputs.cutout_galaxy(path, SDSS, LIMIT)


@pytest.mark.parametrize("path", [None, "gone.fits"])
def test_a_missing_upload_is_named(path):
    with pytest.raises(InputError, match=r"none yet|no longer"):
        inputs.cutout_galaxy(path, SDSS, LIMIT)


def test_sentences_leave_out_arguments():
    assert inputs.sentence(InputError("`n`", "0 candidates", "draw at least one")) == (
        "0 candidates (draw at least one)."
    )
    assert inputs.sentence(InputError("/tmp/x/a.fits", "too coarse", "use `any_pixel_scale=True`")) == (
        "a.fits: too coarse."
    )


def test_an_observed_spectrum_is_read(tmp_path):
    path = write_spec(tmp_path / "spec-0266-51602-0013.fits")
    galaxy, (native, own_grid), notes = inputs.observed_spectrum(path, GRID, 2**24)
    assert galaxy.object_id == "0266-51602-0013" and galaxy.flux.shape == (GRID.size,)
    assert own_grid.size == 3850 and notes == ()
    np.testing.assert_array_equal(native.flux, fits.getdata(path, 1)["flux"])


def test_a_spectrum_of_another_instrument_is_read(tmp_path):
    wave = np.arange(3800.0, 9300.0, 2.0)
    np.savetxt(tmp_path / "a.txt", np.transpose([wave, 5 + np.sin(wave / 50)]), header="z = 0.05")
    galaxy, (native, own_grid), notes = inputs.observed_spectrum(tmp_path / "a.txt", GRID, 2**24)
    assert galaxy.z == 0.05 and (galaxy.ivar > 0).all() and native.flux.shape == wave.shape
    assert own_grid.size == len(wave) and len(notes) == 2  # the unit and the errors


# --------------------------------------------------------------------------------- magnitudes


def test_magnitudes_are_ab_and_errors_are_theirs():
    flux, ivar = inputs.fluxes_of_magnitudes(
        ["", "22.5", "20", "", "17,5"], ["", "0.1", "0.01", "", "0.02"], SDSS
    )
    np.testing.assert_allclose(flux[[1, 2, 4]], [1, 10, 100], rtol=1e-6)
    sigma = flux * np.log(10) / 2.5 * [np.nan, 0.1, 0.01, np.nan, 0.02]
    np.testing.assert_allclose(ivar[[1, 2, 4]], 1 / sigma[[1, 2, 4]] ** 2, rtol=1e-5)
    assert ivar[0] == ivar[3] == 0


def test_without_errors_five_per_cent_are_assumed():
    flux, ivar = inputs.fluxes_of_magnitudes(["20"] * 5, [""] * 5, SDSS)
    np.testing.assert_allclose(ivar, 1 / ((0.05 * flux) ** 2 + 0.05**2), rtol=1e-5)


def test_without_magnitudes_there_are_no_fluxes():
    assert inputs.fluxes_of_magnitudes([""] * 5, [" "] * 5, SDSS) == (None, None)


@pytest.mark.parametrize(
    ("magnitudes", "errors", "said"),
    [
        ({"u": "abc"}, {}, "u magnitude: 'abc' is not a number."),
        ({"u": "nan"}, {}, "u magnitude: 'nan' is not a number."),
        ({"g": "99"}, {}, "g magnitude: 99 is none of a galaxy (magnitudes from 1 to 32)."),
        ({"r": "18"}, {"r": "-0.1"}, "r error: -0.1 is none of a magnitude (between 0 and 10)."),
        ({"g": "19", "r": "18"}, {"r": "0.1"}, "g error: it is missing (give all errors or none)."),
        ({}, {"u": "0.1"}, "u error: there is no magnitude to go with it."),
    ],
)
def test_impossible_magnitudes_are_refused(magnitudes, errors, said):
    typed = ([values.get(band, "") for band in "ugriz"] for values in (magnitudes, errors))
    with pytest.raises(InputError) as caught:
        inputs.fluxes_of_magnitudes(*typed, SDSS)
    assert inputs.sentence(caught.value) == said


@pytest.mark.parametrize("value", [None, 0, 101, 1.5, float("nan"), float("inf"), "3"])
def test_counts_are_whole_and_within_bounds(value):
    with pytest.raises(InputError, match="a whole number from 1 to 100"):
        inputs.whole_number(value, "candidates", 1, 100)


# ---------------------------------------------------------------------------------- the table


def test_rows_have_median_and_interval():
    sample = [1.0, 2.0, 3.0, 4.0, 5.0]
    result = results.Result(
        ensemble(), measured(ew_halpha=sample, dn4000=[1, 1, np.nan, np.nan, np.nan]), False
    )
    table = {row.name: row for row in results.rows(result)}
    row = table["ew_halpha"]
    assert (row.median, row.n) == (3, 5)
    # positions k / (n + 1): 16 % lies at 0.96 of the way, below the first, and 84 % above the last
    assert (row.low, row.high) == (1, 5)
    assert np.isnan(table["dn4000"].median) and table["dn4000"].n == 2
    assert list(table) == list(QUANTITIES)


def test_relative_flux_has_no_line_fluxes():
    relative = ensemble(unit=RELATIVE)
    names = [row.name for row in results.rows(results.Result(relative, measured(), True))]
    assert not [name for name in names if name.startswith("flux_")] and "ew_halpha" in names
    scaled = ensemble(unit=RELATIVE, provenance={"normalisation": "minmax"})
    names = [row.name for row in results.rows(results.Result(scaled, measured(), True))]
    assert names == ["z", "sigma_v", "sigma_gas"]


def test_lines_start_at_the_redshift_of_the_candidate_that_is_drawn():
    shown = ensemble()
    result = results.Result(shown, measured(z=np.full(5, 0.3)), False)
    assert result.z == shown.redshifts[shown.typical]
    assert results.Result(replace(shown, z=0.12), None, False).z == 0.12
    assert results.Result(replace(shown, redshifts=None), measured(z=np.full(5, 0.3)), False).z == np.float32(
        0.3
    )


def test_classes_are_shares_of_the_candidates():
    result = results.Result(ensemble(), measured(), False)
    assert results.classes(result) == {"star-forming": 0.6, "none": 0.2, "AGN": 0.2}


def test_the_table_sets_the_observed_spectrum_beside():
    observed = results.Observed(Galaxy("x", z=0.1), measured(1, ew_halpha=[7.25]))
    result = results.Result(ensemble(), measured(ew_halpha=[1, 2, 3, 4, 5]), False)
    page = text.quantity_table(results.rows(result, observed))
    assert "<td>7.250</td>" in page and 'scope="col">observed' in page
    assert "observed" not in text.quantity_table(results.rows(result))


def test_what_visitors_type_is_escaped():
    assert "<script>" not in text.alert("<script>alert(1)</script>")
    result = results.Result(ensemble(), None, False)
    observed = results.Observed(Galaxy("<img src=x>", flux=np.ones(GRID.size), ivar=np.ones(GRID.size)), None)
    assert "<img" not in text.summary(result, observed, [])
    flagged = replace(result, ensemble=replace(result.ensemble, flags=["<img src=x>"], object_id="<b>"))
    page = text.summary(flagged, observed, [])
    assert "<img" not in page and "<b>" not in page
    assert "<img" not in text.note("<img src=x>") and "<img" not in text.header("<img src=x>")


def test_words_and_tables_are_valid_html():
    result = results.Result(ensemble(), measured(ew_halpha=[1, 2, 3, 4, 5]), False)
    observed = results.Observed(Galaxy("x", flux=np.ones(GRID.size), ivar=np.ones(GRID.size)), None)
    pictured = replace(result.ensemble, image=np.ones((3, 64, 64), np.float32))
    rows = results.rows(result)
    for page in (
        text.header("model"), text.note("words"), text.alert("words"), text.candidate_table(ensemble(3)),
        text.quantity_table(rows), text.quantity_table([]), text.summary(result, observed, rows),
        text.summary(replace(result, ensemble=pictured), None, rows),
    ):  # fmt: skip
        parse_page(page)
    assert page.count("data:image/png;base64,") == 1 and "lines too weak to tell 20&nbsp;%" in page


def test_the_summary_counts_pixels_in_the_band():
    result = results.Result(ensemble(n=99), None, True)
    low, high = result.ensemble.quantiles((0.05, 0.95))
    flux = np.where(np.arange(GRID.size) % 4 == 0, high + 1, (low + high) / 2)
    galaxy = Galaxy("x", z=0.1, flux=flux, ivar=np.ones(GRID.size))
    assert "75&nbsp;% of its pixels" in text.summary(result, results.Observed(galaxy, None), [])


def test_scores_are_listed_best_first():
    page = text.candidate_table(ensemble(3))
    places = [page.index(f'<th scope="row">{k}</th>') for k in (3, 2, 1)]
    assert places == sorted(places) and "0.500" in page


# ----------------------------------------------------------------------------------- downloads


def draw(_, path, **__):
    path.write_bytes(b"\x89PNG")


def test_downloads_hold_the_ensemble(tmp_path):
    flux = np.full(GRID.size, 3, np.float32)
    galaxy = Galaxy("obs", z=0.2, flux=flux, ivar=np.ones(GRID.size, np.float32))
    observed = results.Observed(galaxy, measured(1, z=[0.2]))
    result = results.Result(ensemble(), measured(z=[0.1, 0.11, 0.12, 0.13, 0.14]), False)
    table = results.rows(result, observed)
    files = exports.write_downloads(tmp_path, "session", result, observed, table, draw)
    assert [p.name for p in files] == [
        "galaxy.fits", "galaxy-spectrum.csv", "galaxy-quantities.csv", "galaxy.png",
    ]  # fmt: skip
    with fits.open(files[0]) as hdus:
        assert hdus["CANDIDATES"].data.shape == (5, GRID.size)
    spectrum = np.genfromtxt(files[1], delimiter=",", names=True)
    np.testing.assert_allclose(spectrum["wavelength"], GRID.wave, rtol=1e-6)
    np.testing.assert_allclose(spectrum["q50"], result.ensemble.quantiles((0.5,))[0], rtol=1e-5)
    np.testing.assert_allclose(spectrum["observed_flux"], 3)
    with open(files[2], newline="") as stream:
        lines = {line["name"]: line for line in csv.DictReader(stream)}
    assert float(lines["z"]["median"]) == pytest.approx(0.12) and float(
        lines["z"]["observed"]
    ) == pytest.approx(0.2)


def test_a_session_keeps_its_last_files_alone(tmp_path):
    result = results.Result(ensemble(), None, False)
    first = exports.write_downloads(tmp_path, "a", result, None, [], draw)
    other = exports.write_downloads(tmp_path, "b", result, None, [], draw)
    second = exports.write_downloads(tmp_path, "a", result, None, [], draw)
    assert not first[0].exists() and other[0].exists() and second[0].exists()
    assert first[0].parent != second[0].parent  # browsers do not mistake one for the other
    exports.remove_session(tmp_path, "a")
    assert not second[0].exists() and other[0].exists()


def test_forgotten_sessions_go_after_a_while(tmp_path):
    result = results.Result(ensemble(), None, False)
    old, new = (exports.write_downloads(tmp_path, s, result, None, [], draw)[0] for s in "ab")
    os.utime(old.parent.parent, (0, 0))
    exports.remove_old_sessions(tmp_path, 3600)
    assert not old.exists() and new.exists()


@pytest.mark.parametrize("session", ["../../x", "/etc", "", None, "a\0b"])
def test_sessions_cannot_choose_their_folder(tmp_path, session):
    folder = exports.session_folder(tmp_path, session)
    assert folder.parent == tmp_path / "sessions" and folder.name.isalnum()


# ------------------------------------------------------------------------------------- figure


def test_the_figure_has_bands_candidates_and_lines():
    pytest.importorskip("plotly")
    from pix2spec.apps.web.figure import spectrum_figure

    galaxy = Galaxy("obs", z=0.2, flux=np.full(GRID.size, 3.0), ivar=np.arange(GRID.size) % 2)
    figure = json.loads(spectrum_figure(ensemble(), 0.1, galaxy).to_json())
    traces = {trace.get("name"): trace for trace in figure["data"]}
    bands = {f"{share} % of candidates, smoothed" for share in (68, 90)}
    assert bands | {"observed spectrum", "typical candidate"} <= set(traces)
    assert [t["name"] for t in figure["data"] if t.get("visible") == "legendonly"] == [
        "mean of candidates", "candidate 1", "candidate 3", "candidate 5",
    ]  # fmt: skip
    assert traces["observed spectrum"]["y"][:2] == [None, 3.0]  # ivar 0: a gap
    np.testing.assert_allclose(traces["mean of candidates"]["y"], ensemble().flux, rtol=1e-3)
    typical = ensemble().candidates[ensemble().typical]
    np.testing.assert_allclose(traces["typical candidate"]["y"], typical, rtol=1e-3)
    layout = figure["layout"]
    assert layout["meta"]["z"] == 0.1
    assert ["[O II]", (3727.09 + 3729.88) / 2, "#a8480f"] in layout["meta"]["lines"]
    np.testing.assert_allclose(np.array(layout["xaxis3"]["range"]) * 1.1, layout["xaxis"]["range"])


def test_the_figure_has_photometry_and_redshifts():
    pytest.importorskip("plotly")
    from pix2spec.apps.web.figure import spectrum_figure

    filters = ("sdss2010-r", "sdss2010-i", "wise2010-W1")
    given = Measurements(filters, np.full(3, 30.0), np.ones(3), ("fibre",) * 3)
    shown = replace(ensemble(), measurements=given, unit=PHYSICAL)
    traces = {trace.name: trace for trace in spectrum_figure(shown, 0.1).data}
    points = traces["photometry (fibre)"]
    assert points.text == filters[:2] and len(points.error_x.array) == 2
    assert np.trapezoid(traces["p(z)"].y, traces["p(z)"].x) == pytest.approx(1, abs=0.02)


def test_one_candidate_has_no_bands():
    pytest.importorskip("plotly")
    from pix2spec.apps.web.figure import spectrum_figure

    figure = spectrum_figure(ensemble(1, scores=None), 0.0)
    assert [trace.name for trace in figure.data if trace.name] == ["chosen spectrum"]


# ------------------------------------------------------------------------------------ starting


def test_without_the_extra_the_mend_is_named(monkeypatch):
    import importlib.util

    from pix2spec.apps.web import serve

    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"gradio and plotly missing \(pip install 'pix2spec\[app\]'\)"):
        serve.serve("default", "127.0.0.1", 7860, 1, 20, False)


@pytest.mark.slow
def test_examples_are_what_they_are_called():
    from pix2spec.apps.web.examples import simulated_examples

    examples = simulated_examples(GRID)
    assert len(examples) == 5
    for name, galaxy in examples.items():
        assert name.endswith(f"z = {galaxy.z:.3f}")
        assert galaxy.truth  # so the model knows that the picture is simulated, and sees it
        assert galaxy.image.shape == (3, 64, 64) and galaxy.flux.shape == (GRID.size,)
        observed = results.measure_at(galaxy.flux[None], galaxy.ivar[None], np.array([galaxy.z]), GRID)
        if "Star-forming" in name:
            assert observed.values["ew_halpha"][0] > 10
        if "uiescent" in name:
            assert observed.values["dn4000"][0] > 1.7
        if "Seyfert" in name:
            assert results.BPT_CLASSES[observed.bpt[0]] == "AGN"


def test_the_photometry_of_a_cutout_is_a_line_and_its_apertures_are_drawn(tmp_path):
    path = write_sky(tmp_path / "cutout.fits", *sky())
    galaxy, kind = inputs.cutout_galaxy(path, SDSS, LIMIT, measure=True)
    measured = galaxy.measurements()
    assert measured.kinds == ("fibre",) * 3 + ("kron",) * 3 and galaxy.object_id == "cutout"
    pictured = replace(
        ensemble(), image=galaxy.image, image_kind=kind, measurements=measured, flags=[*galaxy.flags]
    )
    page = text.summary(results.Result(pictured, None, False), None, [], SDSS)
    r = 22.5 - 2.5 * np.log10(measured.flux[1])
    assert f"r {r:.2f} ± 0.02" in page and "within the fibre (white circle)" in page
    parse_page(page)
    plain = replace(pictured, flags=[], measurements=None)
    assert cutout_png(pictured, SDSS) != cutout_png(plain, SDSS)
    assert "Measured in the picture" not in text.summary(results.Result(plain, None, False), None, [], SDSS)
