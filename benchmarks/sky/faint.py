"""Rows about the spectra of FORS2, of galaxies to r = 21.5 and z = 0.7, in relative flux."""

from collections.abc import Iterator

import numpy as np
from scipy.ndimage import uniform_filter1d

from pix2spec.training.spectrum.other_spectra import read_fors2
from sky.context import Sky
from sky.ensembles import Task, Truth
from sky.rows import measured
from sky.scores import Row, between

SECTION = "Spectra of FORS2"
FAINTEST = 21.5
SMOOTH, WIDE = 25, 101  # pixels of the running mean, and of the scatter about it
LEAST = 0.5  # of the pixels that a spectrum must have


def fors2(sky: Sky) -> Iterator[Row]:
    """From photometry alone, and with the redshift given: noise is the scatter about a running mean."""
    table = measured(sky.tables["fors2"])
    flux, ivar = read_fors2(sky.folder, sky.judge.generator.grid)
    truth = Truth(flux, running_ivar(flux, ivar > 0), sky.tables["fors2"].z).rows(table.row)
    known = (truth.ivar > 0).mean(1) > LEAST
    rows = known & (table.r < FAINTEST) & (table.z < sky.judge.generator.model.z_max)
    table, truth = table.rows(rows), truth.rows(rows)
    for label, use, inside in (
        ("photometry alone", ("photometry",), (0.60, 0.76)),
        ("photometry and z", ("photometry", "redshift"), (0.62, 0.74)),
    ):
        found = sky.judge(table, truth, Task(use=use, noise="truth"))
        values = {name: float(np.nanmean(found[name])) for name in ("crps_median", "pixels_68", "pixels_90")}
        if "redshift" not in use:
            values["redshift_68"] = float(np.mean(found["redshift_68"]))
        name = f"r < {FAINTEST}, {label}"
        sky.keep_ranks(f"FORS2, {label}", found["ranks"])
        yield Row(SECTION, name, len(table), values, between(pixels_68=inside))


def running_ivar(flux: np.ndarray, good: np.ndarray) -> np.ndarray:
    """Inverse variance (N, L) of spectra from their scatter about a running mean; 0 where not good."""

    def running(values, width):
        share = np.maximum(uniform_filter1d(good.astype(float), width, axis=1, mode="constant"), 1e-9)
        return uniform_filter1d(np.where(good, values, 0.0), width, axis=1, mode="constant") / share

    # A mean over n pixels follows each of them by a share of 1 / n.
    unbiased = SMOOTH / (SMOOTH - 1)
    variance = unbiased * running((flux - running(flux.astype(float), SMOOTH)) ** 2, WIDE)
    return np.where(good & (variance > 0), 1 / np.maximum(variance, 1e-12), 0.0)
