"""Datasets on disk. They are written as Parquet shards, and read through memory-mapped copies."""

import errno
import hashlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pix2spec.data.arrow_rows import as_arrays, needed_columns, read_natives, to_galaxies, to_table
from pix2spec.data.native import NATIVE_COLUMNS, NativeSpectrum
from pix2spec.data.row_cache import map_shards
from pix2spec.data.schema import DatasetInfo, Galaxy
from pix2spec.errors import InputError
from pix2spec.runtime.atomic import write_atomically

__all__ = [
    "SHARD",
    "Dataset",
    "new_shards",
    "split_of",
    "write_dataset",
    "write_shard",
    "write_table_atomically",
]

SHARD = 1024  # galaxies in a file


def split_of(group_id: str) -> str:
    """The split of a group of repeat spectra: ``"train"`` (90 %), ``"val"`` (5 %) or ``"test"`` (5 %).

    The split depends on the group id alone. Repeat spectra of one object share a group id, and therefore are
    in the same split.

    Examples
    --------
    >>> from pix2spec.data.dataset import split_of
    >>> split_of("1237650795146576091")
    'train'
    """
    digest = hashlib.blake2b(group_id.encode(), digest_size=4).digest()
    bucket = int.from_bytes(digest, "little") / 2**32
    return "train" if bucket < 0.9 else "val" if bucket < 0.95 else "test"


def write_table_atomically(table: pa.Table, path: Path) -> None:
    """Write a table as Parquet under a temporary name, and rename the file once it is complete.

    Raises
    ------
    OSError
        If the file cannot be written, for example because the disk is full. The temporary file is deleted.
    """
    try:
        write_atomically(path, lambda temporary: pq.write_table(table, temporary, compression="zstd"))
    except OSError as error:  # Arrow's errors do not name the file.
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise OSError(error.errno or errno.EIO, f"cannot write a shard: {reason}", str(path)) from error


def write_shard(path: Path, galaxies: list[Galaxy], info: DatasetInfo) -> None:
    """Write `galaxies` as one shard of a dataset. The file `path` appears once it is complete."""
    write_table_atomically(to_table(galaxies, info), path)


def write_dataset(
    out: str | Path, galaxies: Iterable[Galaxy], info: DatasetInfo, shard_size: int = SHARD
) -> list[Path]:
    """Write galaxies as Parquet shards. At most one shard of galaxies is in memory at a time.

    Parameters
    ----------
    out : str or Path
        Folder of the new dataset.
    galaxies : iterable of Galaxy
        Galaxies with the shapes and units that `info` describes.
    info : DatasetInfo
        Metadata of the dataset.
    shard_size : int
        Galaxies per shard.

    Returns
    -------
    list of Path
        The shards, in order.

    Raises
    ------
    InputError
        If `out` already holds a dataset, or a galaxy does not fit `info`.
    OSError
        If a shard cannot be written.
    """
    new_shards(out, 0)
    paths: list[Path] = []
    waiting: list = []

    def flush():
        paths.append(_shard(out, len(paths)))
        write_shard(paths[-1], waiting, info)
        waiting.clear()

    for galaxy in galaxies:
        waiting.append(galaxy)
        if len(waiting) == shard_size:
            flush()
    if waiting:
        flush()
    return paths


def new_shards(out: str | Path, count: int) -> list[Path]:
    """Make the folder of a new dataset. Returns the paths of its `count` shards, which are to be written.

    Raises
    ------
    InputError
        If `out` already holds a dataset.
    """
    Path(out).mkdir(parents=True, exist_ok=True)
    if any(Path(out).glob("*.parquet")):
        raise InputError(out, "it already holds a dataset", "choose another folder, or delete this one")
    return [_shard(out, number) for number in range(count)]


def _shard(out: str | Path, number: int) -> Path:
    return Path(out) / f"pairs-{number:05d}.parquet"


class Dataset:
    """Galaxies of a dataset on disk, with random access.

    Rows are read through memory-mapped copies of the shards, so a large dataset needs little memory (see
    `pix2spec.data.row_cache`). ``dataset[i]`` is a `Galaxy`.

    Parameters
    ----------
    path : str or Path
        A folder that `write_dataset` made, or one shard.
    split : str, optional
        ``"train"``, ``"val"`` or ``"test"``. The default is all galaxies.

    Attributes
    ----------
    info : DatasetInfo
        Grid, survey, kind of image and provenance.

    Raises
    ------
    InputError
        If there is no dataset at `path`, or a shard is damaged or differs from the others.

    Examples
    --------
    >>> import tempfile
    >>> from pix2spec.data.simulate import simulate
    >>> folder = tempfile.mkdtemp()
    >>> info = simulate(folder, 3, seed=7, progress=False)
    >>> galaxies = pix2spec.Dataset(folder)
    >>> len(galaxies), galaxies[0].object_id, galaxies[0].image.shape
    (3, 'sim-7-00000000', (3, 64, 64))
    >>> galaxies.batch([0, 2], ["z", "photometry"])["photometry"].shape
    (2, 5)
    """

    def __init__(self, path: str | Path, split: str | None = None):
        if split not in (None, "train", "val", "test"):
            raise InputError("`split`", f"{split!r} is not train, val or test")
        self.path = Path(path)
        shards = shard_paths(path)
        self.info = read_info(shards)
        self.rows = map_shards(shards, self.info.arrow_schema())
        self.columns = self.info.arrow_schema().names
        self.indices = np.arange(len(self.rows))
        if split is not None:
            groups = self.rows.column("group_id").to_pylist()
            self.indices = np.array([i for i, g in enumerate(groups) if split_of(g) == split], dtype=int)

    def __len__(self) -> int:
        return len(self.indices)

    def batch(self, index, columns: Iterable[str] | None = None) -> dict:
        """Read columns of some galaxies.

        Parameters
        ----------
        index : int, slice or array (n,) of int
            Positions of the galaxies in the dataset.
        columns : iterable of str, optional
            Names of the columns to read. The default is all columns.

        Returns
        -------
        dict of str to array (n, ...)
            Missing values are NaN, or 0 for inverse variances and masks. Photometry is in the bands of the
            survey, also in a dataset whose galaxies have other filters.
        """
        names = self.columns if columns is None else list(columns)
        rows = np.atleast_1d(self.indices[index])
        return as_arrays(self.rows.take(rows, needed_columns(names, self.info)), self.info, names)

    def natives(self, index) -> list[NativeSpectrum | None]:
        """Spectra of some galaxies in the pixels of their files; None where those on the grid are all."""
        rows = np.atleast_1d(self.indices[index])
        if not self.info.native:
            return [None] * len(rows)
        return read_natives(self.rows.take(rows, [*NATIVE_COLUMNS, "object_id"]))

    def having(self, *columns: str) -> np.ndarray:
        """Positions of the galaxies in which none of `columns` is missing. No values are read."""
        present = np.ones(len(self), bool)
        for name in columns:
            present &= self.rows.has(name)[self.indices]
        return np.flatnonzero(present)

    def __getitem__(self, i: int) -> Galaxy:
        (found,) = self.galaxies([i])
        if isinstance(found, InputError):
            raise found
        return found

    def galaxies(self, index) -> list[Galaxy | InputError]:
        """Galaxies at positions `index`; an error replaces one that is damaged."""
        rows = np.atleast_1d(self.indices[index])
        return [
            InputError(f"{self.path}: {found.where}", found.what, found.hint)
            if isinstance(found, InputError)
            else found
            for found in to_galaxies(self.rows.take(rows, self.columns), self.info)
        ]

    def __iter__(self) -> Iterator[Galaxy]:
        return (self[i] for i in range(len(self)))


def shard_paths(path: str | Path) -> list[Path]:
    """Shards of a dataset, in order. Incomplete files (``*.partial``) are ignored.

    Raises
    ------
    InputError
        If there are no shards.
    """
    path = Path(path)
    shards = [path] if path.is_file() else sorted(path.glob("*.parquet"))
    if not shards:
        raise InputError(path, "it holds no Parquet shards", "make a dataset with `pix2spec data simulate`")
    return shards


def read_schema(shard: Path) -> pa.Schema:
    """Schema of one shard. Raises `InputError` if the file is truncated, damaged or not Parquet."""
    try:
        return pq.read_schema(shard)
    except (pa.ArrowException, OSError, ValueError) as error:
        what = f"the shard is truncated, damaged or not Parquet: {str(error).splitlines()[0]}"
        raise InputError(shard, what, "copy it again, or delete it") from error


def read_info(shards: list[Path]) -> DatasetInfo:
    """Metadata of a dataset. Raises `InputError` if they are not the same in all shards."""
    first = read_schema(shards[0])
    info = DatasetInfo.from_schema(first, where=shards[0])
    for wanted in info.arrow_schema():
        found = first.field(wanted.name).type if wanted.name in first.names else "missing"
        if found != wanted.type:
            what = f"its columns are not those of its schema version: {wanted.name} is {found}"
            raise InputError(shards[0], f"{what}, not {wanted.type}", "make the dataset again")
    for shard in shards[1:]:
        schema = read_schema(shard)
        if schema.equals(first, check_metadata=True):
            continue
        if not schema.equals(first):
            raise InputError(shard, f"its columns differ from those of {shards[0].name}")
        other = DatasetInfo.from_schema(schema, where=shard)
        if replace(other, provenance=info.provenance) != info:
            raise InputError(shard, f"its grid, survey or images differ from those of {shards[0].name}")
    return info
