"""Check Parquet files of unknown origin in a separate process.

A damaged footer can end the process that reads it: pyarrow's `RowGroupMetaData.column` throws a C++ exception
that Python cannot catch. A worker process therefore opens each file first. The worker starts with the first
file and checks all later ones. A new worker replaces it when a file ends it.
"""

import atexit
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

from pix2spec.errors import InputError

__all__ = ["check_parquet"]

_lock = threading.Lock()
_workers: dict[int, subprocess.Popen] = {}  # process id to its worker; a fork must not use its parent's


def check_parquet(path: Path) -> None:
    """Refuse a Parquet file with a damaged footer, or with more declared rows than values.

    Raises
    ------
    InputError
        If the file cannot be read as Parquet, or declares more rows than it has values.
    """
    with _lock:
        try:
            answer = _ask(path)
        except BaseException:  # The next call would take an unread answer for its own.
            _stop()
            raise
    if answer:
        raise InputError(path, answer, "download it again")


def _ask(path: Path) -> str:
    """Let the worker check a file. Returns the fault that it found, or an empty text."""
    worker = _workers.get(os.getpid()) or _start()
    assert worker.stdin is not None and worker.stdout is not None
    try:
        print(json.dumps(str(Path(path).absolute())), file=worker.stdin, flush=True)
        return json.loads(worker.stdout.readline())
    except (OSError, ValueError):
        _stop()
        return "its footer is damaged: reading it ends the process"


def _start() -> subprocess.Popen:
    command = [sys.executable, "-P", "-m", __name__]
    worker = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    _workers[os.getpid()] = worker
    return worker


@atexit.register
def _stop() -> None:
    worker = _workers.pop(os.getpid(), None)
    if worker is not None:
        worker.kill()
        worker.communicate()


def _serve() -> None:
    """Check the path on each line of standard input and print its fault as JSON, until the input ends."""
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is meant for the parent process
    for line in sys.stdin:
        print(json.dumps(_fault_of(json.loads(line))), flush=True)


def _fault_of(path: str) -> str:
    """The fault of a file, or an empty text."""
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            for group in map(file.metadata.row_group, range(file.num_row_groups)):
                # Nulls and empty lists count as values.
                values = min((group.column(j).num_values for j in range(group.num_columns)), default=0)
                if not 0 <= group.num_rows <= values:
                    what = f"a row group declares {group.num_rows} rows, but {values} values"
                    return f"its footer is damaged: {what}"
    except Exception as error:  # Parsers of damaged bytes raise exceptions of any type.
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        return f"it cannot be read as Parquet: {reason}"
    return ""


if __name__ == "__main__":
    _serve()
