"""The paper's Figure 2: spectra that each method generates for a few galaxies, on the scale of its MSE."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from pix2spec.data.dataset import Dataset
from pix2spec.data.schema import Galaxy
from pix2spec.errors import InputError
from pix2spec.evaluation.metrics import pixels as metrics
from pix2spec.evaluation.metrics import scoring
from pix2spec.models.storage import load_model
from pix2spec.paper.rows import sampling
from pix2spec.paper.work import has_spectra
from pix2spec.products.ensemble import Ensemble
from pix2spec.products.plot import draw_image
from pix2spec.products.spectrum_panel import BLUE, LINE_LABELS
from pix2spec.runtime.provenance import run_provenance
from pix2spec.runtime.resumable import RUN_FILE

__all__ = ["choose_galaxies", "figure2"]

GOLDEN = 0.6180339887498949
NAMED = {"[O II]": "[O II]", "Hβ": "Hβ", "[O III]": "[O III]", "Hα+[N II]": "Hα"}
TITLES = ("(a) image", "(b) observed", "(c) best of 25", "(d) mean of best 5 of 25", "(e) Wu & Peek")
OBSERVED = "0.62"


def figure2(folder: str | Path, objects: int = 5, row: str | None = None, seed: int = 0) -> list[Path]:
    """Draw Figure 2 from the runs of `table1` in `folder`.

    Parameters
    ----------
    folder : path
        Folder with ``run.json`` and ``runs``. The figure goes there too.
    objects : int
        Number of galaxies, spread over colour and redshift.
    row : {"concat", "xattn"}, optional
        Diffusion model of columns (c) and (d). The default is xattn if its run is finished.
    seed : int
        Seed of the runs.

    Returns
    -------
    list of Path
        ``figure2.png`` and ``figure2.pdf``.

    Raises
    ------
    InputError
        If `folder` holds no comparison, or if a run that the figure needs is not finished.
    """
    folder = Path(folder)
    plan = _plan(folder)
    runs = {
        name: folder / "runs" / f"{name}-seed{seed}" for name in ("xattn", "concat", "contrastive", "wu-peek")
    }
    finished = [name for name, run in runs.items() if (run / "model.safetensors").exists()]
    row = row or next((name for name in ("xattn", "concat") if name in finished), "xattn")
    missing = [name for name in (row, "contrastive", "wu-peek") if name not in finished]
    if missing:
        rows = ",".join((row, "contrastive", "wu-peek"))
        raise InputError(
            folder, f"no finished run of {missing[0]} with seed {seed}", f"run table1 with the rows {rows}"
        )
    dataset = Dataset(plan["test"], plan["split"])
    galaxies = [dataset[i] for i in choose_galaxies(dataset, objects)]
    kind: Any = dataset.info.image_kind
    columns = _spectra(runs, row, galaxies, kind, plan["scale"], seed)
    figure = _draw(galaxies, kind, dataset.info.grid, columns)
    paths = [folder / "figure2.png", folder / "figure2.pdf"]
    about = {"Title": "Figure 2 of arXiv:2211.05556, made anew"}
    text = json.dumps({**run_provenance(), "row": row, "seed": seed, "test": plan["test"]})
    figure.savefig(paths[0], dpi=200, metadata={**about, "Comment": text})
    figure.savefig(paths[1], metadata={**about, "Subject": text})
    return paths


def _plan(folder: Path) -> dict:
    try:
        return json.loads((folder / RUN_FILE).read_text())["run"]
    except FileNotFoundError:
        raise InputError(folder, "no comparison there", "make one with `pix2spec reproduce table1`") from None


def choose_galaxies(dataset: Dataset, objects: int) -> list[int]:
    """Choose galaxies that are spread over colour and redshift, regardless of the scores of their spectra.

    Their ranks in g - r increase in even steps. Their ranks in redshift follow multiples of the golden ratio,
    which scatter evenly.

    Returns
    -------
    list of int
        Positions in `dataset`.
    """
    index = np.intersect1d(has_spectra(dataset), dataset.having("image"))
    batch = dataset.batch(index, ["z", "flux"])
    colour, z = _colours(dataset, index), np.nan_to_num(batch["z"])
    wanted = min(objects, len(index))
    position = np.argsort(np.argsort(colour)) / len(index), np.argsort(np.argsort(z)) / len(index)
    chosen: list[int] = []
    for k in range(wanted):
        target = (k + 0.5) / wanted, (0.5 + k * GOLDEN) % 1
        distance = np.hypot(position[0] - target[0], position[1] - target[1])
        distance[chosen] = np.inf
        chosen.append(int(distance.argmin()))
    return [int(index[i]) for i in chosen]


def _colours(dataset: Dataset, index: np.ndarray) -> np.ndarray:
    """Colour (N,) of the centre of images: first minus second band, g - r for g, r, i images."""
    found = []
    for start in range(0, len(index), 256):
        image = np.nan_to_num(dataset.batch(index[start : start + 256], ["image"])["image"])
        middle = slice(image.shape[-1] * 3 // 8, image.shape[-1] * 5 // 8)
        light = np.maximum(image[..., middle, middle].sum((-1, -2)), 1e-3)
        found.append(2.5 * np.log10(light[:, min(1, light.shape[1] - 1)] / light[:, 0]))
    return np.concatenate(found)


def _spectra(runs, row, galaxies, kind, scale, seed) -> list[list[np.ndarray]]:
    """For each galaxy, the spectra of columns (b) to (e), scaled to [-1, 1]."""
    from pix2spec.generate.load import load
    from pix2spec.models.generator import Settings

    preset = load_model(runs[row])[0].preset
    diffusion = load(runs[row], runs["contrastive"])
    ensembles = list(diffusion.run(galaxies, kind, Settings(**sampling(preset, scale, seed))))
    points = list(load(runs["wu-peek"]).run(galaxies, kind, Settings(n=1)))
    columns = []
    for galaxy, ensemble, point in zip(galaxies, ensembles, points):
        for result in (ensemble, point):
            if isinstance(result, tuple):
                raise InputError(galaxy.object_id, result[1])
        chosen = scoring.selections(len(ensemble), ensemble.scores)
        scaled, guess = (_scaled(result, galaxy.ivar) for result in (ensemble, point))
        columns.append(
            [
                metrics.to_minmax(galaxy.flux, galaxy.ivar),
                scaled[chosen["best"]].mean(0),
                scaled[chosen["mean_best_5"]].mean(0),
                guess[0],
            ]
        )
    return columns


def _scaled(ensemble: Ensemble, ivar: np.ndarray) -> np.ndarray:
    """Candidates (n, L) on the scale [-1, 1]: the model's own scale if it has this scale."""
    if ensemble.minmax is None:
        return metrics.to_minmax(ensemble.candidates, ivar)
    return np.where(ivar > 0, ensemble.minmax, np.nan)


def _draw(galaxies: list[Galaxy], kind: str, grid, columns: list[list[np.ndarray]]):
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    figure = Figure(figsize=(13, 1.62 * len(galaxies) + 0.75), layout="constrained", dpi=150)
    figure.get_layout_engine().set(w_pad=0.03, h_pad=0.025, wspace=0.01, hspace=0.01)
    axes = figure.subplots(len(galaxies), 5, width_ratios=(0.62, 1, 1, 1, 1), squeeze=False)
    for k, title in enumerate(TITLES):
        axes[0, k].set_title(title, fontsize=10, pad=14)
    for number, (line, galaxy, spectra) in enumerate(zip(axes, galaxies, columns)):
        draw_image(line[0], Picture(np.asarray(galaxy.image), kind))
        line[0].set_ylabel(f"z = {galaxy.z:.3f}" if np.isfinite(galaxy.z) else "", fontsize=9)
        for k, (panel, spectrum) in enumerate(zip(line[1:], spectra)):
            _draw_panel(panel, grid.wave, spectra[0], spectrum if k else None, galaxy.z)
            panel.tick_params(labelleft=k == 0, labelbottom=number == len(galaxies) - 1, labelsize=8)
    for panel in axes[-1, 1:]:
        panel.set_xlabel("observed wavelength [Å]", fontsize=9)
    axes[len(galaxies) // 2, 1].set_ylabel("flux, scaled to [−1, 1]", fontsize=9)
    handles = [Line2D([], [], color=OBSERVED, lw=1.5), Line2D([], [], color=BLUE, lw=1.5)]
    style = {"loc": "outside lower left", "ncols": 2, "frameon": False, "fontsize": 9}
    figure.legend(handles, ["observed, behind", "generated"], **style)
    return figure


class Picture:
    """The attributes of an `Ensemble` that `pix2spec.products.plot.draw_image` needs."""

    def __init__(self, image: np.ndarray, image_kind: str):
        self.image, self.image_kind = image, image_kind


def _draw_panel(axes, wave, observed, generated, z: float) -> None:
    """Draw the observed spectrum, and over it a generated one with its MSE, if given."""
    axes.plot(wave, observed, color=OBSERVED if generated is not None else "0.2", lw=0.5)
    if generated is not None:
        axes.plot(wave, generated, color=BLUE, lw=0.6)
        error = np.nanmean((generated - observed) ** 2)
        style = {"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 1.5}
        axes.text(
            0.985,
            0.955,
            f"MSE {error:.3f}",
            transform=axes.transAxes,
            ha="right",
            va="top",
            fontsize=8,
            bbox=style,
        )
    axes.set(xlim=(wave[0], wave[-1]), ylim=(-1.06, 1.06))
    axes.set_xticks([4000, 5000, 6000, 7000, 8000])
    axes.set_yticks([-1, 0, 1])
    if not np.isfinite(z):
        return
    for name, rest, _ in LINE_LABELS:
        x = rest * (1 + z)
        if name in NAMED and wave[0] < x < wave[-1]:
            axes.axvline(x, color="#a8480f", lw=0.5, ls=(0, (1, 2)), zorder=0.5)
            if generated is None and name != "[O III]":  # its label would overlap that of Hβ
                where = axes.get_xaxis_transform()
                axes.text(
                    x,
                    1.01,
                    NAMED[name],
                    transform=where,
                    ha="center",
                    va="bottom",
                    fontsize=6.5,
                    color="#a8480f",
                )
