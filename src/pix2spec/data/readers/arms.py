"""Spectra in one piece or in several arms of an instrument, brought to the grid."""

import numpy as np

from pix2spec.data.schema import Pair
from pix2spec.errors import InputError
from pix2spec.grid import SpectralGrid
from pix2spec.resample import resample_mask, resample_with_ivar

__all__ = ["set_spectrum"]


def set_spectrum(pair: Pair, where, grid: SpectralGrid, arms: list[tuple]) -> None:
    """Give `pair` its flux, ivar and mask on `grid`.

    Pixels that coincide with the grid's are cut out to the bit; others are resampled, flux conserved (see
    `pix2spec.resample`). Where arms overlap, their ivar-weighted mean is taken and their masks are united.

    Parameters
    ----------
    pair : Pair
        Changed in place.
    where : str
        Name of the spectrum for error messages.
    grid : SpectralGrid
        The L pixels to fill.
    arms : list of (wave, flux, ivar, mask)
        Arrays (M,): vacuum wavelengths in Angstrom, 1e-17 erg/s/cm2/Angstrom, its inverse variance (0
        means missing) and the survey's bits.

    Raises
    ------
    InputError
        If the wavelengths are unusable or do not cover the grid (the paper's section 2 leaves out spectra
        that do not), or no pixel is valid.
    """
    for wave, *columns in arms:
        if len(wave) < 2 or not np.isfinite(wave).all() or wave[0] <= 0 or not (np.diff(wave) > 0).all():
            raise InputError(where, "its wavelengths are missing, not finite or not increasing")
        if any(column.shape != wave.shape for column in columns):
            raise InputError(where, "its columns differ in length from its wavelengths")
    first, last = min(a[0][0] for a in arms), max(a[0][-1] for a in arms)
    if grid.pixel(first) > 0.5 or grid.pixel(last) < grid.size - 1.5:
        raise InputError(
            where,
            f"it covers {first:.1f} to {last:.1f} Angstrom, the grid needs {grid.wave[0]:.1f} to "
            f"{grid.wave[-1]:.1f}",
            "the wavelength range is too short; such spectra are left out, as in the paper",
        )
    with np.errstate(over="ignore", invalid="ignore"):
        parts = [resample_with_ivar(flux[None], ivar[None], wave, grid) for wave, flux, ivar, _ in arms]
        flux, ivar = (np.concatenate(column) for column in zip(*parts))
        total = ivar.sum(0)
        if len(arms) > 1:
            flux = (flux * ivar).sum(0) / np.where(total > 0, total, 1)
        flux, ivar = flux.reshape(-1).astype(np.float32), total.astype(np.float32)
    good = np.isfinite(flux) & np.isfinite(ivar) & (ivar > 0)
    if not good.any():
        raise InputError(where, "ivar: no valid pixel on the grid", "leave this spectrum out")
    masks = np.concatenate([resample_mask(mask[None], wave, grid) for wave, _, _, mask in arms])
    pair.flux = np.where(np.isfinite(flux), flux, np.float32(0))
    pair.ivar = np.where(good, ivar, np.float32(0))
    pair.mask = np.bitwise_or.reduce(masks)
