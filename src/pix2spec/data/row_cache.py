"""Random access to the rows of Parquet shards, through memory-mapped copies in the user's cache.

Parquet is compressed in blocks of many rows: to read one row takes as long as to read its block. Each shard
is therefore copied once to an uncompressed Arrow file. The operating system loads the parts that are used and
drops them again, so that a large dataset needs little memory. Columns without any value, such as the spectra
of a table of magnitudes, take no room in the copy.
"""

import errno
import hashlib
import os
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pix2spec.errors import InputError
from pix2spec.runtime.atomic import write_atomically

__all__ = ["MappedRows", "cache_folder", "map_shards"]

FORMAT = "2"  # part of the copies' names: after a change, new copies are made
OLDER = "1"  # the same with room for columns without any value; still read
ROWS_PER_BATCH = 1024
FOOTER_BYTES = 65536  # The footer holds sizes and extremes of columns, so that it identifies the contents.


def cache_folder() -> Path:
    """The cache folder: ``$PIX2SPEC_CACHE``, else ``pix2spec`` in ``$XDG_CACHE_HOME`` or ``~/.cache``."""
    own = os.environ.get("PIX2SPEC_CACHE")
    if own:
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pix2spec"


def map_shards(shards: list[Path], schema: pa.Schema) -> "MappedRows":
    """Open the rows of `shards` with the columns of `schema`. Shards without a copy are copied first.

    Raises
    ------
    InputError
        If a shard is damaged.
    OSError
        If a copy cannot be written.
    """
    schema = schema.remove_metadata()
    return MappedRows([_copy_of(shard, schema) for shard in shards], schema)


class MappedRows:
    """Rows of memory-mapped Arrow files. A pickled object opens the files again in the other process."""

    def __init__(self, files: list[Path], schema: pa.Schema):
        self.files, self.schema = files, schema
        self.batches = [batch for file in files for batch in _open_batches(file)]
        self.ends = np.cumsum([batch.num_rows for batch in self.batches], dtype=int)

    def __len__(self) -> int:
        return int(self.ends[-1]) if len(self.ends) else 0

    def __reduce__(self):
        return MappedRows, (self.files, self.schema)

    def column(self, name: str) -> pa.ChunkedArray:
        """One column of all rows. Its values are read from disk only when they are used."""
        kind = self.schema.field(name).type
        return pa.chunked_array([_column(batch, name, kind) for batch in self.batches], kind)

    def has(self, name: str) -> np.ndarray:
        """Which rows have a value in a column; no values are read."""
        valid = [batch.column(name).is_valid() for batch in self.batches]
        return pa.chunked_array(valid, pa.bool_()).to_numpy()

    def take(self, index: np.ndarray, columns: list[str]) -> pa.Table:
        """Rows at the positions `index` (n,), in that order. Consecutive rows are taken as one slice."""
        place = np.searchsorted(self.ends, index, side="right")
        schema = pa.schema([self.schema.field(name) for name in columns])
        begins = np.flatnonzero((np.diff(index, prepend=-2) != 1) | (np.diff(place, prepend=-1) != 0))
        slices = []
        for begin, end in zip(begins, [*begins[1:], len(index)]):
            batch, stop = self.batches[place[begin]], self.ends[place[begin]]
            part = batch.slice(index[begin] - stop + batch.num_rows, end - begin)
            arrays = [_column(part, field.name, field.type) for field in schema]
            slices.append(pa.RecordBatch.from_arrays(arrays, schema=schema))
        return pa.Table.from_batches(slices, schema)


def _column(batch: pa.RecordBatch, name: str, kind: pa.DataType) -> pa.Array:
    column = batch.column(name)
    return pa.nulls(len(column), kind) if pa.types.is_null(column.type) else column


def _open_batches(file: Path) -> list[pa.RecordBatch]:
    """Batches of one file. They keep the file mapped after it is closed."""
    try:
        with pa.memory_map(str(file)) as mapped:
            reader = pa.ipc.open_file(mapped)
            return [reader.get_batch(i) for i in range(reader.num_record_batches)]
    except pa.ArrowInvalid as error:
        raise InputError(file, f"this copy of a shard is damaged: {error}", "delete it") from error


def _copy_of(shard: Path, schema: pa.Schema) -> Path:
    """Path of the shard's copy. If it does not exist, one process writes it and the others wait."""
    copy, older = (cache_folder() / "rows" / f"{_fingerprint(shard, x)}.arrow" for x in (FORMAT, OLDER))
    if not copy.exists() and older.exists():
        return older
    if not copy.exists():
        from filelock import FileLock

        try:
            copy.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(copy.with_suffix(".lock")):
                if not copy.exists():
                    write_atomically(copy, lambda path: _convert(shard, schema, path))
        except OSError as error:  # Arrow's errors do not name the file.
            reason = os.strerror(error.errno) if error.errno else str(error)
            what = f"cannot write to the cache (set $PIX2SPEC_CACHE to another folder): {reason}"
            raise OSError(error.errno or errno.EIO, what, str(copy)) from error
    return copy


def _convert(shard: Path, schema: pa.Schema, path: Path) -> None:
    empty = _empty_columns(shard, schema)
    stored = pa.schema([field.with_type(pa.null()) if field.name in empty else field for field in schema])
    with pa.OSFile(str(path), "wb") as stream, pa.ipc.new_file(stream, stored) as writer:
        for batch in _checked_batches(shard, schema):
            nulls = pa.nulls(len(batch))
            arrays = [nulls if name in empty else batch.column(name) for name in schema.names]
            writer.write_batch(pa.RecordBatch.from_arrays(arrays, schema=stored))


def _empty_columns(shard: Path, schema: pa.Schema) -> set[str]:
    """Columns of spectra and images without any value. Parquet's statistics name them, and they are read."""
    with _reading(shard), pq.ParquetFile(shard) as file:
        names = {field.name for field in schema if pa.types.is_fixed_size_list(field.type)}
        for group in (file.metadata.row_group(k) for k in range(file.num_row_groups)):
            for part in (group.column(k) for k in range(group.num_columns)):
                known = part.statistics
                if known is None or not known.has_null_count or known.null_count < part.num_values:
                    names.discard(part.path_in_schema.split(".")[0])
        for batch in file.iter_batches(ROWS_PER_BATCH, columns=sorted(names)) if names else ():
            names = {name for name in names if batch.column(name).null_count == len(batch)}
        return names


def _checked_batches(shard: Path, schema: pa.Schema):
    """Batches of a shard, after a check that all values are valid for their types (such as UTF-8 texts)."""
    with _reading(shard), pq.ParquetFile(shard) as file:
        for batch in file.iter_batches(ROWS_PER_BATCH, columns=schema.names):
            batch = pa.RecordBatch.from_arrays([batch.column(n) for n in schema.names], schema=schema)
            batch.validate(full=True)
            yield batch


@contextmanager
def _reading(shard: Path):
    """Turn errors of Arrow into `InputError`."""
    try:
        yield
    except (pa.ArrowException, OSError, ValueError) as error:
        raise InputError(
            shard, f"the shard is damaged: {str(error).splitlines()[0]}", "make the dataset again"
        ) from error


def _fingerprint(shard: Path, form: str) -> str:
    """Hash of the copy's form and the shard's name, size, times and footer."""
    stat = shard.stat()
    digest = hashlib.blake2b(digest_size=16)
    digest.update(f"{form} {shard.resolve()} {stat.st_size} {stat.st_mtime_ns} {stat.st_ino}".encode())
    with open(shard, "rb") as stream:
        stream.seek(max(stat.st_size - FOOTER_BYTES, 0))
        digest.update(stream.read())
    return digest.hexdigest()
