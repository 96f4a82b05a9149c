"""The commands `pix2spec data ...`, which make and check datasets; `data sdss` is in `archives`."""

from pathlib import Path
from typing import Annotated

import typer

from pix2spec.apps.cli.options import AnyPixelScale, Columns, Kind, NewDataset, Seed, Tables
from pix2spec.apps.cli.output import App, in_options, print_failures, print_text

__all__ = ["data_app"]

data_app = App(no_args_is_help=True, rich_markup_mode="markdown", help="Make and check datasets.")


@data_app.command("simulate")
def simulate(
    out: NewDataset,
    n: Annotated[int, typer.Option("-n", min=1, help="Number of galaxies.")] = 1000,
    seed: Seed = 0,
    composite: Annotated[
        bool, typer.Option("--composite", help="Store 8-bit colour composites instead of linear fluxes.")
    ] = False,
    processes: Annotated[
        int, typer.Option(min=1, help="Processes that simulate; the galaxies do not depend on their number.")
    ] = 1,
    camera: Annotated[
        str, typer.Option(help="steady, or unruly: pictures that are spoilt as those of the sky.")
    ] = "steady",
) -> dict:
    """Simulate an SDSS-like survey: cutouts, fibre photometry and spectra whose truth is known.

    Example: `pix2spec data simulate train -n 20000 --seed 1`
    """
    from pix2spec.data.simulate import simulate

    simulate(out, n, seed=seed, composite=composite, processes=processes, camera=camera)
    print_text(f"Wrote {n} simulated pairs to {out}. Look at them with `pix2spec data check {out}`.")
    return {"dataset": out, "pairs": n}


@data_app.command("import")
def import_files(
    out: NewDataset,
    spectra: Annotated[
        list[Path] | None,
        typer.Argument(
            help="Spectra of any instrument (FITS files or tables), folders of them, or npz bundles. Leave "
            "it out if there are none."
        ),
    ] = None,
    images: Annotated[
        Path | None,
        typer.Option(
            help="Folder of cutouts named by object id (0266-51602-0013.jpg, 0266-51602-0013-g.fits), or npz "
            "bundle."
        ),
    ] = None,
    tables: Tables = None,
    columns: Columns = None,
    kind: Kind = None,
    survey: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="Survey of the images and tables: sdss | legacy | legacy-north | ps1 | hsc | lsst.",
        ),
    ] = "sdss",
    any_pixel_scale: AnyPixelScale = False,
    any_bands: Annotated[
        bool, typer.Option("--any-bands", help="Accept pictures of other bands than the survey's.")
    ] = False,
) -> dict:
    """Make a dataset of files. Those that cannot be read are listed in OUT/import-report.csv.

    Example: `pix2spec data import real spectra/ --images cutouts/ --table photometry.csv`
    """
    from pix2spec.core.survey import survey_of
    from pix2spec.data.import_files import import_data

    report = import_data(
        out, list(spectra or []), images=images, tables=list(tables or []), survey=survey_of(survey),
        any_pixel_scale=any_pixel_scale, any_bands=any_bands, columns=columns,
        kind=kind,
    )  # fmt: skip
    return _print_import(out, report)


@data_app.command("universe")
def import_universe(
    out: NewDataset,
    spectra: Annotated[
        list[Path],
        typer.Argument(help="Parquet or HDF5 files with spectra, or folders of them (HATS, healpix=...)."),
    ],
    images: Annotated[
        list[Path] | None,
        typer.Option(metavar="PATH", help="File or folder with images. May be repeated."),
    ] = None,
    match: Annotated[
        float, typer.Option(min=0.0, help="Largest distance of a spectrum from its image, in arcsec.")
    ] = 1.0,
    limit: Annotated[int | None, typer.Option(min=1, help="Number of spectra to read, at most.")] = None,
    survey: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Survey of the images. Default: legacy with images or DESI spectra, else sdss.",
        ),
    ] = None,
) -> dict:
    """Make a dataset of files of the Multimodal Universe. Unused rows are listed in OUT/import-report.csv.

    Example: `pix2spec data universe real mmu_sdss_sdss/ --images mmu_legacysurvey/`
    """
    from pix2spec.core.survey import survey_of
    from pix2spec.data.mmu.importer import import_universe as run

    its_survey = survey_of(survey) if survey else None
    report = run(out, spectra, images, match=match, limit=limit, survey=its_survey)
    return _print_import(out, report)


def _print_import(out: Path, report) -> dict:
    """Print what an import made; returns it for scripts."""
    for where, note in report.notes[:20]:
        print_text(f"{where}: {note}")
    if len(report.notes) > 20:
        print_text(f"{len(report.notes) - 20} more notes are in {report.path}")
    print_failures(report.failures, len(report.failures))
    print_text(f"{report.summary}; report in {report.path}")
    return {
        "dataset": out,
        "pairs": report.n_written,
        "failed": len(report.failures),
        "failures": [(name, in_options(why)) for name, why in report.failures[:100]],
        "report": report.path,
        "exit_code": 3 if report.failures else 0,
    }


@data_app.command("check")
def check(path: Annotated[Path, typer.Argument(help="Dataset folder.")]) -> dict:
    """Verify a dataset and show its contents. The exit code is 1 if something is wrong.

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
