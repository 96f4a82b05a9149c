"""Quantities of ensembles: of each candidate, and one value of each object with its interval."""

from collections.abc import Sequence

import numpy as np

from pix2spec.core.grid import SpectralGrid
from pix2spec.core.quantiles import known_quantiles
from pix2spec.errors import InputError
from pix2spec.measure.candidates import estimated_ivar, nominal_ivar
from pix2spec.measure.dispersion import velocity_dispersion
from pix2spec.measure.emission_lines import GALAXY_CLASSES, fit_lines, galaxy_class
from pix2spec.measure.indices import break_4000, lick_index
from pix2spec.measure.parallel import _fitter, reason_unmeasurable
from pix2spec.measure.quantities import (
    EMISSION_ANGSTROM,
    LINES,
    Measurement,
    gas_dispersion,
    measure,
    measure_at,
)
from pix2spec.products.columns import CLASSES
from pix2spec.products.ensemble import Ensemble
from pix2spec.products.units import PHYSICAL

__all__ = ["measure_candidates", "measure_ensemble", "measure_ensembles"]

INTERVAL = {"": 0.5, "_lo": 0.16, "_hi": 0.84}


def measure_candidates(flux: np.ndarray, z: np.ndarray, grid: SpectralGrid) -> dict[str, np.ndarray]:
    """Measure candidate spectra whose pixels count alike.

    Parameters
    ----------
    flux : array (M, L)
        Spectra in 1e-17 erg/s/cm2/A, noise-free if possible; NaN for spectra that are not to be measured.
    z : array (M,)
        Their redshifts.
    grid : SpectralGrid

    Returns
    -------
    dict of array (M,)
        Line strengths, indices and dispersions, as in `pix2spec.products.columns.MEASURED`, and ``class``,
        an index into `pix2spec.measure.emission_lines.GALAXY_CLASSES`. NaN, or class 0, where not measured.
    """
    with np.errstate(divide="ignore", invalid="ignore"):  # spectra without flux give NaN
        fits = fit_lines(flux, z, grid, None, [line for line, _ in LINES.values()])
        lines = {name: fits[line] for name, (line, _) in LINES.items()}
        values = {f"ew_{name}": fit.ew for name, fit in lines.items()}
        values |= {f"flux_{name}": fit.flux for name, fit in lines.items()}
        values["dn4000"] = break_4000(flux, z, grid)[0]
        values["d4000"] = break_4000(flux, z, grid, windows="wide")[0]
        values["hdelta_a"] = lick_index(flux, z, grid, "HdeltaA")[0]
        values["sigma_v"] = velocity_dispersion(flux, z, grid)[0]
        values["sigma_gas"] = gas_dispersion(lines["halpha"])[0]
        values["class"] = galaxy_class(*(lines[name] for name in ("halpha", "hbeta", "oiii", "nii")))
    return values


def measure_ensemble(ensemble: Ensemble) -> Measurement:
    """Measure each candidate of an ensemble at its redshift.

    Noise-free candidates are measured where the ensemble has them, else the candidates as they are. The
    redshift is the candidate's own, else the one that is known of the object, else one that is fitted.

    Parameters
    ----------
    ensemble : Ensemble
        The candidates.

    Returns
    -------
    Measurement
        Of arrays (n,). Without errors, but where redshifts are fitted.

    Raises
    ------
    InputError
        If the spectra have no zero point of flux, or a redshift is to be fitted and the grid is too short.

    Examples
    --------
    >>> ensemble = pix2spec.load().generate(pix2spec.Galaxy("m", photometry={"g": 33, "r": 41, "i": 50}), n=4)
    >>> pix2spec.measure_ensemble(ensemble).values["dn4000"].shape
    (4,)
    """
    if not ensemble.has_zero_point:
        what = "its candidates have no zero point of flux, which equivalent widths need"
        raise InputError(ensemble.object_id, what)
    flux, z = _spectra(ensemble), _redshifts(ensemble)
    if np.isfinite(z).any():
        with np.errstate(divide="ignore", invalid="ignore"):  # spectra without flux give NaN
            return measure_at(flux, None, z, ensemble.grid)
    if reason := reason_unmeasurable(ensemble.grid):
        raise InputError(ensemble.object_id, reason)
    noise_free = ensemble.noise_free is not None or ensemble.provenance.get("noise") == "none"
    ivar = nominal_ivar(flux) if noise_free else np.tile(estimated_ivar(flux), (len(flux), 1))
    return measure(flux, ivar, ensemble.grid, _fitter(ensemble.grid))


def measure_ensembles(ensembles: Sequence[Ensemble]) -> list[dict[str, float]]:
    """Measure the candidates of some ensembles at their redshifts, and summarise them for each object.

    Noise-free candidates are measured where the ensemble has them, else the candidates as they are. Redshifts
    are those of the candidates, else the one that was given.

    Parameters
    ----------
    ensembles : sequence of Ensemble
        On one grid, with equal numbers of candidates.

    Returns
    -------
    list of dict
        Values of `pix2spec.products.columns.MEASURED`: medians over the candidates, 16 and 84 % quantiles,
        and probabilities. NaN where half of the candidates or more cannot be measured, and for line fluxes of
        relative spectra.

    Raises
    ------
    InputError
        If the grids or the numbers of candidates differ.
    """
    if not ensembles:
        return []
    n, grid = len(ensembles[0]), ensembles[0].grid
    for ensemble in ensembles:
        if len(ensemble) != n or ensemble.grid != grid:
            raise InputError(ensemble.object_id, "its candidates do not have the others' number and grid")
    flux = np.concatenate([_spectra(ensemble) for ensemble in ensembles])
    z = np.concatenate([_redshifts(ensemble) for ensemble in ensembles])
    found = measure_candidates(flux, z, grid)
    found = {name: values.reshape(len(ensembles), n).T for name, values in found.items()}  # (n, objects)
    classes = found.pop("class")
    relative = [ensemble.unit != PHYSICAL for ensemble in ensembles]
    for name in LINES:
        found[f"flux_{name}"][:, relative] = np.nan
    intervals = known_quantiles(np.stack(list(found.values()), 1), tuple(INTERVAL.values()))
    columns = {name + end: row for end, rows in zip(INTERVAL, intervals) for name, row in zip(found, rows)}
    for name in LINES:
        widths = found[f"ew_{name}"]
        columns[f"p_emission_{name}"] = _share(widths > EMISSION_ANGSTROM, np.isfinite(widths))
    for name, index in zip(CLASSES, range(1, len(GALAXY_CLASSES))):
        columns[f"p_{name}"] = _share(classes == index, classes > 0)
    return [dict(zip(columns, row)) for row in np.stack(list(columns.values()), 1).tolist()]


def _share(true: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Share of the known candidates (n, objects) for which something is true; NaN where few are known."""
    count = known.sum(0)
    return np.where(2 * count > len(known), (true & known).sum(0) / np.maximum(count, 1), np.nan)


def _spectra(ensemble: Ensemble) -> np.ndarray:
    if not ensemble.has_zero_point:  # equivalent widths, breaks and ratios have no meaning
        return np.full_like(ensemble.candidates, np.nan)
    return ensemble.candidates if ensemble.noise_free is None else ensemble.noise_free


def _redshifts(ensemble: Ensemble) -> np.ndarray:
    z = np.full(len(ensemble), ensemble.z) if ensemble.redshifts is None else ensemble.redshifts
    return z.astype(float)
