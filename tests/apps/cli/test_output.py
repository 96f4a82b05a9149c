"""Commands teach by example, end with a summary, and speak JSON to scripts."""

import json
import sys
from pathlib import Path
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from pix2spec.apps.cli.main import app, main
from pix2spec.apps.cli.output import App, _plain
from pix2spec.errors import InputError
from support.tiny import GRID, tiny_galaxy, write_tiny_dataset


def commands(typer_app=app, words=()):
    for command in typer_app.registered_commands:
        name = command.name or command.callback.__name__.replace("_", "-")
        yield (*words, name)
    for group in typer_app.registered_groups:
        yield from commands(group.typer_instance, (*words, group.name))


@pytest.fixture
def cli(monkeypatch, capsys):
    def run(*words):
        monkeypatch.setattr(sys, "argv", ["pix2spec", *map(str, words)])
        with pytest.raises(SystemExit) as stop:
            main()
        captured = capsys.readouterr()
        return stop.value.code or 0, captured.out, captured.err

    return run


@pytest.mark.parametrize("words", list(commands()), ids=" ".join)
def test_help_teaches_by_example(cli, words, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    code, out, err = cli(*words, "--help")
    assert code == 0 and not err
    assert f"pix2spec {' '.join(words)} " in out.partition("Usage:")[2].partition("\n")[2], "no example"
    assert "--json" in out


def test_every_command_is_known():
    names = {" ".join(words) for words in commands()}
    assert {"demo", "train", "generate", "rank", "evaluate", "info", "export", "app", "data sdss"} <= names


def test_a_run_in_json(cli, tmp_path, tiny_run):
    """Three objects, one of them bad: one object on stdout, the rest on stderr, no progress bar."""
    from pix2spec.data.dataset import write_dataset
    from pix2spec.data.schema import DatasetInfo

    galaxies = [tiny_galaxy(i) for i in range(3)]
    galaxies[1].image[:] = 0
    write_dataset(tmp_path / "data", galaxies, DatasetInfo(grid=GRID))
    out = tmp_path / "made"
    words = ["--model", tiny_run, "--out", out, "-n", 2, "--steps", 2, "--spec", "--json"]
    code, text, err = cli("generate", tmp_path / "data", *words)
    summary = json.loads(text)
    assert code == summary["exit_code"] == 3 and text.count("\n") == 1
    assert summary["catalogue"] == str(out / "catalog.parquet")
    assert (summary["objects"], summary["failed"], summary["candidates"]) == (2, 1, 2)
    assert summary["failures"] == [["tiny-1", "tiny-1: its image is zero everywhere"]]
    assert summary["files"] == [str(out / "spec" / f"tiny-{i}.fits") for i in (0, 2)]
    assert "2 ensembles of 2 candidates in" in err and "\r" not in err and "━" not in err
    code, text, err = cli("evaluate", out, "--truth", tmp_path / "data", "--quick", "--json")
    report = json.loads(text)
    assert code == 0 and report["report"] == str(out / "evaluation" / "report.html") and "Report:" in err


def test_datasets_and_models_in_json(cli, tmp_path):
    code, text, err = cli("data", "simulate", tmp_path / "sim", "-n", 12, "--json")
    assert json.loads(text) == {"dataset": str(tmp_path / "sim"), "pairs": 12, "exit_code": 0}
    assert code == 0 and "pix2spec data check" in err
    code, text, _ = cli("data", "check", tmp_path / "sim", "--json")
    assert code == 0 and json.loads(text)["problems"] == 0
    code, text, err = cli("info", "--json")
    assert code == 0 and "default" in json.loads(text)["models"] and "default" in err
    (tmp_path / "broken.fits").write_text("<html>")
    code, text, _ = cli("data", "import", tmp_path / "real", tmp_path / "broken.fits", "--json")
    summary = json.loads(text)
    assert code == 3 and summary["failed"] == 1 and "broken.fits" in summary["failures"][0][0]


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["info", "nothing"], "nothing: no such model (give a run folder"),
        (["generate", "nowhere", "--out", "x"], "nowhere: no such file or folder"),
        (["generate"], "Missing option"),
        (["generate", "d", "--out", "x", "--bogus"], "No such option: --bogus"),
        (["generate", "d", "--out", "x", "-n", "many"], "(see `pix2spec generate --help`)"),
        (["data", "simulat", "x"], "(see `pix2spec data --help`)"),
    ],
)
def test_errors_are_one_sentence_and_one_object(cli, words, part):
    code, out, err = cli(*words)
    assert code == 2 and not out and err.count("\n") == 1 and err.startswith("pix2spec: ") and part in err
    code, out, err = cli(*words, "--json")
    error = json.loads(out)
    assert (
        code == error["exit_code"] == 2
        and part in error["error"]
        and err.strip() == f"pix2spec: {error['error']}"
    )


def test_input_errors_come_in_parts(cli):
    error = json.loads(cli("info", "nothing", "--json")[1])
    assert error["where"] == "nothing" and error["what"] == "no such model" and "run folder" in error["hint"]


@pytest.mark.parametrize(
    ("words", "where", "sentence"),
    [
        (["generate", "d", "--out", "x", "-n", "0"], "-n", "-n: 0 candidates (draw at least one)"),
        (["generate", "d", "--out", "x", "--select", "mean:30"], "--select",
         "--select: 'mean:30' needs 30 candidates, but there are 25 (draw more with -n)"),
        (["rank", "d"], "STATEMENT", "STATEMENT: nothing to rank by (give one, or --by information)"),
        (["train", "paper-xattn", "d", "--out", "x", "--set", "a"], "--set",
         "--set: 'a' is not of the form section.key=value (as in train.lr=2e-4)"),
        (["evaluate", "d", "d", "--truth", "d", "--compare"], "PREDICTIONS", "PREDICTIONS: the same"),
        (["data", "sdss", "x", "--bands", "gu"], "--bands", "(use --images frames for other bands)"),
        (["generate", "d", "--out", "x", "--dust", "n"], "--dust n", "--dust n: it lacks SFD_dust_4096_ngp"),
    ],
)  # fmt: skip
def test_errors_name_options(cli, tmp_path, monkeypatch, words, where, sentence):
    monkeypatch.chdir(tmp_path)
    write_tiny_dataset(tmp_path / "d", 3)
    code, out, err = cli(*words, "--json")
    error = json.loads(out)
    assert code == 2 and error["where"] == where and sentence in error["error"] and sentence in err
    assert "`" not in out + err


def test_arguments_are_written_as_options(tmp_path):
    app = App()

    @app.command()
    def sample(
        folder: Annotated[list[Path], typer.Argument(metavar="FOLDERS...")],
        n: Annotated[int, typer.Option("-n")] = 1,
        use: str = "all",
        resume: Annotated[bool, typer.Option("--resume")] = False,
        keep_all: Annotated[bool, typer.Option("--all/--no-all")] = True,
    ) -> None:
        raise InputError(
            "n", "`folder` and `n`", '`use="a,b"`, `use=\'c\'`, `resume=True`, `keep_all=False`, `keep_all`, '
            "`other=1`, `pix2spec x`", "  `n`",
        )  # fmt: skip

    error = CliRunner().invoke(app, ["x"]).exception
    assert isinstance(error, InputError) and (error.where, error.what) == ("n", "FOLDERS and -n")
    assert error.hint == "--use a,b, --use c, --resume, --no-all, --all, other=1, `pix2spec x`"
    assert error.place == "  `n`"


def test_failures_name_options(cli, tmp_path, monkeypatch):
    """Reasons that a report keeps in words of Python are printed in those of the command."""
    from astropy.io import fits

    from pix2spec.data import crossmatch
    from pix2spec.errors import InputError

    def refuse(path, *_, **__):
        raise InputError(path, "odd bands", "accept it with `any_bands=True`")

    monkeypatch.setattr(crossmatch, "read_frame", refuse)
    folder = tmp_path / "cuts"
    folder.mkdir()
    for name in "ab":
        fits.writeto(folder / f"{name}.fits", tiny_galaxy(0).image)
    code, text, err = cli("data", "import", tmp_path / "real", "--images", folder, "--json")
    summary = json.loads(text)
    assert code != 0 and err.count("accept it with --any-bands") >= 2
    assert all("accept it with --any-bands" in why for _, why in summary.get("failures", []))


def test_interruption_is_said(cli, tmp_path, monkeypatch):
    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("pix2spec.data.simulate.simulate", stop)
    code, out, err = cli("data", "simulate", tmp_path / "x", "--json")
    assert (
        code == 130 and json.loads(out) == {"error": "interrupted", "exit_code": 130} and "interrupted" in err
    )


def test_json_knows_no_nan_and_no_paths(tmp_path):
    import numpy as np

    value = {"a": [np.float32(1.5), float("nan"), np.inf], 2: (tmp_path, np.arange(2)), "b": None, "c": True}
    expected = {"a": [1.5, None, None], "2": [str(tmp_path), [0, 1]], "b": None, "c": True}
    assert _plain(value) == expected


def test_completion_is_there(cli):
    code, out, _ = cli("--help")
    assert code == 0 and "--install-completion" in out
