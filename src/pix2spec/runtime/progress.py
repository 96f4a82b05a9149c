"""Progress bars for long work."""

import sys
from collections.abc import Iterable, Iterator

__all__ = [
    "progress_bar",
]


def progress_bar(items: Iterable, what: str, show: bool = True, total: int | None = None) -> Iterator:
    """Pass `items` on under a progress bar on the terminal's error stream; silent without a terminal."""
    if not (show and sys.stderr.isatty()):
        yield from items
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        yield from bar.track(items, total=total, description=what)
