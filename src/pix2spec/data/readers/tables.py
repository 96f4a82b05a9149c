"""Find band fluxes, positions, ids and redshifts in the columns of a catalogue."""

from difflib import get_close_matches

import numpy as np

from pix2spec.core.filters import OWN_CURVE_ERROR
from pix2spec.core.photometry import MAX_MAGNITUDE, MIN_MAGNITUDE
from pix2spec.core.survey import SDSS, Survey
from pix2spec.data.readers.guards import spec_id
from pix2spec.data.readers.spectrum_headers import id_of_name
from pix2spec.data.readers.table_formats import read_table
from pix2spec.errors import InputError

__all__ = [
    "ERROR_FLOOR",
    "ERROR_FRACTION",
    "assumed_ivar",
    "file_names",
    "own_photometry",
    "photometry_from_table",
    "positions_from_table",
    "read_table",
    "redshift",
    "redshift_error",
    "sky_positions",
]

ERROR_FRACTION = 0.05  # of the flux
ERROR_FLOOR = 0.05  # nanomaggies
NANOJANSKY_PER_NANOMAGGY = 3631.0
FILLERS = (-999.0, -9999.0)  # values that mark a missing flux

# (pattern of the flux columns, patterns of the error columns, unit). The first pattern that has a column for
# every band is used. Fibre fluxes come first, because they refer to the aperture of the spectrum.
PATTERNS = [
    ("fiberflux_{}", ("fiberflux_ivar_{}",), "ivar"),
    ("calibflux_{}", ("calibflux_ivar_{}",), "ivar"),
    ("flux_{}", ("flux_ivar_{}", "ivar_{}"), "ivar"),
    ("flux_{}", ("flux_err_{}", "fluxerr_{}", "flux_{}_err"), "flux"),
    ("fibermag_{}", ("fibermagerr_{}",), "mag"),
    ("modelmag_{}", ("modelmagerr_{}",), "mag"),
    ("cmodelmag_{}", ("cmodelmagerr_{}",), "mag"),
    ("psfmag_{}", ("psfmagerr_{}",), "mag"),
    ("petromag_{}", ("petromagerr_{}",), "mag"),
    ("mag_{}", ("mag_err_{}", "magerr_{}", "mag_{}_err"), "mag"),
    ("{}", ("err_{}", "{}_err", "{}err", "magerr_{}"), "mag"),
]
VECTORS = ("calibflux", "calibflux_ugriz", "fiberflux", "photometry")
OBJECT_IDS = ("object_id", "objectid", "objid", "bestobjid", "dr7objid", "specobjid", "id", "name")
FILE_NAMES = (
    "file",
    "filename",
    "file_name",
    "specfile",
    "spec_file",
    "spectrum",
    "specname",
    "spec",
    "path",
)
RA = ("ra", "plug_ra", "raj2000", "_ra", "ra_deg", "alpha")
DEC = ("dec", "plug_dec", "dej2000", "_dec", "dec_deg", "delta", "decl")
REDSHIFTS = ("redshift", "z_spec", "zspec", "specz", "z_sdss", "zsp")
REDSHIFT_ERRORS = ("{}_err", "{}err", "{}_error", "e_{}", "err_{}")


def assumed_ivar(
    flux: np.ndarray, measured_ivar: np.ndarray | None = None, fraction: float = ERROR_FRACTION
) -> np.ndarray:
    """Inverse variance of fluxes for which the catalogue gives no error, or only the photon noise.

    The assumed error is 5 % of the flux, 0.05 nanomaggies and the measured error (if there is one), added in
    quadrature. SDSS imaging and spectra agree to about 5 %.

    Parameters
    ----------
    flux : array (...)
        Fluxes in nanomaggies.
    measured_ivar : array (...), optional
        Measured inverse variances in 1/nanomaggies^2; 0 where unknown.
    fraction : float
        Assumed error in place of the 5 % of the flux.

    Returns
    -------
    array (...), float32
        Inverse variances in 1/nanomaggies^2; 0 where a flux is not positive and finite.
    """
    flux = np.asarray(flux, float)
    good = np.isfinite(flux) & (flux > 0) & (flux < 1e9)
    variance = (fraction * np.where(good, flux, 0)) ** 2 + ERROR_FLOOR**2
    if measured_ivar is not None:
        known = np.isfinite(measured_ivar) & (measured_ivar > 1e-12)
        variance = variance + np.where(known, 1 / np.where(known, measured_ivar, 1), 0)
    return np.where(good, 1 / variance, 0).astype(np.float32)


def _floats(column) -> np.ndarray:
    """A column as float64. Masked values, and texts that are not numbers, become NaN."""
    values = np.ma.asarray(column)
    try:
        return np.ma.filled(values.astype(float), np.nan)
    except (TypeError, ValueError):
        return np.array([_number(v) for v in np.ma.filled(values, "").ravel()]).reshape(values.shape)


def _in_nanomaggies(column) -> np.ndarray:
    """A column as float64. Fluxes in units of Jy, and their inverse variances, become nanomaggies."""
    import astropy.units as u

    values = _floats(column)
    unit = u.Unit(str(getattr(column, "unit", None) or ""), parse_strict="silent")
    for power in (1, -2):
        target = (NANOJANSKY_PER_NANOMAGGY * u.nJy) ** power
        if unit.is_equivalent(target):
            return np.where(np.isin(values, FILLERS), np.nan, values) * unit.to(target)
    return values


def _number(text) -> float:
    try:
        return float(text)
    except (TypeError, ValueError):
        return np.nan


class _Columns:
    """Columns of a table by their lower-case names."""

    def __init__(self, table):
        self.table = table
        self.names = {name.lower().strip(): name for name in reversed(table.colnames)}

    def __contains__(self, name: str) -> bool:
        return name in self.names

    def column(self, name: str):
        if self.names[name] in self.table.meta.get("twice", ()):
            where = self.table.meta.get("path", "table")
            raise InputError(
                where, f"its column {self.names[name]!r} comes more than once", "rename the other columns"
            )
        return self.table[self.names[name]]

    def floats(self, name: str) -> np.ndarray:
        return _in_nanomaggies(self.column(name))

    def first(self, names) -> str | None:
        return next((name for name in names if name in self.names), None)

    def missing(self, wanted: list[str]) -> InputError:
        where = self.table.meta.get("path", "table")
        hints = []
        for name in wanted:
            near = get_close_matches(name, self.names, 1, 0.5)
            hints += [f"is {self.names[near[0]]!r} meant for {name!r}?"] if near else []
        return InputError(
            where,
            f"it has no column {', '.join(wanted)}",
            " ".join(hints) or f"its columns are {', '.join(self.table.colnames)}",
        )


def photometry_from_table(table, survey: Survey = SDSS):
    """Ids, positions and band fluxes of the rows of a catalogue.

    Upper and lower case of column names are the same. Fluxes (``fiberflux_g``, ``calibflux_g``, ``flux_g``,
    or one column of vectors) are in nanomaggies, unless the unit of the column is nJy, uJy or similar.
    Magnitudes (``fiberMag_g``, ``modelMag_g``, ``g`` ...) are taken as AB magnitudes on Pogson's scale.
    SDSS's asinh magnitudes differ from these by less than 1 % for magnitudes below 21 (u and z: 20). The zero
    point of SDSS's u band is not corrected.

    Parameters
    ----------
    table : astropy.table.Table
        As `read_table` gives it.
    survey : Survey
        The survey whose `photometry_bands` are needed.

    Returns
    -------
    ids : list of str
        ``PLATE-MJD-FIBER`` if the table has these columns, otherwise its id column. Unknown ids are "".
    ra, dec : array (N,)
        Position in degrees; NaN where unknown or not on the sky.
    photometry, ivar : array (N, band), float32
        Fluxes in nanomaggies and their inverse variances in 1/nanomaggies^2. A missing band (NaN, -9999 ...)
        has flux NaN and ivar 0. `assumed_ivar` gives the errors if the catalogue has none.

    Raises
    ------
    InputError
        If the table has no complete set of flux or magnitude columns.
    """
    flux, ivar = _fluxes(_Columns(table), survey.photometry_bands)
    flux = np.where(ivar > 0, flux, np.nan).astype(np.float32)
    return *sky_positions(table), flux, ivar.astype(np.float32)


def own_photometry(table, names) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Fluxes in filters of the user, found in columns of the same forms as in `photometry_from_table`.

    Parameters
    ----------
    table : astropy.table.Table
        As `read_table` gives it.
    names : iterable of str
        Names of the filters.

    Returns
    -------
    found : list of str
        The filters that the table has.
    photometry, ivar : array (N, number found), float32
        As in `photometry_from_table`. Without errors, the typical one of an own filter is assumed.
    """
    columns = _Columns(table)
    forms = [[n for n in names if p.format(n.lower()) in columns] for p, *_ in PATTERNS]
    found = max(forms, key=len)
    if not found:
        return [], np.empty((len(table), 0)), np.empty((len(table), 0))
    flux, ivar = _fluxes_of_bands(columns, tuple(name.lower() for name in found), OWN_CURVE_ERROR)
    return found, np.where(ivar > 0, flux, np.nan).astype(np.float32), ivar.astype(np.float32)


def file_names(table) -> list[str]:
    """Ids of the files that the rows of a catalogue name; "" without a column of file names."""
    columns = _Columns(table)
    name = columns.first(FILE_NAMES)
    if name is None or np.ma.asarray(columns.column(name)).dtype.kind not in "USO":
        return [""] * len(table)
    return [id_of_name(str(value).strip()) for value in columns.column(name)]


def positions_from_table(table) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Ids and positions of the rows of a catalogue.

    Returns
    -------
    ids : list of str
        As in `photometry_from_table`.
    ra, dec : array (N,)
        The numbers in the table's columns, even if they are not on the sky; NaN where there are none.
    """
    columns = _Columns(table)
    east, north = columns.first(RA), columns.first(DEC)
    nowhere = np.full(len(table), np.nan)
    ra, dec = (columns.floats(east), columns.floats(north)) if east and north else (nowhere, nowhere)
    return _ids(columns), ra, dec


def sky_positions(table) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Ids and positions as `positions_from_table` gives them; NaN where they are not on the sky."""
    ids, ra, dec = positions_from_table(table)
    off_sky = ~((ra >= 0) & (ra <= 360) & (np.abs(dec) <= 90))
    return ids, np.where(off_sky, np.nan, ra), np.where(off_sky, np.nan, dec)


def redshift(table) -> np.ndarray:
    """Redshifts of the rows of a catalogue: array (N,), NaN where unknown.

    A column ``z`` is a magnitude, not a redshift, if the table also has a column ``r``.
    """
    columns = _Columns(table)
    name = _redshift_column(columns)
    return columns.floats(name) if name else np.full(len(table), np.nan)


def redshift_error(table) -> np.ndarray:
    """Errors of the redshifts of `redshift`: array (N,), NaN where unknown or not positive.

    The column is called as that of the redshift, with ``_err``, ``err``, ``_error``, ``e_`` or ``err_``.
    """
    columns = _Columns(table)
    name = _redshift_column(columns)
    error = columns.first([form.format(name) for form in REDSHIFT_ERRORS]) if name else None
    values = columns.floats(error) if error else np.full(len(table), np.nan)
    return np.where(values > 0, values, np.nan)


def _redshift_column(columns: _Columns) -> str | None:
    return columns.first(REDSHIFTS) or ("z" if "z" in columns and "r" not in columns else None)


def _ids(columns: _Columns) -> list[str]:
    fiber = columns.first(("fiberid", "fiber"))
    plate = columns.first(("plate", "plateid"))
    if plate and fiber and "mjd" in columns:
        numbers = np.stack([columns.floats(name) for name in (plate, "mjd", fiber)], axis=1)
        good = np.isfinite(numbers).all(1) & (numbers >= 0).all(1) & (numbers[:, 0] > 0)
        return [spec_id(*row) if ok else "" for row, ok in zip(numbers, good)]
    name = columns.first(OBJECT_IDS)
    if name is None:
        return [""] * len(columns.table)
    values = np.ma.asarray(columns.column(name))
    if values.dtype.kind == "f":  # Rounded ids such as 3.72E+18 do not identify an object.
        return [""] * len(values)
    texts = [v.decode() if isinstance(v, bytes) else str(v) for v in np.ma.filled(values).tolist()]
    masked = np.ma.getmaskarray(values)
    return ["" if m else text.strip() for text, m in zip(texts, masked)]


def _fluxes(columns: _Columns, bands: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
    for name in VECTORS:
        if name in columns:
            flux = columns.floats(name)
            if flux.shape[1:] == (len(bands),):
                error = f"{name}_ivar"
                return _with_errors(flux, columns.floats(error) if error in columns else None)
    return _fluxes_of_bands(columns, bands)


def _fluxes_of_bands(
    columns: _Columns, bands: tuple[str, ...], typical: float = ERROR_FRACTION
) -> tuple[np.ndarray, np.ndarray]:
    found: tuple[str, str | None, str] | None = None
    for pattern, names, unit in PATTERNS:
        if all(pattern.format(band) in columns for band in bands):
            fitting = next((e for e in names if all(e.format(b) in columns for b in bands)), None)
            if found is None or (fitting and found[0] == pattern):
                found = (pattern, fitting, unit)
    if found is None:
        raise columns.missing(_nearest_pattern(columns, bands))
    pattern, fitting, unit = found
    values = np.stack([columns.floats(pattern.format(b)) for b in bands], axis=1)
    errors = np.stack([columns.floats(fitting.format(b)) for b in bands], axis=1) if fitting else None
    if unit == "mag":
        return _from_magnitudes(values, errors, typical)
    if unit == "flux" and errors is not None:
        errors = np.where(errors > 0, 1 / np.where(errors > 0, errors, 1) ** 2, 0)
    return _with_errors(values, errors, typical)


def _nearest_pattern(columns: _Columns, bands) -> list[str]:
    """The missing columns of the pattern of which the fewest are missing."""
    missing = [[p.format(b) for b in bands if p.format(b) not in columns] for p, _, _ in PATTERNS]
    return min(reversed(missing), key=len)  # Of equal patterns, the last one has the shortest names.


def _with_errors(
    flux: np.ndarray, ivar: np.ndarray | None, typical: float = ERROR_FRACTION
) -> tuple[np.ndarray, np.ndarray]:
    if ivar is None:
        return flux, assumed_ivar(flux, None, typical)
    sane = np.isfinite(flux) & (np.abs(flux) < 1e9) & (flux > -999)  # -999 and -9999 are fillers
    return flux, np.where(sane & np.isfinite(ivar) & (ivar > 0), ivar, 0)


def _from_magnitudes(
    mag: np.ndarray, error: np.ndarray | None, typical: float
) -> tuple[np.ndarray, np.ndarray]:
    good = np.isfinite(mag) & (mag > MIN_MAGNITUDE) & (mag < MAX_MAGNITUDE)
    flux = np.where(good, 10 ** ((22.5 - np.where(good, mag, 22.5)) / 2.5), np.nan)
    if error is None:
        return flux, assumed_ivar(flux, None, typical)
    known = good & np.isfinite(error) & (error > 0) & (error < 10)
    sigma = np.where(known, flux * np.log(10) / 2.5 * np.where(known, error, 1), 1)
    return flux, np.where(known, 1 / sigma**2, 0)
