"""The command `pix2spec data universe`."""

from pathlib import Path
from typing import Annotated

import typer

from pix2spec.apps.cli.data import import_summary
from pix2spec.apps.cli.output import print_failures, print_text


def data_universe(
    out: Annotated[Path, typer.Argument(help="Folder of the new dataset.")],
    spectra: Annotated[
        list[Path], typer.Argument(help="Spectra: Parquet or HDF5 files, or folders (HATS, healpix=...).")
    ],
    images: Annotated[
        list[Path] | None, typer.Option(metavar="PATH", help="Images: files or a folder. Repeatable.")
    ] = None,
    match: Annotated[
        float, typer.Option(min=0.0, help="Arcsec between a spectrum and the image that belongs to it.")
    ] = 1.0,
    limit: Annotated[int | None, typer.Option(min=1, help="Read no more than so many spectra.")] = None,
    survey: Annotated[
        str | None,
        typer.Option(help="Imaging survey. Default: legacy with images or DESI spectra, else sdss."),
    ] = None,
) -> dict:
    """Turn files of the Multimodal Universe into a dataset; unused rows are listed in OUT/import-report.csv.

    Example: `pix2spec data universe real mmu_sdss_sdss/ --images mmu_legacysurvey/`
    """
    from pix2spec.core.survey import survey_of
    from pix2spec.data.mmu.importer import import_universe

    report = import_universe(
        out, spectra, images, match=match, limit=limit, survey=survey_of(survey) if survey else None
    )
    print_failures(report.failures, len(report.failures))
    for where, note in report.notes:
        print_text(f"{where}: {note}")
    print_text(f"{report.summary}; report in {report.path}")
    return import_summary(out, report)
