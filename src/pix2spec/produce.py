"""Generation of whole catalogues, and the demo: `pix2spec.generate` with files at both ends."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path

from pix2spec.catalogue import FILE_NAME, CatalogueWriter
from pix2spec.data.dataset import Dataset
from pix2spec.data.schema import Pair
from pix2spec.ensemble import Ensemble
from pix2spec.errors import InputError
from pix2spec.files import track
from pix2spec.generate import Generator, Settings
from pix2spec.survey import INPUTS, check_same_survey, differences

__all__ = ["Summary", "demo", "generate_catalogue", "open_source"]

DEMO_SEED = 20221116  # of the demo's galaxies; training data have small seeds


@dataclass
class Summary:
    """What a run made."""

    catalogue: Path
    n_ok: int = 0
    n_failed: int = 0
    n_candidates: int = 0  # of an object, at most
    failures: list[tuple[str, str]] = field(default_factory=list)  # the first hundred
    files: list[Path] = field(default_factory=list)


def open_source(source: str | Path, work: str | Path, tables=(), any_pixel_scale: bool = False):
    """Make a dataset of whatever the user gave.

    Parameters
    ----------
    source : path
        A dataset (folder or shard), a cutout file, a folder of cutouts, or an npz bundle of pictures.
    work : path
        Where imported cutouts become a dataset.
    tables : sequence of path
        Catalogues with photometry for cutouts.

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
    from pix2spec.data.importer import import_data

    if (Path(work).parent / FILE_NAME).exists():
        raise InputError(
            Path(work).parent, "it already holds a catalogue", "choose another --out, or delete it"
        )
    if Path(work).exists():  # left by a run that failed later on
        shutil.rmtree(work)
    report = import_data(Path(work), [], images=source, tables=list(tables), any_pixel_scale=any_pixel_scale)
    if report.n_written == 0:
        reasons = "; ".join(f"{where}: {why}" for where, why in report.failures[:3])
        raise InputError(source, "it holds no usable cutout or dataset", reasons or "see --help")
    return Dataset(work), report.failures


def generate_catalogue(
    generator: Generator,
    dataset: Dataset,
    out: str | Path,
    settings: Settings,
    failures: list[tuple[str, str]] = (),
    limit: int | None = None,
    keep_candidates: bool = True,
    fits: bool = False,
    figures: int = 0,
    batch: int | None = None,
    progress: bool = True,
) -> Summary:
    """Generate an ensemble for every pair of a dataset and write ``catalog.parquet``.

    Parameters
    ----------
    generator : Generator
    dataset : Dataset
        Its grid must be the model's, and so must the survey of what the model looks at.
    out : path
        Folder; memory does not grow with the number of objects.
    settings : Settings
    failures : list of (str, str)
        Objects that failed earlier, to be listed too.
    limit : int, optional
        Only the first so many objects.
    keep_candidates : bool
        Store all candidates (14 kB each), which `evaluate` needs for calibration.
    fits : bool
        Also one FITS file an object, in ``OUT/spectra``.
    figures : int
        Draw the first so many objects in ``OUT/spectra.png``.
    batch : int, optional
        Objects that share a pass through the networks; the model's own default.
    """
    if dataset.info.grid != generator.grid:
        raise InputError(dataset.path, "its grid is not the one that the model was trained on")
    generator.check_settings(settings)
    unseen = _check_survey(generator, dataset, settings)
    out = Path(out)
    pairs = (replace(pair, **unseen) for pair in islice(iter(dataset), limit))
    total = min(len(dataset), limit or len(dataset))
    provenance = generator.provenance(settings)
    writer = CatalogueWriter(out, generator.grid, provenance, keep_candidates, generator.survey)
    summary, shown = Summary(writer.path), []
    with writer:
        for object_id, reason in failures:
            _fail(writer, summary, object_id, reason)
        results = generator.run(pairs, dataset.info.image_kind or "linear", settings, batch)
        for result in track(results, "generating", progress, total):
            if isinstance(result, Ensemble):
                writer.add(result)
                summary.n_candidates = max(summary.n_candidates, len(result))
                if fits:
                    summary.files.append(_write_fits(result, out / "spectra"))
                if len(shown) < figures:
                    shown.append(result)
            else:
                pair, reason = result
                _fail(writer, summary, pair.object_id, reason)
    summary.n_ok, summary.n_failed = writer.n_ok, writer.n_failed
    if shown:
        summary.files.insert(0, _draw(shown, dataset, out / "spectra.png"))
    return summary


def _check_survey(generator: Generator, dataset: Dataset, settings: Settings) -> dict[str, None]:
    """Refuse input of another survey than the model's.

    Input that the model does not look at is no reason to refuse. Where it is another survey's, it is left
    out: the keys of the result are the fields that are to be None.
    """
    present = {name for name in INPUTS if len(dataset.having(name))}
    seen = generator.inputs(settings) & present
    mend = "use a model trained on such data: pix2spec train PRESET DATASET"
    check_same_survey(dataset.path, dataset.info.survey, "the model", generator.survey, seen, mend)
    others = [x for x in present - seen if differences(dataset.info.survey, generator.survey, [x])]
    return dict.fromkeys(others)


def _fail(writer: CatalogueWriter, summary: Summary, object_id: str, reason: str) -> None:
    writer.add_failure(object_id, reason)
    if len(summary.failures) < 100:
        summary.failures.append((object_id, reason))


def _write_fits(ensemble: Ensemble, folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    safe = "".join(c if c.isalnum() or c in "-_.+" else "_" for c in ensemble.object_id)
    path = folder / f"{safe}.fits"
    ensemble.write_fits(path)
    return path


def _draw(ensembles: list[Ensemble], dataset: Dataset, path: Path) -> Path:
    from pix2spec.plot import figure_grid

    figure_grid(ensembles, truths=list(_truths(ensembles, dataset)), path=path)
    return path


def _truths(ensembles: list[Ensemble], dataset: Dataset) -> Iterator[Pair | None]:
    """The observed pair of each ensemble, where its spectrum is known."""
    ids = dataset.batch(slice(None), ["object_id"])["object_id"]
    position = {object_id: i for i, object_id in enumerate(ids)}
    for ensemble in ensembles:
        pair = dataset[position[ensemble.object_id]]
        yield pair if pair.flux is not None else None


def demo(out: str | Path, n_galaxies: int = 6, seed: int = 0, progress: bool = True) -> Summary:
    """Six simulated galaxies that the shipped model never saw, to 25 candidate spectra each.

    Parameters
    ----------
    out : path
        Folder for ``catalog.parquet``, ``spectra.png``, one FITS an object in ``spectra``, and the
        galaxies themselves in ``galaxies``.
    """
    from pix2spec.data.simulate import simulate_dataset
    from pix2spec.generate import load

    out = Path(out)
    galaxies = out / "galaxies"
    if any(galaxies.glob("*.parquet")):  # an earlier demo, which this one replaces
        (out / FILE_NAME).unlink(missing_ok=True)
    else:
        simulate_dataset(galaxies, n_galaxies, seed=DEMO_SEED, progress=progress)
    generator = load()
    return generate_catalogue(
        generator,
        Dataset(galaxies),
        out,
        Settings(n=25, select=generator.default_select, seed=seed),
        fits=True,
        figures=n_galaxies,
        progress=progress,
    )
