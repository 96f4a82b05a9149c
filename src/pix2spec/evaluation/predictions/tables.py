"""Read Parquet and npz files of spectra row by row, with their own wavelengths and units."""

import json
import math
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pix2spec.data.readers.guards import check_expansion, load_arrays, npy_header, reading
from pix2spec.data.readers.parquet_check import check_parquet
from pix2spec.data.readers.tables import OBJECT_IDS
from pix2spec.errors import InputError

__all__ = ["NpzRows", "ParquetRows", "Part", "is_air", "is_catalogue"]

MAX_BYTES = 2**30  # maximum size of a row of spectra, or of a small array
BATCH_VALUES = 2**22  # values in a batch of rows
SPECTRA = ("candidates", "flux")
WAVELENGTHS = ("wavelength", "loglam")
VECTORS = (*SPECTRA, *WAVELENGTHS, "scores")
PER_ROW = ("score", "z", "ra", "dec", "unit")


@dataclass
class Part:
    """Some or all candidates of an object, from one row or file.

    Parameters
    ----------
    flux : array (M,) or (n, M)
        Spectra in `unit`.
    wave : array (M,), optional
        Wavelengths in Angstrom. None stands for the wavelengths of the truth.
    air : bool
        Whether the wavelengths are in air.
    unit : str, optional
        Unit of the flux, with the file's spelling.
    scores : array (n,), optional
        One score per candidate.
    fields : dict
        Further fields of the Ensemble.
    """

    flux: np.ndarray
    wave: np.ndarray | None = None
    air: bool = False
    unit: str | None = None
    scores: np.ndarray | None = None
    fields: dict = field(default_factory=dict)


def is_air(where, medium: str | None) -> bool:
    """Whether wavelengths are in air, according to the text `medium`; None and ``""`` mean vacuum."""
    if medium not in (None, "", "air", "vacuum"):
        raise InputError(where, f"its medium is {medium!r}", "use 'air' or 'vacuum'")
    return medium == "air"


def is_catalogue(path: Path) -> bool:
    """Whether a Parquet file is a catalogue of `pix2spec generate`."""
    with reading(path, "Parquet"):
        metadata = pq.read_schema(path).metadata or {}
        return b"catalogue_version" in metadata.get(b"pix2spec", b"")


def _missing_id(path, names: list[str]) -> InputError:
    near = next((n for n in names if n.lower() in OBJECT_IDS), None)
    near = near or next(iter(get_close_matches("object_id", names, 1, 0.5)), None)
    hint = f"is {near!r} meant? rename it" if near else "add it: it links predictions and truth"
    return InputError(path, f"there is no object_id; it has {', '.join(names) or 'nothing'}", hint)


def _named(values: list) -> tuple[list[str], dict[str, str]]:
    """Ids as text, and reasons for the rows without an id, which get the id ``row K``."""
    names = ["" if value is None else str(value).strip() for value in values]
    refused = {f"row {k}": f"row {k}: this row has no object_id" for k, name in enumerate(names) if not name}
    return [name or f"row {k}" for k, name in enumerate(names)], refused


def _angstrom(vectors: dict[str, np.ndarray]) -> np.ndarray | None:
    """Wavelengths in Angstrom from ``wavelength`` or ``loglam``."""
    if "wavelength" in vectors:
        return vectors["wavelength"].astype(float)
    with np.errstate(over="ignore"):
        return 10 ** vectors["loglam"].astype(float) if "loglam" in vectors else None


def _is_text(kind: pa.DataType) -> bool:
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return pa.types.is_string(kind) or pa.types.is_large_string(kind)


def _is_number(kind: pa.DataType) -> bool:
    return pa.types.is_floating(kind) or pa.types.is_integer(kind)


def _is_vector(kind: pa.DataType) -> bool:
    is_list = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    return is_list and _is_number(kind.value_type)


class ParquetRows:
    """Rows of a Parquet file with the columns ``object_id``, and ``flux`` or ``candidates``.

    Parameters
    ----------
    path : Path
        The file.
    pixels : int
        Number of pixels of a spectrum in rows without wavelengths.

    Attributes
    ----------
    row_ids : list of str
        Object id of each row.
    refused : dict of str to str
        Reason by id of the rows that cannot be used.
    row_bytes : int
        Largest size of a row in memory.
    """

    has_candidates = True

    def __init__(self, path: Path, pixels: int):
        self.path, self.provenance, self._pixels = path, {"format": "Parquet"}, pixels
        with reading(path, "Parquet"):
            check_parquet(path)
            self._file = pq.ParquetFile(path, memory_map=True)
            check_expansion(path, 8 * self._file.metadata.num_rows, "ids of its rows")
            schema = self._file.schema_arrow
            self._columns = [n for n in (*VECTORS, *PER_ROW) if n in schema.names]
            self._check(schema)
            ids = self._file.read(["object_id"])["object_id"].to_pylist()
        if not ids:
            raise InputError(path, "the table has no rows")
        self.row_ids, self.refused = _named(ids)
        self._read_metadata(schema.metadata or {})
        values = max(self._values_per_row(group) for group in range(self._file.num_row_groups))
        self.row_bytes = 8 * math.ceil(values)
        if self.row_bytes > MAX_BYTES:
            raise InputError(path, f"rows of {values:.0f} values are too large for spectra")

    def _check(self, schema: pa.Schema) -> None:
        if "object_id" not in schema.names:
            raise _missing_id(self.path, schema.names)
        if not {*SPECTRA} & {*schema.names}:
            raise InputError(self.path, f"there is no column flux; it has {', '.join(schema.names)}")
        kind = schema.field("object_id").type
        if not (_is_text(kind) or pa.types.is_integer(kind)):
            raise InputError(self.path, f"its object_id is of type {kind}", "write it as text")
        for name in self._columns:
            kind = schema.field(name).type
            right, what = (_is_vector, "lists of numbers") if name in VECTORS else (_is_number, "numbers")
            right, what = (_is_text, "text") if name == "unit" else (right, what)
            if not (right(kind) or pa.types.is_null(kind)):
                raise InputError(self.path, f"its column {name!r} is {kind}, not {what}")

    def _read_metadata(self, metadata: dict[bytes, bytes]) -> None:
        texts = {
            key.decode(errors="replace"): text.decode(errors="replace") for key, text in metadata.items()
        }
        self._unit, self._air = texts.get("unit"), is_air(self.path, texts.get("medium"))
        self._shared = {}
        for name in (n for n in WAVELENGTHS if n in texts):
            try:
                self._shared[name] = np.array(json.loads(texts[name]), float)
            except (ValueError, TypeError, OverflowError, RecursionError) as error:
                raise InputError(
                    self.path, f"{name} in its metadata is not a JSON list of numbers"
                ) from error

    def _values_per_row(self, group: int) -> float:
        metadata = self._file.metadata.row_group(group)
        columns = [metadata.column(j) for j in range(metadata.num_columns)]
        return max(c.num_values for c in columns) / max(metadata.num_rows, 1)

    def parts(self, wanted: set[str]) -> Iterator[tuple[str, Part | InputError]]:
        """Yield ids and parts of the objects `wanted`, in the order of the file; errors replace bad parts."""
        start = 0
        for group in range(self._file.num_row_groups):
            stop = start + self._file.metadata.row_group(group).num_rows
            if not wanted.isdisjoint(self.row_ids[start:stop]):
                yield from self._parts_of_group(group, start, stop, wanted)
            start = stop

    def _parts_of_group(self, group: int, row: int, stop: int, wanted: set[str]):
        size = min(max(int(BATCH_VALUES // max(self._values_per_row(group), 1)), 1), 1024)
        batches = self._file.iter_batches(size, [group], self._columns, use_threads=False)
        try:
            while row < stop:
                with reading(self.path, "Parquet"):
                    batch = next(batches)
                for i in range(min(batch.num_rows, stop - row)):
                    if self.row_ids[row] in wanted:
                        yield self.row_ids[row], self._part(batch, i, row)
                    row += 1
        except InputError as error:  # the rest of a damaged row group cannot be read
            yield from ((i, error) for i in self.row_ids[row:stop] if i in wanted)

    def _part(self, batch: pa.RecordBatch, i: int, row: int) -> Part | InputError:
        cells = {name: batch.column(name)[i] for name in batch.schema.names}
        cells = {name: cell for name, cell in cells.items() if cell.is_valid}
        # Copy values, because a view of one row would keep the whole batch in memory.
        vectors = {n: cells[n].values.to_numpy(zero_copy_only=False).copy() for n in VECTORS if n in cells}
        values = {name: cells[name].as_py() for name in PER_ROW if name in cells}
        wave = _angstrom({n: vectors[n] for n in WAVELENGTHS if n in vectors} or self._shared)
        flux = vectors.get("flux", np.empty(0))
        if len(vectors.get("candidates", ())):
            flux, pixels = vectors["candidates"], self._pixels if wave is None else len(wave)
            if not pixels or len(flux) % pixels:
                what = f"{len(flux)} values of candidates are not a multiple of {pixels} pixels"
                return InputError(f"row {row}", what)
            flux = flux.reshape(-1, pixels)
        if not flux.size:
            return InputError(f"row {row}", "this row has no flux")
        scores = vectors.get("scores", np.array([values["score"]]) if "score" in values else None)
        fields = {name: float(values[name]) for name in ("z", "ra", "dec") if name in values}
        return Part(flux, wave, self._air, values.get("unit") or self._unit, scores, fields)


class NpzRows:
    """Arrays ``object_id`` (N,) and ``flux`` (N, M) or (N, n, M) of an npz file.

    Spectra are read one object at a time. The other arrays, of at most 1 GiB each, are read at once. Sizes
    are checked against the file before memory is allocated.

    Parameters
    ----------
    path : Path
        The file.

    Attributes
    ----------
    row_ids, refused, row_bytes
        As for `ParquetRows`.
    """

    has_candidates = True
    SMALL = ("wavelength", "loglam", "scores", "z", "ra", "dec", "unit", "medium")

    def __init__(self, path: Path):
        self.path, self.provenance = path, {"format": "npz"}
        with self._archive() as archive:
            names = [n.removesuffix(".npy") for n in archive.namelist()]
            if "object_id" not in names:
                raise _missing_id(path, names)
            small = [n for n in ("object_id", *self.SMALL) if n in names]
            for name in small:
                with self._member(archive, name) as (_, shape, dtype):
                    if math.prod(shape) * dtype.itemsize > MAX_BYTES:
                        raise InputError(path, f"its array {name!r} is larger than 1 GiB")
            if "flux" not in names:
                raise InputError(path, f"there is no array 'flux'; it has {', '.join(names)}")
            with self._member(archive, "flux") as (_, shape, dtype):
                self._shape, self._dtype = shape, dtype
        arrays = load_arrays(path, tuple(small))
        ids = arrays.pop("object_id")
        self.row_bytes = math.prod(self._shape[1:]) * self._dtype.itemsize
        self._check(ids, arrays)
        ids = np.char.decode(ids, errors="backslashreplace") if ids.dtype.kind == "S" else ids
        self.row_ids, self.refused = _named(ids.tolist())
        self._unit, medium = (str(arrays.pop(n, "")) for n in ("unit", "medium"))
        self._air = is_air(path, medium)
        self._wave = _angstrom({n: arrays.pop(n) for n in WAVELENGTHS if n in arrays})
        self._arrays = arrays

    def _check(self, ids: np.ndarray, arrays: dict) -> None:
        if ids.ndim != 1 or ids.dtype.kind not in "USiu" or not len(ids):
            what = f"its object_id is {ids.dtype} {ids.shape}, not one text per object"
            raise InputError(self.path, what)
        shape = self._shape
        if len(shape) not in (2, 3) or shape[0] != len(ids) or self._dtype.kind not in "iuf":
            raise InputError(
                self.path,
                f"its flux is {self._dtype} {shape} for {len(ids)} objects",
                "write numbers of the shape (objects, pixels) or (objects, candidates, pixels)",
            )
        if not 0 < self.row_bytes <= MAX_BYTES:
            raise InputError(self.path, f"{self.row_bytes} bytes of flux per object: these are no spectra")
        for name, array in arrays.items():
            kinds = "US" if name in ("unit", "medium") else "iuf"
            expected = {"unit": 0, "medium": 0, "wavelength": 1, "loglam": 1}.get(name)
            if array.dtype.kind not in kinds or expected not in (None, array.ndim):
                raise InputError(self.path, f"its array {name!r} is {array.dtype} {array.shape}")
            n = shape[1:-1] if name == "scores" and array.ndim > 1 else ()
            if expected is None and array.shape != (len(ids), *n):
                raise InputError(self.path, f"its array {name!r} is {array.shape}, not {(len(ids), *n)}")

    @contextmanager
    def _archive(self) -> Iterator[zipfile.ZipFile]:
        with reading(self.path, "an npz file"):
            archive = zipfile.ZipFile(self.path)
        with archive:
            yield archive

    @contextmanager
    def _member(self, archive: zipfile.ZipFile, name: str) -> Iterator[tuple]:
        """Open an array: stream of its values, shape and dtype. Its size in the file is verified."""
        with reading(self.path, "an npz file"):
            member = archive.getinfo(f"{name}.npy")
            stream = archive.open(member)
        with stream:
            with reading(self.path, f"an array {name!r}"):
                shape, fortran, dtype = npy_header(stream)
                there = member.file_size - stream.tell()
            if dtype.hasobject:
                raise InputError(
                    self.path, f"its array {name!r} holds Python objects", "save numbers or text"
                )
            if min(shape, default=0) < 0 or math.prod(shape) * dtype.itemsize != there:
                raise InputError(
                    self.path, f"the size of its array {name!r} {shape} is not the {there} bytes in the file"
                )
            if fortran and name == "flux" and len(shape) > 1:
                raise InputError(self.path, "its flux is in Fortran order", "save np.ascontiguousarray(flux)")
            yield stream, shape, dtype

    def parts(self, wanted: set[str]) -> Iterator[tuple[str, Part | InputError]]:
        """Yield ids and parts of the objects `wanted`, in the order of the file; errors replace bad parts."""
        row = 0
        try:
            with self._archive() as archive, self._member(archive, "flux") as (stream, _, _):
                for row, object_id in enumerate(self.row_ids):
                    with reading(self.path, "an npz file"):
                        values = np.frombuffer(stream.read(self.row_bytes), self._dtype)
                        flux = values.reshape(self._shape[1:])
                    if object_id in wanted:
                        yield object_id, self._part(flux, row)
        except InputError as error:  # the rest of a damaged file cannot be read
            yield from ((i, error) for i in self.row_ids[row:] if i in wanted)

    def _part(self, flux: np.ndarray, row: int) -> Part:
        fields = {n: float(self._arrays[n][row]) for n in ("z", "ra", "dec") if n in self._arrays}
        scores = np.atleast_1d(self._arrays["scores"][row]) if "scores" in self._arrays else None
        return Part(flux, self._wave, self._air, self._unit, scores, fields)
