"""Trainings on two processes against the same on one; their end by signals and accidents."""

import json
import os
import signal
import sys
import time

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from pix2spec.data.dataset import write_dataset
from pix2spec.data.schema import DatasetInfo
from pix2spec.errors import InputError
from pix2spec.runtime.distributed import check_launch
from pix2spec.runtime.random import BatchRng
from pix2spec.training.loop import train
from support.processes import launch, rank_of, start, train_all
from support.tiny import (
    GRID,
    TINY,
    TINY_FACTORISED,
    TINY_PIXELS,
    TINY_SELECTOR,
    TINY_WUPEEK,
    tiny_galaxy,
    tiny_preset,
)

COMMON = ("train.steps=6", "train.batch_size=16")
FAMILIES = {  # batch normalisation of few objects makes much of rounding: those two learn slowly
    # Of one channel a group, normalisation takes the bias away: Adam would make steps of its rounding.
    "paper-concat-small": (*TINY, *TINY_PIXELS, *COMMON, "train.lr=1e-4", "denoiser.width=16"),
    "paper-contrastive-small": (*TINY, *TINY_SELECTOR, *COMMON, "train.lr=1e-4"),
    "paper-wu-peek-small": (*TINY_WUPEEK, *COMMON, "train.lr=1e-3"),
    "factorised": (*TINY_FACTORISED, *COMMON, "train.lr=1e-3", "ranker.batch=8", "condition.jitter=0.1"),
}


def losses(run, what="train"):
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return {row["step"]: row[what] for row in rows if what in row}


def steps_done(run) -> int:
    try:
        return max(losses(run), default=0)
    except (FileNotFoundError, ValueError):  # not begun, or half a line
        return 0


def saved_step(run) -> int:
    with safe_open(run / "checkpoint.safetensors", "pt") as stream:
        return int(stream.metadata()["step"])


def wait_for(condition, process, seconds=300):
    until = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < until, "it takes too long"
        time.sleep(0.02)


@pytest.fixture(scope="module")
def holed_data(tmp_path_factory):
    """Pairs of which every third lacks most of its pixels: each counts for less in a mean over pixels."""

    def galaxy(i):
        made = tiny_galaxy(i)
        made.ivar[: 150 * (i % 3 == 0)] = 0
        return made

    path = tmp_path_factory.mktemp("holed") / "data"
    write_dataset(path, (galaxy(i) for i in range(200)), DatasetInfo(grid=GRID))
    return path


# --------------------------------------------------------------------------------------------- random numbers


def test_shares_of_draws_make_up_those_of_the_whole_batch():
    whole = BatchRng(7, 3)
    shares = [BatchRng(7, 3, share=(rank, 2)) for rank in (0, 1)]
    for name, arguments, options in [
        ("normal", (6, 5), {}), ("uniform", (4, 6), {"axis": 1}), ("integers", (9, 2, 6, 1), {"axis": 1}),
        ("normal", (6,), {"dtype": torch.float64}),
    ]:  # fmt: skip
        axis = options.get("axis", 0)
        expected = getattr(whole, name)(*arguments, **options)
        sized = list(arguments)
        sized[axis + (name == "integers")] = 3
        parts = [getattr(rng, name)(*sized, **options) for rng in shares]
        for rank, part in enumerate(parts):
            every_second = expected.index_select(axis, torch.arange(rank, 6, 2))
            assert part.dtype == expected.dtype and torch.equal(part, every_second)
    numbers = [[torch.rand(1, generator=g).item() for g in rng.generators(2)] for rng in shares]
    together = [torch.rand(1, generator=g).item() for g in whole.generators(4)]
    assert together == [numbers[0][0], numbers[1][0], numbers[0][1], numbers[1][1]]
    states = [rng.generator.get_state() for rng in (whole, *shares)]
    assert all(torch.equal(states[0], state) for state in states)


def test_draws_differ_by_what_they_are_for():
    assert not torch.equal(BatchRng(0, 1).normal(8), BatchRng(0, 2).normal(8))
    assert not torch.equal(BatchRng(0, 1).normal(8), BatchRng(1, 1).normal(8))
    assert [BatchRng(0, share=(rank, 3)).first(7) for rank in range(3)] == [3, 2, 2]


# --------------------------------------------------------------------------------------------------- launches


def test_a_launcher_that_started_one_process_for_several_is_refused(monkeypatch):
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "no")
    monkeypatch.setenv("MASTER_PORT", "29500")
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with pytest.raises(InputError, match="torchrun"):
        check_launch({})


def test_batches_that_cannot_be_shared_are_refused(monkeypatch):
    monkeypatch.setattr("pix2spec.runtime.distributed.processes", lambda: 3)
    with pytest.raises(InputError, match=r"train\.batch_size: 16 objects cannot be shared equally by 3"):
        check_launch({"train.batch_size": 16})
    check_launch({"train.batch_size": 15})


# ------------------------------------------------------------------------------------- one process or two


@pytest.fixture(scope="module")
def runs(holed_data, tiny_survey, tmp_path_factory):
    """Each family trained by one process and by two."""
    folder = tmp_path_factory.mktemp("processes")
    jobs = [
        {
            "world": world, "preset": name, "overrides": overrides, "out": str(folder / f"{name}-{world}"),
            "data": str(tiny_survey if name == "factorised" else holed_data),
        }
        for name, overrides in FAMILIES.items() for world in (1, 2)
    ]  # fmt: skip
    train_all(jobs, folder)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES)
def test_two_processes_do_what_one_does(runs, name):
    one, two = runs / f"{name}-1", runs / f"{name}-2"
    for what in ("train", "val"):
        assert losses(two, what) == pytest.approx(losses(one, what), rel=1e-4)
    assert len(losses(one)) == 6 and len(losses(one, "val")) == 2
    a, b = (load_file(run / "checkpoint.safetensors") for run in (one, two))
    assert a.keys() == b.keys()
    for key in a:
        if not key.startswith("adam."):
            assert torch.allclose(a[key], b[key], rtol=1e-4, atol=1e-4), key
    config = json.loads((two / "config.json").read_text())
    assert config["record"]["processes"] == 2


# -------------------------------------------------------------------------------- signals and accidents


def arguments(data, out, *more):
    settings = [x for value in (*TINY, *TINY_PIXELS, "train.steps=100000", *more) for x in ("--set", value)]
    return ["paper-concat-small", data, "--out", out, *settings]


@pytest.mark.slow
def test_a_killed_process_ends_the_launch_and_the_run_resumes(tiny_data, tmp_path):
    out = tmp_path / "run"
    launcher = launch(2, *arguments(tiny_data, out))
    wait_for(lambda: steps_done(out) >= 4 and (out / "checkpoint.safetensors").exists(), launcher)
    rank_of(launcher, 1).kill()
    launcher.communicate(timeout=200)
    assert launcher.returncode != 0
    last = saved_step(out) + 4  # some steps again, and some that are new
    resumed = launch(2, *arguments(tiny_data, out, f"train.steps={last}"), "--resume")
    told, _ = resumed.communicate(timeout=400)
    assert resumed.returncode == 0, told
    assert told.count(f"step {last}: validation loss") == told.count("Trained model") == 1
    whole = train(tiny_preset("paper-concat-small", f"train.steps={last}"), tiny_data, tmp_path / "whole")
    assert losses(out) == pytest.approx(losses(whole), rel=1e-4)
    assert sorted(losses(out)) == list(range(1, last + 1))
    assert losses(out, "val")[last] == pytest.approx(losses(whole, "val")[last], rel=1e-4)
    assert not list(out.glob("*.partial"))


@pytest.mark.slow
def test_a_launch_that_is_told_to_stop_leaves_a_checkpoint_of_its_last_step(tiny_data, tmp_path):
    out = tmp_path / "run"
    launcher = launch(2, *arguments(tiny_data, out, "train.checkpoint_every=100000"))
    wait_for(lambda: steps_done(out) >= 2, launcher)
    told_at = time.time()
    launcher.send_signal(signal.SIGTERM)
    told, _ = launcher.communicate(timeout=200)
    assert launcher.returncode != 0
    assert saved_step(out) == steps_done(out), told
    assert (out / "checkpoint.safetensors").stat().st_mtime - told_at < 10


@pytest.mark.slow
@pytest.mark.parametrize("number, code", [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_to_all_of_a_run_says_so_in_its_exit_code(tiny_data, tmp_path, number, code):
    out = tmp_path / "run"
    more = ("train.checkpoint_every=100000", "train.workers=1")  # the worker gets the signal too
    command = [sys.executable, "-m", "pix2spec", "train", *map(str, arguments(tiny_data, out, *more))]
    process = start(command)
    wait_for(lambda: steps_done(out) >= 2, process)
    told_at = time.time()
    os.killpg(process.pid, number)
    told, _ = process.communicate(timeout=200)
    assert process.returncode == code, told
    assert saved_step(out) == steps_done(out) and "--resume" in told
    assert (out / "checkpoint.safetensors").stat().st_mtime - told_at < 10
    assert all(np.isfinite(list(losses(out).values())))
