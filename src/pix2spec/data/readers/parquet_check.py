"""A check of Parquet files of unknown origin, in another process.

A damaged footer can end the process that reads it: `RowGroupMetaData.column` of pyarrow throws in C++, where
nothing catches it. Files are therefore opened by a worker process first. It starts with the first file,
serves all later ones, and is replaced when a file ends it.
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
_workers: dict[int, subprocess.Popen] = {}  # by process: a fork must not share its parent's


def check_parquet(path: Path) -> None:
    """Refuse a Parquet file whose footer ends the process or declares rows that it does not hold.

    Raises
    ------
    InputError
        Naming the file.
    """
    with _lock:
        try:
            answer = _ask(path)
        except BaseException:  # an answer that nobody read would be taken for the next file's
            _stop()
            raise
    if answer:
        raise InputError(path, answer, "download it again")


def _ask(path: Path) -> str:
    """The worker's answer: what is wrong with a file, or nothing."""
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
    """Answer for each path of the standard input until it ends."""
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that asks
    for line in sys.stdin:
        print(json.dumps(_fault_of(json.loads(line))), flush=True)


def _fault_of(path: str) -> str:
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            for group in map(file.metadata.row_group, range(file.num_row_groups)):
                # nulls and empty lists are values too
                values = min((group.column(j).num_values for j in range(group.num_columns)), default=0)
                if not 0 <= group.num_rows <= values:
                    what = f"a row group has {group.num_rows} rows of {values} values"
                    return f"its footer is damaged: {what}"
    except Exception as error:  # parsers of foreign bytes fail in every way there is
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        return f"it cannot be read as Parquet: {reason}"
    return ""


if __name__ == "__main__":
    _serve()
