"""Draw the coefficients of candidates."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch

from pix2spec.models.generator import Settings
from pix2spec.models.shared.device import to_device, to_host
from pix2spec.models.shared.stack import part_of, stacked
from pix2spec.models.spectrum.bands import BandTables
from pix2spec.models.spectrum.flow import SpectrumFlow, gaussian_velocity
from pix2spec.models.spectrum.graph import Graph, InBfloat16, dense_spectra
from pix2spec.models.spectrum.inputs import Seen
from pix2spec.models.spectrum.linear import LinearPrior
from pix2spec.models.spectrum.network import Known, SpectrumNetwork
from pix2spec.models.spectrum.sampler import noise_levels, sample_around
from pix2spec.runtime.random import candidate_generator, normal_rows, object_generator

__all__ = ["EVALUATIONS", "LIMIT", "Draws", "Stack", "draw_vectors"]

EVALUATIONS = 4  # default number of network evaluations per candidate
LIMIT = 4.5  # normal scores beyond which no training galaxy lies: such candidates are drawn anew
LEAST_LIGHT = 0.02  # r flux of a spectrum relative to the mean spectrum of the same scale
REDRAWS = 6
LEVELS = 8  # noise levels whose modulations are computed at a time


@dataclass
class Stack:
    """Some networks of the ensemble as one; see `pix2spec.models.shared.stack`."""

    numbers: Sequence[int]  # (M,) of the networks
    network: SpectrumNetwork  # without its noise
    prior: LinearPrior
    bfloat16: bool = False  # whether the flow computes in it
    _parts: dict = field(default_factory=dict)

    @classmethod
    def of(cls, networks: Sequence[SpectrumNetwork], numbers: Sequence[int], bfloat16=False) -> "Stack":
        """Of the networks with some numbers."""
        network = stacked([networks[number] for number in numbers], without=["noise"])
        return cls(numbers, network, network.prior(), bfloat16)

    @property
    def flow(self) -> SpectrumFlow | InBfloat16:
        """The flow of the networks."""
        return InBfloat16(self.network.flow) if self.bfloat16 else self.network.flow

    def part(self, first: int, end: int) -> "Stack":
        """The networks from `first` on, without that at `end`."""
        key, some = (first, end), slice(first, end)
        if key not in self._parts:
            prior = LinearPrior(self.prior.mean[some], self.prior.factor[some])
            self._parts[key] = Stack(self.numbers[some], part_of(self.network, some), prior, self.bfloat16)
        return self._parts[key]


@dataclass
class Draws:
    """Random numbers of candidates of some galaxies: functions of seed, galaxy and candidate alone."""

    seed: int
    ids: Sequence[str]  # of the galaxies
    networks: Sequence[int]  # (M,) their numbers
    columns: np.ndarray  # (M, n) numbers of the candidates of a galaxy that each network draws, in order

    def start(self, length: int) -> torch.Tensor:
        """Normal numbers (M, N * n, length)."""
        generators = [
            object_generator(self.seed, name, f"network {number}")
            for number in self.networks for name in self.ids
        ]  # fmt: skip
        count, n = self.columns.shape
        rows = normal_rows(len(generators) * n, length, generators)
        return rows.view(count, len(self.ids) * n, -1)[..., :length]

    def again(self, rows: np.ndarray, length: int, turn: int) -> torch.Tensor:
        """Others (M, R, length) for candidates with the numbers `rows` (M, R), in turn 0, 1 ..."""
        n, drawn = self.columns.shape[1], torch.empty(*rows.shape, length)
        for (network, k), row in np.ndenumerate(rows):
            column = int(self.columns[network, row % n])
            generator = candidate_generator(self.seed, self.ids[row // n], column)
            drawn[network, k] = torch.randn(turn + 1, length, generator=generator)[turn]
        return drawn


class Answer:
    """What M networks know of n candidates of each of G galaxies.

    Parameters
    ----------
    flow : SpectrumFlow
        A stack of M.
    condition : tensor (M, G, width)
    known : Known
        Of candidates (M, G * n).
    features : tensor (M, G * n, width), or (M, G, n, width)
        From `SpectrumFlow.known`.
    levels : tuple of float
        Noise levels at which the flow may be evaluated, in order.
    """

    def __init__(self, flow, condition, known: Known, features: torch.Tensor, levels: tuple):
        self.flow, self.condition, self.known, self.levels = flow, condition, known, levels
        self.features = features.unflatten(1, (condition.shape[1], -1)) if features.dim() == 3 else features
        self._modulations: dict[float, torch.Tensor] = {}

    @classmethod
    def of(cls, stack: Stack, seen: Seen, tables: BandTables, zeta, brightness, levels) -> "Answer":
        """Of candidates at zeta (M, G, n), for which fluxes are multiplied by `brightness` (M, G * n, 1)."""
        network, rows = stack.network, _galaxies(zeta)
        tokens = seen.tokens[rows]
        if brightness is not None:
            tokens = replace(tokens, flux=tokens.flux * brightness, error=tokens.error * brightness)
        known = network.known(tokens, seen.index[rows], tables, zeta.flatten(1), stack.prior)
        prepared = tuple(values[None] for values in seen.prepared(network.galaxy.measured))
        condition = network.galaxy(seen.tokens[None], seen.picture[None], seen.has_picture[None], prepared)
        flow = stack.flow
        return cls(flow, condition, known, flow.known(known.features), levels)

    def rows(self, which: tuple[torch.Tensor, torch.Tensor]) -> "Answer":
        """For some candidates of each network, (M, R), each as if it were alone."""
        networks, rows = which
        features = self.features.flatten(1, 2)[which]
        condition = self.condition[networks, rows // self.features.shape[2]]
        return Answer(self.flow, condition, self.known.of(which), features, self.levels)

    def of_galaxies(self, rows: torch.Tensor) -> "Answer":
        """For some galaxies (R,), but for what only the choice of candidates needs."""
        _, count, n, _ = self.features.shape
        some = {
            name: getattr(self.known, name).unflatten(1, (count, n))[:, rows].flatten(1, 2)
            for name in ("zeta", "r", "mean", "spread")
        }
        known, features = replace(self.known, **some), self.features[:, rows]
        return Answer(self.flow, self.condition[:, rows], known, features, self.levels)

    def correction(self, x: torch.Tensor, sigma: float) -> torch.Tensor:
        """What the flow adds to the Gaussian velocity of x (M, G * n, D) at a noise level."""
        modulation, features = self._modulation(sigma), self.features
        if features.shape[1] == 1:  # one galaxy: fewer axes
            return self.flow.correction(x, features[:, 0], modulation[:, 0])
        inner = x.unflatten(1, features.shape[1:3])
        return self.flow.correction(inner, features, modulation).flatten(1, 2)

    def velocity(self, x: torch.Tensor, sigma: float) -> torch.Tensor:
        """Velocities of x (M, G * n, D) at a noise level."""
        linear = gaussian_velocity(x, sigma, self.known.mean, self.known.spread)
        return linear + self.correction(x, sigma)

    def _modulation(self, sigma: float) -> torch.Tensor:
        """Modulations (M, G, depth, 3, width) at a level; those of some levels are computed at a time."""
        if sigma not in self._modulations:
            first = self.levels.index(sigma)
            some = self.levels[first : first + LEVELS]
            levels = torch.tensor(some, device=self.condition.device)[None, :, None]
            made = self.flow.modulate(self.condition[:, None], levels)
            self._modulations = dict(zip(some, made.unbind(1)))
        return self._modulations[sigma]


def _galaxies(zeta: torch.Tensor) -> torch.Tensor:
    """Number (N * n,) of the galaxy of each of the candidates at zeta (M, N, n)."""
    return torch.arange(zeta.shape[1], device=zeta.device)[:, None].expand(zeta.shape[1:]).reshape(-1)


def draw_vectors(
    stack: Stack, seen: Seen, tables: BandTables, zeta: torch.Tensor, settings: Settings, draws: Draws,
    graph: Graph | None = None, decodes: bool = True,
) -> tuple[torch.Tensor, Known, torch.Tensor | None]:  # fmt: skip
    """Coefficient vectors of candidates, what was known of them, and perhaps their spectra.

    A candidate beyond the range of the training set, or without light, is drawn anew.

    Parameters
    ----------
    stack : Stack
        M networks.
    seen : Seen
        N galaxies.
    tables : BandTables
        Of the networks, in the filters of `seen`.
    zeta : tensor (M, N, n)
        log10(1 + z) of the candidates.
    settings : Settings
        `sampler`, `steps` and `guidance` matter.
    draws : Draws
    graph : Graph, optional
        What calls `dense`.
    decodes : bool
        Whether the graph makes spectra too.

    Returns
    -------
    vectors : tensor (M, N * n, D)
    known : Known
        Of candidates (M, N * n).
    spectra : tensor (M, N * n, L) or None
        Without noise.
    """
    network, dimension = stack.network, stack.network.dimension
    start = to_device(draws.start(dimension + 1), zeta.device)
    brightness = _brightness(seen, start[..., -1], zeta)
    levels = noise_levels(settings.sampler, settings.steps or EVALUATIONS)
    answers = [Answer.of(stack, seen, tables, zeta, brightness, levels)]
    if settings.guidance != 1:
        answers.append(Answer.of(stack, seen.blind(), tables, zeta, brightness, levels))
    known, inputs = answers[0].known, (stack, answers, settings, start[..., :-1])
    x, vectors, spectra = graph(dense, *inputs, decodes) if graph else dense(*inputs, False)
    odd = _is_odd(stack, x, vectors, known)
    changed = None
    for turn in range(REDRAWS):
        most = int(odd.sum(1).max())
        if not most:
            break
        # The same number of candidates of each network: those that are not odd stay as they are.
        rows = odd.to(torch.uint8).argsort(dim=1, descending=True, stable=True)[:, :most]
        which = torch.arange(len(rows), device=rows.device)[:, None], rows
        changed = changed or which  # later ones are among them
        start = to_device(draws.again(to_host(rows)[0], dimension, turn), zeta.device)
        x, was_odd = _sampled([answer.rows(which) for answer in answers], settings, start), odd[which]
        vectors[which] = torch.where(was_odd[..., None], network.normal.inverse(x), vectors[which])
        odd[which] = was_odd & _is_odd(stack, x, vectors[which], known.of(which))
    limit = network.normal.MAX_SIGMAS
    linear = network.normal.inverse(known.mean.clamp(-limit, limit))  # the linear answer itself
    vectors = torch.where(odd[..., None], linear, vectors)
    if spectra is not None and changed:
        spectra[changed] = dense_spectra(network, vectors[changed], known.zeta[changed], known.r[changed])
    return vectors, known, spectra


def dense(stack: Stack, answers: list[Answer], settings: Settings, start: torch.Tensor, decodes: bool):
    """Normal scores and vectors (M, B, D) of candidates, from normal numbers (M, B, D); spectra or None.

    No operation depends on values: torch can compile the function to one graph.
    """
    known, network = answers[0].known, stack.network
    x = _sampled(
        [Answer(a.flow, a.condition, a.known, a.features, a.levels) for a in answers], settings, start
    )
    vectors = network.normal.inverse(x)
    return x, vectors, dense_spectra(network, vectors, known.zeta, known.r) if decodes else None


def _is_odd(stack: Stack, x: torch.Tensor, vectors: torch.Tensor, known: Known) -> torch.Tensor:
    """Whether candidates (M, B) lie beyond the training set, or have no light."""
    light = (known.in_r * stack.network.linear_parts(vectors)).sum(-1)
    mean = (known.in_r @ stack.prior.mean.to(known.in_r.dtype)[..., None])[..., 0]
    return (x.abs() > LIMIT).any(-1) | (light < LEAST_LIGHT * mean) | ~torch.isfinite(x).all(-1)


def _sampled(answers: list[Answer], settings: Settings, start: torch.Tensor) -> torch.Tensor:
    """Normal scores (M, B, D) of candidates, from normal numbers (M, B, D)."""
    seeing, known = answers[0], answers[0].known

    def guided(x, sigma):
        away = seeing.velocity(x, sigma) - answers[1].velocity(x, sigma)
        return seeing.correction(x, sigma) + (settings.guidance - 1) * away

    correction, steps = seeing.correction if len(answers) == 1 else guided, settings.steps or EVALUATIONS
    return sample_around(correction, known.mean, known.spread, settings.sampler, steps, start)


def _brightness(seen: Seen, normal: torch.Tensor, zeta: torch.Tensor) -> torch.Tensor | None:
    """A factor (M, N * n, 1) for the fluxes of each candidate, where they share an error."""
    if not seen.brightness_error.any():
        return None
    error = to_device(seen.brightness_error.astype(np.float32), zeta.device)[_galaxies(zeta)]
    return (10 ** (0.4 * error * normal))[..., None]
