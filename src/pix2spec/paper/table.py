"""Table 1 as Markdown, LaTeX and Parquet: mean and standard deviation over seeds, and the paper's numbers."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa

from pix2spec.data.dataset import Dataset, write_table_atomically
from pix2spec.evaluation.compare import is_simulated
from pix2spec.paper.rows import PAPER, SELECTIONS, Row
from pix2spec.paper.work import Job, read_scores
from pix2spec.runtime.atomic import write_atomically
from pix2spec.runtime.provenance import run_provenance

__all__ = ["METRICS", "Line", "gather", "print_table", "retrieval_of", "write_table"]

METRICS = {
    "minmax_mse": "min-max MSE",
    "affine_matched_mse": "affine-matched MSE",
    "scaled_mse": "median-scaled MSE",
    "crps_median": "CRPS",
}
ALL_METRICS = (*METRICS, "crps_minmax")


@dataclass
class Line:
    """One line of the table: a method, and a selection of its candidates."""

    row: str
    label: str
    selection: str
    choice: str  # the selection in words; empty if the method has only one
    seeds: int
    objects: int
    values: dict[str, tuple[float, float]] = field(default_factory=dict)  # mean and deviation over seeds
    object_error: float = np.nan  # standard error of the min-max MSE over objects, for one seed
    paper: tuple[float, float] | None = None  # the paper's min-max MSE, mean and deviation
    parameters: int = 0
    hours: float = np.nan  # of training
    seconds: float = np.nan  # per generated galaxy


def gather(rows: list[Row], jobs: list[Job], objects: int) -> tuple[list[Line], list[dict]]:
    """Make the lines of the table and the retrieval of each contrastive network from the existing scores."""
    lines, retrieval = [], []
    for row in rows:
        done = [read_scores(job.scores) for job in jobs if job.row.name == row.name and job.is_done]
        if not done:
            continue
        if row.preset is not None and row.preset.task == "contrastive":
            retrieval.append(retrieval_of(row.label, done))
            continue
        known = {name for columns, _ in done for name in columns}
        chosen = [s for s in SELECTIONS if f"{s}.minmax_mse" in known and _shown(row, s)]
        lines += [_line(row, s, SELECTIONS[s] if len(chosen) > 1 else "", done) for s in chosen]
    return lines, retrieval


def _shown(row: Row, selection: str) -> bool:
    """Whether a selection makes sense. Neighbours are sorted: the best one is the same as the first."""
    if row.preset is not None and row.preset.task == "neighbours":
        return selection in ("single", "mean_all")
    return True


def _line(row: Row, selection: str, choice: str, done: list[tuple[dict, dict]]) -> Line:
    values = {}
    for metric in ALL_METRICS:
        means = [_mean(columns.get(f"{selection}.{metric}")) for columns, _ in done]
        if np.isfinite(means).any():
            values[metric] = _mean(means), _deviation(means)
    errors = []
    for columns, _ in done:
        known = columns[f"{selection}.minmax_mse"].astype(float)
        known = known[np.isfinite(known)]
        errors.append(known.std(ddof=1) / np.sqrt(len(known)) if len(known) > 1 else np.nan)
    seconds = [_mean(columns.get("generation_seconds")) for columns, _ in done]
    return Line(
        row=row.name,
        label=row.label,
        selection=selection,
        choice=choice,
        seeds=len(done),
        objects=int(np.isfinite(done[0][0][f"{selection}.minmax_mse"].astype(float)).sum()),
        values=values,
        object_error=_mean(errors),
        paper=PAPER.get((row.name, selection)),
        parameters=int(done[0][1].get("parameters") or 0),
        hours=_mean([about["hours"] for _, about in done if about.get("hours") is not None]),
        seconds=_mean(seconds),
    )


def retrieval_of(label: str, done: list[tuple[dict, dict]]) -> dict:
    """Fraction of images whose spectrum ranks first, or among the first five, in its pool.

    Parameters
    ----------
    label : str
        Name of the network.
    done : list of (dict, dict)
        Columns and metadata of the scores of each seed; see `pix2spec.paper.work.read_scores`.
    """
    result = {"label": label, "seeds": len(done), "parameters": done[0][1].get("parameters")}
    result["hours"] = _mean([about["hours"] for _, about in done if about.get("hours") is not None])
    for which, size in (("pool", done[0][1]["pool"]), ("all", done[0][1]["all"])):
        shares = {}
        for k in (1, 5):
            found = [columns[f"rank_{which}"] for columns, _ in done]
            means = [_mean(np.where(np.isfinite(rank), rank < k, np.nan)) for rank in found]
            shares[f"top_{k}"] = _mean(means), _deviation(means)
        result[which] = {"size": size, **shares}
    return result


def _mean(values) -> float:
    known = np.asarray([] if values is None else values, float)
    known = known[np.isfinite(known)]
    return float(known.mean()) if len(known) else np.nan


def _deviation(values) -> float:
    known = np.asarray(values, float)
    known = known[np.isfinite(known)]
    return float(known.std(ddof=1)) if len(known) > 1 else np.nan


# ---------------------------------------------------------------------------------- writing


def write_table(comparison) -> None:
    """Write table1.md, table1.tex and table1.parquet into the folder of a `Comparison`."""
    out, metadata = comparison.plan.out, provenance(comparison)
    write_atomically(out / "table1.md", lambda p: p.write_text(_markdown(comparison, metadata)))
    write_atomically(out / "table1.tex", lambda p: p.write_text(_latex(comparison, metadata)))
    rows = []
    for line in comparison.lines:
        row = asdict(line)
        values, paper = row.pop("values"), row.pop("paper") or (None, None)
        for metric in ALL_METRICS:
            row[metric], row[f"{metric}_deviation"] = values.get(metric, (None, None))
        rows.append(row | {"paper_mse": paper[0], "paper_mse_deviation": paper[1]})
    table = pa.Table.from_pylist(rows)
    if not rows:
        table = pa.table({"row": pa.array([], pa.string())})
    metadata = metadata | {"retrieval": comparison.retrieval}
    table = table.replace_schema_metadata({"pix2spec": json.dumps(metadata, default=str)})
    write_table_atomically(table, out / "table1.parquet")


def provenance(comparison) -> dict:
    """Record of all that reproduces the table."""
    plan = comparison.plan
    about = {"scale": plan.scale, "data": str(plan.data), "test": _test_set(comparison)}
    return {**run_provenance(), **about, "failures": len(comparison.failures)}


def _test_set(comparison) -> str:
    plan = comparison.plan
    kind = "simulated" if is_simulated(Dataset(plan.test)) else "real"
    split = f", {plan.split} split" if plan.split else ""
    return f"{comparison.objects} {kind} galaxies of {plan.test}{split}"


HEAD = ("method", "selection", *METRICS.values(), "paper's MSE", "parameters", "training", "a galaxy")


def _cells(line: Line, plus_minus: str = " ± ") -> list[str]:
    numbers = [_number(line.values.get(m), plus_minus, 4 if m != "minmax_mse" else 3) for m in METRICS]
    return [
        line.label,
        line.choice,
        *numbers,
        _number(line.paper, plus_minus, 3),
        f"{line.parameters / 1e6:.3g} M" if line.parameters else "",
        _duration(3600 * line.hours),
        _duration(line.seconds),
    ]


def _number(value: tuple[float, float] | None, plus_minus: str, digits: int) -> str:
    if value is None or not np.isfinite(value[0]):
        return ""
    deviation = f"{plus_minus}{value[1]:.{digits}f}" if np.isfinite(value[1]) else ""
    return f"{value[0]:.{digits}f}{deviation}"


def _duration(seconds: float) -> str:
    if not np.isfinite(seconds) or seconds <= 0:
        return ""
    for limit, unit, size in ((0.1, "ms", 1e-3), (100, "s", 1), (6000, "min", 60)):
        if seconds < limit:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds / 3600:.3g} h"


def notes(comparison) -> list[str]:
    """Explanations of the numbers, to print below the table."""
    seeds = max((line.seeds for line in comparison.lines), default=1)
    texts = [
        f"Test set: {_test_set(comparison)}. Mean ± standard deviation over {seeds} seeds; without ±: one "
        "run, or a method without random numbers. The paper's column: 5,000 real SDSS galaxies, three runs.",
        "Min-max MSE is the paper's: models that were trained on that scale are scored on it, and "
        "other spectra are scaled by their own extrema. Affine-matched: after the best offset and "
        "scale, in units of the observed spectrum's [−1, 1]. Median-scaled: weighted by inverse variance, "
        "each spectrum divided by its median. CRPS: of the whole ensemble, median-scaled; of a single "
        "spectrum, its mean absolute error.",
    ]
    errors = [line.object_error for line in comparison.lines if np.isfinite(line.object_error)]
    if errors:
        error = f"{np.median(errors):.3f} (median of the lines)"
        texts.append(
            f"The choice of galaxies adds a standard error of {error}, much of it common to all lines."
        )
    if any(line.row == "default" for line in comparison.lines):
        saw = "was trained on other data (`pix2spec info default`), and sees the ugriz fluxes too"
        texts.append(f"pix2spec default: the shipped model, which {saw}; seeds change only its candidates.")
    for found in comparison.retrieval:
        parts = []
        for which in ("pool", "all"):
            top1, top5 = (_percent(found[which][f"top_{k}"]) for k in (1, 5))
            parts.append(f"{top1} first, {top5} among the first five of {found[which]['size']}")
        texts.append(f"Retrieval of the right spectrum for an image, {found['label']}: {'; '.join(parts)}.")
    texts += [f"Failed: {name}: {why}" for name, why in comparison.failures]
    return texts


def _percent(value: tuple[float, float]) -> str:
    deviation = f" ± {100 * value[1]:.1f}" if np.isfinite(value[1]) else ""
    return f"{100 * value[0]:.1f}{deviation} %"


def _markdown(comparison, metadata: dict) -> str:
    lines = ["# Table 1", "", "| " + " | ".join(HEAD) + " |", "|" + "---|" * 2 + "---:|" * (len(HEAD) - 2)]
    lines += ["| " + " | ".join(_cells(line)) + " |" for line in comparison.lines]
    lines += [""] + [text + "\n" for text in notes(comparison)]
    lines += [f"- {key}: `{value}`" for key, value in metadata.items()]
    return "\n".join(lines) + "\n"


def _latex(comparison, metadata: dict) -> str:
    lines = [f"% {key}: {value}" for key, value in metadata.items()]
    lines += [r"\begin{tabular}{ll" + "r" * (len(HEAD) - 2) + "}", r"\hline"]
    lines += [" & ".join(_tex(name) for name in HEAD) + r" \\", r"\hline"]
    lines += [" & ".join(_tex(c) for c in _cells(line)) + r" \\" for line in comparison.lines]
    lines += [r"\hline", r"\end{tabular}"]
    lines += [r"\par " + _tex(text) for text in notes(comparison)]
    return "\n".join(lines) + "\n"


def _tex(text: str) -> str:
    for character in "&%_#$":
        text = text.replace(character, "\\" + character)
    return text.replace("±", r"$\pm$").replace("−", "$-$").replace("`", "")


def print_table(comparison, console=None) -> None:
    """Print the table, its notes, and the paths of its files."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    console = console or Console(highlight=False)
    if not console.is_terminal:
        console.width = max(console.width, 190)  # do not wrap lines in a file
    table = Table(box=SIMPLE_HEAD)
    for k, name in enumerate(HEAD):
        table.add_column(name, justify="left" if k < 2 else "right")
    before = ""
    for line in comparison.lines:
        cells = _cells(line)
        table.add_row("" if line.label == before else cells[0], *cells[1:])
        before = line.label
    if comparison.lines:
        console.print(table)
    for text in notes(comparison):
        console.print(text, markup=False)
    out: Path = comparison.plan.out
    if comparison.lines or comparison.retrieval:
        console.print(f"Table: {out}/table1.md, .tex and .parquet; runs: {out}/runs; scores: {out}/scores")
