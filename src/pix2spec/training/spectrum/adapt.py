"""Adapt the default model to a user's own pairs of measurements and spectra."""

import copy
import math
from collections.abc import Callable

import numpy as np
import torch

from pix2spec.core.filters import load_filter
from pix2spec.data.dataset import Dataset
from pix2spec.data.schema import Galaxy
from pix2spec.data.simulate.survey import SimulatedSurvey
from pix2spec.errors import InputError
from pix2spec.models.latent.noise import NoiseModel
from pix2spec.models.latent.prepare import floor_errors
from pix2spec.models.shared.checks import in_bands_of, mask_invalid_fluxes
from pix2spec.models.shared.measurements import MeasurementTable, Tokens, cat_tokens, tokens_of
from pix2spec.models.spectrum.model import SpectrumModel
from pix2spec.models.spectrum.network import SpectrumNetwork
from pix2spec.models.spectrum.noise import SurveyNoise
from pix2spec.runtime.progress import progress_bar
from pix2spec.training.redshift.optimizer import MuonAdam
from pix2spec.training.spectrum.recipe import flow_loss

__all__ = ["adapt"]

STEPS, RATE = 300, 1e-3
BATCH, REPLAYED = 96, 64  # galaxies of the user, and simulated ones so that nothing else is forgotten
REPLAY, REPLAY_SEED = 3072, 78  # simulated galaxies
DRAWS = 8  # from the posterior of each spectrum
LEAST = 20  # usable pairs
FEWER, NOISIER = 0.3, 0.4  # probabilities that bands are hidden, and that noise is added


def adapt(model: SpectrumModel, dataset: Dataset, progress: bool = True) -> tuple[SpectrumModel, int]:
    """A copy of the model whose flows also know the dataset's galaxies.

    Redshifts are not learnt from the dataset, nor are pictures: the bases, the redshift model and the image
    network stay as they are. The noise model becomes that of the dataset's spectra.

    Parameters
    ----------
    model : SpectrumModel
    dataset : Dataset
        Galaxies with fluxes in any filters, a redshift, and a spectrum on the model's grid.
    progress : bool
        Show a progress bar.

    Returns
    -------
    model : SpectrumModel
    count : int
        Number of galaxies that it learnt from.

    Raises
    ------
    InputError
        If the spectra are on another grid, or fewer than 20 galaxies can be used.
    """
    if dataset.info.grid != model.grid:
        raise InputError(dataset.path, "its spectra are on another grid than the model's", "import them anew")
    made = copy.deepcopy(model)
    galaxies = usable(dataset, model)
    flux, ivar = (np.stack([getattr(g, name) for g in galaxies]) for name in ("flux", "ivar"))
    ivar = np.where(np.isfinite(flux), np.nan_to_num(ivar), 0).astype(np.float32)
    flux, z = np.where(ivar > 0, flux, 0).astype(np.float32), np.array([g.z for g in galaxies], float)
    measured = [some for g in galaxies if (some := g.measured)]
    own = tokens_of(measured), measured
    replay = SimulatedSurvey(REPLAY_SEED).sample(REPLAY)
    for network in progress_bar(made.networks, "adapting networks", progress, len(made.networks)):
        _adapt_one(network, own, flux, ivar, z, replay, model.survey)
    return made.eval(), len(galaxies)


def usable(dataset: Dataset, model: SpectrumModel) -> list[Galaxy]:
    """The galaxies of a dataset that have fluxes, a redshift in range and half a spectrum."""
    found = []
    for galaxy in dataset:
        galaxy = mask_invalid_fluxes(in_bands_of(galaxy, model.survey, may_lack=True))
        has_spectrum = galaxy.flux is not None and galaxy.ivar is not None and (galaxy.ivar > 0).mean() > 0.5
        if has_spectrum and galaxy.measured and galaxy.measured.filters and 1e-4 < galaxy.z < model.z_max:
            found.append(galaxy)
    if len(found) < LEAST:
        what = f"only {len(found)} galaxies have fluxes, a redshift below {model.z_max} and a spectrum"
        raise InputError(dataset.path, what, f"at least {LEAST} are needed")
    return found


def _adapt_one(network: SpectrumNetwork, own, flux, ivar, z, replay: dict, survey) -> None:
    network.requires_grad_(False)
    fits = network.basis.encode(flux, floor_errors(flux, ivar), z, network.grid, DRAWS)
    theirs = [torch.from_numpy(values) for values in network.vector(z, fits)]
    clean = sum(
        network.spectra(theirs[0][:, k], torch.from_numpy(np.log10(1 + z)), theirs[1][:, k])
        for k in range(DRAWS)
    )
    network.noise = SurveyNoise.of(NoiseModel.fit(flux, ivar, (clean / DRAWS).numpy()))
    known = network.basis.encode(replay["true_flux"], None, replay["z"], network.grid)
    simulated = [torch.from_numpy(values) for values in network.vector(replay["z"], known)]
    draws = _draws(own, theirs, z, replay, simulated, survey, network)
    trained = torch.nn.ModuleList([network.galaxy, network.flow]).requires_grad_(True).train()
    average = copy.deepcopy(trained)
    optimizer = MuonAdam(trained.parameters(), lr=RATE, weight_decay=0.0)
    for step in range(STEPS):
        torch.manual_seed(step)
        for group in optimizer.param_groups:
            group["lr"] = RATE * min(1, (step + 1) / 30) * 0.5 * (1 + math.cos(math.pi * step / STEPS)) + 1e-7
        loss = draws(step)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained.parameters(), 1.0)
        optimizer.step()
        with torch.no_grad():
            for a, b in zip(average.parameters(), trained.parameters()):
                a.lerp_(b, 0.02)
    trained.load_state_dict(average.state_dict())
    network.requires_grad_(False)


def _draws(own, theirs, z, replay, simulated, survey, network) -> Callable[[int], torch.Tensor]:
    """A function that draws a batch and returns its loss."""
    tokens, measurements = own
    number: dict = {}
    index = torch.zeros(tokens.flux.shape, dtype=torch.long)
    for row, some in enumerate(measurements):
        for k, name in enumerate(some.filters):
            index[row, k] = number.setdefault(load_filter(name, some.curves), len(number))
    bands = [number.setdefault(load_filter(name), len(number)) for name in survey.filters]
    tables = network.tables(tuple(number))
    filters = [load_filter(name) for name in survey.filters]
    centre, width = (np.array([getattr(f, name) for f in filters]) for name in ("centre", "width"))
    error = 1 / np.sqrt(np.maximum(replay["photometry_ivar"], 1e-12))
    seen = MeasurementTable(replay["photometry"], error, centre, width, "fibre", "observed").tokens()
    every = cat_tokens([tokens, seen])
    more = torch.tensor(bands).expand(len(seen), -1)
    longest = every.flux.shape[1]
    index = torch.cat([torch.nn.functional.pad(i, (0, longest - i.shape[1])) for i in (index, more)])
    zeta = torch.from_numpy(np.log10(1 + np.r_[z, replay["z"]])).float()
    n = len(tokens)

    def loss(step: int) -> torch.Tensor:
        mine, old = torch.randint(n, (BATCH,)), n + torch.randint(len(seen), (REPLAYED,))
        rows, draw = torch.cat([mine, old]), torch.randint(DRAWS, (BATCH,))
        vector = torch.cat([theirs[0][mine, draw], simulated[0][old - n, 0]])
        r = torch.cat([theirs[1][mine, draw], simulated[1][old - n, 0]])
        nothing = torch.zeros(len(rows), network.galaxy.image.in_features)
        pictures = nothing, torch.zeros(len(rows), dtype=torch.bool)
        return flow_loss(network, varied(every[rows]), index[rows], tables, zeta[rows], vector, r, *pictures)

    return loss


def varied(x: Tokens) -> Tokens:
    """The measurements with other noise, and with bands missing, at random."""
    n, k = x.flux.shape
    keep = (torch.rand(n, k) < 0.7) | (torch.rand(n, 1) > FEWER)
    extra = torch.empty(n, 1).uniform_(0.003, 0.1) * (torch.rand(n, 1) < NOISIER) * x.flux.abs()
    noisy = x.flux + extra * torch.randn(n, k)
    return Tokens(noisy, torch.hypot(x.error, extra), x.centre, x.width, x.seen & keep, x.kind, x.extinction)
