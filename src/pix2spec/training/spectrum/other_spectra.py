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
DRAWS = 8


def atlas_galaxies(data: Path, network: SpectrumNetwork, filters: TrainingFilters, rng):
    """The atlas's galaxies, placed at redshifts of the model: a sample and vectors."""
    stored = np.load(data / "brown2014.npz", allow_pickle=False)
    grid, basis = network.grid, network.basis
    count = len(stored["z"])
    rows, z = np.repeat(np.arange(count), PLACES), rng.uniform(0.003, basis.z_max - 0.01, count * PLACES)
    wave = np.geomspace(1000, 60_000, 30_000)
    weights = filter_matrix(wave, filters.curves, 0.98)
    flux, mag = np.zeros((len(rows), grid.size), np.float32), np.full((len(rows), weights.shape[1]), np.nan)
    for k, (row, redshift) in enumerate(zip(rows, z)):
        good = stored["source"][row] >= 0
        own, light = stored["wave_rest"][row][good].astype(float), stored["flux"][row][good].astype(float)
        seen = np.interp(wave, own * (1 + redshift), light, left=np.nan, right=np.nan)
        beyond = ~np.isfinite(seen)
        touched = (np.nan_to_num(weights[beyond]) != 0).any(0)
        mag[k] = magnitude(np.nan_to_num(seen) @ weights)
        mag[k][touched] = np.nan
        flux[k] = np.interp(grid.wave, own * (1 + redshift), light)
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
        wave, light, good = (
            stored["wave"][k].astype(float),
            stored["flux"][k].astype(float),
            stored["mask"][k] == 0,
        )
        good &= np.isfinite(light) & np.isfinite(wave)
        if good.sum() < 200 or not np.median(light[good]) > 0:
            continue
        light = light / np.median(light[good])
        kernel = np.ones(SMOOTH) / SMOOTH
        smooth = np.convolve(np.where(good, light, 0), kernel, "same") / np.maximum(
            np.convolve(good, kernel, "same"), 1e-6
        )
        variance = np.convolve(np.where(good, (light - smooth) ** 2, 0), np.ones(61) / 61, "same")
        variance /= np.maximum(np.convolve(good, np.ones(61) / 61, "same"), 1e-6)
        inside = (grid.wave > wave[good][0]) & (grid.wave < wave[good][-1])
        nearest = np.interp(grid.wave, wave, good.astype(float)) > 0.99
        flux[k] = np.interp(grid.wave, wave[good], light[good])
        # Its pixels are wider than the grid's: interpolation repeats their noise.
        share = np.gradient(grid.wave) / np.interp(grid.wave, wave, np.gradient(wave))
        ivar[k] = np.where(
            inside & nearest, share / np.interp(grid.wave, wave, np.maximum(variance, 1e-4)), 0
        )
        flux[k][ivar[k] == 0] = 0
    return flux, ivar


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
