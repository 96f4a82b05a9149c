"""Read rows of the Multimodal Universe's HDF5 files."""

import math
from collections.abc import Callable, Iterator
from pathlib import Path

from pix2spec.data.mmu.rows import FIELDS, HINT, Row, matching, to_python
from pix2spec.data.readers.guards import MAX_FREE_BYTES, check_expansion
from pix2spec.errors import InputError

__all__ = ["hdf5_rows"]

NAMES = {("image", "flux"): "image_array"}
BLOCK = 1024  # rows whose scalars are in memory at the same time


def hdf5_rows(path: Path, what: str, columns, arrays: bool, only: set[int] | None) -> Iterator[Row]:
    """Yield rows as `pix2spec.data.mmu.read.read_rows` does."""
    import h5py

    with h5py.File(path, "r") as file:
        names = matching(list(file), columns)
        scalars = {name: _dataset(path, file, key) for name, key in names.items()}
        fields = {name: NAMES.get((what, name), f"{what}_{name}") for name in FIELDS[what]}
        data = {
            name: _dataset(path, file, key) for name, key in fields.items() if key in file or name != "mask"
        }
        size = len(data["flux"])
        stored = data["flux"].id.get_storage_size()
        check_expansion(path, data["flux"].nbytes, f"its array {fields['flux']}", stored)
        for name, dataset in (scalars | data).items():
            if dataset.shape[0] != size:
                raise InputError(path, f"its array {name} has {dataset.shape[0]} rows, not {size}")
        for start in range(0, size, BLOCK):
            rows = [i for i in range(start, min(start + BLOCK, size)) if only is None or i in only]
            if not rows:
                continue
            block = {name: d[start : start + BLOCK] for name, d in scalars.items() if d.ndim == 1}
            for i in rows:
                values = {name: to_python(column[i - start]) for name, column in block.items()}
                yield Row(f"{path}[{i}]", i, values, _hdf5_field(data, i) if arrays else None)


def _hdf5_field(data: dict, i: int) -> Callable:
    return lambda name: data[name][i] if name in data else None


def _dataset(path: Path, file, name: str):
    """The array `name` of a file.

    Raises `InputError` if the array is missing, is stored in another file, holds neither numbers nor texts of
    fixed length, or has rows or chunks of more than `MAX_FREE_BYTES`.
    """
    import h5py

    if name not in file and file.get(name, getlink=True) is None:
        raise InputError(path, f"it has no array {name!r}", "give files of the Multimodal Universe")
    if not isinstance(file.get(name, getlink=True), h5py.HardLink):
        hint = "copy the data into the file"
        raise InputError(path, f"its array {name!r} is a link to other data", hint)
    dataset = file[name]
    if not isinstance(dataset, h5py.Dataset) or dataset.ndim == 0:
        raise InputError(path, f"its {name!r} is not an array")
    if dataset.is_virtual or dataset.external:
        raise InputError(path, f"its array {name!r} is stored in other files", "copy the data into the file")
    if dataset.dtype.kind not in "biufSU":
        what = f"its array {name!r} holds {dataset.dtype}, not numbers or texts of fixed length"
        raise InputError(path, what)
    row = math.prod(dataset.shape[1:]) * dataset.dtype.itemsize
    part = math.prod(dataset.chunks or (1,)) * dataset.dtype.itemsize
    if max(row, part) > MAX_FREE_BYTES:
        what = f"a row or chunk of its array {name!r} takes {max(row, part) / 2**20:.0f} MiB"
        raise InputError(path, what, HINT)
    return dataset
