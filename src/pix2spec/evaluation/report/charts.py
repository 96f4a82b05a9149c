"""Figures of the report, as PNG bytes by caption."""

import io

import numpy as np

from pix2spec.evaluation.report.gather import Study
from pix2spec.measure.quantities import QUANTITIES
from pix2spec.products.plot import figure_evaluation
from pix2spec.products.spectrum_panel import BLUE

__all__ = ["charts"]

SHOWN_QUANTITIES = ("z", "ew_halpha", "ew_oiii", "dn4000", "hdelta_a", "mgb", "sigma_v", "g_r")
RED, GREY = "#a8480f", "0.5"
DPI = 160


def charts(study: Study, result: dict) -> dict[str, bytes]:
    """All figures that the result has numbers for."""
    overview = figure_evaluation(study.examples, study.grid, study.profiles, result)
    found = {"Examples; error and coverage by wavelength": overview}
    if result.get("science"):
        found["Observed and generated quantities"] = _quantities(study, result)
    if (result.get("types") or {}).get("confusion"):
        found["Types (BPT)"] = _types(result["types"])
    if (result.get("calibration") or {}).get("quantities"):
        found["Calibration of quantities"] = _calibration(result["calibration"])
    if (result.get("realism") or {}).get("power"):
        found["Power by scale"] = _power(result["realism"]["power"])
    if result.get("selection"):
        found["Selection by score"] = _selection(result["selection"])
    return {caption: _png(figure) for caption, figure in found.items()}


def _png(figure) -> bytes:
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=DPI, metadata={"Software": None})
    return stream.getvalue()


def _figure(width: float, height: float):
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def _clean(axes) -> None:
    axes.tick_params(labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)


def _quantities(study: Study, result: dict):
    """One candidate against the observed value, for each quantity."""
    names = [name for name in SHOWN_QUANTITIES if name in result["science"]]
    rows = -(-len(names) // 4)
    figure = _figure(10, 2.6 * rows)
    panels = figure.subplots(rows, 4, squeeze=False).ravel()
    for axes, name in zip(panels, names):
        truth, candidate = study.truths(name), study.samples(name)[:, 0]
        both = np.isfinite(truth) & np.isfinite(candidate)
        low, high = np.percentile(np.concatenate([truth[both], candidate[both]]), [0.5, 99.5])
        axes.plot([low, high], [low, high], color=GREY, lw=0.8, zorder=0)
        size = 1.5 if both.sum() > 500 else 4
        axes.plot(truth[both], candidate[both], ".", color=BLUE, ms=size, alpha=0.5, rasterized=True)
        axes.set(xlim=(low, high), ylim=(low, high))
        unit = f" [{QUANTITIES[name].unit}]" if QUANTITIES[name].unit else ""
        axes.set_title(QUANTITIES[name].label + unit, fontsize=9)
        _clean(axes)
    for axes in panels[len(names) :]:
        axes.set_axis_off()
    figure.supxlabel("observed", fontsize=9)
    figure.supylabel("one candidate", fontsize=9)
    return figure


def _types(types: dict):
    classes, size = types["classes"], len(types["classes"])
    matrix = np.array([row or [np.nan] * size for row in types["confusion"]])
    figure = _figure(5, 3.6)
    axes = figure.subplots()
    axes.imshow(matrix, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for i, j in np.ndindex(size, size):
        if np.isfinite(matrix[i, j]):
            colour = "white" if matrix[i, j] > 0.55 else "black"
            axes.text(j, i, f"{100 * matrix[i, j]:.0f} %", ha="center", va="center", fontsize=8, color=colour)
    labels = [f"{name} ({count})" for name, count in zip(classes, types["observed"])]
    axes.set_xticks(range(size), classes, fontsize=8)
    axes.set_yticks(range(size), labels, fontsize=8)
    axes.set_xlabel("candidates", fontsize=9)
    axes.set_ylabel("observed (objects)", fontsize=9)
    return figure


def _calibration(section: dict):
    """Coverage of each quantity's intervals, of all candidates and of the selected; and of some jointly."""
    names = list(section["quantities"])
    figure = _figure(10, 1.2 + 0.26 * len(names))
    left, right = figure.subplots(1, 2, width_ratios=(1.7, 1))
    place = np.arange(len(names))[::-1]
    for which, colour, label, shift in (
        ("all", BLUE, "all candidates", 0.12),
        ("best", RED, "best 5 by score", -0.12),
    ):
        parts = [section["quantities"][name].get(which) for name in names]
        if not any(parts):
            continue
        for level in (68, 90) if which == "all" else (68,):
            value = np.array([part[f"coverage_{level}"] if part else np.nan for part in parts])
            error = np.array([part[f"coverage_{level}_error"] if part else np.nan for part in parts])
            expected = next(part for part in parts if part)[f"expected_{level}"]
            style = {"fmt": "o", "ms": 3.5, "lw": 1, "color": colour}
            name = f"{label}, {100 * expected:.0f} %"
            left.errorbar(100 * value, place + shift, xerr=100 * error, label=name, **style)
            left.axvline(100 * expected, color=colour, lw=0.7, ls=":")
    left.set_yticks(place, [QUANTITIES[name].label for name in names], fontsize=8)
    left.set_xlabel("observed values inside the interval [%]", fontsize=9)
    left.set_xlim(0, 100)
    left.legend(fontsize=7, frameon=False, loc="lower left")
    joint = section.get("joint")
    right.plot([0, 1], [0, 1], color=GREY, lw=0.8)
    if joint:
        right.plot(joint["levels"], joint["coverage"], color=BLUE)
        labels = ", ".join(QUANTITIES[name].label for name in joint["quantities"])
        right.set_title(f"joint coverage (TARP): {labels}", fontsize=8)
    right.set(xlim=(0, 1), ylim=(0, 1), aspect="equal", anchor="N")
    right.set_xlabel("credibility", fontsize=9)
    right.set_ylabel("expected coverage", fontsize=9)
    for axes in (left, right):
        _clean(axes)
    return figure


def _power(power: dict):
    figure = _figure(6, 2.9)
    axes = figure.subplots()
    scale = 1 / np.array(power["wavenumber"])
    ratio, error = np.array(power["ratios"]), np.array(power["ratio_errors"])
    axes.axhline(1, color=GREY, lw=0.8)
    axes.fill_between(scale, ratio - 2 * error, ratio + 2 * error, color="#9fc1e3", lw=0)
    axes.plot(scale, ratio, "o-", color=BLUE, ms=3, lw=1)
    axes.set(xscale="log", ylim=(0, max(1.5, 1.1 * ratio.max())))
    axes.set_xlabel("scale [pixels]", fontsize=9)
    axes.set_ylabel("power of candidates / observed", fontsize=9)
    _clean(axes)
    return figure


def _selection(selection: dict):
    figure = _figure(6, 2.9)
    axes = figure.subplots()
    k, value, error = (np.array(selection[name]) for name in ("k", "selected", "selected_error"))
    axes.fill_between(k, value - error, value + error, color="#9fc1e3", lw=0)
    axes.plot(k, value, "o-", color=BLUE, ms=3, lw=1, label="best by score")
    axes.plot(k, selection["oracle"], color=RED, lw=1, label="best possible")
    axes.axhline(selection["random"], color=GREY, lw=0.8, label="one at random")
    axes.set_xlabel("candidates to choose from", fontsize=9)
    axes.set_ylabel("error after affine match", fontsize=9)
    axes.set_ylim(0, None)
    axes.legend(fontsize=8, frameon=False)
    _clean(axes)
    return figure
