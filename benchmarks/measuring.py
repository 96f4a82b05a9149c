"""Measure the cost of measuring candidates against that of their generation, on one core.

    python benchmarks/measuring.py [--galaxies 32] [--candidates 25] [--repeats 3]

The galaxies are simulated; the model is the default one. Times are processor seconds, the least of several
repetitions: other programs on the machine do not count.
"""

import argparse
import tempfile
import time
from collections.abc import Callable

import torch

from pix2spec.data.dataset import Dataset
from pix2spec.data.simulate import simulate
from pix2spec.generate.load import load
from pix2spec.measure.ensembles import measure_ensembles
from pix2spec.models.generator import Settings


def processor_seconds(function: Callable, repeats: int) -> float:
    """Least time of some calls, after one that fills caches."""
    function()
    times = []
    for _ in range(repeats):
        start = time.process_time()
        function()
        times.append(time.process_time() - start)
    return min(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--galaxies", type=int, default=32)
    parser.add_argument("--candidates", type=int, default=25)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        simulate(folder, options.galaxies, seed=5, progress=False)
        galaxies = list(Dataset(folder))
    model, settings = load(), Settings(n=options.candidates)
    made = model.generate_batch(galaxies, "linear", settings)
    drawing = processor_seconds(lambda: model.generate_batch(galaxies, "linear", settings), options.repeats)
    measuring = processor_seconds(lambda: measure_ensembles(made), options.repeats)
    count = options.galaxies
    print(f"{count} galaxies, {options.candidates} candidates each, {model.grid.size} pixels, one core:")
    print(f"  generation {1e3 * drawing / count:.1f} ms a galaxy, measuring {1e3 * measuring / count:.1f} ms")
    print(f"  ratio {measuring / drawing:.2f}")


if __name__ == "__main__":
    main()
