"""Read the usual Arrow stream without pyarrow: columns are views of its octets, by a plan cached for each schema.

A usual stream has one uncompressed record batch of plain columns, with each dictionary sent once before it. Everything
that pyarrow's full validation checks is checked; any other stream is left to pyarrow, which reads or refuses it.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import pairwise
from typing import Any, Final, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from collector_processor.columns.batch import F64, I32, Mask
from collector_processor.decode.arrow.flatbuffer import number, root, scalar, structs, table
from collector_processor.decode.arrow.plan import MESSAGE_HEADER, SCHEMA_LIMIT, ColumnPlan, Plan, plan_of

_PREFIX: Final = 8
_WORD: Final = 8
_CONTINUES: Final = 0xFFFFFFFF
_V5: Final = 4
_MESSAGE_VERSION, _MESSAGE_KIND, _MESSAGE_BODY = 0, 1, 3
_SCHEMA, _DICTIONARY, _RECORDS = 1, 2, 3
_DICTIONARY_ID, _DICTIONARY_RECORDS, _DICTIONARY_IS_DELTA = 0, 1, 2
_ROWS, _NODES, _BUFFERS, _COMPRESSION, _VARIADIC = range(5)
_VARIABLE: Final = 3
"""Number of buffers of a column of texts."""
_HEADER_KEPT, _TEXTS_KEPT, _KEPT = 8192, 4096, 128
"""Longest cached header and dictionary, in bytes, and how many are cached: spans of one model repeat them."""
_OFFSET, _OCTET, _DOUBLE = np.dtype("<i4"), np.dtype(np.uint8), np.dtype("<f8")
_PAIR: Final = struct.Struct("<qq")
"""``FieldNode``: length and nulls. ``Buffer``: offset in the body and length."""


class NotUsualError(Exception):
    """Raised if pyarrow has to read, or refuse, the stream."""


class Numbers(NamedTuple):
    """A column of numbers float64 ``[n]``, NaN where null; it may be a view of the stream, read-only and unaligned."""

    values: F64


class Codes(NamedTuple):
    """A column of indices into ``texts``, int32 ``[n]``, −1 where null; all are below the number of texts."""

    codes: I32
    texts: Sequence[str]


@dataclass(slots=True)
class DirectTable:
    """The wanted columns by name: numbers, codes, or arrays of pyarrow; ``nbytes`` is their size in its terms."""

    rows: int
    columns: list[tuple[str, Numbers | Codes | Any]] = field(default_factory=list[tuple[str, Any]])
    nbytes: int = 0


class _Header(NamedTuple):
    """A record batch's rows, nodes and buffers, the size of its body, and its id if it is a dictionary."""

    rows: int
    nodes: list[tuple[int, ...]]
    buffers: list[tuple[int, ...]]
    size: int
    dictionary: int | None


class _Records(NamedTuple):
    """A record batch, and where its body begins."""

    header: _Header
    begin: int


class UsualStream:
    """A usual stream whose headers are read, but not its columns.

    Raises :class:`NotUsualError` for any other stream, and for more than ``most`` messages.
    """

    def __init__(self, stream: bytes | memoryview, most: int) -> None:
        self._octets = memoryview(stream)
        self._most = most
        self.messages = self.body_bytes = 0
        self._dictionaries: dict[int, _Records] = {}
        self._records: _Records | None = None
        try:
            self.plan = self._walk()
        except struct.error as error:
            raise NotUsualError from error
        if self._records is None or not self._records.header.rows or len(self._records.header.nodes) != self.plan.nodes:
            raise NotUsualError
        if len(self._records.header.buffers) != self.plan.buffers:
            raise NotUsualError

    def _walk(self) -> Plan:
        """Find the messages, and return the plan of the first."""
        octets, at, plan = self._octets, 0, None
        while at < len(octets):
            if number("<I", octets, at) != _CONTINUES:
                raise NotUsualError
            size = number("<I", octets, at + 4)
            if not size:
                break
            begin = at + _PREFIX + size
            if begin > len(octets) or self.messages == self._most:
                raise NotUsualError
            self.messages += 1
            if plan is None:
                plan = self._plan(octets[at:begin])
                at = begin
            else:
                at = begin + self._message(octets[at + _PREFIX : begin], begin)
        if plan is None:
            raise NotUsualError
        return plan

    def _plan(self, message: memoryview) -> Plan:
        head = message[_PREFIX:]
        if scalar("<q", head, root(head), _MESSAGE_BODY) or len(message) > SCHEMA_LIMIT:
            raise NotUsualError
        plan = plan_of(bytes(message))
        if plan is None:
            raise NotUsualError
        return plan

    def _message(self, head: memoryview, begin: int) -> int:
        """Take a message whose body is at ``begin`` and return the body's size."""
        header = _known_header(bytes(head)) if len(head) <= _HEADER_KEPT else _header(head)
        if begin + header.size > len(self._octets) or self._records is not None:
            raise NotUsualError
        records = _Records(header, begin)
        if header.dictionary is None:
            self._records = records
        elif header.dictionary in self._dictionaries:
            raise NotUsualError
        else:
            self._dictionaries[header.dictionary] = records
        self.body_bytes += header.size
        return header.size

    @property
    def rows(self) -> int:
        """Number of rows of the record batch."""
        return 0 if self._records is None else self._records.header.rows

    def buffer_bytes(self, wanted: Sequence[int]) -> int:
        """Return the bytes in the buffers of the columns at positions of the schema, each as often as it is named."""
        if self._records is None:
            raise NotUsualError
        sizes = [size for _, size in self._records.header.buffers]
        items = [self.plan.columns[position] for position in wanted]
        return sum(sum(sizes[item.buffer : item.buffer + item.buffers]) for item in items)

    def columns(self, wanted: Sequence[int]) -> DirectTable:
        """Return the columns at positions of the schema."""
        records = self._records
        if records is None:
            raise NotUsualError
        table = DirectTable(records.header.rows)
        for position in wanted:
            item = self.plan.columns[position]
            length, nulls = records.header.nodes[item.node]
            if length != records.header.rows or not 0 <= nulls <= length:
                raise NotUsualError
            table.columns.append((item.name, self._column(records, item, nulls, table)))
        return table

    def _column(self, records: _Records, item: ColumnPlan, nulls: int, table: DirectTable) -> Numbers | Codes | Any:
        if item.layout == "array":
            return self._array(records, item, nulls, table)
        cells = self._cells(records, item.buffer + 1, item.dtype, records.header.rows)
        table.nbytes += cells.nbytes
        null = self._null(records, item.buffer, nulls) if nulls else None
        if null is not None:
            table.nbytes += -(-records.header.rows // 8)
        if item.layout == "numbers":
            if null is None and item.dtype == _DOUBLE:
                return Numbers(cells)
            with np.errstate(invalid="ignore"):  # a signaling NaN is treated like any other
                values = cells.astype(np.float64)
            if null is not None:
                values[null] = np.nan
            return Numbers(values)
        texts = self._texts(item.dictionary, table)
        codes = cells if null is None else np.where(null, 0, cells)
        if not 0 <= int(codes.min()) <= int(codes.max()) < len(texts):
            raise NotUsualError
        codes = np.array(codes, np.int32)
        if null is not None:
            codes[null] = -1
        return Codes(codes, texts)

    def _buffer(self, records: _Records, index: int) -> tuple[int, int]:
        """Return a buffer's offset in the stream, and its size."""
        offset, size = records.header.buffers[index]
        return records.begin + offset, size

    def _cells(self, records: _Records, index: int, dtype: np.dtype[Any], count: int) -> NDArray[Any]:
        """Return a view of ``count`` cells of a buffer."""
        begin, size = self._buffer(records, index)
        if size < count * dtype.itemsize:
            raise NotUsualError
        return np.frombuffer(self._octets, dtype, count, begin)

    def _null(self, records: _Records, index: int, nulls: int) -> Mask:
        """Return which cells are null, bool ``[n]``; their number must match the node's."""
        bits = self._cells(records, index, _OCTET, -(-records.header.rows // 8))
        null = np.unpackbits(bits, count=records.header.rows, bitorder="little") == 0
        if int(np.count_nonzero(null)) != nulls:
            raise NotUsualError
        return null

    def _texts(self, name: int, table: DirectTable) -> tuple[str, ...]:
        """Return the texts of a dictionary."""
        records = self._dictionaries.get(name)
        if records is None or len(records.header.nodes) != 1 or len(records.header.buffers) != _VARIABLE:
            raise NotUsualError
        length, nulls = records.header.nodes[0]
        if length != records.header.rows or nulls or not length:
            raise NotUsualError
        offsets = self._cells(records, 1, _OFFSET, length + 1).tobytes()
        begin, size = self._buffer(records, 2)
        octets = bytes(self._octets[begin : begin + size])
        table.nbytes += len(octets) + len(offsets)
        return (_known_texts if len(octets) + len(offsets) <= _TEXTS_KEPT else _texts)(octets, offsets)

    def _array(self, records: _Records, item: ColumnPlan, nulls: int, table: DirectTable) -> Any:
        """Return the array that pyarrow makes of the buffers, fully validated."""
        places = [self._buffer(records, item.buffer + index) for index in range(item.buffers)]
        buffers = [pa.py_buffer(aligned(self._octets[begin : begin + size])) for begin, size in places]
        if not nulls:
            buffers[0] = None
        elif places[0][1] < -(-records.header.rows // 8):
            raise NotUsualError
        try:
            array = pa.Array.from_buffers(item.kind, records.header.rows, buffers, nulls)
            array.validate(full=True)
        except (pa.ArrowException, ValueError) as error:
            raise NotUsualError from error
        table.nbytes += array.nbytes
        return array


def aligned(octets: bytes | memoryview) -> bytes | memoryview:
    """Return the octets aligned to words, as pyarrow needs them; this may be a copy."""
    return octets if pa.py_buffer(octets).address % _WORD == 0 else bytes(octets)


def _header(head: memoryview | bytes) -> _Header:
    """Parse a message's header of a record batch or dictionary."""
    head = memoryview(head)
    top = root(head)
    kind, at = scalar("<B", head, top, _MESSAGE_KIND), table(head, top, MESSAGE_HEADER)
    size, dictionary = scalar("<q", head, top, _MESSAGE_BODY), None
    if at is not None and kind == _DICTIONARY:
        if scalar("<B", head, at, _DICTIONARY_IS_DELTA):
            raise NotUsualError
        dictionary, at = scalar("<q", head, at, _DICTIONARY_ID), table(head, at, _DICTIONARY_RECORDS)
    elif kind != _RECORDS:
        raise NotUsualError
    if at is None or size < 0 or scalar("<h", head, top, _MESSAGE_VERSION) != _V5:
        raise NotUsualError
    rows = scalar("<q", head, at, _ROWS)
    if not 0 <= rows <= 8 * size or table(head, at, _COMPRESSION) is not None or table(head, at, _VARIADIC) is not None:
        raise NotUsualError
    nodes, buffers = structs(_PAIR, head, at, _NODES), structs(_PAIR, head, at, _BUFFERS)
    if any(begin < 0 or length < 0 or begin + length > size for begin, length in buffers):
        raise NotUsualError
    return _Header(rows, nodes, buffers, size, dictionary)


_known_header: Final = lru_cache(maxsize=_KEPT)(_header)


def _texts(octets: bytes, offsets: bytes) -> tuple[str, ...]:
    """Return the texts of a dictionary, from its octets and its int32 offsets."""
    ends = np.frombuffer(offsets, "<i4").astype(np.int64)
    if ends[0] < 0 or ends[-1] > len(octets) or (np.diff(ends) < 0).any():
        raise NotUsualError
    try:
        return tuple(octets[start:end].decode() for start, end in pairwise(ends.tolist()))
    except UnicodeDecodeError as error:
        raise NotUsualError from error


_known_texts: Final = lru_cache(maxsize=_KEPT)(_texts)
