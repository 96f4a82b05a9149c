"""The sections of a report on spectra as a population: are they like real ones, and does the score choose?"""

import numpy as np

from pix2spec.core.scaling import fill_missing
from pix2spec.data.dataset import Dataset
from pix2spec.errors import InputError
from pix2spec.evaluation.metrics import realism
from pix2spec.evaluation.metrics.distances import (
    beside_chance,
    frechet_distance,
    kernel_distance,
    memorisation,
    spectrum_features,
)
from pix2spec.evaluation.metrics.retrieval import retrieval
from pix2spec.evaluation.metrics.selection import selection_curve
from pix2spec.evaluation.report.gather import MIN_OBJECTS, Study
from pix2spec.runtime.progress import progress_bar

__all__ = ["realism_section", "retrieval_section", "selection_section"]

MAX_TRAINING_SPECTRA = 20_000  # searched for copies
MAX_CLASSIFIED_SPECTRA = 2048  # objects that the classifier sees
MIN_LINE_SIGNAL_TO_NOISE = 5.0  # of Halpha, for its width to count
MIN_NOISE_POWER = 0.5  # over the observed, at the smallest scales: with less, copies cannot be told


def realism_section(study: Study, skipped: list[str], features=None, progress: bool = False) -> dict:
    """One candidate an object against the observed spectra; `skipped` gets the parts that cannot be done."""
    flux, ivar, single = (np.stack(values) for values in (study.flux, study.ivar, study.single))
    usable = np.isfinite(single).all(1)
    if usable.sum() < MIN_OBJECTS:
        what = f"{usable.sum()} objects have a complete candidate whose zero of flux is known"
        skipped.append(f"realism: {what}, {MIN_OBJECTS} are needed")
        return {}
    flux, ivar, single = flux[usable], ivar[usable], single[usable]
    groups = np.array([row["group_id"] for row in study.rows])[usable]
    real, fake = (fill_missing(spectra, ivar) for spectra in (flux, single))
    parts = {
        "power": lambda: _power(flux, single, ivar),
        "autocorrelation": lambda: _autocorrelation(flux, single, ivar),
        "distances": lambda: _distances(flux, single, ivar, features, groups),
        "two_sample": lambda: _two_sample(real, fake, groups),
    }
    if study.observed:
        parts["line_widths"] = lambda: _line_widths(study)
    train = study.train
    if train is not None:
        parts["memorisation"] = lambda: _memorisation(real, fake, groups, train, result.get("power"))
    result = {}
    for name, part in progress_bar(parts.items(), f"realism of {study.name}", progress):
        try:
            result[name] = part()
        except InputError as error:
            skipped.append(f"{name.replace('_', ' ')}: {error}")
    return {name: values for name, values in result.items() if values}


def _distances(flux, single, ivar, features, groups) -> dict:
    """Fréchet and kernel distance of codes, beside the distance between halves of the observed ones."""
    model = "default" if features is None else features
    real, fake = (spectrum_features(spectra, ivar, model) for spectra in (flux, single))
    result: dict = {"features": str(model)}
    for name, distance in (("frechet", frechet_distance), ("kernel", kernel_distance)):
        found = beside_chance(distance, real, fake, groups=groups)
        result[name] = {"value": found.value, "chance": found.chance, "scatter": found.scatter}
        result[name]["significance"] = found.significance
    return result


def _two_sample(flux, single, groups) -> dict:
    accuracy, error = realism.two_sample_accuracy(
        flux[:MAX_CLASSIFIED_SPECTRA], single[:MAX_CLASSIFIED_SPECTRA], groups=groups[:MAX_CLASSIFIED_SPECTRA]
    )
    return {"accuracy": accuracy, "error": error, "objects": len(flux[:MAX_CLASSIFIED_SPECTRA])}


def _memorisation(flux, single, groups, train: Dataset, power: dict | None) -> dict:
    """Copies of training spectra among the candidates, beside the observed spectra, which are none."""
    if power and power["ratio"] < MIN_NOISE_POWER:
        raise InputError(
            "candidates", "they have less noise than the observed spectra, so that copies cannot be told"
        )
    found = memorisation(single, training_spectra(train, groups), flux)
    result = {"copies": found.copied, "copies_error": found.copied_error, "chance": found.copied_chance}
    return result | {"p": found.p, "distance": found.distance, "distance_observed": found.distance_real}


def _line_widths(study: Study) -> dict:
    """Widths of Halpha where it is well measured: the first such candidate of an object against observed.

    The ratio is a median over objects; the two distributions are compared by their deciles and the largest
    distance between their cumulative forms (Kolmogorov and Smirnov).
    """
    from scipy.stats import ks_2samp

    widths_of_objects = []
    for observed, measured in zip(study.observed, study.measured):
        truth, widths = _clear_widths(observed), _clear_widths(measured)
        if len(truth) and len(widths):
            widths_of_objects.append((truth[0], np.median(widths), widths[0]))
    if len(widths_of_objects) < MIN_OBJECTS:
        return {}
    truth, typical, single = np.array(widths_of_objects, float).T
    ratios = np.log(typical / truth)
    middle = np.median(ratios)
    error = 1.253 * 1.4826 * np.median(np.abs(ratios - middle)) / np.sqrt(len(ratios))
    ratio, distance = float(np.exp(middle)), ks_2samp(truth, single)
    result = {"line": "H_alpha", "objects": len(ratios), "ratio": ratio, "ratio_error": float(ratio * error)}
    result |= {"ks": float(distance.statistic), "ks_p": float(distance.pvalue)}
    deciles = np.arange(0.1, 0.95, 0.1)
    return result | {
        "deciles": np.quantile(single, deciles).tolist(),
        "observed_deciles": np.quantile(truth, deciles).tolist(),
    }


def _clear_widths(measured: dict) -> np.ndarray:
    """Dispersions of the gas in km/s in those spectra that show Halpha clearly."""
    good = measured["flux_halpha"] > MIN_LINE_SIGNAL_TO_NOISE * measured["flux_halpha_error"]
    widths = measured["sigma_gas"][good & np.isfinite(measured["sigma_gas"])]
    return np.maximum(widths, 1)


def selection_section(study: Study, skipped: list[str]) -> dict:
    """The error of the best of k by score, for k up to n, beside the best possible choice and chance."""
    scores = study.ranks()
    if scores is None or scores.shape[1] < 2:
        return {}
    try:
        curve = selection_curve(study.candidate_errors(), scores)
    except InputError as error:
        skipped.append(f"selection: {error}")
        return {}
    return {
        "n": int(curve.k[-1]),
        "k": curve.k.tolist(),
        "selected": curve.selected.tolist(),
        "selected_error": curve.selected_error.tolist(),
        "oracle": curve.oracle.tolist(),
        "random": curve.random,
        "gain": float(curve.gain[-1]),
        "gain_error": float(curve.gain_error[-1]),
        "efficiency": float(curve.efficiency[-1]),
        "efficiency_error": float(curve.efficiency_error[-1]),
    }


def retrieval_section(study: Study, skipped: list[str], features=None) -> dict:
    """How often the network that compares spectra finds an object's observed one by its photometry."""
    model = "default" if features is None else features
    try:
        return {"features": str(model), **retrieval(study.truth, np.array(study.positions), model)}
    except InputError as error:
        skipped.append(f"retrieval: {error}")
        return {}


def training_spectra(train: Dataset, without: np.ndarray) -> np.ndarray:
    """At most MAX_TRAINING_SPECTRA spectra (M, L) of groups other than `without`, missing pixels filled."""
    index = train.having("flux", "ivar")[:MAX_TRAINING_SPECTRA]
    spectra, count = np.empty((len(index), train.info.grid.size), np.float32), 0
    for start in range(0, len(index), 512):
        batch = train.batch(index[start : start + 512], ["flux", "ivar", "group_id"])
        kept = (batch["ivar"] > 0).any(1) & ~np.isin(batch["group_id"], without)
        filled = fill_missing(batch["flux"][kept], batch["ivar"][kept])
        spectra[count : count + len(filled)] = filled
        count += len(filled)
    return spectra[:count]


def _power(flux, single, ivar) -> dict:
    """Power of spectra less their continuum, candidates over observed, by scale."""
    found = realism.power_spectrum(flux, single, ivar)
    ratio = np.exp(found.log_ratio)
    return {
        "wavenumber": found.wavenumber.tolist(),
        "ratios": ratio.tolist(),
        "ratio_errors": (ratio * found.log_ratio_error).tolist(),
        "ratio": found.noise_ratio,
        "ratio_error": found.noise_ratio_error,
    }


def _autocorrelation(flux, single, ivar) -> dict:
    found = realism.autocorrelation(flux, single, ivar)
    return {name: values.tolist() for name, values in found._asdict().items()}
