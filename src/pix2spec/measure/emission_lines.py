"""Emission lines: fluxes, equivalent widths, widths, and the class of the ionising source.

The continuum is a straight line through two side bands, with outliers clipped. Gaussians of one common
width are fitted to the flux above it; Halpha and the [N II] doublet (1 : 3.06) are one fit, and so are the
lines of a doublet, whose sum is returned. Stellar absorption is not taken out: it lowers the Balmer lines
by a few Angstrom, and absorption lines come out negative.
"""

from collections.abc import Iterable
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from pix2spec.core.grid import SpectralGrid
from pix2spec.core.lines import LIGHT_SPEED_KM_S, LINES
from pix2spec.measure.windows import cutouts, empty_result

__all__ = [
    "BPT_CLASSES",
    "FEATURES",
    "GALAXY_CLASSES",
    "LineFit",
    "bpt_class",
    "equivalent_width",
    "fit_lines",
    "galaxy_class",
]

PIXEL_PHASES = 32  # positions of trial lines within a pixel
WIDTHS_PIXELS = np.geomspace(0.8, 4.5, 12)  # trial dispersions of lines: 55 to 310 km/s on SDSS's grid
BALMER_ABSORPTION_ANGSTROM = (1.3, 0.3)  # of stars, and its spread (Hopkins et al. 2003, ApJ 599:971)
MIN_SIGNAL_TO_NOISE = 3.0  # of each line, for a BPT class
MIN_WIDTH_ANGSTROM = 0.5  # of each line, where there are no errors
BPT_CLASSES = ("none", "star-forming", "composite", "AGN")
GALAXY_CLASSES = ("unknown", "star-forming", "composite", "Seyfert", "LINER", "passive")
MAX_PASSIVE_ANGSTROM = 0.5  # of Halpha and [N II] (Cid Fernandes et al. 2011, MNRAS 413:1687)
LEAST_WIDTH_ANGSTROM = 0.1  # a weaker line counts as one of this width in the ratios


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
BLENDS = (HALPHA, HBETA, OXYGEN3, OXYGEN2, SULPHUR)

# The blend that a line is fitted in, and which of its components are summed.
FEATURES = {
    "H_alpha": (HALPHA, [0]),
    "[N_II] 6583": (HALPHA, [1]),
    "H_beta": (HBETA, [0]),
    "[O_III] 5007": (OXYGEN3, [0]),
    "[O_II]": (OXYGEN2, [0, 1]),
    "[S_II]": (SULPHUR, [0, 1]),
}


class LineFit(NamedTuple):
    """A fitted line, or sum of a doublet, of each spectrum; all arrays (...,), errors NaN without ivar."""

    flux: np.ndarray  # in the unit of the spectra times Angstrom, observed frame; negative in absorption
    flux_error: np.ndarray
    ew: np.ndarray  # Angstrom, rest frame, positive in emission
    ew_error: np.ndarray
    sigma: np.ndarray  # km/s, the spectrograph's line spread included, within `WIDTHS_PIXELS`
    sigma_error: np.ndarray
    continuum: np.ndarray  # under the line, of a doublet the mean: flux = ew * continuum * (1 + z)


def _least_squares(design, y, weight):
    """Solve linear least squares, design (n, K, P): parameters (n, K) and their covariance (n, K, K)."""
    weighted = design * weight[:, None]
    normal = weighted @ design.swapaxes(1, 2)
    size = np.einsum("nkk->nk", normal)  # of each column: they have different units
    ridge = (1e-9 * size + 1e-18 * size.sum(1, keepdims=True))[:, :, None] * np.eye(design.shape[1])
    covariance = np.linalg.inv(normal + ridge)
    return (covariance @ (weighted @ y[:, :, None]))[..., 0], covariance


def _continuum(position, offset, y, weight, rounds: int = 4):
    """Straight line through the bands, outliers beyond 3 sigma clipped.

    Parameters
    ----------
    position : array (P,)
        Of the pixels.
    offset : array (n,)
        Position at which the line of a spectrum has its first parameter; the second one is its slope.
    y, weight : array (n, P)

    Returns
    -------
    level, covariance : array (n, 2), (n, 2, 2)
    """
    powers = position[:, None] ** np.arange(3)
    kept, root, valid = weight, np.sqrt(weight), weight > 0
    middle = valid.sum(1) // 2
    for _ in range(rounds):
        # Moments of the pixels about the offset, and least squares of two parameters in closed form.
        (n, first, second), (total, tilt) = (kept @ powers).T, ((kept * y) @ powers[:, :2]).T
        second = second - 2 * offset * first + offset**2 * n
        first, tilt = first - offset * n, tilt - offset * total
        ridge = 1e-18 * (n + second)  # as in `_least_squares`
        n, second = (1 + 1e-9) * n + ridge, (1 + 1e-9) * second + ridge
        covariance = np.stack([second, -first, -first, n], 1) / (n * second - first**2)[:, None]
        covariance = covariance.reshape(-1, 2, 2)
        level = covariance[:, 0] * total[:, None] + covariance[:, 1] * tilt[:, None]
        slope = level[:, 1, None]
        residual = y - slope * position
        residual -= level[:, :1] - slope * offset[:, None]
        np.abs(residual, out=residual)
        residual *= root
        ordered = residual if valid.all() else np.where(valid, residual, np.inf)
        ordered = np.partition(ordered, np.unique(middle), 1) if len(ordered) else ordered
        sigma = 1.4826 * np.take_along_axis(ordered, middle[:, None], 1)
        kept = weight * (residual <= 3 * sigma)
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


def _gain(x, centres, blend: Blend, y, weight):
    """The chi2 (widths, n) that lines of each of WIDTHS_PIXELS explain."""
    gain = np.empty((len(WIDTHS_PIXELS), len(y)))
    for i, sigma in enumerate(WIDTHS_PIXELS):
        profiles, _ = _profiles(x, centres, blend, sigma)
        line_flux, _ = _least_squares(profiles, y, weight)
        gain[i] = (line_flux * (profiles @ (y * weight)[:, :, None])[..., 0]).sum(1)
    return gain


def _gain_of_complete(blend: Blend, grid: SpectralGrid, shift, y):
    """The same of cutouts (n, P) whose pixels count alike: products with few profiles.

    Profiles are shifted by a multiple of 1 / PIXEL_PHASES: the width does not feel the rest.
    """
    gain, phase = np.empty((len(WIDTHS_PIXELS), len(y))), np.rint(PIXEL_PHASES * shift).astype(int)
    for k in np.unique(phase):
        rows = np.flatnonzero(phase == k)
        columns, inverse = _trial_profiles(BLENDS.index(blend), grid, int(k))
        right = (y[rows] @ columns).reshape(len(rows), len(WIDTHS_PIXELS), -1)
        gain[:, rows] = np.einsum("nwk,wkj,nwj->wn", right, inverse, right)
    return gain


@lru_cache(maxsize=256)
def _trial_profiles(blend: int, grid: SpectralGrid, phase: int) -> tuple[np.ndarray, np.ndarray]:
    """Profiles (P, widths * K) of a blend, and the inverses (widths, K, K) of their products."""
    lines = BLENDS[blend]
    columns, centres = lines.columns(lines.window, grid), lines.centres(grid)
    x = np.arange(columns.start, columns.stop)[None] - phase / PIXEL_PHASES
    profiles = np.concatenate([_profiles(x, centres, lines, sigma)[0] for sigma in WIDTHS_PIXELS])
    _, inverse = _least_squares(profiles, np.zeros(profiles.shape[::2]), np.ones(profiles.shape[::2]))
    return profiles.reshape(-1, profiles.shape[2]).T, inverse


def _best_width(gain):
    """Common dispersion (n, 1) in pixels of least chi2: the best of WIDTHS_PIXELS, refined by a parabola."""
    best = np.clip(gain.argmax(0), 1, len(WIDTHS_PIXELS) - 2)
    below, middle, above = (np.take_along_axis(gain, (best + i)[None], 0)[0] for i in (-1, 0, 1))
    bend = np.maximum(2 * middle - below - above, 1e-12 * np.abs(middle) + 1e-300)
    # A best width at either end of WIDTHS_PIXELS stays there.
    step = np.clip((above - below) / (2 * bend), -1, 1)
    return (WIDTHS_PIXELS[best] * (WIDTHS_PIXELS[1] / WIDTHS_PIXELS[0]) ** step)[:, None]


def fit_lines(
    flux: np.ndarray,
    z: np.ndarray,
    grid: SpectralGrid,
    ivar: np.ndarray | None = None,
    lines: Iterable[str] = tuple(FEATURES),
) -> dict[str, LineFit]:
    """Fluxes, rest-frame equivalent widths and dispersions of emission lines.

    Parameters
    ----------
    flux : array (..., L)
        f_lambda on `grid`.
    z : array (...,)
        Redshifts.
    grid : SpectralGrid
    ivar : array (..., L), optional
        Inverse variance of `flux`; without it, all pixels count alike.
    lines : iterable of str
        Some of `FEATURES`. Lines of one blend share its dispersion.

    Returns
    -------
    dict of LineFit
        By line. NaN where the line leaves the grid, where fewer than 3/4 of its window, half of a side
        band, or 3 of the 5 pixels at a line's centre are valid; equivalent widths also where the continuum
        is not positive. Errors are standard errors from `ivar`, those of continuum and width included.
    """
    lines = list(lines)
    fits: dict = {}
    for blend in BLENDS:
        chosen = {line: FEATURES[line][1] for line in lines if FEATURES[line][0] is blend}
        if chosen:
            fits |= _fit_blend(flux, z, grid, ivar, blend, chosen)
    return {line: fits[line] for line in lines}


def equivalent_width(
    flux: np.ndarray, z: np.ndarray, grid: SpectralGrid, line: str, ivar: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Rest-frame equivalent width (...,) of one of `FEATURES` in Angstrom, and its error: see `fit_lines`."""
    fit = fit_lines(flux, z, grid, ivar, [line])[line]
    return fit.ew, fit.ew_error


def _fit_blend(flux, z, grid: SpectralGrid, ivar, blend: Blend, lines: dict[str, list[int]]):
    """LineFit of each of `lines`: components of the blend to be summed."""
    blue, red = (blend.columns(band, grid) for band in blend.bands)
    fitted = blend.columns(blend.window, grid)
    centres = blend.centres(grid)
    results = {line: empty_result(flux, z, len(LineFit._fields)) for line in lines}
    for where, y, weight, shift, redshift in cutouts(flux, z, grid, blend.low, blend.bands[1][1], ivar):
        good = weight > 0
        enough = (good[:, fitted].mean(1) >= 0.75) & (good[:, blue].mean(1) >= 0.5)
        enough &= good[:, red].mean(1) >= 0.5
        rows = np.arange(where.start, where.stop)[enough]
        x = np.arange(y.shape[1]) - shift[enough, None]  # pixels redward of `low`
        alike = ivar is None and good[enough][:, fitted].all(1)
        fit = _solve(blend, grid, x, y[enough], weight[enough], alike, ivar is not None)
        for line, chosen in lines.items():
            values = _measure(blend, chosen, grid, fit, 1 + redshift[enough])
            for name in np.array(blend.names)[chosen]:
                core = round(centres[name])
                values[:, good[enough, core - 2 : core + 3].sum(1) < 3] = np.nan
            results[line].reshape(len(values), -1)[:, rows] = values
    if ivar is None:
        for result in results.values():
            result[[LineFit._fields.index(name) for name in LineFit._fields if "error" in name]] = np.nan
    return {line: LineFit(*result) for line, result in results.items()}


class _Solution(NamedTuple):
    """Least squares of a blend with K components on n cutouts."""

    line_flux: np.ndarray  # (n, K) in pixels
    covariance: np.ndarray  # (n, K + 1, K + 1) of line_flux and ln sigma, continuum known
    sigma: np.ndarray  # (n,) pixels
    level: np.ndarray  # (n, 2) continuum
    level_covariance: np.ndarray  # (n, 2, 2)
    by_level: np.ndarray  # (n, K + 1, 2) derivative of the parameters by the continuum
    at_line: np.ndarray  # (2, K) continuum = level @ at_line


def _solve(blend: Blend, grid: SpectralGrid, x, y, weight, alike, with_errors: bool) -> _Solution:
    """Fit cutouts (n, P) that begin at `blend.low`; of some, the fitted pixels count `alike` (n,)."""
    centres = blend.centres(grid)
    middle = x.shape[1] / 2

    def straight(x):
        return np.stack([np.ones_like(x), (x - middle) / middle], -2)

    side = np.r_[tuple(blend.columns(band, grid) for band in blend.bands)]
    fitted = blend.columns(blend.window, grid)
    shift = -x[:, 0]
    position = (np.arange(y.shape[1]) - middle) / middle
    level, level_covariance = _continuum(position[side], shift / middle, y[:, side], weight[:, side])
    x, y, weight = x[:, fitted], y[:, fitted], weight[:, fitted]
    under = straight(x)
    y = y - np.einsum("nk,nkp->np", level, under)

    gain, alike = np.empty((len(WIDTHS_PIXELS), len(y))), np.broadcast_to(alike, len(y))
    gain[:, alike] = _gain_of_complete(blend, grid, shift[alike], y[alike])
    if not alike.all():
        gain[:, ~alike] = _gain(x[~alike], centres, blend, y[~alike], weight[~alike])
    sigma = _best_width(gain)
    profiles, slopes = _profiles(x, centres, blend, sigma)
    line_flux, _ = _least_squares(profiles, y, weight)
    at_line = straight(np.array([centres[name] for name in blend.names]))
    if not with_errors:
        n, k = line_flux.shape
        unknown = np.zeros((n, k + 1, k + 1)), np.zeros((n, k + 1, 2))
        return _Solution(line_flux, unknown[0], sigma[:, 0], level, level_covariance, unknown[1], at_line)
    # The width is a parameter too, and the continuum, from other pixels, moves all of them.
    by_width = np.einsum("nk,nkp->np", line_flux, slopes)
    design = np.concatenate([profiles, by_width[:, None]], 1)
    _, covariance = _least_squares(design, y, weight)
    by_level = -covariance @ (design * weight[:, None]) @ under.swapaxes(1, 2)
    return _Solution(line_flux, covariance, sigma[:, 0], level, level_covariance, by_level, at_line)


def _measure(blend: Blend, chosen: list[int], grid: SpectralGrid, fit: _Solution, stretch) -> np.ndarray:
    """The fields of a LineFit, (7, n), of components `chosen`; `stretch` is 1 + z."""
    continuum = fit.level @ fit.at_line  # (n, K)
    continuum = np.where(continuum > 0, continuum, np.nan)
    rest_width = np.array([LINES[name] for name in blend.names]) * np.log(10) * grid.step  # of a pixel
    share = np.isin(np.arange(len(blend.names)), chosen) * rest_width

    def error(by_parameter, by_level):
        by_level = by_level + np.einsum("nk,nkj->nj", by_parameter, fit.by_level)
        variance = np.einsum("nk,nkl,nl->n", by_parameter, fit.covariance, by_parameter)
        return np.sqrt(variance + np.einsum("nj,nji,ni->n", by_level, fit.level_covariance, by_level))

    flux = (fit.line_flux * share).sum(1)
    flux_error = error(np.pad(np.broadcast_to(share, continuum.shape), ((0, 0), (0, 1))), 0)
    used = share / continuum
    ew = (fit.line_flux * used).sum(1)
    ew_error = error(np.pad(used, ((0, 0), (0, 1))), -(fit.line_flux * used / continuum) @ fit.at_line.T)
    only_width = np.zeros((len(flux), len(share) + 1))
    only_width[:, -1] = 1
    sigma = fit.sigma * np.log(10) * grid.step * LIGHT_SPEED_KM_S
    sigma_error = sigma * error(only_width, 0)
    level = continuum @ share / share.sum()
    return np.stack([flux * stretch, flux_error * stretch, ew, ew_error, sigma, sigma_error, level])


def bpt_class(halpha: LineFit, hbeta: LineFit, oiii: LineFit, nii: LineFit) -> np.ndarray:
    """Classes of the ionising source: [O III] 5007 / Hbeta against [N II] 6583 / Halpha.

    Baldwin, Phillips & Terlevich (1981, PASP 93:5); star formation below the line of Kauffmann et al. (2003,
    MNRAS 346:1055), AGN above that of Kewley et al. (2001, ApJ 556:121), composites between. 1.3 +- 0.3
    Angstrom are added to the Balmer lines for the stars' absorption.

    Parameters
    ----------
    halpha, hbeta, oiii, nii : LineFit
        Of arrays (...,).

    Returns
    -------
    int8 array (...,)
        Index into `BPT_CLASSES`: 0 where a line is not measured, or is below 3 sigma (with the spread of
        the absorption as an error); where there are no errors, below 0.5 Angstrom.
    """
    widths: dict = {}
    significant: Any = True
    for name, line in (("ha", halpha), ("hb", hbeta), ("o3", oiii), ("n2", nii)):
        added, spread = BALMER_ABSORPTION_ANGSTROM if name in ("ha", "hb") else (0.0, 0.0)
        width = line.ew + added
        error = np.hypot(line.ew_error, spread)
        limit = np.where(
            np.isnan(line.ew_error), MIN_WIDTH_ANGSTROM + 2 * spread, MIN_SIGNAL_TO_NOISE * error
        )
        significant = significant & (width > limit)
        widths[name] = width * line.continuum
    with np.errstate(invalid="ignore", divide="ignore"):
        x, y = np.log10(widths["n2"] / widths["ha"]), np.log10(widths["o3"] / widths["hb"])
    return np.where(significant, _bpt_region(x, y), 0).astype(np.int8)


def _bpt_region(x, y) -> np.ndarray:
    """1, 2 or 3 below, between and above the lines of Kauffmann (2003) and Kewley (2001)."""
    with np.errstate(invalid="ignore", divide="ignore"):
        stars = (y < 0.61 / (x - 0.05) + 1.3) & (x < 0.05)
        agn = (y > 0.61 / (x - 0.47) + 1.19) | (x >= 0.47)
    return np.where(stars, 1, np.where(agn, 3, 2))


def galaxy_class(halpha: LineFit, hbeta: LineFit, oiii: LineFit, nii: LineFit) -> np.ndarray:
    """Classes of galaxies from noise-free spectra, in which also weak lines have a meaning.

    Passive galaxies have less than 0.5 Angstrom of both Halpha and [N II] 6583 (Cid Fernandes et al. 2011,
    MNRAS 413:1687). The others are classified by [N II] 6583 / Halpha and [O III] 5007 / Hbeta as by
    `bpt_class`; above the line of Kewley et al. (2001), Seyferts are separated from LINERs by

        log([O III] / Hbeta) = 1.05 log([N II] / Halpha) + 0.45

    (Schawinski et al. 2007, MNRAS 382:1415). 1.3 Angstrom are added to the Balmer lines for the stars'
    absorption. A line below 0.1 Angstrom counts as 0.1 Angstrom in the ratios.

    Parameters
    ----------
    halpha, hbeta, oiii, nii : LineFit
        Of arrays (...,).

    Returns
    -------
    int8 array (...,)
        Index into `GALAXY_CLASSES`: 0 where a line is not measured.
    """
    lines, absorption = (halpha, hbeta, oiii, nii), BALMER_ABSORPTION_ANGSTROM[0]
    ha, hb, o3, n2 = (line.ew + added for line, added in zip(lines, (absorption, absorption, 0, 0)))
    passive = (ha < MAX_PASSIVE_ANGSTROM) & (n2 < MAX_PASSIVE_ANGSTROM)
    flux = [
        np.maximum(ew, LEAST_WIDTH_ANGSTROM) * line.continuum for ew, line in zip((ha, hb, o3, n2), lines)
    ]
    x, y = np.log10(flux[3] / flux[0]), np.log10(flux[2] / flux[1])
    found = _bpt_region(x, y)
    found = np.where((found == 3) & (y < 1.05 * x + 0.45), 4, found)
    measured = np.isfinite(ha + hb + o3 + n2)
    return np.where(measured, np.where(passive, 5, found), 0).astype(np.int8)
