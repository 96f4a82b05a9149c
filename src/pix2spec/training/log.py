"""Around the training loop: progress bar, log of losses, check for divergence, end after a complete step."""

import json
import math
import signal
import statistics
import sys
import threading
from collections import deque
from contextlib import contextmanager, suppress
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

__all__ = ["LossLog", "LossWatch", "ignore_signals", "progress_bar", "stop_after_the_step"]

STOPPING = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def stop_after_the_step():
    """Let Ctrl-C and SIGTERM end a run after the step at hand, so that its checkpoint is complete.

    Yields the list of signals that came.
    """
    asked: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield asked  # only the main thread may handle signals
        return
    before = {s: signal.signal(s, lambda number, _: asked.append(number)) for s in STOPPING}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def ignore_signals(*_) -> None:
    """For workers that load data: a signal to the whole group must not end them before the last step."""
    for number in STOPPING:
        signal.signal(number, signal.SIG_IGN)


class LossWatch:
    """Notices a loss that is no number, or stays far above what it was.

    A loss is high when it exceeds `FACTOR` times the median of the last `WINDOW` that were not;
    `PATIENCE` high ones in a row are a training that diverges.
    """

    FACTOR, PATIENCE, WINDOW = 10, 20, 200

    def __init__(self):
        self.recent: deque[float] = deque(maxlen=self.WINDOW)
        self.n_high = 0

    def see(self, loss: float) -> str:
        """Take note of a step's loss; says what is wrong, or nothing."""
        if not math.isfinite(loss):
            self.n_high += 1
            return f"the loss is {loss}"
        median = statistics.median(self.recent) if self.recent else loss
        if loss <= self.FACTOR * abs(median):
            self.recent.append(loss)
            self.n_high = 0
            return ""
        self.n_high += 1
        if self.n_high < self.PATIENCE:
            return ""
        what = f"for {self.n_high} steps above {self.FACTOR} times its median {median:.3g}"
        return f"the loss is {loss:.3g}, {what}"


def progress_bar(show: bool) -> Progress:
    """A bar of steps with loss and rate, on a terminal alone."""
    return Progress(
        TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed}/{task.total}"),
        TextColumn("{task.fields[loss]}"), TextColumn("{task.fields[rate]}"),
        TimeElapsedColumn(), TimeRemainingColumn(), disable=not (show and sys.stderr.isatty()),
        console=Console(stderr=True),
    )  # fmt: skip


class LossLog:
    """Losses of a run: lines of JSON in ``metrics.jsonl``, and TensorBoard's file where it is installed.

    A checkpoint comes before the validation of its step.

    Parameters
    ----------
    out : Path
        Run folder.
    step : int
        Steps that the checkpoint holds, 0 at the start; later losses of an earlier run are dropped.
    """

    def __init__(self, out: Path, step: int):
        self.path, self.last = out / "metrics.jsonl", {}
        # A resumed run repeats what came after its checkpoint.
        rows = [r for r in self._read() if r["step"] < step or (r["step"] == step and "val" not in r)]
        self.path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        for row in rows:
            self.last.update(row)
        self.board = None
        with suppress(ImportError):
            from torch.utils.tensorboard import SummaryWriter

            self.board = SummaryWriter(str(out / "tensorboard"), purge_step=step)

    @property
    def notice(self) -> str:
        """One line on how to get TensorBoard, or nothing where it is installed."""
        if self.board is not None:
            return ""
        return f"losses go to {self.path.name}; for TensorBoard also: pip install 'pix2spec[tensorboard]'"

    def _read(self) -> list[dict]:
        lines = self.path.read_text().splitlines() if self.path.exists() else []
        try:
            return [json.loads(line) for line in lines]
        except ValueError:  # a machine that went down may leave half a line at the end
            return [json.loads(line) for line in lines[:-1]]

    def write(self, step: int, **values: float) -> None:
        """Add losses by name."""
        self.last.update(values)
        with self.path.open("a") as stream:
            stream.write(json.dumps({"step": step, **values}) + "\n")
        if self.board is not None:
            for name, value in values.items():
                self.board.add_scalar(f"loss/{name}", value, step)

    def close(self) -> None:
        """Close TensorBoard's file."""
        if self.board is not None:
            self.board.close()
