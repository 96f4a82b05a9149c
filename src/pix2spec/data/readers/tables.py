"""Errors that are assumed for fluxes whose catalogue gives none, and names of columns with ids."""

import numpy as np

from pix2spec.core.photometry import NANOMAGGY_MAGNITUDE
from pix2spec.data.readers.column_roles import OTHER_ROLES

__all__ = ["ERROR_FLOOR", "ERROR_FRACTION", "OBJECT_IDS", "assumed_ivar", "flux_of_magnitudes"]

ERROR_FRACTION = 0.05  # of the flux
ERROR_FLOOR = 0.05  # nanomaggies
OBJECT_IDS = ("object_id", *OTHER_ROLES["id"])


def assumed_ivar(
    flux: np.ndarray, measured_ivar: np.ndarray | None = None, fraction: float = ERROR_FRACTION
) -> np.ndarray:
    """Inverse variance of fluxes for which the catalogue gives no error, or only the photon noise.

    The assumed error is 5 % of the flux, 0.05 nanomaggies and the measured error (if there is one), added in
    quadrature. SDSS imaging and spectra agree to about 5 %.

    Parameters
    ----------
    flux : array (...)
        Fluxes in nanomaggies.
    measured_ivar : array (...), optional
        Measured inverse variances in 1/nanomaggies^2; 0 where unknown.
    fraction : float
        Assumed error in place of the 5 % of the flux.

    Returns
    -------
    array (...), float32
        Inverse variances in 1/nanomaggies^2; 0 where a flux is not positive and finite.
    """
    flux = np.asarray(flux, float)
    good = np.isfinite(flux) & (flux > 0) & (flux < 1e9)
    variance = (fraction * np.where(good, flux, 0)) ** 2 + ERROR_FLOOR**2
    if measured_ivar is not None:
        known = np.isfinite(measured_ivar) & (measured_ivar > 1e-12)
        variance = variance + np.where(known, 1 / np.where(known, measured_ivar, 1), 0)
    return np.where(good, 1 / variance, 0).astype(np.float32)


def flux_of_magnitudes(values: np.ndarray, errors: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Fluxes (...) in nanomaggies of AB magnitudes, NaN where missing, and their inverse variances, float32.

    Without `errors` in magnitudes, `assumed_ivar` gives the inverse variances.
    """
    flux = 10 ** (0.4 * (NANOMAGGY_MAGNITUDE - np.asarray(values, float)))
    if errors is None:
        return flux.astype(np.float32), assumed_ivar(flux)
    sigma = 0.4 * np.log(10) * flux * errors
    ivar = np.where(sigma > 0, 1 / np.where(sigma > 0, sigma, 1) ** 2, 0)
    return flux.astype(np.float32), ivar.astype(np.float32)
