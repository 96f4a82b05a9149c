"""Measures spectra in worker processes."""

from collections import deque
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import ExitStack
from functools import cache

import numpy as np

from pix2spec.core.grid import SpectralGrid
from pix2spec.core.survey import Survey
from pix2spec.data.native import NativeSpectrum
from pix2spec.runtime.workers import worker_pool

__all__ = ["Measuring", "reason_unmeasurable"]


class Measuring:
    """Measures spectra in worker processes while the caller continues; results keep their order."""

    def __init__(self, grid: SpectralGrid, survey: Survey, wanted: bool, workers: int):
        self.grid, self.survey, self.wanted, self.workers = grid, survey, wanted, workers
        self.results: list[tuple[dict, dict]] = []
        self.waiting: list = []
        self.running: deque = deque()
        self.pool: ProcessPoolExecutor | None = None
        self._opened = ExitStack()

    def __enter__(self) -> "Measuring":
        if self.wanted and self.workers > 1:
            self.pool = self._opened.enter_context(worker_pool(self.workers))
        return self

    def __exit__(self, kind, error, trace) -> None:
        if kind is not None:
            self._opened.__exit__(kind, error, trace)  # the pool cancels waiting jobs
            return
        with self._opened:
            while self.running:
                self._collect()

    def add(
        self,
        flux: np.ndarray,
        candidates: np.ndarray,
        ivar: np.ndarray,
        native: NativeSpectrum | None = None,
    ) -> None:
        """Queue an object: its observed spectrum (L,), candidates (n, L) and ivar (L,).

        If the observed spectrum is there in pixels of its own too, all but its redshift is measured on these.
        """
        if self.wanted:
            self.waiting.append((flux[None].astype(np.float32), candidates, ivar, native))

    def send(self) -> None:
        """Start to measure the queued objects."""
        if not self.waiting:
            return
        work, self.waiting = self.waiting, []
        if self.pool is None:
            self.results += _measure_objects(work, self.grid, self.survey)
            return
        self.running.append(self.pool.submit(_measure_objects, work, self.grid, self.survey))
        while len(self.running) > self.workers + 1:  # memory stays flat
            self._collect()

    def _collect(self) -> None:
        future: Future = self.running.popleft()
        self.results += future.result()


@cache
def _fitter(grid: SpectralGrid):
    from pix2spec.measure.redshift import RedshiftFitter

    fitter = RedshiftFitter()
    return fitter if fitter.grid == grid else None


def reason_unmeasurable(grid: SpectralGrid) -> str:
    """Why spectra on a grid cannot be measured; empty if they can."""
    return "" if _fitter(grid) else "the templates of the redshift fit are on another wavelength grid"


def _measure_objects(work: list[tuple], grid: SpectralGrid, survey: Survey) -> list[tuple[dict, dict]]:
    """Quantities of the observed spectrum and of the candidates of each object."""
    from pix2spec.measure.quantities import measure

    spectra = np.concatenate([np.concatenate([flux, candidates]) for flux, candidates, *_ in work])
    counts = [1 + len(candidates) for _, candidates, *_ in work]
    ivar = np.repeat(np.stack([ivar for _, _, ivar, _ in work]), counts, axis=0)
    values = measure(spectra, ivar, grid, _fitter(grid), survey)
    columns = {**values.values, **{f"{name}_error": v for name, v in values.errors.items()}}
    columns |= {"bpt": values.bpt, "zwarning": values.zwarning}
    results, start = [], 0
    for count, (*_, native) in zip(counts, work):
        own = {name: column[start : start + count] for name, column in columns.items()}
        observed = {k: v[:1] for k, v in own.items()}
        if native is not None:
            observed |= _measure_native(native, observed["z"], survey)
        results.append((observed, {k: v[1:] for k, v in own.items()}))
        start += count
    return results


def _measure_native(native: NativeSpectrum, z: np.ndarray, survey: Survey) -> dict:
    """All quantities but the redshift of a spectrum in pixels of its own, at a redshift (1,)."""
    from pix2spec.measure.quantities import measure_at

    found = measure_at(native.flux[None], native.ivar[None], z, native.grid, survey)
    columns = {**found.values, **{f"{name}_error": v for name, v in found.errors.items()}, "bpt": found.bpt}
    return {name: column for name, column in columns.items() if name not in ("z", "z_error")}
