"""The library names Python arguments in its errors, never options of the command line."""

import ast
import pickle
import re
from pathlib import Path

import pytest

import pix2spec
from pix2spec.errors import InputError

PACKAGE = Path(pix2spec.__file__).parent
LIBRARY = sorted(path for path in PACKAGE.rglob("*.py") if "apps" not in path.relative_to(PACKAGE).parts)
OPTION = re.compile(r"(?<![\w-])--[a-z]|(?<!\S)-[a-z]\b")
OTHER_PROGRAMS = ("use torchrun --nproc-per-node N -m pix2spec train ...", "-m")  # and Python's own


def texts(path: Path):
    """Text constants of a module but for docstrings, each with its line."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    docs = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docs:
            yield node.value, node.lineno


def test_no_text_of_the_library_names_an_option():
    assert len(LIBRARY) > 100
    found = [
        f"{path.relative_to(PACKAGE)}:{line}: {text!r}"
        for path in LIBRARY
        for text, line in texts(path)
        if OPTION.search(text) and text not in OTHER_PROGRAMS
    ]
    assert not found


def test_the_search_for_options_finds_them(tmp_path):
    (tmp_path / "a.py").write_text('"""--doc"""\nraise InputError("--seed", "x", f"use {1} or -n")\n# --no\n')
    assert [text for text, _ in texts(tmp_path / "a.py") if OPTION.search(text)] == ["--seed", " or -n"]


def test_a_python_user_reads_arguments():
    from pix2spec.models.generator import Settings

    with pytest.raises(InputError, match=r"^`n`: 0 candidates"):
        Settings(n=0)
    with pytest.raises(
        InputError, match=r"^`select`: 'mean:9' needs 9 candidates, but there are 3 \(draw more with `n`\)$"
    ):
        Settings(n=3, select="mean:9")


def test_error_survives_the_way_between_processes():
    error = pickle.loads(pickle.dumps(InputError("a.fits", "damaged", "fetch it again")))
    assert str(error) == "a.fits: damaged (fetch it again)" and error.where == "a.fits"
