"""What astronomers measure on a spectrum: the 4000 A break and equivalent widths of emission lines.

Spectra are (..., L) on a `SpectralGrid`, redshifts (...,), broadcast against each other; an ensemble
(N, n, L) goes with redshifts (N, 1). Pixels with ivar = 0 or a flux that is not finite never enter.
"""

from typing import NamedTuple

import numpy as np

from pix2spec.data.simulate.lines import LINES
from pix2spec.grid import SpectralGrid

__all__ = ["FEATURES", "dn4000", "equivalent_width"]

CHUNK = 2048  # spectra measured at once
WIDTHS = np.geomspace(0.8, 4.5, 12)  # pixels: trial dispersions of the lines, 55 to 310 km/s on SDSS's grid


class Blend(NamedTuple):
    """Lines that are fitted together; wavelengths are vacuum, rest frame, in Angstrom."""

    components: tuple[dict[str, float], ...]  # of one amplitude each: flux relative to the first line's
    window: tuple[float, float]  # where the lines are fitted
    bands: tuple[tuple[float, float], tuple[float, float]]  # where the continuum is, on either side

    @property
    def low(self) -> float:
        """Where columns are counted from."""
        return self.bands[0][0]

    @property
    def names(self) -> list[str]:
        """First line of each component."""
        return [next(iter(component)) for component in self.components]

    def centres(self, grid: SpectralGrid) -> dict[str, float]:
        """Position of all lines in pixels redward of `low`."""
        names = [name for component in self.components for name in component]
        return {name: np.log10(LINES[name] / self.low) / grid.step for name in names}

    def columns(self, window: tuple[float, float], grid: SpectralGrid) -> slice:
        """Pixels of a window, counted from `low`."""
        return slice(*(round(np.log10(wave / self.low) / grid.step) for wave in window))


HALPHA = Blend(
    ({"H_alpha": 1}, {"[N_II] 6583": 1, "[N_II] 6548": 1 / 3.06}),
    (6524, 6612),
    ((6470, 6524), (6612, 6665)),
)
HBETA = Blend(({"H_beta": 1},), (4846, 4880), ((4826, 4846), (4880, 4900)))
OXYGEN3 = Blend(({"[O_III] 5007": 1},), (4992, 5024), ((4978, 4992), (5024, 5040)))  # 4959 is bluer
OXYGEN2 = Blend(({"[O_II] 3725": 1}, {"[O_II] 3727": 1}), (3712, 3745), ((3685, 3712), (3745, 3772)))
SULPHUR = Blend(({"[S_II] 6716": 1}, {"[S_II] 6730": 1}), (6692, 6759), ((6630, 6672), (6759, 6810)))

# The blend that a line is fitted in, and which of its components are summed.
FEATURES = {
    "H_alpha": (HALPHA, [0]),
    "[N_II] 6583": (HALPHA, [1]),
    "H_beta": (HBETA, [0]),
    "[O_III] 5007": (OXYGEN3, [0]),
    "[O_II]": (OXYGEN2, [0, 1]),
    "[S_II]": (SULPHUR, [0, 1]),
}


def _cutouts(flux, z, grid: SpectralGrid, low: float, high: float, ivar):
    """Cut the rest-frame window `low` to `high` out of spectra, a chunk of them at a time.

    Yields
    ------
    where : slice
        The chunk, along the flattened leading axes.
    flux, weight : array (n, P)
        Flux, and ivar (1 if there is none); both 0 for pixels that are missing or outside of the grid.
    shift : array (n,)
        Column of the wavelength `low`, within half a pixel of 0.
    z : array (n,)
    """
    shape = np.broadcast_shapes(np.shape(flux)[:-1], np.shape(z))
    flux = np.broadcast_to(flux, (*shape, grid.size))
    ivar = None if ivar is None else np.broadcast_to(ivar, flux.shape)
    z = np.broadcast_to(np.asarray(z, float), shape).ravel()
    z = np.where(np.isfinite(z) & (z > -1), z, 1e6)  # nowhere on the grid
    columns = np.arange(round(np.log10(high / low) / grid.step))
    for start in range(0, len(z), CHUNK):
        where = slice(start, min(start + CHUNK, len(z)))
        position = grid.pixel(low * (1 + z[where]))
        first = np.rint(position).astype(int)
        pixel = first[:, None] + columns
        inside = (pixel >= 0) & (pixel < grid.size)
        rows = np.unravel_index(np.arange(where.start, where.stop), shape) if shape else ()
        index = (*(row[:, None] for row in rows), np.clip(pixel, 0, grid.size - 1))
        values = flux[index].astype(float)
        weight = np.ones_like(values) if ivar is None else ivar[index].astype(float)
        good = inside & np.isfinite(values) & (weight > 0)
        yield where, np.where(good, values, 0), np.where(good, weight, 0), position - first, z[where]


def _result(flux, z, columns: int) -> np.ndarray:
    return np.full((columns, *np.broadcast_shapes(np.shape(flux)[:-1], np.shape(z))), np.nan)


def dn4000(flux: np.ndarray, z: np.ndarray, grid: SpectralGrid, ivar: np.ndarray | None = None) -> np.ndarray:
    """The narrow 4000 A break (Balogh et al. 1999, ApJ 527:54): ratio of mean f_nu in two windows.

    Parameters
    ----------
    flux : array (..., L)
        f_lambda on `grid`.
    z : array (...,)
        Redshifts.
    grid : SpectralGrid
    ivar : array (..., L), optional
        Only where it is positive matters; the means are not weighted by it.

    Returns
    -------
    array (...,)
        NaN where a window leaves the grid or less than half of it is valid.
    """

    def mean_fnu(low, high):  # rest-frame vacuum wavelengths
        mean = _result(flux, z, 1)
        for where, values, weight, _, redshift in _cutouts(flux, z, grid, low, high, ivar):
            good = weight > 0
            first = np.rint(grid.pixel(low * (1 + redshift)))
            inside = (first >= 0) & (first + good.shape[1] <= grid.size) & (good.mean(1) >= 0.5)
            width = 10 ** (grid.step * np.arange(good.shape[1]))  # dlambda, up to a constant
            total = np.where(inside, good @ width, np.nan)
            mean.reshape(-1)[where] = (values @ width**3) / total * low**2  # f_nu ~ lambda^2 f_lambda
        return mean[0]

    red, blue = mean_fnu(4001.13, 4101.16), mean_fnu(3851.09, 3951.12)
    return red / np.where(blue > 0, blue, np.nan)


def _least_squares(design, y, weight):
    """Solve linear least squares, design (n, K, P): parameters (n, K) and their covariance (n, K, K)."""
    weighted = design * weight[:, None]
    normal = weighted @ design.swapaxes(1, 2)
    ridge = 1e-9 * np.einsum("nkk->n", normal)[:, None, None] * np.eye(design.shape[1])
    covariance = np.linalg.inv(normal + ridge)
    return (covariance @ (weighted @ y[:, :, None]))[..., 0], covariance


def _continuum(line, y, weight, rounds: int = 4):
    """Straight line (n, 2) through the bands, outliers beyond 3 sigma clipped, and its covariance.

    `line` is its design (n, 2, P).
    """
    kept = weight
    count = (weight > 0).sum(1)
    for _ in range(rounds):
        level, covariance = _least_squares(line, y, kept)
        residual = np.abs(y - np.einsum("nk,nkp->np", level, line)) * np.sqrt(weight)
        ordered = np.sort(np.where(weight > 0, residual, np.inf), 1)
        sigma = 1.4826 * np.take_along_axis(ordered, (count // 2)[:, None], 1)
        kept = np.where(residual <= 3 * sigma, weight, 0)
    return level, covariance


def _profiles(x, centres, blend: Blend, sigma):
    """Gaussians of unit area (n, K, P) and their derivatives by ln sigma; `x` and `sigma` in pixels."""
    values, slopes = [], []
    for component in blend.components:
        value = slope = 0
        for name, share in component.items():
            distance = ((x - centres[name]) / sigma) ** 2
            gaussian = share / np.sqrt(2 * np.pi) / sigma * np.exp(-distance / 2)
            value, slope = value + gaussian, slope + gaussian * (distance - 1)
        values.append(value)
        slopes.append(slope)
    return np.stack(values, 1), np.stack(slopes, 1)


def _best_width(x, centres, blend: Blend, y, weight):
    """Common dispersion (n, 1) in pixels of least chi2: the best of WIDTHS, refined by a parabola."""
    gain = np.empty((len(WIDTHS), len(y)))  # chi2 that the lines explain
    for i, sigma in enumerate(WIDTHS):
        profiles, _ = _profiles(x, centres, blend, sigma)
        line_flux, _ = _least_squares(profiles, y, weight)
        gain[i] = (line_flux * (profiles @ (y * weight)[:, :, None])[..., 0]).sum(1)
    best = np.clip(gain.argmax(0), 1, len(WIDTHS) - 2)
    below, middle, above = (np.take_along_axis(gain, (best + i)[None], 0)[0] for i in (-1, 0, 1))
    bend = np.maximum(2 * middle - below - above, 1e-12 * np.abs(middle) + 1e-300)
    # A best width at either end of WIDTHS stays there.
    step = np.clip((above - below) / (2 * bend), -1, 1)
    return (WIDTHS[best] * (WIDTHS[1] / WIDTHS[0]) ** step)[:, None]


def equivalent_width(
    flux: np.ndarray,
    z: np.ndarray,
    grid: SpectralGrid,
    line: str,
    ivar: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Rest-frame equivalent width of a line in Angstrom, positive in emission.

    The continuum is a straight line through two side bands, with outliers clipped. Gaussians of one
    common width are fitted to what exceeds it; Halpha and the [N II] doublet (1 : 3.06) are one fit, and
    so are the lines of a doublet, whose sum is returned. Stellar absorption is not taken out: it lowers
    the Balmer lines by a few Angstrom, and absorption lines come out negative.

    Parameters
    ----------
    flux : array (..., L)
        f_lambda on `grid`.
    z : array (...,)
        Redshifts.
    grid : SpectralGrid
    line : str
        One of `FEATURES`.
    ivar : array (..., L), optional
        Inverse variance of `flux`; without it, all pixels count alike.

    Returns
    -------
    ew : array (...,)
        NaN where the line leaves the grid, where fewer than 3/4 of its window, half of a side band, or 3
        of the 5 pixels at a line's centre are valid, or where the continuum is not positive.
    error : array (...,)
        Standard error from `ivar`, the errors of continuum and width included; NaN without `ivar`.
    """
    blend, chosen = FEATURES[line]
    blue, red = (blend.columns(band, grid) for band in blend.bands)
    fitted = blend.columns(blend.window, grid)
    cores = [round(blend.centres(grid)[name]) for name in np.array(blend.names)[chosen]]

    result = _result(flux, z, 2)
    for where, y, weight, shift, _ in _cutouts(flux, z, grid, blend.low, blend.bands[1][1], ivar):
        good = weight > 0
        enough = (good[:, fitted].mean(1) >= 0.75) & (good[:, blue].mean(1) >= 0.5)
        enough &= good[:, red].mean(1) >= 0.5
        for core in cores:
            enough &= good[:, core - 2 : core + 3].sum(1) >= 3
        x = np.arange(y.shape[1]) - shift[enough, None]  # pixels redward of `low`
        measured = _measure(blend, chosen, grid, x, y[enough], weight[enough])
        result.reshape(2, -1)[:, np.arange(where.start, where.stop)[enough]] = measured
    ew, error = result
    return ew, error if ivar is not None else np.full_like(error, np.nan)


def _measure(blend: Blend, chosen: list[int], grid: SpectralGrid, x, y, weight):
    """Equivalent width and its error, (n,) each, of cutouts (n, P) that begin at `blend.low`."""
    centres = blend.centres(grid)
    middle = x.shape[1] / 2

    def straight(x):
        return np.stack([np.ones_like(x), (x - middle) / middle], -2)

    side = np.r_[tuple(blend.columns(band, grid) for band in blend.bands)]
    level, level_covariance = _continuum(straight(x[:, side]), y[:, side], weight[:, side])
    fitted = blend.columns(blend.window, grid)
    x, y, weight = x[:, fitted], y[:, fitted], weight[:, fitted]
    under = straight(x)
    y = y - np.einsum("nk,nkp->np", level, under)

    sigma = _best_width(x, centres, blend, y, weight)
    profiles, slopes = _profiles(x, centres, blend, sigma)
    line_flux, _ = _least_squares(profiles, y, weight)
    at_line = straight(np.array([centres[name] for name in blend.names]))  # (2, K)
    continuum = level @ at_line
    continuum = np.where(continuum > 0, continuum, np.nan)
    pixel_width = np.array([LINES[name] for name in blend.names]) * np.log(10) * grid.step  # rest frame
    used = np.isin(np.arange(len(blend.names)), chosen) * pixel_width / continuum  # dEW / d line_flux
    ew = (line_flux * used).sum(1)

    # The width is a parameter too, and the continuum, from other pixels, moves all of them.
    by_width = np.einsum("nk,nkp->np", line_flux, slopes)
    design = np.concatenate([profiles, by_width[:, None]], 1)
    _, covariance = _least_squares(design, y, weight)
    gradient = np.pad(used, ((0, 0), (0, 1)))
    by_pixel = np.einsum("nk,nkl,nlp,np->np", gradient, covariance, design, weight, optimize=True)
    by_level = np.einsum("np,njp->nj", by_pixel, under) + (line_flux * used / continuum) @ at_line.T
    variance = np.einsum("nk,nkl,nl->n", gradient, covariance, gradient)
    variance += np.einsum("nj,nji,ni->n", by_level, level_covariance, by_level)
    return ew, np.sqrt(variance)
