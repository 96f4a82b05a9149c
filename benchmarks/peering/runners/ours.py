"""pix2spec: the redshift model alone, or the whole generator (``ours.py IN OUT redshifts|spectra``).

Networks that never saw a galaxy's fold answer for it.
"""

import sys

import numpy as np
import torch

from common import run
from pix2spec import Galaxy
from pix2spec.core.filters import load_filter
from pix2spec.generate.load import load
from pix2spec.models.generator import Settings
from pix2spec.models.shared.measurements import MeasurementTable
from pix2spec.models.storage import find_model, load_model, model_id

FILTERS = [f"sdss2010-{band}" for band in "ugriz"]
DRAWS, CANDIDATES, BATCH = 256, 25, 32


def fluxes(mag, error):
    flux = 10 ** (-0.4 * (mag - 22.5))
    return flux, flux * error * np.log(10) / 2.5


def redshift_model():
    return load_model(find_model("redshift"))[0]


def redshifts(model, mag, error, fold):
    curves = [load_filter(name) for name in FILTERS]
    centre, width = (np.array([getattr(curve, name) for curve in curves]) for name in ("centre", "width"))
    table = MeasurementTable(*fluxes(mag, error), centre, width, "model", "dereddened")
    posterior = model.posterior(table, without=fold)
    return {"draws": posterior.sample(DRAWS, seed=1)}


def generator():
    return load("default")


def spectra(model, mag, error, fold):
    """Redshifts of candidates, whose spectra are made as well."""
    settings = Settings(n=CANDIDATES, use=("photometry",))
    flux, sigma = fluxes(mag, error)
    draws = np.full((len(mag), CANDIDATES), np.nan)
    for number in np.unique(fold):
        unseen, rows = model.without(int(number)), np.flatnonzero(fold == number)
        for start in range(0, len(rows), BATCH):
            some = rows[start : start + BATCH]
            galaxies = [galaxy(row, flux[row], sigma[row]) for row in some]
            made = unseen.generate_batch(galaxies, "linear", settings)
            draws[some] = [ensemble.redshifts for ensemble in made]
    return {"draws": draws}


def galaxy(row, flux, sigma):
    return Galaxy(
        f"galaxy {row}", photometry=flux, photometry_ivar=sigma**-2.0, filters=FILTERS, kind="model",
        extinction="dereddened",
    )  # fmt: skip


PROGRAMS = {"redshifts": (redshift_model, redshifts, "redshift"), "spectra": (generator, spectra, "default")}

if __name__ == "__main__":
    torch.set_num_threads(1)
    make, answer, name = PROGRAMS[sys.argv[3]]
    run(make, answer, trained=False, version=model_id(find_model(name)))
