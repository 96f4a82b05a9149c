"""Contact sheets: image, candidate spectra and probabilities of the first objects of a ranking."""

import io
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from pix2spec.products.ensemble import Ensemble
from pix2spec.products.plot import draw_image
from pix2spec.products.spectrum_panel import draw_spectrum
from pix2spec.ranking.ranking import Ranking
from pix2spec.runtime.atomic import write_atomically
from pix2spec.runtime.progress import progress_bar
from pix2spec.runtime.templates import render

__all__ = ["sheet_rows", "write_sheets"]

OBJECTS_PER_PAGE = 4
DPI = 110
HIDDEN_COLUMNS = ("ra", "dec", "z_lo", "z_hi", "probability_error", "n_candidates", "object_id", "rank")


def write_sheets(ranking: Ranking, out: str | Path, n: int, progress: bool = True) -> list[Path]:
    """Write ``contact.html`` and ``contact.pdf`` with the first `n` objects.

    Parameters
    ----------
    ranking : Ranking
        The ranking. Images come from its dataset, if it has one.
    out : path
        Folder of the files, which must exist.
    n : int
        Number of objects.
    progress : bool
        Show a progress bar.

    Returns
    -------
    list of Path
        The two files.
    """
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
                if len(waiting) == OBJECTS_PER_PAGE or len(figures) == len(rows):
                    pages.savefig(_figure(waiting))
                    waiting.clear()

    paths = [out / "contact.pdf", out / "contact.html"]
    write_atomically(paths[0], draw)
    write_atomically(paths[1], lambda path: path.write_text(_page(ranking, rows, figures), "utf-8"))
    return paths


def _ensembles(ranking: Ranking, ids: list[str]) -> Iterator[Ensemble]:
    """Ensembles with image and photometry of the dataset, at the median redshift of their candidates."""
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

    figure = Figure(figsize=(11, 3 * len(objects)), layout="constrained")
    axes = figure.subplots(len(objects), 2, width_ratios=(1, 4.2), squeeze=False)
    for (left, right), (row, ensemble) in zip(axes, objects):
        draw_image(left, ensemble)
        draw_spectrum(right, ensemble)
        left.set_title(f"{row['rank']}.", loc="left", fontsize=11, fontweight="bold")
        right.set_xlabel("observed vacuum wavelength [Å]", fontsize=8)
        left.set_xlabel("\n".join(_summary(row)), fontsize=8)
    return figure


def _summary(row) -> list[str]:
    """Lines of text below an object's image."""
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
    """Header and cells of the sheet's table. The cell of a probability includes its error."""
    names = [name for name in rows[0].colnames if name not in HIDDEN_COLUMNS] if rows else []
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
    head, cells = sheet_rows(rows)
    captions = [f"{row['rank']}. {row['object_id']}: {', '.join(_summary(row))}" for row in rows]
    names = [str(row["object_id"]) for row in rows]
    return render(
        "contact_sheet.html.j2", title=_title(ranking), n_objects=ranking.n_objects,
        metadata=ranking.metadata, head=head, rows=cells, figures=list(zip(names, captions, figures)),
    )  # fmt: skip
