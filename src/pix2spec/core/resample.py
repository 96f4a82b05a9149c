"""Spectra of any wavelengths on a grid: native pixels where they coincide, else flux is conserved."""

from functools import lru_cache

import numpy as np

from pix2spec.core.grid import SpectralGrid

__all__ = ["resample", "resample_mask", "resample_with_ivar"]

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
        return _cut(flux, first, grid, np.nan)
    overlap = _overlap(np.ascontiguousarray(wave, float).tobytes(), grid)  # (L, M) in Angstrom
    known = np.isfinite(flux)
    covered = (overlap @ known.T.astype(float)).T
    total = (overlap @ np.where(known, flux, 0).T.astype(float)).T
    enough = covered >= MIN_OVERLAP * np.diff(_edges(grid))
    return np.where(enough, total / np.where(enough, covered, 1), np.nan)


def resample_with_ivar(
    flux: np.ndarray, ivar: np.ndarray, wave: np.ndarray, grid: SpectralGrid
) -> tuple[np.ndarray, np.ndarray]:
    """Bring flux densities and their inverse variances to `grid`.

    As `resample`, but only pixels of positive ivar count. The mean of pixels with weights w (their overlap
    with the new pixel) has the variance sum(w^2 / ivar) / sum(w)^2. New pixels that share an old one are
    correlated, which ivar cannot say: that covariance is ignored, so that sums over many new pixels seem
    more precise than they are (by 1.4 in the standard deviation when pixels of equal width are shifted by
    half a pixel, by less when the new pixels are wider).

    Parameters
    ----------
    flux, ivar : array (n, M), float
        Spectra; ivar that is not positive and finite, or flux that is not finite, means missing.
    wave : array (M,), float64
        Increasing vacuum wavelengths of the pixel centres in Angstrom, at least two.
    grid : SpectralGrid
        The L pixels to fill.

    Returns
    -------
    flux, ivar : array (n, L)
        Finite everywhere. ivar is 0 where less than half of a pixel is known; flux is there what pixels
        of no weight say, else 0. To the bit, and in the input's dtype, where pixels coincide.
    """
    known = np.isfinite(flux) & np.isfinite(ivar) & (ivar > 0)
    first = _offset(wave, grid)
    if first is not None:
        return (
            _cut(np.where(np.isfinite(flux), flux, flux.dtype.type(0)), first, grid, 0),
            _cut(np.where(known, ivar, ivar.dtype.type(0)), first, grid, 0),
        )
    overlap = _overlap(np.ascontiguousarray(wave, float).tobytes(), grid)
    covered = (overlap @ known.T.astype(float)).T
    total = (overlap @ np.where(known, flux, 0).T.astype(float)).T
    variance = (overlap**2 @ (known / np.where(known, ivar, 1).astype(float)).T).T
    enough = covered >= MIN_OVERLAP * np.diff(_edges(grid))
    mean = total / np.where(enough, covered, 1)
    new_flux = np.where(enough, mean, np.nan_to_num(resample(flux, wave, grid)))
    return new_flux, np.where(enough, covered**2 / np.where(enough, variance, 1), 0)


def resample_mask(mask: np.ndarray, wave: np.ndarray, grid: SpectralGrid) -> np.ndarray:
    """Bits (n, L), int32, of all pixels of `mask` (n, M) that touch each pixel of `grid`."""
    first = _offset(wave, grid)
    if first is not None:
        return _cut(mask.astype(np.int32), first, grid, 0)
    overlap = _overlap(np.ascontiguousarray(wave, float).tobytes(), grid)
    touched = np.flatnonzero(np.diff(overlap.indptr))
    out = np.zeros((len(mask), grid.size), np.int32)
    bits = mask.astype(np.int32)[:, overlap.indices]
    out[:, touched] = np.bitwise_or.reduceat(bits, overlap.indptr[touched], axis=1)
    return out


def _cut(values: np.ndarray, first: int, grid: SpectralGrid, missing) -> np.ndarray:
    """Columns of `values` (n, M), the first of which is pixel `first` of the grid."""
    out = np.full((len(values), grid.size), missing, values.dtype)
    low, high = max(first, 0), min(first + values.shape[1], grid.size)
    if low < high:
        out[:, low:high] = values[:, low - first : high - first]
    return out


def _offset(wave: np.ndarray, grid: SpectralGrid) -> int | None:
    """Pixel of the grid on which the first wavelength falls, if all of them fall on neighbouring ones."""
    pixel = grid.pixel(wave)
    first = round(pixel[0])
    return first if np.abs(pixel - first - np.arange(len(wave))).max() < SAME_PIXEL else None


def _edges(grid: SpectralGrid) -> np.ndarray:
    return 10 ** (grid.start + grid.step * (np.arange(grid.size + 1) - 0.5))


@lru_cache(maxsize=4)  # most files have one set of wavelengths
def _overlap(stored: bytes, grid: SpectralGrid):
    """Overlap in Angstrom of each pixel of the grid with each pixel of a spectrum."""
    from scipy import sparse

    wave, new = np.frombuffer(stored), _edges(grid)
    middle = (wave[1:] + wave[:-1]) / 2
    old = np.concatenate([[2 * wave[0] - middle[0]], middle, [2 * wave[-1] - middle[-1]]])
    cuts = np.union1d(old, new)
    cuts = cuts[(cuts >= max(old[0], new[0])) & (cuts <= min(old[-1], new[-1]))]
    centre = (cuts[1:] + cuts[:-1]) / 2
    rows, columns = np.searchsorted(new, centre) - 1, np.searchsorted(old, centre) - 1
    return sparse.csr_array((np.diff(cuts), (rows, columns)), shape=(grid.size, len(wave)))
