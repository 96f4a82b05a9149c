"""Find the id, position, redshift and class of a spectrum in its headers and the name of its file."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pix2spec.data.readers.guards import spec_id
from pix2spec.data.schema import Galaxy

__all__ = ["describe", "id_of_name", "trusted_redshift"]

ENDINGS = re.compile(
    r"(\.(fits|fit|fts|csv|tsv|txt|dat|ascii|asc|ecsv|vot|xml|tbl|parquet|spec))?(\.(gz|bz2|fz))?$", re.I
)
SPEC_NAME = re.compile(r"spec-(\d+)-(\d+)-(\d+)$")
SPSPEC_NAME = re.compile(r"spSpec-(\d+)-(\d+)-(\d+)$")
IDS: tuple[str, ...] = (
    "OBJECT_ID",
    "OBJECTID",
    "OBJID",
    "SPECID",
    "SPEC_ID",
    "SPECOBJID",
    "OBSID",
    "TARGETID",
    "TARGID",
)
IDS = (*IDS, "TRG_UID", "OBJ_UID", "CNAME", "CATAID", "SOURCE_ID", "ID")
TARGETS = ("CATAID", "TARGETID", "OBJECT", "OBJNAME", "TARGNAME", "TARGET", "DESIG", "NAME")
RA: tuple[str, ...] = (
    "RAOBJ",
    "PLUG_RA",
    "OBJ_RA",
    "OBJRA",
    "TARGET_RA",
    "TARG_RA",
    "RA_TARG",
    "TRG_RA",
    "TARGRA",
    "FIBER_RA",
)
RA = (*RA, "RACAT", "RA_OBJ", "RAJ2000", "RA_J2000", "RA_DEG", "RADEG", "RA", "ALPHA", "ALPHA_J2000")
RA = (*RA, "OBSRA")
REDSHIFTS = ("Z", "REDSHIFT", "Z_BEST", "ZBEST", "Z_SPEC", "ZSPEC", "SPECZ", "Z_HELIO", "Z_FIN", "Z_FINAL")
REDSHIFT_ERRORS = ("Z_ERR", "ZERR", "Z_ERROR", "E_Z", "REDSHIFT_ERR", "ZSPEC_ERR", "Z_SPEC_ERR", "ZBEST_ERR")
CLASSES = ("CLASS", "SPECTYPE", "SPEC_CLASS")
SPEC_CLN = {1: "STAR", 2: "GALAXY", 3: "QSO", 4: "QSO", 6: "STAR"}  # of SDSS-I/II
HARMLESS_ZWARNING = 1 << 4  # MANY_OUTLIERS is also set for good, bright spectra whose redshift is right
LOWEST_REDSHIFT = -0.01


def trusted_redshift(z, z_err, zwarning=0, zwarn=0, quality=None) -> tuple[float, float, str]:
    """Redshift and error of a pipeline; NaN, with the reason, if it is missing or warned.

    Parameters
    ----------
    z, z_err : float
        As the file states them.
    zwarning : int
        SDSS's bits. MANY_OUTLIERS alone is harmless.
    zwarn : int
        DESI's bits.
    quality : int, optional
        GAMA's NQ: 3 and 4 are redshifts for science.

    Returns
    -------
    z, z_err : float
    note : str
        Empty if the redshift is used, or was not given.
    """
    z, z_err = _number(z), _number(z_err)
    if not z >= LOWEST_REDSHIFT:  # fillers such as -9999 too
        return np.nan, np.nan, ""
    reasons = {"ZWARNING": int(zwarning) & ~HARMLESS_ZWARNING and zwarning, "ZWARN": zwarn}
    reasons |= {"NQ": quality if quality is not None and quality < 3 else 0}
    for name, value in reasons.items():
        if value or (name == "NQ" and quality == 0):
            return np.nan, np.nan, f"its redshift {z:.6g} is not used: {name} is {int(value)}"
    return z, z_err if z_err > 0 else np.nan, ""


def id_of_name(path) -> str:
    """Object id from a file's name: PLATE-MJD-FIBER for SDSS's names, else the name without its ending."""
    name = ENDINGS.sub("", Path(path).name)
    if match := SPEC_NAME.match(name):
        return spec_id(*match.groups())
    if match := SPSPEC_NAME.match(name):
        mjd, plate, fiber = match.groups()
        return spec_id(plate, mjd, fiber)
    return name


def describe(path, metadata: Iterable[Mapping[str, Any]]) -> tuple[Galaxy, list[str]]:
    """The galaxy of a spectrum without its pixels, and sentences about what is not used.

    Parameters
    ----------
    path : str or Path
        The file; its name is the id where the metadata have none.
    metadata : iterable of mapping
        Headers and rows of tables. The first one that has a value is right.
    """
    facts = _Facts(metadata)
    ra, dec = _position(facts)
    z, z_err, note = trusted_redshift(
        facts.first(REDSHIFTS), facts.first(REDSHIFT_ERRORS), _bits(facts.first(("ZWARNING",))),
        _bits(facts.first(("ZWARN",))), _quality(facts.first(("NQ",))),
    )  # fmt: skip
    spec_class = str(facts.first(CLASSES) or SPEC_CLN.get(_bits(facts.first(("SPEC_CLN",)))) or "").strip()
    name = _object_id(facts) or id_of_name(path)
    target = str(facts.first(TARGETS) or "").strip()
    return Galaxy(name, target, ra, dec, z, z_err, spec_class.upper()), [note] if note else []


class _Facts:
    def __init__(self, metadata: Iterable[Mapping[str, Any]]):
        self.sources = list(metadata)

    def first(self, names):
        """The first of `names` that a source has; None if none has."""
        for name in names:
            for source in self.sources:
                value = source.get(name)
                if value is not None and np.ndim(value) == 0 and str(value).strip():
                    return value
        return None

    def comment(self, name: str) -> str:
        """The comment of a FITS header beside a name, in lower case."""
        for source in self.sources:
            if name in source and hasattr(source, "comments"):
                return str(source.comments[name]).lower()
        return ""


def _object_id(facts: _Facts) -> str:
    plate, field, mjd, fiber, target = (
        facts.first(names)
        for names in (("PLATE", "PLATEID"), ("FIELD",), ("MJD",), ("FIBERID",), ("CATALOGID",))
    )
    try:
        if field is not None and target is not None and mjd is not None:
            return spec_id(field, mjd, target)
        if plate is not None and mjd is not None and fiber is not None:
            return spec_id(plate, mjd, fiber)
    except (TypeError, ValueError):
        pass
    if str(facts.first(("ORIGIN",))) == "pix2spec":
        return str(facts.first(("OBJECT",)) or "").strip()
    return str(facts.first(IDS) if facts.first(IDS) is not None else "").strip()


def _position(facts: _Facts) -> tuple[float, float]:
    """Right ascension and declination in degrees; NaN without a valid pair."""
    for name in RA:
        ra, dec = facts.first((name,)), facts.first((_dec_name(name),))
        if ra is None or dec is None:
            continue
        found = (
            _degrees(ra, 15, facts.comment(name)),
            _degrees(dec, 1, facts.comment(_dec_name(name))),
        )
        if -180 <= found[0] <= 360 and -90 <= found[1] <= 90:
            return found[0] % 360, found[1]
    return np.nan, np.nan


def _dec_name(ra_name: str) -> str:
    if ra_name in ("RAJ2000", "ALPHA", "ALPHA_J2000"):
        return {"RAJ2000": "DEJ2000", "ALPHA": "DELTA", "ALPHA_J2000": "DELTA_J2000"}[ra_name]
    return ra_name.replace("RA", "DEC", 1) if not ra_name.startswith("TARG") else ra_name[:-2] + "DEC"


def _degrees(value, factor: int, comment: str) -> float:
    """Degrees of a number, or of a sexagesimal text in hours (`factor` 15) or degrees.

    A number is in hours or radians if the comment of its header says so.
    """
    text = str(value).strip()
    parts = re.split(r"[:\shmd°'\"]+", text.rstrip("s\"' "))
    if len(parts) < 2:
        number = _number(value)
        if "radian" in comment:
            return float(np.rad2deg(number))
        return factor * number if "hour" in comment else number
    try:
        hours, minutes, seconds = (*map(float, parts), 0.0)[:3]
    except ValueError:
        return np.nan
    sign = -1 if text.startswith("-") else 1
    return factor * sign * (abs(hours) + minutes / 60 + seconds / 3600)


def _number(value) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        return np.nan


def _bits(value) -> int:
    number = _number(value)
    return int(number) if np.isfinite(number) else 0


def _quality(value) -> float | None:
    number = _number(value)
    return number if np.isfinite(number) else None
