"""The wavelength grid that every spectrum of a dataset or model lives on."""

from dataclasses import asdict, dataclass

import numpy as np

from pix2spec.errors import InputError

__all__ = ["SpectralGrid"]


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
        Number of pixels.
    """

    start: float = 3.59
    step: float = 1e-4
    size: int = 3598

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
