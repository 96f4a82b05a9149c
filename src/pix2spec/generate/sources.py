"""What a user names as input: a dataset, a cutout, a folder of cutouts."""

import shutil
from pathlib import Path

from pix2spec.core.grid import SpectralGrid
from pix2spec.core.survey import SDSS, Survey
from pix2spec.data.dataset import Dataset
from pix2spec.errors import InputError
from pix2spec.products.catalogue import FILE_NAME

__all__ = [
    "check_no_catalogue",
    "open_source",
]


def open_source(
    source: str | Path,
    work: str | Path,
    tables=(),
    any_pixel_scale: bool = False,
    survey: Survey = SDSS,
    grid: SpectralGrid | None = None,
):
    """Make a dataset of whatever the user gave, but for tables of positions.

    Those are for `pix2spec.data.archives.targets`.

    Parameters
    ----------
    source : path
        A dataset (folder or shard), a cutout file, a folder of cutouts, or an npz bundle of pictures.
    work : path
        Where imported cutouts become a dataset.
    tables : sequence of path
        Catalogues with photometry for cutouts.
    any_pixel_scale : bool
        Accept cutouts of another pixel scale than the survey's.
    survey : Survey
        Of the cutouts; a dataset states its own.
    grid : SpectralGrid, optional
        Of the spectra that will be generated for cutouts.

    Returns
    -------
    dataset : Dataset
    failures : list of (str, str)
        Sources that could not be read, with the reason.
    """
    source = Path(source)
    if not source.exists():
        raise InputError(source, "no such file or folder")
    if source.suffix == ".parquet" or (source.is_dir() and any(source.glob("*.parquet"))):
        return Dataset(source), []
    from pix2spec.data.import_files import import_data

    check_no_catalogue(Path(work).parent)
    if Path(work).exists():  # left by a run that failed later on
        shutil.rmtree(work)
    report = import_data(
        Path(work), [], images=source, tables=list(tables), survey=survey, any_pixel_scale=any_pixel_scale,
        grid=grid,
    )  # fmt: skip
    if report.n_written == 0:
        reasons = "; ".join(f"{where}: {why}" for where, why in report.failures[:3])
        raise InputError(source, "it holds no usable cutout or dataset", reasons or "give FITS, JPEG or PNG")
    return Dataset(work), report.failures


def check_no_catalogue(out: Path) -> None:
    """Raise `InputError` if a folder already holds results, before anything slow happens."""
    if (out / FILE_NAME).exists():  # an unfinished one is the writer's to judge
        raise InputError(out, "it already holds a catalogue", "choose another `out`, or delete it")
