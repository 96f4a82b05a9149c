"""Score the paper's models after more and more training: how near they come to the paper's Table 1.

    python benchmarks/paper_curve.py MODELS --test TEST [--minutes M]
    python benchmarks/paper_curve.py --add POINTS.csv
    python benchmarks/paper_curve.py

MODELS is a folder of trained models. All diffusion models in it are scored, and the contrastive network there
that saw most galaxies ranks the candidates. TEST is a folder of galaxies that no model saw. All scores go to
docs/results/paper-curve.csv; --add takes those of another machine. Each call draws the figure and writes the
table of docs/results/paper-curve.md anew, from all scores that there are.
"""

import argparse
import csv
import math
import time
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from pix2spec.data.dataset import Dataset
from pix2spec.generate.load import load
from pix2spec.models.generator import Settings
from pix2spec.models.presets import load_preset
from pix2spec.models.storage import read_config
from pix2spec.paper.rows import CANDIDATES, PAPER, SELECTIONS, SMALL_STEPS
from pix2spec.paper.table import METRICS
from pix2spec.paper.work import has_spectra, score_ensembles
from pix2spec.runtime.atomic import write_atomically
from pix2spec.runtime.workers import worker_pool

DOCS = Path(__file__).parents[1] / "docs"
LABELS = {"concat": "concat", "xattn": "cross-attention"}
SHOWN = ("single", "best_of_5", "best", "mean_best_5")
PAPER_SAMPLES = 500_000 * 256
FACTS = (
    "preset", "network", "samples", "minutes", "device", "ranker_samples", "sampler", "evaluations",
    "galaxies",
)  # fmt: skip
HEADER = (*FACTS, *(f"{s}.{m}{e}" for s in SELECTIONS for m in METRICS for e in ("", ".error")))


# ------------------------------------------------------------------------------------------------- scoring


def models_in(folder: Path) -> tuple[list[Path], Path | None]:
    """The diffusion models in a folder, those that saw fewest galaxies first; and the contrastive network."""
    found: dict[str, list[tuple[int, Path]]] = {"diffusion": [], "contrastive": []}
    for config in sorted(folder.glob("**/config.json")):
        model = read_config(config.parent)
        task = model["preset"]["task"]
        if task in found and (config.parent / "model.safetensors").exists():
            found[task].append((model["record"]["samples_seen"], config.parent))
    rankers = sorted(found["contrastive"])
    return [path for _, path in sorted(found["diffusion"])], rankers[-1][1] if rankers else None


def score(
    generator, dataset: Dataset, index, settings: Settings, until=math.inf, chunk=8, processes=0
) -> list:
    """Rows of scores of test galaxies, as far as the time goes.

    Parameters
    ----------
    generator : Generator
    dataset : Dataset
    index : array of int
        Positions of the test galaxies.
    settings : Settings
    until : float
        ``time.monotonic()`` before which the last galaxies must be done.
    chunk : int
        Galaxies between two looks at the clock.
    processes : int
        Processes that compute scores beside a GPU; 0: none.
    """
    rows, waiting, last, kind = [], [], 0.0, dataset.info.image_kind or "linear"
    with worker_pool(max(processes, 1)) as pool:  # its processes start when they are needed
        for start in range(0, len(index), chunk):
            began = time.monotonic()
            if began + 1.2 * last > until:
                break
            galaxies = [dataset[int(i)] for i in index[start : start + chunk]]
            results = list(generator.run(galaxies, kind, settings))
            seconds = (time.monotonic() - began) / len(galaxies)
            if processes:
                waiting.append(pool.submit(score_ensembles, results, galaxies, seconds))
            else:
                rows += score_ensembles(results, galaxies, seconds)
            last = time.monotonic() - began
        for done in waiting:
            rows += done.result()
    return rows


def point(folder: Path, ranker: Path | None, settings: Settings, rows: list[dict]) -> dict:
    """A line of the table: facts of a model, and the means of its scores with their standard errors."""
    config = read_config(folder)
    record, preset = config["record"], config["preset"]
    steps = settings.steps or preset["diffusion"]["timesteps"]
    line = {
        "preset": preset["name"], "network": preset["denoiser"]["conditioning"],
        "samples": record["samples_seen"], "minutes": round(60 * record["hours"], 1),
        "device": record["device"], "sampler": settings.sampler, "evaluations": steps, "galaxies": len(rows),
        "ranker_samples": read_config(ranker)["record"]["samples_seen"] if ranker else 0,
    }  # fmt: skip
    for name in HEADER[len(FACTS) :]:
        if not name.endswith(".error"):
            values = np.array([row.get(name, np.nan) for row in rows], float)
            values = values[np.isfinite(values)]
            if len(values):
                line[name] = f"{values.mean():.5g}"
                line[f"{name}.error"] = f"{values.std() / np.sqrt(len(values)):.2g}"
    return line


def read_points(path: Path) -> list[dict]:
    """The lines of a file of scores; none if there is no file."""
    if not path.exists():
        return []
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def add_points(path: Path, points: Iterable[dict]) -> None:
    """Add lines to a file of scores. A line of the same model and sampler is replaced."""

    def key(line):
        return tuple(str(line[name]) for name in ("preset", "samples", "sampler", "evaluations"))

    lines = {key(line): line for line in [*read_points(path), *points]}
    ordered = sorted(
        lines.values(), key=lambda line: (line["network"], int(line["samples"]), line["sampler"])
    )

    def write(to: Path) -> None:
        with to.open("w", newline="") as stream:
            writer = csv.DictWriter(stream, HEADER, lineterminator="\n")
            writer.writeheader()
            writer.writerows(ordered)

    write_atomically(path, write)


def score_models(args, points: Path, until: float) -> None:
    """Score all models of a folder that are not yet scored, by a fast sampler and by the paper's."""
    dataset = Dataset(args.test)
    index = has_spectra(dataset)
    models, ranker = models_in(args.models)
    known = {(p["preset"], p["samples"], p["sampler"], p["galaxies"]) for p in read_points(points)}
    for sampler, steps, n in (("dpm++", args.evaluations, args.galaxies), ("ddpm", None, args.check)):
        for folder in models:
            config = read_config(folder)
            about = (config["preset"]["name"], str(config["record"]["samples_seen"]), sampler, str(n))
            if n == 0 or about in known or time.monotonic() > until:
                continue
            settings = Settings(n=args.candidates, select="all", sampler=sampler, steps=steps)
            rows = score(load(folder, ranker), dataset, index[:n], settings, until)
            if rows:
                add_points(points, [point(folder, ranker, settings, rows)])
                print(f"{folder.name}: {sampler}, {len(rows)} galaxies", flush=True)


# ------------------------------------------------------------------------------------------------- the page


def small_table() -> list[dict]:
    """The -mini networks of docs/results/table1.md, as lines like those of the others."""
    rows = pq.read_table(DOCS / "results" / "table1.parquet").to_pylist()
    points = []
    for network in LABELS:
        train = load_preset(f"paper-{network}-mini").train
        mine = [row for row in rows if row["row"] == network]
        line = {"preset": f"paper-{network}-mini", "network": network, "device": "cpu", "sampler": "dpm++"}
        line |= {"samples": train.steps * train.batch_size, "evaluations": SMALL_STEPS}
        line |= {"minutes": f"{60 * mine[0]['hours']:.1f}", "galaxies": mine[0]["objects"]}
        for row in mine:
            line[f"{row['selection']}.minmax_mse"] = row["minmax_mse"]
            line[f"{row['selection']}.minmax_mse.error"] = row["minmax_mse_deviation"]
        points.append(line)
    return points


def paper_points() -> list[dict]:
    """The paper's own numbers."""
    points = []
    for network in LABELS:
        line = {"preset": f"paper-{network}", "network": network, "device": "the paper's", "sampler": "ddpm"}
        line |= {"samples": PAPER_SAMPLES, "evaluations": 250, "galaxies": 5000, "minutes": ""}
        for selection in SHOWN:
            line[f"{selection}.minmax_mse"], line[f"{selection}.minmax_mse.error"] = PAPER[network, selection]
        points.append(line)
    return points


def value(line: dict, selection: str) -> tuple[float, float]:
    name = f"{selection}.minmax_mse"
    return float(line.get(name) or "nan"), float(line.get(f"{name}.error") or "nan")


def table(points: list[dict]) -> str:
    """The table as Markdown."""
    head = ("network", "preset", "samples", "minutes", "sampler", "galaxies", *(SELECTIONS[s] for s in SHOWN))
    lines = ["| " + " | ".join(head) + " |", "|---|---|---:|---:|---|---:|" + "---:|" * len(SHOWN)]
    for line in points:
        numbers = ["{:.3f} ± {:.3f}".format(*value(line, s)) for s in SHOWN]
        sampler = f"{line['sampler']}, {line['evaluations']}"
        cells = [LABELS[line["network"]], line["preset"], f"{int(line['samples']):,}", str(line["minutes"])]
        lines.append("| " + " | ".join([*cells, sampler, str(line["galaxies"]), *numbers]) + " |")
    return "\n".join(lines) + "\n"


def draw(points: list[dict], path: Path) -> None:
    """Min-max MSE against training samples, a panel for each conditioning."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, panels = plt.subplots(1, 2, figsize=(10, 4.2), sharey=True, layout="constrained")
    for panel, network in zip(panels, LABELS):
        mine = [line for line in points if line["network"] == network and line["sampler"] == "dpm++"]
        checks = [line for line in points if line["network"] == network and line["sampler"] == "ddpm"]
        for k, selection in enumerate(SHOWN):
            colour = f"C{k}"
            for family in dict.fromkeys(line["preset"] for line in mine):
                some = [line for line in mine if line["preset"] == family]
                y, error = np.array([value(line, selection) for line in some]).T
                style = {"mini": "s", "small": "o-"}.get(family.rsplit("-", 1)[-1], "D-")
                x = [int(line["samples"]) for line in some]
                panel.errorbar(x, y, error, fmt=style, color=colour, ms=4, lw=1, capsize=2)
            for line in checks:
                y, error = value(line, selection)
                is_paper = line["device"] == "the paper's"
                style = {"fmt": "*", "ms": 12} if is_paper else {"fmt": "x", "ms": 6}
                label = SELECTIONS[selection] if is_paper else None
                panel.errorbar(int(line["samples"]), y, error, color=colour, label=label, capsize=2, **style)
        panel.set(xscale="log", yscale="log", xlabel="training samples", title=LABELS[network])
        panel.grid(alpha=0.3, which="both")
    panels[0].set_ylabel("min-max MSE")
    panels[1].legend(
        fontsize=8, title="square: -mini, circle: -small, diamond: full\ncross: 250 steps, star: paper"
    )
    figure.savefig(path, dpi=110)


def write_page(points: list[dict], docs: Path) -> None:
    """Draw the figure, and replace the table in the page; the words around it stay."""
    draw(points, docs / "images" / "paper-curve.png")
    page = docs / "results" / "paper-curve.md"
    before, begin, rest = page.read_text().partition("<!-- table -->\n")
    _, end, after = rest.partition("<!-- end of the table -->")
    others = [line for line in points if line["device"] != "the paper's" and "-mini" not in line["preset"]]
    note = "" if others else "\nNo network but those of `-mini` has been scored yet.\n"
    made = before + begin + "\n" + table(points) + note + "\n" + end + after
    write_atomically(page, lambda path: path.write_text(made))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("models", type=Path, nargs="?", help="folder of trained models")
    parser.add_argument("--test", type=Path, help="folder of test galaxies")
    parser.add_argument("--galaxies", type=int, default=48, help="of the fast sampler")
    parser.add_argument(
        "--evaluations", type=int, default=SMALL_STEPS, help="of the fast sampler, DPM-Solver++"
    )
    parser.add_argument("--check", type=int, default=4, help="galaxies of the paper's 250 steps; 0: none")
    parser.add_argument("--candidates", type=int, default=CANDIDATES)
    parser.add_argument("--minutes", type=float, default=math.inf, help="stop scoring after this time")
    parser.add_argument("--add", type=Path, help="scores of another machine")
    parser.add_argument("--docs", type=Path, default=DOCS, help="folder of the page and the scores")
    args = parser.parse_args()
    until = time.monotonic() + 60 * args.minutes
    points = args.docs / "results" / "paper-curve.csv"
    if args.add:
        add_points(points, read_points(args.add))
    if args.models:
        score_models(args, points, until)
    ours = [*small_table(), *read_points(points)]
    ordered = [line for network in LABELS for line in ours if line["network"] == network]
    write_page([*ordered, *paper_points()], args.docs)


if __name__ == "__main__":
    main()
