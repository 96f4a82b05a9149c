"""Compare the time of the default model with that of the paper's model, for 25 candidates of one galaxy.

    python benchmarks/speedup.py [STEPS]

Both choose the best candidate, in one process. The paper's model (``paper-xattn``, 250 DDPM steps) has
random weights, on which its time does not depend; STEPS of its steps (5) are timed and scaled to 250. Its
selection is the contrastive network. The last line is the ratio of times for single galaxies.
"""

import argparse
import time

import numpy as np
import torch

from default_model import galaxies_of
from pix2spec.core.survey import SDSS
from pix2spec.data.schema import DEFAULT_GRID
from pix2spec.data.simulate import SimulatedSurvey
from pix2spec.generate.load import load
from pix2spec.models.generator import Settings
from pix2spec.models.pixel.generator import PixelGenerator
from pix2spec.models.presets import load_preset
from pix2spec.models.registry import build_model

THREADS, CANDIDATES, DDPM_STEPS = 2, 25, 250


def seconds(action, repeats: int) -> float:
    action()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        action()
        times.append(time.perf_counter() - start)
    return float(np.median(times))


def paper_seconds(galaxy, steps: int) -> float:
    """One galaxy of the paper's model: encoder and selection once, denoiser `DDPM_STEPS` times."""
    networks = [build_model(load_preset(n), DEFAULT_GRID, SDSS) for n in ("paper-xattn", "paper-contrastive")]
    generator = PixelGenerator(networks[0], {}, {}, "cpu", networks[1].eval())

    def run(n):
        settings = Settings(n=CANDIDATES, select="best", sampler="ddpm", steps=n)
        start = time.perf_counter()
        generator.generate_batch([galaxy], "linear", settings)
        return time.perf_counter() - start

    run(1)
    once, more = run(1), run(1 + steps)
    a_step = (more - once) / steps
    return once + (DDPM_STEPS - 1) * a_step


def main(steps: int) -> None:
    torch.set_num_threads(THREADS)
    galaxies = galaxies_of(SimulatedSurvey(2).sample(128))
    generator = load("default", device="cpu")
    best = Settings(n=CANDIDATES, select="best")
    alone = seconds(lambda: generator.generate_batch(galaxies[:1], "linear", best), 20)
    together = seconds(lambda: generator.generate_batch(galaxies, "linear", best), 3) / len(galaxies)
    paper = paper_seconds(galaxies[0], steps)
    print(f"paper-xattn, {DDPM_STEPS} DDPM steps, {CANDIDATES} candidates: {paper:.0f} s a galaxy")
    print(f"default, alone: {1e3 * alone:.1f} ms a galaxy")
    print(f"default, {len(galaxies)} in a batch: {1e3 * together:.2f} ms a galaxy")
    print(f"speedup in a batch: {paper / together:.0f}")
    print(f"speedup: {paper / alone:.0f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("steps", type=int, nargs="?", default=5, help="timed steps of the paper's model")
    main(parser.parse_args().steps)
