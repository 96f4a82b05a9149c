"""Draw the coefficients of candidates."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from pix2spec.models.generator import Settings
from pix2spec.models.spectrum.bands import BandTables
from pix2spec.models.spectrum.flow import gaussian_velocity
from pix2spec.models.spectrum.inputs import Seen
from pix2spec.models.spectrum.likelihood import Misfit
from pix2spec.models.spectrum.network import Known, SpectrumNetwork
from pix2spec.models.spectrum.sampler import sample_around
from pix2spec.runtime.random import candidate_generator, normal_rows, object_generator

__all__ = ["EVALUATIONS", "LIMIT", "Drawn", "Draws", "draw_vectors"]

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
    number: np.ndarray  # (n,) of the network
    misfit: Misfit

    @classmethod
    def empty(cls, count: int, n: int, dimension: int, device) -> "Drawn":
        """Nothing is drawn yet."""
        one = torch.zeros(count, n, device=device)
        vectors = torch.zeros(count, n, dimension, device=device)
        return cls(vectors, one, one.clone(), np.zeros(n, int), Misfit.empty(count, n))

    def put(self, number: int, columns: np.ndarray, vectors, known: Known) -> None:
        """Keep candidates that a network has drawn; `columns` are their places."""
        shape = len(self.vectors), len(columns)
        self.vectors[:, columns] = vectors.unflatten(0, shape)
        self.zeta[:, columns], self.r[:, columns] = known.zeta.view(shape), known.r.view(shape)
        self.number[columns] = number


@dataclass
class Draws:
    """Random numbers of candidates of some galaxies: functions of seed, galaxy and candidate alone."""

    seed: int
    ids: Sequence[str]  # of the galaxies
    network: int
    columns: np.ndarray  # (n,) numbers of the candidates of a galaxy that the network draws, in order

    def start(self, length: int) -> torch.Tensor:
        """Normal numbers (N * n, length)."""
        purpose = f"network {self.network}"
        generators = [object_generator(self.seed, name, purpose) for name in self.ids]
        return normal_rows(len(self.ids) * len(self.columns), length, generators)[:, :length]

    def again(self, rows: list[int], length: int, turn: int) -> torch.Tensor:
        """Others (rows, length) for some candidates, in turn 0, 1 ..."""
        n, drawn = len(self.columns), []
        for row in rows:
            generator = candidate_generator(self.seed, self.ids[row // n], int(self.columns[row % n]))
            drawn.append(torch.randn(turn + 1, length, generator=generator)[turn])
        return torch.stack(drawn)


@dataclass
class _Answer:
    """What a network knows of n candidates of each of G galaxies."""

    network: SpectrumNetwork
    condition: torch.Tensor  # (G, width)
    known: Known
    features: torch.Tensor  # (G * n, width)

    @classmethod
    def of(cls, network, seen: Seen, tables: BandTables, zeta: torch.Tensor, brightness) -> "_Answer":
        """Of candidates at zeta (G, n), for which fluxes are multiplied by `brightness` (G * n, 1)."""
        rows = _galaxies(*zeta.shape)
        tokens = seen.tokens[rows]
        if brightness is not None:
            tokens = replace(tokens, flux=tokens.flux * brightness, error=tokens.error * brightness)
        known = network.known(tokens, seen.index[rows], tables, zeta.flatten())
        prepared = seen.prepared(network.galaxy.measured)
        condition = network.galaxy(seen.tokens, seen.picture, seen.has_picture, prepared)
        return cls(network, condition, known, network.flow.known(known.features))

    def rows(self, rows: torch.Tensor) -> "_Answer":
        """For some candidates, each as if it were alone."""
        galaxies = rows // (len(self.features) // len(self.condition))
        return _Answer(self.network, self.condition[galaxies], self.known.of(rows), self.features[rows])

    def correction(self, x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        """What the network adds to the velocities of x (G * n, D) at noise levels (G * n,)."""
        count, flow = len(self.condition), self.network.flow
        modulation = flow.modulate(self.condition, sigma.view(count, -1)[:, 0])
        x, features = (values.unflatten(0, (count, -1)) for values in (x, self.features))
        return flow.correction(x, features, modulation).flatten(0, 1)

    def velocity(self, x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        """Velocities of x (G * n, D) at noise levels (G * n,)."""
        linear = gaussian_velocity(x, sigma[:, None], self.known.mean, self.known.spread)
        return linear + self.correction(x, sigma)


def _galaxies(count: int, n: int) -> torch.Tensor:
    """Number of the galaxy of each of count * n candidates."""
    return torch.arange(count).repeat_interleave(n)


def draw_vectors(
    network: SpectrumNetwork, seen: Seen, tables: BandTables, zeta: torch.Tensor, settings: Settings,
    draws: Draws,
) -> tuple[torch.Tensor, Known]:  # fmt: skip
    """Coefficient vectors of candidates, and what was known of them.

    A candidate beyond the range of the training set, or without light, is drawn anew.

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
    draws : Draws

    Returns
    -------
    vectors : tensor (N * n, D)
    known : Known
    """
    dimension = network.dimension
    start = draws.start(dimension + 1).to(zeta.device)
    brightness = _brightness(seen, start[:, -1], zeta)
    answers = [_Answer.of(network, seen, tables, zeta, brightness)]
    if settings.guidance != 1:
        answers.append(_Answer.of(network, seen.blind(), tables, zeta, brightness))
    x = _sampled(answers, settings, start[:, :-1])
    known, vectors = answers[0].known, network.normal.inverse(x)
    odd = _is_odd(network, x, vectors, known)
    for turn in range(REDRAWS):
        again = odd.nonzero()[:, 0]
        if not len(again):
            return vectors, known
        start = draws.again(again.tolist(), dimension, turn).to(zeta.device)
        x = _sampled([answer.rows(again) for answer in answers], settings, start)
        vectors[again] = network.normal.inverse(x)
        odd[again] = _is_odd(network, x, vectors[again], known.of(again))
    limit = network.normal.MAX_SIGMAS
    vectors[odd] = network.normal.inverse(known.mean[odd].clamp(-limit, limit))  # the linear answer itself
    return vectors, known


def _is_odd(network: SpectrumNetwork, x: torch.Tensor, vectors: torch.Tensor, known: Known) -> torch.Tensor:
    """Whether candidates (B,) lie beyond the training set, or have no light."""
    light = (known.in_r * network.linear_parts(vectors)).sum(1)
    mean = known.in_r @ network.basis.prior_mean.to(known.in_r.dtype)
    return (x.abs() > LIMIT).any(1) | (light < LEAST_LIGHT * mean) | ~torch.isfinite(x).all(1)


def _sampled(answers: list[_Answer], settings: Settings, start: torch.Tensor) -> torch.Tensor:
    """Normal scores (B, D) of candidates, from normal numbers (B, D)."""
    seeing, known = answers[0], answers[0].known

    def guided(x, sigma):
        away = seeing.velocity(x, sigma) - answers[1].velocity(x, sigma)
        return seeing.correction(x, sigma) + (settings.guidance - 1) * away

    correction, steps = seeing.correction if len(answers) == 1 else guided, settings.steps or EVALUATIONS
    return sample_around(correction, known.mean, known.spread, settings.sampler, steps, start)


def _brightness(seen: Seen, normal: torch.Tensor, zeta: torch.Tensor) -> torch.Tensor | None:
    """A factor (N * n, 1) for the fluxes of each candidate, where they share an error."""
    if not seen.brightness_error.any():
        return None
    error = torch.from_numpy(seen.brightness_error).float().to(zeta.device)[_galaxies(*zeta.shape)]
    return (10 ** (0.4 * error * normal))[:, None]
