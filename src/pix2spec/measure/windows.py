"""Rest-frame windows of spectra at different redshifts, cut out side by side.

Spectra are (..., L) on a `SpectralGrid`, redshifts (...,), broadcast against each other; an ensemble
(N, n, L) goes with redshifts (N, 1). Pixels with ivar = 0 or a flux that is not finite never enter.
"""

import numpy as np

from pix2spec.core.grid import SpectralGrid

__all__ = ["cutouts", "empty_result"]

CHUNK_SPECTRA = 2048  # cut out at a time


def cutouts(flux, z, grid: SpectralGrid, low: float, high: float, ivar, kind=float):
    """Cut the rest-frame window `low` to `high` out of spectra, a chunk of them at a time.

    Yields
    ------
    where : slice
        The chunk, along the flattened leading axes.
    flux, weight : array (n, P) of type `kind`
        Flux, and ivar (1 if there is none); both 0 for pixels that are missing or outside of the grid.
    shift : array (n,)
        Column of the wavelength `low`, within half a pixel of 0.
    z : array (n,)
    """
    shape = np.broadcast_shapes(np.shape(flux)[:-1], np.shape(z))
    flux = np.broadcast_to(flux, (*shape, grid.size))
    ivar = None if ivar is None else np.broadcast_to(ivar, flux.shape)
    z = np.broadcast_to(np.asarray(z, float), shape).ravel()
    z = np.where(np.isfinite(z) & (z > -1), z, 1e6)  # unknown: outside the grid
    size = round(np.log10(high / low) / grid.step)
    for start in range(0, len(z), CHUNK_SPECTRA):
        where = slice(start, min(start + CHUNK_SPECTRA, len(z)))
        position = grid.pixel(low * (1 + z[where]))
        first = np.rint(position).astype(int)
        values, inside = _rows(_chunk(flux, where), first, size, kind)
        good = np.isfinite(values) if inside is None else inside & np.isfinite(values)
        if ivar is None:
            weight = good.astype(kind)
        else:
            weight = _rows(_chunk(ivar, where), first, size, kind)[0]
            good &= weight > 0
            weight[~good] = 0
        if not good.all():
            values[~good] = 0
        yield where, values, weight, position - first, z[where]


def _chunk(values: np.ndarray, where: slice) -> np.ndarray:
    """Some spectra (n, L) of values (..., L), by their number."""
    if values.flags.c_contiguous:
        return values.reshape(-1, values.shape[-1])[where]
    shape = values.shape[:-1]
    return values[np.unravel_index(np.arange(where.start, where.stop), shape)] if shape else values[None]


def _rows(values: np.ndarray, first: np.ndarray, size: int, kind) -> tuple[np.ndarray, np.ndarray | None]:
    """Pixels (n, `size`) of spectra (n, L) from `first` (n,) on; and which of them exist, None for all."""
    length = values.shape[1]
    within = (first >= 0) & (first + size <= length)
    if within.all():
        windows = np.lib.stride_tricks.sliding_window_view(values, size, 1)
        return windows[np.arange(len(values)), first].astype(kind, copy=False), None
    found, inside = np.empty((len(values), size), kind), np.ones((len(values), size), bool)
    if within.any():
        rows = np.flatnonzero(within)
        found[rows] = np.lib.stride_tricks.sliding_window_view(values, size, 1)[rows, first[rows]]
    rows = np.flatnonzero(~within)
    pixel = first[rows, None] + np.arange(size)
    inside[rows] = (pixel >= 0) & (pixel < length)
    found[rows] = values[rows[:, None], np.clip(pixel, 0, length - 1)]
    return found, inside


def empty_result(flux, z, columns: int) -> np.ndarray:
    """Array (columns, ...) of NaN, for results of spectra `flux` at redshifts `z`."""
    return np.full((columns, *np.broadcast_shapes(np.shape(flux)[:-1], np.shape(z))), np.nan)
