"""The benchmark's results as a table on the screen, Markdown, JSON, Parquet and a figure."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console
from rich.table import Column, Table

from sky.scores import MEASURES, Row, coverage

LEVELS = np.linspace(0.05, 0.95, 19)
STYLES = ("-", "--")
PIPE_WIDTH = 220  # characters of a line where no terminal says how many it has


def number(measure: str, value: float) -> str:
    """A value as the table shows it."""
    _, is_percentage, decimals = MEASURES[measure]
    return f"{100 * value:.{decimals}f} %" if is_percentage else f"{value:.{decimals}f}"


def target(measure: str, limits: tuple[float, float]) -> str:
    """Limits as the table shows them."""
    low, high = limits
    _, is_percentage, _ = MEASURES[measure]
    scale, unit = (100, " %") if is_percentage else (1, "")
    if np.isinf(high) or (is_percentage and high == 1):
        return f"≥ {scale * low:g}{unit}"
    return f"≤ {scale * high:g}{unit}" if low <= 0 else f"{scale * low:g}–{scale * high:g}{unit}"


def sections(rows: list[Row]) -> Iterator[tuple[str, list[Row], list[str]]]:
    """Each section with its rows, and the measures that they have."""
    for section in dict.fromkeys(row.section for row in rows):
        some = [row for row in rows if row.section == section]
        yield section, some, [m for m in MEASURES if any(m in row.values for row in some)]


def markdown(rows: list[Row]) -> str:
    """A table for each section; targets stand in brackets, and values that miss theirs are bold."""
    parts = []
    for section, some, measures in sections(rows):
        headings = [section, "galaxies", *(MEASURES[m][0] for m in measures)]
        table = ["| " + " | ".join(headings) + " |", "|" + "---|" * len(headings)]
        for row in some:
            cells = [row.name, f"{row.n:,}", *(_markdown_cell(row, m) for m in measures)]
            table.append("| " + " | ".join(cells) + " |")
        parts.append("\n".join(table))
    return "\n\n".join(parts) + "\n"


def _markdown_cell(row: Row, measure: str) -> str:
    if measure not in row.values:
        return ""
    value = number(measure, row.values[measure])
    if measure not in row.targets:
        return value
    value = value if row.reached(measure) else f"**{value}**"
    return f"{value} ({target(measure, row.targets[measure])})"


def show(rows: list[Row], console: Console | None = None) -> None:
    """Print a table for each section: a row's values, and below them their targets."""
    if console is None:
        console = Console() if sys.stdout.isatty() else Console(width=PIPE_WIDTH)
    for section, some, measures in sections(rows):
        headings = (MEASURES[m][0] for m in measures)
        table = Table(Column("row", no_wrap=True), "n", *headings, title=section, title_justify="left")
        for row in some:
            table.add_row(row.name, f"{row.n:,}", *(_cell(row, m) for m in measures))
        console.print(table)


def _cell(row: Row, measure: str) -> str:
    if measure not in row.values:
        return ""
    value = number(measure, row.values[measure])
    if measure not in row.targets:
        return value
    style = "green" if row.reached(measure) else "bold red"
    return f"[{style}]{value}[/]\n[dim]{target(measure, row.targets[measure])}[/]"


def write(rows: list[Row], folder: Path, facts: dict) -> None:
    """Write ``real_sky.md``, ``.json`` and ``.parquet`` into the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "real_sky.md").write_text(markdown(rows))
    records = [
        {
            "section": row.section, "row": row.name, "n": row.n, "measure": measure, "value": value,
            "low": row.targets.get(measure, (None, None))[0], "high": _finite(row.targets.get(measure)),
            "reached": row.reached(measure),
        }
        for row in rows
        for measure, value in row.values.items()
    ]  # fmt: skip
    (folder / "real_sky.json").write_text(json.dumps(facts | {"rows": records}, indent=1))
    table = pa.Table.from_pylist(records)
    pq.write_table(table.replace_schema_metadata({"facts": json.dumps(facts)}), folder / "real_sky.parquet")


def _finite(limits: tuple[float, float] | None) -> float | None:
    return None if limits is None or np.isinf(limits[1]) else limits[1]


def draw(kept: dict[str, tuple[np.ndarray, np.ndarray]], path: Path) -> None:
    """The figure: median redshift against the true one for each table, and coverage against its level."""
    from matplotlib.figure import Figure

    columns = 4
    across = -(-(len(kept) + 1) // columns)
    figure = Figure(figsize=(3.2 * columns, 3.2 * across), layout="constrained")
    axes = figure.subplots(across, columns, squeeze=False).ravel()
    for (name, (z, draws)), panel in zip(kept.items(), axes):
        limit = float(np.quantile(z, 0.995)) * 1.15
        panel.hexbin(z, np.median(draws, 1), gridsize=60, bins="log", extent=(0, limit, 0, limit), mincnt=1)
        panel.plot([0, limit], [0, limit], color="0.4", lw=0.8)
        panel.set(title=name, xlabel="spectroscopic z", ylabel="median of the draws")
        panel.title.set_fontsize(8)
    last = axes[len(kept)]
    for k, (z, draws) in enumerate(kept.values()):
        last.plot(
            LEVELS, coverage(draws, z, LEVELS) - LEVELS, lw=1, color=f"C{k % 10}", ls=STYLES[k // 10 % 2]
        )
    last.axhline(0, color="0.4", lw=0.8)
    last.set(xlabel="nominal coverage", ylabel="coverage minus nominal", ylim=(-0.15, 0.15))
    for panel in axes[len(kept) + 1 :]:
        panel.set_axis_off()
    figure.legend(last.lines[: len(kept)], list(kept), loc="outside lower center", ncols=3, fontsize=8)
    figure.savefig(path, dpi=130)
