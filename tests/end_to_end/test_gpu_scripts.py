"""The scripts for a GPU run at tiny size on CPUs, end in time, and go on from what they left."""

import csv
import json
import os
import subprocess
import sys
import time

import pytest
import torch

from support.paths import ROOT

sys.path.insert(0, str(ROOT / "scripts" / "gpu"))
import session

GPU = ROOT / "scripts" / "gpu"


def run(name, out, minutes, *options):
    command = [
        str(GPU / f"{name}.sh"),
        "--out",
        str(out),
        "--minutes",
        str(minutes),
        "--tiny",
        "--processes",
        "2",
    ]
    environment = os.environ | {"PIX2SPEC_PYTHON": sys.executable, "OMP_NUM_THREADS": "1"}
    began = time.monotonic()
    done = subprocess.run([*command, *options], env=environment, capture_output=True, text=True, timeout=900)
    return done, time.monotonic() - began


def report(out):
    return json.loads((out / "report.json").read_text())


def test_parts_are_small_and_join_to_the_same_tensors(tmp_path, monkeypatch):
    monkeypatch.setattr(session, "PART", 1000)
    tensors = {f"t{k}": torch.randn(100) for k in range(7)}
    paths = session.split_parts(tensors, {"steps": 3}, tmp_path, "network-0+checkpoint")
    assert len(paths) == 4 and all(path.stat().st_size < 1600 for path in paths)
    joined, about = session.join_parts(tmp_path, "network-0+checkpoint")
    assert about == {"steps": 3} and all(torch.equal(joined[name], tensors[name]) for name in tensors)
    paths[1].unlink()
    assert session.join_parts(tmp_path, "network-0+checkpoint") is None


def test_groups_of_files_are_fetched(tmp_path):
    for k in range(5):
        (tmp_path / f"{k}.safetensors").write_bytes(b"x" * 2**20)
    for number, wanted in ((1, 2), (3, 1), (4, 0)):
        command = [GPU / "fetch.sh", tmp_path, tmp_path / f"out{number}", str(number), "8", "2.5"]
        subprocess.run(list(map(str, command)), check=True, capture_output=True)
        assert len(list((tmp_path / f"out{number}").iterdir())) == wanted


def test_options_are_asked_for():
    done = subprocess.run([str(GPU / "bench.sh"), "--out", "x"], capture_output=True, text=True)
    assert done.returncode == 2 and "--minutes N" in done.stderr


@pytest.mark.slow
def test_the_papers_networks_train_score_and_go_on(tmp_path):
    done, _ = run("paper", tmp_path / "one", 8)
    assert done.returncode == 0, done.stdout
    with (tmp_path / "one" / "points.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert {(row["network"], row["sampler"]) for row in rows} == {
        (network, sampler) for network in ("concat", "xattn") for sampler in ("dpm++", "ddpm")
    }
    assert all(0 < float(row["best_of_5.minmax_mse"]) < 10 for row in rows)
    files = list((tmp_path / "one").iterdir())
    assert max(path.stat().st_size for path in files) < 2**24
    before = report(tmp_path / "one")["concat samples"]
    done, _ = run("paper", tmp_path / "two", 4, "--start", str(tmp_path / "one"), "--only", "concat")
    assert done.returncode == 0 and report(tmp_path / "two")["concat samples"] > before, done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("name", ["bench", "paper"])
def test_a_script_ends_in_its_time(tmp_path, name):
    done, seconds = run(name, tmp_path, 0.2)
    assert seconds < 12 + 15 and (tmp_path / "log.txt").exists(), done.stdout


@pytest.mark.slow
def test_speeds_are_measured(tmp_path):
    done, _ = run("bench", tmp_path, 8)
    assert done.returncode == 0, done.stdout
    rates = [float(v) for name, v in report(tmp_path).items() if name.endswith("/s")]
    assert len(rates) == 15 and min(rates) > 0
