"""The interactive figure: a typical candidate over bands of quantiles, with photometry and redshifts."""

import numpy as np

from pix2spec.data.schema import Galaxy
from pix2spec.products.ensemble import Ensemble
from pix2spec.products.photometry_points import PhotometryPoints, photometry_points
from pix2spec.products.spectrum_panel import (
    BLUE,
    INSET_HEIGHT,
    LABEL_ROOM,
    LINE_COLOURS,
    LINE_LABELS,
    QUANTILE_BANDS,
    YELLOW,
    comparable,
    place_inset,
    redshift_density,
    smooth_quantiles,
    spectrum_limits,
    typical_label,
)
from pix2spec.products.units import PHYSICAL

__all__ = ["spectrum_figure"]

CANDIDATE_COLOURS = ("#7b3f98", "#00796b", "#b3541e")
GREY, MEAN_COLOUR = "#8c8c8c", "#5b6b7b"
INSET_WIDTH = 0.3  # as a share of the figure's width
TEXT = "#1f2937"


def spectrum_figure(ensemble: Ensemble, z: float, observed: Galaxy | None = None):
    """Draw an ensemble for a browser.

    The rest-frame lines are not in it: ``page.js`` draws them from ``layout.meta``, because they follow the
    redshift slider in the browser.

    Parameters
    ----------
    ensemble : Ensemble
    z : float
        Redshift at which the lines start.
    observed : Galaxy, optional
        Its spectrum on the same grid; brought to the ensemble's scale where that is relative.

    Returns
    -------
    plotly.graph_objects.Figure
    """
    import plotly.graph_objects as go

    wave = np.round(ensemble.grid.wave, 2).tolist()
    typical = ensemble.candidates[ensemble.typical]
    figure, shown, bands = go.Figure(), [typical], {}

    def line(flux, name, colour, width=1.0, **more):
        style = {"color": colour, "width": width}
        figure.add_scatter(x=wave, y=_rounded(flux), name=name, mode="lines", line=style, **more)

    if len(ensemble) > 1:
        bands = smooth_quantiles(ensemble)
        for lower, upper, label, colour in QUANTILE_BANDS:
            line(bands[lower], label, colour, 0, hoverinfo="skip", showlegend=False, legendgroup=label)
            filled = {"fill": "tonexty", "fillcolor": colour, "legendgroup": label}
            line(bands[upper], label, colour, 0, hoverinfo="skip", **filled)
    if observed is not None:
        flux = comparable(observed, ensemble)
        shown.append(flux)
        line(flux, "observed spectrum", GREY, 0.8)
    line(typical, typical_label(ensemble), BLUE, 1.2)
    if len(ensemble.selected) > 1:
        line(ensemble.flux, "mean of candidates", MEAN_COLOUR, 0.8, visible="legendonly")
    for k, colour in zip(_extremes(ensemble), CANDIDATE_COLOURS):
        line(ensemble.candidates[k], f"candidate {k + 1}", colour, 0.8, visible="legendonly")
    points = photometry_points(ensemble)
    if points is not None:
        _add_points(figure, points)
    horizontal, (low, high) = spectrum_limits(ensemble.grid.wave, shown, bands.get("q95"), points)
    vertical = low, low + (high - low) / (1 - LABEL_ROOM)
    inset = ensemble.grid.wave, [*shown, *bands.values()], horizontal, vertical, INSET_WIDTH, points
    corner, top = place_inset(*inset)
    figure.update_layout(**_layout(ensemble, z, horizontal, (low, top)))
    _add_rest_axis(figure, horizontal, z)
    _add_redshifts(figure, ensemble, corner)
    return figure


def _add_rest_axis(figure, horizontal: tuple[float, float], z: float) -> None:
    """An axis of rest-frame wavelengths inside the top; ``page.js`` keeps its range."""
    figure.add_scatter(x=[horizontal[0]], y=[None], xaxis="x3", showlegend=False, hoverinfo="skip")
    axis: dict = {"overlaying": "x", "side": "top", "ticks": "inside", "ticklabelposition": "inside"}
    axis |= {"showgrid": False, "zeroline": False}
    axis |= {"tickfont": {"size": 10}, "tickmode": "auto", "nticks": 8, "fixedrange": True}
    figure.update_layout(xaxis3=axis | {"range": [edge / (1 + z) for edge in horizontal]})


def _add_points(figure, points: PhotometryPoints) -> None:
    """The photometry, with errors and the filters' widths."""

    def bars(values, width):
        return {"type": "data", "array": values.tolist(), "color": "#404040", "thickness": 1, "width": width}

    figure.add_scatter(
        x=points.wave.round(1).tolist(),
        y=_rounded(points.flux),
        name=points.label,
        mode="markers",
        marker={"size": 9, "color": YELLOW, "line": {"color": "black", "width": 1.2}},
        error_x=bars(points.half_width.round(1), 0),
        error_y=bars(points.error, 0),
        text=list(points.filters),
        hovertemplate="%{text}: %{y:.3g}<extra></extra>",
    )


def _add_redshifts(figure, ensemble: Ensemble, corner: tuple[float, float]) -> None:
    """The density of the candidates' redshifts, as an inset in a corner."""
    density = redshift_density(ensemble.redshifts)
    if density is None:
        return
    place, p = (values.round(5).tolist() for values in density)
    top = 1.1 * max(p)

    def inset(x, y, **more):
        figure.add_scatter(x=x, y=y, xaxis="x2", yaxis="y2", showlegend=False, **more)

    ground = {"fill": "tozeroy", "fillcolor": "rgba(255, 255, 255, 0.85)", "line": {"width": 0}}
    inset([place[0], place[-1]], [top, top], mode="lines", hoverinfo="skip", **ground)
    curve = {"line": {"color": BLUE, "width": 1.2}, "fill": "tozeroy", "fillcolor": QUANTILE_BANDS[1][3]}
    inset(place, p, mode="lines", name="p(z)", hovertemplate="z = %{x:.4f}<extra></extra>", **curve)
    right = p.index(max(p)) < len(p) / 2  # where the curve leaves room for its name
    name = {"text": ["p(z)"], "textposition": "bottom left" if right else "bottom right"}
    edge = place[-1] if right else place[0]
    inset([edge], [top], mode="text", textfont={"size": 11}, hoverinfo="skip", **name)
    small: dict = {"showgrid": False, "zeroline": False, "fixedrange": True}
    ticks: dict = {"ticks": "outside", "nticks": 4, "tickfont": {"size": 10}, "ticklen": 3, "anchor": "y2"}
    ticks |= {"domain": [corner[0], corner[0] + INSET_WIDTH], "range": [place[0], place[-1]]}
    hidden: dict = {"showticklabels": False, "range": [0, top], "anchor": "x2"}
    hidden |= {"domain": [corner[1], corner[1] + INSET_HEIGHT]}
    figure.update_layout(xaxis2=small | ticks, yaxis2=small | hidden)


def _rounded(flux: np.ndarray) -> list:
    """Five digits of a spectrum's scale; NaN becomes a gap. Plain lists, which every plotly.js reads."""
    flux = np.asarray(flux, float)
    scale = np.nanmax(np.abs(flux), initial=1e-30)
    digits = int(4 - np.floor(np.log10(scale)))
    return [None if np.isnan(value) else value for value in np.round(flux, digits).tolist()]


def _extremes(ensemble: Ensemble) -> list[int]:
    """Candidates of the lowest, middle and highest redshift (of the first three, without redshifts)."""
    n = len(ensemble)
    order = np.arange(n) if ensemble.redshifts is None else np.argsort(ensemble.redshifts)
    return list(dict.fromkeys(int(order[i]) for i in (0, n // 2, n - 1))) if n > 1 else []


def _layout(
    ensemble: Ensemble, z: float, horizontal: tuple[float, float], vertical: tuple[float, float]
) -> dict:
    unit = "10⁻¹⁷ erg s⁻¹ cm⁻² Å⁻¹" if ensemble.unit == PHYSICAL else "relative"
    axis = {
        "showgrid": True,
        "gridcolor": "#eceff3",
        "zeroline": False,
        "ticks": "outside",
        "automargin": True,
    }
    lines = [[name, rest, LINE_COLOURS[emits]] for name, rest, emits in LINE_LABELS]
    alt = f"Generated spectra of {ensemble.object_id}: {len(ensemble)} candidates. The table has the numbers."
    return {
        "height": 520,
        "margin": {"l": 48, "r": 12, "t": 84, "b": 120},
        "paper_bgcolor": "white",
        "plot_bgcolor": "white",
        "font": {"size": 13, "color": TEXT},
        "xaxis": axis
        | {
            "title": {"text": "observed vacuum wavelength [Å]<br>(above: rest frame)", "font": {"size": 12}},
            "range": list(horizontal),
        },
        "yaxis": axis
        | {
            "title": {"text": f"flux density [{unit}]", "font": {"size": 12}},
            "range": list(vertical),
        },
        "legend": {
            "orientation": "h",
            "yref": "container",
            "yanchor": "bottom",
            "y": 0.01,
            "x": 0,
            "font": {"size": 11},
        },
        "hovermode": "closest",
        "modebar": {"orientation": "v", "remove": ["select2d", "lasso2d", "autoScale2d"]},
        "meta": {"lines": lines, "z": z, "alt": alt},
    }
