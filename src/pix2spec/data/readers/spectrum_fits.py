"""Read the arrays of spectra in FITS files: tables, and images of one spectrum or of candidates."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pix2spec.data.readers.guards import column_names
from pix2spec.data.readers.spectrum_roles import (
    column_roles,
    inverse_variance,
    masked,
    role_of,
    split_unit,
    unit_of_size,
)
from pix2spec.data.readers.spectrum_units import air_to_vacuum, to_angstrom
from pix2spec.errors import InputError

__all__ = ["MAX_BYTES", "SpectrumArrays", "arrays_of_fits", "states_air"]

MAX_BYTES = 2**30  # maximum size of an image of spectra
ROW_LABEL = re.compile(r"(?:ROW|ARRAY|BANDID|PLANE|LAYER|SPEC)_?(\d+)$")
NONLINEAR = re.compile(r"-(LOG|[FWVA]2[FWVA]|GRI|GRA|TAB)$")
WHICH_ROW = (
    "name the rows in its header, such as ROW1 = 'flux' and ROW2 = 'error'; rows that are candidate spectra "
    "have the header CTYPE2 = 'CANDIDATE'"
)
UNIT_KEYS = ("BUNIT", "FLUXUNIT", "FUNIT")
ALIKE = 3.0  # largest ratio of the levels of two candidates, and 2 * ALIKE of their roughness


@dataclass
class SpectrumArrays:
    """The spectra of a file, in its own pixels and unit.

    Parameters
    ----------
    flux : array (M,) or (n, M)
        Spectra in `unit`; NaN where the file's mask marks a pixel as bad.
    wave : array (M,), optional
        Vacuum wavelengths in Angstrom. None if the file states none.
    unit : str, optional
        Unit of the flux, with the file's spelling.
    ivar : array like `flux`, optional
        Inverse variances; 0 where a pixel is missing.
    bits : array like `flux`, int, optional
        SDSS's and_mask.
    metadata : list of mapping
        Headers and single rows of tables, by upper-case names; the first one that knows a value is right.
    notes : list of str
        Sentences about what the file does not say.
    """

    flux: np.ndarray
    wave: np.ndarray | None = None
    unit: str | None = None
    ivar: np.ndarray | None = None
    bits: np.ndarray | None = None
    metadata: list[Mapping[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def arrays_of_fits(path, hdus) -> SpectrumArrays:
    """Read the spectra of an open FITS file.

    An image with several rows holds the flux, the error and so on of one spectrum if its header names them,
    as GAMA's do, or if it has the layout of SDSS-I/II, LAMOST, GAMA, 2dFGRS or 6dFGS. It holds candidates if
    its rows are alike.

    Raises
    ------
    InputError
        If the file holds no spectrum, or its rows differ in kind and have no names.
    """
    tables = [hdu for hdu in hdus if "flux" in column_roles(column_names(hdu))]
    with_wave = [hdu for hdu in tables if {"wave", "loglam"} & set(column_roles(column_names(hdu)))]
    tables = with_wave or tables
    found = _from_table(path, tables[0], hdus[0].header) if tables else _from_images(path, hdus)
    for hdu in hdus[1:]:
        columns = getattr(hdu, "columns", None)
        if columns is not None and hdu.data is not None and len(hdu.data) == 1 and hdu not in tables[:1]:
            found.metadata.append({name.upper(): hdu.data[name][0] for name in columns.names})
    return found


def _from_table(path, hdu, primary) -> SpectrumArrays:
    roles = column_roles(hdu.columns.names)
    found = {role: _numbers(path, hdu, name) for role, name in roles.items()}
    metadata: list = [hdu.header, primary]
    if hdu.data is not None and len(hdu.data) == 1:
        scalars = [c.name for c in hdu.columns if np.ndim(hdu.data[c.name][0]) == 0]
        metadata.append({name.upper(): hdu.data[name][0] for name in scalars})
    notes: list[str] = []
    wave, air = None, states_air(path, hdu.header, primary)
    name = roles.get("wave") or roles.get("loglam")
    if name:
        column = hdu.columns[name]
        number = hdu.columns.names.index(name) + 1
        words = f"{name} {hdu.header.get(f'TUCD{number}', '')}".lower()
        air = air or "air" in words or "awav" in words or "obs.atmos" in words
        unit = column.unit or split_unit(name)[1]
        wave = axis_wavelengths(path, _one_axis(path, found), unit, "wave" not in roles, air, notes)
    unit = hdu.columns[roles["flux"]].unit or split_unit(roles["flux"])[1]
    unit = unit or _first_text(UNIT_KEYS, hdu.header, primary)
    return assembled(found, wave, unit, metadata, notes)


def assembled(found: dict, wave, unit, metadata, notes) -> SpectrumArrays:
    """Arrays of a spectrum from its values by role."""
    flux, ivar = found["flux"], inverse_variance(found)
    if "mask" in found and found["mask"].shape == flux.shape:
        flux = np.where(masked(found["mask"], notes), np.nan, flux)
    if ivar is not None and ivar.shape != flux.shape:
        notes.append("its errors have another length than its flux, and were not used")
        ivar = None
    bits = found.get("bits")
    return SpectrumArrays(flux, wave, unit, ivar, bits, list(metadata), notes)


def _one_axis(path, found: dict) -> np.ndarray:
    wave = found["wave" if "wave" in found else "loglam"].astype(float)
    if wave.ndim == 2:
        if (wave != wave[:1]).any():
            what = "its rows differ in wavelength"
            raise InputError(path, what, "write one set of wavelengths per file")
        wave = wave[0]
    return wave


def axis_wavelengths(path, values, unit, is_log: bool, air: bool, notes: list[str]) -> np.ndarray:
    """Vacuum wavelengths in Angstrom. A unit that is not stated is found from the size of the numbers."""
    if not unit and not is_log:
        unit = unit_of_size(values)
        if unit:
            notes.append(f"its wavelengths have no unit; by their size they are in {unit}")
    wave = to_angstrom(path, values, unit, is_log)
    return air_to_vacuum(path, wave) if air else wave


def _numbers(path, hdu, name: str) -> np.ndarray:
    """A column of numbers: (M,), or (n, M) if its cells are vectors, in native byte order."""
    column = hdu.columns[name]
    if column.format.lstrip("0123456789")[:1] not in {*"LBIJKED"}:
        raise InputError(path, f"its column {name!r} does not hold numbers (format {column.format})")
    values = hdu.data[column.name]
    if values.ndim > 2:
        raise InputError(path, f"cells of its column {name!r} have {values.ndim - 1} axes")
    return values.astype(values.dtype.newbyteorder("="))


def _from_images(path, hdus) -> SpectrumArrays:
    images = [h for h in hdus if h.is_image and h.shape and not _is_picture(h.header)]
    if not images:
        raise InputError(path, "the file has neither a table with a column flux nor an image")
    named = [h for h in images if role_of(h.name) == "flux"]
    with_axis = [h for h in images if {"CRVAL1", "COEFF0", "CRVAL"} & set(h.header) and not role_of(h.name)]
    hdu = (named or with_axis or images)[0]
    if 8 * int(np.prod(hdu.shape, dtype=object)) > MAX_BYTES:  # a compressed image may claim any size
        raise InputError(path, f"its image of {hdu.shape} pixels is too large for spectra")
    header, data = hdu.header, _squeezed(np.asarray(hdu.data))
    if data.ndim > 2:
        what = f"its image has {data.ndim} axes"
        raise InputError(path, what, "write the axes (pixels) or (candidates, pixels)")
    if "MULTISPE" in f"{header.get('CTYPE1', '')} {header.get('WAT0_001', '')}".upper():
        raise InputError(path, "its wavelengths are in IRAF's multispec form", "write them as a table")
    notes: list[str] = []
    air = states_air(path, header, hdus[0].header) or str(header.get("CTYPE1", "")).upper().startswith("AWAV")
    wave = _axis(path, header, data.shape[-1], air, notes)
    found = _companions(images, hdu, data.shape)
    if any(h is not hdu and not h.name and h.shape == hdu.shape for h in images):
        notes.append("it has an extension of the same size without a name, which was not used")
    if "wave" in found or "loglam" in found:
        wave = axis_wavelengths(path, _one_axis(path, found), None, "wave" not in found, air, notes)
    roles = _row_roles(path, header, hdus[0].header, data, wave)
    found |= {"flux": data} if roles is None else _rows(roles, data)
    if "wave" in found and found["wave"].shape == data.shape[-1:]:
        wave = axis_wavelengths(path, found["wave"], None, False, air, notes)
    unit = _first_text(UNIT_KEYS, header, hdus[0].header)
    if "response" in found:  # WEAVE's counts times the sensitivity are fluxes
        response, unit = found.pop("response"), "erg/s/cm2/Angstrom"
        found |= {role: found[role] * response for role in ("flux", "error") if role in found}
        found |= {"ivar": found["ivar"] / response**2} if "ivar" in found else {}
    return assembled(found, wave, unit, [header, hdus[0].header], notes)


def _is_picture(header) -> bool:
    kind = f"{header.get('CTYPE1', '')}".upper().strip()
    return kind.startswith(("RA-", "DEC-", "GLON", "GLAT")) or header.get("IMAGE", "").strip() == "SKYCHART"


def _squeezed(data: np.ndarray) -> np.ndarray:
    """An image without axes of length 1, in native byte order. A column of pixels becomes a row."""
    sides = [n for n in data.shape if n > 1]
    data = data.reshape(sides if sides else data.shape[-1:])
    return data.astype(data.dtype.newbyteorder("="))


def _companions(images, chosen, shape) -> dict[str, np.ndarray]:
    """Errors, masks and wavelengths of a spectrum in other extensions, by role."""
    found: dict[str, np.ndarray] = {}
    for hdu in images:
        role = "response" if hdu.name.endswith("_SENSFUNC") else role_of(hdu.name)
        if hdu is chosen or role in ("", "flux", "other") or role in found:
            continue
        wanted = (shape, shape[-1:]) if role in ("wave", "loglam", "response") else (shape,)
        if tuple(n for n in hdu.shape if n > 1) in wanted:
            found[role] = _squeezed(hdu.data)
    return found


def _row_roles(path, header, primary, data, wave) -> list[str] | None:
    """Role of each row of an image; None if there is one row or all rows are candidates."""
    if data.ndim == 1 or len(data) == 1:
        return None
    if str(header.get("CTYPE2", "")).upper().startswith("CANDIDATE"):
        return None
    labels = {
        int(m[1]): str(v) for k, v in header.items() if (m := ROW_LABEL.match(k)) and isinstance(v, str)
    }
    named = {k: role_of(v) for k, v in labels.items() if 1 <= k <= len(data)}
    if "flux" in named.values():
        return [named.get(k + 1, "other") for k in range(len(data))]
    known = _survey_rows(header, primary, data, wave)
    if known:
        return known
    if _alike(data):
        return None
    what = f"its image has {len(data)} rows that differ in kind: which is the flux?"
    raise InputError(path, what, WHICH_ROW)


def _survey_rows(header, primary, data, wave) -> list[str] | None:
    """Roles of the rows in the layouts of surveys whose headers do not name them."""
    n = len(data)
    if "COEFF0" in header and n >= 3 and wave is not None and np.allclose(data[2], wave, rtol=1e-3):
        return ["flux", "ivar", "wave", "bits", "other"][:n] + ["other"] * (n - 5)  # LAMOST
    if {"PLATEID", "FIBERID", "COEFF0"} <= set(header) and n >= 3:
        return ["flux", "other", "error", "mask_bits", "other"][:n] + ["other"] * (n - 5)  # SDSS-I/II
    if {"CATAID", "SPECID"} <= set(header) and n == 5:
        return ["flux", "error", "other", "other", "other"]  # GAMA
    if {"OBSRA", "OBSDEC", "Z_HELIO", "QUALITY"} <= set(header) and n in (3, 4):
        return ["flux", "variance", "other", "wave"][:n]  # 6dFGS
    if "IMAGE" in header and str(header["IMAGE"]).strip() == "SPECTRUM" and n == 3:
        return ["flux", "variance", "other"]  # 2dFGRS
    return None


def _rows(roles: list[str], data: np.ndarray) -> dict[str, np.ndarray]:
    found: dict[str, np.ndarray] = {}
    for role, row in zip(roles, data):
        if role not in ("", "other"):
            name = "bits" if role == "mask_bits" else role
            found.setdefault(name, row.astype(np.int32) if name == "bits" else row)
    return found


def _alike(data: np.ndarray) -> bool:
    """Whether all rows may be spectra of one galaxy: alike in level and in roughness."""
    data = np.asarray(data, float)
    with np.errstate(all="ignore"):
        good = np.isfinite(data)
        values = np.where(good, data, 0)
        level = np.abs(values).sum(1) / good.sum(1)
        rough = np.abs(np.diff(values, axis=1)).mean(1) / level
    if not (np.isfinite(level) & (level > 0)).all() or ((rough == 0).any() and len(np.unique(rough)) > 1):
        return False
    if ((values == np.round(values)).all(1) & (np.ptp(values, axis=1) > 0)).any():  # a mask
        return False
    smooth = rough.max() < 1e-3
    return bool(np.ptp(np.log(level)) < np.log(ALIKE)) and (
        smooth or bool(np.ptp(np.log(rough)) < np.log(2 * ALIKE))
    )


def _axis(path, header, size: int, air: bool, notes: list[str]) -> np.ndarray | None:
    """Vacuum wavelengths (size,) of an image's first FITS axis; None without one.

    Log10 axes are those with IRAF's DC-FLAG = 1, SDSS's COEFF0, or numbers that can be nothing else. Without
    CRPIX1, CRVAL1 is taken for the first pixel. This is how programs use it, although the FITS default is the
    pixel before.
    """
    suffix = "1" if "CRVAL1" in header else ""
    if f"CRVAL{suffix}" not in header:
        if "COEFF0" not in header:
            return None
        values = header["COEFF0"] + header.get("COEFF1", 1e-4) * np.arange(size)
        return axis_wavelengths(path, values, None, True, air, notes)
    kind, unit = str(header.get("CTYPE1", "")).upper().strip(), header.get("CUNIT1") or _iraf_unit(header)
    start = float(header[f"CRVAL{suffix}"])
    if NONLINEAR.search(kind) and start > 10:
        return axis_wavelengths(path, *_wcs_axis(header, unit, size), False, air, notes)
    step = header.get("CD1_1", header.get(f"CDELT{suffix}", 1.0) * header.get("PC1_1", 1.0))
    values = start + (np.arange(size) + 1 - header.get(f"CRPIX{suffix}", 1.0)) * step
    if header.get("DC-FLAG", 0) == 1 or _is_log10(values, unit, kind):
        return axis_wavelengths(path, values, unit, True, air, notes)
    if 7 < values.min() and values.max() < 12 and "LN" in kind:
        values = np.exp(values)
    if kind.startswith("FREQ"):
        unit = unit or "Hz"
    return axis_wavelengths(path, values, unit, False, air, notes)


def _is_log10(values: np.ndarray, unit, kind: str) -> bool:
    small = 2.5 < values.min() and values.max() < 5.5
    length = str(unit or "").strip().lower()
    return small and ("LOG" in kind or length in ("", "angstrom", "angstroms", "a") or "log" in length)


def _iraf_unit(header) -> str | None:
    match = re.search(r"units=(\S+)", str(header.get("WAT1_001", "")))
    return match[1].strip("'\"") if match else None


def _wcs_axis(header, unit, size: int) -> tuple[np.ndarray, str]:
    """Values of an axis that is not linear, and their unit, by wcslib."""
    from astropy.wcs import WCS

    from pix2spec.data.readers.spectrum_units import parse_unit

    header = header.copy()
    header.setdefault("CRPIX1", 1)
    parsed = parse_unit(str(unit)) if unit else None
    header["CUNIT1"] = parsed.to_string("fits") if parsed is not None else "Angstrom"
    axis = WCS(header).sub([1])
    return axis.all_pix2world(np.arange(size), 0)[0], str(axis.wcs.cunit[0])  # wcslib may convert to SI


def _first_text(keys, *headers) -> str | None:
    values = (str(header.get(key, "")).strip() for header in headers for key in keys)
    return next((value for value in values if value), None)


def states_air(path, *headers) -> bool:
    """Whether wavelengths are in air, according to the usual keywords of any of the headers."""
    for header in headers:
        words = " ".join(str(header.get(key, "")) for key in ("AIRORVAC", "WAVESYS", "WAVEMED")).lower()
        vacuum = str(header.get("VACUUM", "T")).strip().lower()
        if vacuum in ("false", "f", "0", "no", "0.0") or "air" in words:
            return True
        medium = str(header.get("MEDIUM", "")).strip().lower()
        if medium not in ("", "air", "vacuum"):
            raise InputError(path, f"its medium is {medium!r}", "use 'air' or 'vacuum'")
        if medium == "air":
            return True
    return False
