"""Take the pictures of docs/guides/app.md: the page on a desktop and on a phone, and a table on it.

    python scripts/app_pictures.py

It needs the extra `app`, Playwright and Chromium.
"""

import argparse
import csv
import shutil
import sys
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

import pix2spec
from pix2spec.apps.web.serve import launch
from pix2spec.core.photometry import magnitude
from pix2spec.core.survey import SDSS
from pix2spec.data.simulate.survey import SimulatedSurvey

DOCS = Path(__file__).parents[1] / "docs" / "images"
SCREENS = {
    "app-desktop.png": {"viewport": {"width": 1280, "height": 1150}},
    "app-phone.png": {"viewport": {"width": 390, "height": 1500}, "has_touch": True},
    "app-table.png": {"viewport": {"width": 1280, "height": 1320}},
}
N_ROWS = 12  # of the table
PATIENCE = 600_000  # milliseconds


def write_table(path: Path) -> Path:
    """Fibre magnitudes of simulated galaxies, under SkyServer's names."""
    names = [f"fiberMag{error}_{band}" for error in ("", "Err") for band in SDSS.photometry_bands]
    with open(path, "w", newline="") as stream:
        rows = csv.writer(stream)
        rows.writerow(["objid", *names])
        for galaxy in SimulatedSurvey(7).galaxies(N_ROWS):
            flux = galaxy.photometry.clip(0.05)
            errors = 1.0857 / (flux * galaxy.photometry_ivar**0.5)
            rows.writerow([galaxy.object_id, *magnitude(flux).round(3), *errors.round(3)])
    return path


def main():
    argparse.ArgumentParser(description=__doc__.split("\n")[0]).parse_args()
    chromium = shutil.which("chromium") or shutil.which("google-chrome") or sys.exit("no chromium here")
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as driver:
        served = launch(pix2spec.load(), Path(folder))
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        for name, screen in SCREENS.items():
            page = browser.new_context(**screen).new_page()
            page.set_default_timeout(PATIENCE)
            page.goto(served.local_url)
            if "table" in name:
                page.check("text=My table")
                table = write_table(Path(folder) / "galaxies.csv")
                page.set_input_files("#table input[type=file]", table)
                page.wait_for_selector("#understood >> text=read as")
            page.click("#generate")
            page.wait_for_selector("#message .summary")
            page.wait_for_selector("#spectrum .annotation")
            page.wait_for_timeout(2500)  # until the figure has settled
            page.screenshot(path=DOCS / name)
            with Image.open(DOCS / name) as image:
                small = image.convert("RGB").quantize(256, Image.Quantize.MAXCOVERAGE)
            small.save(DOCS / name, optimize=True)
            print(DOCS / name)
        browser.close()
        served.close(verbose=False)


if __name__ == "__main__":
    main()
