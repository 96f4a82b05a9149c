"""A stage of RAIL with its defaults (``rail_stage.py IN OUT knn|flexzboost|cmnn|gpz``).

What must be said for this survey is said: columns, limits and the range of redshifts, which holds 99.8 % of
the training galaxies.
"""

import os
import sys
import tempfile
from importlib import import_module

import numpy as np

from common import run

STAGES = {  # module and prefix of the informer's and the estimator's names
    "knn": ("k_nearneigh", "KNearNeigh"),
    "flexzboost": ("flexzboost", "FlexZBoost"),
    "cmnn": ("cmnn", "CMNN"),
    "gpz": ("gpz", "GPz"),
}
BANDS = [f"mag_{band}" for band in "ugriz"]
ERRORS = [f"err_{band}" for band in "ugriz"]
LIMITS = dict(zip(BANDS, (22.0, 22.2, 22.2, 21.3, 20.5)))
Z_MAX, POINTS = 0.4, 601  # of the grid on which densities are evaluated


def table(mag, error, z=None) -> dict:
    """Columns as RAIL's stages expect them."""
    columns = dict(zip([*BANDS, *ERRORS], np.hstack([mag, error]).T.copy()))
    return columns if z is None else columns | {"redshift": z}


def stage(kind: str, **files):
    """The informer or the estimator, with the options that it knows."""
    module, prefix = STAGES[sys.argv[3]]
    cls = getattr(import_module(f"rail.estimation.algos.{module}"), prefix + kind)
    options = {
        "bands": BANDS, "err_bands": ERRORS, "ref_band": "mag_r", "mag_limits": LIMITS, "zmin": 0.0,
        "zmax": Z_MAX, "redshift_col": "redshift", "replace_error_vals": [0.1] * len(BANDS),
        "hdf5_groupname": "",
    }  # fmt: skip
    known = {name: value for name, value in options.items() if name in cls.config_options}
    return cls.make_stage(name=kind, **known, **files)


def fit(mag, error, z):
    np.random.seed(0)  # noqa: NPY002  GPz divides its galaxies with it
    near = z < Z_MAX
    return stage("Informer", model="model.pkl").inform(table(mag[near], error[near], z[near]))


def answer(model, mag, error, fold):
    found = stage("Estimator", model=model, output="output.hdf5").estimate(table(mag, error)).data
    grid = np.linspace(0, Z_MAX, POINTS)
    return {"grid": grid, "density": found.pdf(grid)}


if __name__ == "__main__":
    sys.argv[1:3] = map(os.path.abspath, sys.argv[1:3])
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        run(fit, answer)
        os.chdir("/")
