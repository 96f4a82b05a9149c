"""Train the redshift model from nothing on a folder of real tables."""

import sys
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from pix2spec.core.grid import SpectralGrid
from pix2spec.errors import InputError
from pix2spec.models.redshift.network import RedshiftModel
from pix2spec.models.redshift.preset import RedshiftPreset
from pix2spec.models.redshift.prior import COUNTS_R, COUNTS_Z
from pix2spec.models.shared.measurements import KIND_GROUPS
from pix2spec.models.storage import save_model
from pix2spec.runtime.provenance import run_provenance
from pix2spec.runtime.resumable import Resumable
from pix2spec.training.real_sky import RealTable, digest, load_real
from pix2spec.training.redshift.bank import build_bank
from pix2spec.training.redshift.filters import training_filters
from pix2spec.training.redshift.recipe import averaged_weights, train_network
from pix2spec.training.redshift.samples import Samples
from pix2spec.training.redshift.sources import as_measurements, read_samples

__all__ = ["RECIPES", "Recipe", "train"]

INSIDE = 0.985  # of the real galaxies must not be flagged
STRETCHES = np.arange(1.0, 1.81, 0.02)  # factors by which distributions may be widened
STATED = (0.01, 0.03, 0.06)  # relative errors of fibre fluxes
HELD, ENOUGH = 0.68, 0.66  # of truths in intervals of one network; those of all together are wider
COMPLETE = {
    "mgs": (14.0, 17.7),
    "gama": (17.7, 19.7),
    "zcosmos": (19.7, 22.5),
}  # r where tables are fair samples


@dataclass(frozen=True)
class Recipe:
    """How long to train."""

    steps: tuple[int, ...]  # of each part, see `train_network`
    blocks: int  # of simulated galaxies in the bank
    about: str


RECIPES = {
    "release": Recipe((17_000, 4_000, 1_500), 800, "the released model: about an hour on two cores"),
    "quick": Recipe((3_000, 1_000), 400, "a fifth of the steps: about 12 minutes on two cores"),
}


def train(
    data: str | Path,
    out: str | Path,
    recipe: str = "release",
    resume: bool = False,
    processes: int = 2,
    seed: int = 0,
) -> Path:
    """Train one network without each fold of the tables, and join them in a model.

    Parameters
    ----------
    data : path
        Folder of the real tables; docs/guides/real-data.md says what they hold.
    out : path
        Folder of the model. Checkpoints lie in it until it is complete.
    recipe : str
        One of `RECIPES`.
    resume : bool
        Continue a training that was cut off.
    processes : int
        Number of networks that train at the same time, each on one core.
    seed : int

    Returns
    -------
    Path
        `out`.

    Raises
    ------
    InputError
        If a table that the recipe needs is missing, or `out` holds another training.
    """
    if recipe not in RECIPES:
        raise InputError("`recipe`", f"{recipe!r} is unknown", f"one of {', '.join(RECIPES)}")
    out, preset, tables = Path(out), RedshiftPreset.released(), load_real(data)
    identity = {
        "recipe": recipe,
        "seed": seed,
        "preset": preset.model_dump(mode="json"),
        "tables": digest(tables),
    }
    job = Resumable(out, identity, "a redshift model")
    job.claim(resume)
    with job.locked():
        build_bank(training_filters(data), out / "bank.npz", RECIPES[recipe].blocks, processes)
        with ProcessPoolExecutor(processes) as pool:
            work = [
                pool.submit(_train_one, Path(data), out, preset, k, RECIPES[recipe], seed)
                for k in range(len(preset.without))
            ]
            for done in as_completed(work):
                done.result()
        model = _joined(out, preset)
        _set_threshold(model, tables)
        _set_stretches(model, tables)
        model.counts.copy_(torch.from_numpy(_counts(tables)))
        save_model(out, model, _record(data, recipe, tables))
        job.finish()
    return out


def _train_one(data: Path, out: Path, preset: RedshiftPreset, number: int, recipe: Recipe, seed: int) -> None:
    torch.set_num_threads(1)  # two threads each on two cores are several times slower
    filters = training_filters(data)
    samples = read_samples(data, build_bank(filters, out / "bank.npz"), filters, seed)
    kept = Samples(filters, samples, preset.without[number], seed)

    def report(line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    folder = out / f"network-{number}"
    train_network(preset, kept, folder, recipe.steps, 1000 * seed + number, report)


def _joined(out: Path, preset: RedshiftPreset) -> RedshiftModel:
    """The model with the averaged weights of the trained networks."""
    model = RedshiftModel(preset, SpectralGrid())
    for number, network in enumerate(model.networks):
        network.load_state_dict(averaged_weights(out / f"network-{number}"))
    return model.eval()


def _set_threshold(model: RedshiftModel, tables: dict[str, RealTable]) -> None:
    """Flag few galaxies, each judged by a network that never saw it."""
    logits = [
        model.logit(as_measurements(tables[name]), tables[name].fold) for name in ("mgs", "sdss", "gama")
    ]
    model.threshold.fill_(max(float(np.quantile(some, INSIDE)) for some in logits))


def _set_stretches(model: RedshiftModel, tables: dict[str, RealTable]) -> None:
    """Widen distributions of which training knows few galaxies, by networks that never saw these."""
    spectra = tables["spectra"]
    stated = [replace(spectra, error=error * np.abs(spectra.flux)) for error in STATED]
    _widen(model, model.stretch[KIND_GROUPS["fibre"]], stated)
    _widen(model, model.far_stretch, [tables[name] for name in ("fors2",) if name in tables])


def _widen(model: RedshiftModel, stretch: torch.Tensor, tables: list[RealTable]) -> None:
    """Set `stretch`, of which `model` has a view, so that enough galaxies lie in intervals of 68 %."""
    held = []
    for factor in STRETCHES if tables else STRETCHES[:1]:
        stretch.fill_(factor)
        inside = []
        for table in tables:
            known = table.rows(table.z > 0)
            cdf = model.posterior(as_measurements(known), known.fold).cdf(known.z)
            inside.append(np.mean(np.abs(cdf - 0.5) < HELD / 2))
        held.append(np.mean(inside) if inside else ENOUGH)
    stretch.fill_(STRETCHES[int(np.argmin(np.abs(np.array(held) - ENOUGH)))])


def _counts(tables: dict[str, RealTable]) -> np.ndarray:
    """Galaxies per bin of r and z, from the tables that are complete there."""
    counts = np.zeros((len(COUNTS_R) - 1, len(COUNTS_Z) - 1))
    for name, (low, high) in COMPLETE.items():
        table = tables[name]
        rows = (table.r >= low) & (table.r < high) & (table.z > 0)
        found, _, _ = np.histogram2d(table.r[rows], table.z[rows], [COUNTS_R, COUNTS_Z])
        counts += found
    # Numbers of galaxies on the sky grow with r as 10^(0.6 r) near, and 10^(0.4 r) far.
    middle = (COUNTS_R[1:] + COUNTS_R[:-1]) / 2
    number = 10 ** (0.6 * np.minimum(middle, 17) + 0.4 * np.maximum(middle - 17, 0))
    share = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    return (share * (number / number.max())[:, None]).astype(np.float32)


def _record(data, recipe: str, tables: dict[str, RealTable]) -> dict:
    return {
        "trained_on": ", ".join(f"{len(table)} of {name}" for name, table in tables.items()),
        "tables": digest(tables),
        "recipe": recipe,
        "steps": list(RECIPES[recipe].steps),
        **run_provenance(),
    }
