"""The command `pix2spec data sdss`."""

from pathlib import Path
from typing import Annotated

import typer

from pix2spec.apps.cli.output import print_failures, print_text

__all__ = ["data_sdss"]


def data_sdss(
    out: Annotated[Path, typer.Argument(help="Folder of the dataset; run again, it goes on.")],
    release: Annotated[str, typer.Option(help="dr16, dr17 or dr18.")] = "dr17",
    n: Annotated[int | None, typer.Option("-n", min=1, help="Number of galaxies; all if not given.")] = None,
    where: Annotated[
        str | None,
        typer.Option(
            metavar="SQL", help="Further condition on s (SpecObj) and p (PhotoObjAll), as in 's.z < 0.1'."
        ),
    ] = None,
    bands: Annotated[str, typer.Option(help="Of the images: ugriz, gri ...")] = "gri",
    images: Annotated[
        str,
        typer.Option(
            help="cutouts: FITS from the Legacy Surveys viewer; frames: cut out of SDSS's corrected frames "
            "(large); jpeg: SkyServer's colour composites; none."
        ),
    ] = "cutouts",
    spectra: Annotated[
        str, typer.Option(help="lite: a file a spectrum; plates: spPlate files; auto: whichever is less.")
    ] = "auto",
    catalogue: Annotated[
        Path | None,
        typer.Option(metavar="FITS", help="Select from a downloaded specObj file instead of SkyServer."),
    ] = None,
    photometry: Annotated[
        Path | None,
        typer.Option(metavar="FITS", help="photoPosPlate file, line by line with --catalogue: fibre fluxes."),
    ] = None,
    mirror: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Address with the folders sas, skyserver and viewer."),
    ] = None,
    rate: Annotated[float, typer.Option(min=0.01, help="Requests a second, at most.")] = 10.0,
    workers: Annotated[int, typer.Option(min=1, max=32, help="Connections at a time.")] = 8,
    keep: Annotated[bool, typer.Option("--keep", help="Keep the raw files, in OUT/.cache.")] = False,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Make the selection, print what would be fetched, and stop."),
    ] = False,
) -> dict:
    """Fetch spectra and images of SDSS galaxies and make a dataset of them.

    May be stopped at any moment; the same command goes on. What failed is in OUT/failures.csv.

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
            "The selection was fetched, and is kept for the real run; nothing else was. First addresses:"
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
            f"{report.n_later:,} failed for a reason that may pass: the same command tries them again."
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
