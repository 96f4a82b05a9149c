"""The report: a generated catalogue against observed spectra, beside simple baselines."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa

from pix2spec.catalogue import Catalogue, read_catalogue
from pix2spec.data.dataset import Dataset, write_table_atomically
from pix2spec.data.schema import Pair
from pix2spec.ensemble import PHYSICAL, Ensemble
from pix2spec.errors import InputError
from pix2spec.evaluate import metrics, scoring
from pix2spec.evaluate.baselines import feature_source, mean_spectrum, nearest_neighbours
from pix2spec.files import track, write_atomically

__all__ = ["METHODS", "evaluate", "print_report"]

BATCH = 64
EXAMPLES = 4
METHODS = {
    "single": "one candidate",
    "best_of_5": "best of 5",
    "best": "best of all",
    "mean_best_5": "mean of best 5",
    "mean_all": "all candidates",
    "chosen": "chosen spectrum",
    "neighbour": "nearest neighbour",
    "neighbours": "25 nearest neighbours",
    "mean_spectrum": "mean training spectrum",
    "noise_free": "noise-free truth",
}
METRICS = {
    "minmax_mse": "min-max MSE",
    "affine_matched_mse": "after affine match",
    "scaled_mse": "median-scaled MSE",
    "crps_minmax": "CRPS min-max",
    "crps_median": "CRPS median-scaled",
    "coverage_68_median": "68 %",
    "coverage_90_median": "90 %",
}


def evaluate(predictions, truth, train=None, out=None, progress: bool = True) -> dict:
    """Score a generated catalogue against observed spectra.

    Parameters
    ----------
    predictions : str, Path or Catalogue
        A generated catalogue: folder or file.
    truth : str, Path or Dataset
        Pairs with the spectra of the same objects, matched by object_id.
    train : str, Path or Dataset, optional
        Training pairs: adds the mean spectrum and the 25 nearest neighbours as baselines.
    out : str or Path, optional
        Folder for ``metrics.json``, ``metrics.parquet`` (one row an object) and ``evaluation.png``.
    progress : bool
        Show progress, and print the table at the end.

    Returns
    -------
    dict
        What ``metrics.json`` holds: counts, and mean, standard error and number of objects of each metric
        for each method.
    """
    catalogue = predictions if isinstance(predictions, Catalogue) else read_catalogue(predictions)
    truth = truth if isinstance(truth, Dataset) else Dataset(truth)
    train = Dataset(train) if isinstance(train, str | Path) else train
    report = _Report(catalogue, truth, train)
    report.run(progress)
    result = report.result()
    if out is not None:
        report.write(Path(out), result)
    if progress:
        print_report(result)
    return result


class _Report:
    """One evaluation: matching, streaming, gathering."""

    def __init__(self, catalogue: Catalogue, truth: Dataset, train: Dataset | None):
        self.catalogue, self.truth, self.train = catalogue, truth, train
        for other in (truth, train):
            if other is not None and other.info.grid != catalogue.grid:
                raise InputError(other.path, "its wavelength grid is not that of the predictions")
        self.position = self._match()
        self.simulated = is_simulated(truth)
        self.has_clean = "true_flux" in truth.info.truth
        self.columns = ["object_id", "group_id", "z", "flux", "ivar"]
        self.columns += ["true_flux"] if self.has_clean else []
        self.profiles = {"generated": scoring.Profile(catalogue.grid.size)}
        self.rows, self.examples, self.sizes, self.without_spectrum = [], [], [], 0
        self.neighbours = self.mean = None
        if train is not None:
            self.mean = mean_spectrum(train)
            self.neighbours = nearest_neighbours(train, feature_source(train, truth))
            self.columns += [c for c in self.neighbours.columns if c not in self.columns]
            self.profiles["neighbours"] = scoring.Profile(catalogue.grid.size)

    def _match(self) -> dict[str, int]:
        ids = [str(i) for i in self.truth.batch(np.arange(len(self.truth)), ["object_id"])["object_id"]]
        for name, values in ((self.catalogue.path, self.catalogue.ids), (self.truth.path, ids)):
            if len(set(values)) < len(values):
                raise InputError(name, "an object_id appears more than once", "make them unique")
        predicted = set(self.catalogue.ids)
        self.unmatched_truth = [i for i in ids if i not in predicted]
        self.unmatched_predictions = sorted(predicted.difference(ids))
        position = {name: i for i, name in enumerate(ids) if name in predicted}
        if not position:
            raise InputError(
                self.catalogue.path,
                f"none of its {len(predicted)} objects is in {self.truth.path}",
                "they are matched by object_id",
            )
        return position

    def run(self, progress: bool) -> None:
        """Go through the catalogue once, a batch at a time."""
        waiting = []
        for ensemble in track(self.catalogue, "scoring", progress, len(self.catalogue)):
            if ensemble.object_id in self.position:
                waiting.append(ensemble)
            if len(waiting) == BATCH:
                self._score(waiting)
                waiting = []
        if waiting:
            self._score(waiting)
        if not self.rows:
            raise InputError(self.truth.path, "no matched object has a spectrum and a prediction")

    def _score(self, ensembles: list[Ensemble]) -> None:
        batch = self.truth.batch([self.position[e.object_id] for e in ensembles], self.columns)
        good = (batch["ivar"] > 0) & np.isfinite(batch["flux"])
        observed = good.any(1)
        self.without_spectrum += int((~observed).sum())
        ivar = np.where(good, batch["ivar"], 0)
        look_alikes = [None] * len(ensembles)
        if self.neighbours:
            look_alikes, _ = self.neighbours.predict(batch, self.truth.info.image_kind)
        for i in np.flatnonzero(observed):
            values = {"object_id": ensembles[i].object_id, "z": float(batch["z"][i])}
            values |= self._generated(ensembles[i], batch["flux"][i], ivar[i])
            if self.neighbours:
                values |= self._baselines(look_alikes[i], batch["flux"][i], ivar[i])
            if self.has_clean:
                clean = batch["true_flux"][i]
                scaled = metrics.to_minmax(clean, ivar[i]), metrics.to_median(clean, ivar[i])
                values |= scoring.score_point("noise_free", *scaled, batch["flux"][i], ivar[i])
            self.rows.append(values)
            if len(self.examples) < EXAMPLES:
                self._keep_example(ensembles[i])

    def _generated(self, ensemble: Ensemble, flux: np.ndarray, ivar: np.ndarray) -> dict:
        chosen, whole = {"chosen": np.array([0])}, "chosen"
        if self.catalogue.has_candidates:
            chosen = scoring.selections(len(ensemble), ensemble.scores)
            whole = "mean_all" if len(ensemble) > 1 else "single"
            self.sizes.append(len(ensemble))
        return scoring.score_ensemble(
            ensemble.candidates,
            flux,
            ivar,
            chosen,
            whole,
            zero_point=ensemble.has_zero_point,
            physical=ensemble.unit == PHYSICAL,
            minmax=ensemble.minmax,
            profile=self.profiles["generated"],
        )

    def _baselines(self, look_alikes: np.ndarray, flux: np.ndarray, ivar: np.ndarray) -> dict:
        chosen = {"neighbour": np.array([0]), "neighbours": np.arange(len(look_alikes))}
        profile = self.profiles["neighbours"]
        values = scoring.score_ensemble(look_alikes, flux, ivar, chosen, "neighbours", profile=profile)
        mean = self.mean.minmax_spectrum.numpy(), self.mean.spectrum.numpy()
        return values | scoring.score_point("mean_spectrum", *mean, flux, ivar)

    def _keep_example(self, ensemble: Ensemble) -> None:
        pair: Pair = self.truth[self.position[ensemble.object_id]]
        ensemble.image, ensemble.image_kind = pair.image, self.truth.info.image_kind
        ensemble.photometry = pair.photometry
        self.examples.append((ensemble, pair))

    def result(self) -> dict:
        """Means over objects, with their standard errors."""
        names = dict.fromkeys(name for row in self.rows for name in row if "." in name)
        methods = {method: {} for method in METHODS if any(n.startswith(f"{method}.") for n in names)}
        for name in names:
            method, metric = name.split(".")
            methods[method][metric] = _mean_and_error([row.get(name, np.nan) for row in self.rows])
        counts = {
            "scored": len(self.rows),
            "failed": len(self.catalogue.failures),
            "without_spectrum": self.without_spectrum,
            "unmatched_predictions": len(self.unmatched_predictions),
            "unmatched_truth": len(self.unmatched_truth),
        }
        return {
            "data": "simulated" if self.simulated else "real",
            "predictions": str(self.catalogue.path),
            "truth": str(self.truth.path),
            "train": None if self.train is None else str(self.train.path),
            "neighbours_from": self.neighbours.preset.features if self.neighbours else None,
            "counts": counts,
            "unmatched_predictions": self.unmatched_predictions[:20],
            "unmatched_truth": self.unmatched_truth[:20],
            "candidates": [min(self.sizes), max(self.sizes)] if self.sizes else None,
            "expected_coverage": scoring.expected(self.sizes) if self.sizes else None,
            "methods": methods,
            "provenance": self.catalogue.provenance,
        }

    def write(self, out: Path, result: dict) -> None:
        """Write metrics.json, metrics.parquet and evaluation.png."""
        from pix2spec.plot import figure_evaluation

        out.mkdir(parents=True, exist_ok=True)
        names = dict.fromkeys(name for row in self.rows for name in row)
        table = pa.table({name: [row.get(name) for row in self.rows] for name in names})
        write_table_atomically(table, out / "metrics.parquet")
        text = json.dumps(_json_able(result), indent=1) + "\n"
        write_atomically(out / "metrics.json", lambda temporary: temporary.write_text(text))
        figure_evaluation(self.examples, self.catalogue.grid, self.profiles, result, out / "evaluation.png")


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


def print_report(result: dict, console=None) -> None:
    """Print what `evaluate` returned as a table."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    console = console or Console()
    if not console.is_terminal:
        console.width = max(console.width, 146)  # in a file, nothing needs to wrap
    counts, methods = result["counts"], result["methods"]
    title = f"{counts['scored']} {result['data']} galaxies"
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD)
    table.add_column("method", no_wrap=True)
    shown = [name for name in METRICS if any(name in values for values in methods.values())]
    for name in shown:
        table.add_column(METRICS[name], justify="right")
    for method, values in methods.items():
        table.add_row(METHODS[method], *(_cell(values.get(name), name) for name in shown))
    console.print(table)
    for line in _remarks(result):
        console.print(line, highlight=False)


def _cell(value: dict | None, name: str) -> str:
    if value is None or not value["n"]:
        return "–"
    if name.startswith("coverage"):
        return f"{100 * value['mean']:.1f}"
    return f"{value['mean']:.4f}" + (f" ± {value['error']:.4f}" if np.isfinite(value["error"]) else "")


def _remarks(result: dict):
    counts, expected = result["counts"], result["expected_coverage"]
    if result["provenance"].get("noise") == "none":
        yield "The candidates are noise-free: their intervals leave out the noise of the observed spectra."
    if result["data"] == "simulated":
        yield "The spectra are simulated; scores on real ones differ."
    left_out = {
        "failed": "failed to generate",
        "without_spectrum": "have no observed spectrum",
        "unmatched_predictions": "predictions have no truth",
        "unmatched_truth": "truths have no prediction",
    }
    parts = [f"{counts[name]} {text}" for name, text in left_out.items() if counts[name]]
    if parts:
        yield "Left out: " + ", ".join(parts) + "."
    if expected is not None:
        reach = f"{100 * expected['68']:.1f} and {100 * expected['90']:.1f} %"
        yield f"Calibrated candidates would cover {reach}."
    for method, values in result["methods"].items():
        for scale, text in (("flux", "in absolute flux"), ("minmax", "on the min-max scale")):
            if f"coverage_68_{scale}" in values:
                covered = [100 * values[f"coverage_{level}_{scale}"]["mean"] for level in (68, 90)]
                crps = values[f"crps_{scale}"]["mean"]
                numbers = f"CRPS {crps:.4f}, coverage {covered[0]:.1f} and {covered[1]:.1f} %"
                yield f"{METHODS[method].capitalize()}, {text}: {numbers}."
