"""Long jobs that continue after they were cut off.

A job is a set of *units*. A unit is done when its file exists, and a file exists only when it is complete
(`pix2spec.runtime.atomic`): nothing else has to be recorded, and a kill at any moment costs the units in
progress alone. ``run.json`` beside the files holds the *identity* of the job: the model, the settings, the
input. A job continues only with the identity that it began with, so that no folder mixes two jobs.
"""

import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from pix2spec.errors import InputError
from pix2spec.runtime.atomic import write_atomically

__all__ = ["RUN_FILE", "Resumable", "is_unfinished"]

RUN_FILE = "run.json"
LOCK_FILE = "run.lock"


class Resumable:
    """The folder of a long job.

    Parameters
    ----------
    folder : path
        Where the files of the units and ``run.json`` lie.
    identity : dict
        What must not change when the job continues, as plain JSON values.
    product : str
        What the job makes, for error messages: ``"a catalogue"``.
    """

    def __init__(self, folder: str | Path, identity: dict, product: str = "a result"):
        self.folder, self.product = Path(folder), product
        self.identity = json.loads(json.dumps(identity, default=str))

    def claim(self, resume: bool) -> None:
        """Take an empty folder, or continue the job that began in it.

        Raises
        ------
        InputError
            If the folder holds a finished job, an unfinished one without `resume`, or another job's files.
        """
        record = _read(self.folder)
        if record is not None:
            self._check(record, resume)
        self._write(complete=False)

    def _check(self, record: dict, resume: bool) -> None:
        if record.get("complete"):
            what = f"it holds {self.product} that is complete"
            raise InputError(self.folder, what, "choose another folder")
        if not resume:
            what = f"it holds the beginning of {self.product}"
            raise InputError(self.folder, what, "continue with `resume=True`, or delete the folder")
        then, now = record["run"], self.identity
        names = [name for name in sorted({*then, *now}) if then.get(name) != now.get(name)]
        changes = "; ".join(f"{name} was {then.get(name)!r} and is {now.get(name)!r} now" for name in names)
        if changes:
            what = f"{self.product} was begun in it with other options: {changes}"
            raise InputError(self.folder, what, "use the same options, or choose another folder")

    def _write(self, complete: bool) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        text = json.dumps({"complete": complete, "run": self.identity}, indent=1) + "\n"
        write_atomically(self.folder / RUN_FILE, lambda temporary: temporary.write_text(text))

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes out (they get an `InputError`); a kill ends the lock too."""
        import fcntl  # not on Windows

        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / LOCK_FILE
        with open(path, "w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                mine = os.path.samestat(os.fstat(lock.fileno()), path.stat())  # not one that was just deleted
            except (BlockingIOError, FileNotFoundError):
                mine = False
            if not mine:
                raise InputError(self.folder, "another process is at work in this folder", "wait for it")
            try:
                yield
            finally:
                path.unlink(missing_ok=True)

    def path(self, unit: str) -> Path:
        """Where the file of a unit is, once it is complete."""
        return self.folder / unit

    def missing(self, units: Iterable[str]) -> list[str]:
        """Which of the units, named by their files, are still to be done."""
        return [unit for unit in units if not self.path(unit).exists()]

    def finish(self) -> None:
        """Record that all units are done, and delete the half-written files of runs that were killed."""
        self.sweep()
        self._write(complete=True)

    def sweep(self) -> None:
        """Delete the half-written files of runs that were killed."""
        for left in self.folder.glob("*.partial"):
            left.unlink()


def is_unfinished(folder: str | Path) -> bool:
    """Whether a folder holds a job that is not complete; `InputError` if its ``run.json`` is damaged."""
    record = _read(Path(folder))
    return record is not None and not record.get("complete")


def _read(folder: Path) -> dict | None:
    path = folder / RUN_FILE
    try:
        record = json.loads(path.read_bytes())
        if not isinstance(record["run"], dict):
            raise TypeError("run is not a mapping")
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        what = f"it cannot be read as the record of a run: {type(error).__name__} {error}"
        raise InputError(path, what[:300], "delete the folder and begin again") from None
    return record
