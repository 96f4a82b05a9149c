"""Read rows of the Multimodal Universe's Parquet files, a few at a time."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np

from pix2spec.data.mmu.rows import FIELDS, HINT, Row, matching, to_python
from pix2spec.data.readers.guards import MAX_FREE_BYTES, check_expansion
from pix2spec.data.readers.parquet_check import check_parquet
from pix2spec.errors import InputError

__all__ = ["parquet_rows"]

OLD_NAMES = {("image", "array"): "flux"}
BATCH = 16  # rows whose arrays are in memory at the same time
BLOCK = 1024  # the same if only scalars are read
MAX_ROW_VALUES = 16_000_000  # of one object
MAX_TEXT = 256  # characters
NUMBERS = ("FLOAT", "DOUBLE", "BOOLEAN", "INT32", "INT64")
KINDS = ("numbers", "text")


def parquet_rows(path: Path, what: str, columns, arrays: bool, only: set[int] | None) -> Iterator[Row]:
    """Yield rows as `pix2spec.data.mmu.read.read_rows` does."""
    import pyarrow.parquet as pq

    check_parquet(path)
    with pq.ParquetFile(path) as file:
        names = _scalar_columns(file.schema_arrow, columns)
        leaves = _leaves(path, file, what)
        _check_declared(path, file, leaves["flux"], {*leaves.values(), *names.values()})
        texts = [leaf.path for leaf in map(file.schema.column, range(len(file.schema)))
                 if leaf.physical_type == "BYTE_ARRAY"]  # fmt: skip
    # In a dictionary, a long text that every row repeats is stored once. Row groups are read piece by piece.
    with pq.ParquetFile(path, read_dictionary=texts, pre_buffer=False, buffer_size=2**20) as file:
        wanted = [*names.values(), *(leaves.values() if arrays else ())]
        first = 0
        for g in range(file.num_row_groups):
            size = file.metadata.row_group(g).num_rows
            if only is None or any(first <= i < first + size for i in only):
                yield from _group_rows(path, file, g, first, what, names, wanted, arrays, only)
            first += size


def _group_rows(path, file, group: int, first: int, what: str, names, wanted, arrays, only) -> Iterator[Row]:
    for batch in file.iter_batches(BATCH if arrays else BLOCK, row_groups=[group], columns=wanted):
        scalars = {name: _short(path, batch.column(key)).to_pylist() for name, key in names.items()}
        for i in range(batch.num_rows):
            label = f"{path}[{first + i}]"
            if only is None or first + i in only:
                values = {name: to_python(column[i]) for name, column in scalars.items()}
                read = partial(_nested, label, batch.column(what), i) if arrays else None
                yield Row(label, first + i, values, read)
        first += batch.num_rows


def _scalar_columns(schema, columns: tuple[str, ...]) -> dict[str, str]:
    """Names in the file of the wanted columns that hold one number or text per row."""
    import pyarrow.types as t

    single = (t.is_integer, t.is_floating, t.is_boolean, t.is_string, t.is_large_string)
    names = [name for name in schema.names if any(test(schema.field(name).type) for test in single)]
    return matching(names, columns)


def _leaves(path: Path, file, what: str) -> dict[str, str]:
    """Name of each field to its path in the file. Fields are in a struct of lists or a list of structs."""
    found = {}
    for leaf in map(file.schema.column, range(len(file.schema))):
        top, *rest = leaf.path.split(".")
        named = [part for part in rest if part not in ("list", "element", "item", "bag", "array_element")]
        name = OLD_NAMES.get((what, named[0]), named[0]) if len(named) == 1 else ""
        if top == what and name in FIELDS[what]:
            if leaf.physical_type not in (("BYTE_ARRAY",) if name == "band" else NUMBERS):
                raise InputError(
                    path, f"its {leaf.path} is {leaf.physical_type}, not {KINDS[name == 'band']}"
                )
            found[name] = leaf.path
    absent = [name for name in FIELDS[what] if name not in found and name != "mask"]
    if absent:
        hint = f"its columns are {', '.join(file.schema_arrow.names[:20])}"
        raise InputError(path, f"it has no {', '.join(f'{what}.{name}' for name in absent)}", hint)
    return found


def _check_declared(path: Path, file, flux_path: str, leaves: set[str]) -> None:
    """Refuse row groups whose declared sizes are too large for their compressed sizes.

    Fluxes are noise, which hardly compresses, so that their compressed size limits their number. Other
    columns may compress without limit. They must not have many more values than the fluxes; nulls and empty
    lists count as values.
    """
    for g in range(file.metadata.num_row_groups):
        group = file.metadata.row_group(g)
        chunks = {chunk.path_in_schema: chunk for chunk in map(group.column, range(group.num_columns))}
        flux = chunks[flux_path]
        where = f"of row group {g}"
        check_expansion(path, 4 * flux.num_values, f"{flux_path} {where}", flux.total_compressed_size)
        for name in leaves:
            chunk = chunks[name]
            if chunk.num_values > max(2 * flux.num_values, MAX_FREE_BYTES // 8):
                raise InputError(path, f"{name} {where} has more values than {flux_path}", HINT)
            if chunk.physical_type == "BYTE_ARRAY":
                size = chunk.total_uncompressed_size
                check_expansion(path, size, f"{name} {where}", chunk.total_compressed_size)


def _short(where, array):
    """Texts without their dictionary, which are checked to be short. Other arrays are returned unchanged."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if not pa.types.is_dictionary(array.type):
        return array
    if (pc.max(pc.binary_length(array.dictionary)).as_py() or 0) > MAX_TEXT:
        what = f"it has ids or names of bands with more than {MAX_TEXT} characters"
        raise InputError(where, what, HINT)
    return array.dictionary_decode()


def _nested(label: str, column, i: int, name: str) -> np.ndarray | None:
    """A field of row `i` as an array; None if it is null or missing."""
    import pyarrow as pa
    import pyarrow.compute as pc

    row = column.slice(i, 1)
    lists = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
    of_structs = not pa.types.is_struct(row.type)
    row = row.flatten() if of_structs else row
    names = [row.type.field(k).name for k in range(row.type.num_fields)]
    there = next((n for n in names if OLD_NAMES.get(("image", n), n) == name), None)
    if there is None or row.null_count:
        return None
    array, shape = row.field(there), [] if not of_structs else [len(row)]
    while True:
        array = array.storage if isinstance(array, pa.ExtensionArray) else array
        if not any(test(array.type) for test in lists):
            break
        sizes = pc.unique(pc.list_value_length(array)).to_pylist()
        if sizes == [None]:
            return None
        if len(sizes) != 1 or None in sizes:
            raise InputError(label, f"the rows of its {name} differ in length")
        shape.append(sizes[0])
        array = array.flatten()
    if len(array) > MAX_ROW_VALUES:
        raise InputError(label, f"its {name} has {len(array)} values", HINT)
    array = _short(label, array)
    if array.null_count and pa.types.is_boolean(array.type):
        array = array.fill_null(True)  # True means masked.
    return array.to_numpy(zero_copy_only=False).reshape(shape)
