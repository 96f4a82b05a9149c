"""The objects that a user names as input: a dataset, a cutout, a folder of cutouts, a table of positions."""

import shutil
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from pix2spec.core.survey import Survey
from pix2spec.data.archives.targets import Fetch, fetch_targets, is_position_table
from pix2spec.data.dataset import Dataset
from pix2spec.errors import InputError
from pix2spec.generate.catalogue import check_survey
from pix2spec.models.generator import Generator, Settings
from pix2spec.products.catalogue import FILE_NAME

__all__ = ["Source", "check_source", "open_source"]


@dataclass
class Source:
    """Objects to generate spectra for.

    Parameters
    ----------
    dataset : Dataset
    failures : list of (str, str)
        Objects or files that cannot be used, each with the reason.
    extinction : dict of array (bands,), optional
        Galactic extinction in magnitudes of the photometric bands, by object id, of objects that were
        downloaded; None where nothing was downloaded.
    note : str
        A sentence about the download.
    """

    dataset: Dataset
    failures: list[tuple[str, str]] = field(default_factory=list)
    extinction: dict[str, np.ndarray] | None = None
    note: str = ""


def check_source(source: str | Path, survey: Survey | None) -> bool:
    """Check, before the slow work, that an input exists and that its download was asked for.

    Parameters
    ----------
    source, survey
        As for `open_source`.

    Returns
    -------
    bool
        Whether the input is a table of positions, whose cutouts have to be downloaded.

    Raises
    ------
    InputError
        If there is no such file, or a table of positions comes without `survey`.
    """
    if not Path(source).exists():
        raise InputError(source, "no such file or folder")
    is_table = is_position_table(source)
    if is_table and survey is None:
        what = "it is a table of positions, and nothing is fetched unasked"
        hint = "give `survey` sdss or legacy to fetch its cutouts; photometry of cutouts belongs to `tables`"
        raise InputError(source, what, hint)
    return is_table


def open_source(
    source: str | Path,
    out: str | Path,
    generator: Generator,
    settings: Settings | None = None,
    survey: Survey | None = None,
    tables: list[Path] | None = None,
    any_pixel_scale: bool = False,
    fetch: Fetch | None = None,
) -> Source:
    """Make a dataset of the objects that a user names.

    Parameters
    ----------
    source : path
        A dataset (folder or shard), a cutout file, a folder of cutouts, an npz bundle of pictures, or a
        table of positions or names.
    out : path
        Folder of the future catalogue. Cutouts become a dataset in ``OUT/input``.
    generator : Generator
        Gives the wavelength grid, and the survey of cutouts if `survey` does not.
    settings : Settings, optional
        Tell which inputs the model uses. A table of positions of another survey than the model's is
        refused for their sake before anything is downloaded.
    survey : Survey, optional
        Survey of the cutouts. A table of positions needs it: its cutouts are downloaded. A dataset states
        its own survey, which must be this one if given.
    tables : list of path, optional
        Photometry of the cutouts.
    any_pixel_scale : bool
        Accept cutouts of another pixel scale than the survey's.
    fetch : Fetch, optional
        Where to download from. By default the public services, with a cache in ``OUT/input/cache``.

    Returns
    -------
    Source

    Raises
    ------
    InputError
        If the input cannot be used, or `out` already holds a catalogue that would be replaced.
    """
    source, out = Path(source), Path(out)
    if check_source(source, survey) and survey is not None:
        return _download(source, out, generator, settings or Settings(), survey, fetch)
    if source.suffix == ".parquet" or (source.is_dir() and any(source.glob("*.parquet"))):
        dataset = Dataset(source)
        if survey and dataset.info.survey.name != survey.name:
            what = f"it is a dataset of {dataset.info.survey.name}, not {survey.name}"
            raise InputError(source, what, "leave out `survey`")
        return Source(dataset)
    return _import_cutouts(source, out, survey or generator.survey, generator, tables, any_pixel_scale)


def _import_cutouts(source, out: Path, survey: Survey, generator, tables, any_pixel_scale: bool) -> Source:
    from pix2spec.data.import_files import import_data

    _check_no_catalogue(out)
    folder = out / "input"
    if folder.exists():  # left by a run that failed later on
        shutil.rmtree(folder)
    report = import_data(
        folder, [], images=source, tables=list(tables or ()), survey=survey, any_pixel_scale=any_pixel_scale,
        grid=generator.grid,
    )  # fmt: skip
    if report.n_written == 0:
        reasons = "; ".join(f"{where}: {why}" for where, why in report.failures[:3])
        raise InputError(source, "it holds no usable cutout or dataset", reasons or "give FITS, JPEG or PNG")
    return Source(Dataset(folder), report.failures)


def _download(source, out: Path, generator, settings: Settings, survey: Survey, fetch) -> Source:
    from pix2spec.data.archives.urls import Services

    _check_no_catalogue(out)
    check_survey(generator, source, survey, generator.inputs(settings))
    fetch = fetch or Fetch(Services(), out / "input" / "cache")
    found = fetch_targets(source, survey, out / "input", fetch, generator.grid)
    note = (
        f"{len(found.dataset)} targets with cutouts of {survey.name}, {found.n_photometry} with photometry, "
        f"{len(found.failures)} failed; kept in {fetch.cache}"
    )
    return Source(found.dataset, found.failures, found.extinction, note)


def _check_no_catalogue(out: Path) -> None:
    """Refuse a folder that already holds results, before anything slow happens."""
    if (out / FILE_NAME).exists():  # an unfinished catalogue is judged by its writer
        raise InputError(out, "it already holds a catalogue", "choose another `out`, or delete it")
