"""The commands `pix2spec data ...`."""

from pathlib import Path
from typing import Annotated

import typer

from pix2spec.cli_output import print_failures, print_text

data_app = typer.Typer(no_args_is_help=True, rich_markup_mode="markdown", help="Make and check datasets.")


@data_app.command("simulate")
def data_simulate(
    out: Annotated[Path, typer.Argument(help="Folder of the new dataset.")],
    n: Annotated[int, typer.Option("-n", min=1, help="Number of galaxies.")] = 1000,
    seed: Annotated[int, typer.Option(help="Another seed, another sky.")] = 0,
    composite: Annotated[
        bool, typer.Option("--composite", help="Store 8-bit colour composites instead of linear fluxes.")
    ] = False,
) -> None:
    """Simulate an SDSS-like survey: cutouts, fibre photometry and spectra whose truth is known.

    Example: `pix2spec data simulate train -n 20000 --seed 1`
    """
    from pix2spec.data.simulate import simulate_dataset

    simulate_dataset(out, n, seed=seed, composite=composite)
    print_text(f"Wrote {n} simulated pairs to {out}. Look at them with `pix2spec data check {out}`.")


@data_app.command("import")
def data_import(
    out: Annotated[Path, typer.Argument(help="Folder of the new dataset.")],
    spectra: Annotated[
        list[Path] | None,
        typer.Argument(
            help="SDSS spec files, folders of them, or npz bundles. None: images or tables alone."
        ),
    ] = None,
    images: Annotated[
        Path | None,
        typer.Option(help="Folder of cutouts named by object id (0266-51602-0013.jpg, ...-g.fits), or npz."),
    ] = None,
    table: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="CSV, FITS, VOTable or Parquet with photometry. Repeatable."),
    ] = None,
    survey: Annotated[
        str, typer.Option(metavar="NAME", help="sdss | legacy | legacy-north | ps1 | hsc | lsst.")
    ] = "sdss",
    any_pixel_scale: Annotated[
        bool, typer.Option("--any-pixel-scale", help="Accept cutouts of another pixel scale.")
    ] = False,
    any_bands: Annotated[
        bool, typer.Option("--any-bands", help="Accept pictures of other bands than the survey's.")
    ] = False,
) -> None:
    """Turn real files into a dataset; what cannot be read is listed in OUT/import-report.csv.

    Example: `pix2spec data import real spectra/ --images cutouts/ --table photometry.csv`
    """
    from pix2spec.data.importer import import_data
    from pix2spec.survey import survey_of

    report = import_data(
        out, list(spectra or []), images=images, tables=list(table or []), survey=survey_of(survey),
        any_pixel_scale=any_pixel_scale, any_bands=any_bands,
    )  # fmt: skip
    print_failures(report.failures, len(report.failures))
    print_text(f"{report.summary}; report in {report.path}")
    if report.failures:
        raise typer.Exit(3)


@data_app.command("check")
def data_check(path: Annotated[Path, typer.Argument(help="Dataset folder.")]) -> None:
    """Verify a dataset and show what is in it; exit code 1 if something is wrong."""
    from pix2spec.data.check import check_dataset

    report = check_dataset(path)
    report.print()
    if not report.ok:
        raise typer.Exit(1)
