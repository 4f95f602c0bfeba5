"""From OTLP/JSON to protobuf bytes, which everything behind the receiver uses.

OTLP's JSON is protobuf's JSON mapping except for ids: trace and span ids are hex, in upper or lower case, not base64.
Enums are integers, 64-bit integers are strings or numbers, names are lowerCamelCase (snake_case is read too), and
unknown names are ignored. Refused as malformed: anything but a JSON object, NaN and infinities as bare words, numbers
out of range, an object with the same name twice, values of the wrong type, nesting beyond protobuf's limit.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

from google.protobuf import json_format
from google.protobuf.message import Message
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from collector_processor.columns.batch import MalformedRequestError
from collector_processor.decode.otlp.repair import repaired_text
from collector_processor.own.telemetry import Signal

_IDS: Final = ("traceId", "trace_id", "spanId", "span_id", "parentSpanId", "parent_span_id")
_HEX: Final = re.compile(r"(?:[0-9A-Fa-f]{2})*")
_SURROGATES: Final = re.compile("[\ud800-\udfff]")
_ESCAPED_SURROGATES: Final = re.compile(r"\\u[dD][89a-fA-F]")
_POINTED: Final = ("gauge", "sum", "histogram", "exponentialHistogram", "exponential_histogram")


def json_to_protobuf(signal: Signal, body: bytes) -> bytes:
    r"""Return the request of an OTLP/JSON body, serialized, or raise ``MalformedRequestError`` with a reason.

    Texts with bytes that are not UTF-8, and with halves of surrogate pairs, are repaired
    (:func:`.json_to_protobuf_and_repairs` counts them).

    >>> json_to_protobuf("traces", b'{"resourceSpans": [{"scopeSpans": [{"spans": [{"name": "predict fraud"}]}]}]}')
    b'\n\x13\x12\x11\x12\x0f*\rpredict fraud'
    """
    return json_to_protobuf_and_repairs(signal, body)[0]


def json_to_protobuf_and_repairs(signal: Signal, body: bytes) -> tuple[bytes, int]:
    """Return the same, and the number of texts that had to be repaired."""
    kind, holders = _SIGNALS[signal]
    repairs = 0
    try:
        # Bytes that are not UTF-8 become lone surrogates, like the halves of characters that senders cut in two.
        text = body.decode("utf-8", "surrogateescape")
        request: Any = json.loads(text, object_pairs_hook=_object, parse_constant=_refuse_constant)
        if not isinstance(request, dict):
            raise MalformedRequestError(f"the JSON is not an object, but of type {type(request).__name__}")
        if _SURROGATES.search(text) or _ESCAPED_SURROGATES.search(text):
            repairs = _repair(request)
        for holder in holders(request):
            _ids_to_base64(holder)
        serialized = json_format.ParseDict(request, kind(), ignore_unknown_fields=True).SerializeToString()
        return serialized, repairs
    except MalformedRequestError:
        raise
    except RecursionError as error:
        raise MalformedRequestError("the JSON is nested too deeply") from error
    except (json_format.ParseError, ValueError, TypeError, AttributeError, LookupError, ArithmeticError) as error:
        raise MalformedRequestError(f"not the JSON of an {kind.DESCRIPTOR.name}: {_innermost_reason(error)}") from error


def _repair(value: Any) -> int:
    """Repair the texts of an object or a list in place; return how many.

    A name that is not Unicode is none of OTLP's, so its member is left out, as other unknown names are.
    """
    repairs = 0
    places: Iterable[Any] = list(value) if isinstance(value, dict) else range(len(value))
    for place in places:
        item = value[place]
        if isinstance(place, str) and _SURROGATES.search(place):
            del value[place]
        elif isinstance(item, (dict, list)):
            repairs += _repair(item)
        elif isinstance(item, str) and _SURROGATES.search(item):
            value[place] = repaired_text(item)
            repairs += 1
    return repairs


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise MalformedRequestError(f"a JSON object has the name {twice[:80]!r} twice")
    return members


def _refuse_constant(word: str) -> None:
    raise MalformedRequestError(f'{word} is not JSON; write the double as the string "{word}"')


def _traces(request: dict[str, Any]) -> Iterator[dict[str, Any]]:
    spans = _below(_below(_below([request], "resourceSpans", "resource_spans"), "scopeSpans", "scope_spans"), "spans")
    for span in spans:
        yield span
        yield from _below([span], "links")


def _logs(request: dict[str, Any]) -> Iterator[dict[str, Any]]:
    scopes = _below(_below([request], "resourceLogs", "resource_logs"), "scopeLogs", "scope_logs")
    return _below(scopes, "logRecords", "log_records")


def _metrics(request: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the exemplars, the only part of metrics that has ids."""
    scopes = _below(_below([request], "resourceMetrics", "resource_metrics"), "scopeMetrics", "scope_metrics")
    for metric in _below(scopes, "metrics"):
        parts = [part for name in _POINTED if isinstance(part := metric.get(name), dict)]
        yield from _below(_below(parts, "dataPoints", "data_points"), "exemplars")


def _below(objects: Iterable[dict[str, Any]], *names: str) -> Iterator[dict[str, Any]]:
    """Yield the objects in the lists with these names; protobuf's parser reports anything else."""
    for members in objects:
        for name in names:
            children = members.get(name)
            if isinstance(children, list):
                yield from (child for child in children if isinstance(child, dict))


def _ids_to_base64(holder: dict[str, Any]) -> None:
    for name in _IDS:
        text = holder.get(name)
        if not isinstance(text, str):
            continue
        if not _HEX.fullmatch(text):
            raise MalformedRequestError(f"{name} {text[:40]!r} is not hex")
        holder[name] = base64.b64encode(bytes.fromhex(text)).decode()


def _innermost_reason(error: BaseException) -> str:
    """Return the innermost reason: protobuf adds a prefix for each level."""
    reason = " ".join(str(error).split()).rpartition("Failed to parse ")[2].rstrip(".")
    return reason[:200] or type(error).__name__


_SIGNALS: Final[dict[Signal, tuple[type[Message], Callable[[dict[str, Any]], Iterator[dict[str, Any]]]]]] = {
    "traces": (ExportTraceServiceRequest, _traces),
    "logs": (ExportLogsServiceRequest, _logs),
    "metrics": (ExportMetricsServiceRequest, _metrics),
}
