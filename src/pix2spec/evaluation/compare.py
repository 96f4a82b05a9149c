"""The report: generated spectra against observed ones, beside simple baselines."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa

from pix2spec.data.dataset import Dataset, write_table_atomically
from pix2spec.errors import InputError
from pix2spec.evaluation.metrics import scoring
from pix2spec.evaluation.report.gather import Baselines, Study, gather
from pix2spec.evaluation.report.wording import METHODS, print_report
from pix2spec.runtime.atomic import write_atomically
from pix2spec.runtime.provenance import run_provenance

__all__ = [
    "compare",
    "evaluate",
    "is_simulated",
]


def evaluate(
    predictions,
    truth,
    train=None,
    out=None,
    progress: bool = True,
    quick: bool = False,
    features=None,
    workers: int | None = None,
) -> dict:
    """Judge generated spectra against observed ones, by pixel and by what astronomers measure on them.

    Parameters
    ----------
    predictions : str, Path or Catalogue
        A generated catalogue, a folder of FITS spectra, or a Parquet or NumPy file: see
        `pix2spec.evaluation.predictions.open.open_predictions`.
    truth : str, Path or Dataset
        Pairs with the spectra of the same objects, matched by object_id.
    train : str, Path or Dataset, optional
        Training pairs: adds the mean spectrum and the 25 nearest neighbours as baselines, and the search for
        copied training spectra.
    out : str or Path, optional
        Folder for ``report.html``, ``metrics.json``, ``metrics.parquet`` (one row an object) and
        ``evaluation.png``.
    progress : bool
        Show progress, and print the table at the end.
    quick : bool
        Scores by pixel alone: seconds in place of minutes.
    features : str or Path, optional
        Run of a contrastive network whose codes of spectra are compared; the shipped model's by default.
    workers : int, optional
        Processes that measure spectra; one a core by default.

    Returns
    -------
    dict
        What ``metrics.json`` holds: counts; mean, standard error and number of objects of each metric for
        each method; the sections of the report, and its findings.
    """
    options = {"train": train, "progress": progress, "quick": quick, "features": features, "workers": workers}
    return compare([predictions], truth, out=out, **options)[0]


def compare(
    predictions: list,
    truth,
    train=None,
    out=None,
    progress: bool = True,
    quick: bool = False,
    features=None,
    workers: int | None = None,
) -> list[dict]:
    """Judge several sets of predictions of the same objects, side by side in one report.

    Parameters and files are those of `evaluate`; a list of results comes back, one of each set.

    Raises
    ------
    InputError
        If predictions and truth do not fit together, or two sets have one name.
    """
    from pix2spec.evaluation.predictions.open import open_predictions

    truth = truth if isinstance(truth, Dataset) else Dataset(truth)
    train = Dataset(train) if isinstance(train, str | Path) else train
    names = _names(predictions)
    baselines = None if train is None else Baselines(train, truth)
    results, tables, figures = [], [], []
    for name, source in zip(names, predictions):
        opened = open_predictions(source, truth.info.grid) if isinstance(source, str | Path) else source
        study = gather(name, opened, truth, baselines, not quick, workers, progress)
        results.append(summarise(study, quick, features, progress))
        tables.append([row | {"predictions": name} for row in study.rows])
        if out is not None:
            figures.append(_draw(study, results[-1]))
        if progress:
            print_report(results[-1])
    if out is not None:
        _write(Path(out), results, tables, figures)
    return results


def _names(predictions: list) -> list[str]:
    """Short names: of the folder or file, or of the parent where those are all alike."""
    paths = [Path(getattr(p, "path", p)) for p in predictions]
    paths = [path.parent if path.name == "catalog.parquet" else path for path in paths]
    names = [path.stem if path.is_file() else path.name or str(path) for path in paths]
    if len(set(names)) < len(names):
        names = [str(path) for path in paths]
    if len(set(names)) < len(names):
        raise InputError("`predictions`", "the same predictions are given twice", "give each once")
    return names


def summarise(study: Study, quick: bool = False, features=None, progress: bool = False) -> dict:
    """Means over objects, with their standard errors; sections and findings unless `quick`."""
    names = dict.fromkeys(name for row in study.rows for name in row if "." in name)
    methods: dict[str, dict]
    methods = {method: {} for method in METHODS if any(n.startswith(f"{method}.") for n in names)}
    for name in names:
        method, metric = name.split(".")
        methods[method][metric] = _mean_and_error([row.get(name, np.nan) for row in study.rows])
    whole = next(m for m in ("mean_all", "chosen", "single") if m in methods)
    counts = {
        "scored": len(study.rows),
        "failed": len(study.predictions.failures),
        "without_spectrum": study.without_spectrum,
        "unmatched_predictions": len(study.unmatched_predictions),
        "unmatched_truth": len(study.unmatched_truth),
    }
    result = {
        "name": study.name,
        "data": "simulated" if is_simulated(study.truth) else "real",
        "predictions": str(study.predictions.path),
        "truth": str(study.truth.path),
        "train": None if study.train is None else str(study.train.path),
        "neighbours_from": study.neighbours_from,
        "counts": counts,
        "failures": dict(list(study.predictions.failures.items())[:20]),
        "unmatched_predictions": study.unmatched_predictions[:20],
        "unmatched_truth": study.unmatched_truth[:20],
        "candidates": [min(study.sizes), max(study.sizes)] if study.sizes else None,
        "expected_coverage": scoring.expected(study.sizes) if study.sizes else None,
        "methods": methods,
        "whole": whole,
        "provenance": study.predictions.provenance,
        "made_by": run_provenance(),
    }
    if not quick:
        from pix2spec.evaluation.report.findings import findings
        from pix2spec.evaluation.report.object_sections import sections

        result |= sections(study, result, features, progress)
        result["findings"] = [vars(finding) for finding in findings(result)]
    return result


def _draw(study: Study, result: dict) -> dict:
    """Figures of the page, as PNG files in memory, by title."""
    from pix2spec.evaluation.report.charts import charts

    return charts(study, result)


def _write(out: Path, results: list[dict], tables: list[list[dict]], figures: list[dict]) -> None:
    """Write report.html, metrics.json, metrics.parquet and evaluation.png."""
    from pix2spec.evaluation.report.page import page

    out.mkdir(parents=True, exist_ok=True)
    rows = [row for table in tables for row in table]
    names = dict.fromkeys(name for row in rows for name in row)
    table = pa.table({name: [row.get(name) for row in rows] for name in names})
    write_table_atomically(table, out / "metrics.parquet")
    content = results[0] if len(results) == 1 else {"models": results}
    text = json.dumps(_json_able(content), indent=1) + "\n"
    write_atomically(out / "metrics.json", lambda temporary: temporary.write_text(text))
    html = page(results, figures)
    write_atomically(out / "report.html", lambda temporary: temporary.write_text(html, encoding="utf-8"))
    picture = next(iter(figures[0].values()))
    write_atomically(out / "evaluation.png", lambda temporary: temporary.write_bytes(picture))


def is_simulated(dataset: Dataset) -> bool:
    """Whether its spectra were made, not observed: then it has columns of truth, or says so."""
    return bool(dataset.info.truth) or "simul" in json.dumps(dataset.info.provenance, default=str).lower()


def _mean_and_error(values: list[float]) -> dict:
    known = np.asarray(values, float)
    known = known[np.isfinite(known)]
    error = known.std(ddof=1) / np.sqrt(len(known)) if len(known) > 1 else np.nan
    return {"mean": known.mean() if len(known) else np.nan, "error": error, "n": len(known)}


def _json_able(value):
    """JSON has no NaN: null instead."""
    if isinstance(value, dict):
        return {key: _json_able(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_json_able(item) for item in value]
    if isinstance(value, float | np.floating):
        return float(value) if np.isfinite(value) else None
    return value
