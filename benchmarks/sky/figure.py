"""The figure of the spectra: coverage of pixels, and candidates over observed spectra."""

from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy.ndimage import uniform_filter1d

from pix2spec.core.grid import SpectralGrid
from pix2spec.models.generator import Settings
from pix2spec.products.spectrum_panel import label_lines
from sky.ensembles import N, Truth, galaxies_of
from sky.spectra import STATED, truth_of

EXAMPLES = 6
SMOOTH = 5  # pixels of a running mean over what is drawn
LEVELS = (0.05, 0.16, 0.5, 0.84, 0.95)


def coverage_of_ranks(ranks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Nominal and real coverage of central intervals, from the shares (n + 1,) of truths by their rank.

    Between the k-th smallest and the k-th largest of n candidates, truths that are drawn like them fall with
    probability (n + 1 - 2 k) / (n + 1).
    """
    n = len(ranks) - 1
    k = np.arange(1, n // 2 + 1)
    inside = np.array([ranks[i : n + 1 - i].sum() for i in k])
    return (n + 1 - 2 * k) / (n + 1), inside / ranks.sum()


def examples(table) -> np.ndarray:
    """Rows (EXAMPLES,) of galaxies of all kinds: evenly spaced in the order of g-r."""
    g, r = (table.flux[:, table.column(band)] for band in "gr")
    places = np.linspace(0.03, 0.97, EXAMPLES) * (len(table) - 1)
    return np.argsort(r / g)[np.rint(places).astype(int)]


def draw(sky, path: Path) -> None:
    """Draw coverage minus its level for each row, and below it the examples given fibre ugriz alone."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(15, 13), layout="constrained")
    panels = figure.subplot_mosaic(
        [["coverage"] * 2, *([2 * k, 2 * k + 1] for k in range(EXAMPLES // 2))], height_ratios=[1.1, 1, 1, 1]
    )
    top = panels["coverage"]
    for k, (name, ranks) in enumerate(sky.ranks.items()):
        level, inside = coverage_of_ranks(ranks)
        top.plot(level, inside - level, lw=1, color=f"C{k % 10}", ls="-" if k < 10 else "--", label=name)
    top.axhline(0, color="0.4", lw=0.8)
    top.set(xlabel="nominal coverage of pixels", ylabel="coverage minus nominal", ylim=(-0.15, 0.15))
    top.legend(fontsize=7, ncols=3)
    if "spectra" in sky.tables:
        table = sky.tables["spectra"]
        table, truth = replace(table, error=STATED * np.abs(table.flux)), truth_of(sky)
        for k, row in enumerate(examples(table)):
            _example(panels[k], sky.judge, table.rows([row]), truth.rows([row]))
    figure.savefig(path, dpi=130)


def _example(panel, judge, table, truth: Truth) -> None:
    """One galaxy: intervals of its candidates, smoothed alike, over its observed spectrum."""
    ((fold, _),) = judge.batches(table)
    (ensemble,) = judge.of(fold).generate_batch(
        galaxies_of(table), "linear", Settings(n=N, use=("photometry",))
    )
    wave, good = SpectralGrid().wave, truth.ivar[0] > 0
    members = np.quantile(uniform_filter1d(ensemble.candidates, SMOOTH, axis=1), LEVELS, axis=0)
    for low, high, colour in ((0, 4, "#dbe7f5"), (1, 3, "#a9c6e8")):
        panel.fill_between(wave, members[low], members[high], color=colour, lw=0)
    panel.plot(wave, members[2], color="#1f4e9c", lw=0.6)
    observed = np.where(good, uniform_filter1d(truth.flux[0].astype(float), SMOOTH), np.nan)
    panel.plot(wave, observed, color="0.15", lw=0.5)
    low, high = np.nanquantile(observed, (0.002, 0.998))
    panel.set(xlim=(wave[0], wave[-1]), ylim=(min(0, low), high + 0.35 * (high - low)))
    label_lines(panel, float(truth.z[0]))
    low, high = np.quantile(ensemble.redshifts, (0.16, 0.84))
    panel.set_title(
        f"z = {truth.z[0]:.4f}, generated {low:.4f} to {high:.4f}", loc="left", fontsize=9, pad=19
    )
    panel.tick_params(labelsize=8)
