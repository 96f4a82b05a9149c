"""The page of the paper's model with more and more training is made from trained models by one command."""

import shutil
import sys

import pytest

import paper_curve
from support.paths import DOCS


def run(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["paper_curve.py", *map(str, arguments)])
    paper_curve.main()


@pytest.fixture
def docs(tmp_path):
    for name in ("results", "images"):
        (tmp_path / "docs" / name).mkdir(parents=True)
    shutil.copy(DOCS / "results" / "paper-curve.md", tmp_path / "docs" / "results")
    return tmp_path / "docs"


@pytest.mark.slow
def test_models_are_scored_once_and_the_page_shows_them(
    tiny_run, tiny_selector, tiny_data, docs, tmp_path, monkeypatch
):
    models = tmp_path / "models"
    shutil.copytree(tiny_run, models / "xattn-6")
    shutil.copytree(tiny_selector, models / "contrastive")
    options = ["--docs", docs, "--test", tiny_data, "--galaxies", 3, "--check", 1, "--candidates", 6]
    run(monkeypatch, models, *options, "--evaluations", 2)
    points = paper_curve.read_points(docs / "results" / "paper-curve.csv")
    assert [(p["sampler"], p["evaluations"], p["galaxies"], p["samples"]) for p in points] == [
        ("ddpm", "20", "1", "48"),
        ("dpm++", "2", "3", "48"),
    ]
    assert all(p["ranker_samples"] == "48" and float(p["best_of_5.minmax_mse"]) > 0 for p in points)
    page = (docs / "results" / "paper-curve.md").read_text()
    assert page.count("| paper-xattn-small | 48 |") == 2 and "| paper-concat | 128,000,000 |" in page
    assert (docs / "images" / "paper-curve.png").stat().st_size > 10_000
    monkeypatch.setattr(paper_curve, "load", lambda *_: pytest.fail("scored again"))
    run(monkeypatch, models, *options, "--evaluations", 2)
    assert (docs / "results" / "paper-curve.md").read_text() == page


def test_scores_of_another_machine_replace_those_of_the_same_model(tmp_path):
    path = tmp_path / "points.csv"
    line = dict.fromkeys(paper_curve.HEADER, "") | {"preset": "p", "network": "concat", "sampler": "ddpm"}
    paper_curve.add_points(path, [line | {"samples": 7, "evaluations": 250, "single.minmax_mse": 1}])
    paper_curve.add_points(
        path, [line | {"samples": s, "evaluations": 250, "single.minmax_mse": 2} for s in (7, 3)]
    )
    found = paper_curve.read_points(path)
    assert [(p["samples"], p["single.minmax_mse"]) for p in found] == [("3", "2"), ("7", "2")]
