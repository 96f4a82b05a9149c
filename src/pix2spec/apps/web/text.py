"""HTML of the page's words and tables; everything that a visitor gave is escaped."""

import base64
import io
from html import escape

import numpy as np

from pix2spec.apps.web.results import Observed, Result, Row, classes
from pix2spec.core.scaling import lupton_rgb
from pix2spec.products.ensemble import Ensemble
from pix2spec.products.plot import comparable

__all__ = ["alert", "candidate_table", "cutout_picture", "header", "note", "quantity_table", "summary"]

FLAGS = {
    "amplitude-from-photometry": "The magnitudes fix the flux.",
    "amplitude-from-image": "The image's flux within the fibre fixes the flux.",
    "amplitude-from-one-parameter": "The colours disagree with the spectrum: the flux scale is rough.",
    "relative-flux": "Nothing fixes the flux: its scale is arbitrary. Add magnitudes to a colour picture.",
    "image-unusable": "The image could not be used.",
    "point-estimate": "This method makes one spectrum, without an uncertainty.",
}


def header(model: str) -> str:
    """Title of the page."""
    return (
        "<h1>pix2spec</h1><p>A galaxy's optical spectrum from its photometry: candidates that agree in what "
        f"is known, and differ in what is not. Generated, not observed. Model: {escape(model)}.</p>"
    )


def note(words: str) -> str:
    """Small print; `words` may hold HTML."""
    return f'<p class="note">{words}</p>'


def alert(text: str) -> str:
    """Say what is wrong; screen readers read it at once."""
    return f'<p role="alert" class="alert">{escape(text)}</p>'


def summary(result: Result, observed: Observed | None, table: list[Row]) -> str:
    """Say in a few sentences what was made, beside the cutout."""
    ensemble, n = result.ensemble, len(result.ensemble)
    title = f"<strong>{escape(ensemble.object_id)}</strong>: {n} candidate{'s' * (n > 1)}"
    title += " with noise." if result.noise else ", noise-free."
    parts = [title]
    z = next((row for row in table if row.name == "z"), None)
    if np.isfinite(ensemble.z):
        parts.append(f"Redshift {ensemble.z:.4f}, as given.")
    elif z is not None and np.isfinite(z.median):
        parts.append(f"Redshift {z.median:.3f}, 68&nbsp;% between {z.low:.3f} and {z.high:.3f}.")
    shares = classes(result)
    if shares:
        words = {"none": "lines too weak to tell"}
        text = ", ".join(
            f"{words.get(name, name)} {100 * share:.0f}&nbsp;%" for name, share in shares.items()
        )
        parts.append(f"What ionises the gas: {text}.")
    parts += [FLAGS.get(flag, flag) for flag in ensemble.flags]
    if observed is not None:
        parts.append(_comparison(result, observed))
    return f'<div class="summary">{cutout_picture(ensemble)}<p>{" ".join(parts)}</p></div>'


def _comparison(result: Result, observed: Observed) -> str:
    """Name the observed spectrum and, if that means anything, the share of it inside the bands."""
    galaxy, ensemble = observed.galaxy, result.ensemble
    text = "Its simulated spectrum is" if observed is result.own else f"{escape(galaxy.object_id)} is"
    text += " drawn in grey" + (f", z = {galaxy.z:.4f}" if np.isfinite(galaxy.z) else "")
    if not result.noise:
        return f"{text}; it has noise, which these candidates have not."
    flux = comparable(galaxy, ensemble)
    low, high = ensemble.quantiles((0.05, 0.95))
    good = np.isfinite(flux)
    inside = ((flux >= low) & (flux <= high))[good].mean()
    return f"{text}; {100 * inside:.0f}&nbsp;% of its pixels lie in the band of 90&nbsp;%."


def quantity_table(table: list[Row]) -> str:
    """Table of derived quantities."""
    if not table:
        return "<p>No quantities: redshifts cannot be fitted on this model's wavelength grid.</p>"
    compared = any(np.isfinite(row.observed) for row in table)
    head = ["quantity", "candidates, 68&nbsp;%", *(["observed"] if compared else [])]
    lines = []
    for row in table:
        unit = f' <span class="unit">{escape(row.unit)}</span>' if row.unit else ""
        cells = [_median(row), *([_measured(row)] if compared else [])]
        body = "".join(f"<td>{cell}</td>" for cell in cells)
        lines.append(f'<tr><th scope="row">{escape(row.label)}{unit}</th>{body}</tr>')
    caption = (
        "Derived quantities, measured on noise-free candidates where the model has such. Line widths and "
        "fluxes are positive in emission. A dash: less than half of the candidates have it."
    )
    return _table("Derived quantities", caption, head, lines)


def _table(name: str, caption: str, head, lines: list[str], style: str = "scroll") -> str:
    header = "".join(f'<th scope="col">{cell}</th>' for cell in head)
    return (
        f'<div class="{style}" tabindex="0" role="region" aria-label="{name}"><table><caption>{caption}'
        f"</caption><thead><tr>{header}</tr></thead><tbody>{''.join(lines)}</tbody></table></div>"
    )


def _number(value: float, spread: float) -> str:
    """Round to two digits of the spread; a dash if not measured."""
    if not np.isfinite(value):
        return "–"
    spread = spread if np.isfinite(spread) and spread > 0 else max(abs(value), 1e-3) / 100
    digits = int(np.clip(1 - np.floor(np.log10(spread)), 0, 5))
    return f"{value:.{digits}f}".replace("-", "−")


def _median(row: Row) -> str:
    width = row.high - row.low
    median = _number(row.median, width)
    if not width > 0:
        return median
    interval = f"{_number(row.low, width)} to {_number(row.high, width)}"
    return f'{median} <span class="interval">{interval}</span>'


def _measured(row: Row) -> str:
    value = _number(row.observed, row.observed_error)
    if np.isfinite(row.observed) and np.isfinite(row.observed_error):
        value += f" ± {_number(row.observed_error, row.observed_error)}"
    return value


def candidate_table(ensemble: Ensemble) -> str:
    """Scores and redshifts of the candidates, the best first, folded away."""
    n = len(ensemble)
    scores = np.full(n, np.nan) if ensemble.scores is None else ensemble.scores
    z = np.full(n, np.nan) if ensemble.redshifts is None else ensemble.redshifts
    chosen = set(ensemble.selected.tolist())
    lines = []
    for k in np.argsort(-np.nan_to_num(scores, nan=-np.inf), kind="stable"):
        cells = (_fixed(scores[k], 3), _fixed(z[k], 4), "yes" if k in chosen else "no")
        lines.append(f'<tr><th scope="row">{k + 1}</th>' + "".join(f"<td>{c}</td>" for c in cells) + "</tr>")
    head = ("candidate", "score", "redshift", "in the mean")
    caption = (
        "Score: cosine similarity of a candidate's code with that of the photometry (contrastive network)."
    )
    table = _table("Scores of the candidates", caption, head, lines, "scroll short")
    return f"<details><summary>Scores of the candidates</summary>{table}</details>"


def _fixed(value: float, digits: int) -> str:
    return f"{value:.{digits}f}".replace("-", "−") if np.isfinite(value) else "–"


def cutout_picture(ensemble: Ensemble) -> str:
    """The image as the model sees it, a PNG within the page; nothing without three bands."""
    image = ensemble.image
    if image is None or len(image) != 3:
        return ""
    from PIL import Image

    composite = ensemble.image_kind == "composite"
    rgb = np.clip(image if composite else lupton_rgb(image), 0, 255)[::-1].transpose(1, 2, 0)
    picture = Image.fromarray(np.ascontiguousarray(rgb if composite else rgb[::-1]).astype(np.uint8))
    stream = io.BytesIO()
    picture.resize((192, 192), Image.Resampling.BICUBIC).save(stream, "PNG")
    data = base64.b64encode(stream.getvalue()).decode()
    return f'<img class="cutout" alt="The cutout that the model sees" src="data:image/png;base64,{data}">'
