"""Score samplers of the default model with few and many network evaluations, on real spectra.

    python benchmarks/samplers.py --data DIR [--fold 0] [--samplers dpm++] [--evaluations 4 16]

The galaxies of a fold are scored by the network that never saw it, from fibre ugriz (3 % stated) and a given
redshift. The script prints a table.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np

from pix2spec.models.shared.settings import FLOW_SAMPLERS
from pix2spec.training.real_sky import load_real, real_spectra
from sky.ensembles import Judge, Task, Truth

EVALUATIONS = (2, 3, 4, 6, 8, 16)
STATED = 0.03  # error of fibre fluxes


def main(data: Path, fold: int, samplers: list[str], evaluations: list[int]) -> None:
    table, real = load_real(data)["spectra"], real_spectra(data)
    rows = np.flatnonzero(table.fold == fold)
    truth = Truth(real.flux, real.ivar, real.z).rows(rows)
    table = replace(table, error=STATED * np.abs(table.flux)).rows(rows)
    judge = Judge("default")
    print("| sampler | evaluations | CRPS, median-scaled | pixels in 68, 90 % | absolute flux in 68 % |")
    print("|---|---|---|---|---|")
    for sampler in samplers:
        for steps in evaluations:
            task = Task(use=("photometry", "redshift"), steps=steps, sampler=sampler)
            found = {name: np.mean(values) for name, values in judge(table, truth, task).items()}
            cells = f"{100 * found['pixels_68']:.1f}, {100 * found['pixels_90']:.1f} %"
            print(
                f"| {sampler} | {steps} | {found['crps_median']:.4f} | {cells} | "
                f"{100 * found['flux_68']:.1f} % |",
                flush=True,
            )
    judge.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of real tables")
    parser.add_argument("--fold", type=int, default=0)
    parser.add_argument("--samplers", nargs="+", choices=FLOW_SAMPLERS, default=list(FLOW_SAMPLERS))
    parser.add_argument("--evaluations", type=int, nargs="+", default=list(EVALUATIONS))
    arguments = parser.parse_args()
    main(arguments.data, arguments.fold, arguments.samplers, arguments.evaluations)
