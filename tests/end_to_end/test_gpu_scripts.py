"""The scripts for a GPU run at tiny size on CPUs, end in time, and go on from what they left."""

import csv
import json
import os
import subprocess
import sys
import time
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from pix2spec.training.checkpoint import steps_done
from support.paths import ROOT, SHARED

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


def test_a_training_of_the_default_model_travels(tmp_path):
    import default as program

    run, there, back = (tmp_path / name for name in ("run", "there", "back"))
    checkpoint = {"model.w": torch.randn(50, 9), "average.module.w": torch.randn(50, 9)}
    checkpoint |= {"adam.0.momentum": torch.randn(50, 9), "adam.0.step": torch.tensor(7.0)}
    for folder in (run / "network-0", there, back):
        folder.mkdir(parents=True)
    save_file(checkpoint, run / "network-0" / "checkpoint.safetensors", {"step": "7", "seconds": "1.5"})
    save_file({"mean": torch.randn(3).double()}, run / "basis-0.safetensors")
    (run / "run.json").write_text('{"recipe": "wide"}')
    program.keep(run, there)
    program.go_on(there, back)
    assert (back / "run.json").read_text() == (run / "run.json").read_text()
    path = back / "network-0" / "checkpoint.safetensors"
    assert steps_done(path) == 7
    found = load_file(path)
    assert torch.equal(found["model.w"], checkpoint["model.w"]) and found["adam.0.step"] == 7
    for name, error in (("average.module.w", 1e-3), ("adam.0.momentum", 1e-2)):
        assert found[name].dtype == torch.float32
        torch.testing.assert_close(found[name], checkpoint[name], rtol=error, atol=1e-4)
    assert load_file(back / "basis-0.safetensors")["mean"].dtype == torch.float64


def test_real_galaxies_travel_in_parts(tmp_path):
    import default as program

    (tmp_path / "real").mkdir()
    wanted = np.random.default_rng(0).integers(0, 255, 5000, np.uint8).tobytes()
    (tmp_path / "real" / "fors2.npz").write_bytes(wanted)
    parts = tmp_path / "parts"
    parts.mkdir()
    command = f"tar -C {tmp_path}/real -cf - fors2.npz | split -b 2000 - {parts}/part."
    subprocess.run(command, shell=True, check=True)
    assert len(list(parts.iterdir())) > 2
    found = program.unpacked(SimpleNamespace(work=tmp_path / "parts"), parts)
    assert (found / "fors2.npz").read_bytes() == wanted
    assert program.unpacked(SimpleNamespace(work=tmp_path), tmp_path / "real") == tmp_path / "real"


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
    with (tmp_path / "two" / "points.csv").open() as stream:  # ranked by the network that came back
        assert all(float(row["best_of_5.minmax_mse"]) > 0 for row in csv.DictReader(stream))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["bench", "paper"])
def test_a_script_ends_in_its_time(tmp_path, name):
    done, seconds = run(name, tmp_path, 0.2)
    assert seconds < 12 + 4 and (tmp_path / "log.txt").exists(), done.stdout


@pytest.mark.slow
def test_speeds_are_measured(tmp_path):
    done, _ = run("bench", tmp_path, 8)
    assert done.returncode == 0, done.stdout
    rates = [float(v) for name, v in report(tmp_path).items() if name.endswith("/s")]
    assert len(rates) == 17 and min(rates) > 0


def few_real(out):
    """A few galaxies of each archive of real ones."""
    out.mkdir()
    for path in SHARED.glob("*.npz"):
        with np.load(path, allow_pickle=False) as stored:
            if "gz2" in path.name or "pairs" in path.name or "dustpedia" in path.name:
                continue
            arrays = {name: stored[name] for name in stored.files}
        if "z" in arrays:
            size = len(arrays["z"])
            rows = np.random.default_rng(0).permutation(size)[: 120 if path.stem == "sdss_galaxies" else 200]
            arrays = {k: v[rows] if v.ndim and len(v) == size else v for k, v in arrays.items()}
        np.savez(out / path.name, **arrays)
    return out


@pytest.mark.slow
@pytest.mark.skipif(not SHARED.is_dir(), reason="needs the archives of real galaxies")
def test_the_default_model_trains_is_scored_and_is_kept(tmp_path):
    data = few_real(tmp_path / "real")
    done, _ = run(
        "default", tmp_path / "one", 9, "--data", str(data), "--steps", "9", "--work", str(tmp_path / "w")
    )
    assert done.returncode == 0, done.stdout
    assert json.loads((tmp_path / "one" / "simulated.json").read_text())["galaxies"] == 4
    assert report(tmp_path / "one")["steps"] == 9
    kept, _ = session.join_parts(tmp_path / "one", "run")
    assert {name.partition(".")[0] for name in kept} >= {
        "basis-0",
        "noise-3",
        "network-2/checkpoint",
        "network-1/scale",
        "pictures/checkpoint",
    }
    assert (tmp_path / "one" / "model.00.safetensors").exists()
