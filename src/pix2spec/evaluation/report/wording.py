"""Names of methods and metrics, remarks, and the report on a terminal."""

import numpy as np

__all__ = ["METHODS", "METRICS", "print_report", "remarks", "score_table"]

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
    "energy_median": "energy score",
    "coverage_68_median": "68 %",
    "coverage_90_median": "90 %",
}


def print_report(result: dict, console=None) -> None:
    """Print what `evaluate` returned: the table of pixel scores, remarks, findings."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    console = console or Console()
    if not console.is_terminal:
        console.width = max(console.width, 160)  # in a file, nothing needs to wrap
    counts = result["counts"]
    title = f"{result['name']}: {counts['scored']} {result['data']} galaxies"
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD)
    head, *rows = score_table(result)
    table.add_column(head[0], no_wrap=True)
    for name in head[1:]:
        table.add_column(name, justify="right")
    for row in rows:
        table.add_row(*row)
    console.print(table)
    for line in remarks(result):
        console.print(line, highlight=False)
    for finding in result.get("findings", ()):
        mark = "[red]fault[/red] " if finding["fault"] else ""
        console.print(f"- {mark}{finding['text']}", highlight=False)


def score_table(result: dict) -> list[list[str]]:
    """Scores by pixel: the head of the table, and a row for each method."""
    methods = result["methods"]
    shown = [name for name in METRICS if any(name in values for values in methods.values())]
    rows = [
        [METHODS[method], *(_cell(values.get(name), name) for name in shown)]
        for method, values in methods.items()
    ]
    return [["method", *(METRICS[name] for name in shown)], *rows]


def _cell(value: dict | None, name: str) -> str:
    """A number of the table, with its error."""
    if value is None or not value["n"]:
        return "–"
    if name.startswith("coverage"):
        return f"{100 * value['mean']:.1f}"
    return f"{value['mean']:.4f}" + (f" ± {value['error']:.4f}" if np.isfinite(value["error"]) else "")


def remarks(result: dict):
    """Sentences below the table."""
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
    if expected is not None and result["candidates"][1] > 1:
        reach = f"{100 * expected['68']:.1f} and {100 * expected['90']:.1f} %"
        yield f"Calibrated candidates would cover {reach}."
    for method, values in result["methods"].items():
        for scale, text in (("flux", "in absolute flux"), ("minmax", "on the min-max scale")):
            if f"coverage_68_{scale}" in values:
                covered = [100 * values[f"coverage_{level}_{scale}"]["mean"] for level in (68, 90)]
                crps = values[f"crps_{scale}"]["mean"]
                numbers = f"CRPS {crps:.4f}, coverage {covered[0]:.1f} and {covered[1]:.1f} %"
                yield f"{METHODS[method].capitalize()}, {text}: {numbers}."
    if result.get("skipped"):
        yield from (f"Not measured: {what}." for what in result["skipped"])
