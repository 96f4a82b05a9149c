"""The page in a real browser: Debian's Chromium, headless, driven by Playwright."""

import csv
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import httpx
import numpy as np
import pytest
from astropy.io import fits
from PIL import Image

from pix2spec.measure.quantities import QUANTITIES
from pix2spec.products.spectrum_panel import LINE_LABELS, spread
from support.fake_sdss import write_cube, write_picture, write_spec

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(3600),
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium on the PATH"),
]
playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
pytest.importorskip("gradio", reason="gradio is not installed: pip install 'pix2spec[app]'")
pytest.importorskip("plotly", reason="plotly is not installed: pip install 'pix2spec[app]'")

STARTING, PATIENCE = 1500, 600  # seconds, for machines with much else to do
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]


def wait_for_answer(url, process, log: Path) -> None:
    deadline = time.monotonic() + STARTING
    while True:
        assert process.poll() is None and time.monotonic() < deadline, log.read_text()
        try:
            httpx.get(url, timeout=60).raise_for_status()
            return
        except httpx.TransportError:
            time.sleep(1)


@contextmanager
def serving(folder: Path, *options: str):
    """`pix2spec app` in a process of its own, with `folder` for its temporary files; yields its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "pix2spec", "app", "--port", str(port), *options]
    log = folder / "log"
    with open(log, "w") as stream:
        process = subprocess.Popen(
            command, stdout=stream, stderr=stream, env=os.environ | {"TMPDIR": str(folder)}
        )
    url = f"http://127.0.0.1:{port}"
    try:
        wait_for_answer(url, process, log)
        yield url, process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        process.wait(PATIENCE)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("app")


@pytest.fixture(scope="module")
def url(folder):
    with serving(folder, "--workers", "2", "--max-upload", "1") as (address, _):
        yield address


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, headless=True, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def page(browser, url):
    with opened(browser, url) as page:
        yield page


@contextmanager
def opened(browser, url, width=1280, height=900):
    """A visitor: a browser context of its own. Errors of scripts fail the test."""
    context = browser.new_context(viewport={"width": width, "height": height}, accept_downloads=True)
    context.set_default_timeout(PATIENCE * 1000)
    page, errors = context.new_page(), []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.requested = []
    page.on("request", lambda request: page.requested.append(request.url))
    page.goto(url)
    page.wait_for_selector("#generate")
    page.fill("#n input[type=number]", "5")
    page.press("#n input[type=number]", "Tab")
    yield page
    context.close()
    assert not errors


def generate(page):
    page.click("#generate")
    page.wait_for_selector("#message .summary")
    page.wait_for_selector("#spectrum .annotation")


def said(page, selector="#message"):
    return page.inner_text(selector).replace("\xa0", " ")


def layout(page):
    return page.evaluate(
        """() => { const p = document.querySelector("#spectrum .js-plotly-plot");
        return {z: p.layout.meta.z, range: p.layout.xaxis.range, length: p._fullLayout.xaxis._length,
                lines: p.layout.annotations.map(a => [a.text, a.x, a.ax]),
                names: p.data.map(d => d.name)}; }"""
    )


def test_an_example_from_generation_to_download(page, url, folder, tmp_path):
    generate(page)
    assert "5 candidates, noise-free" in said(page) and "as given" not in said(page)
    assert "Its simulated spectrum is drawn in grey" in said(page)
    assert {"90 % of candidates, smoothed", "observed spectrum", "typical candidate"} <= set(
        layout(page)["names"]
    )
    rows = page.query_selector_all("#quantities tbody tr")
    assert len(rows) == len(QUANTITIES) and "redshift" in rows[0].inner_text()
    # nothing but this server was asked, for fonts, scripts or anything else
    elsewhere = [u for u in page.requested if not u.startswith((url, "data:", "blob:"))]
    assert elsewhere == []

    files = {}
    for name in ("Save FITS", "Save spectrum (CSV)", "Save quantities (CSV)", "Save figure (PNG)"):
        with page.expect_download() as waiting:
            page.get_by_role("button", name=name).or_(page.get_by_role("link", name=name)).first.click()
        files[name] = tmp_path / waiting.value.suggested_filename
        waiting.value.save_as(files[name])
    assert files["Save FITS"].suffix == ".fits"
    with fits.open(files["Save FITS"]) as hdus:
        candidates = hdus["CANDIDATES"].data
        assert len(candidates) == 5
    spectrum = np.genfromtxt(files["Save spectrum (CSV)"], delimiter=",", names=True)
    np.testing.assert_allclose(spectrum["flux"], candidates.mean(0), rtol=1e-4)
    with open(files["Save quantities (CSV)"], newline="") as stream:
        assert next(csv.DictReader(stream))["name"] == "z"
    with Image.open(files["Save figure (PNG)"]) as picture:
        assert picture.format == "PNG" and picture.width > 1000


def test_lines_follow_the_redshift_in_the_browser(page):
    generate(page)
    asked = len(page.requested)
    page.fill("#redshift input[type=number]", "0.2")
    page.wait_for_function("document.querySelector('#spectrum .js-plotly-plot').layout.meta.z === 0.2")
    page.focus("#redshift input[type=range]")
    page.keyboard.press("ArrowRight")
    page.wait_for_function("document.querySelector('#spectrum .js-plotly-plot').layout.meta.z > 0.2")
    after = layout(page)
    (start, end), z = after["range"], after["z"]
    assert z == pytest.approx(0.2005)
    inside = [(name, rest * (1 + z)) for name, rest, _ in LINE_LABELS if start < rest * (1 + z) < end]
    assert [name for name, *_ in after["lines"]] == [name for name, _ in inside]
    np.testing.assert_allclose([x for _, x, _ in after["lines"]], [x for _, x in inside])
    # labels move apart as those of the printed figure do
    pixels = np.array([(x - start) / (end - start) * after["length"] for _, x in inside])
    places = pixels + [shift for *_, shift in after["lines"]]
    np.testing.assert_allclose(places, spread(pixels, [14] * len(pixels)), atol=1e-6)
    assert len(page.requested) == asked  # the server was not asked


def test_wrong_files_get_one_sentence_and_right_ones_a_spectrum(page, tmp_path):
    wrong = tmp_path / "thesis.fits"
    wrong.write_text("Chapter 1")
    page.check("text=My cutout")
    page.wait_for_selector("#cutout")
    page.click("#generate")
    page.wait_for_selector("#message [role=alert]")
    assert said(page) == "file: there is none yet (choose a cutout as FITS, JPEG or PNG)."
    page.set_input_files("#cutout input[type=file]", wrong)
    page.wait_for_selector("#cutout >> text=thesis")
    page.click("#generate")
    page.wait_for_selector("#message >> text=its content is text")
    assert said(page) == "thesis.fits: its content is text (give a cutout as FITS, JPEG or PNG)."

    page.click("#cutout [aria-label=Clear], #cutout [aria-label='Remove this file']")
    page.set_input_files("#cutout input[type=file]", write_picture(tmp_path / "ngc 1.jpg"))
    page.wait_for_selector("#cutout >> text=ngc")
    generate(page)
    assert said(page).startswith("ngc_1: 5 candidates") and "its scale is arbitrary" in said(page)
    assert page.query_selector("#message img.cutout")

    page.click("#cutout [aria-label=Clear], #cutout [aria-label='Remove this file']")
    page.set_input_files("#cutout input[type=file]", write_cube(tmp_path / "cube.fits"))
    page.wait_for_selector("#cutout >> text=cube")
    page.click("#generate")
    page.wait_for_selector("#message >> text=cube: 5 candidates")
    assert "The image's flux within the fibre fixes the flux." in said(page)


def write_table(path):
    """Three galaxies, one of them without a magnitude, whose r has a name of its own."""
    names = ["objid", *(f"fiberMag_{band}" for band in "ugiz"), "best"]
    rows = [[7, 19.66, 18.15, 16.88, 16.56, 17.3], [8, *[-9999] * 5], [9, 20.2, 18.9, 17.9, 17.7, 18.2]]
    path.write_text("\n".join(",".join(map(str, row)) for row in (names, *rows)))
    return path


@pytest.mark.parametrize("width", [1400, 390])
def test_a_table_from_its_columns_to_its_rows(browser, url, tmp_path, width):
    with opened(browser, url, width) as page:
        page.check("text=My table")
        page.click("#generate")
        page.wait_for_selector("#message [role=alert]")
        assert said(page) == "file: there is none yet (choose a table of magnitudes or fluxes)."
        page.set_input_files("#table input[type=file]", write_table(tmp_path / "mine.csv"))
        page.wait_for_selector("#understood >> text=fiberMag_i → i, SDSS fibre magnitude")
        page.click("text=What the table does not say")
        page.fill("#columns-option input, #columns-option textarea", "r=best,r.kindd=fibre")
        page.press("#columns-option input, #columns-option textarea", "Tab")
        page.wait_for_selector("#understood [role=alert] >> text=--columns")
        page.fill("#columns-option input, #columns-option textarea", "r=best,r.kind=fibre")
        page.press("#columns-option input, #columns-option textarea", "Tab")
        page.wait_for_selector("#understood >> text=best → r, SDSS fibre magnitude")

        generate(page)
        page.wait_for_selector("#rows tbody tr.chosen[data-row='0']")
        rows = [row.inner_text() for row in page.query_selector_all("#rows tbody tr")]
        assert len(rows) == 3 and "failed: no usable flux or magnitude" in rows[1]
        assert said(page).startswith("7: 5 candidates") and "photometry (fibre)" in layout(page)["names"]
        command = (
            "pix2spec generate mine.csv --columns r=best,r.kind=fibre -n 5 --noise none --out predictions"
        )
        assert said(page, "pre.command") == command
        page.click("#rows tr[data-row='2']")
        page.wait_for_selector("#message >> text=9: 5 candidates")
        page.click("#rows tr[data-row='1']")
        page.wait_for_selector("#message [role=alert]")
        assert said(page) == "8: no usable flux or magnitude."
        with page.expect_download() as waiting:
            page.get_by_role("button", name="Catalogue (FITS)").or_(
                page.get_by_role("link", name="Catalogue (FITS)")
            ).first.click()
        waiting.value.save_as(tmp_path / "saved.fits")
        with fits.open(tmp_path / "saved.fits") as hdus:
            assert len(hdus[1].data) == 3
        assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_uploads_that_are_too_large_are_refused(page, url, tmp_path):
    big = tmp_path / "big.fits"
    big.write_bytes(bytes(2 * 2**20))
    page.check("text=My cutout")
    page.wait_for_selector("#cutout")
    page.set_input_files("#cutout input[type=file]", big)
    page.wait_for_selector("text=exceed the maximum allowed size")
    # nor does the server take it from who does not ask through the page
    answer = httpx.post(f"{url}/gradio_api/upload", files={"files": ("big.fits", big.read_bytes())})
    assert answer.status_code == 413


def test_an_observed_spectrum_is_set_beside_without_generating_again(page, tmp_path):
    generate(page)
    page.set_input_files("#observed input[type=file]", write_spec(tmp_path / "spec-0266-51602-0013.fits"))
    page.wait_for_selector("#message >> text=0266-51602-0013 is drawn in grey, z = 0.1200")
    assert "0.12" in page.query_selector("#quantities tbody tr").inner_text()
    assert page.input_value("#redshift input[type=number]") == "0.12"


def test_the_keyboard_is_enough(page):
    """From the top of the page to a spectrum of typed magnitudes, by Tab, Space, letters and Enter."""

    def focus_on(selector, most=60):
        for _ in range(most):
            if page.locator(selector).locator(":scope:focus, :focus").count():
                return
            page.keyboard.press("Tab")
        raise AssertionError(f"{selector} is not reached by Tab")

    page.evaluate("document.activeElement.blur()")
    page.keyboard.press("Home")
    focus_on("#source label:has-text('My magnitudes')")
    page.keyboard.press("Space")
    page.wait_for_selector("#mag-g")
    for band, value in zip("ugriz", ("19.6", "18.0", "17.2", "16.8", "16.5")):
        focus_on(f"#mag-{band}")
        page.keyboard.type(value)
    focus_on("#generate")
    page.keyboard.press("Enter")
    page.wait_for_selector("#message .summary")
    assert said(page).startswith("magnitudes: 5 candidates") and "The magnitudes fix the flux." in said(page)
    focus_on("#redshift")
    focus_on("#downloads")


def test_impossible_numbers_get_one_sentence(page):
    page.check("text=My magnitudes")
    page.wait_for_selector("#mag-g")
    page.fill("#mag-g input, #mag-g textarea", "99")
    page.click("#generate")
    page.wait_for_selector("#message [role=alert]")
    assert said(page) == "g magnitude: 99 is none of a galaxy (magnitudes from 1 to 32)."


def test_visitors_at_the_same_time_get_their_own(browser, url, folder):
    sessions = folder.glob("pix2spec-app-*/sessions/*")
    before = set(sessions)
    with opened(browser, url) as one, opened(browser, url) as two:
        two.fill("#seed input", "7")
        two.check("#noise input")
        for page in (one, two):
            page.click("#generate")
        for page in (one, two):
            page.wait_for_selector("#message .summary")
        assert "noise-free" in said(one) and "with noise" in said(two) and "band of 90 %" in said(two)
        assert len(set(folder.glob("pix2spec-app-*/sessions/*")) - before) == 2
    deadline = time.time() + 60
    while set(folder.glob("pix2spec-app-*/sessions/*")) - before and time.time() < deadline:
        time.sleep(0.5)
    assert not set(folder.glob("pix2spec-app-*/sessions/*")) - before  # closed tabs leave nothing


def test_a_phone_shows_all_without_scrolling_sideways(browser, url):
    with opened(browser, url, 390, 844) as page:
        generate(page)
        page.wait_for_timeout(500)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        inside = page.evaluate(
            """s => [...document.querySelectorAll(s)].map(e => e.getBoundingClientRect())
            .every(r => r.left >= 0 && r.right <= 390)""",
            "#quantities, #quantities table, #spectrum, #downloads button",
        )
        assert inside


def test_stopping_leaves_no_files(tmp_path):
    with serving(tmp_path) as (_, process):
        assert list(tmp_path.glob("pix2spec-app-*"))
        process.send_signal(signal.SIGTERM)
        process.wait(PATIENCE)
    assert not list(tmp_path.glob("pix2spec-app-*"))
