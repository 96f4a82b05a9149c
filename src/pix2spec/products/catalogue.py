"""Generated catalogues: one Parquet row per object, written as a stream."""

import json
import os
from collections.abc import Iterator, Mapping
from functools import cached_property
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
from pix2spec.products.columns import VECTORS, Derived, catalogue_schema
from pix2spec.products.ensemble import Ensemble
from pix2spec.products.units import PER_CANDIDATE
from pix2spec.runtime.resumable import is_unfinished

__all__ = ["CATALOGUE_VERSION", "Catalogue", "CatalogueWriter", "open_catalogue"]

CATALOGUE_VERSION = 1
FILE_NAME = "catalog.parquet"
SHARDS = "catalog"  # folder of the shards of one that grows, or is large
LISTS = ("flags", *MEASUREMENT_COLUMNS)  # lists of texts, and short ones of numbers
LATER_COLUMNS = MEASUREMENT_COLUMNS | BRIGHTNESS_COLUMN  # catalogues of earlier versions lack them
NO_MEASUREMENTS: dict = {name: [] for name in MEASUREMENT_COLUMNS} | {
    "extinction": "",
    "brightness_error": 0.0,
}
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
    keep_candidates : bool
        Whether the candidates go along: 14 kB each.
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
        keep_candidates: bool = True,
        survey: Survey = SDSS,
        curves: Mapping[str, Filter] | None = None,
        name: str = FILE_NAME,
        partial: str | None = None,
    ):
        self.path = Path(out_dir) / name
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if self.path.exists():
            raise InputError(self.path, "it exists already", "choose another folder, or delete it")
        self.grid, self.keep_candidates = grid, keep_candidates
        self._derive = Derived(grid, survey)
        metadata = {"catalogue_version": CATALOGUE_VERSION, "grid": grid.as_dict()}
        metadata |= {"survey": survey.as_dict(), "provenance": provenance}
        metadata |= {"candidates": keep_candidates}
        metadata |= {"curves": {name: curve.as_dict() for name, curve in curves.items()}} if curves else {}
        self.schema = catalogue_schema(grid, self._derive.names, metadata)
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
        self._rows: list[dict] = []
        self._bytes = 0
        self.n_ok = self.n_failed = 0

    def add(self, ensemble: Ensemble) -> None:
        """Append the row of one ensemble, with status ``"ok"``."""
        if ensemble.grid != self.grid:
            raise InputError(ensemble.object_id, "its wavelength grid is not the catalogue's")
        row = ensemble.to_row(self.keep_candidates) | {"status": "ok", "error": ""}
        self.n_ok += 1
        self._append(row | self._derive(ensemble))

    def add_failure(self, object_id: str, error_text: str, ra=np.nan, dec=np.nan) -> None:
        """Append the row of an object without a result, with status ``"failed"``."""
        row: dict = {"object_id": object_id, "status": "failed", "error": str(error_text)}
        row |= {"unit": "", "select": ""}
        row |= {"ra": ra, "dec": dec, "z": np.nan, "ebv": np.nan, "n_candidates": 0}
        row |= {name: np.nan for name in self._derive.names}
        row |= {name: np.full(self.grid.size, np.nan, np.float32) for name in VECTORS}
        row |= {name: [] for name in ("flags", *PER_CANDIDATE, "selected", "candidates")}
        row |= NO_MEASUREMENTS
        self.n_failed += 1
        self._append(row)

    def _append(self, row: dict) -> None:
        self._rows.append(row)
        self._bytes += sum(v.nbytes for v in row.values() if isinstance(v, np.ndarray))
        if self._bytes >= ROW_GROUP_BYTES:
            self._flush()

    def _flush(self) -> None:
        if not self._rows:
            return
        columns = [pa.array([row[f.name] for row in self._rows], f.type) for f in self.schema]
        self._file.write_table(pa.Table.from_arrays(columns, schema=self.schema))
        self._rows, self._bytes = [], 0

    def append_file(self, path: Path) -> None:
        """Append the rows of another catalogue of the same grid and survey, a row group at a time."""
        self._flush()
        with pq.ParquetFile(path) as other:
            for group in range(other.num_row_groups):
                rows = other.read_row_group(group)
                for name in set(NO_MEASUREMENTS) - set(rows.column_names):  # of an earlier version
                    empty = pa.array([NO_MEASUREMENTS[name]] * len(rows), LATER_COLUMNS[name])
                    rows = rows.append_column(name, empty)
                self._file.write_table(rows.select(self.schema.names).cast(self.schema))

    def close(self) -> Path:
        """Finish the file and give it its name."""
        try:
            self._flush()
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
    has_candidates : bool
        Whether it holds the candidates, or the chosen spectra alone.
    curves : dict of str to Filter
        The user's own filters of the objects' measurements.
    """

    def __init__(self, path: str | Path):
        self.path, shards = _find(Path(path))
        self._files = [_open(shard) for shard in shards]
        metadata = self._metadata()
        if "catalogue_version" not in metadata:
            raise InputError(self.path, "it is Parquet, but not a generated catalogue")
        if metadata["catalogue_version"] != CATALOGUE_VERSION:
            version = metadata["catalogue_version"]
            raise InputError(self.path, f"catalogue version {version} is not {CATALOGUE_VERSION}")
        try:
            self.grid, self.survey = SpectralGrid(**metadata["grid"]), Survey.from_dict(metadata["survey"])
            self.provenance = dict(metadata["provenance"])
            self.has_candidates = bool(metadata["candidates"])
            self.curves = {n: Filter.from_dict(n, v) for n, v in metadata.get("curves", {}).items()}
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise self._damaged(f"{type(error).__name__} {error}") from error
        for file in self._files:
            names = file.schema_arrow.names
            for wanted in catalogue_schema(self.grid, [], {}):
                if wanted.name in LATER_COLUMNS and wanted.name not in names:
                    continue  # an earlier version wrote it
                found = file.schema_arrow.field(wanted.name).type if wanted.name in names else "missing"
                if found != wanted.type:
                    raise self._damaged(f"{wanted.name} is {found}, not {wanted.type}")

    def _metadata(self) -> dict:
        try:
            metadata = json.loads((self.schema.metadata or {}).get(b"pix2spec", b"{}"))
        except (ValueError, RecursionError) as error:
            raise self._damaged(str(error)) from error
        if not isinstance(metadata, dict):
            raise self._damaged("its metadata are no mapping")
        return metadata

    def _damaged(self, why: str) -> InputError:
        return InputError(self.path, f"the catalogue is damaged: {why}", "make it again")

    def __len__(self) -> int:
        return sum(file.metadata.num_rows for file in self._files)

    @property
    def schema(self) -> pa.Schema:
        """Columns."""
        return self._files[0].schema_arrow

    def read(self, columns: list[str]) -> pa.Table:
        """Some columns of all objects."""
        with reading(self.path, "a catalogue"):
            tables = [file.read(columns).replace_schema_metadata(None) for file in self._files]
            for rows in tables:
                rows.validate(full=True)
            return pa.concat_tables(tables)

    def _rows(self, file: pq.ParquetFile, group: int) -> pa.Table:
        with reading(self.path, "a catalogue"):
            rows = file.read_row_group(group)
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

    def _ensemble(self, rows: pa.Table, i: int) -> Ensemble:
        row = {}
        for name in rows.column_names:
            value = rows[name][i]
            is_vector = isinstance(value, pa.ListScalar | pa.FixedSizeListScalar) and name not in LISTS
            row[name] = value.values.to_numpy(zero_copy_only=False) if is_vector else value.as_py()
        with reading(self.path, "a catalogue"):
            return Ensemble.from_row(row, self.grid, self.provenance, self.curves)


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
