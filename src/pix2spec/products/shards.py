"""Write a catalogue as shards, so that an interrupted run can continue.

A shard is a Parquet file that holds a fixed range of the catalogue's objects.
"""

import os
import shutil
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path

from pix2spec.core.filters import Filter
from pix2spec.core.grid import SpectralGrid
from pix2spec.core.survey import SDSS, Survey
from pix2spec.errors import InputError
from pix2spec.products.catalogue import FILE_NAME, SHARDS, CatalogueWriter
from pix2spec.products.columns import EVERYTHING, Contents
from pix2spec.runtime.resumable import Resumable

__all__ = ["MAX_JOINED_OBJECTS", "Shards"]

# A shard holds at least this many objects: 184 MB with candidates. An interrupted run loses at most one.
SHARD = 512
SHARD_WITHOUT_SPECTRA = 2048  # 2 MB
# A larger catalogue with spectra stays in shards, because joining them reads and writes every object again.
MAX_JOINED_OBJECTS = 20_000


class Shards:
    """The shards of a catalogue of `total` objects. A shard gets its final name once it is complete.

    Shard k holds the objects ``rows(k)`` and does not depend on other shards. Shards can be made in
    any order, on any machine that sees the folder, and again after a failure. `finish` joins the shards
    into one ``catalog.parquet``. A catalogue of more than `MAX_JOINED_OBJECTS` objects with spectra stays in
    shards, in ``catalog/``.

    Parameters
    ----------
    out_dir : path
        Folder of the catalogue.
    total : int
        Number of objects.
    grid, provenance, contents, survey, curves
        As for `pix2spec.products.catalogue.CatalogueWriter`.
    batch : int
        Objects that share a pass through the networks. Each shard holds whole batches: a resumed run then has
        the same batches as an uninterrupted one, and gives the same numbers to the bit.

    Attributes
    ----------
    contents : Contents
        Which columns the catalogue has.
    missing : list of int
        Numbers of the shards that do not exist yet.
    """

    def __init__(
        self,
        out_dir: str | Path,
        total: int,
        grid: SpectralGrid,
        provenance: dict,
        contents: Contents = EVERYTHING,
        survey: Survey = SDSS,
        batch: int = 1,
        curves: Mapping[str, Filter] | None = None,
    ):
        self.out, self.total = Path(out_dir), total
        self.folder = self.out / SHARDS
        self.size = batch * -(-(SHARD if contents.spectra else SHARD_WITHOUT_SPECTRA) // batch)
        self.contents = contents
        self._parts = (grid, provenance, contents, survey, curves)

    def claim(self, identity: dict, resume: bool) -> None:
        """Reserve the folder for this run, or continue an earlier run of the same identity.

        Parameters
        ----------
        identity : dict
            Model, settings and input of the run, as JSON. A run continues only if they are the same.
        resume : bool
            Keep the shards that exist, and make the others.

        Raises
        ------
        InputError
            If the folder holds a complete catalogue, or an unfinished one that has another identity or
            that `resume` does not allow to continue.
        """
        if (self.out / FILE_NAME).exists():
            raise InputError(self.out / FILE_NAME, "it exists already", "choose another folder, or delete it")
        self._job = Resumable(self.folder, identity | {"shard": self.size}, "a catalogue")
        self._job.claim(resume)

    def path(self, k: int) -> Path:
        """Path of shard k once it is complete."""
        return self.folder / f"part-{k:06d}.parquet"

    def rows(self, k: int) -> range:
        """Positions in the catalogue of the objects of shard k."""
        return range(k * self.size, min((k + 1) * self.size, self.total))

    @property
    def missing(self) -> list[int]:
        """Numbers of the shards that do not exist yet."""
        numbers = range(-(-self.total // self.size))
        missing = set(self._job.missing(self.path(k).name for k in numbers))
        return [k for k in numbers if self.path(k).name in missing]

    def writer(self, k: int) -> CatalogueWriter:
        """Open a writer for shard k.

        Several processes may write the same shard at once: a cluster may restart the work of a node that it
        cannot reach, while the node still runs. Each writer therefore has a partial file of its own.
        """
        return CatalogueWriter(
            self.folder, *self._parts, name=self.path(k).name, partial=f"{uuid.uuid4().hex}.partial"
        )

    def finish(self, unread: Sequence[tuple[str, str]] = ()) -> Path:
        """Make the catalogue complete.

        Parameters
        ----------
        unread : sequence of (str, str)
            Sources that could not be read, each with the reason. They become failures in the catalogue.

        Returns
        -------
        path
            The catalogue's file, or its folder of shards.
        """
        if self.total <= MAX_JOINED_OBJECTS or not self.contents.spectra:
            return self._join(unread)
        if unread:
            with CatalogueWriter(self.folder, *self._parts, name="part-unread.parquet") as writer:
                _add_failures(writer, unread)
        self._job.finish()
        return self.folder

    def _join(self, unread: Sequence[tuple[str, str]]) -> Path:
        """Join all shards into one file. The shards are deleted after that file has its final name."""
        if not unread and 0 < self.total <= self.size:  # the only shard is the catalogue
            os.replace(self.path(0), self.out / FILE_NAME)
            shutil.rmtree(self.folder)
            return self.out / FILE_NAME
        with CatalogueWriter(self.out, *self._parts) as writer:
            _add_failures(writer, unread)
            for path in sorted(self.folder.glob("part-*.parquet")):
                writer.append_file(path)
        shutil.rmtree(self.folder)
        return writer.path


def _add_failures(writer: CatalogueWriter, failures: Sequence[tuple[str, str]]) -> None:
    for source, reason in failures:
        writer.add_failure(source, reason)
