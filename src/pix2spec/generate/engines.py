"""Engines that make the shards of a catalogue: this process, or the workers of a Ray cluster."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import islice, repeat
from pathlib import Path

from pix2spec.data.dataset import Dataset
from pix2spec.data.schema import Galaxy
from pix2spec.errors import InputError
from pix2spec.generate.foreground import Dust
from pix2spec.measure.ensembles import measure_ensembles
from pix2spec.models.generator import Generator, Settings
from pix2spec.products.catalogue import CatalogueWriter
from pix2spec.products.ensemble import Ensemble
from pix2spec.products.sdss_format import spec_name
from pix2spec.products.shards import Shards
from pix2spec.runtime.atomic import safe_name

__all__ = [
    "Engine",
    "ShardMaker",
    "run_local",
    "run_ray",
]

STORE = 2**28  # bytes of Ray's shared memory on this machine: the model and the numbers of shards
RETRIES = 3  # of a shard, after a lost worker or an I/O error


@dataclass(frozen=True)
class Engine:
    """The place where spectra are generated.

    Parameters
    ----------
    name : str
        ``local`` or ``ray``.
    workers : int, optional
        Number of models that work at the same time, for ``ray`` only; by default one per GPU, or per core.
    address : str, optional
        Address of a Ray cluster. Without it, a cluster starts on this machine and ends with the run.

    Raises
    ------
    InputError
        If the name is unknown, or the parameters contradict each other.
    """

    name: str = "local"
    workers: int | None = None
    address: str | None = None

    def __post_init__(self):
        if self.name not in ("local", "ray"):
            raise InputError("`engine`", f"{self.name!r} is unknown", "local or ray")
        if self.name == "local" and (self.workers or self.address):
            raise InputError("`engine`", "local has no workers and no address", "ray has")
        if self.workers is not None and self.workers < 1:
            raise InputError("`workers`", f"{self.workers} workers", "at least one")

    def run(self, maker: "ShardMaker", missing: list[int]) -> Iterator[None]:
        """Make the missing shards; yields once per object."""
        if self.name == "ray" and missing:
            return run_ray(maker, missing, self.workers, self.address)
        return run_local(maker, missing)


@dataclass
class ShardMaker:
    """Makes shards of a catalogue. It is pickled for workers, without the rows of `dataset`.

    Parameters
    ----------
    generator : Generator
    dataset : Dataset
    settings : Settings
    shards : Shards
    dust : Dust
    batch : int
        Number of objects that go through the networks together.
    unseen : dict
        Fields of a galaxy that are replaced, with their values.
    spectra : path, optional
        Folder for one FITS file per object.
    spec : path, optional
        Folder for one file per object in SDSS's spec format.
    """

    generator: Generator
    dataset: Dataset
    settings: Settings
    shards: Shards
    dust: Dust
    batch: int
    unseen: dict
    spectra: Path | None = None
    spec: Path | None = None
    damaged: dict[str, str] = field(
        default_factory=dict, init=False
    )  # why rows of the dataset cannot be read

    def make(self, k: int) -> Iterator[None]:
        """Write shard k, unless it is there; yields once per object."""
        if self.shards.path(k).exists():  # made by a worker that was believed lost
            yield from repeat(None, len(self.shards.rows(k)))
            return
        galaxies = self._galaxies(self.shards.rows(k))
        kind = self.dataset.info.image_kind or "linear"
        with self.shards.writer(k) as writer:
            results = self.generator.run(galaxies, kind, self.settings, self.batch)
            while batch := list(islice(results, self.batch)):
                measured = self._measure(batch)
                for k, result in enumerate(batch):
                    self._add(writer, result, measured.get(k))
                    yield

    def _measure(self, results: list) -> dict[int, dict]:
        """Measured quantities of those results that are ensembles, by their number."""
        if not self.shards.contents.measured:
            return {}
        made = {k: result for k, result in enumerate(results) if isinstance(result, Ensemble)}
        return dict(zip(made, measure_ensembles(list(made.values()))))

    def _galaxies(self, rows: range) -> Iterator[Galaxy]:
        """Rows of the dataset; a galaxy without any data in the place of one that is damaged."""
        for start in range(rows.start, rows.stop, self.batch):
            part = range(start, min(start + self.batch, rows.stop))
            for i, found in zip(part, self.dataset.galaxies(slice(part.start, part.stop))):
                try:
                    if isinstance(found, InputError):
                        raise found
                    yield self.dust.before(replace(found, **self.unseen) if self.unseen else found)
                except InputError as error:
                    name = str(self.dataset.batch(i, ["object_id"])["object_id"][0])
                    self.damaged[name] = str(error)
                    yield Galaxy(name)

    def _add(
        self, writer: CatalogueWriter, result: Ensemble | tuple[Galaxy, str], measured: dict | None
    ) -> None:
        if isinstance(result, Ensemble):
            self.dust.after(result)
            writer.add(result, measured)
            if self.spectra is not None:
                self.spectra.mkdir(parents=True, exist_ok=True)
                result.write_fits(self.spectra / f"{safe_name(result.object_id)}.fits")
            if self.spec is not None:
                self.spec.mkdir(parents=True, exist_ok=True)
                result.write_spec(self.spec / spec_name(result.object_id))
        else:
            galaxy, reason = result
            self.dust.notes.pop(galaxy.object_id, None)
            writer.add_failure(galaxy.object_id, self.damaged.pop(galaxy.object_id, reason))


def run_local(maker: ShardMaker, missing: list[int]) -> Iterator[None]:
    """Make shards in order, in this process."""
    for k in missing:
        yield from maker.make(k)


def run_ray(
    maker: ShardMaker, missing: list[int], workers: int | None = None, address: str | None = None
) -> Iterator[None]:
    """Make shards with Ray; yields once per object.

    Each worker holds one model and makes one shard at a time. If a worker is lost, Ray starts it again and it
    makes its shard again. The dataset and the catalogue must be on a disk that all nodes see under the same
    name: only the model and the numbers of shards are sent. On the same kind of machine, results are those of
    `run_local` to the bit.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # no statistics are sent
    if address is None:
        os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # else it reports each restart of a worker
    import ray

    ours = {} if address else {"include_dashboard": False, "object_store_memory": STORE}
    ray.init(address, log_to_driver=False, logging_level="ERROR", **ours)
    try:
        yield from _made_by_ray(maker, missing, workers)
    finally:
        ray.shutdown()


def _made_by_ray(maker: ShardMaker, missing: list[int], workers: int | None) -> Iterator[None]:
    """Give each worker its next shard when it has finished one: all end at about the same time."""
    import ray

    resources = ray.cluster_resources()
    gpus = int(resources.get("GPU", 0))
    actor = ray.remote(_Worker).options(
        num_cpus=1, num_gpus=1 if gpus else 0, max_restarts=-1, max_task_retries=RETRIES
    )
    count = min(workers or gpus or int(resources["CPU"]), len(missing))
    model, waiting, left = ray.put(maker), iter(missing), len(missing)
    pool = [actor.remote(model) for _ in range(count)]
    calls = {worker.ready.remote(): worker for worker in pool}  # one that finds no place is never ready
    while left:
        (done,), _ = ray.wait(list(calls))
        worker, objects = calls.pop(done), ray.get(done)
        shard = next(waiting, None)
        if shard is not None:
            calls[worker.make.options(retry_exceptions=[OSError]).remote(shard)] = worker
        if objects is not None:
            left -= 1
            yield from repeat(None, objects)


class _Worker:
    """A model in a process of its own, which makes one shard per call."""

    def __init__(self, maker: ShardMaker):
        import torch

        self.maker = maker
        if torch.cuda.is_available():
            self.maker.generator.model.to("cuda")
            self.maker.generator.device = "cuda"
        else:
            torch.set_num_threads(1)  # one core per worker

    def ready(self) -> None:
        """Return when the model is there."""

    def make(self, shard: int) -> int:
        """Write a shard; returns the number of its objects."""
        return sum(1 for _ in self.maker.make(shard))
