"""The command `pix2spec evaluate`."""

from pathlib import Path
from typing import Annotated

import typer

from pix2spec.apps.cli.options import MeasuringWorkers
from pix2spec.apps.cli.output import print_text
from pix2spec.errors import InputError

__all__ = ["evaluate"]


def evaluate(
    predictions: Annotated[
        list[Path],
        typer.Argument(
            metavar="PREDICTIONS...",
            help="Folder that `generate` wrote, folder of FITS spectra, Parquet or npz file.",
        ),
    ],
    truth: Annotated[Path, typer.Option(help="Dataset with the observed spectra of the same objects.")],
    out: Annotated[
        Path | None, typer.Option(help="Folder for the report. Default: PREDICTIONS/evaluation.")
    ] = None,
    train: Annotated[
        Path | None,
        typer.Option(help="Training dataset: adds simple baselines and a search for copied spectra."),
    ] = None,
    compare: Annotated[
        bool, typer.Option("--compare", help="Compare several PREDICTIONS in one report.")
    ] = False,
    quick: Annotated[
        bool, typer.Option("--quick", help="Compute scores of pixels only: takes seconds, not minutes.")
    ] = False,
    features: Annotated[
        Path | None,
        typer.Option(
            help="Run folder of the contrastive network that encodes spectra for comparison. Default: the "
            "shipped model's network."
        ),
    ] = None,
    workers: MeasuringWorkers = None,
) -> dict:
    """Compare generated spectra with observed ones: pixels, redshifts, lines, realism, calibration.

    For example

    `pix2spec evaluate predictions --truth test --train train --out report`

    `pix2spec evaluate --compare mine theirs.parquet --truth test --out report`

    Open `report.html`: it begins with the findings in words. Predictions may come from other programs, as a
    folder of FITS spectra named by object id, or a table with the columns object_id and flux.
    """
    from pix2spec.evaluation.compare import compare as run

    if len(predictions) > 1 and not compare:
        raise InputError(
            "PREDICTIONS", f"{len(predictions)} sets of predictions", "--compare sets them side by side"
        )
    first = predictions[0]
    if out is None:
        out = (first if first.is_dir() else first.parent) / "evaluation"
    run(predictions, truth, train, out, quick=quick, features=features, workers=workers)
    print_text(f"Report: {out}/report.html; numbers: {out}/metrics.json and metrics.parquet")
    report = {"report": out / "report.html", "metrics": out / "metrics.json"}
    return report | {"metrics_parquet": out / "metrics.parquet"}
