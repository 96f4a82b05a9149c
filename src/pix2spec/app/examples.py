"""A few galaxies of the simulated survey, made when the page starts."""

from dataclasses import replace

from pix2spec.data.schema import Pair
from pix2spec.data.simulate import SimulatedSurvey
from pix2spec.data.simulate.survey import BLOCK
from pix2spec.grid import SpectralGrid
from pix2spec.produce import DEMO_SEED

__all__ = ["simulated_examples"]

# What it is called, and of which type, nucleus and redshift it is.
WANTED = (
    ("Star-forming galaxy", ("late",), "none", (0.05, 0.1)),
    ("Quiescent galaxy", ("early",), "none", (0.05, 0.1)),
    ("Seyfert 2 galaxy", ("late", "green", "early", "post-starburst"), "seyfert2", (0.0, 0.2)),
    ("Post-starburst galaxy", ("post-starburst",), "none", (0.0, 0.2)),
    ("Distant quiescent galaxy", ("early",), "none", (0.2, 0.4)),
)


def simulated_examples(grid: SpectralGrid, seed: int = DEMO_SEED) -> dict[str, Pair]:
    """The first galaxy of each wanted kind, by a label with its redshift.

    Each has image, photometry and the spectrum that the simulated survey observed, but no known redshift:
    that is for the model to find.
    """
    examples = {}
    pairs = list(SimulatedSurvey(seed, grid).pairs(BLOCK))
    for name, types, nucleus, (low, high) in WANTED:
        for pair in pairs:
            truth = pair.truth
            if truth["true_type"] in types and truth["true_agn"] == nucleus and low <= pair.z < high:
                examples[f"{name}, z = {pair.z:.3f}"] = replace(pair, truth={})
                break
    return examples
