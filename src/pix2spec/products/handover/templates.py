"""Typical noise-free spectra of a catalogue, for programs that simulate exposures."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from pix2spec.core.photometry import filter_matrix, magnitude
from pix2spec.errors import InputError
from pix2spec.products.catalogue import Catalogue
from pix2spec.products.ensemble import Ensemble
from pix2spec.products.units import PHYSICAL

__all__ = ["Template", "extend", "synthetic_fluxes", "synthetic_magnitude", "templates"]

END = 100.0  # Angstrom whose median continues a spectrum beyond its ends


@dataclass(frozen=True)
class Template:
    """One object and its typical candidate."""

    ensemble: Ensemble
    wave: np.ndarray  # Angstrom, vacuum, observed frame
    flux: np.ndarray  # 1e-17 erg/s/cm2/Angstrom
    z: float
    z_error: float  # half the 16 to 84 % range of the candidates, 0 where the redshift is known

    @property
    def name(self) -> str:
        """Id of the object."""
        return self.ensemble.object_id


def templates(catalogue: Catalogue) -> Iterator[Template]:
    """Yield the typical candidate of each object.

    Raises
    ------
    InputError
        If the spectra have noise, or an object has no redshift or relative fluxes.
    """
    if catalogue.provenance.get("noise") != "none":
        what = "its spectra have the noise of an exposure, which the other program adds itself"
        raise InputError(catalogue.path, what, 'generate the catalogue with `noise="none"`')
    for ensemble in catalogue:
        if ensemble.unit != PHYSICAL:
            hint = "give the photometry that fixes the amplitude"
            raise InputError(ensemble.object_id, "its fluxes are relative", hint)
        z, error = _redshift(ensemble)
        flux = ensemble.candidates[ensemble.typical]
        yield Template(ensemble, ensemble.grid.wave, flux.astype(float), z, error)


def _redshift(ensemble: Ensemble) -> tuple[float, float]:
    if ensemble.redshifts is not None:
        low, high = np.nanquantile(ensemble.redshifts, (0.16, 0.84))
        return float(ensemble.redshifts[ensemble.typical]), float(high - low) / 2
    if np.isfinite(ensemble.z):
        return float(ensemble.z), 0.0
    what = "its candidates have no redshifts"
    raise InputError(
        ensemble.object_id, what, "generate with a model that draws them, and keep the candidates"
    )


def extend(wave: np.ndarray, flux: np.ndarray, grid: np.ndarray) -> np.ndarray:
    """A spectrum at the wavelengths `grid`; beyond its ends, the median of its last 100 Angstrom.

    Programs that simulate an instrument want all of its range, and treat a missing part as zero or as an
    error.
    """
    left, right = np.median(flux[wave < wave[0] + END]), np.median(flux[wave > wave[-1] - END])
    return np.interp(grid, wave, flux, left=left, right=right)


def synthetic_fluxes(template: Template, filters: tuple[str, ...]) -> np.ndarray:
    """Band fluxes (filters,) in nanomaggies; NaN for filters beyond the spectrum."""
    return template.flux @ filter_matrix(template.wave, filters, min_coverage=0.99)


def synthetic_magnitude(template: Template, name: str) -> float:
    """AB magnitude in a filter."""
    return float(magnitude(synthetic_fluxes(template, (name,)))[0])
