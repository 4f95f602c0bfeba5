"""Answers to a sender: OTLP responses and ``google.rpc.Status``, as protobuf or JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

from google.protobuf.duration_pb2 import Duration
from google.protobuf.json_format import MessageToJson
from google.protobuf.message import Message
from google.rpc import code_pb2
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsPartialSuccess,
    ExportLogsServiceResponse,
)
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsPartialSuccess,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTracePartialSuccess,
    ExportTraceServiceResponse,
)

from collector_processor.journal.base import Signal
from collector_processor.receivers.admission import Outcome, Verdict

ContentType = Literal["application/x-protobuf", "application/json"]
CONTENT_TYPES: Final[Mapping[str, ContentType]] = {
    "application/x-protobuf": "application/x-protobuf",
    "application/json": "application/json",
}
CODES: Final[Mapping[Verdict, int]] = {
    "malformed": code_pb2.INVALID_ARGUMENT,
    "too_large": code_pb2.RESOURCE_EXHAUSTED,
    "timed_out": code_pb2.DEADLINE_EXCEEDED,
    "busy": code_pb2.UNAVAILABLE,
    "failed": code_pb2.INTERNAL,
}
"""``google.rpc.Code`` of each verdict that is not a success."""
_MAX_MESSAGE_BYTES: Final = 1024
"""gRPC sends it twice in headers, percent-encoded and in base64, and clients accept 8 KiB of headers."""


def succeeded(outcome: Outcome) -> bool:
    """Return whether the request was accepted, wholly or partly."""
    return outcome.verdict in ("accepted", "partial")


def success(signal: Signal, outcome: Outcome) -> Message:
    """Return the signal's ``Export…ServiceResponse``; ``partial_success`` is set only when items were rejected.

    >>> success("traces", Outcome("partial", "no model name", rejected=2)).partial_success.rejected_spans
    2
    >>> success("logs", Outcome("accepted")).SerializeToString()
    b''
    """
    partial, rejected, message = outcome.verdict == "partial", outcome.rejected, short(outcome.message)
    if signal == "traces":
        spans = ExportTracePartialSuccess(rejected_spans=rejected, error_message=message)
        return ExportTraceServiceResponse(partial_success=spans if partial else None)
    if signal == "logs":
        records = ExportLogsPartialSuccess(rejected_log_records=rejected, error_message=message)
        return ExportLogsServiceResponse(partial_success=records if partial else None)
    points = ExportMetricsPartialSuccess(rejected_data_points=rejected, error_message=message)
    return ExportMetricsServiceResponse(partial_success=points if partial else None)


def retry_info(delay_s: float) -> RetryInfo:
    """Return how long to wait before sending again.

    >>> retry_info(1.5).retry_delay.ToJsonString()
    '1.500s'
    """
    delay = Duration()
    delay.FromNanoseconds(round(delay_s * 1e9))
    return RetryInfo(retry_delay=delay)


def status(code: int, message: str, retry_after_s: float | None = None) -> Status:
    """Return a ``google.rpc.Status``, with RetryInfo if the sender should retry."""
    answer = Status(code=code, message=short(message))
    if retry_after_s is not None:
        answer.details.add().Pack(retry_info(retry_after_s))
    return answer


def content_type_of(header: str) -> ContentType | None:
    """Return the content type of a request; None if it is not one of OTLP's.

    >>> content_type_of("Application/JSON; charset=utf-8")
    'application/json'
    """
    return CONTENT_TYPES.get(header.partition(";")[0].strip().lower())


def answer_type(header: str) -> ContentType:
    """Return the content type of an answer: that of the request, or JSON if it has another one."""
    return content_type_of(header) or "application/json"


def encode(message: Message, content_type: ContentType) -> bytes:
    """Return the bytes of an answer.

    >>> encode(status(3, "bad"), "application/json")
    b'{"code": 3, "message": "bad"}'
    """
    if content_type == "application/x-protobuf":
        return message.SerializeToString()
    return MessageToJson(message, indent=None, ensure_ascii=False).encode()


def short(message: str) -> str:
    r"""Return the message in a form fit for the wire: valid Unicode of bounded length.

    >>> short("é\ud800" + "é" * 2000) == "é?" + "é" * 510
    True
    """
    return message.encode("utf-8", "replace")[:_MAX_MESSAGE_BYTES].decode("utf-8", "ignore")
