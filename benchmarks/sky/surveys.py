"""Surveys that nobody has matched with redshifts here: their depths, and galaxies as they would see them.

The galaxies are real ones of GAMA and zCOSMOS, so that their redshifts, magnitudes and colours are the sky's.
Simulated galaxies at the same redshift lend them the bands in which nobody measured them.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from pix2spec.core.filters import Filter, load_filter
from pix2spec.core.photometry import magnitude
from pix2spec.data.simulate.galaxies import draw_galaxies
from pix2spec.data.simulate.photometry import PhotometryModel
from pix2spec.data.simulate.spectra import milky_way_extinction
from pix2spec.training.real_sky import RealTable, jpas_filters
from pix2spec.training.redshift.bank import Bank, transfer
from sky.context import Sky
from sky.scores import Row, within

POINT, EXTENDED = 2.0, 1.0  # a galaxy's error, relative to that of what the depth is for


@dataclass(frozen=True)
class Survey:
    """The depth of a survey in some of its bands."""

    filters: tuple[str, ...]
    depth: tuple[float, ...]  # AB magnitude at which a flux is five times its error
    galaxy: float  # POINT: the depth is for point sources, and a galaxy covers about four times their area
    floor: float  # error of the calibration, as a fraction of the flux
    source: str


def _bands(group: str, bands: str) -> tuple[str, ...]:
    return tuple(f"{group}-{band}" for band in bands)


DEPTHS = {
    "SDSS": Survey(
        _bands("sdss2010", "ugriz"), (22.0, 22.2, 22.2, 21.3, 20.5), EXTENDED, 0.01,
        "95 % completeness, which stands for a galaxy's 5 sigma: Abazajian et al. (2009, ApJS 182:543)",
    ),
    "Legacy": Survey(
        _bands("decam2014", "grz"), (24.0, 23.4, 22.5), EXTENDED, 0.01,
        "an exponential disc of 0.45 arcsec: Dey et al. (2019, AJ 157:168)",
    ),
    "DES": Survey(
        _bands("decam2014", "griz"), (25.5, 25.2, 24.6, 23.9), EXTENDED, 0.01,
        "10 sigma in 1.95 arcsec, plus 0.75 mag: Abbott et al. (2021, ApJS 255:20)",
    ),
    "PS1": Survey(
        _bands("panstarrs", "grizy"), (23.3, 23.2, 23.1, 22.3, 21.4), POINT, 0.01,
        "stacks of the 3 pi survey: Chambers et al. (2016, arXiv:1612.05560)",
    ),
    "LSST": Survey(
        _bands("lsst2023", "ugrizy"), (26.1, 27.4, 27.5, 26.8, 26.1, 24.9), POINT, 0.01,
        "ten years: Ivezic et al. (2019, ApJ 873:111)",
    ),
    "WISE": Survey(
        ("wise2010-W1", "wise2010-W2"), (20.4, 19.8), POINT, 0.02,
        "17.7 and 16.5 mag (Vega) of CatWISE2020: Marocco et al. (2021, ApJS 253:8)",
    ),
    "GALEX": Survey(
        ("galex-nuv",), (22.7,), POINT, 0.03, "medium imaging survey: Bianchi et al. (2011, Ap&SS 335:161)"
    ),
    "UKIDSS": Survey(
        ("twomass-J", "twomass-H", "twomass-Ks"), (20.9, 20.2, 20.3), POINT, 0.02,
        "20.0, 18.8 and 18.4 mag (Vega) of the large area survey: Lawrence et al. (2007, MNRAS 379:1599); "
        "the curves of 2MASS stand for those of WFCAM",
    ),
    "J-PAS": Survey(
        (), (22.0,), EXTENDED, 0.01, "narrow bands in 3 arcsec: Bonoli et al. (2021, A&A 653:A31)"
    ),
}  # fmt: skip
SETS = {
    "Legacy grz": ("Legacy",),
    "PS1 grizy": ("PS1",),
    "LSST ugrizy": ("LSST",),
    "griz + W1W2": ("DES", "WISE"),
    "NUV + ugriz + JHKs": ("GALEX", "SDSS", "UKIDSS"),
    "J-PAS, narrow bands": ("J-PAS",),
}
TARGET = within(0.65, 0.71)
FAINTEST, FARTHEST = 20.0, 0.7  # r magnitude and redshift of the population
R_V = 3.1
EBV_MEAN, EBV_COSMOS = (
    0.035,
    0.018,
)  # of drawn sight lines; of the field of zCOSMOS (Schlafly & Finkbeiner 2011)
BANK_SIZE, BANK_BLOCK, BANK_SEED = 61_440, 512, 777
BANK_Z = 0.001, 0.75
SHARP = 1500  # galaxies whose redshifts come with candidates of spectra, which takes longer


def population(sky: Sky, filters: list, seed: int = 5) -> RealTable:
    """Real galaxies with r < 20 and z < 0.7 in other filters: all their light, without noise, as observed.

    GAMA's magnitudes are dereddened; those of zCOSMOS are corrected for the dust of its field. Every galaxy
    then lies behind the dust of a random sight line. Its redshift is that of the simulated galaxy that
    lends the bands: narrow bands tell the two apart.
    """
    rng = np.random.default_rng(seed)
    bands = {"gama": list("griz"), "zcosmos": list("uBVgriz")}
    ebv = {"gama": 0.0, "zcosmos": EBV_COSMOS}
    parts = []
    for name in (name for name in bands if name in sky.tables):
        table = sky.tables[name].bands(bands[name])
        mag = table.magnitude - ebv[name] * extinction(table.filters)
        bright = np.isfinite(mag).all(1) & (table.r < FAINTEST) & (table.z > 0) & (table.z < FARTHEST)
        table, mag = table.rows(bright), mag[bright]
        lent, z = lend(mag, table.z, list(table.filters), filters, rng)
        lent += rng.exponential(EBV_MEAN, (len(table), 1)) * extinction(filters)
        parts.append(replace(_as_observed(table, lent, filters), z=z))
    names = ("flux", "error", "z", "source", "object_group", "row", "group", "fold")
    joined = {name: np.concatenate([getattr(part, name) for part in parts]) for name in names}
    return replace(parts[0], **joined)


def _as_observed(table: RealTable, mag: np.ndarray, filters: list) -> RealTable:
    flux = 10 ** (-0.4 * (mag - 22.5))
    return replace(
        table, flux=flux, error=np.zeros_like(flux), filters=tuple(filters), kind=("total",) * len(filters),
        extinction="observed",
    )  # fmt: skip


def curve(item: str | Filter) -> Filter:
    """A filter by its name, or as it is."""
    return load_filter(item) if isinstance(item, str) else item


def extinction(filters) -> np.ndarray:
    """Magnitudes for E(B-V) = 1 at the mean wavelengths of the filters: (K,)."""
    return R_V * milky_way_extinction(np.array([curve(item).centre for item in filters]))


def lend(mag: np.ndarray, z: np.ndarray, known: list, filters: list, rng) -> tuple[np.ndarray, np.ndarray]:
    """Magnitudes (N, F) in `filters` of galaxies with magnitudes (N, K) in `known`, and redshifts (N,).

    Magnitudes are dereddened. The redshifts are those of the simulated galaxies that lend the bands.
    """
    every = [*known, *filters]
    total, total_z = simulated_magnitudes(every)
    bank = Bank(total[:0], total_z[:0], total, total_z)
    centre = np.array([curve(item).centre for item in every])
    lent, lent_z = transfer(mag, z, bank, np.arange(len(known)), centre, rng)
    return lent[:, len(known) :].astype(float), lent_z


def simulated_magnitudes(filters: list) -> tuple[np.ndarray, np.ndarray]:
    """Magnitudes (M, F) and redshifts (M,) of simulated galaxies that no training has drawn."""
    model = PhotometryModel()
    curves = [curve(item) for item in filters]
    weights = np.hstack([model.weights({item.name: (item.wave, item.response)}) for item in curves])
    mag, redshifts = [], []
    for block in range(BANK_SIZE // BANK_BLOCK):
        rng = np.random.default_rng([BANK_SEED, block])
        galaxies = draw_galaxies(rng, BANK_BLOCK)
        z = rng.uniform(*BANK_Z, BANK_BLOCK)
        bulge, disc = model.photometry(galaxies, weights, z, ebv=0.0)
        mag.append(magnitude(bulge + disc))
        redshifts.append(z)
    mag, redshifts = np.concatenate(mag).astype(np.float32), np.concatenate(redshifts)
    lit = np.isfinite(mag).all(1)
    return mag[lit], redshifts[lit]


def observe(table: RealTable, names: tuple[str, ...], rng, extended: bool = True) -> RealTable:
    """The noise-free table as the surveys `names` would see it, with their errors."""
    sky: list[float] = []
    floor: list[float] = []
    for survey in (DEPTHS[name] for name in names):
        depth = survey.depth if survey.filters else survey.depth * len(table.filters)
        area = survey.galaxy if extended else 1.0
        sky += [area / 5 * 10 ** (-0.4 * (limit - 22.5)) for limit in depth]
        floor += [survey.floor] * len(depth)
    error = np.hypot(np.array(sky), np.array(floor) * table.flux)
    return replace(table, flux=table.flux + error * rng.standard_normal(error.shape), error=error)


def filters_of(names: tuple[str, ...], sky: Sky) -> list:
    """Filters of the surveys, in their order."""
    return [item for name in names for item in DEPTHS[name].filters or jpas_filters(sky.folder)]


def surveys(sky: Sky) -> Iterator[Row]:
    """One row for each set of filters."""
    sets = {label: (names, filters_of(names, sky)) for label, names in SETS.items()}
    every = {
        str(item if isinstance(item, str) else item.name): item for _, some in sets.values() for item in some
    }
    table, rng = population(sky, list(every.values())), np.random.default_rng(6)
    for label, (names, filters) in sets.items():
        some = table.bands([item if isinstance(item, str) else item.name for item in filters])
        seen = observe(some, names, rng)
        name = f"{label}, r < 20, z < 0.7"
        if names != ("J-PAS",):
            yield sky.score("Simulated surveys", name, seen, TARGET, keep=True)
        elif sky.judge is not None:  # narrow bands: candidates of spectra have sharper redshifts
            some = np.sort(rng.choice(len(seen), min(SHARP, len(seen)), replace=False))
            yield sky.sharp("Simulated surveys", name, seen.rows(some), TARGET)
