"""Lets the SDK's console exporter print batches: it fails on bytes, and with them on everything that it prints."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final

import wrapt

from otel_ml.semconv import BATCH

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan

_hooked: list[bool] = []
_HINTS: Final = {BATCH: " (OTEL_TRACES_EXPORTER=otel_ml_console shows the rows)"}


def print_batches() -> None:
    """Print the number of bytes in place of bytes from now on, where the SDK's console exporter is used."""
    if not _hooked:
        _hooked.append(True)
        wrapt.register_post_import_hook(_replace, "opentelemetry.sdk.trace.export")


def _replace(module: ModuleType) -> None:
    wrapt.wrap_function_wrapper(module, "ConsoleSpanExporter.export", _export)


def _export(export: Callable[..., Any], _exporter: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    spans: Sequence[ReadableSpan] = args[0] if args else kwargs["spans"]
    return export([printable(span) for span in spans])


def printable(span: ReadableSpan) -> ReadableSpan:
    """Return the span itself, or a copy in which every attribute has a form in JSON."""
    attributes = span.attributes or {}
    if not any(isinstance(value, bytes) for value in attributes.values()):
        return span
    from otel_ml.delivery.copies import copy_of

    return copy_of(
        span,
        attributes={
            key: f"{len(value)} bytes{_HINTS.get(key, '')}" if isinstance(value, bytes) else value
            for key, value in attributes.items()
        },
    )
