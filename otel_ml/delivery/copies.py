"""Copies of finished spans, which cannot be changed; imported only where the SDK is installed."""

from __future__ import annotations

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanContext
from opentelemetry.util.types import Attributes


def copy_of(span: ReadableSpan, *, context: SpanContext | None = None, attributes: Attributes = None) -> ReadableSpan:
    """Return a copy of a span with another context, or with other attributes.

    >>> dict(copy_of(ReadableSpan("predict"), attributes={"rows": 3}).attributes or {})
    {'rows': 3}
    """
    return ReadableSpan(
        span.name,
        span.context if context is None else context,
        span.parent,
        span.resource,
        span.attributes if attributes is None else attributes,
        span.events,
        span.links,
        span.kind,
        status=span.status,
        start_time=span.start_time,
        end_time=span.end_time,
        instrumentation_scope=span.instrumentation_scope,
    )
