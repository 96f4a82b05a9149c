"""Score the photometry of pictures: colours and redshifts of real ones, and how spoilt pictures are measured.

    python benchmarks/pictures.py --data DIR [--simulated N] [--model FOLDER] [--figure FILE.png]

DIR holds `sdss_pairs.npz` and `sdss_galaxies.npz`, real galaxies with a colour picture, a spectrum and fibre
fluxes, besides the other tables of docs/guides/real-data.md. Spectra are scored with and without pictures,
those of simulated galaxies by magnitude and size. Redshifts come from the redshift model; networks
that saw a galaxy's spectrum do not answer for it, as in `real_sky.py`.
"""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pix2spec.core.photometry import magnitude
from pix2spec.core.stretches import STRETCHES
from pix2spec.core.survey import SDSS
from pix2spec.data.measurements import Measurements
from pix2spec.data.readers.picture_photometry import PicturePhotometry, measure_picture
from pix2spec.data.simulate.survey import SimulatedSurvey
from pix2spec.generate.load import load
from pix2spec.models.redshift.brightness import mean_of_levels, with_levels
from pix2spec.models.shared.measurements import tokens_of
from pix2spec.models.storage import find_model, load_model
from pix2spec.training.real_sky import load_real
from real_sky import check_folds
from sky import pictures as gain

SEED = 20  # of the simulated galaxies and of what spoils pictures
PIXEL = SDSS.pixel_scale
SIGMA = SDSS.psf_fwhm / 2.355 / PIXEL  # pixels
SCORED = 256  # simulated galaxies whose spectra are scored
SHOWN = [1, 2, 5, 8, 11, 26]  # pairs in the figure
BRIGHT = 17.8  # r of the galaxies of the main sample, which colour pictures of SDSS show


@dataclass
class Pairs:
    """Real galaxies: colour pictures (N, 3, y, x), magnitudes g, r, i (N, 3), z and folds (N,)."""

    pictures: np.ndarray
    magnitudes: np.ndarray
    z: np.ndarray
    fold: np.ndarray | None
    row: np.ndarray  # (N,) of `sdss_galaxies.npz`


def read_pairs(data: Path, fold: np.ndarray | None) -> Pairs:
    """The pairs with g, r, i pictures; `fold` is that of each galaxy of `sdss_galaxies.npz`."""
    with np.load(data / "sdss_pairs.npz") as pairs, np.load(data / "sdss_galaxies.npz") as galaxies:
        chosen = pairs["kind"] == "sdss_gri"
        index = pairs["index"][chosen]
        pictures = pairs["image64"][chosen][:, ::-1].astype(np.float32)
        fluxes = galaxies["calibflux_ugriz"][index][:, 1:4]
        folds = None if fold is None else fold[index]
        return Pairs(pictures, magnitude(fluxes), galaxies["z"][index], folds, index)


def robust(values: np.ndarray) -> tuple[float, float]:
    """Median, and scatter by the median of absolute deviations."""
    middle = np.nanmedian(values)
    return float(middle), float(1.4826 * np.nanmedian(np.abs(values - middle)))


def fibre(found: PicturePhotometry, what: str = "flux") -> np.ndarray:
    """Fluxes or errors (3,) of g, r, i within the fibre; NaN where not measured."""
    values = dict.fromkeys(SDSS.filters[1:4], np.nan)
    m = found.measurements
    values |= {n: v for n, v, k in zip(m.filters, getattr(m, what), m.kinds) if k == "fibre"}
    return np.array(list(values.values()))


def colours(flux: np.ndarray) -> np.ndarray:
    """Colours g - r and r - i (..., 2) of fluxes (..., 3)."""
    return -np.diff(magnitude(flux), axis=-1)


class Redshifts:
    """The redshift model, asked without the networks that saw a fold."""

    def __init__(self, model):
        self.model = model

    def quantiles(self, measured: Sequence[Measurements], fold=None, levels=(0.16, 0.5, 0.84)) -> np.ndarray:
        """Quantiles (level, N) of the redshift."""
        copies = [level for galaxy in measured for level in with_levels(galaxy)]
        without = None if fold is None else np.repeat(fold, len(copies) // len(measured))
        posterior = mean_of_levels(self.model.posterior(tokens_of(copies), without))
        return np.array([posterior.quantile(level) for level in levels])

    def of_pictures(self, pictures: Sequence[np.ndarray]) -> np.ndarray:
        """Median redshifts (N,) of colour pictures; NaN where nothing is measured."""
        found = [measure_picture(picture, "composite").measurements for picture in pictures]
        seen = [k for k, m in enumerate(found) if m.filters]
        z = np.full(len(found), np.nan)
        z[seen] = self.quantiles([found[k] for k in seen], levels=(0.5,))[0]
        return z


def of_redshifts(low, middle, high, z) -> str:
    """Bias, sigma_NMAD and the share of true redshifts inside the intervals."""
    bias, scatter = robust((middle - z) / (1 + z))
    inside = np.mean((z > low) & (z < high))
    return f"bias {bias:+.4f}  sigma_NMAD {scatter:.4f}  inside 68 %: {100 * inside:.0f} %"


def of_real(pairs: Pairs, redshifts: Redshifts) -> None:
    """Print colours, brightness and redshifts of the real pictures."""
    found = [measure_picture(picture, "composite") for picture in pairs.pictures]
    flux = np.array([fibre(f) for f in found])
    difference = colours(flux) + np.diff(pairs.magnitudes, axis=1)
    for name, values in zip(("g-r", "r-i"), difference.T):
        offset, scatter = robust(values)
        print(f"  {name}: offset {offset:+.3f}, scatter {scatter:.3f} (sd {np.nanstd(values):.3f})")
    offset, scatter = robust(magnitude(flux[:, 1]) - pairs.magnitudes[:, 1])
    print(f"  r within the fibre: offset {offset:+.3f}, scatter {scatter:.3f}")
    seen = [k for k, f in enumerate(found) if f.measurements.filters]
    fold = None if pairs.fold is None else pairs.fold[seen]
    z = redshifts.quantiles([found[k].measurements for k in seen], fold)
    print(f"  redshifts of {len(seen)} pictures alone: {of_redshifts(*z, pairs.z[seen])}")
    given = 10 ** (0.4 * (22.5 - pairs.magnitudes))
    truth = [Measurements(SDSS.filters[1:4], f, 0.05 * f, ("fibre",) * 3) for f in given]
    expected = of_redshifts(*redshifts.quantiles(truth, pairs.fold), pairs.z)
    print(f"  of the true g, r, i with errors of 5 %: {expected}")


def spot(shape, x: float, y: float, size: float = 0.0, flat: float = 1.0, angle: float = 0.0) -> np.ndarray:
    """A star, or a galaxy of an exponential scale `size` in pixels, of unit flux: (y, x)."""
    rows, columns = np.indices(shape)
    dx, dy = columns - (shape[1] - 1) / 2 - x, rows - (shape[0] - 1) / 2 - y
    if not size:
        return np.exp(-0.5 * (dx**2 + dy**2) / SIGMA**2) / (2 * np.pi * SIGMA**2)
    along = dx * np.cos(angle) + dy * np.sin(angle)
    across = (dy * np.cos(angle) - dx * np.sin(angle)) / flat
    light = np.exp(-np.hypot(np.hypot(along, across), 1) / size)
    return light / light.sum()


def star(image: np.ndarray, rng) -> np.ndarray:
    """With a star 4 to 7 arcsec away, from 1 mag brighter than the fibre's flux to 1.5 mag fainter."""
    return image + beside(image, rng, 0.0)


def neighbour(image: np.ndarray, rng) -> np.ndarray:
    """With a galaxy there."""
    return image + beside(image, rng, 2.5)


def beside(image: np.ndarray, rng, size: float) -> np.ndarray:
    """The light (band, y, x) of the star or the neighbour."""
    angle, distance = rng.uniform(0, 2 * np.pi), rng.uniform(4, 7) / PIXEL
    light = spot(image.shape[1:], distance * np.cos(angle), distance * np.sin(angle), size,
                 rng.uniform(0.3, 1), rng.uniform(0, 3))  # fmt: skip
    middle = image[1][tuple(slice(n // 2 - 4, n // 2 + 4) for n in image.shape[1:])].sum()
    bright = max(middle, 1.0) * 10 ** (-0.4 * rng.uniform(-1, 1.5))
    return bright * 10 ** (0.4 * np.array([-rng.uniform(0.3, 1.0), 0, 0.25]))[:, None, None] * light


def trail(image: np.ndarray, rng) -> np.ndarray:
    """With a satellite's trail in one band, 2.5 to 8 arcsec from the centre."""
    angle, distance = rng.uniform(0, 2 * np.pi), rng.uniform(2.5, 8) / PIXEL
    rows, columns = np.indices(image.shape[1:]) - (image.shape[1] - 1) / 2
    across = columns * np.cos(angle) + rows * np.sin(angle) - distance
    made = image.copy()
    made[rng.integers(len(image))] += rng.uniform(0.2, 1.0) * np.exp(-0.5 * (across / SIGMA) ** 2)
    return made


def off_by(pixels: int) -> Callable:
    """A function that moves a picture by so many pixels."""

    def moved(image: np.ndarray, rng) -> np.ndarray:
        angle = rng.uniform(0, 2 * np.pi)
        shift = (round(pixels * np.sin(angle)), round(pixels * np.cos(angle)))
        return np.roll(image, shift, (1, 2))

    return moved


SPOILT = {
    "star": star, "neighbour": neighbour, "trail": trail, "off-centre by 3 pixels": off_by(3),
    "off-centre by 8 pixels": off_by(8),
}  # fmt: skip


def of_spoilt(images: np.ndarray, kind: str, redshifts: Redshifts) -> None:
    """Print how the measurements of linear images (N, 3, y, x) change when they are spoilt."""
    stretch = STRETCHES["sdss"]

    def measured(image):
        return measure_picture(np.rint(stretch.shown(image)) if kind == "composite" else image, kind)

    plain = [measured(image) for image in images]
    for name, spoil in SPOILT.items():
        rng = np.random.default_rng(SEED)
        spoilt = [measured(spoil(image, rng)) for image in images]
        flux = np.array([[fibre(a), fibre(b)] for a, b in zip(plain, spoilt)])
        both = np.isfinite(flux).all((1, 2))
        change = np.abs(colours(flux[:, 1]) - colours(flux[:, 0])).max(1)
        z, new = (
            redshifts.quantiles([found[k].measurements for k in np.flatnonzero(both)])
            for found in (plain, spoilt)
        )
        steady = np.abs(new[1] - z[1]) < (z[2] - z[0]) / 2
        same, most = np.mean(change[both] < 0.03), np.quantile(change[both], 0.9)
        print(
            f"  {name:24s} found {100 * both.mean():5.1f} %  colours within 0.03 mag {100 * same:5.1f} %  "
            f"90 % within {most:.3f}  z within its error {100 * steady.mean():5.1f} %"
        )


def of_simulated(survey_images, fluxes) -> None:
    """Print how fluxes of simulated pictures compare with those without noise in the fibre."""
    found = [measure_picture(image) for image in survey_images]
    flux, error = (np.array([fibre(f, what) for f in found]) for what in ("flux", "error"))
    for band, values, pull in zip(
        "gri", magnitude(flux).T - magnitude(fluxes).T, ((flux - fluxes) / error).T
    ):
        offset, scatter = robust(values)
        relative = robust(pull)[1]
        print(f"  {band}: offset {offset:+.4f}, scatter {scatter:.4f} mag; relative to errors {relative:.2f}")


def run(data: Path | None, n: int, folder: Path, figure: Path | None) -> None:
    """Print all tables."""
    network, config = load_model(folder)
    redshifts = Redshifts(network)
    galaxies = list(SimulatedSurvey(seed=SEED).galaxies(n))
    bright = [g for g in galaxies if magnitude(g.photometry[2]) < BRIGHT + 1]
    images = np.array([g.image for g in bright], float)
    print(f"Simulated linear pictures of {len(bright)} galaxies, fluxes against those of the catalogue")
    of_simulated(images, np.array([g.photometry[1:4] for g in bright]))
    print("The same, spoilt")
    of_spoilt(images, "linear", redshifts)
    print("The same as colour pictures")
    of_spoilt(images, "composite", redshifts)
    print(f"Spectra of {min(n, SCORED)} simulated galaxies with linear pictures")
    some = SimulatedSurvey(seed=SEED).sample(min(n, SCORED))
    gain.of_simulated(galaxies[: min(n, SCORED)], some["true_flux"], load("default"))
    if data is None:
        return
    tables = load_real(data)
    check_folds(config["record"], tables)
    spectra = tables["spectra"]
    fold = np.full(spectra.row.max() + 1, -1)
    fold[spectra.row] = spectra.fold
    pairs = read_pairs(data, fold)
    print(f"{len(pairs.z)} real colour pictures")
    of_real(pairs, redshifts)
    print("Their spectra")
    generator = load("default")
    gain.of_real(data, spectra, pairs.pictures, pairs.row, generator)
    if figure:
        gain.saliency(pairs.pictures[SHOWN], generator, redshifts.of_pictures, figure)
    print("The same, spoilt")
    of_spoilt(np.array([STRETCHES["sdss"].linear(p) for p in pairs.pictures]), "composite", redshifts)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, help="folder of the real galaxies")
    parser.add_argument("--simulated", type=int, default=400, help="number of simulated galaxies")
    parser.add_argument(
        "--model", type=Path, default=None, help="redshift model; by default the released one"
    )
    parser.add_argument("--figure", type=Path, help="draw which pixels count, in a PNG file")
    arguments = parser.parse_args()
    run(arguments.data, arguments.simulated, arguments.model or find_model("redshift"), arguments.figure)
