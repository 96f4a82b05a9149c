"""Coarse spectra as photometry: fluxes in box filters of 60 to 200 Angstrom, with errors.

A spectrum of low resolution, from a prism, a grism or a short exposure, says what photometry in many narrow
bands says.
"""

from dataclasses import replace
from functools import cache

import numpy as np

from pix2spec.core.filters import MIN_PLAIN_CENTRE, OWN_CURVE_ERROR, Filter, load_filter
from pix2spec.core.lines import LIGHT_SPEED_ANGSTROM_S
from pix2spec.core.photometry import FLUX_UNIT, NANOMAGGY, filter_matrix, fit_amplitude
from pix2spec.data.measurements import ERROR_ASSUMED, Measurements, check_kinds
from pix2spec.errors import InputError

__all__ = ["box_filter", "coarse_spectrum"]

WIDTHS = (60, 200)  # Angstrom
MIN_COVERED = 0.8  # of a box by valid pixels
MIN_FILTER_COVERED = 0.95  # of a filter by a spectrum that is scaled onto the flux in it
BRIGHTEST = 1e9  # nanomaggies
WHICH_UNIT = "its flux has no unit: is it in erg/s/cm2/Angstrom, in Jy, or relative?"
STATE_UNIT = "state the unit; a relative spectrum needs photometry in filters that it covers"


def coarse_spectrum(
    wave,
    flux,
    error=None,
    width: int = 100,
    relative: bool = False,
    photometry: Measurements | None = None,
    kind: str | None = None,
    where: str = "spectrum",
) -> Measurements:
    """Fluxes of a spectrum in box filters.

    Parameters
    ----------
    wave : array (L,) or Quantity
        Increasing wavelengths of the pixels' centres in Angstrom, or with a unit of length.
    flux, error : array (L,) or Quantity
        Flux and its standard deviation: in 1e-17 erg/s/cm2/Angstrom, or with a unit of flux density. Pixels
        that are not finite, or have no positive error, are missing. Without `error`, each box has the
        typical error of an own filter, and the result the flag ``error-assumed``.
    width : int
        Width of the boxes in Angstrom, 60 to 200. Their centres are multiples of it.
    relative : bool
        The flux has an unknown scale. Quantities without a unit of flux, such as counts, have one as well.
    photometry : Measurements, optional
        The object's fluxes, onto which a relative spectrum is scaled.
    kind : str, optional
        Which light the spectrum encloses. By default ``"fibre"``, and for a relative spectrum the kind of the
        photometry.
    where : str
        Name of the spectrum, for errors.

    Returns
    -------
    Measurements
        In filters such as ``box-4500-100``, for ``Galaxy(photometry=...)``.

    Raises
    ------
    InputError
        If the arrays are no spectrum, its pixels are wider than a box, or nothing fixes its scale.

    Notes
    -----
    Errors of pixels are taken as independent. Lines of emission count with their full flux, wherever they lie
    in a box. A missing pixel is taken to have the mean flux of its box.

    Examples
    --------
    A flat spectrum whose pixels of 5 Angstrom have errors of 20 %:

    >>> import numpy as np
    >>> from pix2spec.data.coarse_spectra import coarse_spectrum
    >>> wave = np.arange(4000, 7000, 5)
    >>> boxes = coarse_spectrum(wave, np.full(600, 10.0), np.full(600, 2.0))
    >>> len(boxes.filters), boxes.filters[0], (boxes.error / boxes.flux)[0].round(3)
    (29, 'box-4100-100', np.float64(0.044))
    """
    if not WIDTHS[0] <= width <= WIDTHS[1] or width != int(width):
        raise InputError("`width`", f"boxes of {width} Angstrom", f"give {WIDTHS[0]} to {WIDTHS[1]}")
    wave = _in_angstrom(wave, where)
    relative = relative or _is_relative(flux)
    flux, error = (None if x is None else _in_flux(x, wave, relative, where) for x in (flux, error))
    good = _valid(wave, flux, error, int(width), where)
    scale = 1.0
    if relative:
        if photometry is None:
            raise InputError(where, WHICH_UNIT, STATE_UNIT)
        scale, kind = _scale_onto(photometry, wave, flux, good, where), kind or _kind_of(photometry)
    check_kinds((kind or "fibre",), where)
    found = _in_boxes(wave, scale * flux, None if error is None else scale * error, good, int(width))
    if not found.filters:
        raise InputError(where, "no box is covered by valid pixels", "give a wider `width`, up to 200")
    if np.median(found.flux) > BRIGHTEST:
        what = "its flux is brighter than magnitude 0"
        raise InputError(where, what, "is it in 1e-17 erg/s/cm2/Angstrom? then state this unit")
    return replace(found, kinds=(kind or "fibre",) * len(found.filters))


@cache
def box_filter(centre: int, width: int) -> Filter:
    """A filter that lets all light pass between centre - width/2 and centre + width/2, in Angstrom."""
    wave = np.array([centre - width / 2, centre, centre + width / 2])
    return Filter(f"box-{centre}-{width}", wave, np.ones(3))


def _in_boxes(wave, flux, error, good, width: int) -> Measurements:
    """Measurements in the boxes that valid pixels cover; their kinds are missing."""
    edges = _edges(wave)
    centres = np.arange(np.ceil(edges[0] / width), np.floor(edges[-1] / width) + 1).astype(int) * width
    centres = centres[centres >= MIN_PLAIN_CENTRE]
    names, curves, fluxes, errors = [], {}, [], []
    for centre in centres.tolist():
        low = np.clip(edges[:-1], centre - width / 2, centre + width / 2)
        high = np.clip(edges[1:], centre - width / 2, centre + width / 2)
        inside = good & (high > low)
        if (high - low)[inside].sum() < MIN_COVERED * width:
            continue
        photons = (high[inside] ** 2 - low[inside] ** 2) / 2  # integral of lambda
        ab_source = np.log(high[inside] / low[inside]).sum() * LIGHT_SPEED_ANGSTROM_S * NANOMAGGY
        weights = photons / ab_source * FLUX_UNIT
        curve = box_filter(centre, width)
        names.append(curve.name)
        curves[curve.name] = curve
        fluxes.append(weights @ flux[inside])
        errors.append(np.nan if error is None else np.sqrt(np.square(weights * error[inside]).sum()))
    values, sigma = np.array(fluxes), np.array(errors)
    if error is not None:
        return Measurements(tuple(names), values, sigma, (), curves=curves)
    known = np.flatnonzero(values > 0)
    names = [names[k] for k in known]
    sigma = OWN_CURVE_ERROR * values[known]
    return Measurements(tuple(names), values[known], sigma, (), (ERROR_ASSUMED,), curves=curves)


def _edges(wave: np.ndarray) -> np.ndarray:
    middle = (wave[1:] + wave[:-1]) / 2
    return np.concatenate([[2 * wave[0] - middle[0]], middle, [2 * wave[-1] - middle[-1]]])


def _scale_onto(photometry: Measurements, wave, flux, good, where: str) -> float:
    """Factor that brings a spectrum onto fluxes in filters that it covers."""
    filled = np.interp(wave, wave[good], flux[good])
    curves = [load_filter(name, photometry.curves) for name in photometry.filters]
    weights = filter_matrix(wave, curves, MIN_FILTER_COVERED)
    _, scale = fit_amplitude(filled[None], weights, photometry.flux, photometry.ivar, fit_offset=False)
    if not np.isfinite(scale[0, 0]):
        what = f"its flux is relative, and it covers none of the filters {', '.join(photometry.filters)}"
        raise InputError(where, what[:300], "is its flux in a known unit? then state it")
    return float(scale[0, 0])


def _kind_of(photometry: Measurements) -> str:
    kinds = set(photometry.kinds)
    return kinds.pop() if len(kinds) == 1 else "unknown"


def _valid(wave, flux, error, width: int, where: str) -> np.ndarray:
    """Pixels (L,) that count; raises `InputError` if the arrays are no spectrum."""
    shapes = {x.shape for x in (wave, flux, error) if x is not None}
    if len(shapes) > 1 or wave.ndim != 1 or len(wave) < 2:
        what = f"its wavelength, flux and error have the shapes {sorted(map(str, shapes))}"
        raise InputError(where, what, "give arrays of equal length, at least two")
    if not np.isfinite(wave).all() or (np.diff(wave) <= 0).any():
        raise InputError(where, "its wavelengths do not increase", "sort the pixels")
    if wave[-1] < 2 * MIN_PLAIN_CENTRE:
        what = f"its wavelengths reach from {wave[0]:.6g} to {wave[-1]:.6g} Angstrom"
        raise InputError(where, what, "give other wavelengths their unit, such as nm or um")
    pixel = np.median(np.diff(wave))
    if pixel > width:
        what = f"its pixels are {pixel:.0f} Angstrom wide, and the boxes {width}"
        raise InputError(where, what, "give a larger `width`; pixels above 200 Angstrom are bands")
    good = np.isfinite(flux)
    if error is not None:
        good &= np.isfinite(error) & (error > 0)
    if not good.any():
        raise InputError(where, "it has no valid pixel", "an error must be positive")
    return good


def _is_relative(values) -> bool:
    unit = getattr(values, "unit", None)
    if unit is None:
        return False
    from astropy import units as u

    return not unit.is_equivalent(u.W / u.m**3, u.spectral_density(1 * u.um))


def _in_angstrom(wave, where: str) -> np.ndarray:
    unit = getattr(wave, "unit", None)
    if unit is None:
        return _numbers(wave, where)
    from astropy import units as u

    try:
        return _numbers(wave.to_value(u.AA), where)
    except u.UnitConversionError as error:
        raise InputError(where, f"its wavelength is in {unit}", "give a unit of length") from error


def _in_flux(values, wave, relative: bool, where: str) -> np.ndarray:
    """Numbers, in 1e-17 erg/s/cm2/Angstrom if the values have a unit of flux density."""
    if getattr(values, "unit", None) is None or relative:
        return _numbers(getattr(values, "value", values), where)
    from astropy import units as u

    if values.shape != wave.shape:
        return _numbers(values.value, where)
    target = u.Unit("1e-17 erg / (s cm2 Angstrom)")
    try:
        return _numbers(values.to_value(target, u.spectral_density(wave * u.AA)), where)
    except u.UnitConversionError as error:
        raise InputError(where, f"its error is in {values.unit}", "give the unit of the flux") from error


def _numbers(values, where: str) -> np.ndarray:
    try:
        return np.ma.filled(np.ma.asarray(values, float), np.nan)
    except (TypeError, ValueError) as error:
        raise InputError(where, "it is not an array of numbers") from error
