"""The commands `pix2spec data ...`."""

from pathlib import Path
from typing import Annotated

import typer

from pix2spec.apps.cli.output import App, in_options, print_failures, print_text

data_app = App(no_args_is_help=True, rich_markup_mode="markdown", help="Make and check datasets.")


@data_app.command("simulate")
def data_simulate(
    out: Annotated[Path, typer.Argument(help="Folder of the new dataset.")],
    n: Annotated[int, typer.Option("-n", min=1, help="Number of galaxies.")] = 1000,
    seed: Annotated[int, typer.Option(help="Another seed, another sky.")] = 0,
    composite: Annotated[
        bool, typer.Option("--composite", help="Store 8-bit colour composites instead of linear fluxes.")
    ] = False,
) -> dict:
    """Simulate an SDSS-like survey: cutouts, fibre photometry and spectra whose truth is known.

    Example: `pix2spec data simulate train -n 20000 --seed 1`
    """
    from pix2spec.data.simulate import simulate_dataset

    simulate_dataset(out, n, seed=seed, composite=composite)
    print_text(f"Wrote {n} simulated pairs to {out}. Look at them with `pix2spec data check {out}`.")
    return {"dataset": out, "pairs": n}


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
) -> dict:
    """Turn real files into a dataset; what cannot be read is listed in OUT/import-report.csv.

    Example: `pix2spec data import real spectra/ --images cutouts/ --table photometry.csv`
    """
    from pix2spec.core.survey import survey_of
    from pix2spec.data.import_files import import_data

    report = import_data(
        out, list(spectra or []), images=images, tables=list(table or []), survey=survey_of(survey),
        any_pixel_scale=any_pixel_scale, any_bands=any_bands,
    )  # fmt: skip
    print_failures(report.failures, len(report.failures))
    print_text(f"{report.summary}; report in {report.path}")
    return import_summary(out, report)


def import_summary(out: Path, report) -> dict:
    """What an import made, for scripts."""
    return {
        "dataset": out,
        "pairs": report.n_written,
        "failed": len(report.failures),
        "failures": [(name, in_options(why)) for name, why in report.failures[:100]],
        "report": report.path,
        "exit_code": 3 if report.failures else 0,
    }


@data_app.command("check")
def data_check(path: Annotated[Path, typer.Argument(help="Dataset folder.")]) -> dict:
    """Verify a dataset and show what is in it; exit code 1 if something is wrong.

    Example: `pix2spec data check train`
    """
    from pix2spec.data.check import check_dataset

    report = check_dataset(path)
    report.print()
    return {
        "dataset": path,
        "problems": report.n_problems,
        "first_problems": report.problems,
        "summary": report.summary,
        "exit_code": 0 if report.ok else 1,
    }
