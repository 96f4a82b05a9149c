"""Quantities for a ranking from the columns of a catalogue that holds no candidates.

The catalogue keeps the redshift of each candidate, and of each measured quantity the median and the quantiles
of 16 and 84 % over the candidates. So the values of one quantity are known well enough to count those that
fulfil a statement, but not which of them belong together.
"""

from collections.abc import Iterable
from functools import cached_property

import numpy as np
from scipy.special import ndtri

from pix2spec.errors import InputError
from pix2spec.measure.quantities import BPT_CLASSES
from pix2spec.products.catalogue import Catalogue
from pix2spec.ranking.expression import Node, columns_of
from pix2spec.ranking.measure import COLUMNS, Quantities

__all__ = ["ColumnQuantities", "spread"]

# Shares of classes in a catalogue, and the class of `BPT_CLASSES` that each counts as
CLASSES = {"p_star_forming": "star-forming", "p_composite": "composite", "p_seyfert": "AGN", "p_liner": "AGN"}
CANDIDATES = "generate the catalogue again, and keep the candidates"


def spread(median: np.ndarray, low: np.ndarray, high: np.ndarray, n: int) -> np.ndarray:
    """Values (objects, n) with given medians and quantiles of 16 and 84 %, from the smallest to the largest.

    They lie at the plotting positions k / (n + 1) of two halves of normal distributions.
    """
    deviate = ndtri(np.arange(1, n + 1) / (n + 1))
    width = np.where(deviate > 0, (high - median)[:, None], (median - low)[:, None])
    return median[:, None] + deviate * width


class ColumnQuantities(Quantities):
    """The quantities of a catalogue without candidates. Values of an object are sorted, apart from z.

    Parameters
    ----------
    catalogue : Catalogue

    Raises
    ------
    InputError
        If it holds neither redshifts of candidates nor a generated object.
    """

    def __init__(self, catalogue: Catalogue):
        self.catalogue, self.failures = catalogue, []
        if "redshifts" not in catalogue.schema.names:
            what = "the catalogue has neither candidates nor their redshifts"
            raise InputError(catalogue.path, what, CANDIDATES)
        table = catalogue.read(["status", "redshifts"])
        lists = [row or [] for row in table["redshifts"].to_pylist()]
        done = np.array(table["status"].to_pylist()) == "ok"
        sizes = np.array([len(row) for row in lists])
        self.position = np.flatnonzero(done & (sizes > 0))
        if not len(self.position):
            raise InputError(catalogue.path, "the catalogue has no generated object with redshifts")
        self.counts = sizes[self.position]
        self.starts = np.cumsum(self.counts) - self.counts
        self.rows = np.repeat(self.position, self.counts)
        self.z = np.concatenate([lists[i] for i in self.position])

    @cached_property
    def known(self) -> list[str]:
        """Quantities of `COLUMNS` that the columns tell."""
        names = set(self.catalogue.schema.names)
        spreads = [name for name in COLUMNS if {name, f"{name}_lo", f"{name}_hi"} <= names]
        return ["z", *spreads, *["bpt"] * (set(CLASSES) <= names)]

    def check(self, tree: Node, where: str) -> None:
        """Raise `InputError` if a statement joins quantities: which values belong together is unknown."""
        joined = sorted(columns_of(tree) & set(self.known))
        if len(joined) > 1:
            what = f"{' and '.join(joined)} belong together in candidates, which the catalogue does not hold"
            raise InputError(where, what, f"use one of them in the statement; or {CANDIDATES}")

    def columns(self, names: Iterable[str]) -> dict[str, np.ndarray]:
        """Values by name, (rows,) each."""
        return {name: self._column(name) for name in names}

    def _column(self, name: str) -> np.ndarray:
        if name == "z":
            return self.z
        if name == "bpt":
            return self._classes() if "bpt" in self.known else np.zeros(len(self.rows), int)
        if name not in self.known:
            return np.repeat(self.of_objects(name), self.counts)
        median, low, high = (self.of_objects(f"{name}{end}") for end in ("", "_lo", "_hi"))
        found = np.empty(len(self.rows))
        for n in np.unique(self.counts):
            some = self.counts == n
            found[np.repeat(some, self.counts)] = spread(median[some], low[some], high[some], int(n)).ravel()
        return found

    def _classes(self) -> np.ndarray:
        """Classes, as often as their shares; what is passive or unknown has none."""
        found = np.zeros(len(self.rows), int)
        shares = np.stack([self.of_objects(name) for name in CLASSES], axis=1)
        ends = np.round(np.cumsum(np.nan_to_num(shares), axis=1) * self.counts[:, None]).astype(int)
        kinds = np.array([BPT_CLASSES.index(kind) for kind in CLASSES.values()])
        for start, own in zip(self.starts, ends):
            found[start : start + own[-1]] = np.repeat(kinds, np.diff(own, prepend=0))
        return found
