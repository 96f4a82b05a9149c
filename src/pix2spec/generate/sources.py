"""The objects that a user names as input: a dataset, cutouts, a table of magnitudes or one of positions."""

import shutil
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from pix2spec.core.filters import Filter
from pix2spec.core.survey import Survey
from pix2spec.data.archives.targets import Fetch, fetch_targets, is_position_table
from pix2spec.data.coarse_spectra import coarse_spectrum
from pix2spec.data.dataset import Dataset, write_dataset
from pix2spec.data.readers.catalogue_rows import CatalogueRows, read_catalogue
from pix2spec.data.schema import DatasetInfo, Galaxy
from pix2spec.errors import InputError
from pix2spec.generate.catalogue import check_survey
from pix2spec.models.generator import Generator, Settings
from pix2spec.products.catalogue import FILE_NAME
from pix2spec.runtime.provenance import run_provenance

__all__ = ["Source", "check_source", "open_source", "read_rows"]


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
        A sentence about the download or the cutouts.
    rows : CatalogueRows, optional
        The table of magnitudes that the objects come from.
    """

    dataset: Dataset
    failures: list[tuple[str, str]] = field(default_factory=list)
    extinction: dict[str, np.ndarray] | None = None
    note: str = ""
    rows: CatalogueRows | None = None


def check_source(
    source: str | Path | None,
    survey: Survey | None,
    filters: object | None = None,
    spectrum: str | Path | None = None,
) -> bool:
    """Check, before the slow work, that an input exists and that its download was asked for.

    Parameters
    ----------
    source, survey, filters, spectrum
        As for `open_source`.

    Returns
    -------
    bool
        Whether the input is a table whose objects' cutouts have to be downloaded.

    Raises
    ------
    InputError
        If there is no such file, or own filters come without columns that could have their names.
    """
    if source is None and spectrum is None:
        raise InputError("`source`", "there is nothing to generate spectra for", "name an input")
    for path in (source, spectrum):
        if path is not None and not Path(path).exists():
            raise InputError(path, "no such file or folder")
    is_table = source is not None and is_position_table(source)
    if filters is not None and (source is None or (is_table and survey) or _is_dataset(source)):
        what = "own filters are those of the columns of a table, or of the `tables` of cutouts"
        raise InputError("`filters`", what, "a dataset has its own filters")
    return is_table and survey is not None


def read_rows(
    source: str | Path | None,
    survey: Survey | None = None,
    columns=None,
    kind: str | None = None,
    filters=None,
) -> CatalogueRows | None:
    """The rows of an input that is a table of magnitudes or fluxes; None for another input.

    Parameters
    ----------
    source, survey
        As for `open_source`. With `survey`, cutouts of a table's positions are downloaded.
    columns, kind, filters
        As for `pix2spec.data.readers.catalogue_rows.read_catalogue`.

    Raises
    ------
    InputError
        If the table cannot be understood, or `columns` or `kind` come with another input.
    """
    if source is None or survey is not None or not is_position_table(source):
        for name, given in (("columns", columns), ("kind", kind)):
            if given:
                raise InputError(
                    f"`{name}`", "it is for a table of magnitudes without `survey`", "leave it out"
                )
        return None
    return read_catalogue(source, columns, kind, filters)


def open_source(
    source: str | Path | None,
    out: str | Path,
    generator: Generator,
    settings: Settings | None = None,
    survey: Survey | None = None,
    tables: list[Path] | None = None,
    any_pixel_scale: bool = False,
    fetch: Fetch | None = None,
    filters: Mapping[str, Filter] | None = None,
    spectrum: str | Path | None = None,
    rows: CatalogueRows | None = None,
) -> Source:
    """Make a dataset of the objects that a user names.

    Parameters
    ----------
    source : path, optional
        A dataset (folder or shard), a cutout file, a folder of cutouts, an npz bundle of pictures, a table
        of magnitudes or fluxes, or, with `survey`, a table of positions or names. It may be left out if
        `spectrum` is given.
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
    filters : mapping of str to Filter, optional
        Own transmission curves, of which columns of `tables` have the names.
    spectrum : path, optional
        A coarse spectrum of the only object. Its fluxes in boxes of 100 Angstrom join the object's
        photometry.
    rows : CatalogueRows, optional
        What `read_rows` made of `source`, if that was called before.

    Returns
    -------
    Source

    Raises
    ------
    InputError
        If the input cannot be used, or `out` already holds a catalogue that would be replaced.
    """
    out = Path(out)
    is_table = check_source(source, survey, filters, spectrum)
    if source is None:
        return _with_spectrum(None, Path(str(spectrum)), out, generator, survey or generator.survey)
    rows = rows or read_rows(source, survey, filters=filters)
    if rows is not None:
        found = _import_rows(rows, out, generator)
    elif is_table and survey is not None:
        found = _download(source, out, generator, settings or Settings(), survey, fetch)
    elif _is_dataset(source):
        found = Source(Dataset(source))
        if survey and found.dataset.info.survey.name != survey.name:
            what = f"it is a dataset of {found.dataset.info.survey.name}, not {survey.name}"
            raise InputError(source, what, "leave out `survey`")
    else:
        survey = survey or generator.survey
        found = _import_cutouts(source, out, survey, generator, tables, any_pixel_scale, filters)
    if spectrum is not None:
        return _with_spectrum(found, Path(spectrum), out, generator, found.dataset.info.survey)
    return found


def _is_dataset(source: str | Path) -> bool:
    path = Path(source)
    return path.suffix == ".parquet" or (path.is_dir() and any(path.glob("*.parquet")))


def _with_spectrum(opened: Source | None, path: Path, out: Path, generator, survey: Survey) -> Source:
    """The only object, with its spectrum as photometry, as a dataset in ``OUT/input-with-spectrum``."""
    from pix2spec.data.readers.observed_spectrum import read_observed_spectrum

    if opened is not None and len(opened.dataset) != 1:
        what = f"a spectrum belongs to one object, and the input has {len(opened.dataset)}"
        raise InputError("`spectrum`", what, "give an input with one object")
    galaxy = Galaxy(path.stem) if opened is None else opened.dataset[0]
    info = DatasetInfo(generator.grid, survey, None) if opened is None else opened.dataset.info
    given = galaxy.measurements(survey)
    seen = read_observed_spectrum(path)
    boxes = coarse_spectrum(
        seen.wave, seen.flux, seen.error, relative=seen.is_relative, photometry=given, where=str(path)
    )
    measured = boxes if given is None else given.joined(boxes, galaxy.object_id)
    galaxy = replace(galaxy, photometry=measured, photometry_ivar=None, filters=())
    provenance = info.provenance | {"spectrum": str(path)}
    info = replace(info, as_measured=True, curves=measured.curves, provenance=provenance)
    _check_no_catalogue(out)
    folder = out / "input-with-spectrum"
    if folder.exists():  # left by a run that failed later on
        shutil.rmtree(folder)
    write_dataset(folder, [galaxy], info)
    return replace(opened or Source(Dataset(folder)), dataset=Dataset(folder))


def _import_rows(rows: CatalogueRows, out: Path, generator: Generator) -> Source:
    """The rows of a table as a dataset in ``OUT/input``."""
    _check_no_catalogue(out)
    folder = out / "input"
    if folder.exists():  # left by a run that failed later on
        shutil.rmtree(folder)
    failures: list[tuple[str, str]] = []

    def usable():
        for row in rows.galaxies():
            if isinstance(row, Galaxy):
                yield row
            else:
                failures.append(row)

    provenance = run_provenance() | {"table": rows.where, "columns": rows.columns.lines()}
    info = DatasetInfo(generator.grid, generator.survey, None, provenance=provenance)
    write_dataset(folder, usable(), replace(info, as_measured=True, curves=rows.curves))
    if len(failures) == len(rows):
        raise InputError(
            rows.where, "none of its rows has a usable flux or magnitude", rows.columns.lines()[0]
        )
    return Source(Dataset(folder), failures, rows=rows)


def _import_cutouts(
    source, out: Path, survey: Survey, generator, tables, any_pixel_scale: bool, filters
) -> Source:
    from pix2spec.data.import_files import import_data

    _check_no_catalogue(out)
    folder = out / "input"
    if folder.exists():  # left by a run that failed later on
        shutil.rmtree(folder)
    report = import_data(
        folder, [], images=source, tables=list(tables or ()), survey=survey, any_pixel_scale=any_pixel_scale,
        grid=generator.grid, filters=filters,
        fibre=generator.survey.fibre_diameter if generator.measures_pictures else None,
    )  # fmt: skip
    if report.n_written == 0:
        reasons = "; ".join(f"{where}: {why}" for where, why in report.failures[:3])
        raise InputError(source, "it holds no usable cutout or dataset", reasons or "give FITS, JPEG or PNG")
    return Source(Dataset(folder), report.failures, note=_note(report.notes))


def _note(notes: list[tuple[str, str]]) -> str:
    """What was seen in the cutouts, with their number, the most frequent first."""
    counts = Counter(note for _, note in notes)
    many = [note + (f" ({count} cutouts)" if count > 1 else "") for note, count in counts.most_common(5)]
    return "; ".join([*many, *[f"and {len(counts) - 5} other remarks"] * (len(counts) > 5)])


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
