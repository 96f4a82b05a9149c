"""Indices of stars in galaxies: the 4000 A break and Lick indices, at the resolution of the spectra."""

from typing import NamedTuple

import numpy as np

from pix2spec.core.grid import SpectralGrid
from pix2spec.measure.windows import cutouts, empty_result

__all__ = ["BREAKS", "LICK", "air_to_vacuum", "break_4000", "dn4000", "lick_index"]

MIN_BAND_COVERAGE = 0.7  # valid share of each band of a Lick index


class Bands(NamedTuple):
    """Passbands of a Lick index: air wavelengths in Angstrom, rest frame."""

    blue: tuple[float, float]
    feature: tuple[float, float]
    red: tuple[float, float]


FE5270 = Bands((5233.150, 5248.150), (5245.650, 5285.650), (5285.650, 5318.150))
FE5335 = Bands((5304.625, 5315.875), (5312.125, 5352.125), (5353.375, 5363.375))

# Worthey et al. (1994, ApJS 94:687), HdeltaA from Worthey & Ottaviani (1997, ApJS 111:377); an index of more
# than one set of bands is their mean.
LICK = {
    "HdeltaA": (Bands((4041.600, 4079.750), (4083.500, 4122.250), (4128.500, 4161.000)),),
    "Mgb": (Bands((5142.625, 5161.375), (5160.125, 5192.625), (5191.375, 5206.375)),),
    "Fe5270": (FE5270,),
    "Fe5335": (FE5335,),
    "<Fe>": (FE5270, FE5335),
}


def air_to_vacuum(wave):
    """Vacuum wavelengths of air wavelengths `wave`, in Angstrom (Ciddor 1996, as used by SDSS)."""
    wave = np.asarray(wave, float)
    s2 = (1e4 / wave) ** 2
    return wave * (1 + 5.792105e-2 / (238.0185 - s2) + 1.67917e-3 / (57.362 - s2))


# Blue and red windows of the 4000 A break: vacuum wavelengths in Angstrom, rest frame. The narrow break is
# that of Balogh et al. (1999, ApJ 527:54), the wide one that of Bruzual (1983, ApJ 273:105).
BREAKS = {
    "narrow": ((3851.09, 3951.12), (4001.13, 4101.16)),
    "wide": ((3751.06, 3951.12), (4051.15, 4251.20)),
}


def break_4000(
    flux: np.ndarray,
    z: np.ndarray,
    grid: SpectralGrid,
    ivar: np.ndarray | None = None,
    windows: str = "narrow",
) -> tuple[np.ndarray, np.ndarray]:
    """The 4000 A break: ratio of mean f_nu in two windows.

    Parameters
    ----------
    flux : array (..., L)
        f_lambda on `grid`.
    z : array (...,)
        Redshifts.
    grid : SpectralGrid
    ivar : array (..., L), optional
        Inverse variance of `flux`; the means are not weighted by it.
    windows : str
        One of `BREAKS`: ``"narrow"`` is Dn4000, and ``"wide"`` is D4000.

    Returns
    -------
    value : array (...,)
        NaN where a window leaves the grid, where less than half of it is valid, or where the blue flux is not
        positive.
    error : array (...,)
        Standard error from `ivar`; NaN without it.
    """

    def mean_fnu(low, high):  # rest-frame vacuum wavelengths
        mean = empty_result(flux, z, 2)
        for where, values, weight, _, redshift in cutouts(flux, z, grid, low, high, ivar):
            good = weight > 0
            first = np.rint(grid.pixel(low * (1 + redshift)))
            inside = (first >= 0) & (first + good.shape[1] <= grid.size) & (good.mean(1) >= 0.5)
            width = 10 ** (grid.step * np.arange(good.shape[1]))  # dlambda, up to a constant
            total = np.where(inside, good @ width, np.nan) / low**2  # f_nu ~ lambda^2 f_lambda
            mean.reshape(2, -1)[0, where] = values @ width**3 / total
            if ivar is not None:
                variance = np.divide(1, weight, out=np.zeros_like(weight), where=good)
                mean.reshape(2, -1)[1, where] = np.sqrt(variance @ width**6) / total
        return mean

    (blue, blue_error), (red, red_error) = (mean_fnu(*window) for window in BREAKS[windows])
    blue = np.where(blue > 0, blue, np.nan)
    value = red / blue
    error = np.hypot(red_error, value * blue_error) / blue
    return value, error if ivar is not None else np.full_like(error, np.nan)


def dn4000(flux: np.ndarray, z: np.ndarray, grid: SpectralGrid, ivar: np.ndarray | None = None) -> np.ndarray:
    """The narrow 4000 A break (...,) alone: see `break_4000`."""
    return break_4000(flux, z, grid, ivar)[0]


def lick_index(
    flux: np.ndarray, z: np.ndarray, grid: SpectralGrid, name: str, ivar: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """A Lick index in Angstrom, positive in absorption.

    Equivalent width against the straight line through the mean fluxes of two bands, at their middles
    (Worthey et al. 1994, equation 2). Spectra are not smoothed to the Lick/IDS resolution of 8 to 10 A,
    nor corrected for their velocity dispersion: values are lower than Lick's own for broad lines, and
    compare with each other.

    Parameters
    ----------
    flux : array (..., L)
        f_lambda on `grid`.
    z : array (...,)
        Redshifts.
    grid : SpectralGrid
    name : str
        One of `LICK`.
    ivar : array (..., L), optional
        Inverse variance of `flux`; the means are not weighted by it.

    Returns
    -------
    index : array (...,)
        NaN where less than 70 % of a band is valid or the continuum is not positive.
    error : array (...,)
        Standard error from `ivar`, all bands' noise propagated; NaN without `ivar`.
    """
    sets = [Bands(*(tuple(air_to_vacuum(band)) for band in bands)) for bands in LICK[name]]
    low, high = min(bands.blue[0] for bands in sets) - 3, max(bands.red[1] for bands in sets) + 3
    result = empty_result(flux, z, 2)
    for where, y, weight, shift, _ in cutouts(flux, z, grid, low, high, ivar):
        good = weight > 0
        edges = 10 ** (grid.step * (np.arange(y.shape[1] + 1) - 0.5))  # relative to the first pixel's middle
        edges = low * 10 ** (-grid.step * shift[:, None]) * edges  # rest frame
        parts = [_equivalent_width(bands, edges, y, good, ivar is not None) for bands in sets]
        value, gradient = (sum(values) / len(sets) for values in zip(*parts))
        result.reshape(2, -1)[0, where] = value
        if ivar is not None:
            variance = np.divide(1, weight, out=np.zeros_like(weight), where=good)
            result.reshape(2, -1)[1, where] = np.sqrt((gradient**2 * variance).sum(1))
    value, error = result
    return value, error if ivar is not None else np.full_like(error, np.nan)


def _equivalent_width(bands: Bands, edges, y, good, with_gradient: bool):
    """Index (n,) of cutouts (n, P) and its derivative by the pixels (n, P); `edges` (n, P + 1) of pixels."""

    def shares(low, high):
        """Weights (n, P) that average over a band, pixels on its rim counted in part."""
        inside = np.clip(np.minimum(edges[:, 1:], high) - np.maximum(edges[:, :-1], low), 0, None)
        total = (inside * good).sum(1, keepdims=True)
        enough = total >= MIN_BAND_COVERAGE * (high - low)
        return inside * good / np.where(enough, total, np.nan)

    blue, feature, red = (shares(*band) for band in bands)
    blue_mean, red_mean = ((part * y).sum(1, keepdims=True) for part in (blue, red))
    middle_blue, middle_red = np.mean(bands.blue), np.mean(bands.red)
    wave = (edges[:, 1:] + edges[:, :-1]) / 2
    redness = (wave - middle_blue) / (middle_red - middle_blue)
    continuum = (1 - redness) * blue_mean + redness * red_mean
    lowest = np.where(feature > 0, continuum, np.inf).min(1, keepdims=True)
    width = np.where(lowest > 0, bands.feature[1] - bands.feature[0], np.nan)
    # 1 where a feature's share is 0: there the continuum may be anything.
    continuum = np.where(feature > 0, continuum, 1)
    relative = feature * y / continuum
    index = width[:, 0] * (1 - relative.sum(1))
    if not with_gradient:
        return index, 0.0
    slope = relative / continuum  # minus the derivative of `relative` by the continuum
    gradient = (slope * (1 - redness)).sum(1, keepdims=True) * blue
    gradient += (slope * redness).sum(1, keepdims=True) * red - feature / continuum
    return index, width * gradient
