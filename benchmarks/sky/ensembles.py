"""Candidates of real galaxies from the default model, and the scores of their spectra, galaxy by galaxy."""

from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from multiprocessing import get_context

import numpy as np
import torch

from pix2spec import Galaxy
from pix2spec.core.filters import Filter
from pix2spec.core.photometry import filter_matrix
from pix2spec.evaluation.metrics import pixels
from pix2spec.generate.load import load
from pix2spec.measure.emission_lines import fit_lines
from pix2spec.measure.indices import dn4000
from pix2spec.models.generator import Settings
from pix2spec.models.spectrum.draw import LIMIT, Draws, draw_vectors
from pix2spec.models.spectrum.inputs import as_seen
from pix2spec.models.spectrum.redshifts import draw_redshifts
from pix2spec.training.real_sky import RealTable

N = 64  # candidates a galaxy
BATCH, PROCESSES = 32, 2
COLOURS = {"g_r": ("sdss2010-g", "sdss2010-r"), "r_i": ("sdss2010-r", "sdss2010-i")}
LINES = {"ew_halpha": "H_alpha", "ew_hbeta": "H_beta", "ew_oiii": "[O_III] 5007"}
QUANTITIES = (*LINES, "dn4000")
AT_CLAMP = 1e-3  # in normal scores


@dataclass(frozen=True)
class Truth:
    """Observed spectra of N galaxies on the grid of the model."""

    flux: np.ndarray  # (N, L); 0 where missing
    ivar: np.ndarray  # (N, L); 0 where missing
    z: np.ndarray  # (N,)

    def rows(self, which) -> "Truth":
        """Some of the galaxies."""
        return Truth(self.flux[which], self.ivar[which], self.z[which])


@dataclass(frozen=True)
class Task:
    """What is generated for a table, and what is measured."""

    use: tuple[str, ...] = ("photometry",)
    noise: str = "observed"  # "observed": the model's own; "truth": that of the observed spectrum
    clean: bool = False  # measure colours of noise-free candidates
    quantities: bool = False  # measure `QUANTITIES` of noise-free candidates
    n: int = N
    steps: int | None = None  # evaluations of the network; None: the model's own
    sampler: str = "dpm++"


def galaxies_of(table: RealTable) -> list[Galaxy]:
    """The galaxies of a table as a user would give them to the model, with their redshifts."""
    curves = {item.name: item for item in table.filters if isinstance(item, Filter)}
    good = np.isfinite(table.flux) & (table.error > 0)
    flux = np.where(good, table.flux, np.nan)
    ivar = np.where(good, 1 / np.where(good, table.error, 1) ** 2, 0)
    return [
        Galaxy(
            f"{table.source[i]} {table.row[i]}", z=float(table.z[i]), z_err=0.0, photometry=flux[i],
            photometry_ivar=ivar[i], filters=table.names, kind=table.kind, extinction=table.extinction,
            curves=curves,
        )
        for i in range(len(table))
    ]  # fmt: skip


# ------------------------------------------------------------------------------- scores of one galaxy


def pixel_scores(candidates: np.ndarray, flux, ivar) -> dict[str, float | np.ndarray]:
    """Scores of candidates (n, L) of one galaxy, all divided by their medians.

    They are those that `pix2spec.evaluation.metrics.scoring.score_ensemble` gives ensembles in physical
    flux. "ranks" (n + 1,) counts the pixels by the number of candidates below the truth.
    """
    good = ivar * np.isfinite(candidates).all(0) * np.isfinite(flux)
    floor = pixels.noise_floor(ivar)
    members, truth = pixels.to_median(candidates, good, floor), pixels.to_median(flux, good, floor)
    good = np.where(np.isfinite(members).all(0), good, 0)
    below = (members < truth).sum(0)[good > 0]
    return {
        "crps_median": float(pixels.crps_ensemble(members, truth, good)),
        "pixels_68": float(pixels.coverage(members, truth, good, 0.68)),
        "pixels_90": float(pixels.coverage(members, truth, good, 0.9)),
        "ranks": np.bincount(below, minlength=len(candidates) + 1) / max(len(below), 1),
    }


def redshift_scores_of(draws: np.ndarray, z: float) -> dict[str, float]:
    """Error of the median of draws (n,), CRPS, and whether the truth is in the interval of 68 %."""
    column, valid = np.asarray(draws, float)[:, None], np.ones(1)
    return {
        "dz": float((np.median(draws) - z) / (1 + z)),
        "z_crps": float(pixels.crps_ensemble(column, np.array([z]), valid)),
        "redshift_68": float(pixels.coverage(column, np.array([z]), valid, 0.68)),
    }


def measured_quantities(flux: np.ndarray, z: np.ndarray, grid, ivar=None) -> dict[str, np.ndarray]:
    """`QUANTITIES` (M,) of spectra (M, L) at redshifts (M,)."""
    fits = fit_lines(flux, z, grid, ivar, LINES.values())
    found = {name: fits[line].ew for name, line in LINES.items()}
    return found | {"dn4000": dn4000(flux, z, grid, ivar)}


def band_colours(clean: np.ndarray, grid) -> dict[str, np.ndarray]:
    """AB colours (M,) and r fluxes (M,) of noise-free spectra (M, L)."""
    names = list(dict.fromkeys(name for pair in COLOURS.values() for name in pair))
    flux = dict(zip(names, (clean @ filter_matrix(grid.wave, names)).T))
    with np.errstate(divide="ignore", invalid="ignore"):
        colours = {
            name: 2.5 * np.log10(flux[red] / np.where(flux[blue] > 0, flux[blue], np.nan))
            for name, (blue, red) in COLOURS.items()
        }
    return colours | {"r": flux["sdss2010-r"]}


# ------------------------------------------------------------------------------- generation


def judge(generator, galaxies: list[Galaxy], truth: Truth, task: Task) -> list[dict]:
    """Generate candidates of some galaxies, and score those of each."""
    settings = Settings(n=task.n, use=task.use, steps=task.steps, sampler=task.sampler)
    made = generator.generate_batch(galaxies, "linear", settings)
    found = []
    for i, ensemble in enumerate(made):
        flux, ivar, z = truth.flux[i], truth.ivar[i], float(truth.z[i])
        candidates = ensemble.candidates
        if task.noise == "truth":
            candidates = with_noise_of(ensemble.noise_free, flux, ivar, np.random.default_rng(i))
        values = pixel_scores(candidates, flux, ivar) | redshift_scores_of(ensemble.redshifts, z)
        values["flux_68"] = float(pixels.coverage(candidates, flux, ivar, 0.68))
        if task.clean or task.quantities:
            values |= _of_clean(ensemble, generator.grid, task)
        found.append(values)
    return found


def _of_clean(ensemble, grid, task: Task) -> dict:
    """Medians over noise-free candidates, and their r fluxes "r" (n,)."""
    colours = band_colours(ensemble.noise_free, grid)
    values = {name: float(np.nanmedian(colours[name])) for name in COLOURS}
    values["r"] = colours["r"]
    if task.quantities:
        every = measured_quantities(ensemble.noise_free, ensemble.redshifts, grid)
        values |= {name: _median(every[name]) for name in QUANTITIES}
    return values


def _median(values: np.ndarray) -> float:
    return float(np.nanmedian(values)) if np.isfinite(values).any() else np.nan


def with_noise_of(clean: np.ndarray, flux: np.ndarray, ivar: np.ndarray, rng) -> np.ndarray:
    """Noise-free candidates (n, L), scaled to the median of a spectrum (L,), with noise of its errors."""
    good = ivar > 0
    level = np.median(clean[:, good], axis=1, keepdims=True)
    scaled = clean * (np.median(flux[good]) / np.maximum(level, 1e-30))
    sigma = np.where(good, 1 / np.sqrt(np.where(good, ivar, 1)), 0)
    return scaled + sigma * rng.standard_normal(scaled.shape)


@dataclass
class Judge:
    """The default model in worker processes, and which of its networks may answer.

    Parameters
    ----------
    name : str
        Name or folder of the model.
    folds : bool
        Whether networks answer only for galaxies of folds that they never saw.
    processes : int
        0: in this process.
    """

    name: str
    folds: bool = True
    processes: int = PROCESSES

    @cached_property
    def generator(self):
        """The generator with all its networks."""
        return load(self.name)

    @cached_property
    def pool(self) -> ProcessPoolExecutor:
        """Worker processes with the model, one thread each; they start once."""
        context = get_context("spawn")  # a forked process cannot use the threads of torch
        return ProcessPoolExecutor(self.processes, context, _start_worker, (self.name,))

    def close(self) -> None:
        """End the worker processes, if there are any."""
        if "pool" in vars(self):
            self.pool.shutdown()

    def of(self, fold: int):
        """The generator with the networks alone that never saw a fold; -1: with all."""
        return self.generator if fold < 0 else self.generator.without(fold)

    def __call__(self, table: RealTable, truth: Truth, task: Task | None = None) -> dict[str, np.ndarray]:
        """Scores of all galaxies of a table: arrays (N, ...) by name."""
        task, parts = task or Task(), list(self.batches(table))
        work = [(fold, galaxies_of(table.rows(rows)), truth.rows(rows), task) for fold, rows in parts]
        if self.processes:
            found = list(self.pool.map(_judge, work))
        else:
            found = [judge(self.of(fold), *some) for fold, *some in work]
        rows = np.concatenate([rows for _, rows in parts])
        values = [values for some in found for values in some]
        order = np.argsort(rows)
        return {name: np.stack([values[k][name] for k in order]) for name in values[0]}

    def batches(self, table: RealTable) -> Iterator[tuple[int, np.ndarray]]:
        """Rows of the table in batches, each with the fold that must not have been seen; -1: none."""
        known = self.folds & (table.fold >= 0)
        for fold in np.unique(np.where(known, table.fold, -1)):
            rows = np.flatnonzero(np.where(known, table.fold, -1) == fold)
            for start in range(0, len(rows), BATCH):
                yield int(fold), rows[start : start + BATCH]

    def redshifts(self, table: RealTable, n: int, seed: int = 0) -> np.ndarray:
        """Redshifts (N, n) of candidates, without their spectra."""
        drawn, settings = np.empty((len(table), n)), Settings(n=n, seed=seed, use=("photometry",))
        for fold, rows in self.batches(table):
            drawn[rows] = Drawn(self.of(fold), galaxies_of(table.rows(rows)), settings).z
        return drawn

    def at_clamp(self, table: RealTable, n: int = N) -> int:
        """Number of candidates with a coefficient at the limit of what training knew."""
        count, settings = 0, Settings(n=n, use=("photometry",))
        for fold, rows in self.batches(table):
            drawn = Drawn(self.of(fold), galaxies_of(table.rows(rows)), settings)
            for network, vectors, *_ in drawn.vectors():
                scores = network.normal(vectors).abs()
                count += int((scores > LIMIT - AT_CLAMP).any(-1).sum())
        return count


class Drawn:
    """Redshifts and coefficient vectors of galaxies, as `SpectrumGenerator` draws them."""

    @torch.inference_mode()
    def __init__(self, generator, galaxies: list[Galaxy], settings: Settings, more: tuple = ()):
        self.generator, self.galaxies, self.settings = generator, galaxies, settings
        light = [galaxy.measurements(generator.survey) for galaxy in galaxies]
        self.seen = as_seen(
            galaxies, light, "linear", settings.floor, generator.model.pictures, generator.survey
        )
        self.tables = generator.tables((*self.seen.filters, *more))
        if "redshift" in settings.use:
            self.z = np.repeat([[galaxy.z] for galaxy in galaxies], settings.n, 1)
            return
        known = [replace(galaxy, z=np.nan, z_err=np.nan) for galaxy in galaxies]
        self.z = draw_redshifts(
            generator.model, generator.redshifts, generator.stack, self.tables, self.seen, known, light,
            settings, generator.fold,
        ).z  # fmt: skip

    @torch.inference_mode()
    def vectors(self) -> Iterator[tuple]:
        """For each network: it, the vectors (1, N * n, D), what was known of them, and the tables of fluxes.

        All have a first axis for the one network; see `pix2spec.models.shared.stack`.
        """
        generator, zeta = self.generator, torch.from_numpy(np.log10(1 + self.z)).float()
        ids = [galaxy.object_id for galaxy in self.galaxies]
        for place in range(len(generator.members)):
            mine = np.arange(place, self.settings.n, len(generator.members))
            stack, tables = generator.stack.part(place, place + 1), self.tables.part(slice(place, place + 1))
            draws = Draws(self.settings.seed, ids, stack.numbers, mine[None])
            own = zeta[None, :, mine]
            vectors, known, _ = draw_vectors(stack, self.seen, tables, own, self.settings, draws)
            yield stack.network, vectors, known, tables


_worker: dict = {}


def _start_worker(name: str) -> None:
    torch.set_num_threads(1)
    _worker["judge"] = Judge(name, processes=0)


def _judge(work) -> list[dict]:
    fold, *some = work
    return judge(_worker["judge"].of(fold), *some)
