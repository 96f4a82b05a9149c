"""The columns of a catalogue: which there are, their types, units and descriptions."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

import numpy as np
import pyarrow as pa

from pix2spec.core.grid import SpectralGrid
from pix2spec.core.survey import Survey
from pix2spec.data.measurements import BRIGHTNESS_COLUMN, MEASUREMENT_COLUMNS
from pix2spec.errors import InputError
from pix2spec.products.synthetic import colour_columns, magnitude_columns
from pix2spec.products.units import PHYSICAL, QUANTILE_NAMES, QUANTILES

__all__ = [
    "CLASSES",
    "EVERYTHING",
    "LINES",
    "MEASURED",
    "VECTORS",
    "Contents",
    "catalogue_schema",
    "core_fields",
    "empty_value",
    "phot_columns",
]

VECTORS = ("flux", *QUANTILE_NAMES)
ALWAYS = ("object_id", "status", "error", "n_candidates", "flags")  # in every catalogue
TEXT_LENGTHS = {  # that astropy reserves
    "status": 6, "unit": 32, "select": 16, "extinction": 24, "phot_kind": 64, "flags": 40, "filters": 40,
    "kind": 12,
}  # fmt: skip
LINES = {
    "oii": "[O II] 3726, 3729",
    "hbeta": "Hbeta",
    "oiii": "[O III] 5007",
    "halpha": "Halpha",
    "nii": "[N II] 6583",
    "sii": "[S II] 6716, 6731",
}
CLASSES = ("star_forming", "composite", "seyfert", "liner", "passive")
_BOUNDARIES = {
    "star_forming": "below the line of Kauffmann et al. 2003 in [O III]/Hbeta against [N II]/Halpha",
    "composite": "between the lines of Kauffmann et al. 2003 and Kewley et al. 2001",
    "seyfert": "above the lines of Kewley et al. 2001 and Schawinski et al. 2007",
    "liner": "above the line of Kewley et al. 2001, below that of Schawinski et al. 2007",
    "passive": "Halpha and [N II] below 0.5 Angstrom (Cid Fernandes et al. 2011)",
}
# Quantities that are measured on candidates, with their units. The columns are the median over the candidates
# and, with the endings _lo and _hi, the 16 and 84 % quantiles.
_STRENGTHS = {
    f"{kind}_{line}": (unit, f"{what} of {label}, {how}")
    for line, label in LINES.items()
    for kind, unit, what, how in (
        ("ew", "Angstrom", "equivalent width", "rest frame, positive in emission, stars not subtracted"),
        ("flux", "1e-17 erg / (s cm2)", "flux", "above a straight local continuum"),
    )
}
_SPREADS = _STRENGTHS | {
    "dn4000": ("", "narrow 4000 Angstrom break (Balogh et al. 1999)"),
    "d4000": ("", "wide 4000 Angstrom break (Bruzual 1983)"),
    "hdelta_a": ("Angstrom", "Lick index HdeltaA (Worthey and Ottaviani 1997), positive in absorption"),
    "sigma_v": ("km / s", "velocity dispersion of the stars; 53 is an upper limit"),
    "sigma_gas": ("km / s", "velocity dispersion of Halpha and [N II], line spread included"),
}
_SHARES = {
    f"p_emission_{line}": ("", f"probability that {label} is in emission above 3 Angstrom")
    for line, label in LINES.items()
} | {f"p_{name}": ("", f"probability of the class: {_BOUNDARIES[name]}") for name in CLASSES}
_OF_SPECTRUM: tuple[str, ...] = ("selected", "amplitude", "candidates", *VECTORS)


@dataclass(frozen=True)
class Contents:
    """The columns that a catalogue has besides those that every one has.

    Parameters
    ----------
    candidates : bool
        All candidates of each object: 14 kB each.
    spectra : bool
        Chosen spectra, quantiles and candidates.
    measured : bool
        The quantities that are measured on candidates, `MEASURED`.
    synthesised : tuple of str
        Filters of synthetic magnitudes besides those of the survey.
    photometry : tuple of (str, str)
        Filter and kind of the measurements that have columns of their own.
    columns_out : tuple of str, optional
        Names of columns, or patterns such as ``ew_*``, to keep; all by default.
    """

    candidates: bool = True
    spectra: bool = True
    measured: bool = True
    synthesised: tuple[str, ...] = ()
    photometry: tuple[tuple[str, str], ...] = ()
    columns_out: tuple[str, ...] | None = None

    @property
    def is_partial(self) -> bool:
        """Whether columns are left out of which an ensemble is made."""
        return not self.spectra or not self.candidates or self.columns_out is not None

    def select(self, fields: list[pa.Field]) -> list[pa.Field]:
        """The fields to keep.

        Raises
        ------
        InputError
            If a pattern fits no column.
        """
        own: tuple[str, ...] = () if self.candidates else ("candidates",)
        left_out = own if self.spectra else _OF_SPECTRUM
        fields = [field for field in fields if field.name not in left_out]
        if self.columns_out is None:
            return fields
        names = [field.name for field in fields]
        for pattern in self.columns_out:
            if not any(fnmatchcase(name, pattern) for name in names):
                raise InputError("`columns_out`", f"no column is called {pattern!r}", ", ".join(names))
        kept = [n for n in names if n in ALWAYS or any(fnmatchcase(n, p) for p in self.columns_out)]
        return [field for field in fields if field.name in kept]


EVERYTHING = Contents()


def _field(name: str, kind: pa.DataType, unit: str = "", description: str = "", ucd: str = "") -> pa.Field:
    facts = {"unit": unit, "description": description, "ucd": ucd}
    return pa.field(name, kind, metadata={key: text for key, text in facts.items() if text})


def _with_interval(name: str, unit: str, description: str, ucd: str = "") -> list[pa.Field]:
    """Fields of the median over the candidates, and the 16 and 84 % quantiles."""
    ends = (("", "", ucd), ("_lo", ": 16 percent quantile", ""), ("_hi", ": 84 percent quantile", ""))
    return [_field(name + end, pa.float32(), unit, description + text, code) for end, text, code in ends]


MEASURED = tuple(
    [field for name, facts in _SPREADS.items() for field in _with_interval(name, *facts)]
    + [_field(name, pa.float32(), *facts) for name, facts in _SHARES.items()]
)


def phot_columns(photometry: Sequence[tuple[str, str]]) -> dict[tuple[str, str], str]:
    """Filter and kind of a measurement, with the name that its columns have after ``phot_`` and ``ext_``.

    The first kind of a filter has the filter's name. The others have their kind at the end, as in
    ``sdss2010-r_fibre``.
    """
    first: dict[str, str] = {}
    for name, kind in photometry:
        first.setdefault(name, kind)
    return {(n, k): n if first[n] == k else f"{n}_{k}" for n, k in photometry}


def _photometry_fields(photometry: Sequence[tuple[str, str]]) -> list[pa.Field]:
    fields, f32 = [], pa.float32()
    for (name, kind), column in phot_columns(photometry).items():
        what = f"AB magnitude in {name}, kind {kind}"
        fields.append(_field(f"phot_{column}", f32, "mag", f"{what}, as given, before any correction"))
        fields.append(_field(f"phot_{column}_err", f32, "mag", f"error of the {what}"))
        fields.append(_field(f"ext_{column}", f32, "mag", f"Galactic extinction taken out of the {what}"))
    kinds = "kind of the photometry, of several kinds those of the filters in their order"
    return [*fields, _field("phot_kind", pa.string(), "", kinds)]


def _posterior_fields() -> list[pa.Field]:
    names = {"z": ("median over the candidates", "src.redshift;meta.modelled")}
    names |= {f"z_q{100 * level:02.0f}": (f"{100 * level:.0f} percent quantile", "") for level in QUANTILES}
    return [_field(n, pa.float64(), "", f"redshift: {what}", ucd) for n, (what, ucd) in names.items()]


def _all_fields(grid: SpectralGrid, survey: Survey, contents: Contents) -> list[pa.Field]:
    derived = [*_posterior_fields(), _field("chi2", pa.float32(), "", "chi2 of the photometry")]
    for name, filter_name in magnitude_columns(grid, survey, contents.synthesised).items():
        derived += _with_interval(name, "mag", f"synthetic AB magnitude in {filter_name}")
    for name in colour_columns(grid, survey):
        derived += _with_interval(name, "mag", f"synthetic colour {name.replace('_', ' - ')}, AB")
    derived += MEASURED if contents.measured else ()
    derived += _photometry_fields(contents.photometry) if contents.photometry else []
    return [*_object_fields(), *derived, *_spectrum_fields(grid)]


def core_fields(grid: SpectralGrid) -> list[pa.Field]:
    """Columns of which an ensemble is made; catalogues of all versions have them."""
    return [*_object_fields(), *_spectrum_fields(grid)]


def _object_fields() -> list[pa.Field]:
    f64, text = pa.float64(), pa.string()
    return [
        _field("object_id", text, "", "name of the object", "meta.id;meta.main"),
        _field("status", text, "", "ok, or failed"),
        _field("error", text, "", "reason of a failure"),
        _field("ra", f64, "deg", "right ascension, ICRS", "pos.eq.ra;meta.main"),
        _field("dec", f64, "deg", "declination, ICRS", "pos.eq.dec;meta.main"),
        _field("z_given", f64, "", "redshift that was given", "src.redshift"),
        _field("ebv", f64, "mag", "E(B-V) of the Milky Way"),
        _field("unit", text, "", f"unit of the spectra: {PHYSICAL}, or relative"),
        _field("select", text, "", "rule that chose the spectrum"),
        _field("n_candidates", pa.int32(), "", "number of candidates"),
        _field("flags", pa.list_(text), "", "remarks on the input and the result"),
    ]


def _spectrum_fields(grid: SpectralGrid) -> list[pa.Field]:
    flux_unit, listed = "1e-17 erg / (s cm2 Angstrom)", pa.list_(pa.float32())
    vector = pa.list_(pa.float32(), grid.size)
    names = {"flux": "chosen spectrum"} | {
        n: f"{n[1:]} percent quantile of the candidates" for n in QUANTILE_NAMES
    }
    given = {
        "filters": "filters of the photometry",
        "photometry": "fluxes that the model saw",
        "photometry_ivar": "their inverse variances",
        "kind": "kinds of the fluxes",
        "extinction": "state of the fluxes: observed, dereddened, unknown, E(B-V), or magnitudes of each",
        "brightness_error": "error that all fluxes share, besides their own",
    }
    kinds = MEASUREMENT_COLUMNS | BRIGHTNESS_COLUMN
    units = {
        "photometry": "3.631 uJy",
        "photometry_ivar": "0.07585 uJy-2",
        "brightness_error": "mag",
    }  # nanomaggies
    return [
        *(_field(name, vector, flux_unit, what) for name, what in names.items()),
        _field("scores", listed, "", "similarity of each candidate with the photometry"),
        _field("redshifts", listed, "", "redshift of each candidate"),
        _field("amplitude", listed, "", "offset and scale of each candidate"),
        _field("selected", pa.list_(pa.int32()), "", "numbers of the candidates that the spectrum averages"),
        _field("candidates", listed, flux_unit, "candidates, one after the other"),
        *(_field(n, kind, units.get(n, ""), given[n]) for n, kind in kinds.items()),
    ]


def catalogue_schema(grid: SpectralGrid, survey: Survey, contents: Contents, metadata: dict) -> pa.Schema:
    """Columns of a catalogue. Nothing is null, so that astropy reads them too: NaN or empty is missing.

    Fields have their unit, description and UCD as metadata. The file has them a second time in the form in
    which astropy's tables keep them.
    """
    fields = contents.select(_all_fields(grid, survey, contents))
    facts = {"pix2spec": json.dumps(metadata, default=str), "table_meta_yaml": _astropy_header(fields)}
    names = [field.name for field in fields]
    facts |= {f"table::len::{name}": str(n) for name, n in TEXT_LENGTHS.items() if name in names}
    return pa.schema(fields, metadata=facts)


def _astropy_header(fields: list[pa.Field]) -> str:
    """Units and descriptions, as `astropy.table.QTable.read` finds them in Parquet: YAML, here JSON."""
    columns = []
    for field in fields:
        facts = {key.decode(): text.decode() for key, text in (field.metadata or {}).items()}
        # Lists of different lengths cannot be quantities.
        known = ("description",) if pa.types.is_list(field.type) else ("unit", "description")
        facts = {key: facts[key] for key in known if key in facts}
        columns.append({"name": field.name, "datatype": _datatype(field.type)} | facts)
    return json.dumps({"datatype": columns})


def _datatype(kind: pa.DataType) -> str:
    return "string" if pa.types.is_string(kind) or pa.types.is_list(kind) else str(kind).split("[")[0]


def empty_value(field: pa.Field):
    """The value of a column for an object without one: NaN, an empty text or list, or zero."""
    if pa.types.is_fixed_size_list(field.type):
        return np.full(field.type.list_size, np.nan, np.float32)
    if pa.types.is_list(field.type):
        return []
    if pa.types.is_floating(field.type):
        return np.nan
    return 0 if pa.types.is_integer(field.type) else ""
