"""Datasets on disk: Parquet shards written atomically, read memory-mapped."""

import hashlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pix2spec.data.schema import DatasetInfo, Pair
from pix2spec.errors import InputError

__all__ = ["Dataset", "split_of", "write_dataset", "write_table_atomically"]

SCALARS = ("ra", "dec", "z", "z_err")
TEXTS = ("object_id", "group_id", "spec_class")
VECTORS = ("image", "photometry", "photometry_ivar", "flux", "ivar", "mask")


def split_of(group_id: str) -> str:
    """``"train"`` (90 %), ``"val"`` (5 %) or ``"test"`` (5 %): a pure function of the object's id.

    Repeat spectra of one object share a group id, so that they never fall on two sides.
    """
    digest = hashlib.blake2b(group_id.encode(), digest_size=4).digest()
    bucket = int.from_bytes(digest, "little") / 2**32
    return "train" if bucket < 0.9 else "val" if bucket < 0.95 else "test"


def write_table_atomically(table: pa.Table, path: Path) -> None:
    """Write Parquet under a temporary name and rename it: a reader never meets half a file.

    Raises
    ------
    OSError
        For example when the disk is full; nothing is left behind.
    """
    temporary = path.with_name(path.name + ".partial")
    try:
        pq.write_table(table, temporary, compression="zstd")
        with open(temporary, "rb+") as stream:
            os.fsync(stream.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _to_table(pairs: list[Pair], info: DatasetInfo) -> pa.Table:
    schema = info.arrow_schema()
    arrays = []
    for column in schema:
        values = [
            p.truth.get(column.name) if column.name in info.truth else getattr(p, column.name) for p in pairs
        ]
        if column.name in VECTORS:
            values = [None if v is None else np.asarray(v).ravel() for v in values]
        arrays.append(pa.array(values, column.type))
    return pa.Table.from_arrays(arrays, schema=schema)


def write_dataset(
    out: str | Path, pairs: Iterable[Pair], info: DatasetInfo, shard_size: int = 1024
) -> list[Path]:
    """Write `pairs` as Parquet shards of `shard_size` rows in the folder `out`; memory stays flat.

    Raises
    ------
    InputError
        If `out` already holds a dataset: data are never overwritten or mixed.
    """
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    if any(out.glob("*.parquet")):
        raise InputError(out, "it already holds a dataset", "choose another folder, or delete this one")
    paths, waiting = [], []

    def flush():
        paths.append(out / f"pairs-{len(paths):05d}.parquet")
        write_table_atomically(_to_table(waiting, info), paths[-1])
        waiting.clear()

    for pair in pairs:
        waiting.append(pair)
        if len(waiting) == shard_size:
            flush()
    if waiting:
        flush()
    return paths


class Dataset:
    """Pairs of a folder of shards, read through memory-mapped Arrow (Hugging Face `datasets`).

    Parameters
    ----------
    path : str or Path
        Folder that `write_dataset` made, or one shard.
    split : str, optional
        ``"train"``, ``"val"`` or ``"test"``; all pairs when None.

    Attributes
    ----------
    info : DatasetInfo
        Grid, survey, kind of image, provenance.
    """

    def __init__(self, path: str | Path, split: str | None = None):
        import datasets

        self.path = Path(path)
        shards = [self.path] if self.path.is_file() else sorted(self.path.glob("*.parquet"))
        if not shards:
            raise InputError(path, "no Parquet shards there", "make a dataset with `pix2spec data simulate`")
        schemas = [pq.read_schema(shard) for shard in shards]
        self.info = DatasetInfo.from_schema(schemas[0], where=shards[0])
        for shard, schema in zip(shards, schemas):
            if not schema.equals(schemas[0]):
                raise InputError(shard, f"its columns differ from those of {shards[0].name}")
        silent = not datasets.utils.logging.is_progress_bar_enabled()
        datasets.disable_progress_bars()
        try:
            rows = datasets.Dataset.from_parquet([str(s) for s in shards])
        finally:
            if not silent:
                datasets.enable_progress_bars()
        self.rows = rows.with_format("arrow")
        self.indices = np.arange(len(rows))
        if split is not None:
            if split not in ("train", "val", "test"):
                raise InputError("split", f"{split!r} is not train, val or test")
            groups = self.rows.select_columns("group_id")[:]["group_id"].to_pylist()
            self.indices = np.array([i for i, g in enumerate(groups) if split_of(g) == split], dtype=int)

    def __len__(self) -> int:
        return len(self.indices)

    def batch(self, index, columns: Iterable[str] | None = None) -> dict:
        """Columns of the pairs at positions `index`, as arrays with a leading axis.

        Missing optional values are NaN (ivar: 0). `columns` restricts what is read.
        """
        rows = self.rows if columns is None else self.rows.select_columns(list(columns))
        table = rows[np.atleast_1d(self.indices[index])]
        return {name: self._numpy(name, table[name]) for name in table.column_names}

    def _numpy(self, name: str, column: pa.ChunkedArray):
        column = column.combine_chunks()
        if isinstance(column, pa.ChunkedArray):  # older pyarrow
            column = pa.concat_arrays(column.chunks)
        if pa.types.is_string(column.type):
            return np.array(column.to_pylist(), dtype=object)
        if not pa.types.is_fixed_size_list(column.type):
            return column.to_numpy(zero_copy_only=False)
        size = column.type.list_size
        shape = (-1, *self.info.image_shape) if name == "image" else (-1, size)
        if column.null_count == 0:
            return column.flatten().to_numpy(zero_copy_only=False).reshape(shape)
        is_float = pa.types.is_floating(column.type.value_type)
        missing = 0 if name.endswith("ivar") or not is_float else np.nan
        values = np.full((len(column), size), missing, np.float32 if is_float else np.int32)
        present = np.flatnonzero(column.is_valid().to_numpy(zero_copy_only=False))
        values[present] = column.drop_null().flatten().to_numpy(zero_copy_only=False).reshape(-1, size)
        return values.reshape(shape)

    def __getitem__(self, i: int) -> Pair:
        batch = self.batch([i])
        values = {n: batch[n][0] for n in TEXTS} | {n: float(batch[n][0]) for n in SCALARS}
        row = self.rows[[int(self.indices[i])]]
        for name in VECTORS:
            values[name] = None if row[name].null_count else batch[name][0]
        return Pair(**values, truth={n: batch[n][0] for n in self.info.truth})

    def __iter__(self) -> Iterator[Pair]:
        return (self[i] for i in range(len(self)))
