"""Learn noise levels and weights with which few evaluations of the network end where many do.

    python benchmarks/sampler_levels.py [--evaluations 4 3] [--galaxies 48] [--candidates 24]

Simulated galaxies of seed 11, half of them with their cutouts, at their redshifts. Candidates of all networks
start from the same numbers with few evaluations and with MANY. The script minimises the mean squared
difference of their normal scores, in which each coefficient of the continuum counts by the light that it
moves, plus that of the logarithms of their spreads. It prints both for galaxies of
another seed, and the result, which is in `sampler.LEARNED`.
"""

import argparse
from dataclasses import replace

import numpy as np
import torch
from scipy.optimize import minimize

from default_model import galaxies_of
from pix2spec.data.simulate import SimulatedSurvey
from pix2spec.generate.load import load
from pix2spec.models.spectrum.draw import Answer, Draws, _brightness
from pix2spec.models.spectrum.inputs import as_seen
from pix2spec.models.spectrum.sampler import Schedule, sample_around, schedule

SEED, HELD_OUT, MANY = 11, 12, 32
SPREADS = 1.0  # weight of the spreads in the loss


class Problem:
    """Candidates of some simulated galaxies before they are drawn."""

    def __init__(self, seed: int, galaxies: int, candidates: int):
        model = load("default", device="cpu")
        simulated = SimulatedSurvey(seed).sample(galaxies)
        every = [model._prepared(galaxy, "linear") for galaxy in galaxies_of(simulated)]
        every = [galaxy if k % 2 else replace(galaxy, image=None) for k, galaxy in enumerate(every)]
        seen = as_seen(
            every, [galaxy.measured for galaxy in every], "linear", 0.01, model.model.pictures, model.survey
        )
        self.stack, tables = model.stack, model.tables(seen.filters)
        networks = len(self.stack.numbers)
        columns = np.arange(candidates).reshape(-1, networks).T
        zeta = torch.from_numpy(np.log10(1 + simulated["z"])).float()
        zeta = zeta[None, :, None].expand(networks, -1, columns.shape[1])
        draws = Draws(0, [galaxy.object_id for galaxy in every], self.stack.numbers, columns)
        start = draws.start(self.stack.network.dimension + 1)
        brightness = _brightness(seen, start[..., -1], zeta)
        self.answer = Answer.of(self.stack, seen, tables, zeta, brightness, ())
        self.start = start[..., :-1].contiguous()
        self.importance = self._importance()
        self.exact = self.drawn(schedule("dpm++", MANY))

    def _importance(self) -> torch.Tensor:
        """Weights (D,), 1 on average: of the continuum, by the light that a coefficient moves."""
        network = self.stack.network
        k, knots = 1 + network.basis.n_components, network.normal.knots
        light = network.basis.components.square().mean((0, -1)) * knots[:, 1:k].var(-1).mean(0)
        weight = torch.ones(network.dimension)
        weight[1:k] = light / light.mean()
        return weight

    def drawn(self, plan: Schedule) -> torch.Tensor:
        """Normal scores of the candidates."""
        answer = self.answer
        answer.levels, answer._modulations = plan[0], {}
        known = answer.known
        return sample_around(answer.correction, known.mean, known.spread, "dpm++", plan, self.start)

    def spread(self, x: torch.Tensor) -> torch.Tensor:
        """Mean spread (D,) of the candidates of one galaxy from one network."""
        return x.unflatten(1, (self.answer.condition.shape[1], -1)).std(2).mean((0, 1))

    def errors(self, plan: Schedule) -> tuple[float, torch.Tensor]:
        """Mean squared difference from many evaluations, and logarithms (D,) of the ratios of spreads."""
        x = self.drawn(plan)
        ratio = torch.log(self.spread(x) / self.spread(self.exact))
        return float(((x - self.exact).clamp(-2, 2).square() * self.importance).mean()), ratio

    def loss(self, plan: Schedule) -> float:
        """What is minimised."""
        difference, ratio = self.errors(plan)
        return difference + SPREADS * float(ratio.square().mean())

    def report(self, name: str, plan: Schedule) -> None:
        """Print the errors of a schedule."""
        difference, ratio = self.errors(plan)
        k = 1 + self.stack.network.basis.n_components
        parts = (ratio[:1], ratio[1:k], ratio[k:-1], ratio[-1:])
        spreads = ", ".join(f"{100 * float(part.exp().mean() - 1):+.1f} %" for part in parts)
        print(f"{name}: squared difference {difference:.5f}; spreads of brightness, continuum, lines, width "
              f"against {MANY} evaluations {spreads}", flush=True)  # fmt: skip


def plan_of(parameters: np.ndarray, evaluations: int) -> Schedule:
    """Steps as a softmax of logarithms, and weights."""
    steps = np.exp(np.r_[0.0, parameters[: evaluations - 1]])
    levels = 1 - np.cumsum(np.r_[0.0, steps]) / steps.sum()
    levels[-1] = 0.0
    return tuple(levels.tolist()), (0.0, *parameters[evaluations - 1 :].tolist())


def parameters_of(plan: Schedule) -> np.ndarray:
    """The inverse of `plan_of`."""
    steps = -np.diff(plan[0])
    return np.r_[np.log(steps[1:] / steps[0]), plan[1][1:]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--evaluations", type=int, nargs="+", default=[4, 3])
    parser.add_argument("--galaxies", type=int, default=48)
    parser.add_argument("--candidates", type=int, default=24)
    options = parser.parse_args()
    torch.set_num_threads(1)
    with torch.inference_mode():
        learn, test = (Problem(seed, options.galaxies, options.candidates) for seed in (SEED, HELD_OUT))
        test.report("16 evaluations", schedule("dpm++", 16))
        for count in options.evaluations:
            before = schedule("dpm++", count)
            test.report(f"{count} evaluations before", before)
            found = minimize(
                lambda p, count=count: learn.loss(plan_of(p, count)), parameters_of(before),
                method="Nelder-Mead", options={"xatol": 5e-3, "fatol": 1e-5, "maxfev": 60 * count},
            )  # fmt: skip
            plan = plan_of(found.x, count)
            levels, weights = (tuple(round(x, 4) for x in values) for values in plan)
            test.report(f"{count} evaluations learned", (levels, weights))
            print(f"    {count}: ({levels}, {weights}),", flush=True)


if __name__ == "__main__":
    main()
