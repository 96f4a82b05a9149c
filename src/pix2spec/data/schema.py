"""The Galaxy: what the project knows about one galaxy, and how a dataset of them lies in Parquet."""

import json
from collections.abc import Mapping
from dataclasses import InitVar, dataclass, field, fields, replace
from typing import Any

import numpy as np
import pyarrow as pa

from pix2spec.core.extinction import coefficients, deredden_fluxes
from pix2spec.core.filters import Filter, own_filters
from pix2spec.core.grid import SpectralGrid
from pix2spec.core.survey import SDSS, Survey, survey_of
from pix2spec.data.measurements import (
    BRIGHTNESS_COLUMN,
    MEASUREMENT_COLUMNS,
    Measurements,
    check_extinction,
    check_kinds,
)
from pix2spec.data.native import NATIVE_COLUMNS, NativeSpectrum
from pix2spec.data.photometry_forms import DICT_FORM, read_photometry
from pix2spec.errors import InputError

__all__ = ["SCHEMA_VERSION", "DatasetInfo", "Galaxy", "dereddened"]

SCHEMA_VERSION = 1  # of datasets in the bands of their survey
MEASURED_VERSION = 2  # of datasets with measurements in any filters
DEFAULT_GRID = SpectralGrid()


@dataclass
class Galaxy:
    """One galaxy: photometry, image, spectrum, or some of them. ``None`` means not observed.

    Parameters
    ----------
    object_id : str
        Unique in a dataset: one spectrum.
    group_id : str
        The object on the sky. Repeat spectra share it, and datasets are split by it.
    ra, dec : float
        Degrees, ICRS.
    z, z_err : float
        Redshift and its error; NaN if unknown.
    spec_class : str
        ``GALAXY``, ``QSO`` or ``STAR``.
    image : array (band, y, x), float32
        Nanomaggies, or 0 to 255 for a colour composite.
    photometry : dict, pandas Series, astropy Table or Row, or array (band,)
        Fluxes in any of these forms:

        - by filter, ``{"g": (17.9 * u.ABmag, 0.02), "wise2010-W1": 310 * u.uJy}``. Letters are bands of
          `survey`; other names are speclite's, or keys of `filters`. Values are astropy Quantities, or plain
          numbers in nanomaggies, alone or with an error. An error that is missing, not positive, or
          one of -9999, -999, -99, -9, 99, 999 becomes the typical one of the filter, and the galaxy has the
          flag ``error-assumed``. These numbers as magnitudes, and -9999 and -999 as fluxes, are missing;
        - an astropy Table with the columns filter, flux, error, kind, or a row with a column a filter;
        - an array with a flux in nanomaggies for each band of the survey;
        - `Measurements`, such as those of a coarse spectrum.

        It is kept as float32 (filter,), in nanomaggies.
    photometry_ivar : array (filter,), float32
        Inverse variances, 1/nanomaggies^2, of an array of fluxes; 0 means missing.
    flux, ivar : array (L,), float32
        Spectrum in 1e-17 erg/s/cm2/Angstrom and its inverse variance; 0 means missing, everywhere.
    mask : array (L,), int32
        The survey's own bits (SDSS: and_mask).
    truth : dict
        ``true_*`` columns of simulated galaxies.
    filters : mapping of str to (wavelength, response)
        The user's own transmission curves: wavelengths in Angstrom, or with a unit of length. It becomes a
        tuple of str, the names of the filters of `photometry`. A tuple goes with an array of fluxes. Empty:
        the bands of the survey of the dataset or the model that the galaxy is used with, within its fibre.
    kind : str or tuple of str
        Which light the fluxes enclose: one of `pix2spec.core.filters.KINDS`.
    extinction : str, float or tuple of float
        ``"observed"`` (as seen through the Milky Way's dust), ``"dereddened"``, ``"unknown"``, or what dust
        still takes from the fluxes: its E(B-V), or a tuple of the extinction in each filter, in magnitudes;
        0 means none, NaN unknown.
    curves : mapping of str to Filter
        The user's own transmission curves, from `filters`. Galaxies of one table share it.
    flags : tuple of str
        What was assumed when the galaxy was made; results repeat it.
    measured : Measurements, optional
        The fluxes as they were given, once `photometry` holds those in a model's bands.
    removed : tuple of float
        Extinction in magnitudes that was removed from each flux; empty if unknown.
    brightness_error : float
        Magnitudes: an error that all fluxes share, besides their own. Fluxes of colour pictures have one.
    native : NativeSpectrum, optional
        The spectrum in the pixels of its file, if they are not those of `flux`.
    survey : Survey or str
        Whose filters the single letters and the arrays without inverse variances mean.

    Raises
    ------
    InputError
        If photometry or a curve cannot be understood; the error shows a form that can.

    Notes
    -----
    A *batch* of galaxies is a dictionary with the same names, each value an array with one more leading axis
    (missing optional values are NaN there, and ivar 0).

    Examples
    --------
    >>> from astropy import units as u
    >>> galaxy = pix2spec.Galaxy("m31", photometry={"g": (17.9 * u.ABmag, 0.02), "r": 17.3 * u.ABmag})
    >>> galaxy.filters, galaxy.photometry.round(1), galaxy.flags
    (('sdss2010-g', 'sdss2010-r'), array([ 69.2, 120.2], dtype=float32), ('error-assumed',))
    """

    object_id: str
    group_id: str = ""
    ra: float = np.nan
    dec: float = np.nan
    z: float = np.nan
    z_err: float = np.nan
    spec_class: str = ""
    image: np.ndarray | None = None
    photometry: Any = None
    photometry_ivar: np.ndarray | None = None
    flux: np.ndarray | None = None
    ivar: np.ndarray | None = None
    mask: np.ndarray | None = None
    truth: dict = field(default_factory=dict)
    filters: Any = ()
    kind: str | tuple[str, ...] = "unknown"
    extinction: str | float | tuple[float, ...] = "unknown"
    curves: Mapping[str, Filter] = field(default_factory=dict)
    flags: tuple[str, ...] = ()
    measured: Measurements | None = None
    removed: tuple[float, ...] = ()
    brightness_error: float = 0.0
    native: NativeSpectrum | None = None
    survey: InitVar[Survey | str] = SDSS

    def __post_init__(self, survey):
        self.group_id = self.group_id or self.object_id
        self.extinction = check_extinction(self.extinction, self.object_id)
        check_kinds((self.kind,) if isinstance(self.kind, str) else self.kind, self.object_id)
        if isinstance(self.filters, Mapping):
            self.curves, self.filters = own_filters(self.filters, self.object_id), ()
            if self.photometry_ivar is not None:
                what = "photometry: an array of fluxes does not say in which of the filters they are"
                raise InputError(self.object_id, what, f"give a dictionary by filter: {DICT_FORM}")
        if isinstance(self.photometry, Measurements):
            self._take(self.photometry)
        if self.photometry is None or self.filters:
            return
        if self.photometry_ivar is not None:
            self.photometry = _masked_as_nan(self.photometry)
            return
        survey = survey_of(survey) if isinstance(survey, str) else survey
        found = read_photometry(self.photometry, survey, self.kind, self.object_id, self.curves)
        self._take(replace(found, extinction=self.extinction, curves=self.curves))

    def _take(self, found: Measurements) -> None:
        """Set the photometry and its description."""
        self.photometry = found.flux.astype(np.float32)
        self.photometry_ivar = found.ivar.astype(np.float32)
        self.filters, self.kind, self.curves = found.filters, found.kinds, found.curves
        self.brightness_error = found.brightness_error
        self.extinction = self.extinction if found.extinction == "unknown" else found.extinction
        self.removed = found.removed
        self.flags = tuple(dict.fromkeys((*self.flags, *found.flags)))

    def measurements(self, survey: Survey = SDSS) -> Measurements | None:
        """The fluxes that have an error, with their filters; None without photometry.

        Fluxes without `filters` are in the bands of `survey`, within its fibre unless `kind` says otherwise.
        """
        if self.photometry is None or self.photometry_ivar is None:
            return None
        filters = self.filters or survey.filters
        kinds = (self.kind,) * len(filters) if isinstance(self.kind, str) else self.kind
        if not self.filters and self.kind == "unknown":
            kinds = ("fibre",) * len(filters)
        flux, ivar = (np.asarray(x, float) for x in (self.photometry, self.photometry_ivar))
        if not flux.shape == ivar.shape == (len(filters),) == (len(kinds),):
            what = f"photometry: {flux.shape} fluxes and {ivar.shape} ivars in {len(filters)} filters"
            raise InputError(self.object_id, what, "each filter needs one")
        good = np.flatnonzero(np.isfinite(flux) & np.isfinite(ivar) & (ivar > 0))
        chosen_filters, chosen_kinds = (tuple(x[k] for k in good) for x in (filters, kinds))
        error = 1 / np.sqrt(ivar[good])
        extinction = self.extinction
        if isinstance(extinction, tuple):
            extinction = tuple(extinction[k] for k in good)
        removed = tuple(self.removed[k] for k in good) if self.removed else ()
        return Measurements(
            chosen_filters, flux[good], error, chosen_kinds, self.flags, extinction, self.curves, removed,
            self.brightness_error,
        )  # fmt: skip


def _masked_as_nan(values):
    """Masked values are missing ones."""
    return values.filled(np.nan) if isinstance(values, np.ma.MaskedArray) else values


def dereddened(galaxy: Galaxy, survey: Survey = SDSS, ebv: float = np.nan) -> Galaxy:
    """The galaxy with fluxes that are corrected for a known extinction.

    Parameters
    ----------
    galaxy : Galaxy
        An array without `Galaxy.filters` holds the bands of `survey`.
    survey : Survey
    ebv : float
        E(B-V) in magnitudes for the fluxes whose extinction the galaxy does not tell.

    Returns
    -------
    Galaxy
        Fluxes of unknown extinction, fluxes that are dereddened already, and images stay as they are.
        `Galaxy.extinction` is ``"dereddened"`` unless that of a flux is unknown.
    """
    if galaxy.photometry is None or galaxy.extinction == "dereddened":
        return galaxy
    filters, ivar = galaxy.filters or survey.filters, galaxy.photometry_ivar
    state = galaxy.extinction
    if isinstance(state, tuple):
        known = np.array(state)
    else:
        known = np.full(len(filters), np.nan)
        ebv = ebv if isinstance(state, str) else state
    if np.isnan(known).any() and np.isfinite(ebv):
        known = np.where(np.isnan(known), ebv * coefficients(filters, galaxy.curves), known)
    if not np.isfinite(known).any():
        return galaxy
    removed = np.nan_to_num(known)
    stated = np.zeros(len(filters)) if ivar is None else ivar
    flux, corrected = deredden_fluxes(galaxy.photometry, stated, removed)
    return replace(
        galaxy, photometry=flux, photometry_ivar=None if ivar is None else corrected,
        extinction="dereddened" if np.isfinite(known).all() else "unknown", removed=tuple(removed.tolist()),
    )  # fmt: skip


@dataclass(frozen=True)
class DatasetInfo:
    """Facts that hold for every pair of a dataset; they travel in the Parquet metadata.

    `image_kind` is ``"linear"`` (nanomaggies) or ``"composite"`` (8-bit colour picture, 0 to 255, its
    channels stored in the order of `survey.image_bands`), or ``None`` without images.

    Photometry is in the bands of `survey`, within its fibre. With `as_measured`, each galaxy has fluxes in
    filters of its own, with their kinds and the state of extinction; `curves` are the user's own filters.
    With `of_pictures` too, fluxes may share an error of their brightness.

    With `native`, spectra may be there in the pixels of their files too.
    """

    grid: SpectralGrid = DEFAULT_GRID
    survey: Survey = SDSS
    image_kind: str | None = "linear"
    image_size: int = 64
    truth: dict = field(default_factory=dict)  # true_* column -> 0 (scalar), -1 (text) or its length
    provenance: dict = field(default_factory=dict)
    as_measured: bool = False
    curves: Mapping[str, Filter] = field(default_factory=dict)
    of_pictures: bool = False
    native: bool = False

    @property
    def schema_version(self) -> int:
        """Version of the columns, 1 or 2."""
        return MEASURED_VERSION if self.as_measured else SCHEMA_VERSION

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(band, y, x)."""
        return (len(self.survey.image_bands), self.image_size, self.image_size)

    def arrow_schema(self) -> pa.Schema:
        """Schema of the Parquet shards, with these facts as metadata."""
        f32 = pa.float32()
        spectrum = pa.list_(f32, self.grid.size)
        bands = pa.list_(f32, -1 if self.as_measured else len(self.survey.photometry_bands))
        columns = [pa.field(n, pa.string()) for n in ("object_id", "group_id", "spec_class")]
        columns += [pa.field(n, pa.float64()) for n in ("ra", "dec", "z", "z_err")]
        columns += [
            pa.field("image", pa.list_(f32, int(np.prod(self.image_shape)))),
            pa.field("photometry", bands),
            pa.field("photometry_ivar", bands),
            pa.field("flux", spectrum),
            pa.field("ivar", spectrum),
            pa.field("mask", pa.list_(pa.int32(), self.grid.size)),
        ]
        for name, size in self.truth.items():
            kind = {0: pa.float64(), -1: pa.string()}.get(size) or pa.list_(f32, size)
            columns.append(pa.field(name, kind))
        if self.as_measured:
            known = {column.name for column in columns}
            columns += [pa.field(n, kind) for n, kind in MEASUREMENT_COLUMNS.items() if n not in known]
            columns += [pa.field(n, kind) for n, kind in BRIGHTNESS_COLUMN.items() if self.of_pictures]
            columns.append(pa.field("flags", pa.list_(pa.string())))
        columns += [pa.field(n, kind) for n, kind in NATIVE_COLUMNS.items()] if self.native else []
        return pa.schema(columns, metadata={"pix2spec": json.dumps(self.as_dict())})

    def as_dict(self) -> dict:
        """Plain dictionary for JSON."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        values |= {"grid": self.grid.as_dict(), "survey": self.survey.as_dict()}
        as_measured, curves = values.pop("as_measured"), values.pop("curves")
        of_pictures, native = values.pop("of_pictures"), values.pop("native")
        values |= {"native": True} if native else {}
        if as_measured:
            values["curves"] = {name: curve.as_dict() for name, curve in curves.items()}
            values |= {"of_pictures": True} if of_pictures else {}
        return values | {"schema_version": self.schema_version}

    @classmethod
    def from_schema(cls, schema: pa.Schema, where="dataset") -> "DatasetInfo":
        """Read the facts back from a shard's schema; fields of a survey that it lacks are SDSS's."""
        raw = (schema.metadata or {}).get(b"pix2spec")
        if raw is None:
            raise InputError(
                where, "it is Parquet, but not a pix2spec dataset", "make one with `pix2spec data`"
            )
        try:
            values = json.loads(raw)
            version = values.pop("schema_version")
            if version in (SCHEMA_VERSION, MEASURED_VERSION):
                grid, survey = SpectralGrid(**values.pop("grid")), Survey.from_dict(values.pop("survey"))
                curves = {n: Filter.from_dict(n, v) for n, v in values.pop("curves", {}).items()}
                as_measured = version == MEASURED_VERSION
                info = cls(grid=grid, survey=survey, as_measured=as_measured, curves=curves, **values)
                info.arrow_schema()  # facts of wrong kinds have none
                return info
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError) as error:
            raise InputError(where, f"its pix2spec metadata are damaged: {error}", "make it again") from error
        raise InputError(
            where,
            f"schema version {version} is neither {SCHEMA_VERSION} nor {MEASURED_VERSION}",
            "read it with the version of pix2spec that made it, or make it again",
        )
