"""Quantities of all candidates of a catalogue, measured once and stored beside the catalogue."""

import hashlib
import json
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from itertools import chain, islice
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pix2spec.core.grid import SpectralGrid
from pix2spec.core.survey import Survey
from pix2spec.errors import InputError
from pix2spec.measure.candidates import estimated_ivar, nominal_ivar
from pix2spec.measure.parallel import _fitter, reason_unmeasurable
from pix2spec.measure.quantities import LINES, QUANTITIES, measure_at
from pix2spec.products.catalogue import Catalogue
from pix2spec.products.ensemble import Ensemble
from pix2spec.products.units import PHYSICAL
from pix2spec.runtime.atomic import write_atomically
from pix2spec.runtime.progress import progress_bar
from pix2spec.runtime.workers import worker_pool

__all__ = ["COLUMNS", "Quantities", "measure_catalogue", "names_of"]

VERSION = 2  # of the measurements: after a change of the version, everything is measured again
FILE_NAME = "quantities.parquet"
SPECTRA = 512  # spectra in a batch
ERRORS = tuple(f"flux_{line}_error" for line in LINES)
COLUMNS = (*QUANTITIES, *ERRORS, "bpt")
SCHEMA = pa.schema(
    [("object_id", pa.string()), ("position", pa.int64()), ("candidate", pa.int32())]
    + [(name, pa.int8() if name == "bpt" else pa.float32()) for name in COLUMNS]
)


def names_of(catalogue: Catalogue) -> tuple[list[str], list[str]]:
    """Names that an expression may use.

    Returns
    -------
    measured : list of str
        Quantities measured on candidates. Noise-free spectra have no errors of fluxes.
    numbers : list of str
        Other columns of numbers in the catalogue.
    """
    noise_free = catalogue.provenance.get("noise") == "none"
    measured = [name for name in COLUMNS if not (noise_free and name in ERRORS)]
    numbers = [f.name for f in catalogue.schema if pa.types.is_floating(f.type)]
    return measured, [name for name in numbers if name not in COLUMNS]


class Quantities:
    """The measured quantities of a catalogue. Each candidate has a row, and rows of an object are adjacent.

    Parameters
    ----------
    path : Path
        The file of quantities.
    catalogue : Catalogue
        The catalogue.

    Attributes
    ----------
    rows : int array (rows,)
        Position in the catalogue of each candidate's object.
    position : int array (objects,)
        Position in the catalogue of each object.
    starts, counts : int arrays (objects,)
        First row and number of candidates of each object in the file.
    failures : list of (str, str)
        Objects that could not be measured, and the reasons.
    """

    def __init__(self, path: Path, catalogue: Catalogue):
        self.path, self.catalogue = path, catalogue
        metadata = _metadata(path)
        self.failures = [tuple(galaxy) for galaxy in metadata["failures"]]
        self.rows = pq.read_table(path, columns=["position"])["position"].to_numpy()
        self.starts = np.flatnonzero(np.diff(self.rows, prepend=-1))
        self.counts = np.diff(self.starts, append=len(self.rows))
        self.position = self.rows[self.starts]

    def __len__(self) -> int:
        return len(self.position)

    @cached_property
    def ids(self) -> list[str]:
        """Ids of the objects."""
        known = self.catalogue.ids
        return [known[i] for i in self.position]

    def columns(self, names: Iterable[str]) -> dict[str, np.ndarray]:
        """Values by name, (rows,) each. A number of the catalogue is repeated for all candidates."""
        names = list(names)
        own = [name for name in names if name in COLUMNS]
        table = pq.read_table(self.path, columns=own)
        values = {name: table[name].to_numpy() for name in own}
        values |= {name: np.repeat(self.of_objects(name), self.counts) for name in set(names) - set(own)}
        return values

    def of_objects(self, name: str) -> np.ndarray:
        """A column (objects,) of numbers in the catalogue."""
        return self.catalogue.read([name])[name].to_numpy()[self.position]

    def total(self, values: np.ndarray) -> np.ndarray:
        """Sums (objects,) of values (rows,) over the candidates of each object."""
        return np.add.reduceat(np.asarray(values, float), self.starts)

    def split(self, values: np.ndarray) -> list[np.ndarray]:
        """Split values (rows,) by object."""
        return np.split(values, self.starts[1:])


def measure_catalogue(catalogue: Catalogue, workers: int | None = None, progress: bool = True) -> Quantities:
    """Measure all candidates of a catalogue, or open earlier measurements.

    If the catalogue has redshifts of its candidates, these are used. Otherwise redshifts are fitted, and the
    quantities of candidates with an uncertain fit (ZWARNING) are NaN. Line fluxes are NaN if the fluxes of
    the catalogue are relative. The measurements are in ``quantities.parquet`` beside the catalogue. If the
    content of the catalogue changes, it is measured again.

    Parameters
    ----------
    catalogue : Catalogue
        A catalogue with candidates.
    workers : int, optional
        Number of processes, by default one per core.
    progress : bool
        Show a progress bar.

    Raises
    ------
    InputError
        If the catalogue has no candidates, or if none can be measured.
    """
    if not catalogue.has_candidates:
        hint = "generate the catalogue again, and keep the candidates"
        raise InputError(catalogue.path, "the catalogue has no candidates, only chosen spectra", hint)
    path = catalogue.path.with_name(FILE_NAME)
    metadata = {"quantities_version": VERSION, "catalogue": _identity(catalogue)}
    metadata["noise_free"] = catalogue.provenance.get("noise") == "none"
    if not _holds(path, metadata):
        write_atomically(path, lambda temporary: _write(temporary, catalogue, metadata, workers, progress))
    found = Quantities(path, catalogue)
    if not len(found):
        reason = found.failures[0][1] if found.failures else "the catalogue has no generated object"
        raise InputError(catalogue.path, f"no object can be measured: {reason}")
    return found


def _identity(catalogue: Catalogue) -> str:
    """Hash of the sizes and ends of the files. The end of a file holds sizes and extremes of its columns."""
    digest = hashlib.blake2b(digest_size=16)
    path = catalogue.path
    for file in sorted(path.glob("*.parquet")) if path.is_dir() else [path]:
        size = file.stat().st_size
        with open(file, "rb") as stream:
            stream.seek(max(size - 2**18, 0))
            digest.update(stream.read() + str(size).encode())
    return digest.hexdigest()


def _metadata(path: Path) -> dict:
    """Metadata of a file of quantities, written after its rows."""
    return json.loads((pq.read_metadata(path).metadata or {}).get(b"pix2spec", b"{}"))


def _holds(path: Path, metadata: dict) -> bool:
    """Whether the file of quantities exists and was measured on this content of the catalogue."""
    try:
        found = _metadata(path)
    except (OSError, ValueError):  # no file, or a damaged one: Arrow's errors are ValueErrors
        return False
    return all(found.get(name) == value for name, value in metadata.items())


def _write(path: Path, catalogue: Catalogue, metadata: dict, workers: int | None, progress: bool) -> None:
    failures: list = []
    done = np.array(catalogue.read(["status"])["status"].to_pylist()) == "ok"
    objects = _usable(catalogue, np.flatnonzero(done), failures)
    total = int(done.sum())
    objects = progress_bar(objects, "measuring", progress, total)
    first = next(objects, None)
    n = 1 if first is None else len(first[2])
    objects, size = chain([] if first is None else [first], objects), max(SPECTRA // n, 1)
    batches = iter(lambda: tuple(islice(objects, size)), ())
    jobs = ((batch, catalogue.grid, catalogue.survey, metadata["noise_free"]) for batch in batches)
    workers = min(workers or os.cpu_count() or 1, -(-total * n // SPECTRA))
    with pq.ParquetWriter(path, SCHEMA, compression="zstd") as file:
        for table in _in_order(_measure, jobs, workers):
            file.write_table(table)
        file.add_key_value_metadata({"pix2spec": json.dumps(metadata | {"failures": failures})})


def _usable(catalogue: Catalogue, positions: np.ndarray, failures: list) -> Iterator[tuple]:
    """Yield position, id, candidates and redshifts of objects, and whether their fluxes are physical.

    Objects that cannot be measured are added to `failures`.
    """
    no_fit = reason_unmeasurable(catalogue.grid)
    for position, ensemble in zip(positions, catalogue):
        if reason := _reason_unmeasurable(ensemble, no_fit):
            failures.append((ensemble.object_id, reason))
            continue
        physical = ensemble.unit == PHYSICAL
        yield int(position), ensemble.object_id, ensemble.candidates, ensemble.redshifts, physical


def _reason_unmeasurable(ensemble: Ensemble, no_fit: str) -> str:
    if not ensemble.has_zero_point:
        return "its candidates have no zero point of flux, which equivalent widths and colours need"
    if not np.isfinite(ensemble.candidates).all():
        return "its candidates are not all finite"
    return no_fit if ensemble.redshifts is None else ""


def _in_order(function: Callable, jobs: Iterable[tuple], workers: int) -> Iterator:
    """Yield results of ``function(*job)`` in the order of the jobs, with only a few in memory."""
    if workers < 2:
        yield from (function(*job) for job in jobs)
        return
    with worker_pool(workers) as pool:
        running: deque = deque()
        for job in jobs:
            running.append(pool.submit(function, *job))
            if len(running) > workers + 1:
                yield running.popleft().result()
        while running:
            yield running.popleft().result()


def _measure(batch: tuple, grid: SpectralGrid, survey: Survey, noise_free: bool) -> pa.Table:
    """Quantities of the candidates of some objects, as rows of `SCHEMA`."""
    positions, ids, candidates, redshifts, physical = zip(*batch)
    counts = [len(c) for c in candidates]
    if noise_free:
        ivar = np.concatenate([nominal_ivar(c) for c in candidates])
    else:
        ivar = np.repeat([estimated_ivar(c) for c in candidates], counts, axis=0)
    flux = np.concatenate(candidates)
    unknown = np.repeat([z is None for z in redshifts], counts)
    z = np.concatenate([np.full(n, np.nan) if z is None else z for z, n in zip(redshifts, counts)])
    if unknown.any():
        fit = _fitter(grid).fit(flux[unknown], ivar[unknown])
        z[unknown] = np.where(fit.zwarning == 0, fit.z, np.nan)
    with np.errstate(divide="ignore", invalid="ignore"):  # spectra without flux give NaN
        found = measure_at(flux, None if noise_free else ivar, z, grid, survey)
    columns = dict(found.values) | {f"{name}_error": value for name, value in found.errors.items()}
    for name in columns:
        if name.startswith("flux_"):
            columns[name] = np.where(np.repeat(physical, counts), columns[name], np.nan)
    columns["bpt"] = found.bpt
    columns["object_id"] = np.repeat(np.array(ids, object), counts)
    columns["position"] = np.repeat(positions, counts)
    columns["candidate"] = np.concatenate([np.arange(n) for n in counts])
    return pa.Table.from_arrays([pa.array(columns[f.name], f.type) for f in SCHEMA], schema=SCHEMA)
