"""A simulated survey of galaxies with images, spectra, photometry and known truth.

`galaxies` draws the properties of the galaxies. `spectra` computes the spectra of their bulges and discs,
with the emission lines of `gas`. `images` computes their images, and the share of their light in the fibre.
`noise` adds the noise of the observations. `survey` combines these steps.
"""

from pix2spec.core.lines import LINES
from pix2spec.data.simulate.galaxies import AGN_TYPES, GALAXY_TYPES
from pix2spec.data.simulate.survey import SimulatedSurvey, simulate

__all__ = ["AGN_TYPES", "GALAXY_TYPES", "LINES", "SimulatedSurvey", "simulate"]
