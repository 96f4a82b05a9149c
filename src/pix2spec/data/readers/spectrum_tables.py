"""Read spectra in tables other than FITS: text with or without names, ECSV, IPAC, VOTable, Parquet."""

import re
from collections import Counter

import numpy as np

from pix2spec.data.readers.guards import opened, reading, sniff
from pix2spec.data.readers.spectrum_fits import SpectrumArrays, assembled, axis_wavelengths, states_air
from pix2spec.data.readers.spectrum_roles import column_roles, split_unit
from pix2spec.data.readers.table_formats import read_table
from pix2spec.errors import InputError

__all__ = ["arrays_of_table"]

FORM = "give a table with the columns wavelength, flux, error"
FACT = re.compile(r"[#%\s]*([A-Za-z_]\w*)\s*[:=]\s*(.+?)\s*$")  # a comment such as "# z = 0.05"
WORDS = re.compile(r"[^\s,;|(\[]+(?:\s*[\[(][^\])]*[\])])?")  # names with units in brackets
THIRD = "its columns have no names: the first three are taken for wavelength, flux and error"


def arrays_of_table(path) -> SpectrumArrays:
    """Read the spectrum of a table.

    Columns are found by their names; units are those of the table, or in brackets behind a name. Text without
    names has the columns wavelength, flux and, if there is a third, error. Comments such as ``# z = 0.05``
    are metadata.

    Raises
    ------
    InputError
        If there are no columns of wavelength and flux, or they do not hold numbers.
    """
    kind = sniff(path)
    if kind in ("text", "gzip", "bz2"):
        with reading(path, "text"), opened(path, kind) as stream:
            raw = stream.read()
        if not raw.startswith((b"# %ECSV", b"\\", b"|", b"<")) and b"\0" not in raw[:1000]:
            return _from_lines(path, raw.decode("utf-8-sig", "replace").splitlines())
    if kind == "text" and raw.startswith((b"\\", b"|")):
        return _from_columns(path, *_columns(_ipac(path)))
    return _from_columns(path, *_columns(read_table(path)))


def _ipac(path):
    from astropy.table import Table

    with reading(path, "an IPAC table"):
        return Table.read(path, format="ascii.ipac")


def _columns(table) -> tuple[dict, dict, dict]:
    """Values and units of a table's columns by name, and its metadata by upper-case names."""
    values = {name: np.ma.asarray(table[name]) for name in table.colnames}
    units = {name: str(table[name].unit) for name in table.colnames if getattr(table[name], "unit", None)}
    facts = {str(k).upper(): v for k, v in table.meta.items() if isinstance(v, str | int | float)}
    return values, units, facts


def _from_lines(path, lines: list[str]) -> SpectrumArrays:
    comments = [line for line in lines if line.lstrip().startswith(("#", "%", "!"))]
    data = [line for line in lines if line.strip() and not line.lstrip().startswith(("#", "%", "!"))]
    if not data:
        raise InputError(path, "the table has no rows", FORM)
    facts = {m[1].upper(): m[2] for line in comments if (m := FACT.match(line))}
    separator = next((s for s in (",", "\t", ";", "|") if s in data[0].strip()), None)
    rows = [_cells(line, separator) for line in data]
    notes: list[str] = []
    if _are_numbers(rows[0]):
        names = _names_in_comments(comments, len(rows[0]))
        if names is None:
            names = ["wavelength", "flux", "error", *(f"column{k}" for k in range(4, len(rows[0]) + 1))]
            notes = [THIRD] if len(rows[0]) > 2 else []
    else:
        names = rows.pop(0)
        if separator is None and "(" in data[0]:
            names = WORDS.findall(data[0])
    rows = [row for row in rows if row]
    width = Counter(map(len, rows)).most_common(1)[0][0] if rows else 0
    whole = [row for row in rows if len(row) == width]
    if not whole:
        raise InputError(path, "the table has no rows", FORM)
    if len(whole) < len(rows):
        notes.append(f"{len(rows) - len(whole)} rows have more or fewer cells, and were left out")
    table = np.array(whole)
    if len(names) < width:
        raise InputError(path, f"its rows have {width} cells, and its line of names has {len(names)}", FORM)
    values = {name.strip().strip("\"'"): _column(table[:, k]) for k, name in enumerate(names[:width])}
    return _from_columns(path, values, {}, facts, notes)


def _cells(line: str, separator: str | None) -> list[str]:
    line = line.strip().rstrip(separator) if separator else line
    return [cell.strip() for cell in line.split(separator)]


def _are_numbers(cells: list[str]) -> bool:
    try:
        return bool([float(cell) for cell in cells])
    except ValueError:
        return False


def _names_in_comments(comments: list[str], width: int) -> list[str] | None:
    """Names of the columns in the last comment that has as many words and names a flux."""
    for line in reversed(comments):
        text = line.strip().lstrip("#%! ").strip()
        for names in (
            WORDS.findall(text),
            re.split(r"[\s,;|]+", text),
        ):
            if len(names) == width and "flux" in column_roles(names):
                return names
    return None


def _column(texts: np.ndarray) -> np.ndarray:
    """Numbers, with NaN for empty cells; the texts if they are not numbers."""
    blank = np.isin(np.char.lower(texts), ["", "null", "none", "n/a", "--", "masked"])
    try:
        return np.where(blank, "nan", texts).astype(float)
    except ValueError:
        return texts


def _from_columns(path, values: dict, units: dict, facts: dict, notes=()) -> SpectrumArrays:
    roles = column_roles(values)
    if "flux" not in roles or not {"wave", "loglam"} & set(roles):
        what = f"it has no columns wavelength and flux, only {', '.join(values)[:100]}"
        raise InputError(path, what, FORM)
    found = {role: _numbers(path, name, values[name]) for role, name in roles.items()}
    name, notes = roles.get("wave") or roles["loglam"], list(notes)
    air = "air" in name.lower() or "awav" in name.lower() or states_air(path, facts)
    unit = units.get(name) or split_unit(name)[1] or _suffix(name)
    is_log = "wave" not in roles
    wave = axis_wavelengths(path, found["loglam" if is_log else "wave"], unit, is_log, air, notes)
    flux_name = roles["flux"]
    unit = units.get(flux_name) or split_unit(flux_name)[1] or facts.get("BUNIT") or facts.get("FLUX_UNIT")
    return assembled(found, wave, unit, [facts], notes)


def _suffix(name: str) -> str | None:
    """The unit behind the last "_" of a column's name, as in ``wave_nm``."""
    from pix2spec.data.readers.spectrum_roles import WAVE_UNITS

    tail = name.strip().lower().rpartition("_")[2]
    return tail if tail in WAVE_UNITS and tail != name.strip().lower() else None


def _numbers(path, name: str, values) -> np.ndarray:
    values = np.ma.asarray(values).squeeze()
    if values.dtype.kind not in "iufb" or values.ndim != 1:
        raise InputError(path, f"its column {name!r} does not hold one number for each pixel")
    return np.array(np.ma.filled(values.astype(float), np.nan))
