"""Rest-frame windows of spectra at different redshifts, cut out side by side.

Spectra are (..., L) on a `SpectralGrid`, redshifts (...,), broadcast against each other; an ensemble
(N, n, L) goes with redshifts (N, 1). Pixels with ivar = 0 or a flux that is not finite never enter.
"""

import numpy as np

from pix2spec.core.grid import SpectralGrid

__all__ = ["cutouts", "empty_result"]

CHUNK_SPECTRA = 2048  # cut out at a time


def cutouts(flux, z, grid: SpectralGrid, low: float, high: float, ivar):
    """Cut the rest-frame window `low` to `high` out of spectra, a chunk of them at a time.

    Yields
    ------
    where : slice
        The chunk, along the flattened leading axes.
    flux, weight : array (n, P)
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
    columns = np.arange(round(np.log10(high / low) / grid.step))
    for start in range(0, len(z), CHUNK_SPECTRA):
        where = slice(start, min(start + CHUNK_SPECTRA, len(z)))
        position = grid.pixel(low * (1 + z[where]))
        first = np.rint(position).astype(int)
        pixel = first[:, None] + columns
        inside = (pixel >= 0) & (pixel < grid.size)
        rows = np.unravel_index(np.arange(where.start, where.stop), shape) if shape else ()
        index = (*(row[:, None] for row in rows), np.clip(pixel, 0, grid.size - 1))
        values = flux[index].astype(float)
        weight = np.ones_like(values) if ivar is None else ivar[index].astype(float)
        good = inside & np.isfinite(values) & (weight > 0)
        yield where, np.where(good, values, 0), np.where(good, weight, 0), position - first, z[where]


def empty_result(flux, z, columns: int) -> np.ndarray:
    """Array (columns, ...) of NaN, for results of spectra `flux` at redshifts `z`."""
    return np.full((columns, *np.broadcast_shapes(np.shape(flux)[:-1], np.shape(z))), np.nan)
