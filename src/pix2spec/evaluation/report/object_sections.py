"""The sections of a report: pure functions of a `pix2spec.evaluation.report.gather.Study`.

Each returns a dict of plain numbers for ``metrics.json``. An estimate of a quantity is the median over the
candidates of an object; its chance level is what the candidates of another object reach.
"""

from itertools import pairwise

import numpy as np

from pix2spec.evaluation.metrics import pixels as metrics
from pix2spec.evaluation.metrics.calibration import Calibration, calibration, tarp
from pix2spec.evaluation.report.gather import MIN_OBJECTS, Study
from pix2spec.evaluation.report.population_sections import (
    realism_section,
    retrieval_section,
    selection_section,
)
from pix2spec.measure.quantities import BPT_CLASSES, QUANTITIES

__all__ = ["JOINT_QUANTITIES", "sections"]

JOINT_QUANTITIES = ("z", "g_r", "dn4000")  # whose joint distribution is tested
BINS_PER_PROPERTY = 4
MAX_SCATTERS = 5.0  # of the observed values: errors beyond count as this


def sections(study: Study, result: dict, features=None, progress: bool = False) -> dict:
    """All sections; ``"skipped"`` names the sections that could not be done, and why."""
    found: dict = {}
    skipped: list[str] = []
    if study.unmeasured:
        skipped.append(f"redshifts, lines and indices: {study.unmeasured}")
    elif study.observed:
        found["redshift"] = redshift_section(study)
        found["science"] = science_section(study)
        found["types"] = types_section(study)
        found["calibration"] = calibration_section(study)
    found["strata"] = strata(study, result["whole"])
    found["realism"] = realism_section(study, skipped, features, progress)
    found["selection"] = selection_section(study, skipped)
    found["retrieval"] = retrieval_section(study, skipped, features)
    return {**found, "skipped": skipped}


def fractional(samples: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Redshift errors (z - z_observed) / (1 + z_observed)."""
    return (samples - truth[:, None]) / (1 + truth[:, None])


def redshift_section(study: Study) -> dict:
    """Redshift by the same fit of templates on the observed spectrum and on every candidate.

    Objects whose observed spectrum gives no clear redshift are left out.
    """
    clear = study.truths("zwarning") == 0
    truth, samples = study.truths("z")[clear], study.samples("z")[clear]
    known = np.array([row["z"] for row in study.rows])[clear]
    warned = study.samples("zwarning")[clear] > 0
    result: dict = {"objects": int(clear.sum()), "unclear": int((~clear).sum())}
    if clear.sum() < MIN_OBJECTS:
        return result
    error = fractional(samples, truth)
    agrees = np.abs(truth - known)[np.isfinite(known)] < 1e-3 * (1 + known[np.isfinite(known)])
    result["observed_agrees_with_catalogue"] = float(agrees.mean()) if len(agrees) else None
    result["candidates_without_clear_redshift"] = float(warned[np.isfinite(samples)].mean())
    result["one candidate"] = _redshift_scores(error[:, 0])
    if error.shape[1] > 1:
        result["median of candidates"] = _redshift_scores(_median(error))
    shuffled = fractional(np.roll(samples, 1, axis=0), truth)
    result["another object's"] = _redshift_scores(shuffled[:, 0])
    return result


def _redshift_scores(error: np.ndarray) -> dict:
    """Bias, scatter and outliers of (N,) errors, with standard errors; a failed fit is an outlier."""
    known = error[np.isfinite(error)]
    if len(known) < MIN_OBJECTS:
        return {"objects": len(known)}
    nmad = 1.4826 * np.median(np.abs(known - np.median(known)))
    result = {"objects": len(known), "bias": float(np.median(known)), "nmad": float(nmad)}
    result["bias_error"] = float(1.253 * max(nmad, 1e-9) / np.sqrt(len(known)))
    for limit in (0.05, 0.15):
        share = float((~(np.abs(error) <= limit)).mean())
        result[f"outliers_{limit}"] = share
        result[f"outliers_{limit}_error"] = float(np.sqrt(share * (1 - share) / len(error)))
    return result


def _median(samples: np.ndarray) -> np.ndarray:
    """Median (N,) of the finite candidates; NaN where fewer than half are."""
    finite = np.isfinite(samples)
    enough = finite.mean(1) >= 0.5
    filled = np.where(enough[:, None], samples, 0)
    return np.where(enough, np.nanmedian(filled, 1), np.nan)


def science_section(study: Study) -> dict:
    """Every quantity: bias and scatter of the candidates' median, and CRPS, beside chance, by name."""
    return {name: found for name in QUANTITIES if (found := _quantity(study, name))}


def _quantity(study: Study, name: str) -> dict:
    truth, samples = study.truths(name), study.samples(name)
    both = np.isfinite(truth) & (np.isfinite(samples).mean(1) >= 0.5)
    if both.sum() < MIN_OBJECTS:
        return {}
    truth, samples = truth[both], samples[both]
    middle, spread = np.median(truth), 1.4826 * np.median(np.abs(truth - np.median(truth)))
    spread = max(spread, 1e-9)
    error = _median(samples) - truth
    result = {
        "objects": int(both.sum()),
        "observed_median": float(middle),
        "observed_scatter": float(spread),
        "bias": float(np.median(error)),
        "scatter": float(1.4826 * np.median(np.abs(error - np.median(error)))),
        "population_shift": float(np.nanmedian(samples) - middle),
    }
    result["bias_error"] = float(1.253 * max(result["scatter"], 1e-9) / np.sqrt(len(error)))
    own, others = _crps(samples, truth, middle, spread), _crps(np.roll(samples, 1, 0), truth, middle, spread)
    result |= {"crps": float(np.mean(own)), "crps_chance": float(np.mean(others))}
    gain = others - own
    result["skill"] = float(1 - own.mean() / others.mean()) if others.mean() > 0 else 0.0
    result["skill_error"] = float(gain.std() / np.sqrt(len(gain)) / max(others.mean(), 1e-12))
    result["measurement_error"] = float(np.nanmedian(study.truths(f"{name}_error")[both]))
    return result


def _crps(samples, truth, middle, spread) -> np.ndarray:
    """CRPS (N,) of values clipped at MAX_SCATTERS scatters, so that one bad fit does not dominate a mean."""
    low, high = middle - MAX_SCATTERS * spread, middle + MAX_SCATTERS * spread
    filled = np.where(np.isfinite(samples), samples, _median(samples)[:, None])
    members = np.clip(filled, low, high)[..., None]
    return metrics.crps_ensemble(members, np.clip(truth, low, high)[:, None], np.ones((len(truth), 1)))


def types_section(study: Study) -> dict:
    """BPT classes: how the candidates of each observed class are classified."""
    truth, samples = study.truths("bpt").astype(int), study.samples("bpt")
    kinds = range(len(BPT_CLASSES))
    share = np.stack([(samples == kind).sum(1) for kind in kinds], 1) / np.isfinite(samples).sum(1)[:, None]
    matrix = [share[truth == kind].mean(0).tolist() if (truth == kind).any() else None for kind in kinds]
    right = share[np.arange(len(truth)), truth]
    frequency = np.bincount(truth, minlength=len(BPT_CLASSES)) / len(truth)
    return {
        "classes": list(BPT_CLASSES),
        "observed": np.bincount(truth, minlength=len(BPT_CLASSES)).tolist(),
        "confusion": matrix,
        "accuracy": float(right.mean()),
        "accuracy_error": float(right.std() / np.sqrt(len(right))),
        "chance": float(np.roll(share, 1, axis=0)[np.arange(len(truth)), truth].mean()),
        "frequencies_generated": share.mean(0).tolist(),
        "frequencies_observed": frequency.tolist(),
    }


def calibration_section(study: Study) -> dict:
    """Intervals and ranks of every quantity, before and after selection; and of some jointly."""
    scores = study.ranks()
    result: dict = {"quantities": {}}
    for name in QUANTITIES:
        truth, samples = study.truths(name), study.samples(name)
        complete = np.isfinite(truth) & np.isfinite(samples).all(1)
        if complete.sum() < MIN_OBJECTS or samples.shape[1] < 3:
            continue
        ranks = None if scores is None else scores[complete]
        found = calibration(samples[complete], truth[complete], ranks)
        result["quantities"][name] = {which: _calibration_numbers(part) for which, part in found.items()}
    names = [name for name in JOINT_QUANTITIES if name in result["quantities"]]
    if len(names) > 1:
        samples = np.stack([study.samples(name) for name in names], -1)
        joint = tarp(samples, np.stack([study.truths(name) for name in names], -1))
        result["joint"] = {"quantities": names, "levels": joint.levels.tolist()}
        result["joint"] |= {"coverage": joint.coverage.tolist(), "ks_p": joint.ks_p, "bias_p": joint.bias_p}
    return result


def _calibration_numbers(found: Calibration) -> dict:
    result = {"n": found.n, "width": found.width, "bias_p": found.bias_p, "ks_p": found.ks_p}
    for level, covered, error, expected in zip((68, 90), found.coverage, found.error, found.expected):
        result |= {f"coverage_{level}": float(covered), f"coverage_{level}_error": float(error)}
        result[f"expected_{level}"] = float(expected)
    return result


def strata(study: Study, method: str) -> list[dict]:
    """Scores in bins of properties of the objects: signal to noise, r magnitude, redshift, type.

    `method` is the way of choosing whose pixel scores are shown.
    """
    columns = {name: _column(study.rows, name) for name in ("sn", "mag_r", "z")}
    parts = []
    for name, label in (("sn", "S/N"), ("mag_r", "r magnitude"), ("z", "redshift")):
        values = columns[name]
        known = values[np.isfinite(values)]
        if len(known) < BINS_PER_PROPERTY * MIN_OBJECTS:
            continue
        edges = np.quantile(known, np.linspace(0, 1, BINS_PER_PROPERTY + 1))
        for low, high in pairwise(edges):
            inside = (values >= low) & ((values < high) | ((high == edges[-1]) & (values <= high)))
            parts.append({"by": label, "bin": f"{low:.3g} to {high:.3g}", **_stratum(study, inside, method)})
    if study.observed:
        classes = study.truths("bpt").astype(int)
        for kind, name in enumerate(BPT_CLASSES):
            if (classes == kind).sum() >= MIN_OBJECTS:
                parts.append({"by": "type", "bin": name, **_stratum(study, classes == kind, method)})
    return parts


def _stratum(study: Study, inside: np.ndarray, method: str) -> dict:
    rows = [row for row, kept in zip(study.rows, inside) if kept]
    result: dict = {"objects": len(rows)}
    for metric in ("affine_matched_mse", "crps_median", "energy_median", "coverage_68_median"):
        values = _column(rows, f"{method}.{metric}")
        values = values[np.isfinite(values)]
        result[metric] = float(values.mean()) if len(values) else None
    if study.observed:
        clear = inside & (study.truths("zwarning") == 0)
        error = fractional(study.samples("z")[clear], study.truths("z")[clear])
        scores = _redshift_scores(_median(error)) if clear.any() else {}
        result |= {name: scores.get(name) for name in ("nmad", "outliers_0.05")}
    return result


def _column(rows: list[dict], name: str) -> np.ndarray:
    return np.array([row.get(name, np.nan) for row in rows], float)
