"""Arrow tables as astropy tables."""

import re
from collections import Counter

import numpy as np

__all__ = ["from_arrow"]

MAX_TEXT_BYTES = 1000  # a column with longer texts holds comments, and is left out
INDEX = re.compile(r"__index_level_\d+__|Unnamed: 0|")  # names that pandas gives an index without one


def from_arrow(arrow):
    """An Arrow table as an astropy table; lists and long texts are left out."""
    import pyarrow as pa
    from astropy.table import Table

    columns: dict = {}
    index = []
    for name, column in zip(arrow.column_names, arrow.columns):
        if INDEX.fullmatch(name.strip()):
            name = name.strip() or "(index)"
            index.append(name)
        if pa.types.is_nested(column.type) or _longest_text(column) > MAX_TEXT_BYTES:
            continue  # The column holds neither numbers nor names.
        if pa.types.is_integer(column.type) and column.null_count:
            # Texts, because floats would round object ids of 19 digits.
            columns[name.strip()] = np.array(["" if v is None else str(v) for v in column.to_pylist()])
        elif pa.types.is_integer(column.type) or pa.types.is_floating(column.type):
            columns[name.strip()] = column.to_numpy()
        else:
            columns[name.strip()] = np.array(["" if v is None else str(v) for v in column.to_pylist()], str)
    names = Counter(name.strip() for name in arrow.column_names)
    meta = {"twice": [name for name, count in names.items() if count > 1], "index": index}
    return Table(columns, meta=meta)


def _longest_text(column) -> int:
    """Length in bytes of the longest text in a column."""
    import pyarrow as pa
    import pyarrow.compute as pc

    parts = [c.dictionary if pa.types.is_dictionary(c.type) else c for c in column.chunks]
    kinds = (pa.types.is_string, pa.types.is_large_string, pa.types.is_binary, pa.types.is_large_binary)
    parts = [part for part in parts if any(test(part.type) for test in kinds)]
    return max((pc.max(pc.binary_length(part)).as_py() or 0 for part in parts), default=0)
