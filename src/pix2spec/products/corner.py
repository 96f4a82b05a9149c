"""The corner figure: distributions of the candidates' quantities, alone and in pairs."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from pix2spec.errors import InputError
from pix2spec.products.plot import save_figure
from pix2spec.products.spectrum_panel import BLUE, QUANTILE_BANDS

__all__ = ["figure_corner"]

BINS = 12


def figure_corner(
    values: Mapping[str, np.ndarray],
    labels: Sequence[str],
    title: str = "",
    marked: int | None = None,
    path: str | Path | None = None,
    width: float = 6.0,
):
    """Draw a histogram of each quantity, and each pair of quantities as points, one a candidate.

    Parameters
    ----------
    values : dict of str to array (n,)
        Quantities; candidates for which one of them is not finite are left out.
    labels : sequence of str
        Names of the quantities on the axes.
    title : str
        Name of the object.
    marked : int, optional
        A candidate to mark.
    path : str or Path, optional
        Save the figure here; the suffix decides the format.
    width : float
        Width and height in inches.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    InputError
        If all quantities are known for no candidate.
    """
    from matplotlib.figure import Figure

    columns = [np.asarray(column, float) for column in values.values()]
    known = np.asarray(np.isfinite(columns).all(0))
    if not known.any():
        what = f"no candidate has all of {', '.join(values)}"
        raise InputError(title, what, "choose quantities whose lines are within the spectra")
    count = len(columns)
    figure = Figure(figsize=(width, width), layout="constrained", dpi=150)
    figure.get_layout_engine().set(w_pad=0.03, h_pad=0.03)
    axes = figure.subplots(count, count, squeeze=False, sharex="col")
    for i, (row, y) in enumerate(zip(axes, columns)):
        for j, (panel, x) in enumerate(zip(row, columns)):
            panel.tick_params(labelsize=7, labelleft=j == 0 and i > 0, labelbottom=i == count - 1)
            if j > i:
                panel.set_axis_off()
            elif j == i:
                _histogram(panel, x[known])
            else:
                _points(panel, x, y, known, marked)
    for j, label in enumerate(labels):
        axes[-1, j].set_xlabel(label, fontsize=9)
        if j:
            axes[j, 0].set_ylabel(label, fontsize=9)
    figure.align_labels()
    figure.suptitle(f"{title}    {known.sum()} of {len(known)} candidates", fontsize=9, x=0.98, ha="right")
    save_figure(figure, path)
    return figure


def _histogram(panel, x: np.ndarray) -> None:
    low, middle, high = np.quantile(x, (0.16, 0.5, 0.84))
    panel.hist(x, bins=BINS, color=QUANTILE_BANDS[1][3], ec=BLUE, lw=0.6)
    for value, style in ((low, ":"), (middle, "-"), (high, ":")):
        panel.axvline(value, color=BLUE, lw=1, ls=style)
    digits = int(np.clip(1 - np.floor(np.log10(high - low)), 0, 5)) if high > low else 3
    text = rf"${middle:.{digits}f}^{{+{high - middle:.{digits}f}}}_{{-{middle - low:.{digits}f}}}$"
    panel.set_title(text, fontsize=9)
    panel.set_yticks([])


def _points(panel, x: np.ndarray, y: np.ndarray, known: np.ndarray, marked: int | None) -> None:
    panel.plot(x[known], y[known], "o", color=BLUE, ms=3.5, mew=0, alpha=0.55)
    if marked is not None and known[marked]:
        panel.plot(x[marked], y[marked], "D", mfc="#f0e442", mec="black", ms=6, mew=0.9)
    panel.margins(0.08)
