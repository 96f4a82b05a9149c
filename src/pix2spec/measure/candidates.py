"""Measures the candidates of an ensemble, whose noise is not known but can be estimated."""

import numpy as np

from pix2spec.errors import InputError
from pix2spec.measure.parallel import _fitter, reason_unmeasurable
from pix2spec.measure.quantities import Measurement, measure, measure_at
from pix2spec.products.ensemble import Ensemble

__all__ = ["estimated_ivar", "measure_ensemble", "nominal_ivar"]

NOMINAL = 100.0  # signal to noise per pixel to assume for noise-free spectra
SMOOTH = 75  # pixels over which the noise is assumed to be constant


def measure_ensemble(ensemble: Ensemble) -> Measurement:
    """Measure each candidate of an ensemble at its redshift.

    The redshift is the candidate's own, else the one that is known of the object, else one that is fitted.

    Parameters
    ----------
    ensemble : Ensemble
        The candidates.

    Returns
    -------
    Measurement
        Of arrays (n,).

    Raises
    ------
    InputError
        If the spectra have no zero point of flux, or a redshift is to be fitted and the grid is too short.

    Examples
    --------
    >>> ensemble = pix2spec.load().generate(pix2spec.Galaxy("m", photometry={"g": 33, "r": 41, "i": 50}), n=4)
    >>> pix2spec.measure_ensemble(ensemble).values["dn4000"].shape
    (4,)
    """
    if not ensemble.has_zero_point:
        what = "its candidates have no zero point of flux, which equivalent widths need"
        raise InputError(ensemble.object_id, what)
    noise_free = ensemble.provenance.get("noise") == "none"
    flux = ensemble.candidates
    ivar = nominal_ivar(flux) if noise_free else np.tile(estimated_ivar(flux), (len(flux), 1))
    if ensemble.redshifts is None and not np.isfinite(ensemble.z):
        if reason := reason_unmeasurable(ensemble.grid):
            raise InputError(ensemble.object_id, reason)
        return measure(flux, ivar, ensemble.grid, _fitter(ensemble.grid))
    z = np.full(len(flux), ensemble.z) if ensemble.redshifts is None else ensemble.redshifts
    with np.errstate(divide="ignore", invalid="ignore"):  # spectra without flux give NaN
        return measure_at(flux, ivar, z, ensemble.grid)


def estimated_ivar(candidates: np.ndarray) -> np.ndarray:
    """Estimate the inverse variance of the noise in the candidates of one object.

    The estimate uses second differences of pixels that are two apart (DER_SNR, Stoehr et al. 2008, ASPC
    394:505): resampling leaves such pixels uncorrelated, and a smooth spectrum has no second differences.
    Medians over candidates and over neighbouring pixels keep lines from counting as noise.

    Parameters
    ----------
    candidates : array (n, L)
        Candidates of one object.

    Returns
    -------
    array (L,)
        The inverse variance of each candidate.
    """
    from scipy.ndimage import median_filter

    flux = np.asarray(candidates, float)
    step = np.median(np.abs(2 * flux[:, 2:-2] - flux[:, :-4] - flux[:, 4:]), 0)
    sigma = median_filter(np.pad(step, 2, mode="reflect"), SMOOTH, mode="reflect") * 1.4826 / np.sqrt(6)
    return 1 / np.maximum(sigma, 1e-12) ** 2


def nominal_ivar(candidates: np.ndarray) -> np.ndarray:
    """Inverse variance (n, L) to assume for noise-free candidates (n, L): their median over `NOMINAL`."""
    level = np.abs(np.median(candidates, 1, keepdims=True))
    ivar = (NOMINAL / np.maximum(level, 1e-6)) ** 2
    return np.broadcast_to(ivar, np.shape(candidates)).astype(np.float32)
