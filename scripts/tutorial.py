"""Run the commands of a tutorial, and put their output and figures into docs.

    python scripts/tutorial.py [--keep FOLDER]
    python scripts/tutorial.py --page skyserver --give skyserver.csv

It prints the seconds of each command, by the clock and of the processor. It needs Chromium for the picture of
the contact sheet.
"""

import argparse
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
BLOCK = re.compile(r"(?<=```console\n)\$ .*?(?=```)", re.DOTALL)
COMMAND = re.compile(r'\$ [^\n"]*(?:"[^"]*"[^\n"]*)*\n')  # to the end of the line, quoted lines included


def run(block: str, folder: Path) -> str:
    """A block with one command, and what it prints now."""
    command = COMMAND.match(block).group()
    scripts = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    began, used = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    result = subprocess.run(
        command[2:], shell=True, cwd=folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        env=os.environ | {"PATH": scripts, "COLUMNS": "100"},
    )  # fmt: skip
    now = resource.getrusage(resource.RUSAGE_CHILDREN)
    busy = now.ru_utime + now.ru_stime - used.ru_utime - used.ru_stime
    print(command + result.stdout, end="")
    print(f"# {time.monotonic() - began:.1f} s, {busy:.1f} s of the processor\n", flush=True)
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
    parser.add_argument("--page", default="tutorial", help="name of a page of docs/tutorials")
    parser.add_argument("--give", type=Path, help="a file that the page starts from")
    parser.add_argument("--keep", type=Path, help="work in this folder, and leave it")
    args = parser.parse_args()
    page = DOCS / "tutorials" / f"{args.page}.md"
    folder = args.keep or Path(tempfile.mkdtemp(prefix="pix2spec-tutorial-"))
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "scripts").symlink_to(ROOT / "scripts")
    if args.give:
        (folder / "skyserver.csv").symlink_to(args.give.resolve())
    text = BLOCK.sub(lambda block: run(block.group(), folder), page.read_text())
    with Image.open(folder / "predictions" / "spectra.png") as image:
        drawn = DOCS / "images" / f"{args.page}-spectra.png"
        image.convert("RGB").quantize(128).save(drawn, optimize=True)
    if args.page == "tutorial":
        photograph(folder / "predictions" / "ranking" / "contact.html", DOCS / "images" / "contact.png")
    page.write_text(text)
    if not args.keep:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
