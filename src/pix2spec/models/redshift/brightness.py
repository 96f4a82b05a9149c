"""Redshifts of galaxies whose fluxes share an error of their brightness, as those of colour pictures do."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from pix2spec.core.filters import FLOOR
from pix2spec.data.measurements import Measurements
from pix2spec.models.redshift.network import RedshiftModel
from pix2spec.models.redshift.posterior import RedshiftPosterior
from pix2spec.models.shared.measurements import Tokens, tokens_of

__all__ = ["answer", "mean_of_levels", "with_levels"]

# Nodes and weights of Gauss and Hermite for the mean over a normal distribution.
NODES, WEIGHTS = np.polynomial.hermite_e.hermegauss(7)
WEIGHTS = WEIGHTS / WEIGHTS.sum()


def with_levels(galaxy: Measurements) -> list[Measurements]:
    """The fluxes at each of the brightnesses at `NODES`, without an error that they share."""
    factors = 10 ** (0.4 * galaxy.brightness_error * NODES)
    return [
        replace(galaxy, flux=galaxy.flux * f, error=galaxy.error * f, brightness_error=0.0) for f in factors
    ]


def answer(
    model: RedshiftModel, galaxies: Sequence[Measurements], floor: float = FLOOR, fold: int | None = None,
    tokens: Tokens | None = None, prepared: tuple | None = None,
) -> tuple[RedshiftPosterior, np.ndarray]:  # fmt: skip
    """Redshift distributions of galaxies, and whether they are outside the training set.

    The distribution of a galaxy with a `brightness_error` is the mean over its possible brightnesses.

    Parameters
    ----------
    model : RedshiftModel
    galaxies : sequence of Measurements
    floor : float
        Least error in magnitudes; it is added in quadrature.
    fold : int, optional
        Only networks that never saw this fold of the real galaxies answer.
    tokens, prepared : optional
        The same galaxies as tokens, and what `SetEncoder.prepare` says of them, if these are at hand.

    Returns
    -------
    RedshiftPosterior, array (N,) of bool
    """
    if not any(galaxy.brightness_error for galaxy in galaxies):
        tokens = tokens_of(list(galaxies), floor) if tokens is None else tokens
        return model.answer(tokens, _without(fold, len(galaxies)), prepared)
    levels = [level for galaxy in galaxies for level in with_levels(galaxy)]
    posterior, outside = model.answer(tokens_of(levels, floor), _without(fold, len(levels)))
    return mean_of_levels(posterior), outside.reshape(len(galaxies), -1) @ WEIGHTS > 0.5


def mean_of_levels(posterior: RedshiftPosterior) -> RedshiftPosterior:
    """The distributions of galaxies, from those at the brightnesses of `with_levels`, galaxy by galaxy."""
    shape = (len(posterior) // len(NODES), len(NODES), -1)
    weight = posterior.weight.reshape(shape) * WEIGHTS[:, None]
    flat = [values.reshape(shape[0], -1) for values in (weight, posterior.mean, posterior.sd)]
    return RedshiftPosterior(*flat)


def _without(fold: int | None, count: int) -> np.ndarray | None:
    return None if fold is None else np.full(count, fold)
