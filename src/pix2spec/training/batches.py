"""Data of a training: the train and validation sets, and the batches of each step and process."""

import time
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import DataLoader

from pix2spec.data.dataset import Dataset
from pix2spec.errors import InputError
from pix2spec.models.latent.prepare import Prepared, Simulation, prepare
from pix2spec.models.latent.preset import FactorisedPreset
from pix2spec.models.presets import Preset
from pix2spec.models.shared.settings import TrainSection
from pix2spec.training.log import ignore_signals

__all__ = ["Batches", "complete_galaxies", "load_batches", "open_sets"]


def open_sets(preset: Preset, data, out: Path, init, progress: bool, is_main: bool = True):
    """Train and validation sets; those of the factorised model are prepared first, by one process."""
    if isinstance(preset, FactorisedPreset):
        while not is_main and not (out / "prepared" / "info.json").exists():
            time.sleep(1)  # it may take hours, longer than processes wait for each other otherwise
        return prepare(preset, data, out / "prepared", init, progress)
    if isinstance(data, Simulation):
        hint = "make them with `pix2spec data simulate`"
        raise InputError(preset.name, "this model learns from pairs on disk", hint)
    return Dataset(data, "train"), Dataset(data, "val")


def complete_galaxies(dataset: Dataset | Prepared, columns: tuple[str, ...], what: str) -> np.ndarray:
    """Positions of the pairs that have all that the model learns from."""
    if isinstance(dataset, Prepared):
        return np.arange(len(dataset))
    if "image" in columns and dataset.info.image_kind is None:
        raise InputError(dataset.path, "it has no images, this model learns from images")
    index = dataset.having(*columns)
    if len(index) == 0:
        seen = "an image" if "image" in columns else "photometry"
        raise InputError(dataset.path, f"no {what} pair has both {seen} and a spectrum")
    return index


class Batches:
    """Indices of the training pairs of each step: a pure function of (seed, step)."""

    def __init__(self, n: int, batch_size: int, seed: int, first: int, last: int, rank: int, world: int):
        if n < batch_size:
            raise InputError(
                "train.batch_size", f"{batch_size} is more than the {n} training pairs", "use a smaller one"
            )
        self.n, self.batch_size, self.seed = n, batch_size, seed
        self.first, self.last, self.rank, self.world = first, last, rank, world

    def __len__(self):
        return self.last - self.first

    def __iter__(self):
        per_epoch, epoch = self.n // self.batch_size, -1
        order = np.empty(0, int)
        for step in range(self.first, self.last):
            if step // per_epoch != epoch:
                epoch = step // per_epoch
                order = np.random.default_rng([self.seed, epoch]).permutation(self.n)
            start = (step % per_epoch) * self.batch_size
            yield order[start + self.rank : start + self.batch_size : self.world]


class Rows(torch.utils.data.Dataset):
    """A dataset that is asked for whole batches of indices."""

    def __init__(self, dataset: Dataset | Prepared, index: np.ndarray, columns: tuple[str, ...]):
        self.dataset, self.index, self.columns = dataset, index, columns

    def __getitem__(self, chosen):
        return self.dataset.batch(self.index[chosen], self.columns)


def load_batches(
    train_set: Dataset | Prepared,
    index: np.ndarray,
    columns: tuple[str, ...],
    settings: TrainSection,
    step: int,
    rank: int = 0,
    world: int = 1,
) -> DataLoader:
    """The process's share of the batches from `step` to the last, as dictionaries of arrays."""
    batches = Batches(len(index), settings.batch_size, settings.seed, step, settings.steps, rank, world)
    return DataLoader(
        Rows(train_set, index, columns), sampler=batches, batch_size=None, num_workers=settings.workers,
        collate_fn=_as_it_is, worker_init_fn=ignore_signals,
    )  # fmt: skip


def _as_it_is(batch: dict) -> dict:
    return batch  # arrays; the model makes its own tensors
