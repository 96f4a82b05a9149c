"""Score three samplers of the default model with few and many network evaluations.

    python benchmarks/samplers.py [N]

N simulated galaxies (384) are scored. The script prints a table and draws ``docs/images/samplers.png``.
"""

import argparse
from pathlib import Path

import numpy as np

from default_model import score
from pix2spec.data.simulate import SimulatedSurvey
from pix2spec.evaluation.metrics.calibration import interval_coverage
from pix2spec.generate.load import load
from pix2spec.models.shared.settings import FLOW_SAMPLERS

EVALUATIONS = (2, 4, 6, 8, 12, 16, 24, 48)
TEST_SEED = 2
MEASURES = ("CRPS, median-scaled", "clean MSE of the mean", "68 % coverage of redshift")


def main(n: int) -> None:
    generator, survey = load("default"), SimulatedSurvey(TEST_SEED)
    results = {}
    print(f"{'sampler':8}{'evaluations':>12}" + "".join(f"{m:>28}" for m in MEASURES))
    for sampler in FLOW_SAMPLERS:
        for steps in EVALUATIONS:
            settings = {"n": 32, "sampler": sampler, "steps": steps}
            columns, candidates, truths = score(generator, survey, n, settings)
            values = (
                columns["mean.crps_median"].mean(),
                columns["clean_mse"].mean(),
                interval_coverage(candidates[..., 0], truths[:, 0], 0.68)[0],
            )
            results[sampler, steps] = values
            print(f"{sampler:8}{steps:12}" + "".join(f"{v:28.4f}" for v in values), flush=True)
    draw(results)


def draw(results: dict) -> None:
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, len(MEASURES), figsize=(12, 3.4), layout="constrained")
    for k, (ax, name) in enumerate(zip(axes, MEASURES)):
        for sampler in FLOW_SAMPLERS:
            ax.plot(EVALUATIONS, [results[sampler, s][k] for s in EVALUATIONS], "o-", label=sampler)
        ax.set(xscale="log", xlabel="network evaluations", title=name)
        ax.set_xticks(EVALUATIONS, [str(s) for s in EVALUATIONS])
        ax.minorticks_off()
    axes[2].axhline(0.68, color="0.5", lw=1, ls="--")
    axes[0].legend()
    figure.savefig(Path(__file__).parents[1] / "docs" / "images" / "samplers.png", dpi=110)


if __name__ == "__main__":
    np.seterr(all="ignore")
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("n", type=int, nargs="?", default=384, help="simulated galaxies")
    main(parser.parse_args().n)
