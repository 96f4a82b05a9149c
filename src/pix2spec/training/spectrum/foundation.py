"""Basis and noise model of a network, from spectra without the folds that the network must not see."""

from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from pix2spec.data.simulate.survey import SimulatedSurvey
from pix2spec.models.latent.noise import NoiseModel
from pix2spec.models.latent.prepare import Simulation, floor_errors
from pix2spec.models.spectrum.network import SpectrumNetwork
from pix2spec.models.spectrum.noise import SurveyNoise
from pix2spec.training.real_sky import real_spectra
from pix2spec.training.spectrum.bank import BASIS_SEED, simulated_spectra

__all__ = ["fit_basis", "fit_noise"]

BLOCKS = 24  # of 128 simulated galaxies
ITERATIONS = 10  # of EM
DRAWS = 8  # from the posterior of a real spectrum
SIMULATED = 2048  # simulated spectra of the noise model
CHANGE = (
    20.0,
    0.3,
)  # median flux (1e-17 erg/s/cm2/A) below which most noise is simulated; scale of its logarithm
SIMULATED_ERROR = 0.02  # of simulated pixels, relative to the median: real spectra decide as much as they do


def fit_basis(network: SpectrumNetwork, data: Path, without: tuple[int, ...], out: Path) -> None:
    """Fit the basis of a network, or load it from the file `out`."""
    if out.exists():
        network.basis.load_state_dict(load_file(out))
        return
    grid = Simulation.grid
    flux, z = simulated_spectra(BLOCKS, network.basis.z_max)
    ivar = np.broadcast_to(1 / (SIMULATED_ERROR * np.median(flux, 1, keepdims=True)) ** 2, flux.shape)
    real = real_spectra(data)
    known = ~np.isin(real.fold, without)
    errors = floor_errors(real.flux[known], real.ivar[known])
    pad = ((0, 0), (0, grid.size - real.flux.shape[1]))
    flux = np.concatenate([flux, np.pad(real.flux[known], pad)])
    ivar = np.concatenate([ivar.astype(np.float32), np.pad(errors, pad)])
    torch.manual_seed(0)
    network.basis.fit(flux, ivar, np.r_[z, real.z[known]], grid, ITERATIONS, progress=False)
    save_file({k: v.contiguous() for k, v in network.basis.state_dict().items()}, out)


@torch.no_grad()
def fit_noise(network: SpectrumNetwork, data: Path, without: tuple[int, ...], out: Path) -> None:
    """Fit the noise model of a network, whose basis is fitted, or load it from the file `out`.

    Bright spectra have the noise of real ones, nearly all of which are bright. Faint ones have that of the
    simulated survey. The noise-free spectrum of a real one is the mean of draws from its posterior.
    """
    if out.exists():
        network.noise.load_state_dict(load_file(out))
        return
    real = real_spectra(data)
    rows = np.flatnonzero(~np.isin(real.fold, without))
    flux, ivar, z = real.flux[rows], real.ivar[rows], real.z[rows]
    fits = network.basis.encode(flux, floor_errors(flux, ivar), z, network.grid, DRAWS)
    vector, r = (torch.from_numpy(values) for values in network.vector(z, fits))
    zeta = torch.from_numpy(np.log10(1 + z))
    clean = sum(network.spectra(vector[:, k], zeta, r[:, k]) for k in range(DRAWS)) / DRAWS
    simulated = SimulatedSurvey(BASIS_SEED, network.grid).sample(SIMULATED)
    faint = NoiseModel.fit(simulated["flux"], simulated["ivar"], simulated["true_flux"])
    network.noise = SurveyNoise.of(NoiseModel.fit(flux, ivar, clean.numpy()), faint, *CHANGE)
    save_file({k: v.contiguous() for k, v in network.noise.state_dict().items()}, out)
