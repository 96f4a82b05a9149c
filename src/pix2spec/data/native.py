"""Spectra in the pixels of their own files, beside those on the grid of a dataset."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from pix2spec.core.grid import SpectralGrid
from pix2spec.errors import InputError

__all__ = ["NATIVE_COLUMNS", "NativeSpectrum"]

# Columns of datasets with such spectra: start, step and size of the grid, flux and inverse variance
NATIVE_COLUMNS = {
    "native_grid": pa.list_(pa.float64()),
    "native_flux": pa.list_(pa.float32()),
    "native_ivar": pa.list_(pa.float32()),
}


@dataclass(frozen=True, eq=False)
class NativeSpectrum:
    """A spectrum as its file samples it. Lines and indices are measured on it.

    Parameters
    ----------
    grid : SpectralGrid
        With M pixels. A file in linear steps is resampled to as many pixels in logarithmic steps.
    flux, ivar : array (M,), float32
        In 1e-17 erg/s/cm2/Angstrom, and the inverse variance, 0 where a pixel is missing.
    """

    grid: SpectralGrid
    flux: np.ndarray
    ivar: np.ndarray

    def as_row(self) -> dict:
        """Values of `NATIVE_COLUMNS`."""
        cells = ([self.grid.start, self.grid.step, self.grid.size], self.flux, self.ivar)
        return dict(zip(NATIVE_COLUMNS, cells))

    @classmethod
    def from_row(cls, cells: dict, object_id: str) -> "NativeSpectrum | None":
        """The spectrum in values of `NATIVE_COLUMNS`; None where they are null.

        Raises
        ------
        InputError
            If they do not fit together.
        """
        grid, flux, ivar = (cells[name] for name in NATIVE_COLUMNS)
        if grid is None or flux is None or ivar is None:
            return None
        if len(grid) != 3 or not len(flux) == len(ivar) == int(grid[2]):
            raise InputError(object_id, "its native spectrum and the grid of it differ in length")
        own = SpectralGrid(grid[0], grid[1], int(grid[2]))
        return cls(own, np.asarray(flux, np.float32), np.asarray(ivar, np.float32))
