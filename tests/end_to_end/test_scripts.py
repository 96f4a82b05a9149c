"""Every benchmark and script starts, and says what it does."""

import subprocess
import sys

import pytest

from support.paths import ROOT

SCRIPTS = [*sorted(ROOT.glob("benchmarks/*.py")), *sorted(ROOT.glob("scripts/*.py"))]
# One process for all: most of the time of a start is the imports that they share.
PROGRAM = """
import os, runpy, sys
for path in sys.argv[1:]:
    sys.argv, sys.path[0] = [path, "--help"], os.path.dirname(path)
    print("#", path, flush=True)
    try:
        runpy.run_path(path, run_name="__main__")
    except SystemExit as stop:
        assert not stop.code, (path, stop.code)
    else:
        raise AssertionError(f"{path} did not stop at its help")
"""


@pytest.mark.slow
def test_each_starts_and_says_what_it_does():
    wanted = [path for path in SCRIPTS if path.stem != "app_pictures" or _has_playwright()]
    command = [sys.executable, "-c", PROGRAM, *map(str, wanted)]
    shown = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert shown.returncode == 0, shown.stderr
    for path, text in zip(wanted, shown.stdout.split("# /")[1:], strict=True):
        about = path.read_text().split('"""')[1].splitlines()[0]
        assert about in " ".join(text.split()), path


def _has_playwright() -> bool:
    try:
        import playwright  # noqa: F401
    except ImportError:
        return False
    return True


def test_docstrings_show_the_command():
    for path in SCRIPTS:
        assert f"    python {path.relative_to(ROOT).as_posix()}" in path.read_text(), path
