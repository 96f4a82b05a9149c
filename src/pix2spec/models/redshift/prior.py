"""A user's own distribution of redshifts, as weights on the model's.

The model learnt from surveys, and answers as if a galaxy came from one of them: p(z | measurements) there. A
sample with another n(z) has a posterior that differs by the factor n(z) / n_model(z), where n_model is the
distribution of the surveys' galaxies with the same magnitude limit.
"""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pix2spec.errors import InputError

__all__ = ["COUNTS_R", "COUNTS_Z", "Prior", "read_prior"]

COUNTS_R = np.arange(14.0, 23.01, 0.5)  # edges of the bins of r magnitude of the surveys' counts
COUNTS_Z = np.linspace(0, 0.75, 76)  # edges of their bins of redshift
FORM = "a table with the columns z and weight; or z and n as nz.csv:r<19, with the limit of the sample"
MAX_WEIGHT = 100.0  # of a redshift relative to the mean: the surveys have few galaxies at some redshifts


@dataclass(frozen=True)
class Prior:
    """Weights of redshifts.

    Parameters
    ----------
    z : array (G,)
        Redshifts, increasing.
    values : array (G,)
        Weights, or the sample's n(z) in any unit if there is a `limit`. Values between are interpolated; a
        redshift outside has the weight 0.
    limit : float, optional
        The faintest r magnitude of the sample.
    """

    z: np.ndarray
    values: np.ndarray
    limit: float | None = None

    def weights(self, z: np.ndarray, counts: np.ndarray) -> np.ndarray:
        """Weights (Z,) of the redshifts `z`.

        Parameters
        ----------
        z : array (Z,)
        counts : array (R, Z bins)
            Galaxies of the surveys per bin of `COUNTS_R` and `COUNTS_Z`.
        """
        wanted = np.interp(z, self.z, self.values, left=0, right=0)
        if self.limit is None:
            return wanted
        rows = np.clip(self.limit - COUNTS_R[:-1], 0, 0.5) / 0.5
        model = rows @ counts
        model = np.interp(z, (COUNTS_Z[1:] + COUNTS_Z[:-1]) / 2, model)
        ratio = wanted / np.maximum(model, 1e-9 * model.max())
        inside = wanted > 0
        return np.minimum(ratio, MAX_WEIGHT * np.median(ratio[inside])) if inside.any() else wanted


def read_prior(prior: str | Path) -> Prior:
    """Read a prior from a file.

    Parameters
    ----------
    prior : str or path
        A table that astropy reads, with the columns z and weight, or with z and n; a magnitude limit follows
        the name of the latter, as in ``"nz.csv:r<19"``.

    Raises
    ------
    InputError
        If the file is no such table, or if n(z) comes without the limit of the sample.
    """
    found = re.fullmatch(r"(.+):\s*r\s*<\s*([\d.]+)", str(prior))
    path, limit = (found[1], float(found[2])) if found else (str(prior), None)
    table = _read(path)
    name = "n" if "n" in table.colnames else "weight"
    if "z" not in table.colnames or name not in table.colnames:
        raise InputError(path, f"its columns are {', '.join(table.colnames)[:80]}", FORM)
    if name == "n" and limit is None:
        what = "it gives n(z), which depends on how faint the sample is, and no magnitude limit"
        raise InputError(path, what, f"state the limit in r: {path}:r<19")
    z, values = _column(table, "z"), _column(table, name)
    if len(z) < 2 or not (np.isfinite(z) & np.isfinite(values) & (values >= 0)).all():
        raise InputError(path, f"z and {name} must be numbers, at least two, and none negative", FORM)
    order = np.argsort(z)
    if not values.any() or (np.diff(z[order]) <= 0).any():
        raise InputError(path, f"all {name} are zero, or a redshift is there twice", FORM)
    return Prior(z[order], values[order], limit if name == "n" else None)


def _column(table, name: str) -> np.ndarray:
    return np.asarray(np.ma.filled(np.ma.asarray(table[name], float), np.nan))


def _read(path: str):
    from astropy.table import Table

    if not Path(path).is_file():
        raise InputError("`prior`", f"there is no file {path}", FORM)
    try:
        return Table.read(path)
    except Exception as error:  # astropy raises many kinds, some its own
        raise InputError(path, f"it is no table that can be read ({error})"[:300], FORM) from error
