"""Rows about the spectra of the SDSS galaxies with spectra, each by networks that never saw its fold."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from scipy.stats import spearmanr

from pix2spec.core.grid import SpectralGrid
from pix2spec.training.real_sky import RealTable, jpas_filters, real_spectra
from sky.context import Sky
from sky.ensembles import COLOURS, QUANTITIES, Task, Truth, measured_quantities
from sky.reference import neighbours
from sky.rows import covered, synthetic
from sky.scores import Row, at_least, at_most, between

SECTION = "Spectra of SDSS galaxies"
STATED = 0.03  # error of fibre fluxes
DARK = 0.01  # of the measured r flux: a candidate with less has no light
RATIO = 0.97  # of the CRPS of neighbours
SETS = {"ugriz": "ugriz", "griz (without u)": "griz", "gri": "gri", "gr": "gr"}


def truth_of(sky: Sky) -> Truth:
    """The observed spectra of the table "spectra"."""
    real = real_spectra(sky.folder)
    return Truth(real.flux, real.ivar, real.z)


def fibre(sky: Sky) -> Iterator[Row]:
    """Fluxes in the fibre in less and less bands, after the neighbours that see ugriz."""
    table, truth = sky.tables["spectra"], truth_of(sky)
    table = replace(table, error=STATED * np.abs(table.flux))
    observed = measured_quantities(truth.flux, truth.z, SpectralGrid(), truth.ivar)
    reference = neighbours(table, truth, observed)
    yield Row(SECTION, "25 neighbours by fibre ugriz", len(table), _values(reference, observed))
    for label, bands in SETS.items():
        whole = bands == "ugriz"
        found = sky.judge(table.bands(bands), truth, Task(clean=True, quantities=whole))
        values = _values(found, observed) | offsets(found, table)
        values["crps_ratio"] = values["crps_median"] / float(np.mean(reference["crps_median"]))
        values["clamped"] = sky.judge.at_clamp(table.bands(bands))
        name = f"fibre {label}, {STATED:.0%} stated"
        sky.keep_ranks(name, found["ranks"])
        yield Row(SECTION, name, len(table), values, _targets(bands, reference, observed))


def _targets(bands: str, reference: dict, observed: dict) -> dict:
    colour = 0.03 if bands == "gr" else 0.01
    targets = at_most(dark=0, clamped=0, **dict.fromkeys(COLOURS, colour))
    if bands == "gr":
        return targets
    if bands != "ugriz":
        return targets | between(pixels_68=(0.64, 0.72))
    least = {name: round(value, 3) for name, value in correlations(reference, observed).items()}
    targets |= at_most(crps_ratio=RATIO) | at_least(**least)
    return targets | between(
        pixels_68=(0.66, 0.70), pixels_90=(0.88, 0.92), redshift_68=(0.64, 0.72), flux_68=(0.64, 0.72)
    )


def own_fluxes(sky: Sky) -> Iterator[Row]:
    """The spectra's own synthetic fluxes in other surveys' broad bands."""
    truth, targets = truth_of(sky), at_most(crps_median=0.046) | between(pixels_68=(0.65, 0.71))
    for label, survey in (("PS1", "panstarrs"), ("LSST", "lsst2023")):
        own = synthetic(sky, [f"{survey}-{band}" for band in "gri"], stated=0.02, noise=0.0)
        yield _row(sky, f"own fluxes in {label} gri, 2 % stated", own, truth, targets)


def narrow(sky: Sky) -> Iterator[Row]:
    """The spectra's own synthetic fluxes in narrow bands."""
    truth, inside = truth_of(sky), between(pixels_68=(0.65, 0.71), redshift_68=(0.64, 0.72))
    for noise, crps, nmad in ((0.01, 0.037, 0.0008), (0.05, 0.042, 0.0025)):
        own = covered(synthetic(sky, jpas_filters(sky.folder), stated=noise, noise=noise))
        name = f"own fluxes in {len(own.filters)} narrow bands, {noise:.0%} noise"
        yield _row(sky, name, own, truth, inside | at_most(crps_median=crps, sigma_nmad=nmad))


def _row(sky: Sky, name: str, table: RealTable, truth: Truth, targets: dict) -> Row:
    found = sky.judge(table, truth, Task())
    sky.keep_ranks(name, found["ranks"])
    return Row(SECTION, name, len(table), _values(found), targets)


def _values(found: dict, observed: dict | None = None) -> dict[str, float]:
    """Means over galaxies, the scatter of redshifts, and rank correlations with what is observed."""
    means = ("crps_median", "pixels_68", "pixels_90", "redshift_68", "flux_68")
    values = {name: float(np.nanmean(found[name])) for name in means if name in found}
    if "dz" in found:
        values["sigma_nmad"] = float(1.4826 * np.median(np.abs(found["dz"] - np.median(found["dz"]))))
    if observed is not None and QUANTITIES[0] in found:
        values |= correlations(found, observed)
    return values


def correlations(found: dict, observed: dict) -> dict[str, float]:
    """Spearman's correlation of predicted and observed quantities (N,), by name."""
    result = {}
    for name in QUANTITIES:
        known = np.isfinite(found[name]) & np.isfinite(observed[name])
        result[name] = float(spearmanr(found[name][known], observed[name][known]).statistic)
    return result


def offsets(found: dict, table: RealTable) -> dict[str, float]:
    """Median colours of candidates minus those of the fluxes of galaxies, and the number without light."""
    given = dict(zip(table.names, table.magnitude.T))
    values = {
        name: float(np.nanmedian(found[name] - (given[blue] - given[red])))
        for name, (blue, red) in COLOURS.items()
    }
    r = table.flux[:, table.column("r")]
    return values | {"dark": int((found["r"] < DARK * r[:, None]).sum())}
