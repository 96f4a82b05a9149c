"""One pass over a set of predictions: everything that its evaluation needs, gathered object by object."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pix2spec.core.grid import SpectralGrid
from pix2spec.core.photometry import magnitude
from pix2spec.data.dataset import Dataset
from pix2spec.data.schema import Galaxy
from pix2spec.errors import InputError
from pix2spec.evaluation.baselines import feature_source, mean_spectrum, nearest_neighbours
from pix2spec.evaluation.metrics import pixels as metrics
from pix2spec.evaluation.metrics import scoring
from pix2spec.measure.parallel import Measuring, reason_unmeasurable
from pix2spec.products.ensemble import Ensemble
from pix2spec.products.units import PHYSICAL
from pix2spec.runtime.progress import progress_bar

__all__ = ["MIN_OBJECTS", "Baselines", "Study", "gather"]

BATCH_OBJECTS = 32  # measured between two reports of progress: 800 spectra
MAX_EXAMPLES = 4
MIN_OBJECTS = 20  # for any statistics


@dataclass
class Study:
    """Scores and measurements of N objects with up to n candidates each; rows of all arrays are in one order.

    Parameters
    ----------
    name : str
        Name of the predictions in tables.
    predictions
        What `pix2spec.evaluation.predictions.open.open_predictions` returned.
    truth, train : Dataset
        Observed pairs; training pairs, if given.
    rows : list of dict
        Scores of each object by pixel.
    positions : list of int
        Of the objects in `truth`.
    flux, ivar, single : lists of array (L,), float32
        The observed spectrum, and the first candidate on its scale.
    scores, errors : lists of array (n,)
        Likeness by the contrastive network (None without one); affine-matched error of each candidate.
    observed, measured : list of dict
        Quantities of the observed spectrum, (1,), and of its candidates, (n,): see
        `pix2spec.measure.quantities`. Empty if they were not measured; `unmeasured` says why.
    """

    name: str
    predictions: Any  # Catalogue or Predictions
    truth: Dataset
    train: Dataset | None
    rows: list[dict] = field(default_factory=list)
    positions: list[int] = field(default_factory=list)
    flux: list[np.ndarray] = field(default_factory=list)
    ivar: list[np.ndarray] = field(default_factory=list)
    single: list[np.ndarray] = field(default_factory=list)
    scores: list[np.ndarray | None] = field(default_factory=list)
    errors: list[np.ndarray] = field(default_factory=list)
    observed: list[dict] = field(default_factory=list)
    measured: list[dict] = field(default_factory=list)
    unmeasured: str = ""
    sizes: list[int] = field(default_factory=list)
    profiles: dict[str, scoring.Profile] = field(default_factory=dict)
    examples: list[tuple[Ensemble, Galaxy]] = field(default_factory=list)
    without_spectrum: int = 0
    unmatched_truth: list[str] = field(default_factory=list)
    unmatched_predictions: list[str] = field(default_factory=list)
    neighbours_from: str | None = None

    @property
    def grid(self) -> SpectralGrid:
        """Wavelengths of all spectra."""
        return self.predictions.grid

    def samples(self, name: str) -> np.ndarray:
        """A quantity of all candidates, (N, n) float32; NaN where an object has fewer."""
        return _padded([values[name] for values in self.measured])

    def truths(self, name: str) -> np.ndarray:
        """A quantity of the observed spectra, (N,)."""
        return np.array([values[name][0] for values in self.observed])

    def ranks(self) -> np.ndarray | None:
        """Scores of all candidates (N, n), or None where the predictions have none."""
        known = [scores for scores in self.scores if scores is not None]
        return None if len(known) < len(self.scores) else _padded(known)

    def candidate_errors(self) -> np.ndarray:
        """Affine-matched error of all candidates, (N, n)."""
        return _padded(self.errors)


def _padded(rows: list[np.ndarray]) -> np.ndarray:
    result = np.full((len(rows), max(map(len, rows), default=0)), np.nan, np.float32)
    for i, values in enumerate(rows):
        result[i, : len(values)] = values
    return result


def gather(
    name: str,
    predictions,
    truth: Dataset,
    baselines: "Baselines | None" = None,
    science: bool = True,
    workers: int | None = None,
    progress: bool = True,
) -> Study:
    """Go through predictions once, a batch of objects at a time.

    Parameters
    ----------
    predictions
        See `pix2spec.evaluation.predictions.open.open_predictions`.
    baselines : Baselines, optional
        Simple methods to score on the same objects; they hold the training pairs.
    science : bool
        Whether to measure redshifts, lines and indices on every candidate, the most of the work.
    workers : int, optional
        Processes that measure; by default one a core. Results do not depend on it.

    Raises
    ------
    InputError
        If grids differ, ids are not unique, or nothing matches.
    """
    study = Study(name, predictions, truth, baselines.train if baselines else None)
    position = _match(study)
    study.profiles = {"generated": scoring.Profile(study.grid.size)}
    if baselines:
        study.neighbours_from = baselines.neighbours.preset.features
        study.profiles["neighbours"] = scoring.Profile(study.grid.size)
    study.unmeasured = reason_unmeasurable(study.grid) if science else ""
    # A process takes seconds to start: none without a batch of its own.
    workers = min(workers or os.cpu_count() or 1, -(-len(position) // BATCH_OBJECTS))
    wanted = science and not study.unmeasured
    with Measuring(study.grid, truth.info.survey, wanted, workers) as measuring:
        for ensembles in _batches(study, position, progress):
            _add(study, ensembles, position, baselines, measuring)
    study.observed = [observed for observed, _ in measuring.results]
    study.measured = [measured for _, measured in measuring.results]
    if not study.rows:
        _refuse_empty(study)
    return study


def _refuse_empty(study: Study) -> None:
    """Name the file that is at fault: predictions that cannot be read, or a truth without spectra."""
    failures = dict(getattr(study.predictions, "failures", {}))
    if failures:
        object_id, why = next(iter(failures.items()))
        what = f"none of its matched spectra can be used; {object_id}: {why}"
        raise InputError(study.predictions.path, what)
    raise InputError(study.truth.path, "no matched object has a spectrum")


def _match(study: Study) -> dict[str, int]:
    """Position in the truth of each object that was predicted."""
    for other in (study.truth, study.train):
        if other is not None and other.info.grid != study.grid:
            raise InputError(other.path, "its wavelength grid is not that of the predictions")
    truth, predictions = study.truth, study.predictions
    ids = [str(i) for i in truth.batch(np.arange(len(truth)), ["object_id"])["object_id"]]
    for where, values in ((predictions.path, predictions.ids), (truth.path, ids)):
        if len(set(values)) < len(values):
            raise InputError(where, "an object_id appears more than once", "make them unique")
    predicted = set(predictions.ids)
    study.unmatched_truth = [i for i in ids if i not in predicted]
    study.unmatched_predictions = sorted(predicted.difference(ids))
    position = {name: i for i, name in enumerate(ids) if name in predicted}
    if not position:
        what = f"none of its {len(predicted)} objects is in {truth.path}"
        raise InputError(predictions.path, what, "they are matched by object_id")
    return position


def _batches(study: Study, position: dict[str, int], progress: bool) -> Iterator[list[Ensemble]]:
    waiting = []
    predictions = study.predictions
    for ensemble in progress_bar(predictions, f"scoring {study.name}", progress, len(predictions)):
        if ensemble.object_id in position:
            waiting.append(ensemble)
        if len(waiting) == BATCH_OBJECTS:
            yield waiting
            waiting = []
    if waiting:
        yield waiting


def _add(study: Study, ensembles: list[Ensemble], position, baselines, measuring) -> None:
    """Score a batch by pixel, and hand its spectra over to be measured."""
    truth = study.truth
    columns = ["object_id", "group_id", "z", "flux", "ivar", "photometry"]
    columns += ["true_flux"] if "true_flux" in truth.info.truth else []
    columns += [c for c in (baselines.columns if baselines else ()) if c not in columns]
    places = [position[e.object_id] for e in ensembles]
    batch, natives = truth.batch(places, columns), truth.natives(places)
    good = (batch["ivar"] > 0) & np.isfinite(batch["flux"])
    observed = good.any(1)
    study.without_spectrum += int((~observed).sum())
    ivar = np.where(good, batch["ivar"], 0).astype(np.float32)
    look_alikes: Any = baselines.predict(batch) if baselines else None
    for i in np.flatnonzero(observed):
        ensemble, flux = ensembles[i], batch["flux"][i]
        row = _properties(ensemble, batch, int(i), ivar[i], truth)
        kept_all, profile = study.predictions.has_candidates, study.profiles["generated"]
        row |= scoring.score_object(ensemble, flux, ivar[i], kept_all, profile)
        study.sizes += [len(ensemble)] if kept_all else []
        if baselines:
            row |= baselines.scores(study, look_alikes[i], flux, ivar[i])
        if "true_flux" in batch:
            row |= scoring.score_clean("noise_free", batch["true_flux"][i], flux, ivar[i])
        study.rows.append(row)
        study.positions.append(position[ensemble.object_id])
        on_scale = _on_scale(ensemble, flux, ivar[i])
        study.flux.append(flux.astype(np.float32))
        study.ivar.append(ivar[i])
        study.single.append(on_scale[0])
        study.scores.append(ensemble.scores)
        study.errors.append(metrics.affine_matched_mse(ensemble.candidates, flux, ivar[i]))
        measuring.add(flux, on_scale, ivar[i], natives[i])
        if len(study.examples) < MAX_EXAMPLES:
            _keep_example(study, ensemble, position)
    measuring.send()


def _properties(ensemble: Ensemble, batch: dict, i: int, ivar: np.ndarray, truth: Dataset) -> dict:
    """Properties that strata are made of: redshift, signal to noise, r magnitude."""
    flux, valid = batch["flux"][i], ivar > 0
    row = {"object_id": ensemble.object_id, "group_id": str(batch["group_id"][i]), "z": float(batch["z"][i])}
    row["sn"] = float(np.median(flux[valid] * np.sqrt(ivar[valid])))
    bands, photometry = truth.info.survey.photometry_bands, batch["photometry"][i]
    r = float(photometry[bands.index("r")]) if "r" in bands else np.nan
    return row | {"mag_r": float(magnitude(r))}


def _on_scale(ensemble: Ensemble, flux: np.ndarray, ivar: np.ndarray) -> np.ndarray:
    """Candidates (n, L), float32, comparable with the observed flux: relative ones share its median.

    NaN without a zero point: equivalent widths and breaks are ratios to zero flux.
    """
    candidates = ensemble.candidates
    if ensemble.unit == PHYSICAL:
        return candidates
    if not ensemble.has_zero_point:
        return np.full_like(candidates, np.nan)
    valid = ivar > 0
    level = np.median(candidates[:, valid], axis=1, keepdims=True)
    return candidates * (np.median(flux[valid]) / np.where(level > 0, level, 1)).astype(np.float32)


def _keep_example(study: Study, ensemble: Ensemble, position: dict[str, int]) -> None:
    galaxy: Galaxy = study.truth[position[ensemble.object_id]]
    ensemble.image, ensemble.image_kind = galaxy.image, study.truth.info.image_kind
    ensemble.photometry = galaxy.photometry
    study.examples.append((ensemble, galaxy))


class Baselines:
    """The mean training spectrum and the 25 nearest neighbours, fitted once for all sets of predictions."""

    def __init__(self, train: Dataset, truth: Dataset):
        self.train, self.mean = train, mean_spectrum(train)
        self.neighbours = nearest_neighbours(train, feature_source(train, truth))
        self.columns, self.kind = self.neighbours.columns, truth.info.image_kind

    def predict(self, batch: dict) -> np.ndarray:
        """Spectra of look-alikes, (objects, 25, L)."""
        return self.neighbours.predict(batch, self.kind)[0]

    def scores(self, study: Study, look_alikes: np.ndarray, flux: np.ndarray, ivar: np.ndarray) -> dict:
        """Scores of both by pixel."""
        chosen = {"neighbour": np.array([0]), "neighbours": np.arange(len(look_alikes))}
        profile = study.profiles["neighbours"]
        values = scoring.score_ensemble(look_alikes, flux, ivar, chosen, "neighbours", profile=profile)
        mean = self.mean.minmax_spectrum.numpy(), self.mean.spectrum.numpy()
        return values | scoring.score_point("mean_spectrum", *mean, flux, ivar)
