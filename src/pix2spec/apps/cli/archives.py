"""The command `pix2spec data sdss`."""

from pathlib import Path
from typing import Annotated

import typer

from pix2spec.apps.cli.options import Mirror, Release
from pix2spec.apps.cli.output import print_failures, print_text

__all__ = ["data_sdss"]


def data_sdss(
    out: Annotated[
        Path, typer.Argument(help="Folder for the dataset. The same command continues an interrupted one.")
    ],
    release: Release = "dr17",
    n: Annotated[int | None, typer.Option("-n", min=1, help="Number of galaxies. Default: all.")] = None,
    where: Annotated[
        str | None,
        typer.Option(metavar="SQL", help="Condition on s (SpecObj) and p (PhotoObjAll), as in 's.z < 0.1'."),
    ] = None,
    bands: Annotated[str, typer.Option(help="Bands of the images, such as ugriz or gri.")] = "gri",
    images: Annotated[
        str,
        typer.Option(
            help="cutouts: FITS from the Legacy Surveys viewer | frames: cut from SDSS's corrected frames "
            "(large downloads) | jpeg: SkyServer's colour composites | none."
        ),
    ] = "cutouts",
    spectra: Annotated[
        str,
        typer.Option(
            help="lite: one file per spectrum | plates: spPlate files | auto: the smaller download."
        ),
    ] = "auto",
    catalogue: Annotated[
        Path | None,
        typer.Option(metavar="FITS", help="specObj file to select galaxies from, instead of SkyServer."),
    ] = None,
    photometry: Annotated[
        Path | None,
        typer.Option(
            metavar="FITS", help="photoPosPlate file with fibre fluxes, in the row order of --catalogue."
        ),
    ] = None,
    mirror: Mirror = None,
    rate: Annotated[float, typer.Option(min=0.01, help="Largest number of requests per second.")] = 10.0,
    workers: Annotated[int, typer.Option(min=1, max=32, help="Number of connections at a time.")] = 8,
    keep: Annotated[bool, typer.Option("--keep", help="Keep the downloaded files in OUT/.cache.")] = False,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Select galaxies, print what would be downloaded, and stop."),
    ] = False,
) -> dict:
    """Download spectra and images of SDSS galaxies and make a dataset of them.

    You can stop it at any time: the same command continues. Failures are listed in OUT/failures.csv.

    Example: `pix2spec data sdss galaxies -n 2000 --where "s.z < 0.1"`
    """
    from pix2spec.data.archives.sdss.build import build_sdss
    from pix2spec.data.archives.sdss.request import Order

    order = Order(release, n, where, bands, images, spectra, catalogue, photometry)
    report = build_sdss(
        out, order, mirror=mirror, keep=keep, dry_run=dry_run, workers=workers, rate=rate, announce=print_text
    )  # fmt: skip
    if dry_run:
        print_text(
            "The selection was downloaded, and is kept for the real run; nothing else was. First addresses:"
        )
        for address in report.addresses:
            print_text(f"  {address}")
        return {"dataset": out, "addresses": report.addresses}
    print_failures(report.examples, report.n_problems)
    print_text(
        f"Wrote {report.n_written:,} objects ({report.n_total:,} in all) with {report.requests:,} requests, "
        f"{report.received / 1e6:,.1f} MB."
    )
    if report.n_left_out or report.n_problems:
        print_text(f"{report.n_left_out:,} left out; all reasons in {report.failures}")
    if report.n_later:
        print_text(
            f"{report.n_later:,} failed for a reason that may pass: run the same command to try them again."
        )
    return {
        "dataset": out,
        "written": report.n_written,
        "objects": report.n_total,
        "failed": report.n_problems,
        "left_out": report.n_left_out,
        "to_be_tried_again": report.n_later,
        "report": report.failures,
        "requests": report.requests,
        "bytes": report.received,
        "exit_code": 3 if report.n_problems else 0,
    }
