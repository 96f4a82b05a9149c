"""Catalogues that grow shard by shard, so that a run that was cut off can go on where it was."""

import json
import shutil
from pathlib import Path

import pyarrow.parquet as pq

from pix2spec.catalogue import FILE_NAME, SHARDS, CatalogueWriter
from pix2spec.ensemble import Ensemble
from pix2spec.errors import InputError
from pix2spec.files import write_atomically
from pix2spec.grid import SpectralGrid
from pix2spec.survey import SDSS, Survey

__all__ = ["WHOLE", "ShardedWriter"]

SHARD = 128  # objects, at least: 46 MB with candidates; what a kill can cost
WHOLE = 20_000  # objects; more stay in shards, for one file of them would have to be written twice
RUN = "run.json"


class ShardedWriter:
    """Write a catalogue in shards, each of which has its name once it is complete.

    Use it as a context manager. Leaving it without an error makes the shards one ``catalog.parquet``, or,
    of more than `WHOLE` objects, leaves them in ``catalog/``. After an error or a kill, the shards that are
    complete stay, and a writer with ``resume=True`` goes on after them.

    Parameters
    ----------
    out_dir : path
    grid, provenance, keep_candidates, survey
        As for `pix2spec.catalogue.CatalogueWriter`.
    identity : dict
        What must be the same when a run goes on, as JSON: model, settings, input.
    batch : int
        Objects that share a pass through the networks: shards end with a batch, so that a run that goes on
        has the batches of one that was never cut off, and gives the same numbers to the bit.
    resume : bool
        Go on after the shards that are there.

    Attributes
    ----------
    done : int
        Objects in complete shards; those that follow them are to be added.
    n_ok, n_failed : int
        Objects so far.

    Raises
    ------
    InputError
        If the folder holds a catalogue, or an unfinished one without `resume` or of another identity.
    """

    def __init__(
        self,
        out_dir: str | Path,
        grid: SpectralGrid,
        provenance: dict,
        keep_candidates: bool = True,
        survey: Survey = SDSS,
        identity: dict | None = None,
        batch: int = 1,
        resume: bool = False,
    ):
        self.out = Path(out_dir)
        self.folder = self.out / SHARDS
        self._contents = (grid, provenance, keep_candidates, survey)
        self._size = batch * -(-SHARD // batch)
        if (self.out / FILE_NAME).exists():
            raise InputError(self.out / FILE_NAME, "it exists already", "choose another folder, or delete it")
        self.failures: list[tuple[str, str]] = []
        self._settle(json.loads(json.dumps(identity or {}, default=str)), resume)
        statuses = [pq.read_table(path, columns=["status"])["status"].to_pylist() for path in self._shards()]
        self.done = sum(map(len, statuses))
        self.n_failed = sum(status != "ok" for shard in statuses for status in shard)
        self.n_ok = self.done - self.n_failed
        self._next, self._writer, self._rows = len(statuses), None, 0

    @property
    def path(self) -> Path:
        """Where the catalogue is, or will be."""
        return self.folder if self.folder.exists() and self.done > WHOLE else self.out / FILE_NAME

    def _shards(self) -> list[Path]:
        return sorted(self.folder.glob("part-*.parquet"))

    def _settle(self, identity: dict, resume: bool) -> None:
        """Claim the folder, or make sure that what is there is the same run's."""
        record = self.folder / RUN
        if record.exists():
            earlier = json.loads(record.read_text())
            if earlier.get("complete"):
                raise InputError(self.folder, "it holds a whole catalogue", "choose another folder")
            if not resume:
                what = "it holds the beginning of a catalogue"
                raise InputError(self.folder, what, "go on with --resume, or delete it")
            changed = [k for k in {**earlier["run"], **identity} if earlier["run"].get(k) != identity.get(k)]
            if changed:
                was = ", ".join(f"{name} was {earlier['run'].get(name)!r}" for name in sorted(changed))
                raise InputError(self.folder, f"it was begun differently: {was}", "use the same options")
        self._record(identity, complete=False)

    def _record(self, identity: dict, complete: bool) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self._identity = identity
        text = json.dumps({"complete": complete, "run": identity}, indent=1) + "\n"
        write_atomically(self.folder / RUN, lambda temporary: temporary.write_text(text))

    def add(self, ensemble: Ensemble) -> None:
        """Append the row of one ensemble, with status ``"ok"``."""
        self._open().add(ensemble)
        self.n_ok += 1
        self._count()

    def add_failure(self, object_id: str, error_text: str) -> None:
        """Append the row of an object that could not be done, with status ``"failed"``."""
        self._open().add_failure(object_id, error_text)
        self.n_failed += 1
        self._count()

    def add_unread(self, source: str, error_text: str) -> None:
        """Note a source that never became an object; such rows come first in the catalogue."""
        self.failures.append((source, error_text))
        self.n_failed += 1

    def _open(self) -> CatalogueWriter:
        if self._writer is None:
            self._writer = CatalogueWriter(
                self.folder, *self._contents, name=f"part-{self._next:06d}.parquet"
            )
        return self._writer

    def _count(self) -> None:
        self._rows += 1
        self.done += 1
        if self._rows == self._size:
            self._finish_shard()

    def _finish_shard(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._next, self._writer, self._rows = self._next + 1, None, 0

    def __enter__(self) -> "ShardedWriter":
        return self

    def __exit__(self, kind, error, trace) -> None:
        if kind is not None:
            if self._writer is not None:
                self._writer.__exit__(kind, error, trace)
            return
        self._finish_shard()
        if self.done <= WHOLE:
            self._join()
        else:
            if self.failures:
                with CatalogueWriter(self.folder, *self._contents, name="part-unread.parquet") as writer:
                    self._add_failures(writer)
            self._record(self._identity, complete=True)

    def _join(self) -> None:
        """One file of all shards; the names change in one step, and only then do the shards go."""
        with CatalogueWriter(self.out, *self._contents) as writer:
            self._add_failures(writer)
            for path in self._shards():
                writer.append_file(path)
        shutil.rmtree(self.folder)

    def _add_failures(self, writer: CatalogueWriter) -> None:
        for source, reason in self.failures:
            writer.add_failure(source, reason)
