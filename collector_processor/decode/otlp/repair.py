"""Replace what is not Unicode in the texts of a request: one cut text must not cost the batch it came in.

Protobuf's parser refuses a whole message for one text that is not valid UTF-8. Here the same schemas are read with
bytes in place of every text: names, keys, values at any depth, schema URLs.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from typing import Any, Final

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError, Message
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2
from opentelemetry.proto.common.v1 import common_pb2
from opentelemetry.proto.logs.v1 import logs_pb2
from opentelemetry.proto.metrics.v1 import metrics_pb2
from opentelemetry.proto.resource.v1 import resource_pb2
from opentelemetry.proto.trace.v1 import trace_pb2

from collector_processor.own.telemetry import Signal

_FILES: Final = (
    common_pb2, resource_pb2, trace_pb2, logs_pb2, metrics_pb2, trace_service_pb2, logs_service_pb2,
    metrics_service_pb2,
)  # fmt: skip
_NAMES: Final[dict[Signal, str]] = {
    "traces": "opentelemetry.proto.collector.trace.v1.ExportTraceServiceRequest",
    "logs": "opentelemetry.proto.collector.logs.v1.ExportLogsServiceRequest",
    "metrics": "opentelemetry.proto.collector.metrics.v1.ExportMetricsServiceRequest",
}
_TEXT: Final = descriptor_pb2.FieldDescriptorProto.TYPE_STRING
_OCTETS: Final = descriptor_pb2.FieldDescriptorProto.TYPE_BYTES
_ESCAPED: Final = re.compile("[\udc80-\udcff]+")
_SURROGATES: Final = re.compile("[\ud800-\udfff]")


def repaired(signal: Signal, body: bytes) -> tuple[bytes, int]:
    r"""Return a serialized request with U+FFFD in place of what is not UTF-8, and how many texts have been changed.

    The count is 0 if nothing else is wrong with the texts, or if the bytes are not such a request at all.

    >>> repaired("traces", b"\n\x06\x1a\x04a\xffbc")
    (b'\n\x08\x1a\x06a\xef\xbf\xbdbc', 1)
    """
    kinds, texts = _schemas()
    try:
        message = kinds[signal].FromString(body)
        count = _repair(message, texts)
    except (DecodeError, RecursionError):
        return body, 0
    return (message.SerializeToString(), count) if count else (body, 0)


def repaired_text(text: str) -> str:
    r"""Return a text with U+FFFD in place of lone surrogates, and of bytes that ``surrogateescape`` let through.

    >>> repaired_text("a\ud83d, b\udcff") == "a\ufffd, b\ufffd"
    True
    """
    return _SURROGATES.sub("\ufffd", _ESCAPED.sub(_as_utf8, text))


def _as_utf8(escaped: re.Match[str]) -> str:
    return escaped[0].encode("ascii", "surrogateescape").decode("utf-8", "replace")


def _repair(message: Message, texts: frozenset[str]) -> int:
    count = 0
    fields: Sequence[tuple[Any, Any]] = message.ListFields()
    for field, value in fields:
        several = field.is_repeated
        if field.message_type is not None:
            count += sum(_repair(each, texts) for each in (value if several else (value,)))
        elif field.full_name in texts:
            octets: list[bytes] = list(value) if several else [value]
            good = [each.decode("utf-8", "replace").encode() for each in octets]
            changed = sum(before != after for before, after in zip(octets, good, strict=True))
            if changed and several:
                value[:] = good
            elif changed:
                setattr(message, field.name, good[0])
            count += changed
    return count


@cache
def _schemas() -> tuple[dict[Signal, type[Message]], frozenset[str]]:
    """Return the classes of the requests with bytes for texts, and the full names of these fields."""
    pool = descriptor_pool.DescriptorPool()
    texts: set[str] = set()
    for module in _FILES:
        file = descriptor_pb2.FileDescriptorProto.FromString(module.DESCRIPTOR.serialized_pb)
        for message in file.message_type:
            _texts_to_octets(message, f"{file.package}.{message.name}", texts)
        pool.Add(file)
    kinds: dict[Signal, type[Message]] = {
        signal: message_factory.GetMessageClass(pool.FindMessageTypeByName(name)) for signal, name in _NAMES.items()
    }
    return kinds, frozenset(texts)


def _texts_to_octets(message: descriptor_pb2.DescriptorProto, name: str, texts: set[str]) -> None:
    for field in message.field:
        if field.type == _TEXT:
            field.type = _OCTETS
            texts.add(f"{name}.{field.name}")
    for nested in message.nested_type:
        _texts_to_octets(nested, f"{name}.{nested.name}", texts)
