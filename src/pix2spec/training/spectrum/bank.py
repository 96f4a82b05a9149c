"""Simulated galaxies for the spectrum networks: their light in all filters, and coefficient vectors.

Two thirds of the galaxies are those of the simulated survey, of which `picture_bank` takes pictures. The
others are the same kinds of galaxies, placed at redshifts up to the model's largest. Nothing has noise.
"""

from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
import torch

from pix2spec.data.simulate.galaxies import Galaxies, draw_galaxies, luminosity_distance
from pix2spec.data.simulate.images import draw_images
from pix2spec.data.simulate.photometry import PhotometryModel
from pix2spec.data.simulate.survey import SimulatedSurvey
from pix2spec.models.latent.prepare import Simulation
from pix2spec.models.spectrum.network import SpectrumNetwork
from pix2spec.runtime.atomic import write_atomically
from pix2spec.runtime.progress import progress_bar
from pix2spec.training.redshift.filters import TrainingFilters

__all__ = [
    "BLOCK",
    "SEED",
    "SpectrumBank",
    "build_spectrum_bank",
    "in_fibre",
    "is_placed",
    "placed",
    "simulated_spectra",
]

SEED, BASIS_SEED, BLOCK, BLOCKS = 4242, 77, 128, 720
MOVED = 3  # every third block is placed at other redshifts
TOGETHER = 8  # blocks that are encoded together
CONTINUUM = 5000.0, 5500.0  # Angstrom, rest frame: light by which galaxies keep their luminosity


@dataclass
class SpectrumBank:
    """M simulated galaxies in F filters, with the coefficient vectors of each of the networks."""

    fibre: np.ndarray  # (M, F) float32: magnitudes of the light in the fibre
    total: np.ndarray  # (M, F) float32: of all light
    z: np.ndarray  # (M,)
    vector: np.ndarray  # (networks, M, D) float32
    r: np.ndarray  # (networks, M) float32: r flux of the spectrum


def is_placed(number: int) -> bool:
    """Whether the galaxies of a block are placed at other redshifts, and have no picture."""
    return number % MOVED == MOVED - 1


def placed(rng, galaxies: Galaxies, z_max: float, model) -> tuple[Galaxies, np.ndarray]:
    """The galaxies at redshifts drawn up to `z_max`; and the factor (n,) by which distance dims them."""
    z = rng.uniform(0.001, z_max, len(galaxies.z))
    moved = replace(galaxies, z=z)
    light = [_continuum(model, model.components(some), some.z) for some in (galaxies, moved)]
    dimming = (luminosity_distance(galaxies.z) / luminosity_distance(z)) ** 2 * (1 + galaxies.z) / (1 + z)
    return moved, light[0] / light[1] * dimming


def _continuum(model, parts, z: np.ndarray) -> np.ndarray:
    low, high = (np.searchsorted(model.wave, w * (1 + z)) for w in CONTINUUM)
    return np.array([(b[i:j] + d[i:j]).mean() for b, d, i, j in zip(parts.bulge, parts.disc, low, high)])


def simulated_spectra(blocks: int, z_max: float) -> tuple[np.ndarray, np.ndarray]:
    """Noise-free spectra (n, L) in the fibre on the grid of `Simulation`, half at other redshifts; z (n,)."""
    survey, spectra, redshifts = SimulatedSurvey(BASIS_SEED, Simulation.grid), [], []
    for number in range(blocks):
        rng = np.random.default_rng([BASIS_SEED, number])
        galaxies = draw_galaxies(rng, BLOCK)
        parts = survey.model.components(galaxies)
        _, *inside = draw_images(rng, galaxies, parts)
        if number % 2:
            galaxies, _ = placed(rng, galaxies, z_max, survey.model)
            parts = survey.model.components(galaxies)
        spectra.append(survey.onto_grid(in_fibre(parts.bulge, parts.disc, *inside)))
        redshifts.append(galaxies.z)
    return np.concatenate(spectra), np.concatenate(redshifts)


def in_fibre(bulge, disc, in_bulge, in_disc) -> np.ndarray:
    """Light (n, W) within the fibre, of which bulges and discs have shares (n,)."""
    return bulge * in_bulge[:, None].astype(np.float32) + disc * in_disc[:, None].astype(np.float32)


_models: dict = {}  # of a worker process


def _start_worker(curves: dict, networks: list[SpectrumNetwork]) -> None:
    torch.set_num_threads(1)
    photometry = PhotometryModel()
    _models.update(
        survey=SimulatedSurvey(SEED, Simulation.grid), photometry=photometry,
        weights=photometry.weights(curves), networks=networks,
    )  # fmt: skip


@torch.no_grad()
def _blocks(numbers: range) -> dict[str, np.ndarray]:
    """All arrays of `SpectrumBank` for some blocks of galaxies, which are encoded together to save time."""
    parts = [_block(number) for number in numbers]
    arrays = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    spectra = arrays.pop("spectra")
    encoded = [_encoded(network, spectra, arrays["z"]) for network in _models["networks"]]
    arrays["vector"] = np.stack([vector for vector, _ in encoded], 1)
    arrays["r"] = np.stack([r for _, r in encoded], 1)
    return arrays


def _block(number: int) -> dict[str, np.ndarray]:
    """Arrays of `SpectrumBank` for one block of galaxies, with their spectra instead of coefficients."""
    rng, survey = np.random.default_rng([SEED, number]), _models["survey"]
    galaxies = draw_galaxies(rng, BLOCK)
    parts = survey.model.components(galaxies)
    _, *inside = draw_images(rng, galaxies, parts)
    factor = np.ones(BLOCK)
    if is_placed(number):
        galaxies, factor = placed(rng, galaxies, _models["networks"][0].basis.z_max, survey.model)
        parts = survey.model.components(galaxies)
    spectra = survey.onto_grid(in_fibre(parts.bulge, parts.disc, *inside)) * factor[:, None].astype(
        np.float32
    )
    bulge, disc = _models["photometry"].photometry(galaxies, _models["weights"])
    fibre, total = in_fibre(bulge, disc, *inside), bulge + disc
    return {
        "fibre": _magnitudes(fibre * factor[:, None]), "total": _magnitudes(total * factor[:, None]),
        "z": galaxies.z, "spectra": spectra,
    }  # fmt: skip


def _encoded(network: SpectrumNetwork, spectra: np.ndarray, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    vector, r = network.vector(z, network.basis.encode(spectra, None, z, Simulation.grid))
    return vector[:, 0], r[:, 0]


def _magnitudes(flux) -> np.ndarray:
    return (22.5 - 2.5 * np.log10(np.maximum(flux, 1e-9))).astype(np.float32)


def build_spectrum_bank(
    filters: TrainingFilters, networks: list[SpectrumNetwork], out: Path, blocks: int = BLOCKS,
    processes: int = 2,
) -> SpectrumBank:  # fmt: skip
    """The bank in the file `out`, which is computed if it does not exist.

    Parameters
    ----------
    filters : TrainingFilters
    networks : list of SpectrumNetwork
        With fitted bases.
    out : Path
        An .npz file.
    blocks : int
        Number of blocks of 128 galaxies.
    processes : int
    """
    if not out.exists():
        curves = {curve.name: (curve.wave, curve.response) for curve in filters.curves}
        start = curves, networks
        with ProcessPoolExecutor(processes, initializer=_start_worker, initargs=start) as pool:
            groups = [range(k, min(k + TOGETHER, blocks)) for k in range(0, blocks, TOGETHER)]
            parts = list(progress_bar(pool.map(_blocks, groups), "simulating", True, len(groups)))
        arrays = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        for name in ("vector", "r"):
            arrays[name] = np.ascontiguousarray(np.swapaxes(arrays[name], 0, 1))
        write_atomically(out, lambda path: _save(path, arrays))
    with np.load(out, allow_pickle=False) as stored:
        return SpectrumBank(**{field.name: stored[field.name] for field in fields(SpectrumBank)})


def _save(path: Path, arrays: dict) -> None:
    with open(path, "wb") as stream:
        np.savez(stream, **arrays)
