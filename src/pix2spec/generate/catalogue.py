"""Generate spectra for a whole dataset and write them as a catalogue."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import islice
from pathlib import Path

import pyarrow.compute as pc

from pix2spec.core.survey import INPUTS, Survey, check_same_survey, differences
from pix2spec.data.dataset import Dataset
from pix2spec.data.schema import Galaxy
from pix2spec.errors import InputError
from pix2spec.generate.engines import Engine, ShardMaker
from pix2spec.generate.foreground import Dust, Foreground
from pix2spec.models.generator import Generator, Settings
from pix2spec.products.catalogue import open_catalogue
from pix2spec.products.columns import EVERYTHING, Contents, catalogue_schema
from pix2spec.products.ensemble import Ensemble
from pix2spec.products.shards import Shards
from pix2spec.products.tables import check_format, write_table
from pix2spec.runtime.progress import progress_bar

__all__ = [
    "Summary",
    "check_survey",
    "generate_catalogue",
]

LOCAL = Engine()
ROWS = 10_000  # of a dataset or a catalogue that are read at a time
MAX_FAILURES = 100  # that a summary names


@dataclass
class Summary:
    """Result of a run.

    Parameters
    ----------
    catalogue : Path
    n_ok, n_failed : int
        Number of objects with an ensemble, and of those without.
    n_candidates : int
        Largest number of candidates of an object.
    failures : list of (str, str)
        The first hundred objects that failed, each with the reason.
    files : list of Path
        Figures and spectra that were written besides the catalogue.
    """

    catalogue: Path
    n_ok: int = 0
    n_failed: int = 0
    n_candidates: int = 0
    failures: list[tuple[str, str]] = field(default_factory=list)
    files: list[Path] = field(default_factory=list)


def generate_catalogue(
    generator: Generator,
    dataset: Dataset | str | Path,
    out: str | Path,
    settings: Settings | None = None,
    failures: Sequence[tuple[str, str]] = (),
    limit: int | None = None,
    contents: Contents = EVERYTHING,
    fits: bool = False,
    spec: bool = False,
    figures: int = 0,
    batch: int | None = None,
    progress: bool = True,
    foreground: Foreground | None = None,
    resume: bool = False,
    engine: Engine = LOCAL,
    file_format: str = "parquet",
) -> Summary:
    """Generate an ensemble for every object of a dataset and write ``catalog.parquet``.

    Parameters
    ----------
    generator : Generator
    dataset : Dataset or path
        Its wavelength grid must be the model's. So must its survey, for the inputs that the model uses.
    out : path
        Folder for the catalogue. Memory does not grow with the number of objects.
    settings : Settings, optional
        By default 25 candidates, selected as the model does by default.
    failures : list of (str, str)
        Objects that failed earlier, which the catalogue is to list too.
    limit : int, optional
        Number of objects, from the first on; all by default.
    contents : Contents
        Which columns to write. `pix2spec.evaluate` and `pix2spec.rank` need the candidates, 14 kB each. The
        filters of the dataset's photometry are added.
    fits : bool
        Also write one FITS file per object, in ``OUT/spectra``.
    spec : bool
        Also write one file per object in SDSS's spec format, in ``OUT/spec``.
    figures : int
        Number of objects, from the first on, to draw in ``OUT/spectra.png``; none without spectra.
    batch : int, optional
        Number of objects that go through the networks together; by default the model's own.
    progress : bool
        Show progress on a terminal.
    foreground : Foreground, optional
        Galactic extinction to record and, if `Foreground.correct`, to remove from images and photometry.
        Without it, objects stay as they are.
    resume : bool
        Continue an interrupted run: finished objects are kept, and the result is the same to the bit.
    engine : Engine
        Generate in this process, or on the workers of a Ray cluster.
    file_format : str
        ``"fits"`` or ``"votable"`` for a table in that format besides the Parquet file.

    Returns
    -------
    Summary

    Raises
    ------
    InputError
        If the dataset or the settings do not suit the model, or `out` holds another catalogue.
    """
    if not isinstance(dataset, Dataset):
        dataset = Dataset(dataset)
    settings = settings or Settings(select=generator.default_select)
    if dataset.info.grid != generator.grid:
        raise InputError(dataset.path, "its grid is not the one that the model was trained on")
    generator.check_settings(settings)
    check_format(file_format)
    unseen = _other_survey(generator, dataset, settings)
    out = Path(out)
    dust = Dust(foreground, dataset.info.image_kind, generator.inputs(settings))
    total = min(len(dataset), limit or len(dataset))
    provenance = generator.provenance(settings) | {"galactic_extinction": dust.stated}
    batch = batch or generator.default_batch
    contents = replace(contents, photometry=_filters_and_kinds(dataset))
    catalogue_schema(generator.grid, generator.survey, contents, {})  # raises if a column is unknown
    shards = Shards(
        out, total, generator.grid, provenance, contents, generator.survey, batch, dataset.info.curves
    )
    identity = {k: v for k, v in provenance.items() if k != "command"}
    identity |= {"input": str(dataset.path.resolve()), "objects": total, "batch": batch}
    identity |= {"curves": sorted(dataset.info.curves)} if dataset.info.curves else {}
    shards.claim(identity | {"contents": asdict(contents)}, resume)
    folders = {"spectra": out / "spectra"} if fits else {}
    folders |= {"spec": out / "spec"} if spec else {}
    maker = ShardMaker(generator, dataset, settings, shards, dust, batch, unseen, **folders)
    missing = shards.missing
    left = sum(len(shards.rows(k)) for k in missing)
    for _ in progress_bar(engine.run(maker, missing), "generating", progress, left):
        pass
    summary = _summary(shards.finish(failures))
    for folder in folders.values():
        summary.files += sorted(folder.glob("*.fits"))
    if file_format != "parquet":
        summary.files.insert(0, write_table(open_catalogue(summary.catalogue), out, file_format))
    if figures and summary.n_ok and contents.spectra:
        shown = _first_of(out, dataset, figures)
        summary.files.insert(0, _draw(shown, dataset, out / "spectra.png"))
    return summary


def _filters_and_kinds(dataset: Dataset) -> tuple[tuple[str, str], ...]:
    """Filters and kinds of the photometry of a dataset, in the order in which they first appear."""
    if not len(dataset.having("photometry")):
        return ()
    if not dataset.info.as_measured:
        return tuple((name, "fibre") for name in dataset.info.survey.filters)
    found: dict[tuple[str, str], None] = {}
    for start in range(0, len(dataset), ROWS):
        rows = dataset.rows.take(dataset.indices[start : start + ROWS], ["filters", "kind"])
        for filters, kinds in zip(*(rows[name].to_pylist() for name in ("filters", "kind"))):
            found |= dict.fromkeys(zip(filters or (), kinds or ()))
    return tuple(found)


def _summary(path: Path) -> Summary:
    """Count the objects of a catalogue, a part of them at a time."""
    summary = Summary(path)
    for rows in open_catalogue(path).read_chunks(["object_id", "status", "error", "n_candidates"], ROWS):
        ok = pc.fill_null(pc.equal(rows["status"], "ok"), False)
        summary.n_ok += pc.sum(ok).as_py() or 0
        summary.n_candidates = max(summary.n_candidates, pc.max(rows["n_candidates"]).as_py() or 0)
        failed = rows.filter(pc.invert(ok))
        summary.n_failed += len(failed)
        some = failed.slice(0, MAX_FAILURES - len(summary.failures))
        summary.failures += zip(some["object_id"].to_pylist(), some["error"].to_pylist())
    return summary


def check_survey(generator: Generator, where, survey: Survey, seen) -> None:
    """Raise `InputError` if inputs that a model uses are of another survey than the model's.

    Parameters
    ----------
    generator : Generator
    where : str or path
        Names the inputs in the error.
    survey : Survey
        Of the inputs.
    seen : set of str
        Inputs that the model uses, such as ``{"image", "photometry"}``.
    """
    hint = "use a model trained on such data: pix2spec train PRESET DATASET"
    check_same_survey(where, survey, "the model", generator.survey, seen, hint)


def _other_survey(generator: Generator, dataset: Dataset, settings: Settings) -> dict[str, None]:
    """Refuse a dataset of another survey than the model's.

    Inputs that the model does not use may be of another survey. They are left out: the keys of the result
    are the fields of a galaxy that are to be None.
    """
    present = {name for name in INPUTS if len(dataset.having(name))}
    if dataset.info.as_measured or generator.takes_any_filter():  # Each flux names its filter.
        present -= {"photometry"}
    seen = generator.inputs(settings) & present
    if dataset.info.of_pictures and generator.takes_any_filter():  # Their photometry replaces the images.
        seen -= {"image"} if differences(dataset.info.survey, generator.survey, ["image"]) else set()
    check_survey(generator, dataset.path, dataset.info.survey, seen)
    others = [x for x in present - seen if differences(dataset.info.survey, generator.survey, [x])]
    return dict.fromkeys(others)


def _first_of(out: Path, dataset: Dataset, count: int) -> list[Ensemble]:
    """The first ensembles of a catalogue, with images and photometry from the dataset."""
    ensembles = list(islice(open_catalogue(out), count))
    for ensemble, galaxy in zip(ensembles, _galaxies_of(ensembles, dataset)):
        ensemble.image, ensemble.image_kind = galaxy.image, dataset.info.image_kind
        ensemble.photometry = galaxy.photometry
    return ensembles


def _draw(ensembles: list[Ensemble], dataset: Dataset, path: Path) -> Path:
    from pix2spec.products.plot import figure_grid

    truths = [galaxy if galaxy.flux is not None else None for galaxy in _galaxies_of(ensembles, dataset)]
    figure_grid(ensembles, truths=truths, path=path)
    return path


def _galaxies_of(ensembles: list[Ensemble], dataset: Dataset) -> Iterator[Galaxy]:
    wanted = {ensemble.object_id for ensemble in ensembles}
    position: dict[str, int] = {}
    for start in range(0, len(dataset), ROWS):
        ids = dataset.batch(slice(start, start + ROWS), ["object_id"])["object_id"]
        position |= {object_id: start + i for i, object_id in enumerate(ids) if object_id in wanted}
        if len(position) == len(wanted):  # the first of a catalogue are among the first of its input
            break
    return (dataset[position[ensemble.object_id]] for ensemble in ensembles)
