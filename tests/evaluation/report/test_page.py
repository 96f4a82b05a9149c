"""The report's page from a result that is written down by hand: a valid file, hostile words as words."""

import io

import pytest
from PIL import Image

from pix2spec.evaluation.report.page import page
from support.pages import cells_of, parse_page, text_of

HOSTILE = "<script>alert('x')</script>"


def png(width: int) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (width, 4)).save(stream, "PNG")
    return stream.getvalue()


def score(mean: float) -> dict:
    return {"mean": mean, "error": 0.25, "n": 3}


def result(name: str = "model", **sections) -> dict:
    return {
        "name": name, "truth": f"/data/{HOSTILE}", "data": "real", "whole": "mean_all",
        "made_by": {"version": HOSTILE}, "provenance": {"note": HOSTILE}, "candidates": [25, 25],
        "counts": {
            "scored": 1234, "failed": 1, "without_spectrum": 0, "unmatched_predictions": 0,
            "unmatched_truth": 0,
        },
        "expected_coverage": {"68": 0.68, "90": 0.9},
        "methods": {
            "single": {"minmax_mse": score(0.5)},
            "mean_all": {"minmax_mse": score(0.125), "coverage_68_median": score(0.6)},
        },
        "findings": [{"metric": "x", "text": f"Too {HOSTILE}.", "fault": True}],
        **sections,
    }  # fmt: skip


def test_a_result_of_pixels_alone():
    html = page([result(HOSTILE)], [{HOSTILE: png(160)}])
    tree = parse_page(html)
    words = text_of(tree)
    assert f"Generated spectra: {HOSTILE}" in words and f"1,234 real galaxies of /data/{HOSTILE}" in words
    assert f"Fault Too {HOSTILE}." in words and "Left out: 1 failed to generate." in words
    assert [heading.text for heading in tree.iter("h3")] == ["By pixel"]
    assert cells_of(tree) == [
        ["method", "min-max MSE", "68 %"],
        ["one candidate", "0.5000 ± 0.2500", "–"],
        ["all candidates", "0.1250 ± 0.2500", "60.0"],
    ]
    image = next(tree.iter("img"))
    assert image.get("alt") == HOSTILE and image.get("style") == "width: 100px"


def test_sections_appear_with_their_numbers():
    nan = float("nan")
    scores = {"objects": 20, "bias": 0.001, "bias_error": nan, "nmad": 0.02} | {
        f"outliers_{limit}{kind}": 0.5 for limit in (0.05, 0.15) for kind in ("", "_error")
    }
    strata = [{"by": "z", "bin": HOSTILE, "objects": 7, "crps_median": 0.5}]
    retrieval = {"pool": 512, "objects": 40, "features": HOSTILE} | {
        f"top_{k}{kind}": 0.25 for k in (1, 5) for kind in ("", "_error", "_chance")
    }
    found = result(
        redshift={"objects": 20, "unclear": 3, HOSTILE: scores, "another": {"objects": 1}},
        strata=strata, retrieval=retrieval, selection=None, types=None,
        realism={"two_sample": {"accuracy": 0.75, "error": 0.01}},
    )  # fmt: skip
    tree = parse_page(page([found], [{}]))
    cells = cells_of(tree)
    assert [HOSTILE, "20", "0.00100", "0.02", "50.0 ± 50.0", "50.0 ± 50.0"] in cells
    assert ["recognised by a network [%]", "75.0 ± 1.0", "50"] in cells
    assert [f"z {HOSTILE}", "7", "0.5"] in cells and ["bin", "objects", "CRPS"] in cells
    assert ["observed spectrum found: among the first five of 512 [%]", "25.0 ± 25.0", "25.0"] in cells
    assert "3 objects whose observed spectrum gives no clear redshift" in text_of(tree)
    headings = [heading.text for heading in tree.iter("h3")]
    assert headings == ["By pixel", "Redshift", "Realism", "Selection", "By kind of object"]


@pytest.mark.parametrize("names", [("a", "b"), ("a", HOSTILE, "c")])
def test_several_results_stand_side_by_side(names):
    results = [result(name, redshift={"one candidate": {"objects": 2}}) for name in names]
    results[0]["types"] = {"accuracy": 0.9, "accuracy_error": 0.01, "chance": 0.5}
    tree = parse_page(page(results, [{}] * len(names)))
    titles = [heading.text for heading in tree.iter("h2")]
    assert titles == [*(f"What it says: {name}" for name in names), "Side by side", *names]
    rows = [row for row in cells_of(tree) if len(row) == 16]
    assert [row[0] for row in rows] == ["predictions", *names]
    assert rows[1][1:7] == ["0.5", "0.125", "–", "–", "–", "60.0"] and rows[1][12] == "90.0"
    assert rows[2][12] == "–"
