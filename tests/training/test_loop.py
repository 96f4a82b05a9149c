import json
import math
import os
import shutil
import signal
import sys

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file

from pix2spec.data.dataset import write_dataset
from pix2spec.data.schema import DatasetInfo
from pix2spec.errors import InputError
from pix2spec.models.storage import read_config
from pix2spec.runtime.random import BatchRng
from pix2spec.training import loop as train_module
from pix2spec.training.batches import Batches
from pix2spec.training.log import LossLog, LossWatch
from pix2spec.training.loop import train
from pix2spec.training.rate import learning_rate
from support.tiny import GRID, tiny_galaxy, tiny_preset, write_tiny_dataset


def losses(run):
    return {
        (row["step"], name): value
        for line in (run / "metrics.jsonl").read_text().splitlines()
        for row in [json.loads(line)]
        for name, value in row.items()
        if name != "step"
    }


def test_a_run_leaves_a_loadable_model_with_its_record(tiny_run):
    from pix2spec.models.storage import load_model

    _, config = load_model(tiny_run)
    record = config["record"]
    assert record["steps"] == 6 and record["samples_seen"] == 48
    assert np.isfinite(record["validation_loss"]) and "pix2spec" in record["command"]
    assert (tiny_run / "preset.yaml").is_file() and any((tiny_run / "tensorboard").iterdir())
    assert not list(tiny_run.glob("*.partial"))


@pytest.mark.parametrize("name", ["paper-concat-small", "paper-contrastive-small"])
def test_a_resumed_run_repeats_the_uninterrupted_one_exactly(tiny_data, tmp_path, monkeypatch, name):
    whole = train(tiny_preset(name), tiny_data, tmp_path / "whole")

    class Killed(Exception):
        pass

    calls = []
    real = train_module.save_checkpoint

    def save_then_die(*args):
        real(*args)
        calls.append(args[4])
        raise Killed

    monkeypatch.setattr(train_module, "save_checkpoint", save_then_die)
    with pytest.raises(Killed):
        train(tiny_preset(name), tiny_data, tmp_path / "cut")
    monkeypatch.undo()
    assert calls == [3]
    cut = train(tiny_preset(name), tiny_data, tmp_path / "cut", resume=True)

    assert losses(cut) == losses(whole)
    a, b = load_file(whole / "model.safetensors"), load_file(cut / "model.safetensors")
    assert a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def test_losses_do_not_depend_on_the_number_of_workers(tiny_data, tmp_path):
    alone = train(tiny_preset(), tiny_data, tmp_path / "alone")
    helped = train(tiny_preset("paper-concat-small", "train.workers=2"), tiny_data, tmp_path / "helped")
    assert losses(alone) == losses(helped)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_finishes_its_step_and_goes_on_exactly(tiny_data, tmp_path, monkeypatch, number):
    whole = train(tiny_preset(), tiny_data, tmp_path / "whole")
    real = train_module.torch.optim.Adam.step

    def step_then_interrupt(self, *args, **kwargs):
        real(self, *args, **kwargs)
        if self.state[self.param_groups[0]["params"][0]]["step"] == 2:
            os.kill(os.getpid(), number)  # weights have moved, the step is not yet counted

    monkeypatch.setattr(train_module.torch.optim.Adam, "step", step_then_interrupt)
    with pytest.raises(KeyboardInterrupt):
        train(tiny_preset(), tiny_data, tmp_path / "cut")
    monkeypatch.undo()
    assert max(step for step, _ in losses(tmp_path / "cut")) == 2
    assert losses(train(tiny_preset(), tiny_data, tmp_path / "cut", resume=True)) == losses(whole)


def test_a_run_whose_time_is_over_leaves_its_model_and_goes_on_exactly(tiny_data, tmp_path):
    whole = train(tiny_preset(), tiny_data, tmp_path / "whole")
    cut = train(tiny_preset(), tiny_data, tmp_path / "cut", minutes=0)
    assert read_config(cut)["record"]["samples_seen"] == 8 and (1, "val") in losses(cut)
    train(tiny_preset(), tiny_data, cut, resume=True)
    assert {k: v for k, v in losses(cut).items() if k != (1, "val")} == losses(whole)


def test_weights_of_another_run_start_a_run_and_count_its_samples(tiny_data, tmp_path):
    first = train(tiny_preset("paper-concat-small", "train.steps=2"), tiny_data, tmp_path / "first")
    second = train(
        tiny_preset("paper-concat-small", "train.steps=1"), tiny_data, tmp_path / "second", init=first
    )
    assert read_config(second)["record"]["samples_seen"] == 24


def test_the_rate_warms_up_and_falls_by_epochs():
    settings = tiny_preset(
        "paper-concat-small", "train.lr=1e-3", "train.lr_decay=0.5", "train.warmup=4"
    ).train
    rates = [learning_rate(settings, step, 10) for step in (0, 1, 3, 4, 9, 10)]
    assert rates == pytest.approx([2.5e-4, 5e-4, 1e-3, 1e-3, 1e-3, 5e-4])


def test_a_damaged_checkpoint_is_named(tiny_data, tmp_path):
    (tmp_path / "checkpoint.safetensors").write_bytes(b"garbage")
    with pytest.raises(InputError, match="damaged checkpoint"):
        train(tiny_preset(), tiny_data, tmp_path, resume=True)


@pytest.mark.slow
def test_training_learns(tiny_data, tmp_path):
    # An untrained network's error is about one: that of the noise itself.
    preset = tiny_preset("paper-concat-small", "train.steps=50", "train.lr=1e-2", "train.ema=0.9")
    run = train(preset, tiny_data, tmp_path / "run")
    assert losses(run)[50, "val"] < 0.8


def test_an_existing_run_is_not_overwritten(tiny_run, tiny_data):
    with pytest.raises(InputError, match="`resume=True`"):
        train(tiny_preset("paper-xattn-small"), tiny_data, tiny_run)


def test_a_resumed_run_keeps_its_settings(tiny_run, tiny_data, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(tiny_run, run)
    with pytest.raises(InputError, match=r"train\.batch_size = 8, but the preset has 4"):
        train(tiny_preset("paper-xattn-small", "train.batch_size=4"), tiny_data, run, resume=True)


def test_a_checkpoint_of_another_architecture_is_refused(tiny_run, tiny_data, tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    shutil.copy(tiny_run / "checkpoint.safetensors", run)
    with pytest.raises(InputError, match="another architecture"):
        train(tiny_preset("paper-concat-small"), tiny_data, run, resume=True)


def test_data_without_images_or_too_few_are_refused(tmp_path):
    bare = [tiny_galaxy(i) for i in range(80)]
    for galaxy in bare:
        galaxy.image = None
    write_dataset(tmp_path / "bare", bare, DatasetInfo(grid=GRID, image_kind=None))
    with pytest.raises(InputError, match="no images"):
        train(tiny_preset(), tmp_path / "bare", tmp_path / "a")
    write_tiny_dataset(tmp_path / "small", 60)
    with pytest.raises(InputError, match="more than the"):
        train(tiny_preset("paper-concat-small", "train.batch_size=64"), tmp_path / "small", tmp_path / "b")


def test_a_loss_that_is_not_finite_stops_the_run(tiny_data, tmp_path):
    with pytest.raises(InputError, match=r"smaller train\.lr"):
        train(tiny_preset("paper-concat-small", "train.lr=1e30"), tiny_data, tmp_path / "run")


def test_pairs_lacking_image_or_spectrum_are_passed_over(tmp_path):
    galaxies = [tiny_galaxy(i) for i in range(200)]
    for galaxy in galaxies[::3]:
        galaxy.image = None
    for galaxy in galaxies[::5]:
        galaxy.flux = galaxy.ivar = None
    write_dataset(tmp_path / "data", galaxies, DatasetInfo(grid=GRID))
    run = train(tiny_preset(), tmp_path / "data", tmp_path / "run")
    assert all(np.isfinite(v) for v in losses(run).values())


def test_batches_are_a_function_of_seed_and_step_and_cover_each_epoch_once():
    whole = list(Batches(100, 10, 0, 0, 20, 0, 1))
    assert sorted(np.concatenate(whole[:10])) == list(range(100))
    assert not np.array_equal(whole[0], whole[10])
    later = list(Batches(100, 10, 0, 7, 20, 0, 1))
    assert all(np.array_equal(a, b) for a, b in zip(whole[7:], later))
    halves = [list(Batches(100, 10, 0, 0, 20, rank, 2)) for rank in (0, 1)]
    assert all(set(a) | set(b) == set(w) for a, b, w in zip(*halves, whole))


def test_a_run_of_an_older_version_resumes(tiny_data, tmp_path):
    preset = tiny_preset("paper-concat-small", "train.steps=3")
    run = train(preset, tiny_data, tmp_path / "run", progress=False)
    recorded = yaml.safe_load((run / "preset.yaml").read_text())
    del recorded["train"]["lr_schedule"]  # a key that it did not know
    (run / "preset.yaml").write_text(yaml.safe_dump(recorded))
    longer = tiny_preset("paper-concat-small", "train.steps=4")
    assert train(longer, tiny_data, run, resume=True, progress=False) == run


def test_a_loss_far_above_its_median_for_long_is_noticed():
    watch = LossWatch()
    for step in range(300):
        assert watch.see(1 + 0.5 * np.sin(step)) == ""
    for _ in range(LossWatch.PATIENCE - 1):
        assert watch.see(11.0) == ""
    assert watch.n_high == LossWatch.PATIENCE - 1
    assert watch.see(9.0) == "" and watch.n_high == 0  # it came down again
    told = [watch.see(11.0) for _ in range(LossWatch.PATIENCE)]
    assert told[:-1] == [""] * (LossWatch.PATIENCE - 1)
    assert told[-1].startswith("the loss is 11, for 20 steps above 10 times its median 1")


@pytest.mark.parametrize("loss", [math.nan, math.inf, -math.inf])
def test_a_loss_that_is_no_number_is_noticed_at_once(loss):
    assert LossWatch().see(loss) == f"the loss is {loss}"


@pytest.mark.parametrize("start", [1e-3, 7.0, 1e6])
def test_a_loss_that_falls_or_fluctuates_is_not_noticed(start):
    watch, rng = LossWatch(), np.random.default_rng(0)
    values = start * np.exp(-np.arange(2000) / 300) * rng.lognormal(0, 0.5, 2000)
    assert all(watch.see(value) == "" for value in values)


def test_a_diverging_run_keeps_its_last_good_checkpoint_and_goes_on_at_a_lower_rate(tiny_data, tmp_path):
    run = train(tiny_preset("paper-concat-small", "train.steps=3"), tiny_data, tmp_path / "run")
    good = load_file(run / "checkpoint.safetensors")
    absurd = tiny_preset("paper-concat-small", "train.steps=200", "train.lr=30")
    with pytest.raises(
        InputError, match=r"at step \d+; the checkpoint of step 3 stays \(.*smaller train\.lr"
    ):
        train(absurd, tiny_data, run, resume=True)
    assert max(step for step, _ in losses(run)) > 3  # it had gone on
    kept = load_file(run / "checkpoint.safetensors")
    assert kept.keys() == good.keys() and all(torch.equal(kept[k], good[k]) for k in good)
    mended = train(tiny_preset("paper-concat-small", "train.steps=6"), tiny_data, run, resume=True)
    assert sorted({step for step, _ in losses(mended)}) == [1, 2, 3, 4, 5, 6]
    assert all(np.isfinite(value) for value in losses(mended).values())


def test_weights_that_are_no_numbers_are_never_saved(tiny_data, tmp_path, monkeypatch):
    real = train_module.torch.optim.Adam.step

    def step_then_spoil(self, *args, **kwargs):
        real(self, *args, **kwargs)
        if self.state[self.param_groups[0]["params"][0]]["step"] == 6:  # the loss before it was a number
            self.param_groups[0]["params"][0].data.view(-1)[0] = math.nan

    monkeypatch.setattr(train_module.torch.optim.Adam, "step", step_then_spoil)
    with pytest.raises(InputError, match="weights are NaN or infinite at step 6; the checkpoint of step 3"):
        train(tiny_preset(), tiny_data, tmp_path / "run")
    assert not (tmp_path / "run" / "model.safetensors").exists()


def test_spoilt_inputs_are_named(tiny_data, tmp_path, monkeypatch):
    real = BatchRng.normal

    def spoil(self, *shape, **kwargs):
        numbers = real(self, *shape, **kwargs)
        numbers[0] = math.nan
        return numbers

    monkeypatch.setattr(BatchRng, "normal", spoil)
    with pytest.raises(InputError, match=r"inputs: noise at step 1; there is no checkpoint yet .*data check"):
        train(tiny_preset(), tiny_data, tmp_path / "run")


def test_a_signal_during_validation_leaves_it_to_the_resumed_run(tiny_run, tiny_data, tmp_path, monkeypatch):
    real = train_module.refresh_statistics

    def interrupt(*args):
        os.kill(os.getpid(), signal.SIGTERM)
        return real(*args)

    monkeypatch.setattr(train_module, "refresh_statistics", interrupt)
    with pytest.raises(KeyboardInterrupt) as stopped:
        train(tiny_preset("paper-xattn-small"), tiny_data, tmp_path / "cut")
    monkeypatch.undo()
    assert stopped.value.args == (signal.SIGTERM,)
    assert max(losses(tmp_path / "cut")) == (4, "train")
    cut = train(tiny_preset("paper-xattn-small"), tiny_data, tmp_path / "cut", resume=True)
    assert losses(cut) == losses(tiny_run)


def test_half_a_line_of_the_log_does_not_keep_a_run_from_resuming(tiny_run, tiny_data, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(tiny_run, run)
    with (run / "metrics.jsonl").open("a") as stream:
        stream.write('{"step": 7, "tr')
    again = train(tiny_preset("paper-xattn-small"), tiny_data, run, resume=True)
    assert losses(again) == losses(tiny_run)


def test_a_validation_loss_that_is_no_number_is_not_recorded(tiny_data, tmp_path, monkeypatch):
    monkeypatch.setattr(train_module, "validation_loss", lambda *_: math.nan)
    with pytest.raises(InputError, match="the validation loss is nan at step 4; the checkpoint of step 3"):
        train(tiny_preset(), tiny_data, tmp_path / "run")
    assert all(name == "train" for _, name in losses(tmp_path / "run"))


def test_a_run_without_tensorboard_logs_its_losses_and_says_how_to_get_it(
    tiny_run, tiny_data, tmp_path, monkeypatch, capsys
):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    run = train(tiny_preset("paper-xattn-small"), tiny_data, tmp_path / "run")
    said = capsys.readouterr().err
    assert said.count("pip install 'pix2spec[tensorboard]'") == 1 and "metrics.jsonl" in said
    assert not (run / "tensorboard").exists() and losses(run) == losses(tiny_run)
    monkeypatch.undo()
    log = LossLog(tmp_path, 0)
    log.close()
    assert log.notice == "" and (tmp_path / "tensorboard").is_dir()
