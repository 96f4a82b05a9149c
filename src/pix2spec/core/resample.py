"""Resample spectra to a wavelength grid. Flux is conserved, and coinciding pixels are copied."""

from functools import lru_cache

import numpy as np

from pix2spec.core.grid import SpectralGrid

__all__ = ["resample", "resample_mask", "resample_with_ivar"]

SAME_PIXEL = 0.02  # pixels: the tolerance of SpectralGrid.place
MIN_OVERLAP = 0.5  # A pixel is missing if valid data cover a smaller fraction of it.


def resample(flux: np.ndarray, wave: np.ndarray, grid: SpectralGrid) -> np.ndarray:
    """Resample flux densities per wavelength to `grid`.

    Pixels that coincide with the grid's are copied without change. Otherwise each pixel of the grid is the
    average of the pixels that overlap it, with the overlaps as weights, so that the integrated flux is
    conserved (Carnall 2017, arXiv:1705.05165). `specutils.manipulation.FluxConservingResampler` gives the
    same numbers, but takes one spectrum at a time, loops over pixels in Python, and gives NaN for all pixels
    that overlap a NaN.

    Parameters
    ----------
    flux : array (n, M), float
        Spectra. Values that are not finite are missing.
    wave : array (M,), float64
        Increasing vacuum wavelengths of the pixel centres in Angstrom, at least two.
    grid : SpectralGrid
        The L pixels to fill.

    Returns
    -------
    array (n, L)
        NaN where valid data cover less than half of a pixel. The dtype is that of `flux` if pixels coincide,
        and float64 otherwise.
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
    """Resample flux densities and their inverse variances to `grid`.

    The method is that of `resample`, but only pixels with positive ivar are used. The mean of pixels with
    weights w (their overlaps with the new pixel) has the variance sum(w^2 / ivar) / sum(w)^2.

    New pixels that overlap the same old pixel are correlated. ivar does not describe this covariance, so sums
    over many new pixels seem more precise than they are. The standard deviation is too small by a factor of
    1.4 if pixels of equal width are shifted by half a pixel, and by less if the new pixels are wider.

    Parameters
    ----------
    flux, ivar : array (n, M), float
        Spectra and their inverse variances. A pixel is missing if ivar is not positive and finite, or flux is
        not finite.
    wave : array (M,), float64
        Increasing vacuum wavelengths of the pixel centres in Angstrom, at least two.
    grid : SpectralGrid
        The L pixels to fill.

    Returns
    -------
    flux, ivar : array (n, L)
        All values are finite. ivar is 0 where valid data cover less than half of a pixel. The flux there
        comes from missing pixels with a finite flux, or is 0. If pixels coincide, the values are unchanged
        and have the dtype of the input.
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
    """Resample a mask of bits to `grid`.

    Parameters
    ----------
    mask : array (n, M), int
        Masks of spectra.
    wave : array (M,), float64
        Increasing vacuum wavelengths of the pixel centres in Angstrom, at least two.
    grid : SpectralGrid
        The L pixels to fill.

    Returns
    -------
    array (n, L), int32
        The bits of all pixels that overlap each pixel of the grid.
    """
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
    """Place `values` (n, M) on the grid (n, L), from its pixel `first` on. Other pixels are `missing`."""
    out = np.full((len(values), grid.size), missing, values.dtype)
    low, high = max(first, 0), min(first + values.shape[1], grid.size)
    if low < high:
        out[:, low:high] = values[:, low - first : high - first]
    return out


def _offset(wave: np.ndarray, grid: SpectralGrid) -> int | None:
    """Pixel of the grid that coincides with the first wavelength. None if pixels do not coincide."""
    pixel = grid.pixel(wave)
    first = round(pixel[0])
    return first if np.abs(pixel - first - np.arange(len(wave))).max() < SAME_PIXEL else None


def _edges(grid: SpectralGrid) -> np.ndarray:
    return 10 ** (grid.start + grid.step * (np.arange(grid.size + 1) - 0.5))


@lru_cache(maxsize=4)  # Most files have one set of wavelengths.
def _overlap(stored: bytes, grid: SpectralGrid):
    """Overlap (L, M) in Angstrom of the grid's pixels with those of a spectrum, as a sparse array.

    `stored` is the array (M,) of wavelengths as bytes, so that results can be cached.
    """
    from scipy import sparse

    wave, new = np.frombuffer(stored), _edges(grid)
    middle = (wave[1:] + wave[:-1]) / 2
    old = np.concatenate([[2 * wave[0] - middle[0]], middle, [2 * wave[-1] - middle[-1]]])
    cuts = np.union1d(old, new)
    cuts = cuts[(cuts >= max(old[0], new[0])) & (cuts <= min(old[-1], new[-1]))]
    centre = (cuts[1:] + cuts[:-1]) / 2
    rows, columns = np.searchsorted(new, centre) - 1, np.searchsorted(old, centre) - 1
    return sparse.csr_array((np.diff(cuts), (rows, columns)), shape=(grid.size, len(wave)))
