"""Table 1: train and score all rows and seeds that are not done, one after the other, and write the table.

A *job* is one row with one seed. It is done when the file of its scores exists. Jobs do not depend on each
other, except that all diffusion models of a seed share the contrastive network of that seed. Several
processes can therefore share the jobs in one folder. The last process gathers the table.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch

from pix2spec.data.dataset import Dataset
from pix2spec.errors import InputError
from pix2spec.paper.estimate import BATCH, expected_seconds
from pix2spec.paper.rows import contrastive, parse_rows
from pix2spec.paper.table import Line, gather, print_table, write_table
from pix2spec.paper.work import Job, Plan, one_at_a_time, score_row, train_row

__all__ = ["Comparison", "table1"]


@dataclass
class Comparison:
    """Plan and results of `table1`."""

    plan: Plan
    objects: int
    jobs: list[Job]
    selectors: dict[int, Job] = field(default_factory=dict)  # contrastive networks by seed
    missing: list[str] = field(default_factory=list)  # work that was not done at the start
    failures: list[tuple[str, str]] = field(default_factory=list)  # work that failed, with the reason
    lines: list[Line] = field(default_factory=list)
    retrieval: list[dict] = field(default_factory=list)

    @property
    def training(self) -> list[Job]:
        """Jobs whose models the table needs, without repetition."""
        return list({job.name: job for job in [*self.jobs, *self.selectors.values()]}.values())


def table1(
    data: str | Path,
    out: str | Path,
    test: str | Path | None = None,
    scale: str = "small",
    seeds: int = 3,
    rows: str | None = None,
    seed: int | None = None,
    settings: tuple[str, ...] | list[str] = (),
    dry_run: bool = False,
    yes: bool = False,
    progress: bool = True,
) -> Comparison:
    """Train and score the rows of the paper's Table 1, and write the table.

    Finished runs and scores in `out` are used again: a second call does only the missing work.

    Parameters
    ----------
    data : path
        Dataset to train on (its train and val splits).
    out : path
        Folder for ``table1.md``, ``.tex``, ``.parquet``, the runs and the scores.
    test : path, optional
        Another dataset to score on, with all its splits. The default is the test split of `data`.
    scale : {"small", "paper"}
        Small networks for CPUs, or the paper's networks for a GPU.
    seeds : int
        Number of runs of each row, with the seeds 0, 1, ... A row without random numbers has one run.
    rows, settings
        As for `pix2spec.paper.rows.parse_rows`.
    seed : int, optional
        Do only the runs with this seed and write no table, while other processes do the other seeds.
    dry_run : bool
        Print the plan and stop.
    yes : bool
        Start the paper's scale even without a GPU.
    progress : bool
        Print the plan, progress bars and the table.

    Returns
    -------
    Comparison

    Raises
    ------
    InputError
        If the input cannot be used, or if `out` holds a comparison on other data.
    """
    if seeds < 1:
        raise InputError("`seeds`", f"{seeds} runs of each row", "use at least one")
    if seed is not None and not 0 <= seed < seeds:
        raise InputError("`seed`", f"{seed} is none of the {seeds} seeds", f"use 0 to {seeds - 1}")
    chosen = parse_rows(rows, scale, settings)
    split = None if test else "test"
    plan = Plan(Path(data), Path(test or data), split, scale, Path(out))
    dataset, index = plan.test_set()
    info = Dataset(data).info
    if info.grid != dataset.info.grid:
        raise InputError(test, "its wavelength grid differs from that of the training data")
    _claim(plan, dataset.batch(index, ["object_id"])["object_id"])

    wanted = range(seeds) if seed is None else [seed]
    jobs = [Job(row, s, plan) for row in chosen for s in wanted if row.is_random or s == 0]
    ranker = contrastive(scale, settings)
    selectors = {job.seed: Job(ranker, job.seed, plan) for job in jobs if job.row.ranked}
    comparison = Comparison(plan, len(index), jobs, selectors)
    comparison.missing = [f"train {job.name}" for job in comparison.training if not job.is_trained]
    comparison.missing += [f"score {job.name}" for job in jobs if not job.is_done]
    without_gpu = scale == "paper" and not torch.cuda.is_available() and not yes
    if progress or dry_run or without_gpu:
        seconds = sum(expected_seconds(job, info, len(index)) for job in jobs)
        seconds += sum(expected_seconds(job, info, 0) for job in comparison.training if job not in jobs)
        if progress or dry_run:
            _announce(comparison, seconds)
        if without_gpu and not dry_run:
            what = f"there is no GPU, and it would take {seconds / 86400:.0f} days"
            raise InputError('`scale="paper"`', what, "`yes=True` starts it anyway")
    if dry_run:
        return comparison

    _work(comparison, progress)
    if seed is None:
        comparison.lines, comparison.retrieval = gather(chosen, jobs, comparison.objects)
    if comparison.lines or comparison.retrieval:
        with one_at_a_time(plan.out):
            write_table(comparison)
    if progress:
        print_table(comparison)
    return comparison


def _claim(plan: Plan, ids) -> None:
    """Record the test set in the folder. Raise `InputError` if the folder has scores on another one."""
    digest = hashlib.blake2b("\n".join(map(str, ids)).encode(), digest_size=12).hexdigest()
    with one_at_a_time(plan.out):
        plan.resumable(objects=len(ids), object_ids=digest).claim(resume=True)


def _work(comparison: Comparison, progress: bool) -> None:
    """Do all jobs. Record the failure of a job and continue with the others."""
    from rich.console import Console

    tried: dict[str, str] = {}  # reason for the failure of each piece of work, "" for success

    console = Console(stderr=True, highlight=False)

    def attempt(name: str, function: Callable, *arguments) -> None:
        if name in tried:
            return
        tried[name] = ""
        if progress and console.is_terminal and name in comparison.missing:
            console.print(name)
        try:
            function(*arguments, progress)
        except Exception as error:  # of any kind: continue with other rows, and report it in the summary
            tried[name] = f"{type(error).__name__}: {error}"

    for job in comparison.jobs:
        selector = comparison.selectors.get(job.seed) if job.row.ranked else None
        needed = [job] if selector is None else [job, selector]
        for part in needed:
            attempt(f"train {part.name}", train_row, part)
        failed = [f"train {part.name}" for part in needed if tried[f"train {part.name}"]]
        if failed:
            tried[f"score {job.name}"] = f"it needs: {failed[0]}, which failed"
        else:
            attempt(f"score {job.name}", score_row, job, selector.run if selector else None)
    comparison.failures = [(name, reason) for name, reason in tried.items() if reason]


def _announce(comparison: Comparison, seconds: float) -> None:
    from rich.console import Console

    console = Console(stderr=True, highlight=False, soft_wrap=True)
    plan = comparison.plan
    console.print(
        f"{comparison.objects} test galaxies of {plan.test}, trained on {plan.data}, scale {plan.scale}"
    )
    rows: dict[str, list[Job]] = {}
    for job in comparison.training:
        rows.setdefault(job.row.name, []).append(job)
    for name, jobs in rows.items():
        state, scored = [], [job for job in jobs if job in comparison.jobs]
        if jobs[0].row.preset is not None:
            state.append(f"{sum(job.is_trained for job in jobs)} of {len(jobs)} trained")
        if scored:
            state.append(f"{sum(job.is_done for job in scored)} of {len(scored)} scored")
        console.print(f"  {name:26}{', '.join(state)}")
    if seconds:
        console.print(
            f"Expected: {_time(seconds)} on this machine for networks and their candidates, from a training "
            f"step of {BATCH} objects of each. Other methods and the scores take minutes more."
        )


def _time(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:,.1f} h"
