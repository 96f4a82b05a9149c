"""One panel of a figure: an ensemble's spectra, with photometry, redshifts, lines and a rest-frame axis."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from pix2spec.core.lines import LINES, OTHER_LINES, mean_wavelength
from pix2spec.core.quantiles import finite_quantiles
from pix2spec.data.schema import Galaxy
from pix2spec.products.photometry_points import PhotometryPoints, photometry_points
from pix2spec.products.units import PHYSICAL, QUANTILE_NAMES, QUANTILES

if TYPE_CHECKING:
    from pix2spec.products.ensemble import Ensemble

__all__ = [
    "BLUE",
    "GREY",
    "INSET_HEIGHT",
    "LABEL_ROOM",
    "LINE_COLOURS",
    "LINE_LABELS",
    "QUANTILE_BANDS",
    "YELLOW",
    "comparable",
    "draw_spectrum",
    "flux_limits",
    "place_inset",
    "redshift_density",
    "shown_redshift",
    "smooth_quantiles",
    "spectrum_limits",
    "spread",
    "typical_label",
]

# From the name of a line to its place. Without a patch that clips it, drawing takes half the time.
POINTER = {
    "arrowstyle": "-", "lw": 0.4, "shrinkA": 0, "shrinkB": 0, "relpos": (0.5, 0), "patchA": None,
}  # fmt: skip
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
BLUE, GREY, YELLOW = "#14508c", "0.55", "#f0e442"  # apart for all kinds of colour vision, and in grey
LINE_COLOURS = {True: "#a8480f", False: "#4d4d4d"}
QUANTILE_BANDS = (
    ("q05", "q95", "90 % of candidates, smoothed", "#d3e2f2"),
    ("q16", "q84", "68 % of candidates, smoothed", "#9fc1e3"),
)
SMOOTHING_DEX = 1.2e-3  # standard deviation of the bands' smoothing: 830 km/s
INSET_HEIGHT = 0.34  # as a share of the panel's height
NOISE_SMOOTHING_DEX = 2.5e-4  # of spectra with noise: 170 km/s
MARGIN, MAX_RAISE = 0.06, 2.0  # for the numbers below an inset; of the axes' height, to make room for it
LABEL_ROOM = 0.15  # share of a panel's height that the names of lines take
CHARACTERS_PER_INCH = 16  # of the names of lines
MIN_REDSHIFTS, MIN_SPREAD = 5, 1e-3  # for a density of redshifts


def draw_spectrum(axes, ensemble: Ensemble, truth: Galaxy | None = None, rest_axis: bool = True) -> None:
    """Draw a typical candidate over bands of quantiles, the photometry, the truth, and the lines' names.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
    ensemble : Ensemble
    truth : Galaxy, optional
        The observed spectrum; its redshift places the lines.
    rest_axis : bool
        Whether an axis of rest-frame wavelengths stands above.
    """
    wave, typical = ensemble.grid.wave, _without_noise(ensemble.candidates[ensemble.typical], ensemble)
    noisy = " (smoothed)" if _has_noise(ensemble) else ""
    shown, bands = [typical], []
    if len(ensemble) > 1:
        quantiles = smooth_quantiles(ensemble)
        bands = [quantiles["q05"], quantiles["q95"]]
        for lower, upper, label, colour in QUANTILE_BANDS:
            axes.fill_between(wave, quantiles[lower], quantiles[upper], color=colour, lw=0, label=label)
    if truth is not None and truth.flux is not None:
        observed = _without_noise(comparable(truth, ensemble), ensemble)
        axes.plot(wave, observed, color=GREY, lw=0.5, label="observed spectrum" + noisy)
        shown.append(observed)
    axes.plot(wave, typical, color=BLUE, lw=0.6, label=typical_label(ensemble) + noisy)
    points = photometry_points(ensemble)
    horizontal, (low, high) = spectrum_limits(wave, shown, bands[-1] if bands else None, points)
    axes.set_xlim(horizontal)
    axes.set_ylim(low, low + (high - low) / (1 - LABEL_ROOM))
    if points is not None:
        _draw_points(axes, points)
    z = shown_redshift(ensemble, truth)
    _draw_redshifts(axes, ensemble, truth, [*shown, *bands], points)
    label_lines(axes, z)
    if rest_axis and np.isfinite(z):
        _draw_rest_axis(axes, z)
    unit = r"$10^{-17}$ erg s$^{-1}$ cm$^{-2}$ Å$^{-1}$" if ensemble.unit == PHYSICAL else "relative"
    axes.set_ylabel(rf"$f_\lambda$  [{unit}]", fontsize=7.5)
    axes.tick_params(labelsize=8)
    wide = int(15 * _width_inches(axes))
    style: dict = {
        "subsequent_indent": "    ",
        "max_lines": 2,
        "placeholder": " …",
        "break_on_hyphens": False,
    }
    title = textwrap.fill(_title(ensemble, truth), max(wide, 30), **style)
    axes.set_title(title, loc="left", fontsize=9 if wide > 70 else 7.5, pad=4)


def smooth_quantiles(ensemble: Ensemble) -> dict[str, np.ndarray]:
    """Quantiles (L,) by name of the candidates, each smoothed by a Gaussian of 830 km/s.

    Narrow lines at the redshifts of many candidates would be a fence of spikes, and noise would widen the
    bands. The candidates themselves show both.
    """
    from scipy.ndimage import gaussian_filter1d

    smooth = gaussian_filter1d(
        ensemble.candidates, SMOOTHING_DEX / ensemble.grid.step, axis=1, mode="nearest"
    )
    return dict(zip(QUANTILE_NAMES, finite_quantiles(smooth, QUANTILES)))


def _has_noise(ensemble: Ensemble) -> bool:
    return ensemble.provenance.get("noise") == "observed"


def _without_noise(flux: np.ndarray, ensemble: Ensemble) -> np.ndarray:
    """A spectrum (L,) for a figure: where candidates have noise, smoothed by less than the width of lines."""
    from scipy.ndimage import gaussian_filter1d

    if not _has_noise(ensemble):
        return flux
    pixels, good = NOISE_SMOOTHING_DEX / ensemble.grid.step, np.isfinite(flux)
    total = gaussian_filter1d(np.where(good, flux, 0).astype(float), pixels, mode="nearest")
    share = gaussian_filter1d(good.astype(float), pixels, mode="nearest")
    return np.where(good, total / np.where(good, share, 1), np.nan)


def typical_label(ensemble: Ensemble) -> str:
    """Name in a legend of the candidate that is drawn."""
    if len(ensemble) == 1:
        return "one candidate" if ensemble.select == "single" else "chosen spectrum"
    if len(ensemble.selected) == 1:
        return {"best": "best candidate"}.get(ensemble.select, "one candidate")
    return "typical candidate" + ("" if ensemble.select == "all" else " of those chosen")


def shown_redshift(ensemble: Ensemble, truth: Galaxy | None = None) -> float:
    """Redshift of the named lines: the truth's, else the known one, else the typical candidate's."""
    known = [np.nan if truth is None else truth.z, ensemble.z]
    if ensemble.redshifts is not None:
        known.append(float(ensemble.redshifts[ensemble.typical]))
    return float(next((z for z in known if np.isfinite(z)), np.nan))


def redshift_density(redshifts: np.ndarray | None) -> tuple[np.ndarray, np.ndarray] | None:
    """Density of the candidates' redshifts at 200 redshifts (z, p); None for few or (nearly) equal ones."""
    z = np.asarray([] if redshifts is None else redshifts, float)
    z = z[np.isfinite(z)]
    if len(z) < MIN_REDSHIFTS or np.ptp(z) < MIN_SPREAD:
        return None
    low, high = np.quantile(z, (0.16, 0.84))
    width = 0.9 * max(min(z.std(), (high - low) / 2), MIN_SPREAD / 5) * len(z) ** -0.2
    place = np.linspace(max(z.min() - 3 * width, 0), z.max() + 3 * width, 200)
    kernels = np.exp(-0.5 * ((place[:, None] - z) / width) ** 2)
    return place, kernels.mean(1) / (width * np.sqrt(2 * np.pi))


def _title(ensemble: Ensemble, truth: Galaxy | None) -> str:
    known = [z for z in (np.nan if truth is None else truth.z, ensemble.z) if np.isfinite(z)]
    parts = [ensemble.object_id]
    if known:
        parts.append(f"z = {known[0]:.4f}")
    elif ensemble.redshifts is not None and len(ensemble) > 1:
        low, middle, high = np.nanquantile(ensemble.redshifts, (0.16, 0.5, 0.84))
        parts.append(f"z = {middle:.3f} (68 %: {low:.3f} to {high:.3f})")
    parts += [f"({', '.join(ensemble.flags)})"] if ensemble.flags else []
    return "    ".join(parts)


def _width_inches(axes) -> float:
    return axes.bbox.width / axes.figure.dpi  # of a figure, or of a part of one


def spectrum_limits(
    wave: np.ndarray, shown: list[np.ndarray], upper: np.ndarray | None, points: PhotometryPoints | None
) -> tuple[tuple[float, float], tuple[float, float]]:
    """Horizontal and vertical range of a figure that holds spectra and photometry.

    Parameters
    ----------
    wave : array (L,)
        Wavelengths.
    shown : list of array (L,)
        Spectra.
    upper : array (L,), optional
        The upper edge of a band.
    points : PhotometryPoints, optional
        The photometry.
    """
    low, high = flux_limits(shown)
    if upper is not None:
        high = max(high, np.nanquantile(upper, 0.98))
    start, end = wave[0], wave[-1]
    if points is not None:
        margin = 0.05 * (high - low)
        high = max(high, (points.flux + points.error).max() + margin)
        low = min(low, max(points.flux.min() - margin, low - (high - low) / 3))
        start = min(start, (points.wave - points.half_width).min() - 40)
        end = max(end, (points.wave + points.half_width).max() + 40)
    return (float(start), float(end)), (float(low), float(high))


def _draw_points(axes, points: PhotometryPoints) -> None:
    axes.errorbar(
        points.wave, points.flux, points.error, points.half_width, fmt="o", ms=5.5, mfc=YELLOW, mec="black",
        mew=0.9, ecolor="0.25", elinewidth=0.7, capsize=0, zorder=5, label=points.label,
    )  # fmt: skip


def _draw_rest_axis(axes, z: float) -> None:
    rest = axes.secondary_xaxis("top", functions=(lambda x: x / (1 + z), lambda x: x * (1 + z)))
    rest.set_xlabel(f"rest-frame wavelength at z = {z:.3f} [Å]", fontsize=7.5)
    rest.tick_params(labelsize=7)


def _draw_redshifts(
    axes, ensemble: Ensemble, truth: Galaxy | None, shown: list[np.ndarray], points: PhotometryPoints | None
) -> None:
    """Draw the density of the candidates' redshifts into the corner with the most room."""
    density = redshift_density(ensemble.redshifts)
    if density is None or ensemble.redshifts is None:
        return
    place, p = density
    width = min(max(1.7 / _width_inches(axes), 0.2), 0.42)
    corner, top = place_inset(ensemble.grid.wave, shown, axes.get_xlim(), axes.get_ylim(), width, points)
    axes.set_ylim(top=top)
    inset = axes.inset_axes([*corner, width, INSET_HEIGHT], zorder=6)
    inset.set_in_layout(False)  # it lies inside
    inset.fill_between(place, p, color=QUANTILE_BANDS[1][3], lw=0)
    inset.plot(place, p, color=BLUE, lw=0.9)
    z = ensemble.redshifts
    inset.plot(z, np.full(len(z), -0.06 * p.max()), "|", color=BLUE, ms=4, mew=0.5)  # each candidate
    inset.axvline(z[ensemble.typical], color=BLUE, lw=0.9, ls="--")
    known = [x for x in (np.nan if truth is None else truth.z, ensemble.z) if np.isfinite(x)]
    if known:
        inset.axvline(known[0], color="black", lw=0.9)
    inset.set_ylim(-0.14 * p.max(), 1.12 * p.max())
    inset.set_yticks([])
    inset.patch.set_alpha(0.85)
    inset.tick_params(labelsize=6.5, pad=1.5, length=2)
    inset.locator_params(axis="x", nbins=4)
    inset.spines[["top", "right", "left"]].set_visible(False)
    right = place[p.argmax()] < place.mean()
    side = {"x": 0.97, "ha": "right"} if right else {"x": 0.03, "ha": "left"}
    inset.text(y=0.95, s="p(z)", transform=inset.transAxes, fontsize=7.5, va="top", **side)


def place_inset(
    wave: np.ndarray,
    shown: list[np.ndarray],
    horizontal: tuple[float, float],
    vertical: tuple[float, float],
    width: float,
    points: PhotometryPoints | None = None,
) -> tuple[tuple[float, float], float]:
    """Choose the corner for an inset where the data leave most room.

    Parameters
    ----------
    wave, shown
        Wavelengths (L,) and spectra (L,).
    horizontal, vertical : (float, float)
        Limits of the axes.
    width : float
        Of the inset, as a share of the axes; its height is `INSET_HEIGHT`.
    points : PhotometryPoints, optional
        The photometry.

    Returns
    -------
    (float, float)
        Left and bottom of the inset, in shares of the axes.
    float
        Upper limit of the axes: raised a little where no corner has room and that gives it.
    """
    low, high = vertical
    upper, lower = 1 - LABEL_ROOM - INSET_HEIGHT, 0.12  # with the numbers below the inset
    rooms, raised = {(0.97 - width, lower): -np.inf}, {}
    for left in (0.02, 0.97 - width):
        start, end = (
            horizontal[0] + share * (horizontal[1] - horizontal[0]) for share in (left, left + width)
        )
        heights = (_values_between(start, end, wave, shown, points) - low) / (high - low)
        if len(heights):
            rooms[left, upper] = upper - heights.max() - MARGIN
            rooms[left, lower] = heights.min() - lower - INSET_HEIGHT
            raised[left, upper] = heights.max() / (upper - MARGIN)
    corner = max(rooms, key=lambda place: rooms[place])
    if rooms[corner] < 0 and raised and min(raised.values()) < MAX_RAISE:
        corner = min(raised, key=lambda place: raised[place])
        return corner, low + raised[corner] * (high - low)
    return corner, high


def _values_between(start: float, end: float, wave, shown, points: PhotometryPoints | None) -> np.ndarray:
    """Fluxes of spectra, and of photometry with its errors, between two wavelengths."""
    inside = (wave > start) & (wave < end)
    values = [flux[inside] for flux in shown]
    if points is not None:
        inside = (points.wave + points.half_width > start) & (points.wave - points.half_width < end)
        values += [(points.flux + side * points.error)[inside] for side in (-1, 1)]
    together = np.concatenate(values)
    return together[np.isfinite(together)]


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
    """Name the lines of a galaxy at redshift `z` below the top of the axes, moved apart where they overlap.

    Narrow axes have the names of emission lines alone.
    """
    if not np.isfinite(z):
        return
    start, end = axes.get_xlim()
    lines = [(name, wave * (1 + z), emits) for name, wave, emits in LINE_LABELS]
    lines = [line for line in lines if start < line[1] < end]
    character = (end - start) / (CHARACTERS_PER_INCH * _width_inches(axes))
    for keep in (lines, [line for line in lines if line[2]]):
        widths = [character * (len(name) + 1.2) for name, _, _ in keep]
        lines = keep
        if sum(widths) < end - start:
            break
    places = spread([x for _, x, _ in lines], widths)
    if len(places):
        places = places + max(start + widths[0] / 2 - places[0], 0)
        places = places - max(places[-1] + widths[-1] / 2 - end, 0)
    for (name, x, emits), place in zip(lines, places):
        colour = LINE_COLOURS[emits]
        axes.axvline(x, ymax=0.9, color=colour, lw=0.5, ls=(0, (1, 2)), zorder=0.5)
        named = axes.annotate(
            name,
            xy=(x, 0.9),
            xytext=(place, 0.985),
            xycoords=axes.get_xaxis_transform(),
            textcoords=axes.get_xaxis_transform(),
            ha="center",
            va="top",
            fontsize=7,
            color=colour,
            bbox={"facecolor": "white", "alpha": 0.8, "lw": 0, "pad": 0.3},
            arrowprops=POINTER | {"color": colour},
        )
        named.set_in_layout(False)  # it lies inside
