"""Figures of ensembles: the photometry beside the generated spectra."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pix2spec.core.filters import load_filter
from pix2spec.core.photometry import magnitude
from pix2spec.core.scaling import asinh_image, lupton_rgb
from pix2spec.data.schema import Galaxy
from pix2spec.products.photometry_points import photometry_points
from pix2spec.products.spectrum_panel import BLUE, GREY, draw_spectrum

if TYPE_CHECKING:
    from pix2spec.data.measurements import Measurements
    from pix2spec.products.ensemble import Ensemble

__all__ = ["draw_image", "figure_evaluation", "figure_grid", "save_figure"]

WIDTH, NARROW = 10.0, 6.0  # inches
PRINT_DPI = 200
MAX_TICKS = 9  # filters that are named below their magnitudes


def figure_grid(
    ensembles: Sequence[Ensemble],
    truths: Sequence[Galaxy | None] | None = None,
    path: str | Path | None = None,
    width: float = WIDTH,
):
    """One row per galaxy: its image, or magnitudes that the panel of spectra lacks, and its spectra.

    Parameters
    ----------
    ensembles : sequence of Ensemble
        One for each row of the figure.
    truths : sequence of Galaxy or None, optional
        The observed spectrum of each, drawn in grey; its redshift places the line labels.
    path : str or Path, optional
        Save the figure here; the suffix decides the format.
    width : float
        Width of the figure in inches.

    Returns
    -------
    matplotlib.figure.Figure
    """
    from matplotlib.figure import Figure

    truths = [None] * len(ensembles) if truths is None else list(truths)
    row = 3.4 if len(ensembles) == 1 else 2.9
    figure = Figure(figsize=(width, row * len(ensembles) + 0.35), layout="constrained", dpi=150)
    figure.get_layout_engine().set(w_pad=0.03, h_pad=0.03)
    _fill_grid(figure, ensembles, truths, width)
    save_figure(figure, path)
    return figure


def _fill_grid(
    figure, ensembles: Sequence[Ensemble], truths: Sequence[Galaxy | None], width: float = WIDTH
) -> None:
    pictures = any(_needs_picture(ensemble, width) for ensemble in ensembles)
    ratios = {"width_ratios": (1, 4.2)} if pictures else {}
    axes = figure.subplots(len(ensembles), 1 + pictures, squeeze=False, **ratios)
    handles: dict = {}
    for row, ensemble, truth in zip(axes, ensembles, truths):
        if pictures:
            draw_image(row[0], ensemble)
        draw_spectrum(row[-1], ensemble, truth)
        handles |= {label: h for h, label in zip(*row[-1].get_legend_handles_labels())}
    kinds = [label for label in handles if label.startswith("photometry")]
    if len(kinds) > 1:
        handles["photometry"] = [handles.pop(label) for label in kinds].pop()
    for spectra in axes[:-1, -1]:
        if spectra.get_xlim() == axes[-1, -1].get_xlim():
            spectra.tick_params(labelbottom=False)
    axes[-1, -1].set_xlabel("observed vacuum wavelength [Å]", fontsize=9)
    order = sorted(handles, key=lambda label: ("%" in label, label))
    columns = min(len(order), max(int(width / 2.1), 1))
    entries = [handles[label] for label in order]
    style = {
        "ncols": columns,
        "frameon": False,
        "fontsize": 8.5 if width > NARROW else 7.5,
        "columnspacing": 1.2,
    }
    figure.legend(entries, order, loc="outside upper right", **style)


def _needs_picture(ensemble: Ensemble, width: float) -> bool:
    """Whether there is an image, or the figure has room for magnitudes that the spectra's panel lacks."""
    if ensemble.image is not None or width < NARROW:
        return ensemble.image is not None
    points, given = photometry_points(ensemble), ensemble.measurements
    if given is None:
        return ensemble.photometry is not None
    return points is None or len(points.filters) < len(given.filters)


def save_figure(figure, path: str | Path | None) -> None:
    """Save `figure` at print resolution; nothing happens when `path` is None."""
    if path is None:
        return
    engine = figure.get_layout_engine()
    options: dict = {"dpi": PRINT_DPI}
    if Path(path).suffix.lower() == ".png":
        options["pil_kwargs"] = {"compress_level": 3}  # half the time of the default, for a tenth more bytes
    if engine is None:
        figure.savefig(path, **options)
        return
    before = figure.get_dpi()
    figure.set_dpi(PRINT_DPI)
    engine.execute(figure)
    figure.set_layout_engine("none")  # with an engine, matplotlib would draw the figure twice
    figure.savefig(path, **options)
    figure.set_layout_engine(engine)
    figure.set_dpi(before)


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
    few = [order[0]]
    for k in order[1:]:  # names that do not overlap
        if wave[k] > wave[few[-1]] * (wave.max() / wave.min()) ** (1 / MAX_TICKS):
            few.append(k)
    axes.set_xticks(wave[few], [names[k].rpartition("-")[2] for k in few], minor=False)
    axes.set_xticks([], minor=True)
    axes.invert_yaxis()
    axes.set_ylabel("AB magnitude", fontsize=8)
    axes.tick_params(labelsize=8)


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
