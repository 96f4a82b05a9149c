"""Example galaxies from the simulated survey, made when the page starts."""

from pix2spec.core.grid import SpectralGrid
from pix2spec.data.schema import Galaxy
from pix2spec.data.simulate import SimulatedSurvey
from pix2spec.data.simulate.survey import BLOCK
from pix2spec.generate.demo import DEMO_SEED

__all__ = ["simulated_examples"]

# Kinds of galaxies by name, each with a condition on truth (`data.simulate.survey.TRUTH`) and redshift.
WANTED = {
    "Star-forming galaxy": lambda t, z: t["true_logssfr"] > -10 and t["true_agn"] == "none" and z > 0.05,
    "Quiescent galaxy": lambda t, z: t["true_type"] == "early" and t["true_agn"] == "none" and z < 0.1,
    "Seyfert 2 galaxy": lambda t, z: t["true_agn"] == "seyfert2",
    "Post-starburst galaxy": lambda t, z: t["true_type"] == "post-starburst" and t["true_agn"] == "none",
    "Distant quiescent galaxy": lambda t, z: t["true_type"] == "early" and z > 0.2,
}


def simulated_examples(grid: SpectralGrid, seed: int = DEMO_SEED) -> dict[str, Galaxy]:
    """The first galaxy of each kind, by a label that states its redshift.

    Each has image, photometry, redshift and the spectrum that the simulated survey observed.
    """
    examples = {}
    galaxies = list(SimulatedSurvey(seed, grid).galaxies(BLOCK))
    for name, is_wanted in WANTED.items():
        galaxy = next((galaxy for galaxy in galaxies if is_wanted(galaxy.truth, galaxy.z)), None)
        if galaxy is not None:
            examples[f"{name}, z = {galaxy.z:.3f}"] = galaxy
    return examples
