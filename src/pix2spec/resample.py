"""Spectra of any wavelengths on a grid: native pixels where they coincide, else flux is conserved."""

from functools import lru_cache

import numpy as np
from scipy import sparse

from pix2spec.grid import SpectralGrid

__all__ = ["resample"]

SAME_PIXEL = 0.02  # pixels; the tolerance of SpectralGrid.place
MIN_OVERLAP = 0.5  # a pixel of which less is known is missing


def resample(flux: np.ndarray, wave: np.ndarray, grid: SpectralGrid) -> np.ndarray:
    """Bring flux densities per wavelength to `grid`.

    Pixels that fall on the grid's own are cut out, to the bit. Others are averaged, weighted by their
    overlap with each pixel of the grid, so that integrated flux is conserved (Carnall 2017,
    arXiv:1705.05165). `specutils.manipulation.FluxConservingResampler` gives the same numbers, but loops
    over pixels in Python, takes one spectrum at a time, and makes NaN of every pixel that a NaN touches.

    Parameters
    ----------
    flux : array (n, M), float
        Spectra; values that are not finite are missing.
    wave : array (M,), float64
        Increasing vacuum wavelengths of the pixel centres in Angstrom, at least two.
    grid : SpectralGrid
        The L pixels to fill.

    Returns
    -------
    array (n, L)
        In the dtype of `flux` where pixels coincide, else float64; NaN where less than half of a pixel is
        covered.
    """
    first = _offset(wave, grid)
    if first is not None:
        out = np.full((len(flux), grid.size), np.nan, flux.dtype)
        low, high = max(first, 0), min(first + len(wave), grid.size)
        if low < high:
            out[:, low:high] = flux[:, low - first : high - first]
        return out
    overlap = _overlap(np.ascontiguousarray(wave, float).tobytes(), grid)  # (L, M) in Angstrom
    known = np.isfinite(flux)
    covered = (overlap @ known.T.astype(float)).T
    total = (overlap @ np.where(known, flux, 0).T.astype(float)).T
    enough = covered >= MIN_OVERLAP * np.diff(_edges(grid))
    return np.where(enough, total / np.where(enough, covered, 1), np.nan)


def _offset(wave: np.ndarray, grid: SpectralGrid) -> int | None:
    """Pixel of the grid on which the first wavelength falls, if all of them fall on neighbouring ones."""
    pixel = grid.pixel(wave)
    first = round(pixel[0])
    return first if np.abs(pixel - first - np.arange(len(wave))).max() < SAME_PIXEL else None


def _edges(grid: SpectralGrid) -> np.ndarray:
    return 10 ** (grid.start + grid.step * (np.arange(grid.size + 1) - 0.5))


@lru_cache(maxsize=4)  # most files have one set of wavelengths
def _overlap(wave: bytes, grid: SpectralGrid) -> sparse.csr_array:
    """Overlap in Angstrom of each pixel of the grid with each pixel of a spectrum."""
    wave, new = np.frombuffer(wave), _edges(grid)
    middle = (wave[1:] + wave[:-1]) / 2
    old = np.concatenate([[2 * wave[0] - middle[0]], middle, [2 * wave[-1] - middle[-1]]])
    cuts = np.union1d(old, new)
    cuts = cuts[(cuts >= max(old[0], new[0])) & (cuts <= min(old[-1], new[-1]))]
    centre = (cuts[1:] + cuts[:-1]) / 2
    rows, columns = np.searchsorted(new, centre) - 1, np.searchsorted(old, centre) - 1
    return sparse.csr_array((np.diff(cuts), (rows, columns)), shape=(grid.size, len(wave)))
