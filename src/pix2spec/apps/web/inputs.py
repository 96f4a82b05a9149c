"""Checks of a visitor's input: files by their content, numbers by their range."""

import re
from pathlib import Path

import numpy as np

from pix2spec.core.grid import SpectralGrid
from pix2spec.core.photometry import MAX_MAGNITUDE, MIN_MAGNITUDE
from pix2spec.core.survey import Survey
from pix2spec.data.readers.guards import sniff
from pix2spec.data.schema import Galaxy
from pix2spec.errors import InputError

__all__ = [
    "MAX_CANDIDATES",
    "checked_file",
    "cutout_galaxy",
    "fluxes_of_magnitudes",
    "number",
    "observed_spectrum",
    "safe_name",
    "sentence",
    "whole_number",
]

MAX_CANDIDATES = 100
FITS = {"fits", "gzip", "bz2"}  # packed FITS is FITS
TABLES = {"text", "votable", "parquet"}
PICTURES = {"jpeg", "png"}
MAX_MAGNITUDE_ERROR = 10.0
ARGUMENT = re.compile(r"`(\w+)(?:=([^`]*))?`")  # as `InputError` names it


def safe_name(name: str) -> str:
    """Name an object after a visitor's file: letters, digits, ``-_.+`` only, 60 characters at most."""
    stem = re.sub(r"(\.(fits?|fz|gz|bz2|jpe?g|png))+$", "", Path(name).name, flags=re.IGNORECASE)
    return re.sub(r"[^A-Za-z0-9_.+-]+", "_", stem).strip("._")[:60] or "galaxy"


def sentence(error: InputError, has_options: bool = False) -> str:
    """One sentence for the page, without folders of the server and arguments of Python functions.

    With `has_options`, arguments are named as options of the command line, as the fields for tables are.
    """
    where, what, hint = error.where, error.what, error.hint
    if has_options:
        where, what, hint = (ARGUMENT.sub(_option, text) for text in (where, what, hint))
    where = "" if where.startswith("`") else Path(where).name + ": "
    hint = f" ({hint})" if hint and "`" not in hint else ""
    return f"{where}{what}{hint}."


def _option(argument: re.Match) -> str:
    return f"--{argument[1]}" + (f" {argument[2]}" if argument[2] else "")


def checked_file(path: str | Path | None, kinds: set[str] | None, wanted: str, max_bytes: int) -> Path:
    """Path of an uploaded file whose first bytes are of one of `kinds`, if any are given.

    `pix2spec.data.readers.guards.sniff` names the kinds.

    Raises
    ------
    InputError
        If there is no file, or if it is empty, too large or of another kind.
    """
    if path is None:
        raise InputError("file", "there is none yet", f"choose {wanted}")
    path = Path(path)
    if not path.is_file():
        raise InputError(path, "it is no longer on the server", "choose it again")
    if path.stat().st_size > max_bytes:
        size = path.stat().st_size / 2**20
        raise InputError(path, f"it has {size:.1f} MiB, and {max_bytes / 2**20:.0f} MiB are allowed")
    kind = sniff(path)
    if kinds is not None and kind not in kinds:
        raise InputError(path, f"its content is {kind}", f"give {wanted}")
    return path


def cutout_galaxy(
    path: str | Path | None, survey: Survey, max_bytes: int, measure: bool = False
) -> tuple[Galaxy, str]:
    """Read an uploaded cutout, and measure its photometry if `measure`.

    Returns
    -------
    galaxy : Galaxy
        With an image (band, 64, 64), and a position where the file has a WCS.
    kind : str
        ``"linear"`` or ``"composite"``.
    """
    from pix2spec.data.pictures import read_picture
    from pix2spec.data.readers.images import read_cutout

    path = checked_file(path, FITS | PICTURES, "a cutout as FITS, JPEG or PNG", max_bytes)
    if measure:
        galaxy, kind, _ = read_picture(path, survey, name=safe_name(path.name))
        return galaxy, kind
    image, kind, info = read_cutout(path, survey)
    return Galaxy(safe_name(path.name), ra=info["ra"], dec=info["dec"], image=image), kind


def observed_spectrum(
    path: str | Path, grid: SpectralGrid, max_bytes: int
) -> tuple[Galaxy, tuple[Galaxy, SpectralGrid], tuple[str, ...]]:
    """Read an uploaded spectrum of any instrument.

    Returns
    -------
    galaxy : Galaxy
        Its spectrum on `grid`, to be drawn and compared.
    native : (Galaxy, SpectralGrid)
        Its spectrum on a grid with as many pixels as the file, to be measured.
    notes : tuple of str
        Sentences about what the file leaves open.
    """
    from pix2spec.data.readers.observed_spectrum import read_observed_spectrum
    from pix2spec.data.readers.spectra import native_grid, on_grid

    path = checked_file(path, FITS | TABLES, "a spectrum as a FITS file or a table", max_bytes)
    seen = read_observed_spectrum(path)
    galaxy, notes = on_grid(seen, grid, path)
    own = native_grid(seen.wave)
    return galaxy, (on_grid(seen, own, path)[0], own), (*seen.notes, *notes)


def fluxes_of_magnitudes(magnitudes, errors, survey: Survey):
    """Band fluxes of typed AB magnitudes.

    Parameters
    ----------
    magnitudes, errors : sequence of str
        As typed, one a band of `survey.photometry_bands`; empty where unknown. Errors for all magnitudes, or
        for none: then 5 % and 0.05 nanomaggies are assumed.

    Returns
    -------
    flux, ivar : array (bands,), float32, or None
        Nanomaggies; ivar 0 where unknown. None and None without any magnitude.
    """
    from pix2spec.data.readers.tables import flux_of_magnitudes

    bands = survey.photometry_bands
    known = _numbers(bands, magnitudes, "magnitude")
    given = _numbers(bands, errors, "error")
    for band, value in known.items():
        if not MIN_MAGNITUDE < value < MAX_MAGNITUDE:
            limits = f"magnitudes from {MIN_MAGNITUDE:g} to {MAX_MAGNITUDE:g}"
            raise InputError(f"{band} magnitude", f"{value:g} is none of a galaxy", limits)
    for band, error in given.items():
        if band not in known:
            raise InputError(f"{band} error", "there is no magnitude to go with it")
        if not 0 < error < MAX_MAGNITUDE_ERROR:
            limits = f"between 0 and {MAX_MAGNITUDE_ERROR:g}"
            raise InputError(f"{band} error", f"{error:g} is none of a magnitude", limits)
    if not known:
        return None, None
    if given and len(given) < len(known):
        missing = ", ".join(band for band in known if band not in given)
        raise InputError(f"{missing} error", "it is missing", "give all errors or none")
    values = np.array([known.get(band, np.nan) for band in bands])
    spread = np.array([given.get(band, np.nan) for band in bands]) if given else None
    return flux_of_magnitudes(values, spread)


def _numbers(bands, texts, what: str) -> dict[str, float]:
    values = {band: number(text, f"{band} {what}") for band, text in zip(bands, texts, strict=True)}
    return {band: value for band, value in values.items() if value is not None}


def number(text: str | None, what: str) -> float | None:
    """Return a typed number, with a decimal point or comma; None for an empty field."""
    typed = (text or "").strip()
    if not typed:
        return None
    try:
        value = float(typed.replace(",", ".").replace("−", "-"))
    except ValueError:
        value = np.nan
    if not np.isfinite(value):
        raise InputError(what, f"{typed[:40]!r} is not a number")
    return value


def whole_number(value, what: str, low: int, high: int) -> int:
    """Return `value` as an integer between `low` and `high`."""
    if not isinstance(value, int | float) or not low <= value <= high or value != int(value):
        given = "it is empty" if value is None else f"{value} is not possible"
        raise InputError(what, given, f"a whole number from {low} to {high}")
    return int(value)
