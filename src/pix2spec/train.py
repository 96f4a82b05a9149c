"""The one training loop, for every trainable part.

Run it as ``pix2spec train PRESET DATA --out RUN``. Every random number of step n follows from
(seed, n), so that a resumed run continues exactly where the uninterrupted one would be.

A run folder holds::

    config.json  model.safetensors  README.md    the averaged (EMA) model, at the end
    preset.yaml                                  the resolved preset, from the start
    checkpoint.safetensors                       weights, EMA, Adam moments and step; written atomically
    metrics.jsonl  tensorboard/                  losses
"""

import math
import time
from pathlib import Path

import numpy as np
import torch
import yaml
from accelerate import Accelerator
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader

from pix2spec.checkpoint import load_checkpoint, save_checkpoint
from pix2spec.config import Preset, validate_preset
from pix2spec.data.dataset import Dataset, read_info, shard_paths
from pix2spec.errors import InputError
from pix2spec.files import made_by, write_atomically
from pix2spec.models.fitted import FITTED
from pix2spec.models.storage import find_model, load_model, model_id, save_model
from pix2spec.models.trainable import build_model
from pix2spec.prepare import Prepared, Simulation, load_foundation, prepare
from pix2spec.survey import INPUTS, check_same_survey
from pix2spec.training_log import LossLog, progress_bar, stop_after_the_step

__all__ = ["train"]


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
        per_epoch, order, epoch = self.n // self.batch_size, None, -1
        for step in range(self.first, self.last):
            if step // per_epoch != epoch:
                epoch = step // per_epoch
                order = np.random.default_rng([self.seed, epoch]).permutation(self.n)
            start = (step % per_epoch) * self.batch_size
            yield order[start + self.rank : start + self.batch_size : self.world]


class Rows(torch.utils.data.Dataset):
    """A dataset that is asked for whole batches of indices."""

    def __init__(self, dataset: Dataset, index: np.ndarray, columns: tuple[str, ...]):
        self.dataset, self.index, self.columns = dataset, index, columns

    def __getitem__(self, chosen):
        return self.dataset.batch(self.index[chosen], self.columns)


def _open(preset: Preset, data, out: Path, init, progress: bool):
    """Train and validation sets; those of the factorised model are prepared first."""
    if preset.task == "factorised":
        return prepare(preset, data, out / "prepared", init, progress)
    if isinstance(data, Simulation):
        mend = "make them with `pix2spec data simulate`"
        raise InputError("--simulate", f"{preset.name} learns from pairs on disk", mend)
    return Dataset(data, "train"), Dataset(data, "val")


def _check_init(init, start, data: Path | Simulation) -> None:
    """The model to start from must see what the data hold: other bands have other weights."""
    info = data.info if isinstance(data, Simulation) else read_info(shard_paths(data))
    seen = set(INPUTS) & set(start.columns or INPUTS)  # the factorised model names none: it sees both
    mend = "start from a model of the same survey, or leave out --init"
    check_same_survey(init, start.survey, "the training data", info.survey, seen, mend)


def _complete(dataset: Dataset | Prepared, columns: tuple[str, ...], what: str) -> np.ndarray:
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


def _as_it_is(batch: dict) -> dict:
    return batch  # arrays; the model makes its own tensors


def _generator(*key: int) -> torch.Generator:
    return torch.Generator().manual_seed(
        int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0] >> 1)
    )


def train(
    preset: Preset,
    data: str | Path | Simulation,
    out: str | Path,
    resume: bool = False,
    progress: bool = True,
    init: str | Path | None = None,
) -> Path:
    """Train what `preset` describes on the train split of `data`; validate on its val split.

    Parameters
    ----------
    preset : Preset
        From `pix2spec.config.load_preset`.
    data : path or Simulation
        A dataset folder with images and spectra; the factorised model also takes a simulated survey.
    out : path
        Run folder.
    resume : bool
        Continue from the checkpoint in `out`. The preset must be the same, but for `train.steps`.
    progress : bool
        Show a progress bar (only ever on a terminal).
    init : path, optional
        Start from the weights of this model, of the same architecture, instead of random ones. A
        factorised model's basis is refined on the data, its noise model and scale of latents fitted anew.

    Returns
    -------
    Path
        `out`, which can be loaded with `pix2spec.load` (diffusion) or used as a selector (contrastive).

    Raises
    ------
    InputError
        If the data lack images, `out` holds another run, or the loss is no longer finite.
    """
    out, data = Path(out), Path(data) if isinstance(data, str) else data
    if preset.task in FITTED:
        return _fit(preset, data, out, resume, progress, init)
    settings = preset.train
    has_gpu = torch.cuda.is_available()  # half precision is hundreds of times slower on most CPUs
    accelerator = Accelerator(mixed_precision=settings.precision if has_gpu else "no", cpu=not has_gpu)
    start = load_model(find_model(init))[0] if init else None
    _check_run(out, resume)
    if start is not None:
        _check_init(init, start, data)
    train_set, val_set = _open(preset, data, out, start, progress)

    # Model, optimiser, average. Initial weights follow from the seed.
    torch.manual_seed(settings.seed)
    model = build_model(preset, train_set.info.grid, train_set.info.survey)
    if start is not None:
        model.load_state_dict(start.state_dict())
    if isinstance(train_set, Prepared):
        load_foundation(model, train_set.path)
    train_index = _complete(train_set, model.columns, "training")
    val_index = _complete(val_set, model.columns, "validation")
    average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(settings.ema))
    optimizer = torch.optim.Adam(model.parameters(), lr=settings.lr, weight_decay=settings.weight_decay)
    step, seconds = _start_or_resume(out, preset, model, average, optimizer)
    forward, optimizer = accelerator.prepare(model, optimizer)
    average.to(accelerator.device)

    batches = Batches(
        len(train_index), settings.batch_size, settings.seed, step, settings.steps,
        accelerator.process_index, accelerator.num_processes,
    )  # fmt: skip
    loader = DataLoader(
        Rows(train_set, train_index, model.columns), sampler=batches, batch_size=None,
        num_workers=settings.workers, collate_fn=_as_it_is,
    )  # fmt: skip
    log = LossLog(out, step) if accelerator.is_main_process else None
    per_epoch = len(train_index) // settings.batch_size
    began = time.monotonic() - seconds

    with progress_bar(progress and accelerator.is_main_process) as bar, stop_after_the_step() as stop:
        task = bar.add_task("training", total=settings.steps, completed=step, loss="", rate="")
        first, first_time = step, time.monotonic()
        for batch in loader:
            optimizer.param_groups[0]["lr"] = learning_rate(settings, step, per_epoch)
            draws = _generator(settings.seed, step, accelerator.process_index)
            inputs = model.prepare(batch, train_set.info.image_kind, draws, train=True)
            model.train()
            loss = forward(**_to(inputs, accelerator.device))
            accelerator.backward(loss)
            optimizer.step()
            optimizer.zero_grad()
            average.update_parameters(model)
            step += 1

            value = accelerator.reduce(loss.detach(), "mean").item()
            if not math.isfinite(value):
                raise InputError(
                    out, f"the loss is {value} at step {step}",
                    "resume from the checkpoint with a smaller train.lr",
                )  # fmt: skip
            rate = (step - first) / (time.monotonic() - first_time)
            bar.update(task, completed=step, loss=f"loss {value:.4f}", rate=f"{rate:.2f} steps/s")
            if log:
                log.write(step, train=value)
            if log and (step % settings.validate_every == 0 or step == settings.steps):
                refresh_statistics(average.module, train_set, train_index, settings.batch_size)
                val_loss = validation_loss(average.module, val_set, val_index, settings.validation_size)
                log.write(step, val=val_loss)
                bar.console.print(f"step {step}: validation loss {val_loss:.4f}")
            if log and (step % settings.checkpoint_every == 0 or step == settings.steps or stop):
                save_checkpoint(out, model, average, optimizer, step, time.monotonic() - began)
            if stop:
                bar.console.print(f"stopped at step {step}; go on with --resume")
                raise KeyboardInterrupt

    if log:
        record = {
            "trained_on": f"{len(train_index)} pairs of {getattr(data, 'name', data)}",
            **({"started_from": model_id(find_model(init))} if init else {}),
            "images": train_set.info.image_kind,
            "data": train_set.info.provenance,
            "steps": step,
            "samples_seen": step * settings.batch_size,
            "hours": round((time.monotonic() - began) / 3600, 3),
            "device": str(accelerator.device),
            "validation_loss": log.last["val"],
            **made_by(),
        }
        save_model(out, average.module, record)
        log.close()
    return out


def _fit(preset: Preset, data, out: Path, resume: bool, progress: bool, init) -> Path:
    """Fit a method that needs no training loop, with the same run folder and the same refusals."""
    from pix2spec.fit import fit

    if init:
        raise InputError("--init", f"{preset.name} is fitted, it starts from nothing", "leave it out")
    _check_run(out, resume)
    train_set, _ = _open(preset, data, out, None, progress)
    _record_preset(out, preset)
    return fit(preset, train_set, out, progress)


def learning_rate(settings, step: int, per_epoch: int) -> float:
    """Learning rate of a step: a factor each epoch, or a warm-up of 300 steps and half a cosine."""
    if settings.lr_schedule == "epochs":
        return settings.lr * settings.lr_decay ** (step // per_epoch)
    return settings.lr * min(1, (step + 1) / 300) * 0.5 * (1 + math.cos(math.pi * step / settings.steps))


@torch.no_grad()
def validation_loss(model, val_set: Dataset, index: np.ndarray, size: int, batch_size: int = 64) -> float:
    """Loss on the first `size` validation pairs, always with the same noise and timesteps."""
    device = next(model.parameters()).device
    model.eval()
    total, count = 0.0, 0
    for start in range(0, min(size, len(index)), batch_size):
        batch = val_set.batch(index[start : min(start + batch_size, size)], model.columns)
        draws = _generator(0, start)
        inputs = model.prepare(batch, val_set.info.image_kind, draws, train=False)
        n = len(batch["z"]) if "z" in batch else len(batch["flux"])
        total += model(**_to(inputs, device)).item() * n
        count += n
    return total / count


@torch.no_grad()
def refresh_statistics(
    model, train_set: Dataset, index: np.ndarray, batch_size: int, batches: int = 8
) -> None:
    """Measure the running statistics of averaged weights: those of the trained weights do not fit them.

    They are those of batch normalisation and of network deconvolution.
    Izmailov et al. (2018, arXiv:1803.05407), section 3.2. A pure function of the weights and the data.
    """
    norms = [m for m in model.modules() if hasattr(m, "reset_running_stats")]
    if not norms:
        return
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain mean over the batches
    model.train()
    device = next(model.parameters()).device
    for number in range(batches):
        chosen = index[number * batch_size : (number + 1) * batch_size]
        if len(chosen) < 2:
            break
        draws = _generator(1, number)
        rows = train_set.batch(chosen, model.columns)
        inputs = model.prepare(rows, train_set.info.image_kind, draws, train=True)
        model(**_to(inputs, device))
    for norm, momentum in zip(norms, momenta):
        norm.momentum = momentum


def _to(inputs: dict, device) -> dict:
    return {name: tensor.to(device) for name, tensor in inputs.items()}


def _check_run(out: Path, resume: bool) -> None:
    if (out / "preset.yaml").exists() and not resume:
        raise InputError(out, "it already holds a run", "continue it with --resume, or use another --out")


def _start_or_resume(out: Path, preset, model, average, optimizer) -> tuple[int, float]:
    checkpoint = out / "checkpoint.safetensors"
    _record_preset(out, preset)
    if checkpoint.exists():
        return load_checkpoint(checkpoint, model, average, optimizer)
    return 0, 0.0


def _record_preset(out: Path, preset: Preset) -> None:
    """Write ``OUT/preset.yaml``; a run that is there already must have the same settings."""
    recorded = out / "preset.yaml"
    values = preset.model_dump(mode="json")
    if recorded.exists():
        # Keys that an older version did not have take their defaults.
        before = validate_preset(yaml.safe_load(recorded.read_text()), where=recorded)
        _compare(before.model_dump(mode="json"), values, out)
    out.mkdir(parents=True, exist_ok=True)
    write_atomically(recorded, lambda p: p.write_text(yaml.safe_dump(values, sort_keys=False)))


def _compare(before: dict, now: dict, out: Path, path: str = "") -> None:
    """A resumed run keeps its settings; only its length and bookkeeping may change."""
    free = {"train.steps", "train.workers", "train.checkpoint_every", "train.lr"}
    for key in before.keys() | now.keys():
        name, a, b = f"{path}{key}", before.get(key), now.get(key)
        if isinstance(a, dict) and isinstance(b, dict):
            _compare(a, b, out, f"{name}.")
        elif a != b and name not in free:
            raise InputError(out, f"its run has {name} = {a!r}, now it is {b!r}", "use another --out")
