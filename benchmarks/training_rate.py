"""Compare the FLOP rate of training the factorised model with that of a large float32 matrix product.

    python benchmarks/training_rate.py [PRESET] [BATCH]

torch counts the FLOPs of the forward pass; forward and backward together are taken as three times that. The
preparation of the batch counts as time, but not as FLOPs.
"""

import argparse
import time
from collections.abc import Callable

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from pix2spec.core.survey import SDSS
from pix2spec.data.schema import DEFAULT_GRID
from pix2spec.models.latent.model import FactorisedModel
from pix2spec.models.presets import load_preset
from pix2spec.runtime.random import BatchRng


def matmul_rate(size: int = 4096, clock: Callable[[], float] = time.perf_counter) -> float:
    """GFLOP a second of a product of square matrices."""
    a = torch.randn(size, size)
    a @ a
    start = clock()
    for _ in range(3):
        a @ a
    return 3 * 2 * size**3 / (clock() - start) / 1e9


def main(name: str, batch_size: int, steps: int = 8) -> None:
    preset = load_preset(name)
    torch.manual_seed(0)
    model = FactorisedModel(preset, DEFAULT_GRID, SDSS)
    optimizer = torch.optim.Adam(model.parameters())
    draws, rng = BatchRng(0), np.random.default_rng(0)
    size, bands = preset.condition.image_size, len(SDSS.image_bands)
    batch = {
        "image": rng.normal(0.1, 0.03, (batch_size, bands, size, size)).astype(np.float16),
        "photometry": rng.uniform(5, 50, (batch_size, 5)).astype(np.float32),
        "photometry_ivar": np.ones((batch_size, 5), np.float32),
        "z": rng.uniform(0, 0.4, batch_size),
        "latents": rng.normal(size=(batch_size, 1, model.dimension)).astype(np.float32),
    }
    model.normal.fit(torch.from_numpy(batch["latents"][:, 0]))
    parts = dict.fromkeys(("prepare", "forward", "backward", "optimizer"), 0.0)
    flops = 0
    for step in range(steps + 2):
        marks = [time.perf_counter()]
        inputs = model.prepare(batch, "linear", draws, train=True)
        marks.append(time.perf_counter())
        if step == 0:
            with FlopCounterMode(display=False) as counter:
                model(**inputs)
            flops = 3 * counter.get_total_flops()
            continue
        loss = model(**inputs)
        marks.append(time.perf_counter())
        loss.backward()
        marks.append(time.perf_counter())
        optimizer.step()
        optimizer.zero_grad()
        marks.append(time.perf_counter())
        if step > 1:
            for part, seconds in zip(parts, np.diff(marks)):
                parts[part] += seconds / steps
    total, reference = sum(parts.values()), matmul_rate()
    for part, seconds in parts.items():
        print(f"{part:12}{seconds:.3f} s  {100 * seconds / total:.0f} %")
    print(
        f"step of {batch_size}: {total:.3f} s, {flops / 1e9:.1f} GFLOP, {batch_size / total:.0f} galaxies/s"
    )
    print(f"training {flops / total / 1e9:.0f} GFLOP/s, matrix product {reference:.0f} GFLOP/s")
    print(f"ratio: {flops / total / 1e9 / reference:.2f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("preset", nargs="?", default="factorised")
    parser.add_argument("batch", type=int, nargs="?", default=512)
    arguments = parser.parse_args()
    main(arguments.preset, arguments.batch)
