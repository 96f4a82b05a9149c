"""Generated catalogues: one Parquet row per object, written as a stream."""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pix2spec.core.filters import Filter
from pix2spec.core.grid import SpectralGrid
from pix2spec.core.survey import SDSS, Survey
from pix2spec.data.measurements import BRIGHTNESS_COLUMN, MEASUREMENT_COLUMNS
from pix2spec.data.readers.guards import check_expansion, reading
from pix2spec.errors import InputError
from pix2spec.products.columns import (
    EVERYTHING,
    VECTORS,
    Contents,
    catalogue_schema,
    core_fields,
    empty_value,
)
from pix2spec.products.derived import Derived
from pix2spec.products.ensemble import Ensemble
from pix2spec.runtime.resumable import is_unfinished

__all__ = ["CATALOGUE_VERSION", "Catalogue", "CatalogueWriter", "open_catalogue"]

CATALOGUE_VERSION = 2
# Names in version 1, and today's. There, `z` was the redshift that was given.
RENAMED = {"z": "z_given", "z_model": "z", "z_model_lo": "z_q16", "z_model_hi": "z_q84"}
FILE_NAME = "catalog.parquet"
SHARDS = "catalog"  # folder of the shards of one that grows, or is large
LISTS = ("flags", *MEASUREMENT_COLUMNS)  # lists of texts, and short ones of numbers
LATER_COLUMNS = MEASUREMENT_COLUMNS | BRIGHTNESS_COLUMN  # catalogues of earlier versions lack them
OPTIONAL = {"candidates", *VECTORS[1:], *LATER_COLUMNS}  # an ensemble can do without
PYTHON_VALUE_BYTES = 80  # of a number or a short text, until it is written
OPEN_FILES = 64  # of a catalogue in shards: more take memory, and fewer are opened again and again
ROW_GROUP_BYTES = 32 * 2**20  # candidates of some 90 objects; what a reader holds at a time


class CatalogueWriter:
    """Write a catalogue object by object; memory does not grow with their number.

    Use it as a context manager. The file gets its name when it is complete: after an error or a kill there
    is no ``catalog.parquet``.

    Parameters
    ----------
    out_dir : str or Path
        Folder, made if need be, that receives ``catalog.parquet``.
    grid : SpectralGrid
        Wavelengths of all spectra.
    provenance : dict
        Model id and hash, version, seed, command.
    contents : Contents
        Which columns it has.
    survey : Survey
        Filters of the synthetic magnitudes.
    curves : mapping of str to Filter, optional
        The user's own filters of the objects' measurements.
    name : str
        Of the file.
    partial : str, optional
        Name of the file until it is complete, by default ``NAME.partial``.

    Raises
    ------
    InputError
        If the folder already holds a catalogue: results are never overwritten.
    """

    def __init__(
        self,
        out_dir: str | Path,
        grid: SpectralGrid,
        provenance: dict,
        contents: Contents = EVERYTHING,
        survey: Survey = SDSS,
        curves: Mapping[str, Filter] | None = None,
        name: str = FILE_NAME,
        partial: str | None = None,
    ):
        self.path = Path(out_dir) / name
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if self.path.exists():
            raise InputError(self.path, "it exists already", "choose another folder, or delete it")
        self.grid, self.contents = grid, contents
        self._derive = Derived(grid, survey, contents)
        metadata = {"catalogue_version": CATALOGUE_VERSION, "grid": grid.as_dict()}
        metadata |= {"survey": survey.as_dict(), "provenance": provenance}
        metadata |= {"candidates": contents.candidates, "partial": contents.is_partial}
        metadata |= {"curves": {name: curve.as_dict() for name, curve in curves.items()}} if curves else {}
        self.schema = catalogue_schema(grid, survey, contents, metadata)
        self._temporary = self.path.with_name(partial or name + ".partial")
        floats = [f"{name}.list.element" for name in (*VECTORS, "candidates")]
        self._file = pq.ParquetWriter(
            self._temporary,
            self.schema,
            compression="zstd",
            compression_level=1,
            use_dictionary=False,
            use_byte_stream_split=floats,  # noisy floats: smaller, and faster to write
        )
        self._thread = ThreadPoolExecutor(1)  # compresses a row group while the next one is made
        self._written: Future | None = None
        self._empty = {field.name: empty_value(field) for field in self.schema}
        self._rows: list[list] = []
        self._bytes = 0
        self.n_ok = self.n_failed = 0

    def add(self, ensemble: Ensemble, measured: Mapping[str, float] | None = None) -> None:
        """Append the row of one ensemble, with status ``"ok"``.

        Parameters
        ----------
        ensemble : Ensemble
        measured : mapping of str to float, optional
            Values of `pix2spec.products.columns.MEASURED`; NaN without it.
        """
        if ensemble.grid != self.grid:
            raise InputError(ensemble.object_id, "its wavelength grid is not the catalogue's")
        row = ensemble.to_row(self.contents.candidates, self.contents.spectra) | {"status": "ok", "error": ""}
        self.n_ok += 1
        self._append(row | self._derive(ensemble) | dict(measured or {}))

    def add_failure(self, object_id: str, error_text: str, ra=np.nan, dec=np.nan) -> None:
        """Append the row of an object without a result, with status ``"failed"``."""
        row: dict = {"object_id": object_id, "status": "failed", "error": str(error_text)}
        row |= {"ra": ra, "dec": dec}
        self.n_failed += 1
        self._append(row)

    def _append(self, row: dict) -> None:
        values = [row.get(name, empty) for name, empty in self._empty.items()]
        self._rows.append(values)
        self._bytes += PYTHON_VALUE_BYTES * len(values)
        self._bytes += sum(value.nbytes for value in values if isinstance(value, np.ndarray))
        if self._bytes >= ROW_GROUP_BYTES:
            self._flush()

    def _flush(self) -> None:
        if not self._rows:
            return
        columns = [_column(values, f.type) for values, f in zip(zip(*self._rows), self.schema)]
        self._rows, self._bytes = [], 0
        self._write(pa.Table.from_arrays(columns, schema=self.schema))

    def _write(self, rows: pa.Table) -> None:
        """Write rows in the other thread, when it has written those before."""
        self._wait()
        self._written = self._thread.submit(self._file.write_table, rows)

    def _wait(self) -> None:
        if self._written is not None:
            written, self._written = self._written, None
            written.result()

    def append_file(self, path: Path) -> None:
        """Append the rows of another catalogue of the same grid and survey, a row group at a time."""
        self._flush()
        with pq.ParquetFile(path) as other:
            for group in range(other.num_row_groups):
                rows = _renamed(other.read_row_group(group), _version(other))
                for field in self.schema:
                    if field.name not in rows.column_names:  # of an earlier version
                        empty = pa.array([empty_value(field)] * len(rows), field.type)
                        rows = rows.append_column(field, empty)
                self._write(rows.select(self.schema.names).cast(self.schema))

    def close(self) -> Path:
        """Finish the file and give it its name."""
        try:
            self._flush()
            self._wait()
            self._thread.shutdown()
            self._file.close()
            with open(self._temporary, "rb+") as stream:
                os.fsync(stream.fileno())
            os.replace(self._temporary, self.path)
        except BaseException:
            self._abandon()
            raise
        return self.path

    def _abandon(self) -> None:
        try:
            self._thread.shutdown()
            self._file.close()
        finally:
            self._temporary.unlink(missing_ok=True)

    def __enter__(self) -> "CatalogueWriter":
        return self

    def __exit__(self, kind, error, trace) -> None:
        if kind is None:
            self.close()
        else:
            self._abandon()


class Catalogue:
    """A catalogue on disk: one file, or the shards of a large one.

    Iterating gives the ensembles of the objects that worked, one row group at a time.

    Attributes
    ----------
    path : Path
        The Parquet file, or the folder of shards.
    grid : SpectralGrid
        Wavelengths of all spectra.
    provenance : dict
        Model id and hash, version, seed, command.
    version : int
        Of its format.
    has_spectra, has_candidates : bool
        Whether it holds spectra at all, and the candidates besides the chosen ones.
    curves : dict of str to Filter
        The user's own filters of the objects' measurements.
    """

    def __init__(self, path: str | Path):
        self.path, shards = _find(Path(path))
        self._files = _Files(shards)
        metadata = self._metadata()
        if "catalogue_version" not in metadata:
            raise InputError(self.path, "it is Parquet, but not a generated catalogue")
        self.version = metadata["catalogue_version"]
        if self.version not in (1, CATALOGUE_VERSION):
            raise InputError(self.path, f"catalogue version {self.version} is not {CATALOGUE_VERSION}")
        try:
            self.grid, self.survey = SpectralGrid(**metadata["grid"]), Survey.from_dict(metadata["survey"])
            self.provenance = dict(metadata["provenance"])
            self.curves = {n: Filter.from_dict(n, v) for n, v in metadata.get("curves", {}).items()}
            has_candidates = bool(metadata["candidates"])
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise self._damaged(f"{type(error).__name__} {error}") from error
        names = set(self.schema.names)
        self.has_spectra = {field.name for field in core_fields(self.grid)} - OPTIONAL <= names
        self.has_candidates = has_candidates and self.has_spectra and "candidates" in names
        self._check_columns(bool(metadata.get("partial")))

    def _check_columns(self, is_partial: bool) -> None:
        """Raise `InputError` if a file lacks a column, or one has another type."""
        for file in self._files:
            schema = _renamed_schema(file.schema_arrow, self.version)
            for wanted in core_fields(self.grid):
                if wanted.name in schema.names:
                    found = schema.field(wanted.name).type
                elif is_partial or wanted.name in LATER_COLUMNS:  # left out, or of an earlier version
                    continue
                else:
                    found = "missing"
                if found != wanted.type:
                    raise self._damaged(f"{wanted.name} is {found}, not {wanted.type}")

    def _metadata(self) -> dict:
        try:
            metadata = json.loads((self._files[0].schema_arrow.metadata or {}).get(b"pix2spec", b"{}"))
        except (ValueError, RecursionError) as error:
            raise self._damaged(str(error)) from error
        if not isinstance(metadata, dict):
            raise self._damaged("its metadata are no mapping")
        return metadata

    def _damaged(self, why: str) -> InputError:
        return InputError(self.path, f"the catalogue is damaged: {why}", "make it again")

    def __len__(self) -> int:
        return sum(self._sizes)

    @cached_property
    def _sizes(self) -> list[int]:
        """Number of objects in each file."""
        return [file.metadata.num_rows for file in self._files]

    @property
    def schema(self) -> pa.Schema:
        """Columns, under today's names."""
        return _renamed_schema(self._files[0].schema_arrow, self.version)

    def read(self, columns: list[str]) -> pa.Table:
        """Some columns of all objects."""
        names = _old_names(columns, self.version)
        with reading(self.path, "a catalogue"):
            tables = [file.read(names).select(names).replace_schema_metadata(None) for file in self._files]
            tables = [table.rename_columns(columns) for table in tables]
            for rows in tables:
                rows.validate(full=True)
            return pa.concat_tables(tables)

    def read_chunks(self, columns: list[str], size: int) -> Iterator[pa.Table]:
        """Some columns, in tables of at most `size` objects; one table without rows if there is no object."""
        names = _old_names(columns, self.version)
        if not len(self):
            yield self.read(columns)
        for file in self._files:
            with reading(self.path, "a catalogue"):
                for batch in file.iter_batches(size, columns=names):
                    rows = pa.Table.from_batches([batch]).select(names).rename_columns(columns)
                    rows.validate(full=True)
                    yield rows.replace_schema_metadata(None)

    def _rows(self, file: pq.ParquetFile, group: int) -> pa.Table:
        with reading(self.path, "a catalogue"):
            rows = _renamed(file.read_row_group(group), self.version)
            rows.validate(full=True)  # texts in wild bytes, lists that reach beyond their values
            return rows

    def _groups(self) -> Iterator[tuple[pq.ParquetFile, int]]:
        return ((file, group) for file in self._files for group in range(file.num_row_groups))

    @cached_property
    def ids(self) -> list[str]:
        """All object ids, those that failed included."""
        return self.read(["object_id"])["object_id"].to_pylist()

    @cached_property
    def table(self) -> pa.Table:
        """All columns but the candidates; those are read object by object."""
        return self.read([n for n in self.schema.names if n != "candidates"])

    @property
    def failures(self) -> dict[str, str]:
        """Error text by id of the objects that failed."""
        rows = self.read(["object_id", "status", "error"])
        failed = rows.filter(pc.fill_null(pc.not_equal(rows["status"], "ok"), True))  # few of many
        return dict(zip(failed["object_id"].to_pylist(), failed["error"].to_pylist()))

    def __iter__(self) -> Iterator[Ensemble]:
        self._check_spectra()
        for file, group in self._groups():
            rows = self._rows(file, group)
            for i in range(len(rows)):
                if rows["status"][i].as_py() == "ok":
                    yield self._ensemble(rows, i)

    def ensemble(self, object_id: str) -> Ensemble:
        """Read the ensemble of one object.

        Raises
        ------
        InputError
            If the object is not in the catalogue, or failed.
        """
        self._check_spectra()
        start = 0
        for file, group in self._groups():
            size = file.metadata.row_group(group).num_rows
            if object_id in self.ids[start : start + size]:
                rows, i = self._rows(file, group), self.ids.index(object_id, start) - start
                if rows["status"][i].as_py() != "ok":
                    raise InputError(object_id, f"it failed: {rows['error'][i].as_py()}")
                return self._ensemble(rows, i)
            start += size
        raise InputError(object_id, f"no such object in {self.path}")

    def _check_spectra(self) -> None:
        if not self.has_spectra:
            hint = "generate it again, with its spectra"
            raise InputError(self.path, "the catalogue has no spectra", hint)

    def _ensemble(self, rows: pa.Table, i: int) -> Ensemble:
        row = {}
        for name in rows.column_names:
            value = rows[name][i]
            is_vector = isinstance(value, pa.ListScalar | pa.FixedSizeListScalar) and name not in LISTS
            row[name] = value.values.to_numpy(zero_copy_only=False) if is_vector else value.as_py()
        with reading(self.path, "a catalogue"):
            return Ensemble.from_row(row, self.grid, self.provenance, self.curves)


def _column(values: Sequence, kind: pa.DataType) -> pa.Array | pa.ChunkedArray:
    """A column. Spectra are not copied, or once."""
    if pa.types.is_fixed_size_list(kind):
        flat = np.concatenate([np.asarray(value, np.float32) for value in values])
        return pa.FixedSizeListArray.from_arrays(pa.array(flat), type=kind)
    if pa.types.is_list(kind) and kind.value_type == pa.float32():
        arrays = [np.asarray(value, np.float32) for value in values]
        parts = [pa.ListArray.from_arrays(pa.array([0, len(x)], pa.int32()), pa.array(x)) for x in arrays]
        return pa.chunked_array([part.cast(kind) for part in parts], kind)
    return pa.array(values, kind)


def _version(file: pq.ParquetFile) -> int:
    """Format version of a catalogue's file."""
    return json.loads((file.schema_arrow.metadata or {}).get(b"pix2spec", b"{}")).get("catalogue_version", 0)


def _renamed(rows: pa.Table, version: int) -> pa.Table:
    """Rows with today's names of columns."""
    return rows.rename_columns([RENAMED.get(n, n) for n in rows.column_names]) if version == 1 else rows


def _renamed_schema(schema: pa.Schema, version: int) -> pa.Schema:
    if version != 1:
        return schema
    fields = [field.with_name(RENAMED.get(field.name, field.name)) for field in schema]
    return pa.schema(fields, metadata=schema.metadata)


def _old_names(names: list[str], version: int) -> list[str]:
    """Names of columns in a file."""
    old = {new: name for name, new in RENAMED.items()} if version == 1 else {}
    return [old.get(name, name) for name in names]


def _find(path: Path) -> tuple[Path, list[Path]]:
    """The catalogue at `path`, a file, its folder or that of its shards, and the files to read."""
    if path.is_dir() and (path / FILE_NAME).exists():
        path = path / FILE_NAME
    if path.is_file():
        return path, [path]
    folder = path if path.name == SHARDS else path / SHARDS
    shards = sorted(folder.glob("part-*.parquet"))
    if is_unfinished(folder):
        raise InputError(folder, "the catalogue is unfinished", "resume its generation")
    if not shards:
        raise InputError(path, f"no {FILE_NAME} there", "make one with `pix2spec generate`")
    return folder, shards


class _Files:
    """The files of a catalogue. Only some are open at a time, because each takes 0.3 MB."""

    def __init__(self, paths: list[Path]):
        self._paths, self._opened = paths, lru_cache(OPEN_FILES)(_open)

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, k: int) -> pq.ParquetFile:
        return self._opened(self._paths[k])

    def __iter__(self) -> Iterator[pq.ParquetFile]:
        return map(self._opened, self._paths)


def _open(path: Path) -> pq.ParquetFile:
    try:
        file = pq.ParquetFile(path)
        check_expansion(path, 8 * file.metadata.num_rows, "ids of its rows")
        return file
    except InputError:
        raise
    except (pa.ArrowException, OSError, ValueError) as error:
        raise InputError(path, "it is not a Parquet file, or it is damaged") from error


def open_catalogue(path: str | Path) -> Catalogue:
    """Open a catalogue: a folder that `CatalogueWriter` filled, or its ``catalog.parquet``."""
    return Catalogue(path)
