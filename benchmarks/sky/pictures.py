"""What pictures add: spectra with and without them, of real and of simulated galaxies; which pixels count."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from pix2spec import Galaxy
from pix2spec.core.photometry import magnitude
from pix2spec.core.scaling import fill_missing
from pix2spec.core.stretches import STRETCHES
from pix2spec.core.survey import SDSS
from pix2spec.models.generator import Settings
from pix2spec.models.shape.view import shape_view
from pix2spec.training.real_sky import RealTable, real_spectra
from sky.ensembles import (
    Truth,
    measured_quantities,
    pixel_scores,
    redshift_scores_of,
)

N, K, BATCH = 64, 25, 32
SOFT = 2.0  # Angstrom, of asinh widths
MEASURES = {
    "crps_median": "CRPS", "pixels_68": "pixels in 68 %", "redshift_68": "z in 68 %", "z_crps": "CRPS(z)",
    "halpha_crps": "CRPS(Ha)", "halpha_68": "Ha in 68 %",
}  # fmt: skip
PATCH = 8  # pixels that are covered together


def scores_of(candidates, clean, redshifts, truth: Truth, i: int, width: float, grid) -> dict:
    """Scores of the candidates of galaxy i, whose observed width of H alpha is `width`."""
    values = pixel_scores(candidates, truth.flux[i], truth.ivar[i])
    values |= redshift_scores_of(redshifts, float(truth.z[i]))
    widths = measured_quantities(clean, redshifts, grid)["ew_halpha"]
    return values | scores_of_widths(widths, width)


def scores_of_widths(widths: np.ndarray, width: float) -> dict:
    """CRPS of asinh(W / 2 A), whether the true width is inside 68 %, and the median minus the truth."""
    drawn, true = np.arcsinh(widths[np.isfinite(widths)] / SOFT), np.arcsinh(width / SOFT)
    if not len(drawn) or not np.isfinite(true):
        return dict.fromkeys(("halpha_crps", "halpha_68", "halpha_error"), np.nan)
    low, middle, high = np.quantile(drawn, (0.16, 0.5, 0.84))
    crps = np.abs(drawn - true).mean() - np.abs(drawn[:, None] - drawn).mean() / 2
    return {"halpha_crps": crps, "halpha_68": float(low < true < high), "halpha_error": middle - true}


def generated(generators: Sequence, galaxies: list[Galaxy], kind: str, truth: Truth, widths, **settings):
    """Scores (N,) by name; each galaxy has its own generator, or all have one."""
    found: list[dict] = [{} for _ in galaxies]
    for own in {id(g): g for g in generators}.values():
        rows = [i for i, g in enumerate(generators) if g is own]
        for start in range(0, len(rows), BATCH):
            part = rows[start : start + BATCH]
            made = own.generate_batch([galaxies[i] for i in part], kind, Settings(n=N, **settings))
            for i, e in zip(part, made):
                found[i] = scores_of(
                    e.candidates, e.noise_free, e.redshifts, truth, i, float(widths[i]), own.grid
                )
    return columns(found)


def columns(rows: list[dict]) -> dict[str, np.ndarray]:
    """Arrays (N,) of the values of galaxies."""
    return {name: np.array([row[name] for row in rows]) for name in rows[0] if name != "ranks"}


def neighbours(table: RealTable, truth: Truth, widths: np.ndarray, rows: np.ndarray) -> dict:
    """Scores (N,) of the K real galaxies of other folds that are most like galaxies `rows` in g, r, i.

    Colours and a tenth of the magnitude count.
    """
    m = magnitude(table.flux[:, 1:4])
    place, found = np.c_[-np.diff(m, axis=1), 0.1 * m[:, 1]], []
    for row in rows:
        others = np.flatnonzero(table.fold != table.fold[row])
        near = others[np.argsort(np.linalg.norm(place[others] - place[row], axis=1))[:K]]
        members = fill_missing(truth.flux[near], truth.ivar[near])
        values = pixel_scores(members, truth.flux[row], truth.ivar[row])
        values |= redshift_scores_of(truth.z[near], float(truth.z[row]))
        found.append(values | scores_of_widths(widths[near], float(widths[row])))
    return columns(found)


def show(name: str, scores: dict, reference: dict | None = None) -> None:
    """Print a row, and how its CRPS differ from those of another row on the same galaxies."""
    bias, count = np.median(scores["dz"]), len(scores["dz"])
    scatter = 1.4826 * np.median(np.abs(scores["dz"] - bias))
    text = f"n {count}  " + "  ".join(f"{label} {mean(scores[key]):.4g}" for key, label in MEASURES.items())
    print(f"  {name:34s} {text}  z bias {bias:+.4f}  sigma_NMAD {scatter:.4f}", flush=True)
    for key in ("crps_median", "z_crps", "halpha_crps") if reference else ():
        change, error = paired(scores[key], reference[key])
        print(f"  {'':34s}   {MEASURES[key]} {100 * change:+.1f} ± {100 * error:.1f} %")


def mean(values: np.ndarray) -> float:
    """Mean of what is known; shares in percent."""
    known = values[np.isfinite(values)]
    return float(known.mean())


def paired(values: np.ndarray, reference: np.ndarray) -> tuple[float, float]:
    """Mean change relative to the mean of the reference, and its bootstrap error."""
    known = np.isfinite(values) & np.isfinite(reference)
    change, base = values[known] - reference[known], reference[known].mean()
    rng = np.random.default_rng(0)
    drawn = [change[rng.integers(0, len(change), len(change))].mean() for _ in range(1000)]
    return float(change.mean() / base), float(np.std(drawn) / base)


# --------------------------------------------------------------------------------------------- real


def of_real(data: Path, table: RealTable, pictures: np.ndarray, row: np.ndarray, generator) -> None:
    """Print scores of real galaxies with colour pictures (N, 3, y, x), rows `row` (N,) of the archive."""
    real, place = real_spectra(data), {int(r): i for i, r in enumerate(table.row)}
    every = Truth(real.flux, real.ivar, real.z)
    rows = np.array([place[int(r)] for r in row])
    widths = measured_quantities(real.flux, real.z, generator.grid, real.ivar)["ew_halpha"]
    truth, folds = every.rows(rows), {k: generator.without(k) for k in range(4)}
    own = [folds[int(k)] for k in table.fold[rows]]

    def galaxies(bands: slice | None, error: float, pictured: bool) -> list[Galaxy]:
        made = []
        for i, picture in zip(rows, pictures):
            given: dict = {"image": picture} if pictured else {}
            if bands is not None:
                flux = table.flux[i, bands]
                given |= {"photometry": flux, "photometry_ivar": 1 / (error * flux) ** 2}
                given |= {"filters": table.names[bands]}
            made.append(Galaxy(f"pair {table.row[i]}", kind="fibre", **given))
        return made

    def scored(bands, error, pictured, **settings):
        kind = "composite" if pictured else "linear"
        return generated(own, galaxies(bands, error, pictured), kind, truth, widths[rows], **settings)

    gri, ugriz = slice(1, 4), slice(0, 5)
    reference = neighbours(table, every, widths, rows)
    show("25 neighbours in true g, r, i", reference)
    show("true g, r, i with errors of 5 %", scored(gri, 0.05, False, use=("photometry",)), reference)
    alone = scored(None, 0, True, use=("image",))
    show("picture alone, its fluxes", alone, reference)
    show("picture alone, and its shape", scored(None, 0, True, use=("image",), shape=True), alone)
    fluxes = scored(ugriz, 0.03, False, use=("photometry",))
    show("ugriz", fluxes)
    show("ugriz and the picture", scored(ugriz, 0.03, True), fluxes)
    show("ugriz, the picture, and its shape", scored(ugriz, 0.03, True, shape=True), fluxes)
    for name, bands, before in (("picture", None, reference), ("ugriz and the picture", ugriz, fluxes)):
        linear = [
            replace(g, image=STRETCHES["sdss"].linear(g.image)) for g in galaxies(bands, 0.03, pictured=True)
        ]
        use = ("image", "photometry")[: 1 if bands is None else 2]
        show(
            f"{name} as a linear one", generated(own, linear, "linear", truth, widths[rows], use=use), before
        )


# ---------------------------------------------------------------------------------------- simulated


def of_simulated(galaxies: list[Galaxy], clean: np.ndarray, generator) -> None:
    """Print scores of simulated galaxies with linear pictures, with and without them, by magnitude and size.

    `clean` (N, L) are their spectra without noise.
    """
    truth = Truth(*(np.array([getattr(g, name) for g in galaxies]) for name in ("flux", "ivar", "z")))
    widths = measured_quantities(clean, truth.z, generator.grid)["ew_halpha"]
    own = [generator] * len(galaxies)
    blind = generated(own, galaxies, "linear", truth, widths, use=("photometry",))
    seeing = generated(own, galaxies, "linear", truth, widths, use=("image", "photometry"))
    r = magnitude(np.array([g.photometry[2] for g in galaxies]))
    images = torch.from_numpy(np.array([g.image for g in galaxies], np.float32))
    size = shape_view(images, torch.full((len(images),), SDSS.pixel_scale)).numbers[:, 0].numpy()
    bins = {
        "all": np.ones(len(r), bool), "brighter half": r <= np.median(r), "fainter half": r > np.median(r),
        "smaller half": size <= np.median(size), "larger half": size > np.median(size),
    }  # fmt: skip
    for name, chosen in bins.items():
        few, many = ({k: v[chosen] for k, v in scores.items()} for scores in (blind, seeing))
        show(f"{name}: ugriz", few)
        show(f"{name}: ugriz and the picture", many, few)


# ----------------------------------------------------------------------------------------- saliency


def saliency(pictures: np.ndarray, generator, redshift_of, out: Path) -> None:
    """Draw which pixels of colour pictures (N, 3, y, x) move the redshift and the width of H alpha.

    Patches are covered one by one with what is on the other side of the galaxy (occlusion: Zeiler & Fergus
    2014, arXiv:1311.2901). `redshift_of` gives median redshifts (N,) of pictures; the width moves through the
    galaxy's shape, for candidates that stay the same.
    """
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(3, len(pictures), figsize=(2.1 * len(pictures), 6.4), squeeze=False)
    for column, picture in zip(axes.T, pictures):
        covered = list(_covered(picture))
        z = redshift_of([picture, *covered])
        width = _widths(generator, picture, [picture, *covered])
        side = picture.shape[-1] // PATCH
        for ax, values, label in zip(column[1:], (z, width), ("z", "log width of Ha")):
            change = (values[1:] - values[0]).reshape(side, side)
            most = max(float(np.nanmax(np.abs(change))), 1e-6)
            ax.imshow(picture[1], cmap="gray", origin="lower")
            ax.imshow(np.kron(change, np.ones((PATCH, PATCH))), cmap="RdBu_r", alpha=0.6, vmin=-most,
                      vmax=most, origin="lower")  # fmt: skip
            ax.set_title(f"{label}: up to {most:.2g}", fontsize=8)
        column[0].imshow(picture[::-1].transpose(1, 2, 0) / 255, origin="lower")
        column[0].set_title(f"z = {z[0]:.3f}", fontsize=8)
    for ax in axes.flat:
        ax.axis("off")
    figure.tight_layout()
    figure.savefig(out, dpi=90)
    plt.close(figure)


def _covered(picture: np.ndarray):
    """The picture with one patch after another replaced by its mirror image through the centre."""
    turned = picture[:, ::-1, ::-1]
    for y in range(0, picture.shape[1], PATCH):
        for x in range(0, picture.shape[2], PATCH):
            made = picture.copy()
            made[:, y : y + PATCH, x : x + PATCH] = turned[:, y : y + PATCH, x : x + PATCH]
            yield made


def _widths(generator, picture: np.ndarray, shown: list[np.ndarray]) -> np.ndarray:
    """log10 of the mean width of H alpha of one set of candidates, weighed by the shape in each picture."""
    kept: dict = {}
    draw = generator._drawn

    def keep(*args):
        kept["drawn"] = draw(*args)
        return kept["drawn"]

    generator._drawn = keep
    (made,) = generator.generate_batch(
        [Galaxy("saliency", image=picture, kind="fibre")],
        "composite",
        Settings(n=N, use=("image",)),
    )
    del generator._drawn
    width = measured_quantities(made.noise_free, made.redshifts, generator.grid)["ew_halpha"]
    lines = kept["drawn"].vectors[..., 1 + generator.model.basis.n_components :]
    stretch, nowhere = STRETCHES["sdss"], np.full(1, np.nan)
    found = []
    for other in shown:
        pictured = generator.shapes.of_pictures(stretch.linear(other)[None], nowhere)
        weight = generator.shapes.log_weights(pictured, lines).exp().numpy()[0]
        known = np.isfinite(width)
        found.append(np.log10(max((weight * width)[known].sum() / weight[known].sum(), 0.1)))
    return np.array(found)
