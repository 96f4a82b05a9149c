"""Spectra of other instruments: Brown et al.'s atlas of nearby galaxies, and FORS2's galaxies to z = 0.84."""

from pathlib import Path

import numpy as np

from pix2spec.core.photometry import filter_matrix, magnitude
from pix2spec.data.measurements import EXTINCTIONS
from pix2spec.models.shared.measurements import KIND_GROUPS
from pix2spec.models.spectrum.network import SpectrumNetwork
from pix2spec.training.real_sky import load_real
from pix2spec.training.redshift.filters import TrainingFilters
from pix2spec.training.redshift.samples import Sample

__all__ = ["atlas_galaxies", "fors2_spectra", "read_fors2"]

PLACES = 8  # redshifts at which each galaxy of the atlas is placed
ATLAS_ERROR = 0.03  # of its pixels
R_RANGE = 15.5, 21.5  # magnitudes that the atlas's galaxies are given
SMOOTH = 15  # pixels of the running mean that gives the noise of FORS2's spectra
LEAST_PIXELS = 200  # good ones of a spectrum
DRAWS = 8


def atlas_galaxies(data: Path, network: SpectrumNetwork, filters: TrainingFilters, rng):
    """The atlas's galaxies, placed at redshifts of the model: a sample and vectors."""
    with np.load(data / "brown2014.npz", allow_pickle=False) as stored:
        waves, fluxes, source = (stored[name] for name in ("wave_rest", "flux", "source"))
    grid, basis, count = network.grid, network.basis, len(waves)
    rows, z = np.repeat(np.arange(count), PLACES), rng.uniform(0.003, basis.z_max - 0.01, count * PLACES)
    wave = np.geomspace(1000, 60_000, 12_000)
    weights = np.nan_to_num(filter_matrix(wave, filters.curves, 0.98))
    first, last = (weights != 0).argmax(0), len(wave) - 1 - (weights[::-1] != 0).argmax(0)
    flux, mag = np.zeros((len(rows), grid.size), np.float32), np.full((len(rows), weights.shape[1]), np.nan)
    for k, (row, redshift) in enumerate(zip(rows, z)):
        good = source[row] >= 0
        own, light = waves[row][good].astype(float) * (1 + redshift), fluxes[row][good].astype(float)
        inside = (wave[first] >= own[0]) & (wave[last] <= own[-1])
        mag[k, inside] = magnitude(np.interp(wave, own, light) @ weights[:, inside])
        flux[k] = np.interp(grid.wave, own, light)
    r = mag[:, filters.numbers("sdss2010", "r")[0]]
    shift = rng.uniform(*R_RANGE, len(rows)) - r
    mag, factor = mag + shift[:, None], 10 ** (-0.4 * shift)
    flux = (flux * factor[:, None]).astype(np.float32)
    ivar = 1 / (ATLAS_ERROR * np.maximum(flux, np.median(flux, 1, keepdims=True))) ** 2
    fits = basis.encode(flux, ivar.astype(np.float32), z, grid, DRAWS)
    vector, own_r = network.vector(z, fits)
    sample = Sample(
        mag=mag.astype(np.float32), error=0.0, z=z, kind=KIND_GROUPS["total"],
        extinction=EXTINCTIONS.index("dereddened"), fold=np.full(len(rows), -1),
        measured=np.ones(mag.shape[1], bool), is_simulated=True, misstated=0.5,
        sets=[filters.numbers("sdss2010", "ugriz")],
    )  # fmt: skip
    return sample, (vector, np.full_like(own_r, np.nan))


def read_fors2(data: Path, grid) -> tuple[np.ndarray, np.ndarray]:
    """FORS2's spectra on a grid, relative to their medians: flux and ivar (N, L).

    The inverse variance is that of the scatter about a running mean.
    """
    stored = np.load(data / "fors2.npz", allow_pickle=False)
    flux = np.zeros((len(stored["z"]), grid.size), np.float32)
    ivar = np.zeros_like(flux)
    for k in range(len(flux)):
        there = np.isfinite(stored["wave"][k]) & np.isfinite(stored["flux"][k])
        wave, light = (stored[name][k][there].astype(float) for name in ("wave", "flux"))
        good = stored["mask"][k][there] == 0
        if good.sum() > LEAST_PIXELS and np.median(light[good]) > 0:
            flux[k], ivar[k] = _on_grid(wave, light / np.median(light[good]), good, grid)
    return flux, ivar


def _on_grid(wave, light, good, grid) -> tuple[np.ndarray, np.ndarray]:
    """Flux and ivar (L,) of one spectrum with pixels that are `good` or not."""
    smooth = _running_mean(light, good, SMOOTH)
    variance = np.maximum(_running_mean((light - smooth) ** 2, good, 4 * SMOOTH + 1), 1e-4)
    inside = (grid.wave > wave[good][0]) & (grid.wave < wave[good][-1])
    inside &= np.interp(grid.wave, wave, good.astype(float)) > 0.99
    # Its pixels are wider than the grid's: interpolation repeats their noise.
    share = np.gradient(grid.wave) / np.interp(grid.wave, wave, np.gradient(wave))
    ivar = np.where(inside, share / np.interp(grid.wave, wave, variance), 0)
    return np.where(inside, np.interp(grid.wave, wave[good], light[good]), 0), ivar


def _running_mean(values, good, size: int) -> np.ndarray:
    kernel = np.ones(size) / size
    total = np.convolve(np.where(good, values, 0), kernel, "same")
    return total / np.maximum(np.convolve(good, kernel, "same"), 1e-6)


def fors2_spectra(data: Path, network: SpectrumNetwork, sample: Sample, seed: int):
    """FORS2's galaxies of `sample` whose spectra are good, with vectors without amplitude."""
    table = load_real(data)["fors2"]
    inside = (table.z > 5e-4) & (table.z < 0.75) & (np.isfinite(table.magnitude).sum(1) >= 2)
    flux, ivar = (values[table.row[inside]] for values in read_fors2(data, network.grid))
    z = table.z[inside]
    good = ((ivar > 0).mean(1) > 0.5) & (z < network.basis.z_max)
    fits = network.basis.encode(flux[good], ivar[good], z[good], network.grid, DRAWS, seed)
    vector, r = network.vector(z[good], fits, seed)
    return sample.of(good), (vector, np.full_like(r, np.nan))
