"""The commands `pix2spec reproduce table1` and `pix2spec reproduce figure2`."""

from pathlib import Path
from typing import Annotated

import typer

from pix2spec.apps.cli.output import App, print_failures, print_text

reproduce_app = App(
    no_args_is_help=True, rich_markup_mode="markdown", help="Make the paper's Table 1 and Figure 2 anew."
)


@reproduce_app.command("table1")
def table1(
    data: Annotated[Path, typer.Argument(help="Dataset folder with images, ugriz fluxes and spectra.")],
    out: Annotated[Path, typer.Option(help="Folder for the table, the runs and the scores.")],
    test: Annotated[
        Path | None, typer.Option(help="Score on this dataset, all of it. Default: DATA's test split.")
    ] = None,
    scale: Annotated[
        str, typer.Option(help="small: for CPU cores | paper: the paper's networks, for a GPU.")
    ] = "small",
    seeds: Annotated[int, typer.Option(min=1, help="Runs of each row.")] = 3,
    rows: Annotated[
        str | None,
        typer.Option(help="Some rows, as in wu-peek,concat; NAME=RUN or NAME=PRESET.yaml adds your own."),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="ROW.KEY=VALUE", help="As in concat.train.steps=9000. Repeatable."),
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes. Default: one a core; one at the paper's scale.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what is finished and what the rest will take, and stop.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Start the paper's scale without a GPU.")] = False,
) -> dict:
    """Train and score every method of the paper's Table 1, and the floors that it lacks.

    For example

    `pix2spec data simulate train -n 24576 --seed 1`

    `pix2spec data simulate test -n 2048 --seed 2`

    `pix2spec reproduce table1 train --test test --out table1`

    Stop it at any time: the same command goes on where it was, and does nothing twice. Exit code 3 if some
    rows failed (they are named, the others complete). Rows: wu-peek, ulisse, concat, xattn, contrastive,
    photometry, mean-spectrum, nearest-neighbour, neighbours-25, neighbours-25-photometry, pca-ridge,
    pca-mlp, noise-free, default.
    """
    from pix2spec.paper.compare import table1 as run

    result = run(
        data, out, test=test, scale=scale, seeds=seeds, rows=rows, settings=settings or (),
        workers=workers, dry_run=dry_run, yes=yes,
    )  # fmt: skip
    print_failures(result.failures, len(result.failures))
    return {
        "table": None if dry_run else out / "table1.parquet",
        "runs": out / "runs",
        "scores": out / "scores",
        "failures": result.failures,
        "exit_code": 3 if result.failures else 0,
    }


@reproduce_app.command("figure2")
def figure2(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder that `reproduce table1` wrote.")],
    objects: Annotated[int, typer.Option(min=1, help="Galaxies, one a line of the figure.")] = 5,
    row: Annotated[
        str | None, typer.Option(help="concat or xattn. Default: xattn if it was trained.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the runs to draw.")] = 0,
) -> dict:
    """Draw the paper's Figure 2: image, observed spectrum, best of 25, mean of best 5, Wu & Peek.

    The galaxies are chosen by colour and redshift, not by success. Example:
    `pix2spec reproduce figure2 table1 --objects 5`
    """
    from pix2spec.paper.figure import figure2 as run

    paths = run(folder, objects=objects, row=row, seed=seed)
    for path in paths:
        print_text(str(path))
    return {"files": paths}
