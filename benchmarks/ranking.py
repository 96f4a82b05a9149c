"""Test rankings on simulated galaxies: purity, completeness, and calibration of the probabilities.

    python benchmarks/ranking.py SIMULATED CATALOGUE [--figure docs/images/ranking.png]

SIMULATED is a dataset of `pix2spec data simulate`, and CATALOGUE the output of `pix2spec generate
SIMULATED`. The truth of a statement is measured on the observed spectrum of the galaxy at its true
redshift, in the same way as on its candidates; for a catalogue of noise-free spectra, on the noise-free
spectrum.
"""

import argparse
from itertools import pairwise
from pathlib import Path

import numpy as np

from pix2spec.core.lines import LINES as SIMULATED_LINES
from pix2spec.core.photometry import aperture_weights
from pix2spec.data.dataset import Dataset
from pix2spec.measure.quantities import measure_at
from pix2spec.products.catalogue import open_catalogue
from pix2spec.ranking.exposure import GROWTH, INSTRUMENTS, REST, line_sn
from pix2spec.ranking.expression import columns_of, evaluate, parse
from pix2spec.ranking.measure import Quantities, measure_catalogue, names_of
from pix2spec.ranking.scores import probability, redshift_information
from pix2spec.runtime.progress import progress_bar

STATEMENTS = (
    "ew(Halpha) > 50",
    "z > 0.2 and dn4000 < 1.3",
    'bpt == "AGN"',
    "flux(OIII5007) / flux(Hbeta) > 3",
    "dn4000 < 1.5",
)
BINS = np.array([0, 0.02, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0001])
CHUNK = 64


def truths(data: Dataset, rows: np.ndarray, noise_free: bool) -> dict[str, np.ndarray]:
    """Quantities of the galaxies themselves."""
    parts = []
    columns = ["z", "true_flux"] if noise_free else ["z", "flux", "ivar"]
    for start in progress_bar(range(0, len(rows), CHUNK), "measuring the truth"):
        batch = data.batch(rows[start : start + CHUNK], columns)
        flux = batch["true_flux"] if noise_free else batch["flux"]
        ivar = None if noise_free else batch["ivar"]
        with np.errstate(divide="ignore", invalid="ignore"):
            found = measure_at(flux, ivar, batch["z"], data.info.grid, data.info.survey)
        values = found.values | {f"{name}_error": e for name, e in found.errors.items()}
        parts.append(values | {"bpt": found.bpt})
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def purity(order: np.ndarray, truth: np.ndarray) -> np.ndarray:
    return np.cumsum(truth[order]) / np.arange(1, len(order) + 1)


def by_colour(colour: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Order by g - r, in the direction that is better: more than an observer would know."""
    orders = [np.argsort(sign * np.nan_to_num(colour, nan=9), kind="stable") for sign in (1, -1)]
    return max(orders, key=lambda order: purity(order, truth).mean())


def with_error(share: float, n: int) -> str:
    return f"{100 * share:5.1f} ± {100 * np.sqrt(max(share * (1 - share), 0.25 / n) / n):4.1f}"


def report(statement: str, stated: np.ndarray, truth: np.ndarray, colour: np.ndarray) -> dict:
    """Print the lists of one statement, and return its curves."""
    order = np.argsort(-stated, kind="stable")
    n_true = int(truth.sum())
    print(f"\n{statement}: true for {n_true} of {len(truth)} galaxies ({100 * truth.mean():.1f} %)")
    if not n_true:
        return {}
    colours = by_colour(colour, truth)
    print("| top | purity, ranked [%] | g - r | at random | completeness, ranked [%] | g - r | at random |")
    print("|---|---|---|---|---|---|---|")
    for k in sorted({25, 50, 100, n_true}):
        found, cut = truth[order[:k]].sum(), truth[colours[:k]].sum()
        cells = [with_error(found / k, k), with_error(cut / k, k), f"{100 * truth.mean():.1f}"]
        cells += [with_error(found / n_true, n_true), with_error(cut / n_true, n_true)]
        cells.append(f"{100 * k / len(truth):.1f}")
        print(f"| {k} | {' | '.join(cells)} |")
    return {"ranked": truth[order], "colour": truth[colours], "n_true": n_true}


def calibration(stated: np.ndarray, truth: np.ndarray, n: float) -> list[tuple]:
    """Print stated and found shares by bin of probability."""
    print("| stated probability | galaxies | mean stated [%] | true [%] |")
    print("|---|---|---|---|")
    rows = []
    for low, high in pairwise(BINS):
        inside = (stated >= low) & (stated < high)
        if count := int(inside.sum()):
            share, error = probability(truth[inside].sum(), count)
            rows.append((stated[inside].mean(), share, error))
            found = f"{100 * share:.1f} ± {100 * error:.1f}"
            print(
                f"| {low:.2f} to {min(high, 1):.2f} | {count} | {100 * stated[inside].mean():.1f} | {found} |"
            )
    brier, chance = ((stated - truth) ** 2).mean(), truth.mean() * (1 - truth.mean())
    # Shares of n candidates scatter about the probability by p (1 - p) / n: that much is Monte Carlo's.
    sampling = (stated * (1 - stated)).mean() / max(n - 1, 1)
    print(f"Brier score {brier:.4f} (base rate {chance:.4f}; {sampling:.4f} of it from {n:.0f} candidates)")
    return rows


def check_against_simulator(data: Dataset, rows: np.ndarray, found: dict) -> None:
    """How what is measured compares with what went into the simulation."""
    batch = data.batch(rows, ["z", "true_dn4000", "true_line_flux"])
    halpha = batch["true_line_flux"][:, list(SIMULATED_LINES).index("H_alpha")]
    strong = (found["ew_halpha"] > 50) & np.isfinite(found["flux_halpha"])
    ratio = np.median(found["flux_halpha"][strong] / halpha[strong])
    difference = np.nanmedian(found["dn4000"] - batch["true_dn4000"])
    print(
        f"measured over simulated F(Halpha) where EW > 50 A: {ratio:.3f}, median of {strong.sum()} galaxies"
    )
    print(f"measured less simulated Dn4000: median {difference:+.3f}")


def check_instrument(data: Dataset, rows: np.ndarray) -> None:
    """Expected S/N of Halpha by SDSS in 45 minutes against that of the spectra, and growth of light."""
    found = truths(data, rows, noise_free=False)
    z, flux = found["z"], found["flux_halpha"]
    continuum = flux / found["ew_halpha"] / (1 + z)
    fibre = data.info.survey.fibre_diameter
    expected = line_sn(INSTRUMENTS["sdss"], flux, continuum, REST["halpha"] * (1 + z), 0.75, fibre)
    measured = flux / found["flux_halpha_error"]
    clear = measured > 5
    ratio = np.log10(expected[clear] / measured[clear])
    middle, low, high = 10 ** np.percentile(ratio, [50, 16, 84])
    print(f"\nHalpha by sdss in 0.75 h, expected S/N over measured, {clear.sum()} galaxies with S/N > 5: ")
    print(f"median {middle:.2f}, 68 % between {low:.2f} and {high:.2f}")
    survey = data.info.survey
    image = data.batch(rows, ["image"])["image"][:, survey.image_bands.index("r")]
    shape, scale = image.shape[1:], survey.pixel_scale
    light = {d: (image * aperture_weights(shape, scale, d)).sum((1, 2)) for d in (1.5, 2, 3)}
    for d in (1.5, 2):
        share = np.median(light[d] / light[3])
        print(f'r light within {d}" over that within 3": {share:.2f}; the model has {(d / 3) ** GROWTH:.2f}')


def check_information(quantities: Quantities, z: np.ndarray) -> None:
    """Are redshifts that promise more bits further from what the candidates say?"""
    rng = quantities.split(quantities.columns(["z"])["z"].astype(float))
    bits = np.array([redshift_information(own) for own in rng])
    error = np.array([np.median(own) for own in rng]) - z
    print("\n| information_z [bits] | galaxies | typical error of the median redshift |")
    print("|---|---|---|")
    edges = np.quantile(bits, np.linspace(0, 1, 5))
    for low, high in pairwise(edges):
        inside = (bits >= low) & (bits <= high)
        print(
            f"| {low:.1f} to {high:.1f} | {inside.sum()} | {1.4826 * np.median(np.abs(error[inside])):.4f} |"
        )


def draw(curves: dict, rows: dict, path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 5.4), layout="constrained")
    axes = figure.subplots(2, len(curves), squeeze=False)
    for (top, bottom), (statement, curve) in zip(axes.T, curves.items()):
        n, base = len(curve["ranked"]), curve["n_true"] / len(curve["ranked"])
        k = np.arange(1, n + 1)
        for name, colour, label in (("ranked", "#14508c", "ranked"), ("colour", "#a8480f", "g − r cut")):
            found = np.cumsum(curve[name])
            top.plot(100 * found / curve["n_true"], 100 * found / k, color=colour, lw=1.3, label=label)
        top.axhline(100 * base, color="0.5", lw=0.8, ls="--", label="at random")
        top.set(xlim=(0, 100), ylim=(0, 104), xlabel="completeness [%]", ylabel="purity [%]")
        top.set_title(statement, fontsize=9)
        stated, share, error = 100 * np.array(rows[statement]).T
        bottom.plot([0, 100], [0, 100], color="0.5", lw=0.8)
        bottom.errorbar(stated, share, error, fmt="o", color="#14508c", ms=4, lw=1)
        bottom.set(xlim=(-3, 103), ylim=(-3, 103), xlabel="stated probability [%]", ylabel="true [%]")
    axes[0, 0].legend(frameon=False, fontsize=8)
    for panel in axes.ravel():
        panel.tick_params(labelsize=8)
        panel.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=150)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("simulated", type=Path)
    parser.add_argument("catalogue", type=Path)
    parser.add_argument("--figure", type=Path)
    parser.add_argument("--workers", type=int)
    options = parser.parse_args()
    catalogue, data = open_catalogue(options.catalogue), Dataset(options.simulated)
    noise_free = catalogue.provenance.get("noise") == "none"
    quantities = measure_catalogue(catalogue, options.workers)
    place = {name: i for i, name in enumerate(data.batch(slice(None), ["object_id"])["object_id"])}
    rows = np.array([place[name] for name in quantities.ids])
    found = truths(data, rows, noise_free)
    photometry = data.batch(rows, ["photometry"])["photometry"]
    with np.errstate(all="ignore"):
        colour = -2.5 * np.log10(photometry[:, 1] / photometry[:, 2])
    kind = "noise-free" if noise_free else "observed"
    print(f"{len(rows)} galaxies, {quantities.counts[0]} candidates each; statements about {kind} spectra")
    check_against_simulator(data, rows, found)
    curves, shares = {}, {}
    measured, _ = names_of(catalogue)
    for statement in STATEMENTS:
        tree = parse(statement, measured)
        truth = evaluate(tree, found) == 1
        values = evaluate(tree, quantities.columns(columns_of(tree))) == 1
        stated, _ = probability(quantities.total(values), quantities.counts)
        curve = report(statement, stated, truth, colour)
        if curve:
            curves[statement], shares[statement] = curve, calibration(stated, truth, quantities.counts.mean())
    check_information(quantities, data.batch(rows, ["z"])["z"])
    check_instrument(data, rows)
    if options.figure:
        draw(curves, shares, options.figure)


if __name__ == "__main__":
    main()
