"""Rows about the flag `outside-training`, and about speed."""

import time
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from pix2spec.core.survey import SDSS
from pix2spec.data.simulate import SimulatedSurvey
from pix2spec.training.real_sky import RealTable
from pix2spec.training.redshift.sources import as_measurements
from pix2spec.training.stars import TEST_LIBRARIES, draw_stars
from sky.context import Sky
from sky.rows import measured
from sky.scores import Row, at_least, at_most
from sky.surveys import DEPTHS, observe

SECTION = "Flag outside-training"
SIMULATED, SIMULATED_SEED = 6144, 20_777
STARS = 4000
STAR_SETS = {  # label: surveys, kind
    "SDSS ugriz": (("SDSS",), "model"),
    "Legacy grz": (("Legacy",), "total"),
    "DES griz": (("DES",), "kron"),
    "PS1 grizy": (("PS1",), "kron"),
    "LSST ugrizy": (("LSST",), "cmodel"),
    "grz + W1W2": (("Legacy", "WISE"), "total"),
}
MANY = 100_000


def known(sky: Sky) -> Iterator[Row]:
    """Quasars, which must be flagged, and main-sample galaxies, which must not."""
    if "quasars" in sky.tables:
        yield sky.flagged(SECTION, "quasars", measured(sky.tables["quasars"]), at_least(flagged=0.9))
    for name in ("mgs", "sdss", "gama", "zcosmos", "deep", "fors2", "spectra"):
        if name in sky.tables:
            targets = at_most(flagged=0.03) if name == "mgs" else None
            yield sky.flagged(SECTION, f"{name}: galaxies", measured(sky.tables[name]), targets)


def simulated(sky: Sky) -> Iterator[Row]:
    """Galaxies of the simulated survey in the fibre's ugriz, by magnitude."""
    table = simulated_table()
    for bright in range(16, 20):
        some = table.rows((table.r >= bright) & (table.r < bright + 1))
        if len(some):
            name = f"simulated galaxies, r {bright} to {bright + 1}"
            yield sky.flagged(SECTION, name, some, at_most(flagged=0.05))


def simulated_table(n: int = SIMULATED) -> RealTable:
    survey = SimulatedSurvey(SIMULATED_SEED)
    blocks = [
        {name: block[name] for name in ("photometry", "photometry_ivar", "z")}
        for block in survey.blocks(n, 0)
    ]
    data = {name: np.concatenate([block[name] for block in blocks]).astype(float) for name in blocks[0]}
    return unknown_table(
        data["photometry"], 1 / np.sqrt(data["photometry_ivar"]), SDSS.filters, "fibre", "observed", data["z"]
    )


def unknown_table(flux, error, filters, kind: str, extinction: str, z=None) -> RealTable:
    """A table that belongs to no fold."""
    n, nowhere = len(flux), np.full(len(flux), -1)
    z = np.full(n, np.nan) if z is None else z
    kinds = (kind,) * len(filters)
    return RealTable(
        flux, error, z, tuple(filters), kinds, extinction, np.full(n, "simulated"),
        nowhere, np.arange(n), nowhere, nowhere,
    )  # fmt: skip


def stars(sky: Sky) -> Iterator[Row]:
    """Stars of libraries that training has not seen, r 14 to 22, as each survey would see them."""
    targets, rows = at_least(flagged=0.8), []
    for seed, (label, (names, kind)) in enumerate(STAR_SETS.items()):
        filters = [item for name in names for item in DEPTHS[name].filters]
        flux, _ = draw_stars(STARS, filters, seed, TEST_LIBRARIES)
        table = unknown_table(flux, np.zeros_like(flux), filters, kind, "observed")
        table = observe(table, names, np.random.default_rng(seed), extended=False)
        rows.append(sky.flagged(SECTION, f"stars in {label}", table))
    total = float(np.mean([row.values["flagged"] for row in rows]))
    yield Row(SECTION, "stars in all these sets", STARS * len(rows), {"flagged": total}, targets)
    yield from rows


def timing(sky: Sky) -> Iterator[Row]:
    """How long one galaxy and 100,000 take, with all networks: median and intervals of 68 %."""
    table = measured(sky.tables["mgs" if "mgs" in sky.tables else next(iter(sky.tables))])

    def redshifts(some: RealTable) -> float:
        began = time.perf_counter()
        posterior = sky.model.posterior(as_measurements(some))
        for q in (0.16, 0.5, 0.84):
            posterior.quantile(q)
        return time.perf_counter() - began

    single = np.median([redshifts(table.rows([k % len(table)])) for k in range(200)])
    many = table.rows(np.arange(MANY) % len(table))
    noise = np.random.default_rng(0).standard_normal(many.flux.shape)
    long = redshifts(replace(many, flux=many.flux + noise * many.error))
    yield Row("Speed", "one galaxy's redshift", 200, {"milliseconds": 1e3 * single}, at_most(milliseconds=3))
    yield Row("Speed", f"{MANY:,} galaxies' redshifts", MANY, {"seconds": long}, at_most(seconds=120))
