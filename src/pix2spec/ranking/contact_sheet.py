"""Contact sheets: the first objects of a list with image, candidate spectra and probabilities."""

import base64
import io
from collections.abc import Iterator
from dataclasses import replace
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from pix2spec.evaluation.report.html import STYLE, table
from pix2spec.products.ensemble import Ensemble
from pix2spec.products.plot import draw_image, draw_spectrum
from pix2spec.ranking.ranking import Ranking
from pix2spec.runtime.atomic import write_atomically
from pix2spec.runtime.progress import progress_bar

__all__ = ["sheet_rows", "write_sheets"]

PER_PAGE = 4
DPI = 110
HIDDEN = ("ra", "dec", "z_lo", "z_hi", "probability_error", "n_candidates", "object_id", "rank")


def write_sheets(ranking: Ranking, out: str | Path, n: int, progress: bool = True) -> list[Path]:
    """Write ``contact.html`` and ``contact.pdf`` of the first `n` objects; images come from the dataset."""
    from matplotlib.backends.backend_pdf import PdfPages

    out = Path(out)
    rows = list(ranking.table[:n])
    figures, waiting = [], []

    def draw(path: Path) -> None:
        with PdfPages(path, metadata={"Title": _title(ranking), "Creator": "pix2spec"}) as pages:
            shown = zip(rows, _ensembles(ranking, [str(row["object_id"]) for row in rows]))
            for row, ensemble in progress_bar(shown, "drawing", progress, len(rows)):
                figures.append(_png(_figure([(row, ensemble)])))
                waiting.append((row, ensemble))
                if len(waiting) == PER_PAGE or len(figures) == len(rows):
                    pages.savefig(_figure(waiting))
                    waiting.clear()

    paths = [out / "contact.pdf", out / "contact.html"]
    write_atomically(paths[0], draw)
    write_atomically(paths[1], lambda path: path.write_text(_page(ranking, rows, figures), "utf-8"))
    return paths


def _ensembles(ranking: Ranking, ids: list[str]) -> Iterator[Ensemble]:
    """Ensembles with their pictures, at the median redshift of their candidates."""
    position: dict = {}
    data: Any = ranking.data
    if data is not None:
        names = data.batch(slice(None), ["object_id"])["object_id"]
        position = {name: i for i, name in enumerate(names)}
    for object_id in ids:
        ensemble = ranking.catalogue.ensemble(object_id)
        seen: dict = {}
        if object_id in position:
            galaxy = data[position[object_id]]
            seen = {
                "image": galaxy.image,
                "photometry": galaxy.photometry,
                "image_kind": data.info.image_kind,
            }
        if ensemble.redshifts is not None:
            seen["z"] = float(np.nanmedian(ensemble.redshifts))
        yield replace(ensemble, flags=[], **seen)


def _figure(objects: list[tuple]):
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 2.6 * len(objects)), layout="constrained")
    axes = figure.subplots(len(objects), 2, width_ratios=(1, 4.2), squeeze=False)
    for (left, right), (row, ensemble) in zip(axes, objects):
        draw_image(left, ensemble)
        draw_spectrum(right, ensemble)
        left.set_title(f"{row['rank']}.", loc="left", fontsize=11, fontweight="bold")
        right.set_xlabel("observed vacuum wavelength [Å]", fontsize=8)
        right.text(
            0.995, 0.96, "\n".join(_notes(row)), transform=right.transAxes, ha="right", va="top", fontsize=8,
            bbox={"facecolor": "white", "alpha": 0.8, "lw": 0, "pad": 2},
        )  # fmt: skip
    return figure


def _notes(row) -> list[str]:
    """What an object's picture says of it."""
    text = []
    if "probability" in row.colnames:
        text.append(f"P = {row['probability']:.2f} ± {row['probability_error']:.2f}")
    text.append(f"z = {row['z']:.3f} (+{row['z_hi'] - row['z']:.3f} −{row['z'] - row['z_lo']:.3f})")
    text.append(f"BPT: {row['bpt']}")
    if "hours" in row.colnames:
        text.append(f"S/N {row['sn']:.1f}, {row['hours']:.2f} h")
    return text


def _png(figure) -> bytes:
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=DPI, metadata={"Software": None})
    return stream.getvalue()


def _title(ranking: Ranking) -> str:
    return ranking.metadata["statement"] or ranking.metadata["by"]


def sheet_rows(rows: list) -> tuple[list[str], list[list]]:
    """Head and cells of the sheet's table: the list's columns, errors beside their values."""
    names = [name for name in rows[0].colnames if name not in HIDDEN] if rows else []
    cells = []
    for row in rows:
        values: list = [f"{row['rank']}. {row['object_id']}"]
        for name in names:
            value = row[name]
            if name == "probability":
                value = f"{value:.2f} ± {row['probability_error']:.2f}"
            values.append(float(value) if isinstance(value, np.floating) else str(value))
        cells.append(values)
    return ["object", *names], cells


def _page(ranking: Ranking, rows: list, figures: list[bytes]) -> str:
    metadata = ranking.metadata
    parts = [f"<h1>{escape(_title(ranking))}</h1>"]
    note = f"{ranking.n_objects:,} objects, sorted by <code>{escape(metadata['by'])}</code>. "
    note += f"Probabilities are about {metadata['about']}: shares of each object's candidates. "
    note += "Bands hold 68 and 90 % of the candidates; lines are marked at their median redshift."
    parts.append(f"<p class='note'>{note}</p>")
    parts.append(table(*sheet_rows(rows)))
    for row, picture in zip(rows, figures):
        name = escape(str(row["object_id"]))
        data = base64.b64encode(picture).decode()
        parts.append(f"<figure><img alt='Image and candidate spectra of {name}' ")
        parts.append(f"src='data:image/png;base64,{data}'><figcaption>{row['rank']}. {name}: ")
        parts.append(f"{escape(', '.join(_notes(row)))}</figcaption></figure>")
    source = f"pix2spec {metadata['version']}: {metadata['command']}"
    parts.append(f"<p class='note'><code>{escape(source)}</code></p>")
    head = "<meta charset='utf-8'><meta name='viewport' content='width=device-width, initial-scale=1'>"
    head += f"<title>{escape(_title(ranking))}</title><style>{STYLE}</style>"
    body = "\n".join(parts)
    return f"<!doctype html>\n<html lang='en'><head>{head}</head><body>\n{body}\n</body></html>\n"
