"""The manifest of a build: what was asked for, the selection, the plan, and what became of each object.

One SQLite file. Each step of a build is one transaction, so that a build may be killed at any moment and goes
on from the last finished step.
"""

import csv
import json
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from pix2spec.data.archives.sdss.select_sql import SpecRow
from pix2spec.data.crossmatch import link_groups
from pix2spec.errors import InputError
from pix2spec.runtime.atomic import write_atomically

__all__ = ["DONE", "FAILED", "LATER", "PENDING", "Entry", "Manifest", "Outcome"]

# What may become of an object: not reached yet, written, failed for good, to be tried again by the next run.
PENDING, DONE, FAILED, LATER = range(4)
VERSION = 1

SCHEMA = """
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS objects (
    number INTEGER PRIMARY KEY,
    object_id TEXT NOT NULL UNIQUE,
    plate_key TEXT NOT NULL,         -- objects with the same key share a spPlate file
    field_key TEXT NOT NULL,         -- objects with the same key share frames
    plate INTEGER, mjd INTEGER, fiber INTEGER, run INTEGER, camcol INTEGER, field INTEGER,
    row TEXT NOT NULL,               -- the SpecRow as JSON
    group_id TEXT NOT NULL DEFAULT '',
    whole INTEGER NOT NULL DEFAULT 0,  -- its spectrum comes from a spPlate file
    unit INTEGER,
    status INTEGER NOT NULL DEFAULT 0,
    reason TEXT NOT NULL DEFAULT ''
);
CREATE INDEX IF NOT EXISTS by_unit ON objects (unit);
CREATE INDEX IF NOT EXISTS by_plate ON objects (plate_key);
CREATE INDEX IF NOT EXISTS by_field ON objects (field_key);
CREATE TABLE IF NOT EXISTS rejected (object_id TEXT PRIMARY KEY, reason TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS units (number INTEGER PRIMARY KEY, done INTEGER NOT NULL DEFAULT 0);
CREATE TABLE IF NOT EXISTS unneeded (name TEXT PRIMARY KEY);  -- raw files that are to be deleted
"""
IN_ORDER = "plate, mjd, run, camcol, field, fiber"  # neighbours share plates and frames


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


@dataclass(frozen=True)
class Waiting:
    """What is left to fetch.

    Numbers of objects, of single spectra and the `folders` (plates) that these lie in, of whole plates by
    their run2d, of fields and the `scans` (run and camera column) that these lie in, of units; and one of the
    objects, if there is any.
    """

    objects: int
    spectra: int
    folders: int
    plates: Counter
    fields: int
    scans: int
    units: int
    example: SpecRow | None


class Manifest:
    """The manifest in the folder of a dataset; only one process may have it open.

    Parameters
    ----------
    path : path
        The SQLite file, made if it is not there.

    Raises
    ------
    InputError
        If another process has it open, or it is no manifest.
    """

    def __init__(self, path: Path):
        self.path = Path(path)
        self._db = sqlite3.connect(self.path, timeout=1.0, isolation_level=None)
        try:
            # exclusive: the lock goes with the process, however it ends
            self._db.execute("PRAGMA locking_mode = EXCLUSIVE")
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = FULL")
            with self._transaction():
                for statement in SCHEMA.split(";\n"):
                    self._db.execute(statement)
                self._db.execute("INSERT OR IGNORE INTO facts VALUES ('version', ?)", (str(VERSION),))
            if self.fact("version") != VERSION:
                what = f"it is a manifest of version {self.fact('version')}, not {VERSION}"
                raise InputError(path, what, "finish it with the pix2spec that began it, or begin anew")
        except sqlite3.Error as error:
            self._db.close()
            if "locked" in str(error):
                raise InputError(path, "another build is at work in this folder", "wait for it") from error
            raise InputError(path, f"it is not a manifest: {error}", "choose another folder") from error
        except BaseException:
            self._db.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self) -> None:
        """Let others open it."""
        self._db.close()

    @contextmanager
    def _transaction(self):
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    # --- what was asked for ------------------------------------------------------------------------------

    def fact(self, name: str):
        """A stored fact, or None."""
        found = self._db.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()
        return json.loads(found[0]) if found else None

    def _set(self, name: str, value) -> None:
        self._db.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", (name, json.dumps(value)))

    def settle(self, options: dict) -> None:
        """Store the options that decide what the dataset holds; later runs must ask for the same.

        Raises
        ------
        InputError
            Naming what differs.
        """
        before = self.fact("options")
        (begun,) = self._db.execute("SELECT EXISTS (SELECT 1 FROM objects)").fetchone()
        if before is None or not begun:  # a first run that selected nothing, for a mistake, binds nobody
            with self._transaction():
                self._set("options", options)
            return
        options = json.loads(json.dumps(options))  # as it comes back from the file
        differ = [
            f"{name} was {before.get(name)!r} and is {options.get(name)!r} now"
            for name in sorted(before.keys() | options.keys())
            if before.get(name) != options.get(name)
        ]
        if differ:
            hint = "give the options of the first run, or choose another folder"
            raise InputError(
                self.path.parent, f"it holds a build with other options: {'; '.join(differ)}", hint
            )

    # --- the selection -----------------------------------------------------------------------------------

    @property
    def selected(self) -> bool:
        """Whether the selection is complete."""
        return bool(self.fact("selected"))

    def add(self, rows: list[SpecRow], rejected: list[tuple[str, str]], plate=None) -> None:
        """Store a page of the selection, of plates up to `plate`; what is known already stays as it is.

        Parameters
        ----------
        rejected : list of (object id, reason)
            Rows of the catalogue that make no sense.
        plate : (plate, mjd)
            The last one that was read whole.
        """
        marks = ", ".join("?" * 10)
        names = "object_id, plate_key, field_key, plate, mjd, fiber, run, camcol, field, row"
        with self._transaction():
            insert = f"INSERT OR IGNORE INTO objects ({names}) VALUES ({marks})"
            self._db.executemany(insert, map(self._values, rows))
            self._db.executemany("INSERT OR IGNORE INTO rejected VALUES (?, ?)", rejected)
            self._set("plate", plate)

    @staticmethod
    def _values(row: SpecRow) -> tuple:
        numbers = (row.plate, row.mjd, row.fiber, row.run, row.camcol, row.field)
        entry = Entry(row)
        return (row.object_id, entry.plate_key, entry.field_key, *numbers, json.dumps(asdict(row)))

    def plan(self, size: int, whole_plate: Callable[[str, int], bool]) -> None:
        """End the selection: find repeats, choose how spectra are fetched, cut the work into units.

        Parameters
        ----------
        size : int
            Objects a unit.
        whole_plate : callable
            Given run2d and the number of wanted spectra: whether the spPlate file is fetched.
        """
        columns = self._db.execute(
            "SELECT object_id, json_extract(row, '$.bestobjid'), json_extract(row, '$.ra'), "
            "json_extract(row, '$.dec') FROM objects ORDER BY number"
        ).fetchall()
        names = [str(best) if best and str(best) != "0" else name for name, best, _, _ in columns]
        positions = np.array([c[2:] for c in columns], float).reshape(-1, 2)
        groups = link_groups(names, *positions.T)
        plates = self._db.execute("SELECT plate_key, COUNT(*) FROM objects GROUP BY plate_key").fetchall()
        whole = [(key,) for key, count in plates if whole_plate(key.split("/")[0], count)]
        with self._transaction():
            self._db.executemany(
                "UPDATE objects SET group_id = ? WHERE object_id = ?",
                ((group, c[0]) for group, c in zip(groups, columns)),
            )
            self._db.executemany("UPDATE objects SET whole = 1 WHERE plate_key = ?", whole)
            self._cut_units(PENDING, size)
            self._set("selected", True)

    def _cut_units(self, status: int, size: int) -> None:
        """Put the objects of a status into new units at the end."""
        (first,) = self._db.execute("SELECT COALESCE(MAX(number) + 1, 0) FROM units").fetchone()
        self._db.execute(
            f"""UPDATE objects SET unit = ? + place / ?, status = ?, reason = '' FROM
            (SELECT number AS n, ROW_NUMBER() OVER (ORDER BY {IN_ORDER}) - 1 AS place
            FROM objects WHERE status = ?) WHERE number = n""",
            (first, size, PENDING, status),
        )
        self._db.execute(
            "INSERT INTO units (number) SELECT DISTINCT unit FROM objects WHERE unit >= ?", (first,)
        )

    def retry(self, size: int) -> None:
        """Give what failed for a temporary reason another turn, in units at the end."""
        with self._transaction():
            self._cut_units(LATER, size)

    # --- the work ----------------------------------------------------------------------------------------

    def pending_units(self) -> list[int]:
        """Units that are not done, in order."""
        return [n for (n,) in self._db.execute("SELECT number FROM units WHERE NOT done ORDER BY number")]

    def entries(self, unit: int) -> list[Entry]:
        """The objects of a unit, in order."""
        rows = self._db.execute(
            f"SELECT row, group_id, whole FROM objects WHERE unit = ? ORDER BY {IN_ORDER}", (unit,)
        )
        return [Entry(_spec_row(row), group, bool(whole)) for row, group, whole in rows]

    def finish(
        self, unit: int, outcomes: list[Outcome], files: dict[str, tuple[str, str]], keep: bool
    ) -> None:
        """Record in one step that a unit is done, and which of its raw files nobody needs any more.

        Parameters
        ----------
        files : dict
            Name of each raw file of the unit to who shares it: a column (``object_id``, ``plate_key`` or
            ``field_key``) and its value.
        keep : bool
            Keep the raw files.
        """
        with self._transaction():
            self._db.executemany(
                "UPDATE objects SET status = ?, reason = ? WHERE object_id = ?",
                [(o.status, o.reason, o.object_id) for o in outcomes],
            )
            self._db.execute("UPDATE units SET done = 1 WHERE number = ?", (unit,))
            if not keep:
                gone = [(name,) for name, sharers in files.items() if not self._waits(*sharers)]
                self._db.executemany("INSERT OR IGNORE INTO unneeded VALUES (?)", gone)

    def _waits(self, column: str, value: str) -> bool:
        query = f"SELECT 1 FROM objects WHERE {column} = ? AND status IN (?, ?) LIMIT 1"
        return self._db.execute(query, (value, PENDING, LATER)).fetchone() is not None

    def sweep(self, folder: Path) -> None:
        """Delete the raw files that nobody needs; after a kill, those that should have gone before it."""
        names = [name for (name,) in self._db.execute("SELECT name FROM unneeded")]
        for name in names:
            path = folder / name
            if not path.resolve().is_relative_to(folder.resolve()):
                raise InputError(self.path, f"{name[:80]!r} leads out of the folder", "begin anew in another")
            path.unlink(missing_ok=True)
        if names:
            with self._transaction():
                self._db.execute("DELETE FROM unneeded")

    # --- accounts ----------------------------------------------------------------------------------------

    def counts(self) -> dict[int, int]:
        """Number of objects of each status."""
        found = dict(self._db.execute("SELECT status, COUNT(*) FROM objects GROUP BY status").fetchall())
        return {status: found.get(status, 0) for status in (PENDING, DONE, FAILED, LATER)}

    def waiting(self) -> Waiting:
        """What is left to fetch."""
        here = f"FROM objects WHERE status IN ({PENDING}, {LATER})"

        def count(what: str, which: str = "1") -> int:
            return self._db.execute(f"SELECT COUNT({what}) {here} AND {which}").fetchone()[0]

        keys = self._db.execute(f"SELECT DISTINCT plate_key {here} AND whole")
        example = self._db.execute(f"SELECT row {here} LIMIT 1").fetchone()
        return Waiting(
            objects=count("*"),
            spectra=count("*", "NOT whole"),
            folders=count("DISTINCT plate_key", "NOT whole"),
            plates=Counter(key.split("/")[0] for (key,) in keys),
            fields=count("DISTINCT field_key"),
            scans=count("DISTINCT run || '/' || camcol"),
            units=count("DISTINCT unit"),
            example=_spec_row(example[0]) if example else None,
        )

    def failures(self) -> Iterator[tuple[str, int, str]]:
        """(object id, status, reason) of whatever went wrong."""
        yield from self._db.execute("SELECT object_id, ?, reason FROM rejected ORDER BY rowid", (FAILED,))
        yield from self._db.execute(
            "SELECT object_id, status, reason FROM objects WHERE reason != '' ORDER BY number"
        )

    def write_failures(self, path: Path) -> int:
        """Write the failures as CSV and return how many there are."""
        said = {DONE: "written without image", FAILED: "left out", LATER: "tried again by the next run"}
        count = 0

        def write(temporary: Path) -> None:
            nonlocal count
            with open(temporary, "w", newline="", encoding="utf-8") as stream:
                writer = csv.writer(stream)
                writer.writerow(("object_id", "outcome", "reason"))
                for count, (object_id, status, reason) in enumerate(self.failures(), 1):  # noqa: B007
                    writer.writerow((object_id, said[status], reason))

        write_atomically(path, write)
        return count


def _spec_row(text: str) -> SpecRow:
    values = json.loads(text)
    facts: dict = {name: tuple(v) if isinstance(v, list) else v for name, v in values.items()}
    return SpecRow(**facts)
