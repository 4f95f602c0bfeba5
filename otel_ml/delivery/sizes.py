"""Splits spans into requests of limited size, by an estimate of what each takes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.util.types import AnyValue

DEFAULT_MAX_REQUEST_BYTES: Final = 3_500_000
"""Below gRPC's 4 MiB, with room for the framing that the estimate leaves out."""
_SPAN_BYTES: Final = 160
"""Ids, times, status, flags and framing of a span."""
_ENTRY_BYTES: Final = 16
"""Framing of an attribute, an array element or a map entry, and a number."""


def split(spans: Sequence[ReadableSpan], max_bytes: int) -> Iterator[Sequence[ReadableSpan]]:
    """Yield runs of spans whose total estimated size stays within ``max_bytes``."""
    start, used = 0, 0
    for position, span in enumerate(spans):
        size = span_bytes(span)
        if position > start and used + size > max_bytes:
            yield spans[start:position]
            start, used = position, 0
        used += size
    if spans:
        yield spans[start:]


def span_bytes(span: ReadableSpan) -> int:
    """Return about how many bytes a span takes in a request, rather too many than too few."""
    size = _SPAN_BYTES + _text_bytes(span.name) + _map_bytes(span.attributes)
    size += sum(_SPAN_BYTES + _text_bytes(event.name) + _map_bytes(event.attributes) for event in span.events)
    size += sum(_SPAN_BYTES + _map_bytes(link.attributes) for link in span.links)
    return size + _text_bytes(span.status.description or "")


def _map_bytes(attributes: Mapping[str, AnyValue] | None) -> int:
    return sum(_text_bytes(key) + _value_bytes(value) for key, value in (attributes or {}).items())


def _value_bytes(value: AnyValue) -> int:
    if isinstance(value, str):
        return _text_bytes(value)
    if isinstance(value, bytes):
        return _ENTRY_BYTES + len(value)
    if isinstance(value, Mapping):
        return _ENTRY_BYTES + _map_bytes(value)
    if isinstance(value, Sequence):
        return _ENTRY_BYTES + sum(map(_value_bytes, value))
    return _ENTRY_BYTES


def _text_bytes(text: str) -> int:
    return _ENTRY_BYTES + (len(text) if text.isascii() else 4 * len(text))
