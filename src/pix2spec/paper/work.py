"""One row and one seed of Table 1: train or resume its model, and score it in resumable chunks.

DIR/run.json                    data of the comparison, see `pix2spec.runtime.resumable`
DIR/runs/ROW-seedK/             run folder of `pix2spec train`
DIR/scores/ROW-seedK/*.parquet  scores of a chunk of objects each, during the scoring
DIR/scores/ROW-seedK.parquet    scores of all objects, one row per object
DIR/locks/                      empty files with which processes wait for each other
"""

import json
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from pix2spec.core.survey import check_same_survey
from pix2spec.data.dataset import Dataset, write_table_atomically
from pix2spec.errors import InputError
from pix2spec.evaluation.metrics import scoring
from pix2spec.evaluation.metrics.retrieval import POOL, codes, ranks
from pix2spec.models.storage import load_model, read_config
from pix2spec.paper.rows import Row, sampling
from pix2spec.products.ensemble import Ensemble
from pix2spec.runtime.progress import progress_bar
from pix2spec.runtime.provenance import run_provenance
from pix2spec.runtime.resumable import Resumable

__all__ = [
    "Job",
    "Plan",
    "has_spectra",
    "one_at_a_time",
    "read_scores",
    "score_ensembles",
    "score_row",
    "train_row",
]

CHUNK = 128  # objects in a file of scores; an interrupted run loses at most one chunk
METADATA = b"pix2spec"


@dataclass(frozen=True)
class Plan:
    """Data, scale and folder of a comparison. All jobs share the plan."""

    data: Path
    test: Path
    split: str | None
    scale: str
    out: Path

    def test_set(self) -> tuple[Dataset, np.ndarray]:
        """The test set, and the positions of its galaxies that have a spectrum."""
        dataset = Dataset(self.test, self.split)
        return dataset, has_spectra(dataset)

    def resumable(self, **test_set) -> Resumable:
        """The folder as resumable work. It holds scores on one test set only."""
        identity = {"scale": self.scale, "data": self.data.resolve(), "test": self.test.resolve()}
        return Resumable(self.out, identity | {"split": self.split, **test_set}, "a comparison")


@dataclass(frozen=True)
class Job:
    """One row with one seed."""

    row: Row
    seed: int
    plan: Plan

    @property
    def name(self) -> str:
        """Name of the job's files."""
        return f"{self.row.name}-seed{self.seed}"

    @property
    def run(self) -> Path:
        """Folder of the trained model."""
        return self.plan.out / "runs" / self.name

    @property
    def scores(self) -> Path:
        """File of the scores."""
        return self.plan.out / "scores" / f"{self.name}.parquet"

    @property
    def is_trained(self) -> bool:
        """Whether the model is trained, or the row needs no training."""
        return self.row.preset is None or (self.run / "model.safetensors").exists()

    @property
    def is_done(self) -> bool:
        """Whether all objects are scored."""
        return self.scores.exists()


@contextmanager
def one_at_a_time(folder: Path, name: str = "table") -> Iterator[None]:
    """Run a block in one process at a time, for this folder and name. The lock ends with the process."""
    import fcntl  # not on Windows

    (folder / "locks").mkdir(parents=True, exist_ok=True)
    with open(folder / "locks" / name, "w") as lock:
        with suppress(OSError):  # some network file systems do not support locks
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def has_spectra(dataset: Dataset) -> np.ndarray:
    """Positions of the galaxies whose spectrum has a valid pixel. Others cannot be scored."""
    found = []
    index = dataset.having("flux", "ivar")
    for start in range(0, len(index), 1024):
        some = index[start : start + 1024]
        found.append(some[(dataset.batch(some, ["ivar"])["ivar"] > 0).any(1)])
    if not found or not sum(map(len, found)):
        raise InputError(dataset.path, "no test object has a spectrum", "name another dataset as `test`")
    return np.concatenate(found)


# --------------------------------------------------------------------------------- training


def train_row(job: Job, progress: bool = False) -> None:
    """Train the model of a row, or resume an interrupted training. A finished run is not changed.

    Raises
    ------
    InputError
        If the run in the folder has another preset.
    """
    from pix2spec.training.loop import train

    if job.row.preset is None:
        return
    preset = job.row.seeded(job.seed)
    with one_at_a_time(job.plan.out, f"train-{job.name}"):
        if not job.is_trained:
            resume = (job.run / "preset.yaml").exists()
            train(preset, job.plan.data, job.run, resume=resume, progress=progress)
    before = read_config(job.run)["preset"]
    if not _agrees(before, preset.model_dump(mode="json")):
        raise InputError(
            job.run, "the run in this folder has other settings", "use another `out`, or delete the run"
        )


def _agrees(before, wanted) -> bool:
    """Whether a run has the wanted settings. A setting that is None agrees with the choice of `train`."""
    if isinstance(before, dict) and isinstance(wanted, dict):
        if wanted.get("weights", "") is None:  # then `open_network` also chooses the network
            wanted = wanted | {"arch": None}
        return all(_agrees(before.get(key), value) for key, value in wanted.items())
    return wanted is None or before == wanted


# ---------------------------------------------------------------------------------- scoring


def score_row(job: Job, selector: Path | None, progress: bool = False) -> None:
    """Score a row on all test objects, in chunks. A chunk whose file exists is done."""
    with one_at_a_time(job.plan.out, f"score-{job.name}"):
        if not job.is_done:
            _score_row(job, selector, progress)


def _score_row(job: Job, selector: Path | None, progress: bool) -> None:
    dataset, index = job.plan.test_set()
    chunks = Resumable(job.scores.with_suffix(""), {}, "scores")
    chunks.folder.mkdir(parents=True, exist_ok=True)
    if job.row.preset is not None and job.row.preset.task == "contrastive":
        table, metadata = retrieval_table(job.run, dataset, index)
    else:
        score, metadata = _scorer(job, selector, dataset)
        starts = range(0, len(index), CHUNK)
        parts = {f"{i:07d}-{min(i + CHUNK, len(index)):07d}.parquet": index[i : i + CHUNK] for i in starts}
        for part in progress_bar(chunks.missing(parts), f"scoring {job.name}", progress):
            write_table_atomically(_table(score(parts[part])), chunks.path(part))
        tables = [pq.read_table(chunks.path(part)) for part in parts]
        table = pa.concat_tables(tables, promote_options="permissive")
    metadata |= {"row": job.row.name, "seed": job.seed, "test": str(job.plan.test), **run_provenance()}
    table = table.replace_schema_metadata({METADATA: json.dumps(metadata, default=str)})
    write_table_atomically(table, job.scores)
    shutil.rmtree(chunks.folder)


def read_scores(path: Path) -> tuple[dict[str, np.ndarray], dict]:
    """Read a file of scores: its columns, and the metadata of the job."""
    table = pq.read_table(path)
    columns = {name: table[name].to_numpy() for name in table.column_names}
    return columns, json.loads(table.schema.metadata[METADATA])


def _table(rows: list[dict]) -> pa.Table:
    names = dict.fromkeys(name for row in rows for name in row)
    return pa.table({name: [row.get(name) for row in rows] for name in names})


def _scorer(job: Job, selector: Path | None, dataset: Dataset):
    """A function from positions of test objects to their rows of scores, and metadata of the method."""
    if job.row.preset is None and job.row.model is None:
        if "true_flux" not in dataset.info.truth:
            hint = "leave out the row noise-free"
            raise InputError(dataset.path, "the dataset has no noise-free spectra", hint)
        return lambda some: noise_free_rows(dataset, some), {"parameters": 0, "hours": 0.0}
    from pix2spec.generate.load import load
    from pix2spec.models.generator import Settings

    model: Any = job.run if job.row.preset is not None else job.row.model
    generator = load(model, selector)
    if dataset.info.grid != generator.grid:
        raise InputError(dataset.path, f"its wavelength grid differs from that of {job.row.name}")
    check_same_survey(dataset.path, dataset.info.survey, job.row.name, generator.survey)
    settings = Settings(**sampling(generator.model.preset, job.plan.scale, job.seed))
    kind = dataset.info.image_kind or "linear"
    metadata = {
        "parameters": _parameters(generator.model),
        "hours": generator.config.get("record", {}).get("hours"),
        "trained_on": generator.config.get("record", {}).get("trained_on"),
        **generator.provenance(settings),
    }

    # The mean spectrum has a version for the scale [-1, 1]: rescaling the other version would be unfair.
    mean = generator.model.minmax_spectrum.numpy()[None] if generator.model.preset.task == "mean" else None

    def score(some: np.ndarray) -> list[dict]:
        galaxies = [dataset[int(i)] for i in some]
        start = time.perf_counter()
        results = list(generator.run(galaxies, kind, settings))
        seconds = (time.perf_counter() - start) / len(galaxies)
        return score_ensembles(results, galaxies, seconds, mean)

    return score, metadata


def _parameters(model: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def score_ensembles(results, galaxies, seconds: float, minmax: np.ndarray | None = None) -> list[dict]:
    """Score generated spectra as `pix2spec evaluate` does.

    Parameters
    ----------
    results : sequence
        Results of `pix2spec.models.generator.Generator.run`.
    galaxies : sequence of Galaxy
        The same galaxies, with their observed spectra.
    seconds : float
        Generation time per galaxy, to record.
    minmax : array (1, L), optional
        A spectrum on the scale [-1, 1], to score on that scale in place of the candidates.

    Returns
    -------
    list of dict
        One row of scores per galaxy. Its ``failure`` is the reason if the galaxy has no spectrum.
    """
    rows = []
    for result, galaxy in zip(results, galaxies):
        row = {"object_id": galaxy.object_id, "z": float(galaxy.z), "generation_seconds": seconds}
        if isinstance(result, Ensemble):
            good = (galaxy.ivar > 0) & np.isfinite(galaxy.flux)
            row |= scoring.score_object(result, galaxy.flux, np.where(good, galaxy.ivar, 0), minmax=minmax)
        rows.append(row | {"failure": None if isinstance(result, Ensemble) else result[1]})
    return rows


def noise_free_rows(dataset: Dataset, some: np.ndarray) -> list[dict]:
    """Score the noise-free spectra. They are the limit for any method that does not know the noise."""
    batch = dataset.batch(some, ["object_id", "z", "flux", "ivar", "true_flux"])
    rows = []
    for i in range(len(some)):
        flux, clean = batch["flux"][i], batch["true_flux"][i]
        ivar = np.where(np.isfinite(flux), batch["ivar"][i], 0)
        values = scoring.score_clean("single", clean, flux, ivar)
        rows.append({"object_id": str(batch["object_id"][i]), "z": float(batch["z"][i]), **values})
    return rows


# -------------------------------------------------------------------------------- retrieval


def retrieval_table(run: Path, dataset: Dataset, index: np.ndarray) -> tuple[pa.Table, dict]:
    """For each test image, count the spectra that the contrastive network prefers to the right one.

    Returns a table with the counts among all spectra and in a pool, and its metadata.
    """
    model, config = load_model(run)
    model.to("cuda" if torch.cuda.is_available() else "cpu")
    start = time.perf_counter()
    a, b, index = codes(dataset, index, model)
    seconds = (time.perf_counter() - start) / max(len(index), 1)
    pool = min(POOL, len(a))
    columns = {"object_id": dataset.batch(index, ["object_id"])["object_id"].astype(str)}
    columns |= {"generation_seconds": np.full(len(a), seconds)}
    columns |= {"rank_all": ranks(a, b, len(a)), "rank_pool": ranks(a, b, pool)}
    metadata = {"parameters": _parameters(model), "hours": config["record"].get("hours")}
    return pa.table(columns), metadata | {"pool": pool, "all": len(a)}
