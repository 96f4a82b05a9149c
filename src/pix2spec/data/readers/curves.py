"""Read transmission curves of filters from a table or an archive of arrays."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pix2spec.core.filters import Filter, own_filters
from pix2spec.data.readers.guards import load_arrays, sniff
from pix2spec.data.readers.table_formats import read_table
from pix2spec.errors import InputError

__all__ = ["read_curves"]

WAVELENGTH = ("wavelength", "wave", "lambda", "lam")
RESPONSE = ("response", "transmission", "throughput")
FILTER = ("filter", "name", "band")
FORMS = (
    "give a table with the columns wavelength and response, or filter, wavelength and response, or "
    "wavelength and one of each filter; or an .npz archive of name, wave and response"
)


def read_curves(path: str | Path) -> Mapping[str, Filter]:
    r"""Read the transmission curves of filters.

    Parameters
    ----------
    path : str or Path
        A table (ECSV, CSV, FITS, VOTable or Parquet) with one of these sets of columns:

        - wavelength and response, for one filter. Its name is GROUP-BAND if the metadata of an ECSV file have
          ``group_name`` and ``band_name``, as speclite's files do, and otherwise the name of the file;
        - filter, wavelength and response, with a row for each point of each curve;
        - wavelength, and the response of each filter in a column of its name.

        Or an .npz archive of ``name`` (F,), ``wave`` (W,) or (F, W) and ``response`` (F, W), padded with NaN.
        Wavelengths are in Angstrom, unless their column has another unit of length.

    Returns
    -------
    mapping of str to Filter
        For ``Galaxy(filters=...)``. Curves that are speclite's are left out.

    Raises
    ------
    InputError
        If the file is not one of these, or a curve is not valid.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from pix2spec.data.readers.curves import read_curves
    >>> path = Path(tempfile.mkdtemp()) / "mine.csv"
    >>> _ = path.write_text("wavelength,blue,red\n4000,0,0\n4500,1,0\n5000,0,0.9\n5500,0,0\n")
    >>> list(read_curves(path).values())
    [<Filter blue: centre 4500, width 204 Angstrom>, <Filter red: centre 5000, width 204 Angstrom>]
    """
    found = _from_archive(path) if sniff(path) == "npz" else _from_table(path)
    curves: dict[str, Any] = {}
    for name, wave, response in found:
        if name in curves:
            raise InputError(path, f"the filter {name[:60]!r} is there twice", "give each curve its own name")
        curves[name] = (wave, response)
    return own_filters(curves, str(path))


def _from_archive(path) -> Iterator[tuple]:
    arrays = load_arrays(path, ("name", "wave", "response"))
    names, wave, response = arrays["name"], arrays["wave"], arrays["response"]
    if names.dtype.kind != "U" or wave.dtype.kind not in "iuf" or response.dtype.kind not in "iuf":
        raise InputError(path, "name must hold texts, wave and response numbers", FORMS)
    if response.ndim != 2 or names.shape != response.shape[:1] or wave.shape not in (
        response.shape,
        response.shape[1:],
    ):  # fmt: skip
        shapes = f"name has the shape {names.shape}, wave {wave.shape}, response {response.shape}"
        raise InputError(path, shapes, "they must be (F,), (W,) or (F, W), and (F, W)")
    for name, own, values in zip(names, np.broadcast_to(wave, response.shape), response):
        yield str(name), *_known(own, values)


def _from_table(path) -> Iterator[tuple]:
    table = read_table(path)
    columns = {name.lower().strip(): name for name in table.colnames}
    wave_column, response_column, filter_column = (
        next((columns[name] for name in names if name in columns), None)
        for names in (WAVELENGTH, RESPONSE, FILTER)
    )
    if wave_column is None:
        raise InputError(path, f"it has no column wavelength, only {', '.join(columns)[:100]}", FORMS)
    unit = getattr(table[wave_column], "unit", None)
    wave = _floats(path, table, wave_column)
    if response_column is None:
        parts = [(name, slice(None), name) for name in table.colnames if name != wave_column]
    elif filter_column is None:
        parts = [(_name_of(path, table), slice(None), response_column)]
    else:
        labels = [str(label).strip() for label in table[filter_column]]
        parts = [(name, np.array(labels) == name, response_column) for name in dict.fromkeys(labels)]
    for name, rows, column in parts:
        x, response = _known(wave[rows], _floats(path, table, column)[rows])
        yield name, x if unit is None else x * unit, response


def _name_of(path, table) -> str:
    names = [table.meta.get(key) for key in ("group_name", "band_name")]
    return "-".join(map(str, names)) if all(names) else Path(path).stem


def _floats(path, table, name: str) -> np.ndarray:
    try:
        return np.ma.filled(np.ma.asarray(table[name], float), np.nan)
    except (TypeError, ValueError) as error:
        raise InputError(path, f"its column {name[:60]!r} does not hold numbers", FORMS) from error


def _known(wave: np.ndarray, response: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The points of a curve without padding."""
    known = np.isfinite(wave) & np.isfinite(response)
    return wave[known].astype(float), response[known].astype(float)
