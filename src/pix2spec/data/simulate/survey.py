"""The simulated survey: galaxies with images, spectra, photometry and known truth."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from pix2spec.core.grid import SpectralGrid
from pix2spec.core.lines import LINES
from pix2spec.core.scaling import lupton_rgb
from pix2spec.core.survey import SDSS
from pix2spec.data.dataset import SHARD, new_shards, write_dataset, write_shard
from pix2spec.data.schema import DatasetInfo, Galaxy
from pix2spec.data.simulate.camera import UNRULY
from pix2spec.data.simulate.galaxies import AGN_TYPES, GALAXY_TYPES, MAX_REDSHIFT, draw_galaxies
from pix2spec.data.simulate.images import draw_images
from pix2spec.data.simulate.noise import SpectrumNoise, add_image_noise, measure_photometry
from pix2spec.data.simulate.spectra import SpectrumModel, dn4000
from pix2spec.errors import InputError
from pix2spec.runtime.progress import progress_bar
from pix2spec.runtime.provenance import run_provenance
from pix2spec.runtime.workers import worker_pool

__all__ = ["BLOCK", "SimulatedSurvey", "simulate"]

CAMERAS = {"steady": None, "unruly": replace(UNRULY, unknown=0.0)}
BLOCK = 128  # galaxies that share one random generator
DEFAULT_GRID = SpectralGrid()
COLUMNS = (
    "object_id", "group_id", "spec_class", "ra", "dec", "z", "z_err",
    "image", "photometry", "photometry_ivar", "flux", "ivar", "mask",
)  # fmt: skip


# Columns of truth and their lengths: 0 for a number, -1 for a text (see `DatasetInfo.truth`).
TRUTH = {
    "true_flux": None,  # noise-free spectrum in the fibre, 1e-17 erg/s/cm2/A; its length is the grid's size
    "true_type": -1,  # GALAXY_TYPES
    "true_agn": -1,  # AGN_TYPES
    "true_logmass": 0,  # log10 of the galaxy's stellar mass / Msun
    "true_logssfr": 0,  # log10 of the galaxy's SFR / stellar mass in 1/yr, last 10 Myr
    "true_av": 0,  # A_V of the disc's stars, mag
    "true_dn4000": 0,  # 4000 A break of the noise-free spectrum in the fibre
    "true_sn": 0,  # median flux / noise per pixel
    "true_line_flux": len(LINES),  # narrow lines in the fibre, dust included, 1e-17 erg/s/cm2
}


class SimulatedSurvey:
    """A simulated magnitude-limited survey like SDSS.

    A galaxy depends on (seed, index) alone, not on the order or batches in which galaxies are requested. They
    are drawn in blocks of 128 with a random generator of seed (seed, block), because numpy is fast on blocks
    and slow on single objects.

    Parameters
    ----------
    seed : int
        Seed of the survey.
    grid : SpectralGrid
        Pixels of the spectra. If they coincide with pixels of the model, as the default's do, they are copied
        from the model. Otherwise the model is interpolated linearly.
    camera : {"steady", "unruly"}
        What takes the pictures: that of the test set, or one that spoils them as the sky does
        (`pix2spec.data.simulate.camera`). Spectra and fluxes are the same.

    Attributes
    ----------
    truth : dict of str to int
        Columns of truth and their lengths, as in `DatasetInfo`. `TRUTH` describes them.

    Raises
    ------
    InputError
        If the grid leaves the wavelength range of the model, or the camera is not known.
    """

    def __init__(self, seed: int = 0, grid: SpectralGrid = DEFAULT_GRID, camera: str = "steady"):
        if camera not in CAMERAS:
            raise InputError("`camera`", f"unknown camera {camera!r}", f"use {' or '.join(CAMERAS)}")
        self.seed, self.grid, self.camera = seed, grid, CAMERAS[camera]
        self.model = SpectrumModel()
        self.noise = SpectrumNoise(grid)
        self.truth = TRUTH | {"true_flux": grid.size}
        self.position = (grid.loglam - self.model.start) / self.model.step  # of the pixels in the lattice
        # At the highest redshift, the model is empty below the redshifted start of the lattice.
        first = np.log10(1 + MAX_REDSHIFT) / self.model.step
        if self.position[0] < first or self.position[-1] > len(self.model.wave) - 2:
            low, high = 10 ** (self.model.start + self.model.step * first), self.model.wave[-2]
            raise InputError("`grid`", f"it leaves the simulated range, {low:.0f} to {high:.0f} Angstrom")

    def onto_grid(self, spectra: np.ndarray) -> np.ndarray:
        """Bring spectra (n, W) on the model's lattice to the survey's grid: array (n, L)."""
        nearest = np.rint(self.position).astype(int)
        if np.abs(self.position - nearest).max() < 1e-3:
            return spectra[:, nearest]
        left = self.position.astype(int)
        share = (self.position - left).astype(np.float32)
        return spectra[:, left] * (1 - share) + spectra[:, left + 1] * share

    def block(self, number: int) -> dict:
        """Columns of the galaxies 128 * number to 128 * number + 127, as in `sample`."""
        rng = np.random.default_rng([self.seed, number])
        galaxies = draw_galaxies(rng, BLOCK)
        parts = self.model.components(galaxies)
        image, in_bulge, in_disc = draw_images(rng, galaxies, parts)

        def fibre(bulge, disc):
            return bulge * in_bulge[:, None].astype(bulge.dtype) + disc * in_disc[:, None].astype(disc.dtype)

        full_spectra = fibre(parts.bulge, parts.disc)
        true_flux = np.ascontiguousarray(self.onto_grid(full_spectra))
        flux, ivar, mask, signal_to_noise = self.noise.observe(rng, true_flux)
        photometry, photometry_ivar = measure_photometry(rng, fibre(parts.bulge_bands, parts.disc_bands))
        names = [f"sim-{self.seed}-{BLOCK * number + i:08d}" for i in range(BLOCK)]
        ra, dec = rng.random((2, BLOCK))
        image = add_image_noise(rng, image)
        if self.camera is not None:
            own = np.random.default_rng([self.seed, number, 1])
            image, _ = self.camera.pictures(own, galaxies, parts)
        return {
            "object_id": np.array(names, dtype=object),
            "group_id": np.array(names, dtype=object),
            "ra": 110 + 150 * ra,  # the northern galactic cap
            "dec": np.degrees(np.arcsin(0.9 * dec)),
            "z": galaxies.z,
            "z_err": np.zeros(BLOCK),
            "spec_class": np.full(BLOCK, "GALAXY", dtype=object),
            "image": image,
            "photometry": photometry,
            "photometry_ivar": photometry_ivar,
            "flux": flux,
            "ivar": ivar,
            "mask": mask,
            "true_flux": true_flux,
            "true_type": np.array(GALAXY_TYPES, dtype=object)[galaxies.kind],
            "true_agn": np.array(AGN_TYPES, dtype=object)[galaxies.agn],
            "true_logmass": parts.logmass,
            "true_logssfr": parts.logssfr,
            "true_av": galaxies.av,
            "true_dn4000": dn4000(full_spectra, galaxies.z, self.model.start, self.model.step),
            "true_sn": signal_to_noise.astype(float),
            "true_line_flux": fibre(parts.bulge_lines, parts.disc_lines).astype(np.float32),
        }

    def blocks(self, n: int, start: int) -> Iterator[dict]:
        """Yield the columns of the galaxies `start` to `start + n - 1`, as in `sample`, in batches."""
        for number in range(start // BLOCK, -(-(start + n) // BLOCK)):
            low, high = max(start - BLOCK * number, 0), min(start + n - BLOCK * number, BLOCK)
            yield {name: values[low:high] for name, values in self.block(number).items()}

    def sample(self, n: int, start: int = 0) -> dict:
        """Columns of the galaxies `start` to `start + n - 1`.

        Returns
        -------
        dict of str to array (n, ...)
            The fields of `pix2spec.data.schema.Galaxy`, and the columns of `TRUTH`.
        """
        blocks = list(self.blocks(n, start))
        return {name: np.concatenate([b[name] for b in blocks]) for name in blocks[0]}

    def galaxies(self, n: int, start: int = 0) -> Iterator[Galaxy]:
        """Yield the galaxies `start` to `start + n - 1` one by one. Memory does not grow with `n`."""
        for block in self.blocks(n, start):
            for i in range(len(block["z"])):
                truth = {name: block[name][i] for name in self.truth}
                known = {name: block[name][i] for name in COLUMNS}
                yield Galaxy(**known, truth=truth, filters=SDSS.filters, kind="fibre")


def simulate(
    out: str | Path,
    n: int,
    seed: int = 0,
    composite: bool = False,
    progress: bool = True,
    grid: SpectralGrid = DEFAULT_GRID,
    processes: int = 1,
    camera: str = "steady",
) -> DatasetInfo:
    """Simulate a survey of `n` galaxies and write it as a dataset in the folder `out`.

    Parameters
    ----------
    out : str or Path
        A folder that holds no dataset yet.
    n : int
        Number of galaxies.
    seed : int
        Seed of the survey.
    composite : bool
        Store 8-bit colour composites like those of SkyServer, instead of images in nanomaggies.
    progress : bool
        Show a progress bar when stderr is a terminal.
    grid : SpectralGrid
        Pixels of the spectra.
    processes : int
        Processes that simulate. The galaxies do not depend on their number.
    camera : {"steady", "unruly"}
        As for `SimulatedSurvey`.

    Returns
    -------
    DatasetInfo
        Metadata of the dataset.

    Raises
    ------
    InputError
        If `out` already holds a dataset, `n` is not positive, or the camera is not known.
    """
    if n < 1:
        raise InputError("`n`", f"{n} galaxies cannot be simulated", "ask for at least one")
    survey = SimulatedSurvey(seed, grid, camera)
    info = DatasetInfo(
        grid=grid,
        image_kind="composite" if composite else "linear",
        truth=survey.truth,
        provenance={
            "source": "pix2spec.data.simulate",
            **run_provenance(),
            "seed": seed,
            "n": n,
            "camera": camera,
            "lines": list(LINES),
        },
    )

    if processes == 1:
        write_dataset(out, progress_bar(_galaxies(survey, n, 0, composite), "simulating", progress, n), info)
        return info
    paths = new_shards(out, -(-n // SHARD))
    jobs = [(survey, min(SHARD, n - SHARD * k), SHARD * k, composite, info, p) for k, p in enumerate(paths)]
    with worker_pool(processes) as pool:
        for _ in progress_bar(pool.map(_write_shard, *zip(*jobs)), "simulating", progress, len(paths)):
            pass
    return info


def _galaxies(survey: SimulatedSurvey, n: int, start: int, composite: bool) -> Iterator[Galaxy]:
    for galaxy in survey.galaxies(n, start):
        if composite:
            galaxy.image = np.rint(lupton_rgb(np.asarray(galaxy.image)))
        yield galaxy


def _write_shard(survey, n: int, start: int, composite: bool, info: DatasetInfo, path: Path) -> None:
    write_shard(path, list(_galaxies(survey, n, start, composite)), info)
