"""The plan of a build: its objects, their units of work, and the outcome of each object.

The folder ``build`` beside the shards holds the plan. The files ``page-N.parquet`` hold the selection while
it is being made. ``selection.parquet`` holds the complete selection, sorted so that neighbours share plates
and frames. One row group of it is a unit of work. Unit N is done when its shard ``pairs-N.parquet``, and
after it its outcome ``unit-N.parquet``, are written. Objects that must be tried again form additional units
in the next run. If an object is in several units, the outcome of the highest one counts.
"""

import csv
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pix2spec.data.archives.sdss.select_sql import SpecRow
from pix2spec.data.crossmatch import link_groups
from pix2spec.data.dataset import write_table_atomically
from pix2spec.errors import InputError
from pix2spec.runtime.atomic import write_atomically
from pix2spec.runtime.resumable import Resumable

__all__ = ["DONE", "FAILED", "LATER", "PENDING", "Entry", "Outcome", "Plan"]

# Status of an object: not reached yet, written, unusable, to be tried again by the next run.
PENDING, DONE, FAILED, LATER = range(4)
OUTCOME_NAMES = {DONE: "written without image", FAILED: "left out", LATER: "tried again by the next run"}
SORT_COLUMNS = ("plate", "mjd", "run", "camcol", "field", "fiber")  # neighbours share plates and frames
KEYS = ("object_id", "plate_key", "field_key")
TYPES: dict[Any, pa.DataType] = {int: pa.int64(), float: pa.float64(), str: pa.string()}
SPEC_FIELDS = [pa.field(f.name, TYPES.get(f.type, pa.list_(pa.float64()))) for f in fields(SpecRow)]
PAGE_SCHEMA = pa.schema([*SPEC_FIELDS, *(pa.field(name, pa.string()) for name in KEYS)])


@dataclass(frozen=True)
class Entry:
    """One object of a unit of work."""

    row: SpecRow
    group_id: str = ""
    whole: bool = False  # whether its spectrum comes from a spPlate file

    @property
    def object_id(self) -> str:
        """The id ``plate-mjd-fiber``."""
        return self.row.object_id

    @property
    def plate_key(self) -> str:
        """A text that is the same for all objects of a spPlate file."""
        return f"{self.row.run2d}/{self.row.plate}/{self.row.mjd}"

    @property
    def field_key(self) -> str:
        """A text that is the same for all objects of a frame."""
        return f"{self.row.rerun}/{self.row.run}/{self.row.camcol}/{self.row.field}"


@dataclass(frozen=True)
class Outcome:
    """Outcome of one object."""

    object_id: str
    status: int  # DONE, FAILED or LATER
    reason: str = ""  # of a failure, or why a written object has no image


class Plan:
    """The plan in the folder of a dataset.

    It needs about 30 bytes of memory per object. The rows of the selection are read unit by unit.

    Parameters
    ----------
    job : Resumable
        The folder of the dataset.

    Attributes
    ----------
    status : array (n,), int8
        PENDING, DONE, FAILED or LATER for each object, once the selection is complete.
    whole : array (n,), bool
        Whether the spectrum comes from a spPlate file.
    plates, fields : list of str
        The different plates and fields.
    plate, field : array (n,), int
        Index of each object's plate in `plates`, and of its field in `fields`.
    rejected : list of (object id, reason)
        Invalid rows of the catalogue.

    Raises
    ------
    InputError
        If a file of the plan is damaged.
    """

    def __init__(self, job: Resumable):
        self.job, self.folder = job, job.path("build")
        self._selection = self.folder / "selection.parquet"
        self.status, self._unit = np.zeros(0, np.int8), np.zeros(0, int)
        if self.selected:
            self._open()

    # --- the selection -----------------------------------------------------------------------------------

    @property
    def selected(self) -> bool:
        """Whether the selection is complete."""
        return self._selection.exists()

    def _pages(self) -> list[Path]:
        return sorted(self.folder.glob("page-*.parquet"))

    @property
    def begun(self) -> bool:
        """Whether at least a part of the selection exists."""
        return self.selected or bool(self._pages())

    def add(self, rows: Iterable[SpecRow], rejected: list[tuple[str, str]]) -> None:
        """Store a page of the selection.

        Parameters
        ----------
        rows : iterable of SpecRow
            Rows of complete plates. Only the last plate of the last page may be incomplete.
        rejected : list of (object id, reason)
            Invalid rows of the catalogue.
        """
        entries = [asdict(row) | {name: getattr(Entry(row), name) for name in KEYS} for row in rows]
        page = pa.Table.from_pylist(entries, PAGE_SCHEMA.with_metadata({"rejected": json.dumps(rejected)}))
        self.folder.mkdir(exist_ok=True)
        write_table_atomically(page, self.folder / f"page-{len(self._pages()):05d}.parquet")

    def position(self) -> tuple[int, tuple[int, int] | None]:
        """Number of objects on the pages so far, and the (plate, mjd) of the last object."""
        tables = [_read(path, ["plate", "mjd"]) for path in self._pages()]
        last = next(
            (table.slice(len(table) - 1).to_pylist()[0] for table in tables[::-1] if len(table)), None
        )
        return sum(map(len, tables)), last and (last["plate"], last["mjd"])

    def cut(self, size: int, whole_plate: Callable[[str, int], bool]) -> int:
        """Complete the selection: find repeats, choose how spectra are fetched, and form units.

        Parameters
        ----------
        size : int
            Objects per unit.
        whole_plate : callable
            Takes run2d and the number of selected spectra of a plate. Returns whether they are fetched as one
            spPlate file.

        Returns
        -------
        int
            Number of objects. If it is 0, nothing is written.
        """
        needed = ["object_id", "plate_key", "bestobjid", "ra", "dec", *SORT_COLUMNS]
        table = pa.concat_tables([_read(path, needed) for path in self._pages()])
        if not len(table):
            return 0
        # An interrupted run may have stored objects twice.
        first = np.unique(table["object_id"].to_numpy(), return_index=True)[1]
        order = first[np.lexsort([table[name].to_numpy()[first] for name in SORT_COLUMNS[::-1]])]
        table = table.take(order)
        whole = pa.array(_whole(table["plate_key"].to_pylist(), whole_plate), pa.bool_())
        groups = pa.array(_groups(table), pa.string())
        del table, first
        pages = [_read(path) for path in self._pages()]
        rejected = dict(one for page in pages for one in json.loads(page.schema.metadata[b"rejected"]))
        told = {"rejected": json.dumps(list(rejected.items()))}
        table = pa.concat_tables([page.replace_schema_metadata(told) for page in pages]).take(order)
        del pages
        table = table.append_column("group_id", groups).append_column("whole", whole)
        write_atomically(self._selection, lambda path: pq.write_table(table, path, row_group_size=size))
        self._open()
        return len(table)

    def _open(self) -> None:
        for page in self._pages():
            page.unlink()
        try:
            self._file = pq.ParquetFile(self._selection)
            keys = self._file.read(["plate_key", "field_key", "whole"]).combine_chunks()
            self.rejected: list = json.loads(self._file.schema_arrow.metadata[b"rejected"])
            self._size = self._file.metadata.row_group(0).num_rows
        except (pa.ArrowException, OSError, ValueError, KeyError, TypeError) as error:
            raise _damaged(self._selection, error) from error
        (self.plates, self.plate), (self.fields, self.field) = (_coded(keys[name]) for name in KEYS[1:])
        self.whole = keys["whole"].to_numpy()
        self.status, self._unit = np.zeros(len(keys), np.int8), np.full(len(keys), -1)
        for unit, path in self._outcomes():
            told = _read(path)
            rows, status = told["row"].to_numpy(), told["status"].to_numpy()
            if (status == DONE).any() and not self.shard(unit).exists():
                path.unlink()  # The shard was deleted and must be made again.
                continue
            if not ((0 <= rows) & (rows < len(keys))).all() or not np.isin(status, list(OUTCOME_NAMES)).all():
                raise _damaged(path, ValueError("it is not of this selection"))
            self.status[rows], self._unit[rows] = status, unit

    # --- the work ----------------------------------------------------------------------------------------

    def _outcomes(self) -> list[tuple[int, Path]]:
        """(unit, outcome file) of the units that are done, in order."""
        return [(int(path.stem.split("-")[1]), path) for path in sorted(self.folder.glob("unit-*.parquet"))]

    def shard(self, unit: int) -> Path:
        """Path of the shard of a unit. The file exists once it is complete."""
        return self.job.path(f"pairs-{unit:05d}.parquet")

    def _outcome(self, unit: int) -> str:
        return f"build/unit-{unit:05d}.parquet"

    def units(self) -> dict[int, np.ndarray]:
        """Numbers of the units that are not done, to the numbers of their objects. Retries come last."""
        planned = {self._outcome(unit): unit for unit in range(self._file.num_row_groups)}
        left, size, n = [planned[name] for name in self.job.missing(planned)], self._size, len(self.status)
        units = {unit: np.arange(unit * size, min((unit + 1) * size, n)) for unit in left}
        later = np.flatnonzero(self.status == LATER)
        next_one = max([len(planned) - 1, *(unit for unit, _ in self._outcomes())]) + 1
        return units | {next_one + i: later[i * size :][:size] for i in range(-(-len(later) // size))}

    def entries(self, rows: np.ndarray) -> list[Entry]:
        """The objects with the numbers `rows` (n,)."""
        groups = np.unique(rows // self._size)
        try:
            table = self._file.read_row_groups(groups.tolist())
        except (pa.ArrowException, OSError) as error:
            raise _damaged(self._selection, error) from error
        starts = np.searchsorted(groups, rows // self._size) * self._size
        found = table.take(starts + rows % self._size).to_pylist()
        return [Entry(_spec_row(one), one["group_id"], one["whole"]) for one in found]

    def finish(self, unit: int, rows: np.ndarray, outcomes: list[Outcome]) -> None:
        """Record that a unit is done.

        Parameters
        ----------
        unit : int
            Number of the unit.
        rows : array (n,), int
            Numbers of its objects.
        outcomes : list of Outcome
            The outcomes of the objects, in the order of `rows`.
        """
        status = np.array([one.status for one in outcomes], np.int8)
        ids, reasons = [one.object_id for one in outcomes], [one.reason for one in outcomes]
        table = pa.table({"row": rows, "object_id": ids, "status": status, "reason": reasons})
        write_table_atomically(table, self.job.path(self._outcome(unit)))
        self.status[rows], self._unit[rows] = status, unit

    def clean(self) -> None:
        """Delete the incomplete work of an interrupted run: temporary files, and shards without outcome."""
        self.job.sweep()
        for left in self.folder.glob("*.partial"):
            left.unlink()
        done = {self.shard(unit) for unit, _ in self._outcomes()}
        for shard in self.job.folder.glob("pairs-*.parquet"):
            if shard not in done:
                shard.unlink()

    def last_done(self) -> np.ndarray:
        """Numbers of the objects of the last finished unit. Its raw files may be there after a kill."""
        paths = sorted(self.folder.glob("unit-*.parquet"), key=lambda path: path.stat().st_mtime_ns)
        return _read(paths[-1])["row"].to_numpy() if paths else np.zeros(0, int)

    def awaited(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Which raw files are still needed.

        Returns
        -------
        own, plate, field : array (n,), bool
            For each object of `rows`: whether it is still to be made, whether any object of its plate is, and
            whether any object of its field is.
        """
        left = self.left
        shared = (np.isin(codes[rows], codes[left]) for codes in (self.plate, self.field))
        return left[rows], *shared

    # --- accounts ----------------------------------------------------------------------------------------

    @property
    def left(self) -> np.ndarray:
        """Array (n,), bool: which objects are still to be made, for the first time or again."""
        return (self.status == PENDING) | (self.status == LATER)

    def counts(self) -> list[int]:
        """Number of objects of each status."""
        return np.bincount(self.status, minlength=4).tolist()

    def failures(self) -> Iterator[tuple[str, int, str]]:
        """Yield (object id, status, reason) of all problems."""
        yield from ((object_id, FAILED, reason) for object_id, reason in self.rejected)
        for unit, path in self._outcomes():
            for one in _read(path).to_pylist():
                if one["reason"] and self._unit[one["row"]] == unit:
                    yield one["object_id"], one["status"], one["reason"]

    def write_failures(self, path: Path) -> None:
        """Write the failures as CSV."""

        def write(temporary: Path) -> None:
            with open(temporary, "w", newline="", encoding="utf-8") as stream:
                writer = csv.writer(stream)
                writer.writerow(("object_id", "outcome", "reason"))
                rows = ((name, OUTCOME_NAMES[status], why) for name, status, why in self.failures())
                writer.writerows(rows)

        write_atomically(path, write)


def _groups(table: pa.Table) -> list[str]:
    """Group id of each object. Repeat spectra of one object share it."""
    known = zip(table["bestobjid"].to_pylist(), table["object_id"].to_pylist())
    names = [str(number) if number else name for number, name in known]
    return link_groups(names, table["ra"].to_numpy(), table["dec"].to_numpy())


def _whole(keys: list[str], whole_plate: Callable[[str, int], bool]) -> list[bool]:
    """Whether the spectrum of each object comes from its plate's file."""
    whole = {key: whole_plate(key.split("/")[0], count) for key, count in Counter(keys).items()}
    return [whole[key] for key in keys]


def _coded(keys: pa.ChunkedArray) -> tuple[list[str], np.ndarray]:
    """The different keys, and the index of each object's key among them."""
    coded = keys.combine_chunks().dictionary_encode()
    return coded.dictionary.to_pylist(), coded.indices.to_numpy()


def _read(path: Path, columns: list[str] | None = None) -> pa.Table:
    try:
        with pq.ParquetFile(path) as file:
            return file.read(columns)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> InputError:
    return InputError(path, f"it is damaged: {str(error)[:200]}", "start again in another folder")


def _spec_row(values: dict) -> SpecRow:
    known: dict[str, Any] = {field.name: values[field.name] for field in SPEC_FIELDS}
    known |= {name: tuple(value) for name, value in known.items() if isinstance(value, list)}
    return SpecRow(**known)
