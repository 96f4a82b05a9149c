"""Synthetic magnitudes of spectra: the filters that spectra cover, and the names of the columns."""

from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase
from functools import cache
from importlib.resources import files
from itertools import pairwise

import numpy as np

from pix2spec.core.filters import load_filter
from pix2spec.core.grid import SpectralGrid
from pix2spec.core.photometry import filter_matrix
from pix2spec.core.survey import Survey
from pix2spec.errors import InputError

__all__ = ["colour_columns", "covered_filters", "find_filters", "magnitude_columns"]

MIN_COVERAGE = 0.99  # of a filter's transmission


@cache
def covered_filters(grid: SpectralGrid, names: tuple[str, ...]) -> tuple[str, ...]:
    """The filters of which a grid covers 99 % of the transmission."""
    if not names:
        return ()
    weights = filter_matrix(grid.wave, names, min_coverage=MIN_COVERAGE)
    return tuple(name for name, inside in zip(names, np.isfinite(weights).all(0)) if inside)


def magnitude_columns(grid: SpectralGrid, survey: Survey, synthesised: Sequence[str]) -> dict[str, str]:
    """Names of the columns of synthetic magnitudes, with their filters."""
    bands = dict(zip(survey.filters, survey.photometry_bands))
    own = {f"mag_{bands[name]}": name for name in covered_filters(grid, survey.filters)}
    return own | {f"mag_{name}": name for name in synthesised}


def colour_columns(grid: SpectralGrid, survey: Survey) -> list[str]:
    """Names of the colours between neighbouring bands of the survey."""
    names = magnitude_columns(grid, survey, ())
    return [f"{blue[4:]}_{red[4:]}" for blue, red in pairwise(names)]


def find_filters(
    patterns: Sequence[str], grid: SpectralGrid, say: Callable[[str], None] = print
) -> tuple[str, ...]:
    """Filters of speclite by name or pattern, as in ``lsst2023-*``, that spectra on `grid` cover.

    `say` is called with a sentence about filters that fit a pattern, and that the spectra do not cover.

    Raises
    ------
    InputError
        If a pattern fits no filter that the spectra cover.
    """
    names_of_files = (path.name for path in (files("speclite") / "data" / "filters").iterdir())
    known = sorted(name.removesuffix(".ecsv") for name in names_of_files if name.endswith(".ecsv"))
    found: list[str] = []
    for pattern in patterns:
        names = [name for name in known if fnmatchcase(name, pattern)]
        if not names:
            load_filter(pattern)  # raises
        covered = covered_filters(grid, tuple(names))
        ends = f"{grid.wave[0]:.0f} to {grid.wave[-1]:.0f} Angstrom"
        if not covered:
            raise InputError(pattern, f"the spectra, {ends}, do not cover it", "choose other filters")
        if left_out := [name for name in names if name not in covered]:
            say(f"no synthetic magnitudes in {', '.join(left_out)}: the spectra end at {ends}")
        found += covered
    return tuple(dict.fromkeys(found))
