"""The model, the real tables, and how one is scored on the other."""

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from pix2spec.training.real_sky import RealTable
from pix2spec.training.redshift.sources import as_measurements
from sky.ensembles import Judge
from sky.scores import Row, redshift_scores

DRAWS = 256  # of each galaxy's redshift; the interval of 68 % then holds 67.5 % of calibrated truths
BATCH = 4096


@dataclass
class Sky:
    """A redshift model and the tables that it is scored on.

    If the model's training knew the tables, `folds` is True: networks that never saw a galaxy's fold answer
    for it. Otherwise all networks answer. `judge` makes spectra; redshifts alone need none.
    """

    model: object
    tables: dict[str, RealTable]
    folder: Path
    folds: bool = True
    kept: dict[str, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)  # (z, draws) for the figure
    judge: Judge | None = None
    ranks: dict[str, np.ndarray] = field(default_factory=dict)  # (n + 1,) of pixels, for the figure

    def without(self, table: RealTable) -> np.ndarray | None:
        """The folds that must not have been seen: (N,), or None for tables that no training knows."""
        known = self.folds and (table.fold >= 0).all()
        return table.fold if known else None

    def draws(self, table: RealTable, seed: int = 1) -> np.ndarray:
        """Draws of the redshift (N, DRAWS)."""
        parts = []
        for start in range(0, len(table), BATCH):
            part = table.rows(np.arange(start, min(start + BATCH, len(table))))
            posterior = self.model.posterior(as_measurements(part), without=self.without(part))
            parts.append(np.asarray(posterior.sample(DRAWS, seed + start), float))
        return np.concatenate(parts)

    def score(self, section: str, name: str, table: RealTable, targets=None, keep: bool = False) -> Row:
        """The row of a table's redshifts. With `keep`, the figure shows it."""
        draws = self.draws(table)
        if keep:
            self.kept[name] = (table.z, draws)
        return Row(section, name, len(table), redshift_scores(draws, table.z), targets or {})

    def sharp(self, section: str, name: str, table: RealTable, targets=None) -> Row:
        """The row of a table's redshifts as candidates of spectra have them."""
        draws = self.judge.redshifts(table, DRAWS)
        self.kept[name] = (table.z, draws)
        return Row(section, name, len(table), redshift_scores(draws, table.z), targets or {})

    def keep_ranks(self, name: str, ranks: np.ndarray) -> None:
        """Keep the shares (N, n + 1) of the pixels of N galaxies by the rank of the truth, for the figure."""
        self.ranks[name] = ranks.mean(0)

    def flagged(self, section: str, name: str, table: RealTable, targets=None) -> Row:
        """The row of the fraction that is flagged as outside of what training knew."""
        flags = self.model.outside(as_measurements(table), without=self.without(table))
        return Row(section, name, len(table), {"flagged": float(np.mean(flags))}, targets or {})


def with_noise(table: RealTable, factor: float, seed: int) -> RealTable:
    """The table as if its errors were `factor` times as large: noise is added and the errors are stated."""
    noise = np.sqrt(factor**2 - 1) * np.random.default_rng(seed).standard_normal(table.flux.shape)
    return replace(table, flux=table.flux + noise * table.error, error=factor * table.error)


def with_floor(table: RealTable, magnitudes: float) -> RealTable:
    """The table with an error added in quadrature to the statement alone."""
    floor = np.log(10) / 2.5 * magnitudes * np.abs(table.flux)
    return replace(table, error=np.hypot(table.error, floor))


def with_statement(table: RealTable, factor: float) -> RealTable:
    """The table with errors that are stated `factor` times as large as they are."""
    return replace(table, error=factor * table.error)
