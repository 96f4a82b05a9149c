"""Galaxies as rows of Arrow tables, and back."""

import numpy as np
import pyarrow as pa

from pix2spec.data.measurements import BRIGHTNESS_COLUMN, MEASUREMENT_COLUMNS, Measurements, choose
from pix2spec.data.native import NATIVE_COLUMNS, NativeSpectrum
from pix2spec.data.schema import DatasetInfo, Galaxy
from pix2spec.errors import InputError

__all__ = ["as_arrays", "needed_columns", "read_measurements", "read_natives", "to_galaxies", "to_table"]

SCALARS = ("ra", "dec", "z", "z_err")
VECTORS = ("image", "photometry", "photometry_ivar", "flux", "ivar", "mask")
FLUXES = ("photometry", "photometry_ivar")


def to_table(galaxies: list[Galaxy], info: DatasetInfo) -> pa.Table:
    """Rows of galaxies that fit `info`; raises `InputError` for the first one that does not."""
    schema = info.arrow_schema()
    own = [_measured_cells(p, info) if info.as_measured else _check_bands(p, info) for p in galaxies]
    for cells, galaxy in zip(own, galaxies):
        cells |= galaxy.native.as_row() if galaxy.native else dict.fromkeys(NATIVE_COLUMNS)
    arrays = []
    for column in schema:
        values = [_value(p, cells, column, info) for p, cells in zip(galaxies, own)]
        try:
            arrays.append(pa.array(values, column.type))
        except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
            where = f"galaxies {galaxies[0].object_id} to {galaxies[-1].object_id}"
            raise InputError(where, f"column {column.name!r}: {error}") from error
    return pa.Table.from_arrays(arrays, schema=schema)


def _value(galaxy: Galaxy, measured: dict, column: pa.Field, info: DatasetInfo):
    name = column.name
    if name in info.truth:
        return galaxy.truth.get(name)
    if name in measured:
        return measured[name]
    value = getattr(galaxy, name)
    return _flat(galaxy, value, column) if name in VECTORS else value


def _measured_cells(galaxy: Galaxy, info: DatasetInfo) -> dict:
    """Values of `MEASUREMENT_COLUMNS` and flags, null without photometry."""
    measured = galaxy.measurements(info.survey)
    if measured is None:
        return dict.fromkeys([*MEASUREMENT_COLUMNS, *BRIGHTNESS_COLUMN]) | {"flags": list(galaxy.flags)}
    for name in measured.filters:
        if name in galaxy.curves and galaxy.curves[name] != info.curves.get(name):
            what = f"its filter {name!r} is not among the dataset's curves"
            raise InputError(galaxy.object_id, what, "name it in `DatasetInfo(curves=...)`")
    return measured.as_row() | {"flags": list(galaxy.flags)}


def _check_bands(galaxy: Galaxy, info: DatasetInfo) -> dict:
    """Refuse photometry that columns in the bands of the survey cannot hold; there is nothing to replace."""
    if galaxy.photometry is not None:
        kinds = {galaxy.kind} - {"unknown"} if isinstance(galaxy.kind, str) else set(galaxy.kind)
        of_bands = not galaxy.filters or galaxy.filters == info.survey.filters
        if not of_bands or kinds - {"fibre"} or galaxy.extinction != "unknown":
            what = f"its photometry is not in the bands of {info.survey.name} within the fibre"
            raise InputError(galaxy.object_id, what, "write it with `DatasetInfo(as_measured=True)`")
    return {}


def _flat(galaxy: Galaxy, value, column: pa.Field):
    """Flatten one value of a vector column, verify its length and convert it to the column's type."""
    if value is None:
        return None
    flat = np.asarray(value).ravel()
    if len(flat) != column.type.list_size:
        what = f"its {column.name} has {len(flat)} values, the dataset needs {column.type.list_size}"
        raise InputError(galaxy.object_id, what)
    return flat.astype(column.type.value_type.to_pandas_dtype(), copy=False)


def to_galaxies(rows: pa.Table, info: DatasetInfo) -> list[Galaxy | InputError]:
    """The galaxies of a table; an error replaces one whose measurements are damaged."""
    names = [name for name in rows.column_names if not (info.as_measured and name in FLUXES)]
    empty = [name for name in names if name in VECTORS and rows[name].null_count == len(rows)]
    names = [name for name in names if name not in empty]
    arrays = as_arrays(rows, info, names)
    scalars = {name: arrays.pop(name).astype(float).tolist() for name in SCALARS}
    missing = {n: rows[n].is_null().to_numpy() for n in arrays if n in VECTORS and rows[n].null_count}
    measured = _measured_fields(rows, info) if info.as_measured else [{}] * len(rows)
    made: list = []
    for i, own in enumerate(measured):
        if isinstance(own, InputError):
            made.append(own)
            continue
        values: dict = {"filters": info.survey.filters, "kind": "fibre"} | dict.fromkeys(empty)
        values |= {name: column[i] for name, column in scalars.items()}
        values |= {name: column[i] for name, column in arrays.items()}
        values |= {name: None for name, null in missing.items() if null[i]}
        truth = {name: values.pop(name) for name in info.truth}
        try:
            values |= {"native": read_natives(rows.slice(i, 1))[0]} if info.native else {}
        except InputError as error:
            made.append(error)
            continue
        made.append(Galaxy(**values | own, truth=truth))
    return made


def read_natives(table: pa.Table) -> list[NativeSpectrum | None]:
    """Spectra in the pixels of their files, of each row; None for a row without one."""
    names = [*NATIVE_COLUMNS, "object_id"]
    rows = table.select(names).to_pylist()
    return [NativeSpectrum.from_row(cells, cells["object_id"]) for cells in rows]


def _measured_fields(rows: pa.Table, info: DatasetInfo) -> list[dict | InputError]:
    """Photometry and its description of each row of measurements."""
    every: list[dict | InputError] = []
    for found, flags in zip(read_measurements(rows, info), rows["flags"].to_pylist()):
        if isinstance(found, InputError):
            every.append(found)
            continue
        fields: dict = {"curves": info.curves, "flags": tuple(flags or ()), "brightness_error": 0.0}
        if found is None:
            fields |= {"filters": (), "kind": "unknown", "extinction": "unknown"}
        else:
            fields |= {
                "photometry": found.flux.astype(np.float32),
                "photometry_ivar": found.ivar.astype(np.float32),
                "filters": found.filters,
                "kind": found.kinds,
                "extinction": found.extinction,
                "brightness_error": found.brightness_error,
            }
        every.append(fields)
    return every


def read_measurements(table: pa.Table, info: DatasetInfo) -> list[Measurements | InputError | None]:
    """Measurements of each row, None for a row without photometry, or an error for a damaged one."""
    found: list = []
    names = [*MEASUREMENT_COLUMNS, *[n for n in BRIGHTNESS_COLUMN if n in table.column_names], "object_id"]
    for cells in table.select(names).to_pylist():
        if cells["photometry"] is None:
            found.append(None)
            continue
        try:
            found.append(Measurements.from_row(cells, info.curves, cells["object_id"]))
        except InputError as error:
            found.append(error)
    return found


def needed_columns(names: list[str], info: DatasetInfo) -> list[str]:
    """The columns that `as_arrays` needs for the columns `names`."""
    if not info.as_measured or not set(FLUXES) & set(names):
        return names
    shared = BRIGHTNESS_COLUMN if info.of_pictures else ()
    return list(dict.fromkeys([*names, *MEASUREMENT_COLUMNS, *shared, "object_id"]))


def as_arrays(table: pa.Table, info: DatasetInfo, names: list[str] | None = None) -> dict[str, np.ndarray]:
    """Columns `names` (by default all) of a dataset as arrays (n, ...).

    Fluxes are in the bands of the survey. Lists of variable length are left out.
    """
    names, arrays = table.column_names if names is None else names, {}
    if info.as_measured and set(FLUXES) & set(names):
        arrays = _in_bands(table, info)
    for name in names:
        if name not in arrays and not pa.types.is_list(table[name].type):
            arrays[name] = _to_numpy(name, table[name], info)
    return {name: arrays[name] for name in names if name in arrays}


def _in_bands(table: pa.Table, info: DatasetInfo) -> dict[str, np.ndarray]:
    """Fluxes (n, band) and inverse variances of measurements in the bands of the survey."""
    wanted = info.survey.filters
    flux = np.full((len(table), len(wanted)), np.nan, np.float32)
    ivar = np.zeros_like(flux)
    for i, found in enumerate(read_measurements(table, info)):
        if isinstance(found, Measurements):
            for k, place in choose(found.filters, found.kinds, wanted).items():
                flux[i, k], ivar[i, k] = found.flux[place], found.ivar[place]
    return dict(zip(FLUXES, (flux, ivar)))


def _to_numpy(name: str, column: pa.ChunkedArray, info: DatasetInfo) -> np.ndarray:
    """Column of a dataset as an array (n, ...). Nulls become NaN, or 0 in inverse variances and masks."""
    column = column.combine_chunks()
    if isinstance(column, pa.ChunkedArray):  # older pyarrow
        column = pa.concat_arrays(column.chunks)
    if pa.types.is_string(column.type):
        return np.array(column.to_pylist(), dtype=object)
    if not pa.types.is_fixed_size_list(column.type):
        return column.to_numpy(zero_copy_only=False)
    size = column.type.list_size
    shape = (-1, *info.image_shape) if name == "image" else (-1, size)
    if column.null_count == 0:
        return column.flatten().to_numpy(zero_copy_only=False).reshape(len(column), *shape[1:])
    is_float = pa.types.is_floating(column.type.value_type)
    missing = 0 if name.endswith("ivar") or not is_float else np.nan
    values = np.full((len(column), size), missing, np.float32 if is_float else np.int32)
    present = np.flatnonzero(column.is_valid().to_numpy(zero_copy_only=False))
    values[present] = column.drop_null().flatten().to_numpy(zero_copy_only=False).reshape(-1, size)
    return values.reshape(len(column), *shape[1:])
