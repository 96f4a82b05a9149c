"""The training loop of all trained models, in one process or several.

Run it as ``pix2spec train PRESET DATA --out RUN``, or in several processes as ``accelerate launch -m
pix2spec train PRESET DATA --out RUN``. The random numbers of step n depend on (seed, n, position in the
batch) alone. A resumed run therefore gives the same result as an uninterrupted run. Several processes that
share the batches give the same result as one process, except for rounding.

A run folder holds::

    config.json  model.safetensors  README.md    the averaged (EMA) model, at the end
    preset.yaml                                  the resolved preset, from the start
    checkpoint.safetensors                       weights, EMA, Adam moments and step; written atomically
    metrics.jsonl                                losses
    tensorboard/                                 the same, where TensorBoard is installed
"""

import copy
import math
import time
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import DistributedDataParallelKwargs
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from pix2spec.core.survey import INPUTS, check_same_survey
from pix2spec.data.dataset import Dataset, read_info, shard_paths
from pix2spec.errors import InputError
from pix2spec.models.latent.prepare import Prepared, Simulation, load_foundation
from pix2spec.models.latent.preset import FactorisedPreset
from pix2spec.models.presets import Preset, TrainedPreset, load_preset, validate_preset
from pix2spec.models.registry import build_model
from pix2spec.models.storage import find_model, load_model, model_id, read_config, save_model
from pix2spec.runtime.distributed import any_process, check_launch, processes, share_statistics
from pix2spec.runtime.provenance import run_provenance
from pix2spec.runtime.random import BatchRng
from pix2spec.training.batches import Prepare, complete_galaxies, load_batches, open_sets
from pix2spec.training.checkpoint import check_run, load_checkpoint, record_preset, save_checkpoint
from pix2spec.training.log import LossLog, LossWatch, progress_bar, stop_after_the_step
from pix2spec.training.rate import learning_rate
from pix2spec.training.validation import refresh_statistics, to_device, validation_loss

__all__ = ["train"]


@dataclass
class Run:
    """State of a training run in one of its processes."""

    out: Path
    preset: TrainedPreset
    accelerator: Accelerator
    model: torch.nn.Module
    forward: torch.nn.Module  # the model, or its wrapper that averages gradients over processes
    average: AveragedModel  # exponential moving average (EMA) of the weights
    optimizer: torch.optim.Optimizer
    train_set: Dataset | Prepared
    train_index: np.ndarray
    val_set: Dataset | Prepared
    val_index: np.ndarray
    step: int  # steps done
    saved: int  # step of the checkpoint on disk, 0 if there is none
    began: float  # time.monotonic() at the start, minus the seconds trained before the checkpoint
    until: float  # time.monotonic() after which no step begins
    prepare: Prepare
    watch: LossWatch = field(default_factory=LossWatch)

    @property
    def share(self) -> tuple[int, int]:
        """Number of this process, from 0, and the number of processes."""
        return self.accelerator.process_index, self.accelerator.num_processes

    @property
    def per_epoch(self) -> int:
        """Number of steps in an epoch."""
        return len(self.train_index) // self.preset.train.batch_size


def train(
    preset: Preset | dict | str | Path,
    data: str | Path | Simulation,
    out: str | Path,
    resume: bool = False,
    progress: bool = True,
    init: str | Path | None = None,
    minutes: float | None = None,
) -> Path:
    """Train the model of `preset` on the train split of `data`, and validate it on the val split.

    Parameters
    ----------
    preset : Preset, dict, str or path
        From `pix2spec.models.presets.load_preset`, or its settings, or its name or YAML file.
    data : path or Simulation
        A dataset folder with images and spectra. A factorised model can also be trained on a `Simulation`.
    out : path
        Run folder. All processes must see this folder and `data`.
    resume : bool
        Continue from the checkpoint in `out`. The preset must be the same, except `train.steps`, `train.lr`,
        `train.workers` and `train.checkpoint_every`. The number of processes may differ.
    progress : bool
        Show a progress bar. It appears only on a terminal.
    init : path, optional
        A model of the same architecture whose weights replace the random initial weights. The basis of a
        factorised model is then refined on the data; its noise model and the scale of its latents are
        fitted anew. The number of galaxies that it saw is added to the model's record.
    minutes : float, optional
        End after this time if the last step is not reached: the run folder then holds the averaged model as
        it is, and the checkpoint. The last validation comes on top.

    Returns
    -------
    Path
        `out`. `pix2spec.load` loads a generator from it; a contrastive network can be used as a selector.

    Raises
    ------
    InputError
        If the data lack images, if `out` holds another run, or if the loss diverges. The last good
        checkpoint stays.
    KeyboardInterrupt
        After SIGINT or SIGTERM ended the run with a checkpoint. Its argument is the signal's number.
    """
    out, data = Path(out), Path(data) if isinstance(data, str) else data
    if isinstance(preset, str | Path):
        preset = load_preset(preset)
    elif isinstance(preset, dict):
        preset = validate_preset(preset)
    until = math.inf if minutes is None else time.monotonic() + 60 * minutes
    if not isinstance(preset, TrainedPreset):
        return _fit(preset, data, out, resume, progress, init)
    accelerator = _start_processes(preset)
    run = _set_up(preset, data, out, init, resume, progress, accelerator, until)
    log = LossLog(out, run.step) if accelerator.is_main_process else None
    with progress_bar(progress and accelerator.is_main_process) as bar, stop_after_the_step() as stop:
        bar.console.quiet = not accelerator.is_main_process
        if log and log.notice:
            bar.console.print(log.notice, markup=False, highlight=False, soft_wrap=True)
        _loop(run, log, bar, stop)
    if log:
        log.close()
        save_model(out, run.average.module, _record(run, data, init, log.last["val"]))
    accelerator.end_training()
    return out


def _fit(preset: Preset, data, out: Path, resume: bool, progress: bool, init) -> Path:
    """Fit a method that needs no training loop, after the same checks of the run folder."""
    from pix2spec.training.fit import fit

    if init:
        what = f"{preset.name} is fitted in one pass and has no initial weights"
        raise InputError("`init`", what, "leave it out")
    check_run(out, resume)
    train_set = open_sets(preset, data, out, None, progress)[0]
    record_preset(out, preset)
    return fit(preset, train_set, out, progress)


# ------------------------------------------------------------------------------------ before the first step


def _start_processes(preset: TrainedPreset) -> Accelerator:
    """Connect to the other processes, if a launcher started several."""
    if processes() == 1:  # drop the state of an earlier training, whose precision may differ
        AcceleratorState._reset_state(reset_partial_state=True)
    has_gpu = torch.cuda.is_available()  # without one, no half precision: it is far slower on most CPUs
    factorised = isinstance(preset, FactorisedPreset)
    # All processes compute the same buffers. A batch without any image leaves the image network unused.
    parallel = DistributedDataParallelKwargs(broadcast_buffers=False, find_unused_parameters=factorised)
    accelerator = Accelerator(
        mixed_precision=preset.train.precision if has_gpu else "no",
        cpu=not has_gpu,
        kwargs_handlers=[parallel],
    )
    sizes = {"train.batch_size": preset.train.batch_size}
    if isinstance(preset, FactorisedPreset):
        sizes["ranker.batch"] = min(preset.ranker.batch, preset.train.batch_size)
    check_launch(sizes)
    return accelerator


def _set_up(
    preset: TrainedPreset, data, out: Path, init, resume: bool, progress: bool, accelerator, until: float
) -> Run:
    """Build data, model, average and optimiser, and restore the checkpoint if there is one."""
    settings, is_main = preset.train, accelerator.is_main_process
    start = load_model(find_model(init))[0] if init else None
    if is_main:
        check_run(out, resume)
    if start is not None:
        _check_init(init, start, data)
    train_set, val_set = open_sets(preset, data, out, start, progress, is_main)

    torch.manual_seed(settings.seed)  # for the initial weights
    model = build_model(preset, train_set.info.grid, train_set.info.survey)
    if start is not None:
        model.load_state_dict(start.state_dict())
    if isinstance(train_set, Prepared):
        load_foundation(model, train_set.path)
    train_index = complete_galaxies(train_set, model.columns, "training")
    val_index = complete_galaxies(val_set, model.columns, "validation")
    model = share_statistics(model, accelerator.device)
    average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(settings.ema))
    optimizer = torch.optim.Adam(model.parameters(), lr=settings.lr, weight_decay=settings.weight_decay)
    if is_main:
        record_preset(out, preset)
    checkpoint, step, seconds = out / "checkpoint.safetensors", 0, 0.0
    if checkpoint.exists():
        step, seconds = load_checkpoint(checkpoint, model, average, optimizer)
    steps = accelerator.gather(torch.tensor([step], device=accelerator.device)).tolist()
    if set(steps) != {step}:
        what = f"processes found checkpoints of steps {', '.join(map(str, sorted(set(steps))))}"
        raise InputError(out, what, "put the folder on a file system that all processes share")
    share = accelerator.process_index, accelerator.num_processes
    on_cpu = copy.deepcopy(model) if accelerator.device.type != "cpu" else model  # batches are made on CPUs
    prepare = partial(_inputs, on_cpu, train_set.info.image_kind, settings.seed, share)
    forward, optimizer = accelerator.prepare(model, optimizer)
    average.to(accelerator.device)
    return Run(
        out, preset, accelerator, model, forward, average, optimizer, train_set, train_index,
        val_set, val_index, step, saved=step, began=time.monotonic() - seconds, until=until, prepare=prepare,
    )  # fmt: skip


def _inputs(model, image_kind: str, seed: int, share: tuple[int, int], step: int, batch: dict) -> dict:
    """Inputs of the network for this process's share of a step's batch."""
    return model.prepare(batch, image_kind, BatchRng(seed, step, share=share), train=True)


def _check_init(init, start, data: Path | Simulation) -> None:
    """Raise `InputError` if the initial model has other bands than the data: its weights are per band."""
    info = data.info if isinstance(data, Simulation) else read_info(shard_paths(data))
    seen = set(INPUTS) & set(start.columns or INPUTS)  # a factorised model has no columns: it uses both
    hint = "start from a model of the same survey, or leave out `init`"
    check_same_survey(init, start.survey, "the training data", info.survey, seen, hint)


# ------------------------------------------------------------------------------------------------ the steps


def _loop(run: Run, log: LossLog | None, bar, stop: list[int]) -> None:
    """Train to the last step.

    The checkpoint of a step is saved before the validation of that step, because a signal may end the
    validation early.
    """
    settings = run.preset.train
    data = run.train_set, run.train_index, run.model.columns
    loader = load_batches(*data, run.prepare, settings, run.step, *run.share)
    task = bar.add_task("training", total=settings.steps, completed=run.step, loss="", rate="")
    first, first_time = run.step, time.monotonic()
    due = run.step > 0 and _is_validated(settings, run.step)  # the checkpoint's step was not yet validated
    for batch in loader:
        if due:
            _validate(run, log, bar, stop)
        loss, stopped, late = _train_step(run, batch, stop)
        rate = (run.step - first) / (time.monotonic() - first_time)
        bar.update(task, completed=run.step, loss=f"loss {loss:.4f}", rate=f"{rate:.2f} steps/s")
        if log:
            log.write(run.step, train=loss)
        last = run.step == settings.steps or late
        wanted = stopped or run.step - run.saved >= settings.checkpoint_every
        # If a high loss does not fall again, the earlier checkpoint is the last good one: keep it.
        if last or (wanted and not run.watch.n_high):
            _save(run)
        if stopped:
            _end(run, bar, stop)
        due = last or _is_validated(settings, run.step)
        if late:
            break
    if due:
        _validate(run, log, bar, stop)


def _is_validated(settings, step: int) -> bool:
    return step % settings.validate_every == 0 or step == settings.steps


def _train_step(run: Run, batch: dict, stop: list[int]) -> tuple[float, bool, bool]:
    """Do one step of the optimiser.

    Returns
    -------
    loss : float
        Mean over all processes.
    stopped : bool
        Whether any process received a signal to stop.
    late : bool
        Whether the time of any process is over.
    """
    settings, accelerator = run.preset.train, run.accelerator
    run.optimizer.param_groups[0]["lr"] = learning_rate(settings, run.step, run.per_epoch)
    inputs = {name: torch.from_numpy(array) for name, array in batch.items()}
    run.model.train()
    loss = run.forward(**to_device(inputs, accelerator.device))
    accelerator.backward(loss)
    run.optimizer.step()
    run.optimizer.zero_grad()
    run.average.update_parameters(run.model)
    run.step += 1
    asked = loss.new_tensor([bool(stop), time.monotonic() >= run.until], dtype=torch.float32)
    told = torch.cat([loss.detach().float()[None], asked])
    value, stopped, late = accelerator.reduce(told, "mean").tolist()
    if wrong := run.watch.see(value):
        spoilt = [k for k, v in inputs.items() if v.is_floating_point() and not v.isfinite().all()]
        wrong += f", and so are inputs: {', '.join(spoilt)}" if spoilt else ""
        raise _diverged(run, wrong)
    return value, stopped > 0, late > 0


def _validate(run: Run, log: LossLog | None, bar, stop: list[int]) -> None:
    """Log the loss of the averaged model on the validation set. End the run if a signal arrives meanwhile."""
    settings, model, rank = run.preset.train, run.average.module, run.share[0]

    def stopped() -> bool:
        return any_process(bool(stop), run.accelerator.device)

    refresh_statistics(model, run.train_set, run.train_index, settings.batch_size, rank, stopped)
    loss = validation_loss(model, run.val_set, run.val_index, settings.validation_size, rank, stopped)
    if loss is None:
        if run.saved < run.step and not run.watch.n_high:
            _save(run)
        _end(run, bar, stop)
    if not math.isfinite(loss):
        raise _diverged(run, f"the validation loss is {loss}")
    if log:
        log.write(run.step, val=loss)
    bar.console.print(f"step {run.step}: validation loss {loss:.4f}")


def _save(run: Run) -> None:
    """Write the checkpoint in the main process while the others wait. Refuse NaN or infinite weights."""
    if not torch.stack([p.isfinite().all() for p in run.model.parameters()]).all():
        raise _diverged(run, "some weights are NaN or infinite")
    if run.accelerator.is_main_process:
        seconds = time.monotonic() - run.began
        save_checkpoint(run.out, run.model, run.average, run.optimizer, run.step, seconds)
    run.saved = run.step
    run.accelerator.wait_for_everyone()


def _end(run: Run, bar, stop: list[int]) -> None:
    """End the run after a signal to this process or another one."""
    bar.console.print(f"stopped at step {run.step}, checkpoint of step {run.saved}")
    raise KeyboardInterrupt(*stop[:1])


def _diverged(run: Run, what: str) -> InputError:
    kept = f"the checkpoint of step {run.saved} stays" if run.saved else "there is no checkpoint yet"
    return InputError(
        run.out, f"{what} at step {run.step}; {kept}",
        f"continue with `resume=True` and a smaller train.lr than {run.preset.train.lr:g}, or check the data "
        "with `pix2spec data check`",
    )  # fmt: skip


def _record(run: Run, data, init, validation_loss: float) -> dict:
    """Training record of a finished run, which is saved with the model."""
    before = read_config(find_model(init))["record"].get("samples_seen", 0) if init else 0
    return {
        "trained_on": f"{len(run.train_index)} pairs of {getattr(data, 'name', data)}",
        **({"started_from": model_id(find_model(init))} if init else {}),
        "images": run.train_set.info.image_kind,
        "data": run.train_set.info.provenance,
        "steps": run.step,
        "samples_seen": before + run.step * run.preset.train.batch_size,
        "hours": round((time.monotonic() - run.began) / 3600, 3),
        "device": str(run.accelerator.device),
        "processes": run.share[1],
        "validation_loss": validation_loss,
        **run_provenance(),
    }
