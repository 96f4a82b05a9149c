"""Pairs per second of the simulated survey on one core (budget: at least 400)."""

import os
import time

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"  # read when numpy is first imported, below


def main(n=1280):
    from pix2spec.data.simulate import SimulatedSurvey

    survey = SimulatedSurvey(seed=0)
    survey.sample(1)  # warm up
    begin = time.process_time()
    for _ in survey.galaxies(n, start=128):
        pass
    print(f"{n / (time.process_time() - begin):.0f} pairs/s per core")


if __name__ == "__main__":
    main()
