"""The columns of a catalogue that follow from candidates and photometry alone."""

import numpy as np

from pix2spec.core.grid import SpectralGrid
from pix2spec.core.photometry import filter_matrix, magnitude
from pix2spec.core.quantiles import known_quantiles
from pix2spec.core.survey import Survey
from pix2spec.products.columns import Contents, phot_columns
from pix2spec.products.ensemble import Ensemble
from pix2spec.products.synthetic import colour_columns, magnitude_columns
from pix2spec.products.units import PHYSICAL, QUANTILES

__all__ = ["MEDIAN_AND_68_PERCENT", "Derived"]

MEDIAN_AND_68_PERCENT = (0.5, 0.16, 0.84)
ENDS = ("", "_lo", "_hi")
MAGNITUDES_PER_RELATIVE_ERROR = 2.5 / np.log(10)


class Derived:
    """Redshift, synthetic magnitudes and colours of an ensemble, and its photometry as it was understood."""

    def __init__(self, grid: SpectralGrid, survey: Survey, contents: Contents):
        magnitudes = magnitude_columns(grid, survey, contents.synthesised)
        self.colours = colour_columns(grid, survey)
        self.quantities = [*magnitudes, *self.colours]
        names = list(magnitudes.values())
        self.weights = filter_matrix(grid.wave, names).astype(np.float32) if names else None
        self.measurements = phot_columns(contents.photometry)

    def __call__(self, ensemble: Ensemble) -> dict:
        """Values by column."""
        z = np.full(1, np.nan) if ensemble.redshifts is None else ensemble.redshifts
        levels = known_quantiles(z, QUANTILES)
        values = dict(zip((f"z_q{round(100 * level):02d}" for level in QUANTILES), levels))
        values |= {"z": values["z_q50"], "chi2": ensemble.chi2}
        return values | self._synthetic(ensemble) | self._photometry(ensemble)

    def _synthetic(self, ensemble: Ensemble) -> dict:
        """Magnitudes, which need physical fluxes, and colours, which need a zero point; NaN otherwise."""
        if self.weights is None:
            return {}
        magnitudes = magnitude(ensemble.candidates @ self.weights)
        own = len(self.colours) + bool(self.colours)  # the survey's bands come first
        colour = -np.diff(magnitudes[:, :own], axis=1)
        if ensemble.unit != PHYSICAL:
            magnitudes = np.full_like(magnitudes, np.nan)
        if not ensemble.has_zero_point:
            colour = np.full_like(colour, np.nan)
        intervals = known_quantiles(np.hstack([magnitudes, colour]), MEDIAN_AND_68_PERCENT)
        return {
            name + end: column
            for end, row in zip(ENDS, intervals)
            for name, column in zip(self.quantities, row)
        }

    def _photometry(self, ensemble: Ensemble) -> dict:
        if not self.measurements:
            return {}
        values: dict = {}
        for name in self.measurements.values():
            values |= {f"phot_{name}": np.nan, f"phot_{name}_err": np.nan, f"ext_{name}": np.nan}
        given = ensemble.measurements
        if given is None:
            return values | {"phot_kind": ""}
        removed = ensemble.removed_extinction
        removed = np.zeros(len(given.flux)) if removed is None else removed
        magnitudes = magnitude(given.flux) + removed
        errors = MAGNITUDES_PER_RELATIVE_ERROR * given.error / np.where(given.flux > 0, given.flux, np.nan)
        kinds: dict[str, str] = {}
        for k, measurement in enumerate(zip(given.filters, given.kinds)):
            if measurement not in self.measurements:
                continue
            name = self.measurements[measurement]
            values |= {
                f"phot_{name}": magnitudes[k],
                f"phot_{name}_err": errors[k],
                f"ext_{name}": removed[k],
            }
            kinds.setdefault(measurement[0], measurement[1])
        words = list(kinds.values())
        return values | {"phot_kind": words[0] if len(set(words)) == 1 else " ".join(words)}
