"""pzflow: a normalizing flow of redshift and ugriz together, with its default layers and optimiser.

A tenth of the training galaxies says which epoch is best, as the package's documentation advises.
"""

import numpy as np
import pandas as pd
from pzflow import Flow

from common import run

COLUMNS = ("redshift", "u", "g", "r", "i", "z")
EPOCHS, BATCH = 100, 100  # of training; galaxies whose posteriors are evaluated at once
GRID = np.linspace(0.001, 0.4, 300)


def fit(mag, error, z):
    table = pd.DataFrame(np.column_stack([z, mag]), columns=COLUMNS)
    held = np.random.default_rng(0).random(len(table)) < 0.1
    flow = Flow(COLUMNS)
    flow.train(table[~held], table[held], epochs=EPOCHS)
    return flow


def answer(flow, mag, error, fold):
    table = pd.DataFrame(mag, columns=COLUMNS[1:])
    found = flow.posterior(table, "redshift", GRID, batch_size=BATCH)
    return {"grid": GRID, "density": np.asarray(found)}


run(fit, answer)
