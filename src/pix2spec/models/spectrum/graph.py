"""The dense part of a batch as one function of tensors, which torch can compile to one graph.

It integrates the flow, with all its evaluations, and decodes the coefficients to spectra. Nothing in it
depends on values: shapes are those of the batch, so that a GPU never waits for the CPU. `spectra_of`, which
the CPU uses, skips what the values make superfluous, and gives the same spectra to rounding.
"""

import math
import warnings
from collections.abc import Callable
from functools import cache

import torch

from pix2spec.models.generator import Settings
from pix2spec.models.spectrum.network import LINE_SOFTENING, LOG_WIDTH, SpectrumNetwork

__all__ = ["MANY", "Graph", "InBfloat16", "dense_spectra"]


MANY = 10_000  # galaxies from which on a GPU compiles: it takes a minute or more


class Graph:
    """Calls the dense part of batches, compiled from some galaxy on.

    A compiled graph has one shape: batches are filled up to the largest one before, with copies of their last
    galaxy. So a catalogue compiles once, and its last, smaller batch uses the same graph.

    Parameters
    ----------
    after : float
        Number of galaxies that are drawn before torch compiles the function.
    """

    def __init__(self, after: float):
        self.after, self.seen, self.size = after, 0, 0

    def __call__(self, dense: Callable, stack, answers: list, settings: Settings, start, decodes: bool):
        """What ``dense(stack, answers, settings, start, decodes)`` returns.

        Parameters
        ----------
        dense : callable
            `pix2spec.models.spectrum.draw.dense`.
        stack : Stack
        answers : list of Answer
            What the networks know of n candidates of each of G galaxies.
        settings : Settings
        start : tensor (M, G * n, D)
            Normal numbers.
        decodes : bool
            Whether spectra are wanted.
        """
        _, count, n, _ = answers[0].features.shape
        self.seen, self.size = self.seen + count, max(self.size, count)
        if self.seen <= self.after:
            return dense(stack, answers, settings, start, decodes)
        from torch._dynamo.exc import TorchDynamoException  # takes seconds to import

        # A full batch is copied too: tensors of another layout in memory would need another graph.
        rows = torch.arange(self.size, device=start.device).clamp(max=count - 1)
        answers = [answer.of_galaxies(rows) for answer in answers]
        start = start.unflatten(1, (count, n))[:, rows].flatten(1, 2)
        try:
            made = _compiled(dense)(stack, answers, settings, start, decodes)
        except TorchDynamoException as error:
            first = str(error).strip().partition("\n")[0]
            warnings.warn(f"the networks run without being compiled: {first}", RuntimeWarning, stacklevel=2)
            self.after = math.inf
            made = dense(stack, answers, settings, start, decodes)
        return tuple(None if values is None else values[:, : count * n] for values in made)


@cache
def _compiled(function: Callable) -> Callable:
    return torch.compile(function, fullgraph=True, dynamic=False)


class InBfloat16:
    """A `SpectrumFlow` whose layers compute in bfloat16; what they return is float32.

    Parameters
    ----------
    flow : SpectrumFlow
    """

    def __init__(self, flow):
        self.flow = flow

    def known(self, features: torch.Tensor) -> torch.Tensor:
        """As of the flow."""
        with torch.autocast(features.device.type, torch.bfloat16):
            return self.flow.known(features).float()

    def modulate(self, condition: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        """As of the flow."""
        with torch.autocast(condition.device.type, torch.bfloat16):
            return self.flow.modulate(condition, sigma).float()

    def correction(self, x: torch.Tensor, known: torch.Tensor, modulation: torch.Tensor) -> torch.Tensor:
        """As of the flow."""
        with torch.autocast(x.device.type, torch.bfloat16):
            return self.flow.correction(x, known, modulation).float()


def dense_spectra(
    network: SpectrumNetwork, vectors: torch.Tensor, zeta: torch.Tensor, r: torch.Tensor
) -> torch.Tensor:
    """Noise-free spectra (M, B, L) of the vectors of a stack of M networks.

    Parameters
    ----------
    network : SpectrumNetwork
        A stack.
    vectors : tensor (M, B, D)
    zeta, r : tensor (M, B)
        log10(1 + z), and expected r fluxes.
    """
    basis, k = network.basis, 1 + network.basis.n_components
    rest = torch.baddbmm(basis.mean[:, None], vectors[..., 1:k], basis.components)
    shape, (rest, vectors, zeta, r) = zeta.shape, (x.flatten(0, 1) for x in (rest, vectors, zeta, r))
    zeta = zeta.double().clamp(-0.001, math.log10(1 + basis.z_max))
    unit = _moved(basis, rest, zeta)
    unit = _with_lines(basis, unit, zeta, vectors[:, k:-1], 10 ** vectors[:, -1].clamp(*LOG_WIDTH))
    unit = unit.clamp(min=0)
    own = (unit @ network.r_weights).clamp(min=1e-6)
    return (unit * (r * 10 ** vectors[:, 0] / own)[:, None]).unflatten(0, shape)


def _moved(basis, rest: torch.Tensor, zeta: torch.Tensor) -> torch.Tensor:
    """Continua (B, L) on the grid of those (B, size) on the lattice, as `RestFrameBasis.interpolated`."""
    (first, weights), size = basis.place(zeta), basis.grid.size
    pixel = first[:, None] + torch.arange(size + 3, device=rest.device)
    taps = rest.gather(1, pixel.clamp(max=rest.shape[1] - 1))
    return sum(weights[:, k : k + 1] * taps[:, k : k + size] for k in range(4))


def _with_lines(basis, unit: torch.Tensor, zeta, asinh: torch.Tensor, width: torch.Tensor) -> torch.Tensor:
    """Spectra (B, L) with the lines of asinh fluxes (B, groups), as `EmissionLines.profiles`."""
    lines, size = basis.lines, unit.shape[1]
    widest = math.hypot(10 ** LOG_WIDTH[1], lines.instrument) / lines.pixel
    reach = math.ceil(lines.PROFILE_SIGMAS * widest)
    flux = (LINE_SOFTENING * torch.sinh(asinh)).clamp(min=0)[:, lines.group]
    sigma = lines.sigma_pixels(width)[:, None]
    centre = (lines.loglam + zeta[:, None] - basis.grid.start) / lines.step
    nearest = centre.round()
    offset = torch.arange(-reach, reach + 1, device=unit.device)
    x = (offset - (centre - nearest).float()[..., None]) / sigma[..., None]
    profile = (flux * lines.density / (sigma * math.sqrt(2 * math.pi)))[..., None] * torch.exp(-0.5 * x**2)
    pixel = nearest.long()[..., None] + offset
    profile = profile * ((pixel >= 0) & (pixel < size))
    return unit.scatter_add(1, pixel.clamp(0, size - 1).flatten(1), profile.flatten(1))
