"""The work of a build, unit by unit: fetch files, make galaxies, write shards.

A *unit* is the set of objects of one shard. While worker processes make the galaxies of one unit, the files
of the next ones are fetched. First the shard of a unit is written, then its outcome, and then its raw files
are deleted. If a run is stopped between these steps, the next run repeats them with the files that are there.
"""

from collections.abc import Iterator
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from pix2spec.data.archives.checksums import with_checksums
from pix2spec.data.archives.download import Downloader, Fetched, target_under
from pix2spec.data.archives.sdss.pairs import Job, Made, make_galaxies
from pix2spec.data.archives.sdss.plan import DONE, FAILED, LATER, Entry, Outcome, Plan
from pix2spec.data.archives.sdss.request import Estimate, Order
from pix2spec.data.archives.urls import Remote, Services
from pix2spec.data.dataset import write_shard
from pix2spec.errors import InputError
from pix2spec.runtime.provenance import run_provenance

__all__ = ["BuildReport", "Work"]

CHUNK = 32  # objects per call of a worker process; more if they share frames
BACKLOG = 2  # Fetching waits while more than this number of units are being made.


@dataclass
class BuildReport:
    """Result of a run of a build, and state of the dataset.

    Attributes
    ----------
    out : Path
        Folder of the dataset.
    estimate : Estimate
        The estimate at the start of the run.
    n_written, n_without_image : int
        Objects that this run wrote, and how many of them have no image because of a problem.
    n_failed : int
        Objects that this run found to be unusable.
    n_later : int
        Objects that the next run will try again.
    n_total : int
        Objects in the dataset.
    n_left_out : int
        Unusable objects of this run and earlier ones.
    requests, received : int
        Requests and received bytes of this run, without the listings of checksums.
    addresses : list of str
        The first addresses that would be fetched; only after a dry run.
    examples : list of (object id, reason)
        The first ten problems of this run.
    """

    out: Path
    estimate: Estimate
    n_written: int = 0
    n_without_image: int = 0
    n_failed: int = 0
    n_later: int = 0
    n_total: int = 0
    n_left_out: int = 0
    requests: int = 0
    received: int = 0
    addresses: list[str] = field(default_factory=list)
    examples: list[tuple[str, str]] = field(default_factory=list)

    @property
    def n_problems(self) -> int:
        """Number of objects of this run with a problem."""
        return self.n_without_image + self.n_failed + self.n_later

    def count(self, outcome: Outcome) -> None:
        """Count the outcome of an object."""
        self.n_written += outcome.status == DONE
        self.n_without_image += outcome.status == DONE and outcome.reason != ""
        self.n_failed += outcome.status == FAILED
        self.n_later += outcome.status == LATER
        if outcome.reason and len(self.examples) < 10:
            self.examples.append((outcome.object_id, outcome.reason))

    @property
    def failures(self) -> Path:
        """The CSV file that lists the objects that failed and the reasons."""
        return self.out / "failures.csv"


@dataclass
class _Unit:
    """A unit that is being worked on."""

    number: int
    rows: np.ndarray  # numbers of its objects in the plan
    entries: list[Entry]
    files: dict[str, tuple[Remote, dict[str, Remote]]] = field(default_factory=dict)  # by object id
    outcomes: list[Outcome] = field(default_factory=list)  # of objects that are not handed to a worker
    missing: set[str] = field(default_factory=set)  # names of files that have not arrived
    fetched: dict[str, Fetched] = field(default_factory=dict)  # by name of the file
    calls: list[Future] = field(default_factory=list)  # that make its galaxies


class Work:
    """All units that are being worked on.

    Parameters
    ----------
    plan : Plan
    order : Order
    services : Services
    report : BuildReport
        Receives the counts.
    keep : bool
        Whether raw files are kept.
    downloader : Downloader
        Its folder holds the raw files.
    pool : Executor
        Runs the calls that make galaxies.
    """

    def __init__(
        self, plan: Plan, order: Order, services: Services, report: BuildReport, keep: bool,
        downloader: Downloader, pool: Executor,
    ):  # fmt: skip
        self.plan, self.order, self.services, self.report = plan, order, services, report
        self.keep, self.downloader, self.pool = keep, downloader, pool
        provenance = run_provenance() | order.provenance(services)
        self.info = replace(order.info(), provenance=provenance)
        self.coming: dict[str, list[_Unit]] = {}  # name of a requested file to the units that wait for it
        self.making: list[_Unit] = []  # units whose calls are in the pool

    def remotes(self) -> Iterator[Remote]:
        """Yield the files of all units in order. A file that is already requested is not yielded again."""
        self._sweep(self._open(-1, self.plan.last_done()))
        for number, rows in self.plan.units().items():
            while len(self.making) > BACKLOG:
                self.write(wait=True, most=1)
            unit = self._open(number, rows)
            wanted = {
                r.name: r for spectrum, images in unit.files.values() for r in (spectrum, *images.values())
            }
            remotes = with_checksums(
                self.downloader, self.services, self.order.release, list(wanted.values())
            )
            unit.missing = set(wanted)
            for remote in remotes:
                waiting = self.coming.setdefault(remote.name, [])
                waiting.append(unit)
                if len(waiting) == 1:
                    yield remote
            if not wanted:
                self._make(unit)

    def _open(self, number: int, rows: np.ndarray) -> _Unit:
        unit = _Unit(number, rows, self.plan.entries(rows))
        for entry in unit.entries:
            try:
                unit.files[entry.object_id] = self.order.files(self.services, entry)
            except InputError as error:  # Its numbers do not make a valid address.
                unit.outcomes.append(Outcome(entry.object_id, FAILED, str(error)))
        return unit

    def arrived(self, fetched: Fetched) -> None:
        """Record a file, hand units with all their files to the pool, and write finished units."""
        self.report.requests += fetched.n_requests
        self.report.received += fetched.n_bytes
        if "checksum" in fetched.error:  # The list of checksums may be wrong: fetch it again next time.
            for path in (self.downloader.folder / fetched.remote.name).parent.glob("*.sha1sum"):
                path.unlink(missing_ok=True)
        for unit in self.coming.pop(fetched.remote.name):
            unit.fetched[fetched.remote.name] = fetched
            unit.missing.discard(fetched.remote.name)
            if not unit.missing:
                self._make(unit)
        self.write()

    def _make(self, unit: _Unit) -> None:
        """Hand the objects with all their files to the pool. Objects of one field share a call."""
        jobs = [job for entry in unit.entries if (job := self._job(unit, entry))]
        fields: dict[str, list[Job]] = {}
        for job in jobs:
            fields.setdefault(job.entry.field_key, []).append(job)
        chunk: list[Job] = []
        for members in fields.values():
            chunk += members
            if len(chunk) >= CHUNK:
                unit.calls.append(self.pool.submit(make_galaxies, chunk, self.info))
                chunk = []
        if chunk:
            unit.calls.append(self.pool.submit(make_galaxies, chunk, self.info))
        self.making.append(unit)

    def _job(self, unit: _Unit, entry: Entry) -> Job | None:
        """The job of an object. If files of it are missing, records an outcome and returns None."""
        if entry.object_id not in unit.files:
            return None
        spectrum, images = unit.files[entry.object_id]
        failed = [f for r in images.values() if not (f := unit.fetched[r.name]).path]
        found = unit.fetched[spectrum.name]
        lost = [f for f in (found, *failed) if not f.path]
        if not found.path or any(not f.permanent for f in lost):
            # The next run tries files again that may come later, unless the spectrum will never come.
            final = not found.path and found.permanent
            worst = found if final else next(f for f in lost if not f.permanent)
            status = FAILED if final else LATER
            unit.outcomes.append(Outcome(entry.object_id, status, f"{worst.remote.url}: {worst.error}"))
            return None
        problem = f"{failed[0].remote.url}: {failed[0].error}" if failed else ""
        paths: dict = {} if failed else {band: unit.fetched[r.name].path for band, r in images.items()}
        return Job(entry, found.path, paths, problem)

    def write(self, wait: bool = False, most: int | None = None) -> None:
        """Write finished units.

        Parameters
        ----------
        wait : bool
            Wait for the units that are not finished, and write them too.
        most : int, optional
            Look at so many units only, the oldest ones.
        """
        for unit in self.making[:most]:
            if wait or all(call.done() for call in unit.calls):
                self._write(unit)
                self.making.remove(unit)

    def _write(self, unit: _Unit) -> None:
        """Write the shard of a unit, then its outcome, then delete its raw files. The order matters."""
        made: list[Made] = [one for call in unit.calls for one in call.result()]
        for path in {path for one in made for path in one.unreadable}:
            path.unlink(missing_ok=True)
        galaxies = {one.galaxy.object_id: one.galaxy for one in made if one.galaxy is not None}
        if galaxies:
            in_order = [galaxies[e.object_id] for e in unit.entries if e.object_id in galaxies]
            write_shard(self.plan.shard(unit.number), in_order, self.info)
        outcomes = {outcome.object_id: outcome for outcome in unit.outcomes}
        outcomes |= {one.outcome.object_id: one.outcome for one in made}
        self.plan.finish(unit.number, unit.rows, [outcomes[entry.object_id] for entry in unit.entries])
        self._sweep(unit)
        for outcome in outcomes.values():
            self.report.count(outcome)

    def _sweep(self, unit: _Unit) -> None:
        """Delete the raw files of a unit that no other object needs."""
        if self.keep or not unit.entries:
            return
        for entry, own, plate, field_ in zip(unit.entries, *self.plan.awaited(unit.rows)):
            spectrum, images = unit.files.get(entry.object_id, (None, {}))
            unneeded = [remote for band, remote in images.items() if not (field_ if band else own)]
            if spectrum is not None and not (plate if entry.whole else own):
                unneeded.append(spectrum)
            for remote in unneeded:
                target_under(self.downloader.folder, remote.name).unlink(missing_ok=True)
