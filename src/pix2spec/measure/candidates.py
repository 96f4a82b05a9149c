"""The noise of candidates, which is not known but can be estimated."""

import numpy as np

__all__ = ["estimated_ivar", "nominal_ivar"]

NOMINAL = 100.0  # signal to noise per pixel to assume for noise-free spectra
SMOOTH = 75  # pixels over which the noise is assumed to be constant


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
