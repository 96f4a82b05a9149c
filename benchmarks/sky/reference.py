"""The reference of the spectra: real galaxies with the most similar fluxes, from the same training folds."""

import tempfile
from pathlib import Path

import numpy as np

from pix2spec import Galaxy
from pix2spec.core.survey import SDSS
from pix2spec.data.dataset import Dataset, write_dataset
from pix2spec.data.schema import DatasetInfo
from pix2spec.evaluation.baselines import nearest_neighbours
from pix2spec.training.real_sky import RealTable
from sky.ensembles import QUANTITIES, Truth, pixel_scores

K = 25


def neighbours(
    table: RealTable, truth: Truth, quantities: dict[str, np.ndarray], k: int = K
) -> dict[str, np.ndarray]:
    """Scores of the spectra of the k most similar galaxies of the other folds, as `sky.ensembles.judge`'s.

    Parameters
    ----------
    table : RealTable
        Fluxes of N galaxies in ugriz.
    truth : Truth
        Their spectra.
    quantities : dict of array (N,)
        What was measured on their spectra: neighbours predict the median of theirs.
    k : int
    """
    k = min(k, *(int((table.fold != fold).sum()) for fold in np.unique(table.fold)))  # of small tables
    found: list = [None] * len(table)
    for fold in np.unique(table.fold):
        known, held_out = np.flatnonzero(table.fold != fold), np.flatnonzero(table.fold == fold)
        with tempfile.TemporaryDirectory() as folder:
            write_dataset(Path(folder) / "train", pairs(table, truth, known), DatasetInfo(image_kind=None))
            model = nearest_neighbours(Dataset(Path(folder) / "train"), "photometry", k)
        batch = {
            "photometry": table.flux[held_out], "photometry_ivar": 1 / table.error[held_out] ** 2,
            "group_id": np.array([group_of(table, i) for i in held_out], object),
        }  # fmt: skip
        spectra, places = model.predict(batch)[0], model.neighbours(batch)[0]
        for row, members, place in zip(held_out, spectra, places):
            good = truth.ivar[row] > 0
            in_flux = members * np.median(truth.flux[row][good])
            values = pixel_scores(in_flux, truth.flux[row], truth.ivar[row])
            found[row] = values | {name: np.nanmedian(quantities[name][known[place]]) for name in QUANTITIES}
    return {name: np.stack([values[name] for values in found]) for name in found[0]}


def pairs(table: RealTable, truth: Truth, rows: np.ndarray) -> list[Galaxy]:
    """Galaxies with fluxes in ugriz and their spectra, for a dataset."""
    return [
        Galaxy(
            f"{table.row[i]}", group_of(table, i), ra=0.0, dec=0.0, z=float(table.z[i]), z_err=0.0,
            spec_class="GALAXY", photometry=table.flux[i].astype(np.float32),
            photometry_ivar=(1 / table.error[i] ** 2).astype(np.float32), filters=SDSS.filters, kind="fibre",
            flux=truth.flux[i].astype(np.float32), ivar=truth.ivar[i].astype(np.float32),
            mask=np.zeros(truth.flux.shape[1], np.int32),
        )
        for i in rows
    ]  # fmt: skip


def group_of(table: RealTable, row: int) -> str:
    """Name of the object on the sky."""
    return f"group {table.group[row]}"
