"""What makes an object worth a spectrum: what it may show, what it would tell, and how odd the object is."""

import numpy as np
import torch
from scipy.special import digamma

from pix2spec.data.dataset import Dataset
from pix2spec.errors import InputError
from pix2spec.measure.quantities import BPT_CLASSES
from pix2spec.models.baselines.features import ApertureFeatures
from pix2spec.models.baselines.search import nearest

__all__ = ["binary_entropy", "class_information", "novelty", "probability", "redshift_information"]

PRECISION = 1e-4  # of a spectroscopic redshift: information counts from there
NEIGHBOUR = 3  # of the entropy of redshifts
NEIGHBOURS, BATCH, MAX_TRAINING_OBJECTS = (
    10,
    1024,
    100_000,
)  # of novelty; objects read at once, and training objects


def probability(true: np.ndarray, n: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Share of candidates for which a statement is true, and its Monte-Carlo error.

    The error is the standard deviation of the probability that `true` of `n` leave, given Jeffreys's prior
    Beta(1/2, 1/2): 25 of 25 are 1 +- 0.026, not 1 +- 0 (Brown, Cai & DasGupta 2001, Stat. Sci. 16:101).

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
    """Bits that the answer to a statement of probability `p` has."""
    p = np.asarray(p, float)
    inside = (p > 0) & (p < 1)
    q = np.where(inside, p, 0.5)
    return np.where(inside, -(q * np.log2(q) + (1 - q) * np.log2(1 - q)), np.where(np.isnan(p), np.nan, 0.0))


def redshift_information(z: np.ndarray) -> float:
    """Bits that a spectrum would tell of a redshift with draws `z` (n,).

    The differential entropy of the draws (Kozachenko & Leonenko 1987, with the third neighbour) less that of
    a Gaussian error of `PRECISION`. Never negative; NaN of fewer than five draws.
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
    """Bits that a spectrum would tell of the BPT class: entropy of draws `classes` (n,).

    With Miller and Madow's correction for few draws, and no more than equally likely classes have.
    """
    counts = np.bincount(np.asarray(classes, int), minlength=len(BPT_CLASSES))
    share = counts[counts > 0] / counts.sum()
    entropy = -(share * np.log(share)).sum() + (len(share) - 1) / (2 * counts.sum())
    return float(min(entropy, np.log(len(BPT_CLASSES))) / np.log(2))


def novelty(objects: Dataset, train: Dataset) -> dict[str, float]:
    """Distance of objects from a training set in what their photometry looks like, by object id.

    Colours and a magnitude (or aperture colours and sizes of the cutouts, where a set has no photometry) in
    units of their scatter over the training set; the mean distance to the ten nearest training objects,
    divided by the median of the same for training objects. So 1 is an ordinary object. NaN where an object
    lacks a band. Of larger training sets, 100,000 objects are looked at.
    """
    from pix2spec.evaluation.baselines import feature_source

    kinds = {info.survey.name for info in (objects.info, train.info)}
    if len(kinds) > 1:
        raise InputError(train.path, f"it is of another survey than {objects.path}: {', '.join(kinds)}")
    features = ApertureFeatures((feature_source(train, objects),), train.info.image_kind, train.info.survey)
    known = _features(
        features, train, np.linspace(0, len(train) - 1, min(len(train), MAX_TRAINING_OBJECTS)).astype(int)
    )
    known = known[np.isfinite(known).all(1)]
    k = min(NEIGHBOURS, len(known) - 1)
    if k < 1:
        raise InputError(train.path, "it has fewer than two objects with complete photometry")
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
