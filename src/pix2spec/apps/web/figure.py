"""The interactive figure: bands of quantiles, the chosen spectrum, candidates, an observed spectrum."""

import numpy as np

from pix2spec.data.schema import Galaxy
from pix2spec.products.ensemble import Ensemble
from pix2spec.products.plot import (
    BLUE,
    LINE_COLOURS,
    LINE_LABELS,
    QUANTILE_BANDS,
    SELECTION_LABELS,
    comparable,
    flux_limits,
)
from pix2spec.products.units import PHYSICAL

__all__ = ["spectrum_figure"]

CANDIDATE_COLOURS = ("#7b3f98", "#00796b", "#b3541e")
GREY = "#8c8c8c"
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
    figure, shown = go.Figure(), [ensemble.flux]

    def line(flux, name, colour, width=1.0, **more):
        style = {"color": colour, "width": width}
        figure.add_scatter(x=wave, y=_rounded(flux), name=name, mode="lines", line=style, **more)

    if len(ensemble) > 1:
        quantiles = dict(zip(("q05", "q16", "q50", "q84", "q95"), ensemble.quantiles()))
        for low, high, label, colour in QUANTILE_BANDS:
            line(quantiles[low], label, colour, 0, hoverinfo="skip", showlegend=False, legendgroup=label)
            filled = {"fill": "tonexty", "fillcolor": colour, "legendgroup": label}
            line(quantiles[high], label, colour, 0, hoverinfo="skip", **filled)
    if observed is not None:
        flux = comparable(observed, ensemble)
        shown.append(flux)
        line(flux, "observed spectrum", GREY, 0.8)
    label = SELECTION_LABELS.get(ensemble.select, f"mean of best {ensemble.select.removeprefix('mean:')}")
    line(ensemble.flux, label, BLUE, 1.2)
    for k, colour in zip(_extremes(ensemble), CANDIDATE_COLOURS):
        line(ensemble.candidates[k], f"candidate {k + 1}", colour, 0.8, visible="legendonly")
    figure.update_layout(**_layout(ensemble, z, flux_limits(shown)))
    return figure


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


def _layout(ensemble: Ensemble, z: float, limits: tuple[float, float]) -> dict:
    wave = ensemble.grid.wave
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
            "title": {"text": "observed vacuum wavelength [Å]", "font": {"size": 12}},
            "range": [wave[0], wave[-1]],
        },
        "yaxis": axis
        | {
            "title": {"text": f"flux density [{unit}]", "font": {"size": 12}},
            "range": list(map(float, limits)),
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
