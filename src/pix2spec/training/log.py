"""Helpers of the training loop: progress bar, log of losses, check for divergence, handling of signals."""

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

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def stop_after_the_step():
    """Let Ctrl-C and SIGTERM end a run after the current step, so that its checkpoint is complete.

    Yields
    ------
    list of int
        Signals received so far. The training loop must end once the list is not empty.
    """
    asked: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield asked  # Python allows signal handlers in the main thread only
        return
    before = {s: signal.signal(s, lambda number, _: asked.append(number)) for s in STOP_SIGNALS}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def ignore_signals(*_) -> None:
    """Ignore Ctrl-C and SIGTERM in a worker process that loads data.

    A signal may go to the whole process group. The training loop needs the workers until its last step.
    """
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)


class LossWatch:
    """Detect a loss that is NaN or infinite, or that stays far above earlier losses.

    A loss is high if it exceeds `FACTOR` times the median of the last `WINDOW` losses that were not high.
    The training diverges if `PATIENCE` losses in a row are high.

    Attributes
    ----------
    n_high : int
        Number of the latest losses in a row that are high or not finite.
    """

    FACTOR, PATIENCE, WINDOW = 10, 20, 200

    def __init__(self):
        self.recent: deque[float] = deque(maxlen=self.WINDOW)
        self.n_high = 0

    def see(self, loss: float) -> str:
        """Add the loss of a step; return a description of the problem, or ``""`` if there is none."""
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
    """Make a progress bar of steps with loss and rate. It appears only on a terminal."""
    return Progress(
        TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed}/{task.total}"),
        TextColumn("{task.fields[loss]}"), TextColumn("{task.fields[rate]}"),
        TimeElapsedColumn(), TimeRemainingColumn(), disable=not (show and sys.stderr.isatty()),
        console=Console(stderr=True),
    )  # fmt: skip


class LossLog:
    """Losses of a run: lines of JSON in ``metrics.jsonl``, and a TensorBoard log if TensorBoard is installed.

    Parameters
    ----------
    out : Path
        Run folder.
    step : int
        Step of the checkpoint from which the run continues, 0 for a new run. The log drops later losses
        of the earlier run, because the run computes them again.
    """

    def __init__(self, out: Path, step: int):
        self.path, self.last = out / "metrics.jsonl", {}
        # The checkpoint of a step is saved before the validation of that step: a resumed run repeats it too.
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
        """One line on how to install TensorBoard, or ``""`` if it is installed."""
        if self.board is not None:
            return ""
        return f"losses go to {self.path.name}; for TensorBoard as well: pip install 'pix2spec[tensorboard]'"

    def _read(self) -> list[dict]:
        lines = self.path.read_text().splitlines() if self.path.exists() else []
        try:
            return [json.loads(line) for line in lines]
        except ValueError:  # a machine that crashed may leave half a line at the end
            return [json.loads(line) for line in lines[:-1]]

    def write(self, step: int, **values: float) -> None:
        """Write losses of a step, by name (``train``, ``val``)."""
        self.last.update(values)
        with self.path.open("a") as stream:
            stream.write(json.dumps({"step": step, **values}) + "\n")
        if self.board is not None:
            for name, value in values.items():
                self.board.add_scalar(f"loss/{name}", value, step)

    def close(self) -> None:
        """Close the TensorBoard log."""
        if self.board is not None:
            self.board.close()
