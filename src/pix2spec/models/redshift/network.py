"""The redshift model: an ensemble of networks from sets of measurements to redshift distributions."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import nn

from pix2spec.core.grid import SpectralGrid
from pix2spec.core.survey import SDSS, Survey
from pix2spec.models.redshift.posterior import RedshiftPosterior, to_y
from pix2spec.models.redshift.preset import RedshiftPreset
from pix2spec.models.redshift.prior import COUNTS_R, COUNTS_Z
from pix2spec.models.shared.measurements import KIND_GROUPS, MeasurementTable, SetEncoder, Tokens
from pix2spec.models.shared.network import Network
from pix2spec.models.shared.stack import stacked

__all__ = ["RedshiftModel", "RedshiftNetwork"]

LOG_SD = -6.5, 1.5  # limits of the Gaussians' ln(sd)
OPTICAL = 3000.0, 10_500.0  # Angstrom: mean wavelengths of the bands in which training knows many redshifts
BATCH = 4096  # values of galaxies x measurements that pass at once, in hundreds


class RedshiftNetwork(nn.Module):
    """One network: a mixture of Gaussians in y, and the logit of "this is outside the training set"."""

    def __init__(self, preset: RedshiftPreset):
        super().__init__()
        sizes = preset.queries, preset.values, preset.width, preset.dropout
        self.encoder = SetEncoder(3 * preset.components + 1, *sizes)

    def forward(self, x: Tokens, prepared: tuple | None = None) -> tuple[torch.Tensor, ...]:
        """Log weights, means and log sds (..., N, components) of the mixture, and the logit (..., N)."""
        out = self.encoder(x, prepared)
        weight, mean, log_sd = out[..., :-1].chunk(3, -1)
        return weight.log_softmax(-1), mean, log_sd.clamp(*LOG_SD), out[..., -1]

    def losses(self, x: Tokens, z: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Negative log likelihood (N,) of redshifts, per unit of y, and the logit (N,) of being outside."""
        weight, mean, log_sd, logit = self(x)
        deviation = (to_y(z)[:, None] - mean) * torch.exp(-log_sd)
        log_density = weight - log_sd - 0.5 * deviation**2
        return -torch.logsumexp(log_density, 1), logit


class RedshiftModel(Network):
    """Redshift distributions from an ensemble of networks.

    Each network was trained without some *folds* of the real galaxies, so that it can be tested on them.

    Parameters
    ----------
    preset : RedshiftPreset
        The settings.
    grid, survey
        Not used; every model of the package has them.
    """

    def __init__(self, preset: RedshiftPreset, grid: SpectralGrid, survey: Survey = SDSS):
        super().__init__(preset, grid, survey)
        self.networks = nn.ModuleList(RedshiftNetwork(preset) for _ in preset.without)
        self.register_buffer("threshold", torch.zeros(()))  # of the logit of being outside
        self.register_buffer("stretch", torch.ones(4))  # of distributions, by the kind of the fluxes
        self.register_buffer("far_stretch", torch.ones(()))  # of those from fluxes outside of `OPTICAL`
        self.register_buffer(
            "counts", torch.zeros(len(COUNTS_R) - 1, len(COUNTS_Z) - 1)
        )  # see `Prior.weights`
        self._stack: tuple = ()

    def fixed(self) -> "RedshiftModel":
        """The model itself. From now on its networks answer as one; later changes of weights do not count."""
        self._stack = (stacked(self.networks),)  # a tuple, so that it is no part of the model's state
        return self

    @classmethod
    def open(cls, folder: str | Path) -> "RedshiftModel":
        """Load the model of a folder."""
        from pix2spec.models.storage import load_model

        return load_model(folder)[0]

    def parts(self) -> dict:
        """One network, for a galaxy with five measurements."""
        flux = np.ones((1, 5))
        table = MeasurementTable(flux, flux, np.linspace(3600, 9000, 5), np.full(5, 300.0))
        return {"network": (self.networks[0], (table.tokens(),))}

    def posterior(self, table, without: np.ndarray | None = None) -> RedshiftPosterior:
        """Redshift distributions of galaxies.

        Parameters
        ----------
        table : MeasurementTable or Tokens
            Their measurements.
        without : array (N,), int, optional
            Fold of each galaxy: only the networks that never saw this fold answer. -1: all networks.

        Returns
        -------
        RedshiftPosterior
        """
        weight, mean, sd, _ = self._answers(table, without)
        return RedshiftPosterior(weight, mean, sd)

    def answer(
        self, table, without: np.ndarray | None = None, prepared: tuple | None = None
    ) -> tuple[RedshiftPosterior, np.ndarray]:
        """What `posterior` and `outside` return, in one pass of the networks.

        `prepared` may hold what `SetEncoder.prepare` says of the tokens.
        """
        weight, mean, sd, logit = self._answers(table, without, prepared)
        return RedshiftPosterior(weight, mean, sd), logit > float(self.threshold)

    def logit(self, table, without: np.ndarray | None = None) -> np.ndarray:
        """Logit (N,) of the probability that an object is outside the training set."""
        return self._answers(table, without)[3]

    def outside(self, table, without: np.ndarray | None = None) -> np.ndarray:
        """Whether objects (N,) are outside the training set: stars, quasars, colours that nobody saw."""
        return self.logit(table, without) > float(self.threshold)

    @torch.inference_mode()
    def _answers(self, table, without, prepared: tuple | None = None) -> tuple[np.ndarray, ...]:
        """Weights, means and sds (N, M) of the mixtures of the ensemble, and mean logits (N,)."""
        tokens = table if isinstance(table, Tokens) else table.tokens()
        votes = self._votes(len(tokens), without)
        size = max(1, BATCH * 100 // tokens.flux.shape[1] // 64)
        parts: list[list[np.ndarray]] = []
        for start in range(0, len(tokens), size):
            rows = slice(start, start + size)
            part, own = tokens[rows], prepared and tuple(values[rows] for values in prepared)
            *mixtures, logits = self._made(part, own or self.networks[0].encoder.prepare(part))
            share = torch.from_numpy(votes[rows]).T
            mixtures[0] = mixtures[0].exp() * share[..., None]
            weight, mean, log_sd = (values.movedim(0, 1).flatten(1) for values in mixtures)
            logit = (logits * share).sum(0)
            factor = _by_kind(part, self.stretch) * _by_wavelength(part, self.far_stretch)
            mean, sd = _stretched(weight, mean, log_sd.exp(), factor)
            parts.append([values.double().numpy() for values in (weight, mean, sd, logit)])
        return tuple(np.concatenate(values) for values in zip(*parts))

    def _made(self, tokens: Tokens, prepared) -> list[torch.Tensor]:
        """Log weights, means and log sds (networks, N, components) of mixtures, and logits (networks, N)."""
        if self._stack:
            return list(self._stack[0](tokens[None], tuple(values[None] for values in prepared)))
        every = zip(*(network(tokens, prepared) for network in self.networks))
        return [torch.stack(values) for values in every]

    def _votes(self, n: int, without: Sequence[int] | np.ndarray | None) -> np.ndarray:
        """Weight of each network for each galaxy (N, networks), float32."""
        if without is None:
            return np.full((n, len(self.networks)), 1 / len(self.networks), np.float32)
        folds = np.asarray(without)
        may = np.array([(folds < 0) | np.isin(folds, left_out) for left_out in self.preset.without]).T
        if not may.any(1).all():
            raise ValueError(f"all networks were trained on fold {folds[~may.any(1)][0]}")
        return (may / may.sum(1, keepdims=True)).astype(np.float32)


def _by_kind(tokens: Tokens, stretch: torch.Tensor) -> torch.Tensor:
    """How much wider distributions (N,) must be because of the kinds of the fluxes.

    Networks see the few galaxies with fluxes in the fibre again and again, and become too sure of themselves.
    """
    factor = (stretch[tokens.kind] * tokens.seen).sum(1) / tokens.seen.sum(1).clamp(min=1)
    return torch.where(tokens.seen.any(1), factor, 1.0)


def _by_wavelength(tokens: Tokens, stretch: torch.Tensor) -> torch.Tensor:
    """How much wider distributions (N,) must be because of ultraviolet and infrared fluxes of unknown kind.

    They come from other surveys than the optical fluxes, with other apertures and zero points.
    """
    far = (tokens.centre < OPTICAL[0]) | (tokens.centre > OPTICAL[1])
    joined = far & (tokens.kind == KIND_GROUPS["unknown"]) & tokens.seen
    return stretch ** (joined.sum(1) / tokens.seen.sum(1).clamp(min=1))


def _stretched(weight, mean, sd, factor: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Means and sds (N, M) of mixtures that are wider about their mean by `factor` (N,)."""
    middle = (weight * mean).sum(1, keepdim=True)
    return middle + factor[:, None] * (mean - middle), sd * factor[:, None]
