"""The report as one HTML file that holds its figures and opens without a network."""

import json

from pix2spec.evaluation.report.findings import redshift_scores
from pix2spec.evaluation.report.wording import remarks, score_table
from pix2spec.measure.quantities import QUANTITIES
from pix2spec.runtime.templates import render

__all__ = ["page"]

FIGURE_PIXELS_PER_PAGE_PIXEL = 1.6
STRATA_COLUMNS = {
    "affine_matched_mse": "affine MSE",
    "crps_median": "CRPS",
    "energy_median": "energy score",
    "coverage_68_median": "68 % holds",
    "nmad": "z NMAD",
    "outliers_0.05": "z beyond 0.05",
}


def page(results: list[dict], figures: list[dict[str, bytes]]) -> str:
    """HTML of one or several results of `pix2spec.evaluation.compare.evaluate` and of their figures.

    Parameters
    ----------
    results : list of dict
        One for each set of predictions.
    figures : list of dict
        PNG files by caption, for each result.
    """
    models = [_model(result, pictures) for result, pictures in zip(results, figures)]
    return render("report/page.html.j2", models=models, quantities=QUANTITIES)


def _model(result: dict, pictures: dict[str, bytes]) -> dict:
    """What the template shows of one result."""
    bins = result.get("strata") or []
    provenance = {**result["provenance"], "report": result["made_by"]}
    return {
        "result": result,
        "remarks": list(remarks(result)),
        "scores": score_table(result),
        "redshift": redshift_scores(result),
        "strata": {
            name: label
            for name, label in STRATA_COLUMNS.items()
            if any(part.get(name) is not None for part in bins)
        },
        "figures": [(caption, png, _width_on_page(png)) for caption, png in pictures.items()],
        "provenance": json.dumps(provenance, indent=1, default=str),
    }


def _width_on_page(png: bytes) -> int:
    """Width at which a PNG is shown; its header holds its own."""
    return round(int.from_bytes(png[16:20], "big") / FIGURE_PIXELS_PER_PAGE_PIXEL)
