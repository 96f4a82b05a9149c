"""One row and one seed of Table 1: train or resume it, score it in pieces, keep what is done.

DIR/runs/ROW-seedK/             the run, as `pix2spec train` makes it
DIR/scores/ROW-seedK/*.parquet  scores of some objects each, while the scoring goes on
DIR/scores/ROW-seedK.parquet    all of them, one row an object
"""

import json
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from pix2spec.apps.cli.describe import parameter_count
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

__all__ = ["Job", "Plan", "has_spectra", "read_scores", "score_ensembles", "score_row", "train_row"]

CHUNK = 128  # objects between two files of scores: what a kill can cost
FACTS = b"pix2spec"


@dataclass(frozen=True)
class Plan:
    """What is compared on which data; the same for every job."""

    data: Path
    test: Path
    split: str | None
    scale: str
    out: Path

    def test_set(self) -> tuple[Dataset, np.ndarray]:
        """The test set and the positions of its pairs that have a spectrum."""
        dataset = Dataset(self.test, self.split)
        return dataset, has_spectra(dataset)


@dataclass(frozen=True)
class Job:
    """One row with one seed."""

    row: Row
    seed: int
    plan: Plan

    @property
    def name(self) -> str:
        """Of its files."""
        return f"{self.row.name}-seed{self.seed}"

    @property
    def run(self) -> Path:
        """Folder of its trained model."""
        return self.plan.out / "runs" / self.name

    @property
    def scores(self) -> Path:
        """File of its scores."""
        return self.plan.out / "scores" / f"{self.name}.parquet"

    @property
    def is_trained(self) -> bool:
        """Whether there is a finished model, or none is needed."""
        return self.row.preset is None or (self.run / "model.safetensors").exists()

    @property
    def is_done(self) -> bool:
        """Whether every object is scored."""
        return self.scores.exists()

    def trained_steps(self) -> tuple[int, int]:
        """Steps done, and of how many; zeros for what is not trained in steps."""
        total = getattr(getattr(self.row.preset, "train", None), "steps", 0)
        if self.is_trained:
            return total, total
        try:
            last = (self.run / "metrics.jsonl").read_text().rstrip().rsplit("\n", 1)[-1]
            return json.loads(last)["step"], total
        except (OSError, ValueError, KeyError):
            return 0, total

    def scored_objects(self) -> int:
        """Objects in files of scores."""
        return sum(_span(path)[1] - _span(path)[0] for path in self.scores.with_suffix("").glob("*.parquet"))


def has_spectra(dataset: Dataset) -> np.ndarray:
    """Positions of the pairs with a valid pixel; those without can score nothing."""
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
    """Train a row, or go on where an earlier try stopped; a finished run is used as it is.

    Raises
    ------
    InputError
        If the run in the folder was made with another preset.
    """
    from pix2spec.training.loop import train

    if job.row.preset is None:
        return
    preset = job.row.seeded(job.seed)
    if job.is_trained:
        before = read_config(job.run)["preset"]
        if not _agrees(before, preset.model_dump(mode="json")):
            raise InputError(job.run, "its run has other settings", "use another `out`, or delete the run")
        return
    train(preset, job.plan.data, job.run, resume=(job.run / "preset.yaml").exists(), progress=progress)


def _agrees(before, wanted) -> bool:
    """Whether a run has the wanted settings; null leaves a choice to `train`, which notes what it took."""
    if isinstance(before, dict) and isinstance(wanted, dict):
        if wanted.get("weights", "") is None:  # then the network is a choice too, see `open_network`
            wanted = wanted | {"arch": None}
        return all(_agrees(before.get(key), value) for key, value in wanted.items())
    return wanted is None or before == wanted


# ---------------------------------------------------------------------------------- scoring


def score_row(job: Job, selector: Path | None, progress: bool = False) -> None:
    """Score a row on every test object, CHUNK at a time; what is written already is kept."""
    if job.is_done:
        return
    dataset, index = job.plan.test_set()
    folder = job.scores.with_suffix("")
    folder.mkdir(parents=True, exist_ok=True)
    if job.row.preset is not None and job.row.preset.task == "contrastive":
        table, facts = retrieval_table(job.run, dataset, index)
    else:
        score, facts = _scorer(job, selector, dataset)
        starts = range(0, len(index), CHUNK)
        for start in progress_bar(starts, f"scoring {job.name}", progress):
            stop = min(start + CHUNK, len(index))
            path = folder / f"{start:07d}-{stop:07d}.parquet"
            if not path.exists():
                write_table_atomically(_table(score(index[start:stop])), path)
        parts = [pq.read_table(path) for path in sorted(folder.glob("*.parquet"))]
        table = pa.concat_tables(parts, promote_options="permissive")
    facts |= {"row": job.row.name, "seed": job.seed, "test": str(job.plan.test), **run_provenance()}
    table = table.replace_schema_metadata({FACTS: json.dumps(facts, default=str)})
    write_table_atomically(table, job.scores)
    shutil.rmtree(folder)


def read_scores(path: Path) -> tuple[dict[str, np.ndarray], dict]:
    """Columns of a file of scores, and the facts of its row."""
    table = pq.read_table(path)
    columns = {name: table[name].to_numpy() for name in table.column_names}
    return columns, json.loads(table.schema.metadata[FACTS])


def _table(rows: list[dict]) -> pa.Table:
    names = dict.fromkeys(name for row in rows for name in row)
    return pa.table({name: [row.get(name) for row in rows] for name in names})


def _span(path: Path) -> tuple[int, int]:
    start, _, stop = path.stem.partition("-")
    return int(start), int(stop)


def _scorer(job: Job, selector: Path | None, dataset: Dataset):
    """A function from positions of test objects to their rows of scores; and facts of the method."""
    if job.row.preset is None and job.row.model is None:
        if "true_flux" not in dataset.info.truth:
            raise InputError(dataset.path, "its noise-free spectra are not known", "leave out row noise-free")
        return lambda some: noise_free_rows(dataset, some), {"parameters": 0, "hours": 0.0}
    from pix2spec.generate.load import load
    from pix2spec.models.generator import Settings

    model: Any = job.run if job.row.preset is not None else job.row.model
    generator = load(model, selector)
    if dataset.info.grid != generator.grid:
        raise InputError(dataset.path, f"its grid is not the one that {job.row.name} was trained on")
    check_same_survey(dataset.path, dataset.info.survey, job.row.name, generator.survey)
    settings = Settings(**sampling(generator.model.preset, job.plan.scale, job.seed))
    kind = dataset.info.image_kind or "linear"
    facts = {
        "parameters": parameter_count(generator.model),
        "hours": generator.config.get("record", {}).get("hours"),
        "trained_on": generator.config.get("record", {}).get("trained_on"),
        **generator.provenance(settings),
    }

    # The mean spectrum has one for each scale; to scale the other by its extrema would be unfair to it.
    mean = generator.model.minmax_spectrum.numpy()[None] if generator.model.preset.task == "mean" else None

    def score(some: np.ndarray) -> list[dict]:
        galaxies = [dataset[int(i)] for i in some]
        start = time.perf_counter()
        results = list(generator.run(galaxies, kind, settings))
        seconds = (time.perf_counter() - start) / len(galaxies)
        return score_ensembles(results, galaxies, seconds, mean)

    return score, facts


def score_ensembles(results, galaxies, seconds: float, minmax: np.ndarray | None = None) -> list[dict]:
    """Rows of scores of what `pix2spec.models.generator.Generator.run` gave, as `pix2spec evaluate` has them.

    `minmax` (1, L) stands for all spectra on the scale [-1, 1], if given.
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
    """Scores of the spectra without their noise: what nobody can beat who does not know the noise."""
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
    """How many wrong spectra the contrastive network prefers to the right one, for each test image."""
    model, config = load_model(run)
    model.to("cuda" if torch.cuda.is_available() else "cpu")
    start = time.perf_counter()
    a, b, index = codes(dataset, index, model)
    seconds = (time.perf_counter() - start) / max(len(index), 1)
    pool = min(POOL, len(a))
    columns = {"object_id": dataset.batch(index, ["object_id"])["object_id"].astype(str)}
    columns |= {"generation_seconds": np.full(len(a), seconds)}
    columns |= {"rank_all": ranks(a, b, len(a)), "rank_pool": ranks(a, b, pool)}
    facts = {"parameters": parameter_count(model), "hours": config["record"].get("hours")}
    return pa.table(columns), facts | {"pool": pool, "whole": len(a)}
