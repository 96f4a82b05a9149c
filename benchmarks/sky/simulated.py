"""Rows about simulated galaxies with spectra, as each survey would see them, drawn as the sky's are.

Each galaxy of the population of `sky.surveys` chooses the simulated galaxy that is most similar in redshift,
g-r and r, which then gets its r flux. So redshifts, magnitudes and colours are distributed as the sky's. A
simulated galaxy keeps its size, and so the share of its light that a fibre takes: only one that is about as
bright as the real one has a share as on the sky.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from pix2spec.core.filters import Filter
from pix2spec.data.simulate.galaxies import draw_galaxies
from pix2spec.data.simulate.images import draw_images
from pix2spec.data.simulate.photometry import PhotometryModel
from pix2spec.data.simulate.survey import SimulatedSurvey
from pix2spec.training.real_sky import RealTable
from pix2spec.training.spectrum.bank import in_fibre, placed
from sky.context import Sky
from sky.ensembles import Task, Truth
from sky.flags import unknown_table
from sky.scores import Row, between
from sky.surveys import curve, filters_of, observe, population

SECTION = "Spectra of simulated surveys"
SEED, BLOCK, BLOCKS = 31_337, 128, 48  # no training draws galaxies of this seed
GALAXIES = 384  # a survey
SIMILAR = 0.01, 0.03, 0.25  # scales of the redshift, of g-r and of r, by which galaxies are similar
FARTHEST = 3.0  # scales: others have no similar simulated galaxy
G, R = "sdss2010-g", "sdss2010-r"
SETS = {
    "Legacy grz": ("Legacy",),
    "PS1 grizy": ("PS1",),
    "LSST ugrizy": ("LSST",),
    "griz + W1W2": ("DES", "WISE"),
    "J-PAS, narrow bands": ("J-PAS",),
}


@dataclass(frozen=True)
class Light:
    """Simulated galaxies without noise."""

    flux: np.ndarray  # (M, F) nanomaggies of all their light
    spectra: np.ndarray  # (M, L) in the fibre
    z: np.ndarray  # (M,)


def seen(sky: Sky) -> Iterator[Row]:
    """One row for each survey, with the noise of the simulated survey on the observed spectra."""
    sets = {label: filters_of(names, sky) for label, names in SETS.items()}
    every = list({name_of(item): item for some in sets.values() for item in some}.values())
    generator = sky.judge.generator
    light = simulate([G, R, *every], generator.grid, generator.model.z_max)
    rng = np.random.default_rng(7)
    real, survey = population(sky, [G, R]), SimulatedSurvey(SEED, generator.grid)
    for label, names in SETS.items():
        some = real.rows(np.sort(rng.choice(len(real), min(GALAXIES, len(real)), replace=False)))
        chosen, factor = alike(light, some)
        place = [2 + [name_of(item) for item in every].index(name_of(item)) for item in sets[label]]
        total = light.flux[chosen][:, place] * factor[:, None]
        table = unknown_table(total, np.zeros_like(total), sets[label], "total", "observed", light.z[chosen])
        clean = (light.spectra[chosen] * factor[:, None]).astype(np.float32)
        flux, ivar, *_ = survey.noise.observe(rng, clean)
        truth = Truth(np.where(ivar > 0, flux, 0), ivar, table.z)
        found = sky.judge(observe(table, names, rng), truth, Task())
        means = ("crps_median", "pixels_68", "pixels_90", "redshift_68", "flux_68")
        values = {name: float(np.nanmean(found[name])) for name in means}
        sky.keep_ranks(f"simulated, {label}", found["ranks"])
        yield Row(SECTION, f"{label}, r < 20", len(table), values, between(pixels_68=(0.65, 0.71)))


def name_of(item: str | Filter) -> str:
    """The name of a filter."""
    return item if isinstance(item, str) else item.name


def alike(light: Light, real: RealTable) -> tuple[np.ndarray, np.ndarray]:
    """The simulated galaxy (n,) most similar to each real one in g, r; and what makes it as bright in r.

    Real galaxies without a similar one are left out.
    """
    g, r = (real.flux[:, real.column(name)] for name in (G, R))
    with np.errstate(divide="ignore", invalid="ignore"):
        wanted = _similarity(real.z, g, r)
        known = _similarity(light.z, *light.flux[:, :2].T)
    usable = np.flatnonzero(np.isfinite(known).all(1))
    distance, nearest = cKDTree(known[usable]).query(wanted)
    near = distance < FARTHEST
    chosen = usable[nearest[near]]
    return chosen, r[near] / light.flux[chosen, 1]


def _similarity(z: np.ndarray, g: np.ndarray, r: np.ndarray) -> np.ndarray:
    """What makes galaxies with fluxes g, r (n,) similar: (n, 3)."""
    return np.c_[z, -2.5 * np.log10(g / r), -2.5 * np.log10(r)] / SIMILAR


def simulate(filters: list, grid, z_max: float, blocks: int = BLOCKS) -> Light:
    """Galaxies at their own redshifts, and at others up to `z_max` in every second block."""
    survey, photometry = SimulatedSurvey(SEED, grid), PhotometryModel()
    curves = [curve(item) for item in filters]
    weights = photometry.weights({item.name: (item.wave, item.response) for item in curves})
    flux, spectra, redshifts = [], [], []
    for number in range(blocks):
        rng = np.random.default_rng([SEED, number])
        galaxies = draw_galaxies(rng, BLOCK)
        parts, factor = survey.model.components(galaxies), np.ones(BLOCK)
        _, *inside = draw_images(rng, galaxies, parts)
        if number % 2:
            galaxies, factor = placed(rng, galaxies, z_max, survey.model)
            parts = survey.model.components(galaxies)
        spectra.append(survey.onto_grid(in_fibre(parts.bulge, parts.disc, *inside)) * factor[:, None])
        bulge, disc = photometry.photometry(galaxies, weights)
        flux.append((bulge + disc) * factor[:, None])
        redshifts.append(galaxies.z)
    return Light(np.concatenate(flux), np.concatenate(spectra), np.concatenate(redshifts))
