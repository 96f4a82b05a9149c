"""Run the commands of docs/tutorials/tutorial.md, and put their output and figures into docs.

    python scripts/tutorial.py [--keep FOLDER]

It needs Chromium for the picture of the contact sheet.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

DOCS = Path(__file__).parents[1] / "docs"
PAGE = DOCS / "tutorials" / "tutorial.md"
BLOCK = re.compile(r"(?<=```console\n)\$ .*?(?=```)", re.DOTALL)
COMMAND = re.compile(r'\$ [^\n"]*(?:"[^"]*"[^\n"]*)*\n')  # to the end of the line, quoted lines included


def run(block: str, folder: Path) -> str:
    """A block with one command, and what it prints now."""
    command = COMMAND.match(block).group()
    scripts = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    result = subprocess.run(
        command[2:], shell=True, cwd=folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        env=os.environ | {"PATH": scripts, "COLUMNS": "100"},
    )  # fmt: skip
    print(command + result.stdout, end="", flush=True)
    if result.returncode:
        sys.exit(f"the command ended with exit code {result.returncode}")
    return command + "".join(f"{line.rstrip()}\n" for line in result.stdout.splitlines())


def photograph(page: Path, picture: Path, width: int = 1340) -> None:
    """A picture of an HTML page, its empty margin cut off."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome") or sys.exit("no chromium here")
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
    options += [f"--window-size={width},4000", f"--screenshot={picture}"]
    subprocess.run([chromium, *options, page.resolve().as_uri()], check=True, capture_output=True)
    with Image.open(picture) as image:
        image = image.convert("RGB")
    box = Image.eval(image.convert("L"), lambda level: 255 * (level < 250)).getbbox()
    image.crop((0, 0, width, box[3] + 16)).quantize(128).save(picture, optimize=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--keep", type=Path, help="work in this folder, and leave it")
    args = parser.parse_args()
    folder = args.keep or Path(tempfile.mkdtemp(prefix="pix2spec-tutorial-"))
    folder.mkdir(parents=True, exist_ok=True)
    text = BLOCK.sub(lambda block: run(block.group(), folder), PAGE.read_text())
    with Image.open(folder / "predictions" / "spectra.png") as image:
        image.convert("RGB").quantize(128).save(DOCS / "images" / "tutorial-spectra.png", optimize=True)
    photograph(folder / "predictions" / "ranking" / "contact.html", DOCS / "images" / "contact.png")
    PAGE.write_text(text)
    if not args.keep:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
