"""The rows of the benchmark that real tables give. Each function yields rows of one section."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from pix2spec.training.real_sky import RealTable, spectrum_fluxes
from sky.context import Sky, with_floor, with_noise, with_statement
from sky.scores import Row, at_most, within


def measured(table: RealTable) -> RealTable:
    """The galaxies with at least two fluxes and a positive redshift."""
    return table.rows((np.isfinite(table.flux).sum(1) >= 2) & (table.z > 0))


def sdss(sky: Sky) -> Iterator[Row]:
    targets = at_most(sigma_nmad=0.0146, off=0.02, crps=0.0107) | within(0.66, 0.70)
    yield sky.score("SDSS", "sdss: model magnitudes", measured(sky.tables["sdss"]), targets, keep=True)


def mgs(sky: Sky) -> Iterator[Row]:
    targets = at_most(sigma_nmad=0.0112, off=0.007, crps=0.0079) | within(0.66, 0.70)
    yield sky.score("SDSS", "mgs: as given", measured(sky.tables["mgs"]), targets, keep=True)


def gama(sky: Sky) -> Iterator[Row]:
    table, name = measured(sky.tables["gama"]), "DES x GAMA"
    griz, faint = table.bands("griz"), (table.r > 19) & (table.r < 20)
    inside = within(0.65, 0.71)
    yield sky.score(
        name, "gama: griz", griz, at_most(sigma_nmad=0.0206, off=0.12, crps=0.0207) | inside, keep=True
    )
    targets = at_most(sigma_nmad=0.032, off=0.21, crps=0.0275)
    yield sky.score(name, "gama: grz", table.bands("grz"), targets)
    targets = at_most(sigma_nmad=0.024, off=0.145, crps=0.0235)
    yield sky.score(name, "gama: griz, r 19 to 20", griz.rows(faint), targets)


def zcosmos(sky: Sky) -> Iterator[Row]:
    table = measured(sky.tables["zcosmos"].bands("uBVgriz"))
    targets = at_most(sigma_nmad=0.0115, far_off=0.003, crps=0.0115) | within(0.64, 0.72)
    yield sky.score("Fainter", "zcosmos: u B V g r i z", table, targets, keep=True)


def deep(sky: Sky) -> Iterator[Row]:
    table = sky.tables["deep"]
    table = measured(table.rows(table.source == "VVDS_V").bands("griz"))
    yield sky.score(
        "Fainter", "deep: VVDS and VIPERS, griz", table, at_most(crps=0.031) | within(0.64, 0.72), keep=True
    )


def fors2(sky: Sky) -> Iterator[Row]:
    table = measured(sky.tables["fors2"])
    table = table.rows(table.r < 21.5)
    yield sky.score("Fainter", "fors2: all bands, r < 21.5", table, within(0.62, 0.76), keep=True)


def errors(sky: Sky) -> Iterator[Row]:
    """Both SDSS tables with other errors than training's, and with statements that are not true."""
    for name in ("sdss", "mgs"):
        table = measured(sky.tables[name])
        targets = within(0.64, 0.76) | at_most(bias=0.003)
        for factor in (3, 10):
            noisy = with_noise(table, factor, seed=factor)
            yield sky.score("Errors", f"{name}: errors x {factor}, noise to match", noisy, targets)
        for floor in (0.02, 0.05):
            label = f"{name}: {floor:g} mag added to the statement alone"
            yield sky.score("Errors", label, with_floor(table, floor), targets)
        understated = with_statement(table, 0.3)
        yield sky.score("Errors", f"{name}: errors stated x 0.3", understated, {"inside": (0.55, 1.0)})


def spectra(sky: Sky) -> Iterator[Row]:
    """The galaxies with spectra: fibre fluxes, and synthetic ones of their own spectra."""
    table = sky.tables["spectra"]
    targets = at_most(crps=0.0058) | within(0.64, 0.72)
    for error in (0.01, 0.03, 0.06):
        stated = replace(table, error=error * np.abs(table.flux))
        yield sky.score("Spectra", f"spectra: fibre ugriz, {error:.0%} stated", stated, targets)
    targets = at_most(sigma_nmad=0.0088) | within(0.64, 0.72)
    for label, survey in (("PS1", "panstarrs"), ("LSST", "lsst2023")):
        filters = [f"{survey}-{band}" for band in "gri"]
        own = synthetic(sky, filters, stated=0.02, noise=0.0)
        yield sky.score("Spectra", f"spectra: own fluxes in {label} gri, 2 % stated", own, targets)


def synthetic(sky: Sky, filters: list, stated: float, noise: float) -> RealTable:
    """The spectra's own fluxes with noise of a fraction `noise`; errors of a fraction `stated` are added."""
    flux, error = spectrum_fluxes(sky.folder, filters)
    table = sky.tables["spectra"]
    noisy = flux * (1 + noise * np.random.default_rng(3).standard_normal(flux.shape))
    error = np.hypot(error, stated * flux)
    return replace(table, flux=noisy, error=error, filters=tuple(filters), kind=("fibre",) * len(filters))


def covered(table: RealTable) -> RealTable:
    """The filters alone that some spectrum covers."""
    names = np.array(table.names)[np.isfinite(table.flux).any(0)]
    return table.bands(names)
