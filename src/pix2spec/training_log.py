"""What surrounds the training loop: progress bar, log of losses, and an end after a whole step."""

import json
import signal
import sys
import threading
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

__all__ = ["LossLog", "progress_bar", "stop_after_the_step"]


@contextmanager
def stop_after_the_step():
    """Let Ctrl-C and SIGTERM end a run after the step at hand, so that its checkpoint is whole."""
    asked: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield asked  # only the main thread may handle signals
        return
    before = {
        s: signal.signal(s, lambda number, _: asked.append(number)) for s in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def progress_bar(show: bool) -> Progress:
    """A bar of steps with loss and rate, on a terminal alone."""
    return Progress(
        TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed}/{task.total}"),
        TextColumn("{task.fields[loss]}"), TextColumn("{task.fields[rate]}"),
        TimeElapsedColumn(), TimeRemainingColumn(), disable=not (show and sys.stderr.isatty()),
        console=Console(stderr=True),
    )  # fmt: skip


class LossLog:
    """Losses, as JSON lines and for TensorBoard."""

    def __init__(self, out: Path, step: int):
        from torch.utils.tensorboard import SummaryWriter

        self.path, self.last = out / "metrics.jsonl", {}
        kept = []
        if self.path.exists():  # a resumed run repeats the steps after its checkpoint
            kept = [row for row in self.path.read_text().splitlines() if json.loads(row)["step"] <= step]
        self.path.write_text("".join(row + "\n" for row in kept))
        for row in kept:
            self.last.update(json.loads(row))
        self.board = SummaryWriter(str(out / "tensorboard"), purge_step=step)

    def write(self, step: int, **values: float) -> None:
        """Add losses by name."""
        self.last.update(values)
        with self.path.open("a") as stream:
            stream.write(json.dumps({"step": step, **values}) + "\n")
        for name, value in values.items():
            self.board.add_scalar(f"loss/{name}", value, step)

    def close(self) -> None:
        """End the files."""
        self.board.close()
