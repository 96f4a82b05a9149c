"""Photometry of stars in any filters: objects that a model of galaxies must flag, not answer.

scripts/build_stars.py makes the file of spectra from libraries that packages on PyPI bring: Pickles (1998),
Bruzual, Persson, Gunn and Stryker, MUSCLES, and STELIB. Training uses `TRAINING_LIBRARIES`, and the
benchmark the others.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files

import numpy as np

from pix2spec.core.photometry import filter_matrix
from pix2spec.data.simulate.spectra import milky_way_extinction

__all__ = ["TEST_LIBRARIES", "TRAINING_LIBRARIES", "StarLibrary", "draw_stars", "load_stars"]

TRAINING_LIBRARIES, TEST_LIBRARIES = ("pickles",), ("stelib", "bpgs", "muscles")
R_V = 3.1
BRIGHT, FAINT = 14.0, 22.0  # AB magnitudes in r between which stars are drawn
MEAN_EBV = 0.06  # of drawn stars, whose E(B-V) is distributed exponentially


@dataclass(frozen=True)
class StarLibrary:
    """Spectra of stars on a common lattice."""

    library: np.ndarray  # (N,) str
    name: np.ndarray  # (N,) spectral type, or the star's name
    wave: np.ndarray  # (L,) Angstrom, 1300 to 57000, evenly spaced in ln(wavelength)
    flux: np.ndarray  # (N, L) f_lambda, unreddened; the mean is 1 near 5500 Angstrom

    def __len__(self) -> int:
        return len(self.flux)

    def of(self, libraries: Sequence[str]) -> "StarLibrary":
        """The stars of these libraries alone."""
        rows = np.isin(self.library, libraries)
        return StarLibrary(self.library[rows], self.name[rows], self.wave, self.flux[rows])

    def fluxes(self, filters: Sequence, ebv: np.ndarray | float = 0.0) -> np.ndarray:
        """Fluxes (N, K) in filters behind the Milky Way's dust, relative to one another.

        Parameters
        ----------
        filters : sequence of str or Filter
            K of them, between 1340 Angstrom and 5.5 um.
        ebv : float or array (N,)
            E(B-V) of the dust, with R_V = 3.1.

        Raises
        ------
        InputError
            If speclite does not have a response curve.
        """
        extinction = np.asarray(ebv, float)[..., None] * R_V * milky_way_extinction(self.wave)
        return (self.flux * 10 ** (-0.4 * extinction)) @ filter_matrix(self.wave, tuple(filters), 0.98)


@lru_cache(maxsize=1)
def load_stars() -> StarLibrary:
    """All stars of the file."""
    with (files("pix2spec.training") / "stars.npz").open("rb") as stream:
        data = dict(np.load(stream, allow_pickle=False))
    flux = 10 ** data["log10_flux"].astype(float)
    wave = np.exp(data["ln_wave_start"] + data["ln_wave_step"] * np.arange(flux.shape[1]))
    return StarLibrary(data["library"], data["name"], wave, flux)


def draw_stars(
    n: int, filters: Sequence, seed: int, libraries: Sequence[str] = TRAINING_LIBRARIES
) -> tuple[np.ndarray, np.ndarray]:
    """Noise-free fluxes of random stars, of random brightness behind random dust.

    Parameters
    ----------
    n : int
        Number of stars. Each spectrum of the libraries is as likely as every other.
    filters : sequence of str or Filter
        K of them.
    seed : int
        Of the random numbers.
    libraries : sequence of str
        Some of "pickles", "bpgs", "muscles" and "stelib".

    Returns
    -------
    flux : array (n, K)
        Nanomaggies. The magnitude in SDSS r is uniform between 14 and 22.
    ebv : array (n,)
        E(B-V) of the dust, which the fluxes contain.
    """
    rng, stars = np.random.default_rng(seed), load_stars().of(libraries)
    which = rng.integers(len(stars), size=n)
    ebv = rng.exponential(MEAN_EBV, n)
    r = rng.uniform(BRIGHT, FAINT, n)
    drawn = StarLibrary(stars.library[which], stars.name[which], stars.wave, stars.flux[which])
    flux = drawn.fluxes(("sdss2010-r", *filters), ebv)
    return flux[:, 1:] * (10 ** (-0.4 * (r - 22.5)) / flux[:, 0])[:, None], ebv
