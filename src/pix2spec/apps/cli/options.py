"""Options that several commands share.

The parameter of a command bears the name of the library's argument: then errors can name the option.
"""

from pathlib import Path
from typing import Annotated

import typer

Model = Annotated[
    str, typer.Option(help="Shipped model, run folder of `train`, or USER/MODEL on the Hugging Face hub.")
]
NewDataset = Annotated[Path, typer.Argument(help="Folder for the new dataset.")]
Seed = Annotated[int, typer.Option(help="Seed of the random numbers; another seed gives other results.")]
Tables = Annotated[
    list[Path] | None,
    typer.Option(
        "--table", metavar="FILE", help="Photometry, as CSV, FITS, VOTable or Parquet. May be repeated."
    ),
]
Columns = Annotated[
    str | None,
    typer.Option(
        metavar="KEY=COLUMN,...",
        help="What a table does not say: r=rmag_best,r.error=e_rmag,r.kind=cmodel,r.unit=uJy, redshift=zsp, "
        "id=name, unit=nJy (of all fluxes), Rmag=none (not to be read).",
    ),
]
Kind = Annotated[
    str | None,
    typer.Option(
        help="Kind of the fluxes of a table whose columns tell none: fibre | psf | model | cmodel | "
        "petrosian | kron | aperture | total | unknown."
    ),
]
Filters = Annotated[
    str | None,
    typer.Option(
        metavar="FILE",
        help="Transmission curves of your own, as a table (ECSV, CSV, FITS) of wavelength and response, or "
        "an .npz archive; columns of a table may have their names. Or the survey whose filters the "
        "letters of a table mean: sdss2010 | panstarrs | hsc2017 | lsst2023 | decam2014.",
    ),
]
AnyPixelScale = Annotated[
    bool, typer.Option("--any-pixel-scale", help="Accept cutouts of another pixel scale than the survey's.")
]
Release = Annotated[str, typer.Option(help="SDSS data release to download from: dr16 | dr17 | dr18.")]
Mirror = Annotated[
    str | None,
    typer.Option(metavar="URL", help="Download from URL/sas, URL/skyserver and URL/viewer instead."),
]
MeasuringWorkers = Annotated[
    int | None, typer.Option(min=1, help="Processes that measure spectra. Default: one per core.")
]
Json = Annotated[
    bool,
    typer.Option("--json", help="For scripts: print the summary as JSON on stdout, all else on stderr."),
]
