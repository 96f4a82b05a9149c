"""The simulated survey: pairs of images and spectra whose truth is known.

The way through: `galaxies` draws them, `spectra` gives their bulges and discs spectra (with the
emission lines of `gas`), `images` pictures them and says how much of each the fibre sees, `noise`
observes, and `survey` ties it together.
"""

from pix2spec.core.lines import LINES
from pix2spec.data.simulate.galaxies import AGN_TYPES, GALAXY_TYPES
from pix2spec.data.simulate.survey import SimulatedSurvey, simulate

__all__ = ["AGN_TYPES", "GALAXY_TYPES", "LINES", "SimulatedSurvey", "simulate"]
