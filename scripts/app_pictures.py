"""Take the pictures of docs/guides/app.md: the first example of the web page, on a desktop and on a phone.

    python scripts/app_pictures.py

It needs the extra `app`, Playwright and Chromium.
"""

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

import pix2spec
from pix2spec.apps.web.serve import launch

DOCS = Path(__file__).parents[1] / "docs" / "images"
SCREENS = {
    "app-desktop.png": {"viewport": {"width": 1280, "height": 1150}},
    "app-phone.png": {"viewport": {"width": 390, "height": 1500}, "has_touch": True},
}
PATIENCE = 600_000  # milliseconds


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
            page.click("#generate")
            page.wait_for_selector("#message .summary")
            page.wait_for_selector("#spectrum .annotation")
            page.wait_for_timeout(2500)  # until the figure has settled
            page.screenshot(path=DOCS / name)
            print(DOCS / name)
        browser.close()
        served.close(verbose=False)


if __name__ == "__main__":
    main()
