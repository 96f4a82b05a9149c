"""Training data: the training and validation sets, and the batch of each step and process."""

import time
from collections.abc import Callable
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

Prepare = Callable[[int, dict], dict[str, torch.Tensor]]


def open_sets(preset: Preset, data, out: Path, init, progress: bool, is_main: bool = True):
    """Open the training and validation sets.

    The main process prepares the sets of a factorised model first; the other processes wait for it.
    """
    if isinstance(preset, FactorisedPreset):
        while not is_main and not (out / "prepared" / "info.json").exists():
            time.sleep(1)  # preparation may take hours, longer than the time limit of a collective operation
        return prepare(preset, data, out / "prepared", init, progress)
    if isinstance(data, Simulation):
        hint = "write one with `pix2spec data simulate`"
        raise InputError(preset.name, "this model is trained on a dataset on disk", hint)
    return Dataset(data, "train"), Dataset(data, "val")


def complete_galaxies(dataset: Dataset | Prepared, columns: tuple[str, ...], what: str) -> np.ndarray:
    """Positions of the galaxies that have a spectrum and all `columns` that the model needs.

    `what` names the split in error messages: ``"training"`` or ``"validation"``.
    """
    if isinstance(dataset, Prepared):
        return np.arange(len(dataset))
    if "image" in columns and dataset.info.image_kind is None:
        raise InputError(dataset.path, "the dataset has no images, but this model is trained on images")
    index = dataset.having(*columns)
    if len(index) == 0:
        seen = "an image" if "image" in columns else "photometry"
        raise InputError(dataset.path, f"no {what} galaxy has both {seen} and a spectrum")
    return index


class Batches:
    """Sampler of the training set: iterate over the batches of the steps `first` to `last` - 1.

    The batch of a step depends on (seed, step) alone. The training set is shuffled anew in each epoch.

    Parameters
    ----------
    n : int
        Number of training galaxies.
    batch_size : int
        Galaxies a step, over all processes.
    seed : int
        Seed of the order.
    first, last : int
        First step, and the step after the last one.
    rank, world : int
        Number of this process, and the number of processes. They share each batch evenly.

    Raises
    ------
    InputError
        If there are fewer than `batch_size` galaxies.
    """

    def __init__(self, n: int, batch_size: int, seed: int, first: int, last: int, rank: int, world: int):
        if n < batch_size:
            raise InputError(
                "train.batch_size",
                f"{batch_size} is more than the {n} training galaxies",
                "use a smaller batch",
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
    """A dataset whose item is the prepared batch of a step: its key is the step, and an array of indices."""

    def __init__(
        self, dataset: Dataset | Prepared, index: np.ndarray, columns: tuple[str, ...], prepare: Prepare
    ):
        self.dataset, self.index, self.columns, self.prepare = dataset, index, columns, prepare

    def __getitem__(self, key):
        step, chosen = key
        inputs = self.prepare(step, self.dataset.batch(self.index[chosen], self.columns))
        # The layout in memory decides how networks round: it must not depend on the way through a worker.
        return {name: np.ascontiguousarray(tensor.numpy()) for name, tensor in inputs.items()}


def load_batches(
    train_set: Dataset | Prepared,
    index: np.ndarray,
    columns: tuple[str, ...],
    prepare: Prepare,
    settings: TrainSection,
    step: int,
    rank: int = 0,
    world: int = 1,
) -> DataLoader:
    """Load this process's share of all batches from `step` to the last, as inputs of the network.

    Parameters
    ----------
    train_set : Dataset or Prepared
        The training set.
    index : array of int
        Positions of the galaxies that may be used.
    columns : tuple of str
        Columns that the model needs.
    prepare : callable
        ``(step, rows) -> inputs``. The workers call it, so that a GPU need not wait for it.
    settings : TrainSection
        Batch size, seed, number of steps and of workers.
    step : int
        First step.
    rank, world : int
        Number of this process, and the number of processes.

    Returns
    -------
    DataLoader
        Of dictionaries of arrays: tensors would need shared memory, of which containers have little.
    """
    batches = Batches(len(index), settings.batch_size, settings.seed, step, settings.steps, rank, world)
    return DataLoader(
        Rows(train_set, index, columns, prepare), sampler=enumerate(batches, step), batch_size=None,
        num_workers=settings.workers, collate_fn=_unchanged, worker_init_fn=ignore_signals,
    )  # fmt: skip


def _unchanged(batch: dict) -> dict:
    return batch
