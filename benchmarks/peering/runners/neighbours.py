"""The redshifts of the 25 nearest training galaxies in four colours and r, as draws."""

import numpy as np
from sklearn.neighbors import NearestNeighbors
from sklearn.preprocessing import StandardScaler

from common import run

NEIGHBOURS = 25


def features(mag):
    return np.column_stack([-np.diff(mag, axis=1), mag[:, 2]])


def fit(mag, error, z):
    scaler = StandardScaler().fit(features(mag))
    return scaler, NearestNeighbors(n_neighbors=NEIGHBOURS).fit(scaler.transform(features(mag))), z


def answer(model, mag, error, fold):
    scaler, tree, z = model
    return {"draws": z[tree.kneighbors(scaler.transform(features(mag)))[1]]}


run(fit, answer)
