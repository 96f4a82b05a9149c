"""The plan of a build: which objects, in which units of work, and what became of each.

Everything lies in the folder ``build`` beside the shards. ``page-N.parquet`` hold the selection while it is
being made, ``selection.parquet`` the whole of it: neighbours share plates and frames, a row group is a unit.
Unit N is done when its shard ``pairs-N.parquet`` and then its outcome ``unit-N.parquet`` are written. Objects
that are to be tried again form further units in the next run; about each object the highest unit is right.
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

# What may become of an object: not reached yet, written, failed for good, to be tried again by the next run.
PENDING, DONE, FAILED, LATER = range(4)
SAID = {DONE: "written without image", FAILED: "left out", LATER: "tried again by the next run"}
IN_ORDER = ("plate", "mjd", "run", "camcol", "field", "fiber")  # neighbours share plates and frames
KEYS = ("object_id", "plate_key", "field_key")
TYPES: dict[Any, pa.DataType] = {int: pa.int64(), float: pa.float64(), str: pa.string()}
FACTS = [pa.field(f.name, TYPES.get(f.type, pa.list_(pa.float64()))) for f in fields(SpecRow)]
PAGE = pa.schema([*FACTS, *(pa.field(name, pa.string()) for name in KEYS)])


@dataclass(frozen=True)
class Entry:
    """One object of a unit of work; `whole` says that its spectrum comes from a spPlate file."""

    row: SpecRow
    group_id: str = ""
    whole: bool = False

    @property
    def object_id(self) -> str:
        """``plate-mjd-fiber``."""
        return self.row.object_id

    @property
    def plate_key(self) -> str:
        """The same for all objects of a spPlate file."""
        return f"{self.row.run2d}/{self.row.plate}/{self.row.mjd}"

    @property
    def field_key(self) -> str:
        """The same for all objects of a frame."""
        return f"{self.row.rerun}/{self.row.run}/{self.row.camcol}/{self.row.field}"


@dataclass(frozen=True)
class Outcome:
    """What became of one object: DONE, FAILED or LATER, and why (also: why a written one has no image)."""

    object_id: str
    status: int
    reason: str = ""


class Plan:
    """The plan in the folder of a dataset. It takes some 30 bytes of memory an object; rows are read by unit.

    Parameters
    ----------
    job : Resumable
        The folder of the dataset.

    Attributes
    ----------
    status : array (n,), int8
        PENDING, DONE, FAILED or LATER of each object, once the selection is complete.
    whole : array (n,), bool
        Whether the spectrum comes from a spPlate file.
    plate, field : array (n,), int
        Objects with the same number share a spPlate file, or frames: places in `plates`, `fields`.
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
        """Whether some of the selection is there."""
        return self.selected or bool(self._pages())

    def add(self, rows: Iterable[SpecRow], rejected: list[tuple[str, str]]) -> None:
        """Store a page of the selection: plates that were read whole, but perhaps for the last page's last.

        Parameters
        ----------
        rejected : list of (object id, reason)
            Rows of the catalogue that make no sense.
        """
        entries = [asdict(row) | {name: getattr(Entry(row), name) for name in KEYS} for row in rows]
        page = pa.Table.from_pylist(entries, PAGE.with_metadata({"rejected": json.dumps(rejected)}))
        self.folder.mkdir(exist_ok=True)
        write_table_atomically(page, self.folder / f"page-{len(self._pages()):05d}.parquet")

    def position(self) -> tuple[int, tuple[int, int] | None]:
        """Number of objects on the pages that are there, and the (plate, mjd) of the last one."""
        tables = [_read(path, ["plate", "mjd"]) for path in self._pages()]
        last = next(
            (table.slice(len(table) - 1).to_pylist()[0] for table in tables[::-1] if len(table)), None
        )
        return sum(map(len, tables)), last and (last["plate"], last["mjd"])

    def cut(self, size: int, whole_plate: Callable[[str, int], bool]) -> int:
        """End the selection: find repeats, choose how spectra are fetched, cut the work into units.

        Parameters
        ----------
        size : int
            Objects a unit.
        whole_plate : callable
            Given run2d and the number of wanted spectra: whether the spPlate file is fetched.

        Returns
        -------
        int
            Number of objects; nothing is written if there are none.
        """
        needed = ["object_id", "plate_key", "bestobjid", "ra", "dec", *IN_ORDER]
        table = pa.concat_tables([_read(path, needed) for path in self._pages()])
        if not len(table):
            return 0
        first = np.unique(table["object_id"].to_numpy(), return_index=True)[1]  # a page twice is a page once
        order = first[np.lexsort([table[name].to_numpy()[first] for name in IN_ORDER[::-1]])]
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
                path.unlink()  # the shard was deleted: to be made again
                continue
            if not ((0 <= rows) & (rows < len(keys))).all() or not np.isin(status, list(SAID)).all():
                raise _damaged(path, ValueError("it is not of this selection"))
            self.status[rows], self._unit[rows] = status, unit

    # --- the work ----------------------------------------------------------------------------------------

    def _outcomes(self) -> list[tuple[int, Path]]:
        """Outcomes of the units that are done, in order."""
        return [(int(path.stem.split("-")[1]), path) for path in sorted(self.folder.glob("unit-*.parquet"))]

    def shard(self, unit: int) -> Path:
        """Where the shard of a unit is, once it is complete."""
        return self.job.path(f"pairs-{unit:05d}.parquet")

    def _outcome(self, unit: int) -> str:
        return f"build/unit-{unit:05d}.parquet"

    def units(self) -> dict[int, np.ndarray]:
        """Units that are not done, in order, with the numbers of their objects; retries at the end."""
        planned = {self._outcome(unit): unit for unit in range(self._file.num_row_groups)}
        left, size, n = [planned[name] for name in self.job.missing(planned)], self._size, len(self.status)
        units = {unit: np.arange(unit * size, min((unit + 1) * size, n)) for unit in left}
        later = np.flatnonzero(self.status == LATER)
        next_one = max([len(planned) - 1, *(unit for unit, _ in self._outcomes())]) + 1
        return units | {next_one + i: later[i * size :][:size] for i in range(-(-len(later) // size))}

    def entries(self, rows: np.ndarray) -> list[Entry]:
        """The objects with these numbers."""
        groups = np.unique(rows // self._size)
        try:
            table = self._file.read_row_groups(groups.tolist())
        except (pa.ArrowException, OSError) as error:
            raise _damaged(self._selection, error) from error
        starts = np.searchsorted(groups, rows // self._size) * self._size
        found = table.take(starts + rows % self._size).to_pylist()
        return [Entry(_spec_row(one), one["group_id"], one["whole"]) for one in found]

    def finish(self, unit: int, rows: np.ndarray, outcomes: list[Outcome]) -> None:
        """Record that a unit is done, and what became of its objects, given in the order of `rows`."""
        status = np.array([one.status for one in outcomes], np.int8)
        ids, reasons = [one.object_id for one in outcomes], [one.reason for one in outcomes]
        table = pa.table({"row": rows, "object_id": ids, "status": status, "reason": reasons})
        write_table_atomically(table, self.job.path(self._outcome(unit)))
        self.status[rows], self._unit[rows] = status, unit

    def clean(self) -> None:
        """Delete what a killed run left half done: files without their names, and shards without outcome."""
        self.job.sweep()
        for left in self.folder.glob("*.partial"):
            left.unlink()
        done = {self.shard(unit) for unit, _ in self._outcomes()}
        for shard in self.job.folder.glob("pairs-*.parquet"):
            if shard not in done:
                shard.unlink()

    def last_done(self) -> np.ndarray:
        """Numbers of the objects of the unit that was finished last: a kill may have left its raw files."""
        paths = sorted(self.folder.glob("unit-*.parquet"), key=lambda path: path.stat().st_mtime_ns)
        return _read(paths[-1])["row"].to_numpy() if paths else np.zeros(0, int)

    def awaited(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Whether objects are still to be made themselves, and whether some of their plate and field are."""
        left = self.left
        shared = (np.isin(codes[rows], codes[left]) for codes in (self.plate, self.field))
        return left[rows], *shared

    # --- accounts ----------------------------------------------------------------------------------------

    @property
    def left(self) -> np.ndarray:
        """Which objects are still to be made, the first time or again."""
        return (self.status == PENDING) | (self.status == LATER)

    def counts(self) -> list[int]:
        """Number of objects of each status."""
        return np.bincount(self.status, minlength=4).tolist()

    def failures(self) -> Iterator[tuple[str, int, str]]:
        """(object id, status, reason) of whatever went wrong."""
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
                writer.writerows((name, SAID[status], reason) for name, status, reason in self.failures())

        write_atomically(path, write)


def _groups(table: pa.Table) -> list[str]:
    """Group id of each object: repeats of one object on the sky share it."""
    known = zip(table["bestobjid"].to_pylist(), table["object_id"].to_pylist())
    names = [str(number) if number else name for number, name in known]
    return link_groups(names, table["ra"].to_numpy(), table["dec"].to_numpy())


def _whole(keys: list[str], whole_plate: Callable[[str, int], bool]) -> list[bool]:
    """Whether the spectrum of each object comes from its plate's file."""
    whole = {key: whole_plate(key.split("/")[0], count) for key, count in Counter(keys).items()}
    return [whole[key] for key in keys]


def _coded(keys: pa.ChunkedArray) -> tuple[list[str], np.ndarray]:
    """The different keys, and for each object the place of its own among them."""
    coded = keys.combine_chunks().dictionary_encode()
    return coded.dictionary.to_pylist(), coded.indices.to_numpy()


def _read(path: Path, columns: list[str] | None = None) -> pa.Table:
    try:
        with pq.ParquetFile(path) as file:
            return file.read(columns)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> InputError:
    return InputError(path, f"it is damaged: {str(error)[:200]}", "begin anew in another folder")


def _spec_row(values: dict) -> SpecRow:
    facts: dict[str, Any] = {field.name: values[field.name] for field in FACTS}
    facts |= {name: tuple(value) for name, value in facts.items() if isinstance(value, list)}
    return SpecRow(**facts)
