"""Measures observed and generated spectra in one way: redshift, lines, indices, dispersions, colours."""

from dataclasses import dataclass, fields
from typing import NamedTuple

import numpy as np

from pix2spec.core.grid import SpectralGrid
from pix2spec.core.photometry import filter_matrix
from pix2spec.core.scaling import fill_missing
from pix2spec.core.survey import SDSS, Survey
from pix2spec.errors import InputError
from pix2spec.measure.dispersion import velocity_dispersion
from pix2spec.measure.emission_lines import BPT_CLASSES, LineFit, bpt_class, fit_lines
from pix2spec.measure.indices import break_4000, lick_index
from pix2spec.measure.redshift import RedshiftFitter

__all__ = [
    "BPT_CLASSES",
    "EMISSION_ANGSTROM",
    "QUANTITIES",
    "Measurement",
    "Quantity",
    "gas_dispersion",
    "measure",
    "measure_at",
    "measure_many",
]

CHUNK_SPECTRA = 512  # measured at a time, which limits memory
MIN_HALPHA_SIGNAL_TO_NOISE = 5.0  # below it, the gas has no dispersion
EMISSION_ANGSTROM = 3.0  # equivalent width above which a line counts as one in emission
MIN_BAND_COVERAGE = 0.98  # of a band's transmission, for a colour
LINES = {
    "oii": ("[O_II]", "[O II] 3727"),
    "hbeta": ("H_beta", "Hβ"),
    "oiii": ("[O_III] 5007", "[O III] 5007"),
    "halpha": ("H_alpha", "Hα"),
    "nii": ("[N_II] 6583", "[N II] 6583"),
    "sii": ("[S_II]", "[S II] 6716, 6731"),
}
LICK_INDICES = {"hdelta_a": "HdeltaA", "mgb": "Mgb", "fe": "<Fe>"}
COLOURS = ("g_r", "r_i")


class Quantity(NamedTuple):
    """Name, unit and description of a quantity in reports."""

    label: str
    unit: str
    description: str


QUANTITIES = {
    "z": Quantity("redshift", "", "least squares of galaxy templates"),
    **{
        f"ew_{name}": Quantity(f"EW({label})", "Å", "rest frame, positive in emission, stars not subtracted")
        for name, (_, label) in LINES.items()
    },
    **{
        f"flux_{name}": Quantity(f"F({label})", "1e-17 erg/s/cm²", "above a straight local continuum")
        for name, (_, label) in LINES.items()
    },
    "dn4000": Quantity("Dn4000", "", "narrow 4000 Å break (Balogh et al. 1999)"),
    "hdelta_a": Quantity("HδA", "Å", "Lick index (Worthey & Ottaviani 1997), not smoothed"),
    "mgb": Quantity("Mgb", "Å", "Lick index (Worthey et al. 1994), not smoothed"),
    "fe": Quantity("<Fe>", "Å", "mean of the Lick indices Fe5270 and Fe5335, not smoothed"),
    "sigma_v": Quantity("σ(stars)", "km/s", "velocity dispersion at 4100 to 6800 Å; 53 is an upper limit"),
    "sigma_gas": Quantity("σ(gas)", "km/s", "of Hα and [N II], line spread included, where Hα has S/N > 5"),
    "g_r": Quantity("g - r", "mag", "synthetic, AB"),
    "r_i": Quantity("r - i", "mag", "synthetic, AB"),
}


@dataclass
class Measurement:
    """Measured quantities of spectra; all arrays have the spectra's leading shape.

    Attributes
    ----------
    values, errors : dict of float32 array
        By the names of `QUANTITIES`, in their order. NaN where not measured.
    bpt : int8 array
        Index into `BPT_CLASSES`.
    zwarning : int array
        Bits as SDSS's ZWARNING (`redshift`); 0 where the redshift was given.
    """

    values: dict[str, np.ndarray]
    errors: dict[str, np.ndarray]
    bpt: np.ndarray
    zwarning: np.ndarray

    @staticmethod
    def label(name: str) -> str:
        """Name of a quantity with its unit, for an axis."""
        label, unit, _ = QUANTITIES[name]
        return f"{label} [{unit}]" if unit else label


def measure(
    flux: np.ndarray, ivar: np.ndarray, grid: SpectralGrid, fitter: RedshiftFitter, survey: Survey = SDSS
) -> Measurement:
    """Fit the redshifts of spectra and measure everything at them.

    Parameters
    ----------
    flux : array (M, L)
        Noisy spectra on `grid` in 1e-17 erg/s/cm2/A (any unit will do for all but line fluxes).
    ivar : array (M, L)
        Inverse variance, 0 for missing pixels; of a candidate, that of the object's observed spectrum,
        whose noise it has.
    grid : SpectralGrid
        That of the fitter.
    fitter : RedshiftFitter
    survey : Survey
        Its filters make the colours.

    Returns
    -------
    Measurement
        Of arrays (M,).

    Raises
    ------
    InputError
        If the spectra, their ivar, the grid and the fitter disagree in their pixels.
    """
    _check(flux, ivar, grid, fitter)
    parts = []
    for start in range(0, len(flux), CHUNK_SPECTRA):
        rows = slice(start, start + CHUNK_SPECTRA)
        parts.append(_measure_chunk(flux[rows], ivar[rows], grid, fitter, survey))
    return _concatenate(parts)


def measure_many(
    flux: np.ndarray, ivar: np.ndarray, grid: SpectralGrid, fitter: RedshiftFitter, survey: Survey = SDSS
) -> Measurement:
    """`measure` for ensembles: flux (N, n, L) with ivar (N, L) of the objects; arrays (N, n) come back."""
    n_objects, n = np.shape(flux)[:2]
    _check(flux, ivar, grid, fitter)
    parts = []
    step = max(CHUNK_SPECTRA // max(n, 1), 1)  # objects: the ivar of all candidates is never held at once
    for start in range(0, n_objects, step):
        rows = slice(start, start + step)
        flat = np.reshape(flux[rows], (-1, grid.size))
        parts.append(measure(flat, np.repeat(ivar[rows], n, axis=0), grid, fitter, survey))
    return _map(lambda array: array.reshape(n_objects, n), _concatenate(parts))


def gas_dispersion(halpha: LineFit) -> tuple[np.ndarray, np.ndarray]:
    """Dispersion of Halpha and its error, NaN for weak lines, by their errors, or by their widths without."""
    has_error = np.isfinite(halpha.flux_error)
    significant = halpha.flux > MIN_HALPHA_SIGNAL_TO_NOISE * halpha.flux_error
    strong = np.where(has_error, significant, halpha.ew > EMISSION_ANGSTROM)
    return np.where(strong, halpha.sigma, np.nan), np.where(strong, halpha.sigma_error, np.nan)


def measure_at(
    flux: np.ndarray, ivar: np.ndarray | None, z: np.ndarray, grid: SpectralGrid, survey: Survey = SDSS
) -> Measurement:
    """Measure spectra (M, L) at given redshifts (M,); see `measure`. The errors of z are NaN.

    Without `ivar`, as for noise-free spectra, all pixels count alike, and all errors are NaN.
    """
    flux, z = np.asarray(flux), np.asarray(z, float)
    values, errors = {"z": z}, {"z": np.full(z.shape, np.nan)}
    lines = {name: line for name, (line, _) in LINES.items()}
    fits = fit_lines(flux, z, grid, ivar, lines.values())
    for name, line in lines.items():
        values[f"ew_{name}"], errors[f"ew_{name}"] = fits[line].ew, fits[line].ew_error
        values[f"flux_{name}"], errors[f"flux_{name}"] = fits[line].flux, fits[line].flux_error
    halpha, hbeta, oiii, nii = (fits[lines[name]] for name in ("halpha", "hbeta", "oiii", "nii"))
    values["sigma_gas"], errors["sigma_gas"] = gas_dispersion(halpha)
    values["dn4000"], errors["dn4000"] = break_4000(flux, z, grid, ivar)
    for name, index in LICK_INDICES.items():
        values[name], errors[name] = lick_index(flux, z, grid, index, ivar)
    values["sigma_v"], errors["sigma_v"] = velocity_dispersion(flux, z, grid, ivar)
    colours, colour_errors = _colours(flux, ivar, grid, survey)
    measured = [
        {name: np.asarray(table[name], np.float32) for name in QUANTITIES}
        for table in (values | colours, errors | colour_errors)
    ]
    table, table_errors = measured
    return Measurement(table, table_errors, bpt_class(halpha, hbeta, oiii, nii), np.zeros(z.shape, int))


def _measure_chunk(flux, ivar, grid, fitter, survey) -> Measurement:
    fit = fitter.fit(flux, ivar)
    result = measure_at(flux, ivar, fit.z, grid, survey)
    result.errors["z"] = fit.z_err.astype(np.float32)
    result.zwarning = fit.zwarning.astype(int)
    return result


def _colours(flux, ivar, grid: SpectralGrid, survey: Survey):
    """Colours in AB magnitudes (M,) and their errors from pixel noise; missing pixels are interpolated."""
    weight = np.ones(flux.shape) if ivar is None else np.asarray(ivar)
    good = (weight > 0) & np.isfinite(flux)
    filled = fill_missing(flux, np.where(good, weight, 0)).astype(float)
    if ivar is None:
        variance = np.full(flux.shape, np.nan)
    else:
        variance = np.divide(1.0, weight, out=np.zeros(flux.shape), where=good)
    weights = filter_matrix(grid.wave, survey.filters, MIN_BAND_COVERAGE)
    column = {band: k for k, band in enumerate(survey.photometry_bands)}
    values, errors = {}, {}
    for name in COLOURS:
        values[name] = errors[name] = np.full(len(flux), np.nan)
        if not set(name.split("_")) <= set(column):
            continue
        blue, red = (weights[:, column[band]] for band in name.split("_"))
        blue_flux, red_flux = (np.where(band > 0, band, np.nan) for band in (filled @ blue, filled @ red))
        values[name] = 2.5 * np.log10(red_flux / blue_flux)
        # Bands overlap: their errors are correlated.
        moments = variance @ np.stack([blue**2, blue * red, red**2], 1)
        relative = moments / np.stack([blue_flux**2, blue_flux * red_flux, red_flux**2], 1)
        errors[name] = 2.5 / np.log(10) * np.sqrt(relative @ [1, -2, 1])
    return values, errors


def _check(flux, ivar, grid: SpectralGrid, fitter: RedshiftFitter) -> None:
    if grid != fitter.grid:
        raise InputError(
            "grid", f"the redshift templates are on another grid than {grid}", f"use {fitter.grid}"
        )
    expected = (*np.shape(flux)[:1], grid.size)
    if np.shape(flux)[-1:] != (grid.size,) or np.shape(ivar) != expected:
        raise InputError(
            "flux",
            f"its shape {np.shape(flux)} and that of ivar {np.shape(ivar)} do not fit {grid.size} pixels",
        )


def _map(function, *measurements: Measurement) -> Measurement:
    """Apply a function to the arrays of measurements, name by name."""
    columns = [[getattr(m, field.name) for m in measurements] for field in fields(Measurement)]
    tables = [{name: function(*(t[name] for t in column)) for name in QUANTITIES} for column in columns[:2]]
    parts: list = [*tables, *(function(*column) for column in columns[2:])]
    return Measurement(*parts)


def _concatenate(parts: list[Measurement]) -> Measurement:
    return _map(lambda *arrays: np.concatenate(arrays), *parts)
