"""Figures of ensembles: the photometry beside the generated spectra."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pix2spec.core.filters import load_filter
from pix2spec.core.lines import LINES, OTHER_LINES, mean_wavelength
from pix2spec.core.photometry import magnitude
from pix2spec.core.scaling import asinh_image, lupton_rgb
from pix2spec.data.schema import Galaxy
from pix2spec.products.units import PHYSICAL

if TYPE_CHECKING:
    from pix2spec.data.measurements import Measurements
    from pix2spec.products.ensemble import Ensemble

__all__ = [
    "LINE_LABELS",
    "comparable",
    "draw_image",
    "draw_spectrum",
    "figure_evaluation",
    "figure_grid",
    "flux_limits",
    "save_figure",
]

# Name, vacuum wavelength in Angstrom (of close lines, their middle), in emission?
LINE_LABELS = (
    ("[O II]", mean_wavelength("[O_II] 3725", "[O_II] 3727"), True),
    ("Ca K", OTHER_LINES["Ca_K"], False),
    ("Ca H", OTHER_LINES["Ca_H"], False),
    ("Hδ", LINES["H_delta"], False),
    ("G", OTHER_LINES["G"], False),
    ("Hβ", LINES["H_beta"], True),
    ("[O III]", LINES["[O_III] 5007"], True),
    ("Mg b", OTHER_LINES["Mg_b"], False),
    ("Na D", mean_wavelength("Na_D 5890", "Na_D 5896"), False),
    ("Hα+[N II]", LINES["H_alpha"], True),
    ("[S II]", mean_wavelength("[S_II] 6716", "[S_II] 6730"), True),
)
MAX_TICKS = 8  # filters that are named below their magnitudes
BLUE, GREY = "#14508c", "0.55"
LINE_COLOURS = {True: "#a8480f", False: "#4d4d4d"}
QUANTILE_BANDS = (
    ("q05", "q95", "90 % of candidates", "#d3e2f2"),
    ("q16", "q84", "68 % of candidates", "#9fc1e3"),
)
SELECTION_LABELS = {"single": "one candidate", "best": "best candidate", "all": "mean of all candidates"}


def spread(wanted: Sequence[float], width: Sequence[float]) -> np.ndarray:
    """Positions nearest to `wanted` (sorted) at which labels of `width` do not overlap.

    The least-squares solution: isotonic regression of the positions less the room to their left, by
    pooling adjacent violators.
    """
    widths = np.asarray(width, float)
    room = np.concatenate([[0], np.cumsum((widths[1:] + widths[:-1]) / 2)])
    blocks = []  # [mean, size]
    for value in np.asarray(wanted, float) - room:
        blocks.append([value, 1])
        while len(blocks) > 1 and blocks[-2][0] > blocks[-1][0]:
            (a, m), (b, n) = blocks[-2:]
            blocks[-2:] = [[(m * a + n * b) / (m + n), m + n]]
    return np.concatenate([np.full(size, mean) for mean, size in blocks]) + room


def figure_grid(
    ensembles: Sequence[Ensemble],
    truths: Sequence[Galaxy | None] | None = None,
    path: str | Path | None = None,
):
    """One row per galaxy: its image, and its spectra.

    Parameters
    ----------
    ensembles : sequence of Ensemble
        One for each row of the figure.
    truths : sequence of Galaxy or None, optional
        The observed spectrum of each, drawn in grey; its redshift places the line labels.
    path : str or Path, optional
        Save the figure here; the suffix decides the format.

    Returns
    -------
    matplotlib.figure.Figure
    """
    from matplotlib.figure import Figure

    truths = [None] * len(ensembles) if truths is None else list(truths)
    figure = Figure(figsize=(10, 2.35 * len(ensembles) + 0.35), layout="constrained", dpi=150)
    figure.get_layout_engine().set(w_pad=0.03, h_pad=0.03)
    _fill_grid(figure, ensembles, truths)
    save_figure(figure, path)
    return figure


def _fill_grid(figure, ensembles: Sequence[Ensemble], truths: Sequence[Galaxy | None]) -> None:
    axes = figure.subplots(len(ensembles), 2, width_ratios=(1, 4.2), squeeze=False)
    handles: dict = {}
    for (left, right), ensemble, truth in zip(axes, ensembles, truths):
        draw_image(left, ensemble)
        draw_spectrum(right, ensemble, truth)
        handles |= {label: h for h, label in zip(*right.get_legend_handles_labels())}
    for right in axes[:-1, 1]:
        right.tick_params(labelbottom=False)
    axes[-1, 1].set_xlabel("observed vacuum wavelength [Å]", fontsize=9)
    order = sorted(handles, key=lambda label: ("%" in label, label))
    entries = [handles[label] for label in order]
    style = {"ncols": len(order), "frameon": False, "fontsize": 9}
    figure.legend(entries, order, loc="outside upper right", **style)


def save_figure(figure, path: str | Path | None) -> None:
    """Save `figure` at print resolution; nothing happens when `path` is None."""
    if path is not None:
        figure.savefig(path, dpi=200)


def draw_image(axes, ensemble) -> None:
    """Draw the object's colour picture, or its magnitudes where there is none."""
    image = ensemble.image
    if image is None:
        _draw_photometry(axes, ensemble)
        return
    image = np.nan_to_num(np.asarray(image, np.float32))
    is_composite = ensemble.image_kind == "composite"
    if image.shape[0] != 3:
        axes.imshow(asinh_image(image[len(image) // 2]), cmap="gray", origin="lower")
    else:
        picture = image if is_composite else lupton_rgb(image)
        rgb = np.clip(picture[::-1].transpose(1, 2, 0) / 255, 0, 1)  # i, r, g as red, green, blue
        axes.imshow(rgb, origin="upper" if is_composite else "lower")
    axes.set_xticks([])
    axes.set_yticks([])


def _draw_photometry(axes, ensemble: Ensemble) -> None:
    given = ensemble.measurements
    if given is not None and (given.flux > 0).any():
        _draw_measurements(axes, given)
        return
    flux = ensemble.photometry
    if flux is None or not (np.nan_to_num(flux) > 0).any():
        axes.text(0.5, 0.5, "no image", ha="center", va="center", color=GREY)
        axes.set_axis_off()
        return
    good = np.nan_to_num(flux) > 0
    bands = np.flatnonzero(good)
    axes.plot(bands, magnitude(flux[good]), "o-", color=BLUE, ms=4, lw=0.8)
    axes.set_xticks(np.arange(len(flux)), list("ugriz") if len(flux) == 5 else None)
    axes.invert_yaxis()
    axes.set_ylabel("AB magnitude", fontsize=8)
    axes.tick_params(labelsize=8)


def _draw_measurements(axes, given: Measurements) -> None:
    """Draw magnitudes over the wavelengths of the filters, whose names stand below."""
    good = given.flux > 0
    names = [name for name, shown in zip(given.filters, good) if shown]
    wave = np.array([load_filter(name, given.curves).centre for name in names]) / 1e4
    order = np.argsort(wave)
    axes.plot(wave[order], magnitude(given.flux[good])[order], "o-", color=BLUE, ms=4, lw=0.8)
    axes.set_xscale("log")
    few = order if len(order) <= MAX_TICKS else order[:: len(order) - 1]
    axes.set_xticks(wave[few], [names[k].rpartition("-")[2] for k in few], minor=False)
    axes.set_xticks([], minor=True)
    axes.invert_yaxis()
    axes.set_ylabel("AB magnitude", fontsize=8)
    axes.tick_params(labelsize=8)


def draw_spectrum(axes, ensemble: Ensemble, truth: Galaxy | None = None) -> None:
    """Draw the candidates as bands, the chosen spectrum, the truth under it, and the lines' names."""
    wave, chosen = ensemble.grid.wave, ensemble.flux
    if len(ensemble) > 1:
        quantiles = dict(zip(("q05", "q16", "q50", "q84", "q95"), ensemble.quantiles()))
        for low, high, label, colour in QUANTILE_BANDS:
            axes.fill_between(wave, quantiles[low], quantiles[high], color=colour, lw=0, label=label)
    shown = [chosen]
    if truth is not None and truth.flux is not None:
        observed = comparable(truth, ensemble)
        axes.plot(wave, observed, color=GREY, lw=0.5, label="observed spectrum")
        shown.append(observed)
    label = SELECTION_LABELS.get(ensemble.select, f"mean of best {ensemble.select.removeprefix('mean:')}")
    axes.plot(wave, chosen, color=BLUE, lw=0.6, label=label)
    axes.set_xlim(wave[0], wave[-1])
    axes.set_ylim(*flux_limits(shown))
    z = truth.z if truth is not None and np.isfinite(truth.z) else ensemble.z
    label_lines(axes, z)
    unit = r"$10^{-17}$ erg s$^{-1}$ cm$^{-2}$ Å$^{-1}$" if ensemble.unit == PHYSICAL else "relative"
    axes.set_ylabel(rf"$f_\lambda$  [{unit}]", fontsize=7.5)
    axes.tick_params(labelsize=8)
    title = ensemble.object_id + (f"    z = {z:.4f}" if np.isfinite(z) else "")
    title += f"    ({', '.join(ensemble.flags)})" if ensemble.flags else ""
    axes.set_title(title, loc="left", fontsize=9, pad=17 if np.isfinite(z) else 4)


def comparable(truth: Galaxy, ensemble: Ensemble) -> np.ndarray:
    """The observed flux, NaN where missing; on the ensemble's scale if that is relative."""
    flux = np.asarray(truth.flux, float)
    good = np.isfinite(flux)
    if truth.ivar is not None:
        good &= np.asarray(truth.ivar) > 0
    flux = np.where(good, flux, np.nan)
    if ensemble.unit == PHYSICAL or not good.any():
        return flux
    chosen = ensemble.flux[good]
    if ensemble.has_zero_point:
        return flux * np.median(chosen) / max(np.median(flux[good]), 1e-30)
    slope, offset = np.polyfit(flux[good], chosen, 1)
    return offset + slope * flux


def flux_limits(spectra: list[np.ndarray]) -> tuple[float, float]:
    """Vertical range: all of the continuum, and lines up to twice its height; no single-pixel spikes."""
    from scipy.ndimage import median_filter

    filled = [np.nan_to_num(s, nan=np.nanmedian(s)) for s in spectra if np.isfinite(s).any()]
    continua = [median_filter(s, min(51, len(s))) for s in filled]
    low, high = min(c.min() for c in continua), max(c.max() for c in continua)
    height = (high - min(low, 0) if low < 0.6 * high else high - low) or 1
    lines = [median_filter(s, 3) for s in filled]
    dips, peaks = min(s.min() for s in lines), max(s.max() for s in lines)
    low, high = max(dips, low - height), min(peaks, high + height)
    return (0 if 0 <= low < 0.6 * high else low - 0.08 * height), high + 0.08 * height


def label_lines(axes, z: float) -> None:
    """Name the lines of a galaxy at redshift `z` above the axes, moved apart where they would overlap."""
    if not np.isfinite(z):
        return
    start, end = axes.get_xlim()
    lines = [(name, wave * (1 + z), emits) for name, wave, emits in LINE_LABELS]
    lines = [line for line in lines if start < line[1] < end]
    character = (end - start) / 118  # at the panel's width and this font size
    places = spread([x for _, x, _ in lines], [character * (len(name) + 1.2) for name, _, _ in lines])
    if len(places):
        places = places + max(start - places[0], 0) - max(places[-1] - end, 0)
    for (name, x, emits), place in zip(lines, places):
        colour = LINE_COLOURS[emits]
        axes.axvline(x, color=colour, lw=0.5, ls=(0, (1, 2)), zorder=0.5)
        axes.annotate(
            name,
            xy=(x, 1),
            xytext=(place, 1.06),
            xycoords=axes.get_xaxis_transform(),
            textcoords=axes.get_xaxis_transform(),
            ha="center",
            va="bottom",
            fontsize=7,
            color=colour,
            arrowprops={"arrowstyle": "-", "color": colour, "lw": 0.4, "shrinkA": 0, "shrinkB": 0},
        )


def figure_evaluation(examples, grid, profiles: dict, result: dict, path: str | Path | None = None):
    """Draw examples, and error and coverage by wavelength.

    Parameters
    ----------
    examples : list of (Ensemble, Galaxy)
        A few objects with their observed spectra.
    grid : SpectralGrid
        Wavelengths.
    profiles : dict
        `pix2spec.evaluation.metrics.scoring.Profile` by name: ``"generated"`` and, if given,
        ``"neighbours"``.
    result : dict
        What `pix2spec.evaluation.compare.evaluate` returns.
    path : str or Path, optional
        Save the figure here.
    """
    from matplotlib.figure import Figure

    rows = len(examples)
    figure = Figure(figsize=(10, 2.35 * rows + 3.2), layout="constrained", dpi=150)
    top, bottom = figure.subfigures(2, 1, height_ratios=(2.35 * rows + 0.35, 2.85))
    _fill_grid(top, [ensemble for ensemble, _ in examples], [galaxy for _, galaxy in examples])
    error, covered = bottom.subplots(1, 2)
    width = max(grid.size // 120, 1)
    wave = grid.wave[::width]
    styles = {"generated": ("generated", BLUE, "-"), "neighbours": ("25 nearest neighbours", "0.45", "--")}
    for name, profile in profiles.items():
        label, colour, style = styles[name]
        error.plot(wave, np.sqrt(profile.mean("square", width)), style, color=colour, lw=1.1, label=label)
        for level in ("68", "90"):
            if f"inside_{level}" in profile.sums:
                fraction = 100 * profile.mean(f"inside_{level}", width)
                covered.plot(wave, fraction, style, color=colour, lw=1.1)
    for level, expected in (result["expected_coverage"] or {}).items():
        covered.axhline(100 * expected, color="k", lw=0.7, ls=":")
        covered.text(wave[-1], 100 * expected, f" {level} %", fontsize=8, va="center")
    error.set(ylabel="rms error of the mean\n(median-scaled)", ylim=(0, None))
    covered.set(ylabel="observed pixels inside [%]", ylim=(0, 100))
    covered.set_title("coverage of the candidates' central intervals", fontsize=9)
    error.set_title(f"{result['counts']['scored']} {result['data']} galaxies", fontsize=9)
    error.legend(frameon=False, fontsize=8)
    for axes in (error, covered):
        axes.set_xlabel("observed vacuum wavelength [Å]", fontsize=9)
        axes.set_xlim(grid.wave[0], grid.wave[-1])
        axes.tick_params(labelsize=8)
    save_figure(figure, path)
    return figure
