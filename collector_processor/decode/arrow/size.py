"""The unpacked size of an Arrow stream, read from its headers before anything is unpacked.

Compressed buffers state their unpacked length in their first eight bytes; Arrow's reader allocates that much at once,
so a few kilobytes could request any amount of memory. This walk over the messages' flatbuffers adds up those lengths.
Layouts: Arrow's ``Message.fbs``; flatbuffers' internals. Positions come from the sender, so every read is checked.
"""

from __future__ import annotations

import struct
from typing import Any, Final, TypeAlias

import pyarrow as pa

from collector_processor.decode.rules.cells import UnreadableError
from otel_ml import semconv

Message: TypeAlias = Any
"""``pyarrow.ipc.Message``; pyarrow ships no types."""

_RECORD_BATCH: Final = "record batch"
_DICTIONARY: Final = "dictionary"
_MESSAGE_HEADER: Final = 2
_DICTIONARY_BATCH: Final = 1
_BATCH_BUFFERS, _BATCH_COMPRESSION = 2, 3
_I64: Final = 8
_BUFFER: Final = struct.Struct("<qq")
"""``Buffer``: offset in the body, length."""


def unpacked_size(stream: bytes | memoryview, longest: int, messages: int) -> int:
    """Return the bytes that all batches and dictionaries of a stream take when unpacked, at most ``longest``.

    Raises :class:`UnreadableError` beyond ``longest`` bytes or ``messages`` messages, and pyarrow's errors if the
    stream is truncated or not a stream.
    """
    size = 0
    reader = pa.ipc.MessageReader.open_stream(pa.BufferReader(stream))
    for count in range(messages + 1):
        try:
            message = reader.read_next_message()
        except StopIteration:
            return size
        if count == messages:
            break
        if message.type in (_RECORD_BATCH, _DICTIONARY):
            size += _message_size(message)
        if size > longest:
            raise UnreadableError(
                f"{semconv.BATCH}: unpacked, it would take more than the {longest} bytes left for the request"
            )
    raise UnreadableError(f"{semconv.BATCH}: it has more than {messages} messages")


def _message_size(message: Message) -> int:
    """Return the unpacked bytes of the body of a batch or dictionary."""
    head, body = memoryview(message.metadata), memoryview(message.body or b"")
    try:
        batch = _table(head, _root(head), _MESSAGE_HEADER)
        if batch is not None and message.type == _DICTIONARY:
            batch = _table(head, batch, _DICTIONARY_BATCH)
        if batch is None:
            raise UnreadableError(f"{semconv.BATCH}: a message has no header")
        if _table(head, batch, _BATCH_COMPRESSION) is None:
            return len(body)
        return sum(_buffer_size(body, *buffer) for buffer in _buffers(head, batch))
    except struct.error as error:
        raise UnreadableError(f"{semconv.BATCH}: a header points outside its message") from error


def _buffer_size(body: memoryview, offset: int, length: int) -> int:
    if length < _I64:
        return max(length, 0)
    unpacked = _read("<q", body, offset)
    if unpacked < -1:
        raise UnreadableError(f"{semconv.BATCH}: a compressed buffer states a size of {unpacked} bytes")
    return length - _I64 if unpacked == -1 else unpacked  # −1: this buffer is not compressed


def _buffers(head: memoryview, batch: int) -> list[tuple[int, int]]:
    start = _table(head, batch, _BATCH_BUFFERS)
    if start is None:
        return []
    count = _read("<I", head, start)
    first, last = start + 4, start + 4 + count * _BUFFER.size
    if last > len(head):
        raise UnreadableError(f"{semconv.BATCH}: a header points outside its message")
    return list(_BUFFER.iter_unpack(head[first:last]))


def _root(head: memoryview) -> int:
    return _read("<I", head, 0)


def _table(head: memoryview, table: int, field: int) -> int | None:
    """Return the position of the table or vector that a field of a table refers to; None if the field is absent."""
    vtable = table - _read("<i", head, table)
    at = 4 + 2 * field
    if at + 2 > _read("<H", head, vtable):
        return None
    offset = _read("<H", head, vtable + at)
    if not offset:
        return None
    return table + offset + _read("<I", head, table + offset)


def _read(layout: str, octets: memoryview, at: int) -> int:
    if at < 0:  # struct would count from the end
        raise struct.error
    return struct.unpack_from(layout, octets, at)[0]
