"""Progress bars for long work."""

import sys
from collections.abc import Iterable, Iterator

__all__ = [
    "progress_bar",
]


def progress_bar(items: Iterable, what: str, show: bool = True, total: int | None = None) -> Iterator:
    """Yield `items` and show a progress bar on standard error.

    Parameters
    ----------
    items : iterable
        Anything that can be iterated over.
    what : str
        Text beside the bar.
    show : bool
        Show the bar. It is never shown if standard error is not a terminal.
    total : int, optional
        Number of items, if `items` has no length.
    """
    if not (show and sys.stderr.isatty()):
        yield from items
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        yield from bar.track(items, total=total, description=what)
