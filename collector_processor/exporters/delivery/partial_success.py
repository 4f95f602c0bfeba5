"""The number of items that a destination rejected in a request that it answered with success."""

from __future__ import annotations

from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from collector_processor.journal.base import Signal


def rejected_items(signal: Signal, answer: bytes) -> int:
    """Return the number of rejected items in an ``Export…ServiceResponse``; 0 for any other bytes.

    >>> rejected_items("traces", b""), rejected_items("logs", b"<html>")
    (0, 0)
    """
    if not answer:
        return 0
    try:
        if signal == "traces":
            return ExportTraceServiceResponse.FromString(answer).partial_success.rejected_spans
        if signal == "logs":
            return ExportLogsServiceResponse.FromString(answer).partial_success.rejected_log_records
        return ExportMetricsServiceResponse.FromString(answer).partial_success.rejected_data_points
    except DecodeError:
        return 0
