"""Scores of objects: probability of a statement, information that a spectrum would add, and novelty."""

import numpy as np
import torch
from scipy.special import digamma

from pix2spec.data.dataset import Dataset
from pix2spec.errors import InputError
from pix2spec.measure.quantities import BPT_CLASSES
from pix2spec.models.baselines.features import ApertureFeatures
from pix2spec.models.baselines.search import nearest

__all__ = ["binary_entropy", "class_information", "novelty", "probability", "redshift_information"]

PRECISION = 1e-4  # error of a spectroscopic redshift, which limits the information of a spectrum
NEIGHBOUR = 3  # the neighbour whose distance gives the entropy of redshifts
NEIGHBOURS = 10  # nearest training objects, for novelty
BATCH = 1024  # objects to read at a time
MAX_TRAINING_OBJECTS = 100_000  # for novelty


def probability(true: np.ndarray, n: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Fraction of candidates for which a statement is true, and its Monte-Carlo error.

    The error is the standard deviation of the posterior of the probability with Jeffreys's prior
    Beta(1/2, 1/2): 25 of 25 give 1 +- 0.026, not 1 +- 0 (Brown, Cai & DasGupta 2001, Stat. Sci. 16:101).

    Parameters
    ----------
    true, n : array
        Number of candidates for which the statement is true, and number of candidates.

    Returns
    -------
    fraction, error : array

    Examples
    --------
    >>> from pix2spec.ranking.scores import probability
    >>> share, error = probability([25, 5], [25, 25])
    >>> share, error.round(3)
    (array([1. , 0.2]), array([0.026, 0.079]))
    """
    true, n = np.asarray(true, float), np.asarray(n, float)
    mean = (true + 0.5) / (n + 1)
    return true / n, np.sqrt(mean * (1 - mean) / (n + 2))


def binary_entropy(p: np.ndarray) -> np.ndarray:
    """Entropy in bits of the answer to a statement with probability `p` (array). NaN stays NaN."""
    p = np.asarray(p, float)
    inside = (p > 0) & (p < 1)
    q = np.where(inside, p, 0.5)
    return np.where(inside, -(q * np.log2(q) + (1 - q) * np.log2(1 - q)), np.where(np.isnan(p), np.nan, 0.0))


def redshift_information(z: np.ndarray) -> float:
    """Information in bits that a spectrum would add on a redshift.

    It is the differential entropy of the redshift (Kozachenko & Leonenko 1987, with the third neighbour)
    minus that of a Gaussian error of `PRECISION`.

    Parameters
    ----------
    z : array (n,)
        Redshifts of the candidates of an object.

    Returns
    -------
    float
        Zero or positive; NaN if fewer than five redshifts are known.
    """
    z = np.asarray(z, float)
    z = z[np.isfinite(z)]
    if len(z) < NEIGHBOUR + 2:
        return np.nan
    distance = np.partition(np.abs(z[:, None] - z), NEIGHBOUR, axis=1)[:, NEIGHBOUR]
    entropy = digamma(len(z)) - digamma(NEIGHBOUR) + np.log(2 * np.maximum(distance, 1e-12)).mean()
    reached = 0.5 * np.log(2 * np.pi * np.e) + np.log(PRECISION)
    return max(0.0, float((entropy - reached) / np.log(2)))


def class_information(classes: np.ndarray) -> float:
    """Information in bits that a spectrum would add on the BPT class: the entropy of the class.

    The entropy has Miller and Madow's correction for few candidates. It is limited to the entropy of equally
    likely classes.

    Parameters
    ----------
    classes : array of int (n,)
        Classes of the candidates of an object.
    """
    counts = np.bincount(np.asarray(classes, int), minlength=len(BPT_CLASSES))
    share = counts[counts > 0] / counts.sum()
    entropy = -(share * np.log(share)).sum() + (len(share) - 1) / (2 * counts.sum())
    return float(min(entropy, np.log(len(BPT_CLASSES))) / np.log(2))


def novelty(objects: Dataset, train: Dataset) -> dict[str, float]:
    """Distance of objects from the objects of a training set.

    The features of an object are colours and a magnitude, in units of their scatter over the training set. If
    one of the datasets has no photometry, they are aperture colours and sizes of the cutouts. Novelty is the
    mean distance to the ten nearest training objects, divided by the median of the same distance for training
    objects: a typical training object has the novelty 1. A training set of more than 100,000 objects is
    thinned to this number.

    Parameters
    ----------
    objects, train : Dataset
        The objects, and the training set.

    Returns
    -------
    dict of str to float
        Novelty by object id; NaN for an object that lacks a band.

    Raises
    ------
    InputError
        If the surveys differ, or if the training set has fewer than two objects with complete photometry.
    """
    from pix2spec.evaluation.baselines import feature_source

    kinds = {info.survey.name for info in (objects.info, train.info)}
    if len(kinds) > 1:
        raise InputError(train.path, f"another survey than that of {objects.path}: {', '.join(kinds)}")
    features = ApertureFeatures((feature_source(train, objects),), train.info.image_kind, train.info.survey)
    known = _features(
        features, train, np.linspace(0, len(train) - 1, min(len(train), MAX_TRAINING_OBJECTS)).astype(int)
    )
    known = known[np.isfinite(known).all(1)]
    k = min(NEIGHBOURS, len(known) - 1)
    if k < 1:
        raise InputError(train.path, "the dataset has fewer than two objects with complete photometry")
    features.fit(known)
    index = features(known)
    own = nearest(index, index[:: -(-len(index) // BATCH)], k + 1)[1][:, 1:].mean(1).median()
    measured = _features(features, objects, np.arange(len(objects)))
    distance = nearest(index, features(measured), k)[1].mean(1) / own.clamp(min=1e-12)
    distance = np.where(np.isfinite(measured).all(1), distance.numpy(), np.nan)
    ids = objects.batch(slice(None), ["object_id"])["object_id"]
    return dict(zip(ids, distance.astype(float)))


@torch.no_grad()
def _features(features: ApertureFeatures, dataset: Dataset, rows: np.ndarray) -> np.ndarray:
    parts = []
    for start in range(0, len(rows), BATCH):
        batch = dataset.batch(rows[start : start + BATCH], features.columns)
        parts.append(features.measure(batch, dataset.info.image_kind))
    return np.concatenate(parts)
