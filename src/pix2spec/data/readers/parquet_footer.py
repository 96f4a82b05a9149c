"""A look at a Parquet file's footer before pyarrow is asked about its columns.

What pyarrow says of a column of a damaged footer is not an exception but the end of the process: its
``RowGroupMetaData.column`` throws in C++, where nothing catches it. These are the conditions on which it does
(``ColumnChunkMetaData`` and ``SizeStatistics::Validate`` in Arrow's sources; the format is
https://github.com/apache/parquet-format, ``parquet.thrift``, in Thrift's compact protocol).
"""

import struct
from pathlib import Path

from pix2spec.errors import InputError

__all__ = ["check_footer"]

ROW_GROUPS = 4  # of FileMetaData
COLUMNS, ROWS = 1, 3  # of RowGroup
METADATA, CRYPTO, ENCRYPTED = 3, 8, 9  # of ColumnChunk
VALUES, SIZES = 5, 16  # of ColumnMetaData
UNENCODED, REPETITIONS, DEFINITIONS = 1, 2, 3  # of SizeStatistics
# What lists hold, by their field in each of these: Arrow takes it for granted, whatever the list itself says.
TEXT, STRUCT, INT32, INT64 = 8, 12, 5, 6
OF_FILE = {2: STRUCT, 4: STRUCT, 5: STRUCT, 7: STRUCT}
OF_GROUP = {1: STRUCT, 4: STRUCT}
OF_COLUMN = {2: INT32, 3: TEXT, 8: STRUCT, 13: STRUCT}
OF_SIZES = {2: INT64, 3: INT64}
MAGIC = b"PAR1"
DEEPEST = 32  # structs in structs


def check_footer(path: Path, file) -> None:
    """Refuse a `pyarrow.parquet.ParquetFile` whose footer would end the process.

    Raises
    ------
    InputError
        Naming the file.
    """
    leaves = [file.schema.column(j) for j in range(len(file.schema))]
    try:
        footer = _Footer(_bytes_of(path)).struct()
        _check_lists(footer, OF_FILE)
        for group in footer.get(ROW_GROUPS, ()):
            _check_lists(group, OF_GROUP)
            if len(group[COLUMNS]) != len(leaves):
                raise ValueError(f"a row group has {len(group[COLUMNS])} columns, the schema {len(leaves)}")
            for chunk, leaf in zip(group[COLUMNS], leaves):
                _check_chunk(chunk, leaf)
            values = [chunk[METADATA][VALUES] for chunk in group[COLUMNS]]
            if not 0 <= group[ROWS] <= min(values, default=0):  # nulls and empty lists are counted too
                raise ValueError(f"a row group has {group[ROWS]} rows of {min(values, default=0)} values")
    except (ValueError, LookupError, TypeError, AttributeError, struct.error) as error:
        why = f"it lacks field {error}" if isinstance(error, KeyError) else error
        raise InputError(path, f"its footer is damaged: {why}", "download it again") from error


def _check_chunk(chunk: dict, leaf) -> None:
    if CRYPTO in chunk or ENCRYPTED in chunk:
        raise ValueError(f"column {leaf.path} is encrypted")
    sizes = chunk[METADATA].get(SIZES, {})
    _check_lists(chunk[METADATA], OF_COLUMN)
    _check_lists(sizes, OF_SIZES)
    if UNENCODED in sizes and leaf.physical_type != "BYTE_ARRAY":
        raise ValueError(f"column {leaf.path} has sizes of texts")
    for field, level in (
        (REPETITIONS, leaf.max_repetition_level),
        (DEFINITIONS, leaf.max_definition_level),
    ):
        if len(sizes.get(field, ())) not in (0, level + 1):
            raise ValueError(f"column {leaf.path} has {len(sizes[field])} numbers of {level + 1} levels")


def _check_lists(fields: dict, kinds: dict[int, int]) -> None:
    for number, kind in kinds.items():
        values = fields.get(number, ())
        if len(values) and values.kind != kind:
            raise ValueError(f"its list {number} is of kind {values.kind}, not {kind}")


def _bytes_of(path: Path) -> bytes:
    """The footer; pyarrow, which has opened the file, has found it whole."""
    with open(path, "rb") as stream:
        end = stream.seek(-8, 2)
        size, magic = struct.unpack("<I4s", stream.read(8))
        if magic != MAGIC or size > end:
            raise ValueError("it is encrypted or cut off")
        stream.seek(end - size)
        return stream.read(size)


class _List(list):
    """A list that knows what it says it holds."""

    kind = 0


class _Footer:
    """Reads Thrift's compact protocol: structs as dictionaries by field number."""

    def __init__(self, raw: bytes):
        self.raw, self.at = raw, 0

    def _byte(self) -> int:
        self.at += 1
        return self.raw[self.at - 1]

    def _varint(self) -> int:
        value = shift = 0
        while True:
            byte = self._byte()
            value |= (byte & 127) << shift
            if byte < 128:
                return value
            shift += 7

    def _integer(self) -> int:
        value = self._varint()
        return value >> 1 ^ -(value & 1)

    def struct(self, depth: int = 0) -> dict:
        """The fields up to the stop byte."""
        fields: dict = {}
        number = 0
        while head := self._byte():
            number = number + (head >> 4) if head >> 4 else self._integer()
            if number in fields:
                raise ValueError(f"field {number} comes twice")
            kind = head & 15
            fields[number] = kind == 1 if kind in (1, 2) else self._value(kind, depth)
        return fields

    def _value(self, kind: int, depth: int):
        if depth > DEEPEST:
            raise ValueError("it is nested too deep")
        if kind in (1, 2, 3):  # in a list, a truth value is a byte
            return self._byte()
        if kind in (4, 5, 6):
            return self._integer()
        if kind in (7, 8):
            size = 8 if kind == 7 else self._varint()
            self.at += size
            return self.raw[self.at - size : self.at]
        if kind in (9, 10):
            head = self._byte()
            count = head >> 4 if head >> 4 != 15 else self._varint()
            if count > len(self.raw):
                raise ValueError("a list is longer than the file")
            values = _List(self._value(head & 15, depth + 1) for _ in range(count))
            values.kind = head & 15
            return values
        if kind == 11:
            count = self._varint()
            if not count:
                return {}
            if count > len(self.raw):
                raise ValueError("a map is longer than the file")
            kinds = self._byte()
            return [
                (self._value(kinds >> 4, depth + 1), self._value(kinds & 15, depth + 1)) for _ in range(count)
            ]
        if kind == 12:
            return self.struct(depth + 1)
        raise ValueError(f"it has a value of no known kind, {kind}")
