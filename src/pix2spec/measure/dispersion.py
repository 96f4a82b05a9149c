"""Velocity dispersions of stars, by least squares of broadened stellar templates at a known redshift.

Templates are the leading principal components of the simple stellar populations of Bruzual & Charlot (2003,
MNRAS 344:1000), broadened by Gaussians, next to additive polynomials (as in Cappellari & Emsellem 2004,
PASP 116:138). Their own resolution of 3 A FWHM is 83 km/s at 4600 A, where most of the absorption lines are;
the line spread of SDSS's spectrographs is 64 km/s. The difference is added to the fitted dispersion:

    sigma_v^2 = sigma_fit^2 + 83^2 - 64^2 km^2/s^2

The smallest result, 53 km/s, is therefore an upper limit, and results below about 70 km/s are uncertain.
The constant holds for the resolution of SDSS's spectrographs.
"""

from functools import cache, lru_cache

import numpy as np
import torch
from scipy.ndimage import map_coordinates

from pix2spec.core.grid import SpectralGrid
from pix2spec.core.lines import LIGHT_SPEED_KM_S, LINES, OTHER_LINES, SDSS_LINE_SPREAD_KM_S
from pix2spec.data.simulate.spectra import load_templates
from pix2spec.measure.windows import cutouts, empty_result

__all__ = ["velocity_dispersion"]

WINDOW_ANGSTROM = (4100.0, 6800.0)  # Angstrom, rest frame, vacuum
# km^2/s^2: how much broader the templates' own lines are than those of the spectra
EXCESS_KM2_S2 = 83.0**2 - SDSS_LINE_SPREAD_KM_S**2
SIGMAS_KM_S = np.array([0.0, 60, 100, 140, 180, 225, 275, 335, 405, 490])  # km/s
N_TEMPLATES, N_POLYNOMIALS = 10, 12
PIXEL_PHASES = 2  # positions of the templates within a pixel
MIN_WINDOW_COVERAGE = 0.6  # valid share of the window
MIN_SIGNAL_TO_NOISE = 3.0  # mean over pixels; below it, noise makes minima of chi2
MASK_HALF_WIDTH_KM_S = 500.0  # on either side of the gas's emission lines
OTHER_MASKED_LINES = ("[N_I] 5198", "[N_I] 5200", "Na_D 5890", "Na_D 5896")  # gas absorbs in Na D, too
CHUNK_SPECTRA = 256
NOMINAL_SIGNAL_TO_NOISE = 100.0  # per pixel, of spectra without errors
LENGTHS = (1.0, 0.95, 0.9, 0.85, 0.8, 0.75, 0.7, 0.65, MIN_WINDOW_COVERAGE)  # of the window, without errors


def velocity_dispersion(
    flux: np.ndarray, z: np.ndarray, grid: SpectralGrid, ivar: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Velocity dispersion of the stars in km/s.

    Without `ivar`, all pixels count alike, with a signal to noise of 100 each. The fits then differ by their
    right-hand sides alone, and are many times faster. Where the red end of the window lies beyond the grid,
    they use its bluest 95, 90 ... or 60 %.

    Parameters
    ----------
    flux : array (..., L)
        f_lambda on `grid`.
    z : array (...,)
        Redshifts; errors of less than a pixel or so do not matter.
    grid : SpectralGrid
    ivar : array (..., L), optional
        Inverse variance of `flux`.

    Returns
    -------
    sigma : array (...,)
        Between 53 and 493 km/s. NaN where less than 60 % of 4100 to 6800 A, without the gas's lines, is
        valid; where the signal to noise is below 3 a pixel; and where chi2 does not rise by one between its
        minimum and 490 km/s.
    error : array (...,)
        Distance upwards to the dispersion at which chi2 has risen by one: large at low signal to noise.
        NaN without `ivar`.
    """
    if ivar is None:
        sigma = _without_errors(flux, z, grid)
        return sigma, np.full_like(sigma, np.nan)
    design, products = _designs(grid), _products(grid)
    result = empty_result(flux, z, 2)
    low, high = WINDOW_ANGSTROM
    for where, y, weight, shift, _ in cutouts(flux, z, grid, low, high, ivar):
        kept = _outside_gas_lines(grid, y.shape[1])
        weight = weight * kept
        valid = (weight > 0).sum(1)
        enough = (valid >= MIN_WINDOW_COVERAGE * kept.sum()) & (
            (y * np.sqrt(weight)).sum(1) >= MIN_SIGNAL_TO_NOISE * valid
        )
        phase = _phase(shift)
        for k in range(PIXEL_PHASES):
            rows = np.flatnonzero(enough & (phase == k))
            for part in np.array_split(rows, -(-len(rows) // CHUNK_SPECTRA)) if len(rows) else []:
                chi2 = _chi2(design[k], products[k], y[part], weight[part])
                result.reshape(2, -1)[:, where.start + part] = _minimum(chi2)
    return result[0], result[1]


def _without_errors(flux: np.ndarray, z: np.ndarray, grid: SpectralGrid) -> np.ndarray:
    """Velocity dispersion (...) of spectra whose pixels count alike."""
    result = empty_result(flux, z, 1)
    for where, y, weight, shift, _ in cutouts(flux, z, grid, *WINDOW_ANGSTROM, None, np.float32):
        phase = _phase(shift)
        # The number of valid pixels from the window's blue end on.
        bad = weight == 0
        reach = np.where(bad.any(1), bad.argmax(1), y.shape[1])
        left = np.ones(len(y), bool)
        for share in LENGTHS:
            pixels = round(share * y.shape[1])
            long_enough = left & (reach >= pixels)
            left &= ~long_enough
            for k in range(PIXEL_PHASES):
                rows = np.flatnonzero(long_enough & (phase == k))
                if len(rows):
                    chi2 = _chi2_without_errors(grid, k, pixels, y, rows)
                    result[0].reshape(-1)[where.start + rows] = _minimum(chi2)[0]
    return result[0]


def _chi2_without_errors(grid: SpectralGrid, phase: int, pixels: int, y, rows: np.ndarray) -> np.ndarray:
    """chi2 (n, sigmas) of the best fits to `pixels` of cutouts `rows` (n,), up to a constant of each."""
    kept, polynomials, templates = _orthogonal(grid, phase, pixels)
    y = y[rows[:, None], kept]
    scale = NOMINAL_SIGNAL_TO_NOISE / np.maximum(np.abs(y.mean(1)), 1e-12)
    # Without the polynomials, small numbers remain: float32 suffices.
    torch.from_numpy(y).addmm_(torch.from_numpy(y @ polynomials), torch.from_numpy(polynomials.T), alpha=-1)
    explained = (y @ templates).reshape(len(y), len(SIGMAS_KM_S), -1)
    return -np.square(explained * scale[:, None, None]).sum(2).astype(float)


@lru_cache(maxsize=2 * PIXEL_PHASES * len(LENGTHS))
def _orthogonal(grid: SpectralGrid, phase: int, pixels: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pixels of a window outside the gas's lines, and orthonormal columns of its fits.

    The columns are polynomials (pixels, 12) and, orthogonal to these, templates (pixels, sigmas * 11).
    """
    designs = _designs(grid)[phase]
    kept = np.flatnonzero(_outside_gas_lines(grid, designs.shape[1])[:pixels])
    polynomials = np.linalg.qr(designs[0, kept, -N_POLYNOMIALS:])[0]
    templates = designs[:, kept, :-N_POLYNOMIALS]
    templates = templates - polynomials @ (polynomials.T @ templates)
    columns = np.concatenate(np.linalg.qr(templates)[0], axis=1)
    return kept, polynomials.astype(np.float32), columns.astype(np.float32)


def _phase(shift: np.ndarray) -> np.ndarray:
    """Number of the nearest of `PIXEL_PHASES` positions of a window within a pixel."""
    return np.rint((shift + 0.5) * PIXEL_PHASES - 0.5).astype(int).clip(0, PIXEL_PHASES - 1)


def _outside_gas_lines(grid: SpectralGrid, size: int) -> np.ndarray:
    """Whether each pixel of the window (size,) lies outside the emission lines of the gas."""
    wave = WINDOW_ANGSTROM[0] * 10 ** (grid.step * np.arange(size))
    lines = np.array([*LINES.values(), *(OTHER_LINES[name] for name in OTHER_MASKED_LINES)])
    return (np.abs(np.log(wave[:, None] / lines)) > MASK_HALF_WIDTH_KM_S / LIGHT_SPEED_KM_S).all(1)


@lru_cache(maxsize=2)
def _designs(grid: SpectralGrid) -> np.ndarray:
    """Columns of the fits (phases, sigmas, P, K)."""
    stored = load_templates()
    start, step, size = float(stored["start"]), float(stored["step"]), stored["flux"].shape[1]
    frequency = np.fft.rfftfreq(size)
    pixels = round(np.log10(WINDOW_ANGSTROM[1] / WINDOW_ANGSTROM[0]) / grid.step)
    columns = np.arange(pixels)
    polynomials = np.polynomial.legendre.legvander(np.linspace(-1, 1, pixels), N_POLYNOMIALS - 1)
    smooth = np.linalg.qr(polynomials)[0]

    def broadened(transform: np.ndarray, sigma: float, shift: float):
        """Templates (P, n) as `cutouts` of that `shift` see them, without a smooth part."""
        width = sigma / (LIGHT_SPEED_KM_S * np.log(10) * step)
        spectra = np.fft.irfft(transform * np.exp(-2 * (np.pi * width * frequency) ** 2), n=size, axis=1)
        position = (np.log10(WINDOW_ANGSTROM[0]) - start + grid.step * (columns - shift)) / step
        # A cubic spline, as of scipy.interpolate, which takes 20 times as long to import.
        values = np.stack([map_coordinates(s, [position], order=3, mode="mirror") for s in spectra], 1)
        return values - smooth @ (smooth.T @ values)

    populations = np.fft.rfft(stored["flux"].astype(float), axis=1)
    kept = _outside_gas_lines(grid, pixels)
    seen = broadened(populations, 100.0, 0.0)[kept]
    leading = np.linalg.svd(seen, full_matrices=False)[2][:N_TEMPLATES] @ populations
    designs = []
    for phase in range(PIXEL_PHASES):
        for sigma in SIGMAS_KM_S:
            templates = broadened(leading, sigma, (phase + 0.5) / PIXEL_PHASES - 0.5)
            scale = np.linalg.norm(templates, axis=0) / np.sqrt(pixels)
            slope = np.gradient(templates[:, :1], axis=0)  # to first order, an error of the redshift
            slope /= np.linalg.norm(slope) / np.sqrt(pixels)
            designs.append(np.hstack([templates / scale, slope, polynomials]))
    return np.reshape(designs, (PIXEL_PHASES, len(SIGMAS_KM_S), *designs[0].shape))


@lru_cache(maxsize=2)
def _products(grid: SpectralGrid) -> np.ndarray:
    """Products (phases, sigmas, P, pairs) of the pairs of columns of `_designs`."""
    designs = _designs(grid)
    first, second = np.triu_indices(designs.shape[-1])
    return designs[..., first] * designs[..., second]


def _chi2(designs, products, y, weight) -> np.ndarray:
    """chi2 (n, sigmas) of the best fits to cutouts (n, P), up to a constant of each spectrum."""
    count = designs.shape[-1]
    upper = np.triu_indices(count)
    chi2 = np.empty((len(y), len(designs)))
    for i, (design, product) in enumerate(zip(designs, products)):
        matrix = np.empty((len(y), count, count))
        matrix[:, upper[0], upper[1]] = matrix[:, upper[1], upper[0]] = weight @ product
        matrix += 1e-10 * np.trace(matrix, axis1=1, axis2=2)[:, None, None] * np.eye(count)
        right = (weight * y) @ design
        chi2[:, i] = -(right * np.linalg.solve(matrix, right[..., None])[..., 0]).sum(1)
    return chi2


@cache
def _spline() -> tuple[np.ndarray, np.ndarray]:
    """Dispersions (F,) in km/s, and the matrix (sigmas, F) that interpolates between `SIGMAS_KM_S`.

    It is the cubic spline that is flat at zero, because chi2 is even in sigma, and has one polynomial for the
    last two intervals ("not a knot").
    """
    x, values = SIGMAS_KM_S, np.eye(len(SIGMAS_KM_S))
    h = np.diff(x)[:, None]
    rise, last = np.diff(values, axis=0) / h, x[-1] - x[-3]
    system, right = np.zeros_like(values), np.zeros_like(values)
    system[0, 0], inner = 1, np.arange(1, len(x) - 1)
    system[inner, inner - 1], system[inner, inner + 1] = h[1:, 0], h[:-1, 0]
    system[inner, inner] = 2 * (h[1:] + h[:-1])[:, 0]
    right[1:-1] = 3 * (h[1:] * rise[:-1] + h[:-1] * rise[1:])
    system[-1, -2:] = last, h[-2, 0]
    right[-1] = (h[-1] ** 2 * rise[-2] + (2 * last + h[-1]) * h[-2] * rise[-1]) / last
    slope = np.linalg.solve(system, right)
    fine = np.arange(0.0, x[-1] + 1)
    k = np.clip(np.searchsorted(x, fine, "right") - 1, 0, len(x) - 2)
    t = (fine - x[k])[:, None] / h[k]
    square, cube = 3 * rise[k] - 2 * slope[k] - slope[k + 1], slope[k] + slope[k + 1] - 2 * rise[k]
    return fine, (values[k] + h[k] * t * (slope[k] + t * (square + t * cube))).T


def _minimum(chi2: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Dispersion (n,) of the least chi2 (n, sigmas), between them by a spline, and its error."""
    fine, spline = _spline()
    values = (chi2 - chi2[:, :1]) @ spline
    best = values.argmin(1)
    lowest = np.take_along_axis(values, best[:, None], 1)
    beyond = (values > lowest + 1) & (np.arange(len(fine)) > best[:, None])
    rise, known = beyond.argmax(1), beyond.any(1)
    before, after = ((np.take_along_axis(values, rise[:, None] - k, 1) - lowest)[:, 0] for k in (1, 0))
    with np.errstate(divide="ignore", invalid="ignore"):
        upper = fine[rise] - (after - 1) / (after - before)
    sigma, upper = (np.sqrt(value**2 + EXCESS_KM2_S2) for value in (fine[best], upper))
    return np.where(known, sigma, np.nan), np.where(known, upper - sigma, np.nan)
