"""Table 1: plan the jobs, say what they cost, run what is missing, write the table."""

import hashlib
import json
import os
from dataclasses import dataclass, field
from pathlib import Path

import torch

from pix2spec.data.dataset import Dataset
from pix2spec.errors import InputError
from pix2spec.paper.cost import RATES, seconds_of
from pix2spec.paper.rows import contrastive, parse_rows
from pix2spec.paper.schedule import Task, run_tasks, tasks_of
from pix2spec.paper.table import Line, gather, print_table, write_table
from pix2spec.paper.work import Job, Plan, read_scores
from pix2spec.runtime.atomic import write_atomically
from pix2spec.runtime.provenance import run_provenance

__all__ = ["Comparison", "table1"]


@dataclass
class Comparison:
    """What `table1` planned and did."""

    plan: Plan
    objects: int
    tasks: list[Task]
    workers: int
    lines: list[Line] = field(default_factory=list)
    retrieval: list[dict] = field(default_factory=list)

    @property
    def failures(self) -> list[tuple[str, str]]:
        """Tasks that failed, with the reason."""
        return [(task.name, task.failure) for task in self.tasks if task.failure]

    @property
    def seconds(self) -> float:
        """Expected time of what is left, all workers at work."""
        costs = [task.cost for task in self.tasks]
        return max(sum(costs) / self.workers, max(costs, default=0))


def table1(
    data: str | Path,
    out: str | Path,
    test: str | Path | None = None,
    scale: str = "small",
    seeds: int = 3,
    rows: str | None = None,
    settings: tuple[str, ...] | list[str] = (),
    workers: int | None = None,
    dry_run: bool = False,
    yes: bool = False,
    progress: bool = True,
) -> Comparison:
    """Train and score the rows of the paper's Table 1, and write the table.

    Whatever is finished in `out` is used again: a second call does only what is missing.

    Parameters
    ----------
    data : path
        Dataset to train on (its train and val splits).
    out : path
        Folder for ``table1.md``, ``.tex``, ``.parquet``, the runs and the scores.
    test : path, optional
        Another dataset to score on, all of it; by default the test split of `data`.
    scale : {"small", "paper"}
        Networks for CPU cores, or the paper's on a GPU.
    seeds : int
        Runs of each row; rows that know no chance are run once.
    rows, settings
        See `pix2spec.paper.rows.parse_rows`.
    workers : int, optional
        Processes; by default one a core at the small scale, and one at the paper's.
    dry_run : bool
        Print the plan and stop.
    yes : bool
        Start the paper's scale without a GPU.

    Returns
    -------
    Comparison

    Raises
    ------
    InputError
        If the input cannot be used, or `out` holds a comparison on other data.
    """
    if seeds < 1:
        raise InputError("`seeds`", f"{seeds} runs of each row", "at least one")
    chosen = parse_rows(rows, scale, settings)
    split = None if test else "test"
    plan = Plan(Path(data), Path(test or data), split, scale, Path(out))
    dataset, index = plan.test_set()
    if Dataset(data).info.grid != dataset.info.grid:
        raise InputError(test, "its wavelength grid is not that of the training data")
    _remember(plan, dataset.batch(index, ["object_id"])["object_id"])
    jobs = [Job(row, seed, plan) for row in chosen for seed in range(seeds if row.is_random else 1)]
    ranker = contrastive(scale, settings)
    needed = sorted({job.seed for job in jobs if job.row.ranked})
    selectors = {seed: Job(ranker, seed, plan) for seed in needed}
    tasks = tasks_of(jobs, selectors, len(index))
    default = (os.cpu_count() or 1) if scale == "small" else 1
    comparison = Comparison(plan, len(index), tasks, workers or default)
    known = _known(jobs)
    info = Dataset(data).info
    for task in tasks:
        train, score = seconds_of(task.job, info, len(index), known)
        task.cost = train if task.what == "train" else score
    if progress or dry_run:
        _announce(comparison)
    if dry_run:
        return comparison
    if scale == "paper" and not torch.cuda.is_available() and not yes:
        days = comparison.seconds / 86400
        raise InputError(
            '`scale="paper"`', f"there is no GPU, and it would take {days:.0f} days", "`yes=True` starts it"
        )
    run_tasks(tasks, comparison.workers, progress)
    comparison.lines, comparison.retrieval = gather(chosen, jobs, comparison.objects)
    if comparison.lines or comparison.retrieval:
        write_table(comparison)
    if progress:
        print_table(comparison)
    return comparison


def _remember(plan: Plan, ids) -> None:
    """Scores of one test set must not meet those of another: the folder remembers which it holds."""
    digest = hashlib.blake2b("\n".join(map(str, ids)).encode(), digest_size=12).hexdigest()
    facts: dict = {"scale": plan.scale, "data": str(plan.data.resolve()), "test": str(plan.test.resolve())}
    facts |= {"split": plan.split, "objects": len(ids), "object_ids": digest}
    path = plan.out / "plan.json"
    if path.exists():
        before = json.loads(path.read_text())
        for name, value in facts.items():
            if before.get(name) != value:
                what = f"it holds a comparison with {name} = {before.get(name)!r}, now it is {value!r}"
                raise InputError(plan.out, what, "use another `out`")
        return
    plan.out.mkdir(parents=True, exist_ok=True)
    write_atomically(path, lambda p: p.write_text(json.dumps(facts | run_provenance(), indent=1) + "\n"))


def _known(jobs: list[Job]) -> dict[str, tuple[float, float]]:
    """Hours of training and seconds an object of the rows of which a seed is finished."""
    known = {}
    for job in jobs:
        if job.is_done:
            columns, facts = read_scores(job.scores)
            if "generation_seconds" in columns:
                known[job.row.name] = facts.get("hours") or 0.0, float(columns["generation_seconds"].mean())
    return known


def _announce(comparison: Comparison) -> None:
    from rich.console import Console

    console = Console(stderr=True, highlight=False, soft_wrap=True)
    plan = comparison.plan
    console.print(
        f"{comparison.objects} test galaxies of {plan.test}, trained on {plan.data}, scale {plan.scale}"
    )
    by_row: dict[str, list[Task]] = {}
    for task in comparison.tasks:
        by_row.setdefault(task.job.row.name, []).append(task)
    for name, tasks in by_row.items():
        training = [t for t in tasks if t.what == "train" and t.job.row.preset is not None]
        scoring = [t for t in tasks if t.what == "score"]
        state = []
        if training:
            state.append(f"{sum(t.job.is_trained for t in training)} of {len(training)} trained")
        if scoring:
            state.append(f"{sum(t.job.is_done for t in scoring)} of {len(scoring)} scored")
        console.print(f"  {name:26}{', '.join(state):34}{_time(sum(t.cost for t in tasks)):>10} left")
    kind = "cuda" if torch.cuda.is_available() else "cpu"
    processes = f"{comparison.workers} process" + ("es" if comparison.workers > 1 else "")
    console.print(
        f"Expected: {_time(comparison.seconds)} with {processes}; for rows that never ran from their "
        f"operations at {RATES[kind] / 1e9:,.0f} GFLOP/s a process."
    )


def _time(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:,.1f} h"
