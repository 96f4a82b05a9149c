"""Distributions of redshift: mixtures of Gaussians in a stretched logarithm of z."""

from dataclasses import dataclass, replace

import numpy as np
import torch

from pix2spec.runtime.random import object_uniforms

__all__ = ["GRID", "Z_MAX", "RedshiftPosterior", "from_y", "to_y"]

OFFSET, CENTRE, SCALE = 0.02, -2.4, 0.6  # y = (ln(z + 0.02) + 2.4) / 0.6 is about normal for bright galaxies
Z_MIN, Z_MAX = 1e-4, 0.75


def to_y(z):
    """The coordinate in which the networks work, of redshifts (arrays or tensors)."""
    log = torch.log if isinstance(z, torch.Tensor) else np.log
    return (log(z + OFFSET) - CENTRE) / SCALE


def from_y(y: np.ndarray) -> np.ndarray:
    """Redshifts of values of y, inside Z_MIN and Z_MAX."""
    return np.clip(np.exp(np.minimum(y, 6) * SCALE + CENTRE) - OFFSET, Z_MIN, Z_MAX)


GRID = np.linspace(to_y(Z_MIN), to_y(Z_MAX), 4097)


@dataclass
class RedshiftPosterior:
    """Redshift distributions of N galaxies.

    Parameters
    ----------
    weight, mean, sd : array (N, M)
        Mixtures of M Gaussians in y, see `to_y`.
    mass : array (N, G), optional
        Probability in each cell of a grid in y, where the distribution was multiplied by something else.
    """

    weight: np.ndarray
    mean: np.ndarray
    sd: np.ndarray
    mass: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.weight)

    def __getitem__(self, rows) -> "RedshiftPosterior":
        mass = None if self.mass is None else self.mass[rows]
        return RedshiftPosterior(self.weight[rows], self.mean[rows], self.sd[rows], mass)

    def cdf(self, z: np.ndarray) -> np.ndarray:
        """Probability (N,) below the redshifts `z` (N,)."""
        if self.mass is not None:
            edges = np.hstack([np.zeros((len(self), 1)), np.cumsum(self.mass, 1)])
            return np.array([np.interp(y, GRID, row) for y, row in zip(to_y(np.asarray(z, float)), edges)])
        return self._cdf(to_y(np.asarray(z, float)))

    def _cdf(self, y: np.ndarray) -> np.ndarray:
        from scipy.special import ndtr  # as slow to import as a tenth of torch; loading a model needs none

        return (self.weight * ndtr((y[:, None] - self.mean) / self.sd)).sum(1)

    def quantile(self, q) -> np.ndarray:
        """Redshifts (N,) below which the probability is `q`, a number or (N,)."""
        q = np.broadcast_to(np.asarray(q, float), (len(self),))
        if self.mass is not None:
            edges = np.hstack([np.zeros((len(self), 1)), np.cumsum(self.mass, 1)])
            return from_y(np.array([np.interp(level, row, GRID) for level, row in zip(q, edges)]))
        low, high = np.full(len(self), GRID[0]), np.full(len(self), GRID[-1])
        for _ in range(24):  # to 4e-7 in y
            middle = (low + high) / 2
            above = self._cdf(middle) > q
            low, high = np.where(above, low, middle), np.where(above, middle, high)
        return from_y((low + high) / 2)

    def sample(self, n: int, seed: int = 0, ids=None) -> np.ndarray:
        """Draw redshifts (N, n). A draw depends on the seed, the galaxy's id and its own number alone.

        Parameters
        ----------
        n : int
        seed : int
        ids : sequence of str, optional
            Ids of the galaxies; by default their numbers.
        """
        from scipy.special import ndtri

        ids = [str(i) for i in range(len(self))] if ids is None else ids
        level = np.stack([object_uniforms(seed, name, "redshift", n) for name in ids])
        if self.mass is not None:
            return np.stack([self.quantile(column) for column in level.T], 1)
        # The uniform number chooses a Gaussian; its remainder is the quantile inside it.
        edges = np.cumsum(self.weight, 1)
        which = np.zeros(level.shape, int)
        for edge in edges.T[:-1]:
            which += level > edge[:, None]
        rows = np.arange(len(self))[:, None]
        inside = 1 - (edges[rows, which] - level) / self.weight[rows, which]
        return from_y(self.mean[rows, which] + self.sd[rows, which] * ndtri(np.clip(inside, 1e-9, 1 - 1e-9)))

    def times(self, factor) -> "RedshiftPosterior":
        """The distributions multiplied by a function of z, and normalised.

        Parameters
        ----------
        factor : callable
            From redshifts (G,) to factors (G,) or (N, G), none negative: a prior relative to that of the
            training set, or the likelihood of a redshift that is known otherwise.
        """
        middle = from_y((GRID[1:] + GRID[:-1]) / 2)
        mass = self.on_grid() * np.asarray(factor(middle))
        total = mass.sum(1, keepdims=True)
        mass = np.where(total > 0, mass / np.where(total > 0, total, 1), 1 / mass.shape[1])
        return replace(self, mass=mass)

    def on_grid(self) -> np.ndarray:
        """Probabilities (N, G) in the cells of `GRID`."""
        if self.mass is not None:
            return self.mass
        cdf = np.stack([self._cdf(np.full(len(self), y)) for y in GRID], 1)
        return np.diff(cdf, axis=1)
