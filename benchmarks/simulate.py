"""Measure how many galaxies a second the simulated survey makes on one core.

    python benchmarks/simulate.py [N] [--camera unruly]

At least 400 are wanted.
"""

import argparse
import os
import time

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"  # read when numpy is first imported, below


def main(n: int, camera: str) -> None:
    from pix2spec.data.simulate import SimulatedSurvey

    survey = SimulatedSurvey(seed=0, camera=camera)
    survey.sample(1)  # warm up
    begin = time.process_time()
    for _ in survey.galaxies(n, start=128):
        pass
    print(f"{n / (time.process_time() - begin):.0f} pairs/s per core")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("n", type=int, nargs="?", default=1280, help="galaxies")
    parser.add_argument("--camera", default="steady", help="steady or unruly")
    arguments = parser.parse_args()
    main(arguments.n, arguments.camera)
