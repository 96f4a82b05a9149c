"""Long jobs that continue after they were cut off.

A job is a set of *units*. A unit is done when its file exists, and a file exists only when it is complete
(`pix2spec.runtime.atomic`): nothing else has to be recorded, and a kill at any moment costs the units in
progress alone. ``run.json`` beside the files holds the *identity* of the job: the model, the settings, the
input. A job continues only with the identity that it began with, so that no folder mixes two jobs.
"""

import json
from collections.abc import Iterable
from pathlib import Path

from pix2spec.errors import InputError
from pix2spec.runtime.atomic import write_atomically

__all__ = ["RUN_FILE", "Resumable", "is_unfinished"]

RUN_FILE = "run.json"


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
            raise InputError(
                self.folder, f"it holds {self.product} that is complete", "choose another folder"
            )
        if not resume:
            what = f"it holds the beginning of {self.product}"
            raise InputError(self.folder, what, "continue with resume=True, or delete the folder")
        begun = record["run"]
        names = sorted({*begun, *self.identity})
        changed = [name for name in names if begun.get(name) != self.identity.get(name)]
        if changed:
            was = ", ".join(f"{name} was {begun.get(name)!r}" for name in changed)
            raise InputError(self.folder, f"the job in it began differently: {was}", "use the same options")

    def _write(self, complete: bool) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        text = json.dumps({"complete": complete, "run": self.identity}, indent=1) + "\n"
        write_atomically(self.folder / RUN_FILE, lambda temporary: temporary.write_text(text))

    def path(self, unit: str) -> Path:
        """Where the file of a unit is, once it is complete."""
        return self.folder / unit

    def missing(self, units: Iterable[str]) -> list[str]:
        """Which of the units, named by their files, are still to be done."""
        return [unit for unit in units if not self.path(unit).exists()]

    def finish(self) -> None:
        """Record that all units are done, and delete the half-written files of runs that were killed."""
        for left in self.folder.rglob("*.partial"):
            left.unlink()
        self._write(complete=True)


def is_unfinished(folder: str | Path) -> bool:
    """Whether a folder holds a job that was begun and is not complete.

    Raises
    ------
    InputError
        If its ``run.json`` is damaged.
    """
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
        what = f"the record of a run is damaged: {type(error).__name__} {error}"
        raise InputError(path, what[:300], "delete the folder and begin again") from None
    return record
