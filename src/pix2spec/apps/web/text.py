"""HTML of the page's words and tables."""

import numpy as np

from pix2spec.apps.web.picture import cutout_png, measured_line
from pix2spec.apps.web.results import Observed, Result, Row, classes
from pix2spec.apps.web.tables import TableResult, UserTable
from pix2spec.core.survey import SDSS, Survey
from pix2spec.products.ensemble import Ensemble
from pix2spec.products.spectrum_panel import comparable
from pix2spec.runtime.templates import render

__all__ = [
    "alert",
    "candidate_table",
    "header",
    "note",
    "quantity_table",
    "row_table",
    "summary",
    "understood",
]

FLAGS = {
    "amplitude-from-photometry": "The magnitudes fix the flux.",
    "amplitude-from-image": "The image's flux within the fibre fixes the flux.",
    "amplitude-from-one-parameter": "The colours disagree with the spectrum: the flux scale is rough.",
    "relative-flux": "Nothing fixes the flux: its scale is arbitrary. Add magnitudes to a colour picture.",
    "image-unusable": "The image could not be used.",
    "photometry-from-picture": "",
    "off-centre": "The galaxy is not in the middle of the cutout.",
    "bad-pixels": "There are bad pixels in the galaxy.",
    "frame-too-small": "The frame does not hold the whole galaxy.",
    "picture-disagrees": "The picture shows another brightness or colour than the magnitudes say.",
    "outside-training": "No galaxy that training saw has such magnitudes: do not trust the redshift.",
    "redshift-beyond-spectra": "The redshift may lie beyond the model's spectra, whose last one stands in.",
    "photometry-not-fibre": "The spectrum takes these magnitudes for those within the fibre.",
    "photometry-kind-unknown": "The spectrum takes these magnitudes for those within the fibre.",
    "filters-approximated": "A filter that is nearly one of the model's stands for it.",
    "filters-unused": "Some magnitudes tell about the redshift alone.",
    "spectrum-from-redshift-alone": "No filter is like one of the model's: it knows the redshift alone.",
    "error-assumed": "A magnitude had no error, and has the typical one of its filter.",
    "photometry-misfit": "The magnitudes fit no galaxy that the model knows, or a flux is far below zero.",
    "class-star": "The table calls it a star: the model knows galaxies.",
    "class-qso": "The table calls it a quasar: the model knows galaxies.",
    "extinction-corrected": "The extinction by the Milky Way's dust is taken out.",
    "extinction-kept": "The extinction by the Milky Way's dust is still in.",
    "extinction-unknown": "The extinction by the Milky Way's dust is not known, and not taken out.",
    "point-estimate": "This method makes one spectrum, without an uncertainty.",
}


def header(model: str) -> str:
    """Title of the page."""
    return render("web/header.html.j2", model=model)


def note(text: str) -> str:
    """Small print."""
    return render("web/note.html.j2", text=text)


def alert(text: str) -> str:
    """A message that says what is wrong."""
    return render("web/alert.html.j2", text=text)


def understood(table: UserTable) -> str:
    """How a table was read: a line a column."""
    return render("web/understood.html.j2", table=table)


def row_table(made: TableResult, chosen: int | None, command: str) -> str:
    """The first rows of a table with their redshifts, classes and flags, and the command for all rows."""
    ok = [row for row in made.rows if not row.error]
    common = [flag for flag in (ok[0].flags if ok else ()) if all(flag in row.flags for row in ok)]
    seen = dict.fromkeys(flag for row in ok for flag in row.flags)
    return render(
        "web/rows.html.j2",
        made=made,
        chosen=chosen,
        command=command,
        n_ok=len(ok),
        n_failed=len(made.rows) - len(ok),
        given=any(np.isfinite(row.z_given) for row in made.rows),
        common=common,
        meanings={flag: FLAGS[flag] for flag in seen if FLAGS.get(flag)},
    )


def summary(result: Result, observed: Observed | None, table: list[Row], survey: Survey = SDSS) -> str:
    """A few sentences about the candidates and the observed spectrum, beside the cutout."""
    return render(
        "web/summary.html.j2",
        result=result,
        observed=observed,
        cutout=cutout_png(result.ensemble, survey),
        measured=measured_line(result.ensemble),
        redshift=next((row for row in table if row.name == "z"), None),
        shares=classes(result),
        flags=[FLAGS.get(flag, flag) for flag in result.ensemble.flags],
        share_inside=_share_inside(observed, result.ensemble) if observed and result.noise else None,
    )


def _share_inside(observed: Observed, ensemble: Ensemble) -> float:
    """Share of the observed pixels that lie in the candidates' band of 90 %."""
    flux = comparable(observed.galaxy, ensemble)
    low, high = ensemble.quantiles((0.05, 0.95))
    return ((flux >= low) & (flux <= high))[np.isfinite(flux)].mean()


def quantity_table(table: list[Row]) -> str:
    """Table of derived quantities."""
    compared = any(np.isfinite(row.observed) for row in table)
    return render("web/quantities.html.j2", rows=[_texts(row) for row in table], compared=compared)


def _texts(row: Row) -> dict[str, str]:
    """Texts of a row's cells; the interval is empty where all candidates agree."""
    width = row.high - row.low
    low, high = (_rounded(row.low, width), _rounded(row.high, width)) if width > 0 else ("", "")
    observed = _rounded(row.observed, row.observed_error)
    if np.isfinite(row.observed) and np.isfinite(row.observed_error):
        observed += f" ± {_rounded(row.observed_error, row.observed_error)}"
    median = _rounded(row.median, width)
    return {
        "label": row.label, "unit": row.unit, "median": median, "low": low, "high": high, "observed": observed
    }  # fmt: skip


def _rounded(value: float, spread: float) -> str:
    """A number with as many digits as show two of its spread; a dash if it was not measured."""
    if not np.isfinite(value):
        return "–"
    spread = spread if np.isfinite(spread) and spread > 0 else max(abs(value), 1e-3) / 100
    digits = int(np.clip(1 - np.floor(np.log10(spread)), 0, 5))
    return f"{value:.{digits}f}".replace("-", "−")


def candidate_table(ensemble: Ensemble) -> str:
    """Scores and redshifts of the candidates, the best first, folded away."""
    unknown = np.full(len(ensemble), np.nan)
    scores = unknown if ensemble.scores is None else ensemble.scores
    z = unknown if ensemble.redshifts is None else ensemble.redshifts
    best_first = np.argsort(-np.nan_to_num(scores, nan=-np.inf), kind="stable")
    rows = [(k + 1, scores[k], z[k], k in ensemble.selected) for k in best_first]
    return render("web/candidates.html.j2", rows=rows)
