"""Keeps every request of the SDK's OTLP exporters below the limit of a receiver, without a setting.

The SDK's batch processor puts up to 512 spans into one request. Batches of predictions are larger than ordinary spans:
46 calls of 10,000 rows made one request of 127 MB, and a gRPC receiver refuses more than 4 MiB. So ``export`` of the
OTLP span exporters is replaced where they are imported: spans of this package are split into several requests, and
requests without such spans pass untouched.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from time import monotonic
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakKeyDictionary, WeakSet

import wrapt

from otel_ml.delivery.sizes import DEFAULT_MAX_REQUEST_BYTES, split
from otel_ml.semconv import INSTRUMENTATION_SCOPE

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

_logger = logging.getLogger("otel_ml")

_MODULES: Final = (
    "opentelemetry.exporter.otlp.proto.grpc.trace_exporter",
    "opentelemetry.exporter.otlp.proto.http.trace_exporter",
)
_HOPELESS_S: Final = 10.0
"""Time that requests in a row may spend on failing, retries included, before the rest of an export is dropped: about
what the exporters spend on one request."""


class Receiver:
    """What is known about the receivers of one process: when one last took a request, and whether to keep trying."""

    def __init__(self) -> None:
        self.last_success = 0.0
        self.failing_s: WeakKeyDictionary[object, float] = WeakKeyDictionary()
        """Seconds that requests in a row have spent on failing, by exporter: they may send to different receivers."""
        self.exiting = False
        self.abandoned = False
        self.exporters: WeakSet[SpanExporter] = WeakSet()

    def took(self, exporter: object) -> None:
        """Note a request that was delivered."""
        self.last_success = monotonic()
        self.failing_s.pop(exporter, None)

    def failed(self, exporter: object, duration_s: float) -> None:
        """Note a request that was not delivered, after all retries."""
        self.failing_s[exporter] = self.failing_s.get(exporter, 0.0) + duration_s

    def hopeless(self, exporter: object) -> bool:
        """Return whether further requests of an exporter would only hold up the application."""
        return self.abandoned or self.failing_s.get(exporter, 0.0) > (0 if self.exiting else _HOPELESS_S)

    def abandon(self) -> None:
        """Stop sending: abort the request in flight, and drop what follows."""
        self.abandoned = True
        for exporter in list(self.exporters):
            exporter.shutdown()


receiver = Receiver()


def export_in_parts(
    exporter: object,
    export: Callable[[Sequence[ReadableSpan]], SpanExportResult],
    spans: Sequence[ReadableSpan],
    max_bytes: int,
) -> SpanExportResult:
    """Send spans in requests of at most about ``max_bytes``, in order; a span that exceeds it is sent alone.

    The result is a failure if any request failed; the others are still sent, unless the receiver does not answer.
    """
    from opentelemetry.sdk.trace.export import SpanExportResult

    result, delivered = SpanExportResult.SUCCESS, 0
    if not receiver.abandoned and not receiver.exiting:
        receiver.failing_s.pop(exporter, None)  # a new batch, some seconds later: try again
    for request in split(spans, max_bytes):
        if receiver.hopeless(exporter):
            _logger.warning("the receiver does not answer; %d of %d spans are lost", len(spans) - delivered, len(spans))
            return SpanExportResult.FAILURE
        started = monotonic()
        if export(request) is SpanExportResult.SUCCESS:
            receiver.took(exporter)
            delivered += len(request)
        else:
            receiver.failed(exporter, monotonic() - started)
            result = SpanExportResult.FAILURE
    return result


def limit_requests() -> None:
    """Split the requests of the OTLP span exporters from now on, those that exist and those made later."""
    with _lock:
        for module in _MODULES:
            if module not in _limited:
                _limited.add(module)
                wrapt.register_post_import_hook(_limit, module)


_lock = threading.Lock()
_limited: set[str] = set()


def _limit(module: ModuleType) -> None:
    wrapt.wrap_function_wrapper(module, "OTLPSpanExporter.export", _export)


def _export(
    export: Callable[..., SpanExportResult], exporter: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> SpanExportResult:
    spans: Sequence[ReadableSpan] = args[0] if args else kwargs["spans"]
    if not any(_is_ours(span) for span in spans):
        return export(*args, **kwargs)
    receiver.exporters.add(exporter)
    return export_in_parts(exporter, export, spans, DEFAULT_MAX_REQUEST_BYTES)


def _is_ours(span: ReadableSpan) -> bool:
    scope = span.instrumentation_scope
    return scope is not None and scope.name == INSTRUMENTATION_SCOPE
