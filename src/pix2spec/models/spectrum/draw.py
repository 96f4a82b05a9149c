"""Draw the coefficients of candidates."""

from dataclasses import dataclass, replace

import numpy as np
import torch

from pix2spec.models.generator import Settings
from pix2spec.models.spectrum.bands import BandTables
from pix2spec.models.spectrum.inputs import Seen
from pix2spec.models.spectrum.likelihood import Misfit
from pix2spec.models.spectrum.network import Known, SpectrumNetwork
from pix2spec.models.spectrum.sampler import sample_around

__all__ = ["EVALUATIONS", "LIMIT", "Drawn", "draw_vectors"]

EVALUATIONS = 4  # default number of network evaluations per candidate
LIMIT = 4.5  # normal scores beyond which no training galaxy lies: such candidates are drawn anew
LEAST_LIGHT = 0.02  # r flux of a spectrum relative to the mean spectrum of the same scale
REDRAWS = 6


@dataclass
class Drawn:
    """Coefficients of n candidates of each of N galaxies, before they become spectra."""

    vectors: torch.Tensor  # (N, n, D)
    zeta: torch.Tensor  # (N, n) log10(1 + z)
    r: torch.Tensor  # (N, n) expected r flux
    number: np.ndarray  # (N, n) of the network
    generators: np.ndarray  # (N, n) objects
    misfit: Misfit

    @classmethod
    def empty(cls, count: int, n: int, dimension: int, device) -> "Drawn":
        """Nothing is drawn yet."""
        one = torch.zeros(count, n, device=device)
        vectors, generators = torch.zeros(count, n, dimension, device=device), np.empty((count, n), object)
        return cls(vectors, one, one.clone(), np.zeros((count, n), int), generators, Misfit.empty(count, n))

    def put(self, number: int, columns: np.ndarray, vectors, known: Known, generators) -> None:
        """Keep candidates that a network has drawn; `columns` are their places."""
        shape = len(self.number), len(columns)
        self.vectors[:, columns] = vectors.unflatten(0, shape)
        self.zeta[:, columns], self.r[:, columns] = known.zeta.view(shape), known.r.view(shape)
        self.number[:, columns] = number
        own = np.empty(len(generators), object)
        own[:] = generators
        self.generators[:, columns] = own.reshape(shape)


def draw_vectors(
    network: SpectrumNetwork,
    seen: Seen,
    tables: BandTables,
    zeta: torch.Tensor,
    settings: Settings,
    generators,
) -> tuple[torch.Tensor, Known]:
    """Coefficient vectors of candidates, and what was known of them.

    A candidate beyond the range of the training set, or without light, is drawn anew from its own generator.

    Parameters
    ----------
    network : SpectrumNetwork
    seen : Seen
        N galaxies.
    tables : BandTables
        Of the network, in the filters of `seen`.
    zeta : tensor (N, n)
        log10(1 + z) of the candidates.
    settings : Settings
        `sampler`, `steps` and `guidance` matter.
    generators : sequence of torch.Generator, length N * n

    Returns
    -------
    vectors : tensor (N * n, D)
    known : Known
    """
    count, n = zeta.shape
    rows = torch.arange(count).repeat_interleave(n)
    offset = _brightness(seen, rows, generators)
    x, known = _drawn(network, seen, tables, zeta, settings, generators, offset)
    for _ in range(REDRAWS):
        again = _is_odd(network, tables, x, known).nonzero()[:, 0]
        if not len(again):
            break
        some, z = seen.of(rows[again]), zeta.flatten()[again][:, None]
        theirs = [generators[k] for k in again.tolist()]
        x[again], _ = _drawn(network, some, tables, z, settings, theirs, offset[again])
    odd = _is_odd(network, tables, x, known)
    limit = network.normal.MAX_SIGMAS
    x[odd] = known.mean[odd].clamp(-limit, limit)  # never seen: the linear answer itself
    return network.normal.inverse(x), known


def _is_odd(network: SpectrumNetwork, tables: BandTables, x: torch.Tensor, known: Known) -> torch.Tensor:
    """Whether candidates (B,) lie beyond the training set, or have no light."""
    last = torch.full((len(x), 1), len(tables.flux) - 1, device=x.device)
    in_r = tables.at(last, known.zeta)[0][:, 0]
    light = (in_r * network.linear_parts(network.normal.inverse(x))).sum(1)
    mean = (in_r * network.basis.prior_mean.to(in_r.dtype)).sum(1)
    return (x.abs() > LIMIT).any(1) | (light < LEAST_LIGHT * mean) | ~torch.isfinite(x).all(1)


def _drawn(network, seen: Seen, tables, zeta, settings: Settings, generators, brightness):
    """Normal scores (N * n, D) of candidates, and what was known of them."""
    velocity, known = _velocity(network, seen, tables, zeta, brightness)
    if settings.guidance != 1:
        (free, _), seeing = _velocity(network, seen.blind(), tables, zeta, brightness), velocity

        def velocity(x, sigma):
            base = free(x, sigma)
            return base + settings.guidance * (seeing(x, sigma) - base)

    steps = settings.steps or EVALUATIONS
    return sample_around(velocity, known.mean, known.spread, settings.sampler, steps, generators), known


def _brightness(seen: Seen, rows: torch.Tensor, generators) -> torch.Tensor:
    """A factor (N * n, 1) for the fluxes of each candidate, where they share an error."""
    error = torch.from_numpy(seen.brightness_error)[rows].float()
    drawn = [torch.randn((), generator=g) if e else torch.zeros(()) for e, g in zip(error, generators)]
    return (10 ** (0.4 * error * torch.stack(drawn)))[:, None].to(seen.picture.device)


def _velocity(network: SpectrumNetwork, seen: Seen, tables: BandTables, zeta, brightness):
    """Velocity of the flow, a function of x (N * n, D) and sigma (N * n,); and what is known."""
    count, n = zeta.shape
    rows = torch.arange(count).repeat_interleave(n)
    tokens = seen.tokens[rows]
    tokens = replace(tokens, flux=tokens.flux * brightness, error=tokens.error * brightness)
    known = network.known(tokens, seen.index[rows], tables, zeta.flatten())
    condition = network.galaxy(seen.tokens, seen.picture, seen.has_picture)
    features = network.flow.known(known.features).unflatten(0, (count, n))
    mean, spread = (values.unflatten(0, (count, n)) for values in (known.mean, known.spread))

    def velocity(x, sigma):
        level = sigma.view(count, n)[:, 0]
        modulation = network.flow.modulate(condition, level)
        return network.flow(x.view(count, n, -1), level, features, modulation, mean, spread).flatten(0, 1)

    return velocity, known
