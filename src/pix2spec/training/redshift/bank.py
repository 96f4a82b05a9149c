"""A bank of simulated galaxies without noise, in all filters of the training set.

The bank lends real galaxies the bands in which nobody measured them (`transfer`), and its own fluxes in the
fibre are a sample to train on.
"""

from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from scipy.spatial import cKDTree

from pix2spec.data.simulate.galaxies import draw_galaxies
from pix2spec.data.simulate.images import draw_images
from pix2spec.data.simulate.photometry import PhotometryModel
from pix2spec.data.simulate.spectra import SpectrumModel
from pix2spec.runtime.atomic import write_atomically
from pix2spec.runtime.progress import progress_bar
from pix2spec.training.redshift.filters import TrainingFilters

__all__ = ["Bank", "build_bank", "transfer"]

SEED, BLOCK, BLOCKS = 4242, 128, 800
Z_LOW, Z_HIGH = 0.001, 1.2  # of galaxies that are placed at random
DONORS = 4


@dataclass
class Bank:
    """Magnitudes of M simulated galaxies in F filters, not behind the Milky Way's dust."""

    fibre: np.ndarray  # (M, F) float32: light in the fibre, at the redshift of the simulated survey
    fibre_z: np.ndarray  # (M,)
    total: np.ndarray  # (M, F) float32: all light, at redshifts uniform from Z_LOW to Z_HIGH
    total_z: np.ndarray  # (M,)


_models: dict = {}  # of a worker process


def _start_worker(curves: dict) -> None:
    torch.set_num_threads(1)
    photometry = PhotometryModel()
    _models.update(spectra=SpectrumModel(), photometry=photometry, weights=photometry.weights(curves))


def _block(number: int) -> tuple[np.ndarray, ...]:
    """Magnitudes in the fibre and of all light, with their redshifts, of one block of galaxies."""
    rng = np.random.default_rng([SEED, number])
    galaxies = draw_galaxies(rng, BLOCK)
    _, in_bulge, in_disc = draw_images(rng, galaxies, _models["spectra"].components(galaxies))
    model, weights = _models["photometry"], _models["weights"]
    bulge, disc = model.photometry(galaxies, weights, ebv=0.0)
    fibre = bulge * in_bulge[:, None] + disc * in_disc[:, None]
    z = rng.uniform(Z_LOW, Z_HIGH, BLOCK)
    total = sum(model.photometry(galaxies, weights, z, ebv=0.0))
    return _magnitudes(fibre), galaxies.z, _magnitudes(total), z


def _magnitudes(flux) -> np.ndarray:
    return (22.5 - 2.5 * np.log10(np.maximum(flux, 1e-9))).astype(np.float32)


def build_bank(filters: TrainingFilters, out: str | Path, blocks: int = BLOCKS, processes: int = 2) -> Bank:
    """The bank in the file `out`, which is computed if it does not exist.

    Parameters
    ----------
    filters : TrainingFilters
    out : path
        An .npz file.
    blocks : int
        Number of blocks of 128 galaxies.
    processes : int
    """
    out = Path(out)
    if not out.exists():
        curves = {curve.name: (curve.wave, curve.response) for curve in filters.curves}
        with ProcessPoolExecutor(processes, initializer=_start_worker, initargs=(curves,)) as pool:
            parts = list(progress_bar(pool.map(_block, range(blocks)), "bank", True, blocks))
        arrays = dict(zip(("fibre", "fibre_z", "total", "total_z"), map(np.concatenate, zip(*parts))))
        write_atomically(out, lambda path: _save(path, arrays))
    with np.load(out, allow_pickle=False) as stored:
        return Bank(**stored)


def _save(path: Path, arrays: dict) -> None:
    with open(path, "wb") as stream:
        np.savez(stream, **arrays)


def transfer(mag, z, bank: Bank, known, centre, rng) -> tuple[np.ndarray, np.ndarray]:
    """Magnitudes of real galaxies in all filters, from simulated galaxies at the same redshift.

    The nearest simulated galaxies in colour lend theirs, corrected by the residuals in the measured bands,
    which are interpolated in ln(wavelength): a K correction (Blanton & Roweis 2007, AJ 133:734).

    Parameters
    ----------
    mag : array (N, K)
        Magnitudes in the filters `known`.
    z : array (N,)
    bank : Bank
    known : array (K,), int
        Numbers of the filters.
    centre : array (F,)
        Wavelengths of all filters.
    rng : numpy.random.Generator
        Chooses one of the nearest few.

    Returns
    -------
    mag : array (N, F), float32
    z : array (N,)
        Redshifts of the galaxies that lend: they differ from the given ones by some 0.002, which narrow bands
        can see.
    """

    def features(magnitudes, redshift):
        return np.c_[(magnitudes - magnitudes.mean(1, keepdims=True)) / 0.05, redshift / 0.01]

    tree = cKDTree(features(bank.total[:, known].astype(float), bank.total_z))
    _, near = tree.query(features(mag, z), DONORS)
    donor = near[np.arange(len(z)), rng.integers(DONORS, size=len(z))]
    lent = bank.total[donor]
    residual, order = mag - lent[:, known], np.argsort(centre[known])
    x = np.log(centre[known])[order]
    out = lent + np.stack([np.interp(np.log(centre), x, row[order]) for row in residual])
    return out.astype(np.float32), bank.total_z[donor]
