"""Compare how fast galaxies are read with how fast a training step uses them, in one process.

    python benchmarks/loader.py [PRESET]

The dataset is simulated into a temporary folder. The result is in galaxies a second: reading, scaling and
augmenting, and training.
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from pix2spec.data.dataset import Dataset
from pix2spec.data.simulate import simulate
from pix2spec.models.presets import load_preset
from pix2spec.models.registry import build_model
from pix2spec.runtime.random import BatchRng

COLUMNS = ("image", "flux", "ivar")


def main(name, n=1024, rounds=20):
    preset = load_preset(name)
    size = min(preset.train.batch_size, 32)
    with tempfile.TemporaryDirectory() as folder:
        simulate(Path(folder) / "data", n, progress=False)
        data = Dataset(Path(folder) / "data")
        rng = np.random.default_rng(0)
        start = time.perf_counter()
        for _ in range(rounds):
            batch = data.batch(rng.integers(0, n, size), COLUMNS)
        reading = rounds * size / (time.perf_counter() - start)

        model = build_model(preset, data.info.grid, data.info.survey)
        draws = BatchRng(0)
        start = time.perf_counter()
        for _ in range(rounds):
            inputs = model.prepare(batch, data.info.image_kind, draws, train=True)
        preparing = rounds * size / (time.perf_counter() - start)

        optimizer = torch.optim.Adam(model.parameters())
        times = []
        for _ in range(5):
            start = time.perf_counter()
            model(**inputs).backward()
            optimizer.step()
            optimizer.zero_grad()
            times.append(time.perf_counter() - start)
        training = size / np.median(times)
    print(f"{name}, batch {size}, {torch.get_num_threads()} threads")
    print(f"reading   {reading:8.0f} pairs/s")
    print(f"preparing {preparing:8.0f} pairs/s (scaling and augmentation)")
    print(f"training  {training:8.0f} pairs/s")
    both = 1 / (1 / reading + 1 / preparing)
    print(f"ratio to training: reading {reading / training:.0f}, reading and preparing {both / training:.0f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("preset", nargs="?", default="paper-concat-small")
    main(parser.parse_args().preset)
