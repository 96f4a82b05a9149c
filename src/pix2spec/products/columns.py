"""The columns of a catalogue: their types, and the quantities that are derived from candidates."""

import json
from itertools import pairwise

import numpy as np
import pyarrow as pa

from pix2spec.core.grid import SpectralGrid
from pix2spec.core.photometry import filter_matrix, magnitude
from pix2spec.core.survey import Survey
from pix2spec.data.measurements import BRIGHTNESS_COLUMN, MEASUREMENT_COLUMNS
from pix2spec.products.ensemble import Ensemble
from pix2spec.products.units import PER_CANDIDATE, PHYSICAL, QUANTILE_NAMES

__all__ = ["VECTORS", "Derived", "catalogue_schema"]

VECTORS = ("flux", *QUANTILE_NAMES)
MEDIAN_AND_68_PERCENT = (0.5, 0.16, 0.84)


def catalogue_schema(grid: SpectralGrid, derived: list[str], metadata: dict) -> pa.Schema:
    """Columns of a catalogue. Nothing is null, so that astropy reads them too: NaN or empty is missing."""
    f32 = pa.float32()
    columns = [pa.field(n, pa.string()) for n in ("object_id", "status", "error")]
    columns += [pa.field(n, pa.float64()) for n in ("ra", "dec", "z", "ebv")]
    columns += [pa.field(n, pa.string()) for n in ("unit", "select")]
    columns += [pa.field("n_candidates", pa.int32()), pa.field("flags", pa.list_(pa.string()))]
    columns += [pa.field(n, pa.float64()) for n in derived]
    columns += [pa.field(n, pa.list_(f32, grid.size)) for n in VECTORS]
    columns += [pa.field(n, pa.list_(f32)) for n in PER_CANDIDATE]
    columns += [pa.field("selected", pa.list_(pa.int32()))]
    columns += [pa.field("candidates", pa.list_(f32))]
    columns += [pa.field(name, kind) for name, kind in (MEASUREMENT_COLUMNS | BRIGHTNESS_COLUMN).items()]
    return pa.schema(columns, metadata={"pix2spec": json.dumps(metadata, default=str)})


class Derived:
    """Synthetic magnitudes and colours in the bands that the grid covers, and redshift, with intervals."""

    def __init__(self, grid: SpectralGrid, survey: Survey):
        weights = filter_matrix(grid.wave, survey.filters, min_coverage=0.99)
        covered = np.isfinite(weights).all(0)
        self.weights = weights[:, covered]
        bands = [band for band, inside in zip(survey.photometry_bands, covered) if inside]
        self.magnitudes = [f"mag_{band}" for band in bands]
        self.colours = [f"{blue}_{red}" for blue, red in pairwise(bands)]
        quantities = self.magnitudes + self.colours
        self.names = [name + end for name in [*quantities, "z_model"] for end in ("", "_lo", "_hi")]

    def __call__(self, ensemble: Ensemble) -> dict:
        """Median and 16 to 84 % interval over the candidates.

        Magnitudes need physical fluxes, colours a zero point: they are NaN otherwise.
        """
        nanomaggies = ensemble.candidates @ self.weights
        magnitudes = magnitude(nanomaggies)
        colour = magnitudes[:, :-1] - magnitudes[:, 1:]
        if ensemble.unit != PHYSICAL:
            magnitudes = np.full_like(magnitudes, np.nan)
        if not ensemble.has_zero_point:
            colour = np.full_like(colour, np.nan)
        values: dict = {}
        z = np.full(len(colour), np.nan) if ensemble.redshifts is None else ensemble.redshifts
        quantities = [*self.magnitudes, *self.colours, "z_model"]
        for name, column in zip(quantities, np.column_stack([magnitudes, colour, z]).T):
            known = column[np.isfinite(column)]
            interval = (
                np.quantile(known, MEDIAN_AND_68_PERCENT) if 2 * len(known) > len(column) else [np.nan] * 3
            )
            values |= dict(zip((name, name + "_lo", name + "_hi"), interval))
        return values
