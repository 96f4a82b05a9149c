"""The wavelength grid that every spectrum of a dataset or model lives on."""

import math
import operator
from dataclasses import asdict, dataclass

import numpy as np

from pix2spec.errors import InputError

__all__ = ["SpectralGrid"]

MAX_PIXELS = 1_000_000  # more is no spectrum, and arrays of it would fill the memory


@dataclass(frozen=True)
class SpectralGrid:
    """Pixels equally spaced in log10 of the vacuum, observed-frame wavelength.

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
        If these make no grid: they also come from the headers of files.

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
            sane = 1 < operator.index(self.size) <= MAX_PIXELS
        except TypeError:
            sane = False
        if not sane:
            raise InputError("grid", f"size is {str(self.size)[:40]}", f"a number from 2 to {MAX_PIXELS}")
        ends = (self.start, self.step, self.start + self.step * self.size) if _are_numbers(self) else ()
        if not ends or not all(map(math.isfinite, ends)) or self.step <= 0 or max(map(abs, ends)) > 30:
            what = f"start is {str(self.start)[:40]}, step is {str(self.step)[:40]}"
            raise InputError("grid", what, "they are log10 of a wavelength in Angstrom and a width in dex")

    @property
    def loglam(self) -> np.ndarray:
        """log10 of the vacuum wavelength in Angstrom, float64 of shape (size,)."""
        return self.start + self.step * np.arange(self.size)

    @property
    def wave(self) -> np.ndarray:
        """Vacuum wavelength in Angstrom, float64 of shape (size,)."""
        return 10**self.loglam

    def pixel(self, wave) -> np.ndarray:
        """Fractional pixel index of vacuum wavelengths `wave` in Angstrom."""
        return (np.log10(wave) - self.start) / self.step

    def as_dict(self) -> dict:
        """Plain dictionary for JSON headers; ``SpectralGrid(**grid.as_dict())`` brings it back."""
        return asdict(self)

    def place(self, loglam: np.ndarray, *columns: np.ndarray, where="spectrum") -> list[np.ndarray]:
        """Cut native pixels that fall on this grid out of a longer spectrum; nothing is interpolated.

        Parameters
        ----------
        loglam : array (M,)
            log10 vacuum wavelengths of the spectrum, on the same lattice as the grid (as SDSS's are).
        *columns : array (M,)
            Flux, ivar, mask ... on those pixels.
        where : str
            Name of the spectrum for error messages.

        Returns
        -------
        list of array (size,)
            Each column cut to the grid.

        Raises
        ------
        InputError
            If the pixels do not coincide with the grid's, or do not cover it: the paper's cut (its
            section 2 discards spectra that begin after 3.59 or end before 3.95).
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
                "resample it to that grid first",
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
