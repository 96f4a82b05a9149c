"""The wavelength grid of all spectra of a dataset or model."""

import math
import operator
from dataclasses import asdict, dataclass

import numpy as np

from pix2spec.errors import InputError

__all__ = ["SpectralGrid"]

MAX_PIXELS = 1_000_000  # No spectrum is longer, and arrays of longer ones would fill the memory.


@dataclass(frozen=True)
class SpectralGrid:
    """Pixels with equal steps in log10 of the wavelength, in vacuum and in the observed frame.

    The default is the grid of Doorenbos et al. (2022, arXiv:2211.05556): 3,598 pixels from
    log10(lambda / Angstrom) = 3.59 to 3.95.

    Parameters
    ----------
    start : float
        log10 of the first pixel's centre in Angstrom.
    step : float
        Pixel width in dex.
    size : int
        Number of pixels, from 2 to a million.

    Raises
    ------
    InputError
        If these numbers do not make a grid.

    Examples
    --------
    >>> grid = pix2spec.SpectralGrid()
    >>> grid.wave[[0, -1]].round(1)
    array([3890.5, 8906.4])
    >>> float(grid.pixel(6564.61 * 1.05).round(2))  # where Halpha is at redshift 0.05
    2483.98
    """

    start: float = 3.59
    step: float = 1e-4
    size: int = 3598

    def __post_init__(self):
        try:
            valid = 1 < operator.index(self.size) <= MAX_PIXELS
        except TypeError:
            valid = False
        if not valid:
            what = f"size is {str(self.size)[:40]}"
            raise InputError("grid", what, f"it must be a number from 2 to {MAX_PIXELS}")
        ends = (self.start, self.step, self.start + self.step * self.size) if _are_numbers(self) else ()
        if not ends or not all(map(math.isfinite, ends)) or self.step <= 0 or max(map(abs, ends)) > 30:
            what = f"start is {str(self.start)[:40]}, step is {str(self.step)[:40]}"
            hint = "they must be log10 of a wavelength in Angstrom and a width in dex"
            raise InputError("grid", what, hint)

    @property
    def loglam(self) -> np.ndarray:
        """log10 of the vacuum wavelength in Angstrom, float64 of shape (size,)."""
        return self.start + self.step * np.arange(self.size)

    @property
    def wave(self) -> np.ndarray:
        """Vacuum wavelength in Angstrom, float64 of shape (size,)."""
        return 10**self.loglam

    def pixel(self, wave) -> np.ndarray:
        """Fractional pixel index of vacuum wavelengths `wave` (...) in Angstrom."""
        return (np.log10(wave) - self.start) / self.step

    def as_dict(self) -> dict:
        """Dictionary for JSON headers. ``SpectralGrid(**grid.as_dict())`` restores the grid."""
        return asdict(self)

    def place(self, loglam: np.ndarray, *columns: np.ndarray, where="spectrum") -> list[np.ndarray]:
        """Cut a longer spectrum to this grid without interpolation.

        Parameters
        ----------
        loglam : array (M,)
            log10 of the vacuum wavelengths of the spectrum. Its pixels must coincide with the grid's, as
            those of SDSS spectra do with the default grid's.
        *columns : array (M,)
            Flux, ivar, mask and so on in these pixels.
        where : str
            Name of the spectrum for error messages.

        Returns
        -------
        list of array (size,)
            Each column cut to the grid.

        Raises
        ------
        InputError
            If the pixels do not coincide with the grid's, or do not cover it. The paper also discards spectra
            that begin after 3.59 or end before 3.95 (its section 2).
        """
        loglam = np.asarray(loglam, float)
        if loglam.ndim != 1 or len(loglam) < 2 or not np.isfinite(loglam).all():
            raise InputError(where, "its wavelengths are missing or not finite")
        if any(len(column) != len(loglam) for column in columns):
            raise InputError(where, "its columns differ in length from its wavelengths")
        offset = (self.start - loglam[0]) / self.step
        first = round(offset)
        lattice = loglam[0] + self.step * np.arange(len(loglam))
        if abs(offset - first) > 0.02 or np.abs(loglam - lattice).max() > 0.02 * self.step:
            raise InputError(
                where,
                f"its pixels do not fall on the grid (log10 lambda = {self.start} + {self.step} n)",
                "resample the spectrum to this grid first",
            )
        if first < 0 or first + self.size > len(loglam):
            raise InputError(
                where,
                f"it covers log10 lambda {loglam[0]:.4f} to {loglam[-1]:.4f}, "
                f"the grid needs {self.start:.4f} to {self.loglam[-1]:.4f}",
                "the wavelength range is too short; such spectra are left out, as in the paper",
            )
        return [np.asarray(column)[first : first + self.size] for column in columns]


def _are_numbers(grid: SpectralGrid) -> bool:
    return all(isinstance(value, int | float | np.number) for value in (grid.start, grid.step))
