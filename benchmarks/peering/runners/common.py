"""What all programs under test share: an input file, an output file, times and memory.

This file and those beside it run in environments of their own, where pix2spec is missing.

IN is a NumPy archive: mag, error (N, 5) and fold (N,) of the galaxies to answer for; train_mag, train_error
(M, 5) and train_z (M,) of those to learn from. OUT is a Parquet file with N rows, whose column is either
"draws" of the redshift or its "density" on the grid that the metadata "grid" holds. The metadata "cost" holds
seconds and bytes. Without a column, the file holds a cost alone.
"""

import json
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np


class Clock:
    """Seconds by the wall and of the processor, added up under a name."""

    def __init__(self) -> None:
        self.wall: dict[str, float] = {}
        self.processor: dict[str, float] = {}

    def __call__(self, name: str, function: Callable, *args):
        """Call a function and add its time to that of `name`."""
        start, used = time.perf_counter(), processor_seconds()
        result = function(*args)
        self.wall[name] = self.wall.get(name, 0) + time.perf_counter() - start
        self.processor[name] = self.processor.get(name, 0) + processor_seconds() - used
        return result


def processor_seconds() -> float:
    """Seconds in user code of this process, all its threads and its finished children."""
    return sum(resource.getrusage(who).ru_utime for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))


def peak_bytes() -> int:
    """Largest resident memory of this process so far, or of one of its children."""
    status = Path("/proc/self/status").read_text()  # getrusage would count what the parent had before
    own = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
    return 1024 * max(own, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)


def write(path: str, answer: dict, cost: dict) -> None:
    """Write an answer, with "draws" (N, n) or with "density" (N, G) and "grid" (G,), and what it cost."""
    import pyarrow
    import pyarrow.parquet

    columns = {}
    for name in ("draws", "density"):
        if name in answer:
            values = np.asarray(answer[name], np.float64)
            columns[name] = pyarrow.FixedSizeListArray.from_arrays(values.ravel(), values.shape[1])
    known = {"cost": json.dumps(cost)}
    if "grid" in answer:
        known["grid"] = json.dumps(np.asarray(answer["grid"], float).tolist())
    pyarrow.parquet.write_table(pyarrow.table(columns).replace_schema_metadata(known), path)


def run(fit: Callable, answer: Callable, trained: bool = True, **facts) -> None:
    """Fit, answer and write the result.

    Parameters
    ----------
    fit : callable
        From arrays mag, error (M, 5) and z (M,) of training galaxies to anything. Without training it gets
        no arguments.
    answer : callable
        From what `fit` returned, mag, error (N, 5) and fold (N,) to draws (N, n) or to densities (N, G) on
        a grid (G,), as a dict with "draws", or with "grid" and "density".
    trained : bool
        Whether the program learns from galaxies.
    **facts
        More to record, such as a version.
    """
    data, clock = dict(np.load(sys.argv[1])), Clock()
    known = [data[f"train_{name}"] for name in ("mag", "error", "z")] if trained else []
    model = clock("fit", fit, *known)
    found = clock("answer", answer, model, data["mag"], data["error"], data["fold"])
    cost = {"wall": clock.wall, "processor": clock.processor, "peak_bytes": peak_bytes()}
    write(sys.argv[2], found, cost | {"learnt": len(known[-1]) if trained else 0} | facts)
