"""Every benchmark and script starts, and says what it does."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPTS = [*sorted(ROOT.glob("benchmarks/*.py")), *sorted(ROOT.glob("scripts/*.py"))]


@pytest.mark.slow
@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_starts(path):
    if path.stem == "app_pictures":
        pytest.importorskip("playwright")
    shown = subprocess.run([sys.executable, path, "--help"], capture_output=True, text=True, timeout=120)
    assert shown.returncode == 0, shown.stderr
    about = path.read_text().split('"""')[1].splitlines()[0]
    assert about in " ".join(shown.stdout.split())


def test_docstrings_show_the_command():
    for path in SCRIPTS:
        assert f"    python {path.relative_to(ROOT).as_posix()}" in path.read_text(), path
