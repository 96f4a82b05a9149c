"""The galaxies that all programs answer for, and those that trained ones learn from."""

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pix2spec.training.real_sky import RealTable

TEST_FOLDS = (0, 1)  # a fold of the main sample holds some 1,250 galaxies
SEED = 1


@dataclass(frozen=True)
class Task:
    """Galaxies in SDSS's ugriz, dereddened model magnitudes, with the truth apart."""

    mag: np.ndarray  # (N, 5)
    error: np.ndarray  # (N, 5) magnitudes
    fold: np.ndarray  # (N,) our networks that learnt from it may not answer
    z: np.ndarray  # (N,) the truth, which no program sees
    train_mag: np.ndarray  # (M, 5)
    train_error: np.ndarray  # (M, 5)
    train_z: np.ndarray  # (M,)

    def write(self, path: Path) -> None:
        """Write the file for programs, without the truth, unless it is there already."""
        made = io.BytesIO()
        np.savez(made, **{name: value for name, value in vars(self).items() if name != "z"})
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists() or path.read_bytes() != made.getvalue():
            path.write_bytes(made.getvalue())


def choose(tables: dict[str, RealTable], n: int) -> Task:
    """Draw N galaxies of the main sample from `TEST_FOLDS`; other folds of both tables are for training.

    A galaxy that is in both tables has one fold. Those of the table `sdss` are not dereddened and state no
    errors: they get typical errors, and the median extinction that galaxies in both tables show is taken off.
    """
    mgs, sdss = (_whole(tables[name]) for name in ("mgs", "sdss"))
    rng, each = np.random.default_rng(SEED), n // len(TEST_FOLDS)
    of_fold = [rng.permutation(np.flatnonzero(mgs.fold == fold))[:each] for fold in TEST_FOLDS]
    test = mgs.rows(np.concatenate(of_fold))
    mgs, sdss = (table.rows(~np.isin(table.fold, TEST_FOLDS)) for table in (mgs, sdss))
    dust = median_extinction(mgs, sdss)
    return Task(
        test.magnitude, _errors(test), test.fold, test.z,
        train_mag=np.concatenate([mgs.magnitude, sdss.magnitude - dust]),
        train_error=np.concatenate([_errors(mgs), _errors(sdss)]),
        train_z=np.concatenate([mgs.z, sdss.z]),
    )  # fmt: skip


def median_extinction(mgs: RealTable, sdss: RealTable) -> np.ndarray:
    """Median of sdss - mgs [mag] (5,) over the galaxies in both tables."""
    of = {group: row for row, group in enumerate(sdss.group)}
    pairs = [(row, of[group]) for row, group in enumerate(mgs.group) if group in of]
    first, second = np.array(pairs).T
    return np.median(sdss.magnitude[second] - mgs.magnitude[first], axis=0)


def _whole(table: RealTable) -> RealTable:
    """The galaxies that are measured in all bands and have a positive redshift."""
    return table.rows(np.isfinite(table.magnitude).all(1) & (table.error > 0).all(1) & (table.z > 0))


def _errors(table: RealTable) -> np.ndarray:
    return 2.5 / np.log(10) * table.error / table.flux
