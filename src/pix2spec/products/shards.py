"""Catalogues that grow shard by shard, so that a run that was cut off can continue."""

import shutil
import uuid
from collections.abc import Sequence
from pathlib import Path

from pix2spec.core.grid import SpectralGrid
from pix2spec.core.survey import SDSS, Survey
from pix2spec.errors import InputError
from pix2spec.products.catalogue import FILE_NAME, SHARDS, CatalogueWriter
from pix2spec.runtime.resumable import Resumable

__all__ = ["MAX_JOINED_OBJECTS", "Shards"]

SHARD = 128  # objects, at least: 46 MB with candidates; what a kill can cost
# objects; more stay in shards, for one file of them would have to be written twice
MAX_JOINED_OBJECTS = 20_000


class Shards:
    """The shards of a catalogue of `total` objects, each of which has its name once it is complete.

    Shard k holds the objects ``rows(k)`` and nothing of it depends on other shards: they can be made in
    any order, on any machine that sees the folder, and again after a failure. `finish` makes the shards
    one ``catalog.parquet``, or, of more than `MAX_JOINED_OBJECTS` objects, leaves them in ``catalog/``.

    Parameters
    ----------
    out_dir : path
    total : int
        Objects.
    grid, provenance, keep_candidates, survey
        As for `pix2spec.products.catalogue.CatalogueWriter`.
    batch : int
        Objects that share a pass through the networks: shards end with a batch, so that a run that continues
        has the batches of one that was never cut off, and gives the same numbers to the bit.

    Attributes
    ----------
    missing : list of int
        Shards that are still to be made.
    """

    def __init__(
        self,
        out_dir: str | Path,
        total: int,
        grid: SpectralGrid,
        provenance: dict,
        keep_candidates: bool = True,
        survey: Survey = SDSS,
        batch: int = 1,
    ):
        self.out, self.total = Path(out_dir), total
        self.folder = self.out / SHARDS
        self.size = batch * -(-SHARD // batch)
        self._contents = (grid, provenance, keep_candidates, survey)

    def claim(self, identity: dict, resume: bool) -> None:
        """Take the folder, or continue with the shards that are there if they are of the same run.

        Parameters
        ----------
        identity : dict
            What must be the same when a run continues, as JSON: model, settings, input.
        resume : bool
            Continue after the shards that are there.

        Raises
        ------
        InputError
            If the folder holds a catalogue, or an unfinished one without `resume` or of another identity.
        """
        if (self.out / FILE_NAME).exists():
            raise InputError(self.out / FILE_NAME, "it exists already", "choose another folder, or delete it")
        self._job = Resumable(self.folder, identity | {"shard": self.size}, "a catalogue")
        self._job.claim(resume)

    def path(self, k: int) -> Path:
        """Where shard k is, once it is complete."""
        return self.folder / f"part-{k:06d}.parquet"

    def rows(self, k: int) -> range:
        """Objects of shard k."""
        return range(k * self.size, min((k + 1) * self.size, self.total))

    @property
    def missing(self) -> list[int]:
        """Shards that are still to be made."""
        numbers = range(-(-self.total // self.size))
        missing = set(self._job.missing(self.path(k).name for k in numbers))
        return [k for k in numbers if self.path(k).name in missing]

    def writer(self, k: int) -> CatalogueWriter:
        """Of shard k. Several may write one shard at a time, as a cluster does that lost sight of a node."""
        return CatalogueWriter(
            self.folder, *self._contents, name=self.path(k).name, partial=f"{uuid.uuid4().hex}.partial"
        )

    def finish(self, unread: Sequence[tuple[str, str]] = ()) -> Path:
        """Make the catalogue complete; `unread` sources, with reasons, never became objects.

        Returns
        -------
        path
            The catalogue's file, or its folder of shards.
        """
        if self.total <= MAX_JOINED_OBJECTS:
            return self._join(unread)
        if unread:
            with CatalogueWriter(self.folder, *self._contents, name="part-unread.parquet") as writer:
                _add_failures(writer, unread)
        self._job.finish()
        return self.folder

    def _join(self, unread: Sequence[tuple[str, str]]) -> Path:
        """One file of all shards; the names change in one step, and only then do the shards go."""
        with CatalogueWriter(self.out, *self._contents) as writer:
            _add_failures(writer, unread)
            for path in sorted(self.folder.glob("part-*.parquet")):
                writer.append_file(path)
        shutil.rmtree(self.folder)
        return writer.path


def _add_failures(writer: CatalogueWriter, failures: Sequence[tuple[str, str]]) -> None:
    for source, reason in failures:
        writer.add_failure(source, reason)
