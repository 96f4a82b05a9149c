"""Many jobs on a few processes: long ones first, none before what it needs, and none stops the others."""

from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from pix2spec.paper.work import Job, score_row, train_row
from pix2spec.runtime.workers import worker_pool

__all__ = ["Task", "run_tasks", "tasks_of"]

POLL = 1.0  # seconds between two looks at the progress of other processes


@dataclass(eq=False)
class Task:
    """Half of a job: its training, or its scoring."""

    job: Job
    what: str  # "train" or "score"
    needs: list["Task"] = field(default_factory=list)
    selector: Path | None = None
    objects: int = 0  # to score
    cost: float = 0.0  # expected seconds
    failure: str = ""
    done: bool = False

    @property
    def name(self) -> str:
        """For people."""
        return f"{self.what} {self.job.name}"

    @property
    def blocked_by(self) -> "Task | None":
        """What it needs and cannot have."""
        return next((task for task in self.needs if task.failure), None)

    @property
    def is_ready(self) -> bool:
        """Whether all that it needs is there."""
        return all(task.done for task in self.needs)

    def fraction(self) -> float:
        """How much of it is done, from what lies on disk."""
        if self.what == "train":
            steps, total = self.job.trained_steps()
            return steps / total if total else float(self.job.is_trained)
        return 1.0 if self.job.is_done else self.job.scored_objects() / max(self.objects, 1)

    def run(self, progress: bool = False) -> None:
        """Do it here."""
        if self.what == "train":
            train_row(self.job, progress)
        else:
            score_row(self.job, self.selector, progress)


def tasks_of(jobs: list[Job], selectors: dict[int, Job], objects: int) -> list[Task]:
    """Training and scoring of every job; what ranks candidates needs the contrastive network of its seed."""
    training = {job.name: Task(job, "train") for job in [*jobs, *selectors.values()]}
    tasks = list(training.values())
    for job in jobs:
        needs, selector = [training[job.name]], None
        if job.row.ranked:
            ranker = selectors[job.seed]
            needs.append(training[ranker.name])
            selector = ranker.run
        tasks.append(Task(job, "score", needs, selector, objects))
    return tasks


def run_tasks(tasks: list[Task], workers: int, progress: bool = True) -> None:
    """Run all that can be run; a task that cannot keeps the reason in `failure`.

    With one worker, the tasks run in this process, in order. With more, each of that many processes uses
    one thread, and the longest ready task starts first. Interrupted, they stop after a step or a piece of
    scores, and the next call goes on from there.
    """
    if workers == 1:
        _run_here(tasks, progress)
        return
    with _display(tasks, progress) as show:
        while any(not (task.done or task.failure) for task in tasks):
            _run_in_pool(tasks, workers, show)


def _run_in_pool(tasks: list[Task], workers: int, show) -> None:
    """Run the tasks until all are done or a process dies (for want of memory, say)."""
    running: dict = {}
    with worker_pool(workers) as pool:
        try:
            while True:
                _block(tasks)
                busy = set(running.values())
                ready = [t for t in tasks if not (t.done or t.failure) and t.is_ready and t not in busy]
                for task in sorted(ready, key=_priority(tasks))[: workers - len(busy)]:
                    running[pool.submit(task.run)] = task
                if not running:
                    return
                finished, _ = wait(running, timeout=POLL, return_when=FIRST_COMPLETED)
                for future in finished:
                    _finish(running.pop(future), future.result)
                show(list(running.values()))
        except BrokenProcessPool:
            for task in running.values():
                task.failure = "its process died"
        except BaseException:
            _stop(pool, running)  # first: a pool that is shut down no longer knows its processes
            raise


def _run_here(tasks: list[Task], progress: bool) -> None:
    from rich.console import Console

    console = Console(stderr=True)
    for number, task in enumerate(tasks, 1):
        _block(tasks)
        if task.failure:
            continue
        if progress and console.is_terminal:
            console.print(f"{number} of {len(tasks)}: {task.name}", highlight=False)
        _finish(task, partial(task.run, progress))


def _block(tasks: list[Task]) -> None:
    """A task whose need failed fails too."""
    for task in tasks:
        if task.blocked_by is not None and not task.failure:
            task.failure = f"it needs: {task.blocked_by.name}, which failed"


def _finish(task: Task, result: Callable[[], object]) -> None:
    try:
        result()
        task.done = True
    except BrokenProcessPool:
        task.failure = "its process died"
        raise
    except Exception as error:  # whatever it is, the other rows go on and the summary says it
        task.failure = f"{type(error).__name__}: {error}"


def _priority(tasks: list[Task]):
    """Longest first, counting the work that waits for a task."""
    waiting = {id(t): t.cost + sum(other.cost for other in tasks if t in other.needs) for t in tasks}
    return lambda task: -waiting[id(task)]


# -------------------------------------------------------------------------------- processes


def _stop(pool: ProcessPoolExecutor, running: dict) -> None:
    """Ask the processes to stop after the step at hand; training writes its checkpoint then."""
    processes = list((pool._processes or {}).values())
    for process in processes:
        process.terminate()
    wait(running, timeout=60)
    for process in processes:  # those that trained wait for more work
        process.kill()


@contextmanager
def _display(tasks: list[Task], progress: bool):
    """Bars of all tasks and of those that run; yields a function to call with the latter."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:3.0f} %"))
    hidden = not (progress and console.is_terminal)
    with Progress(*columns, TimeElapsedColumn(), console=console, disable=hidden, transient=True) as bar:
        whole = bar.add_task(f"{len(tasks)} tasks", total=sum(max(t.cost, 1) for t in tasks))
        lines: dict = {}

        def show(running: list[Task]) -> None:
            shares = {task: task.fraction() for task in running}
            shares |= {task: 1.0 for task in tasks if task.done or task.failure}
            done = sum(max(task.cost, 1) * share for task, share in shares.items())
            finished = sum(t.done or bool(t.failure) for t in tasks)
            bar.update(whole, completed=done, description=f"{finished} of {len(tasks)} tasks")
            for name in set(lines) - {task.name for task in running}:
                bar.remove_task(lines.pop(name))
            for task in running:
                if task.name not in lines:
                    lines[task.name] = bar.add_task(task.name, total=1.0)
                bar.update(lines[task.name], completed=shares[task])

        yield show
