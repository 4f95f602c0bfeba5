"""Receivers on real sockets: each test gets a loop thread and serves what it needs."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, TypeVar

import pytest
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from collector_processor.columns.batch import Decoded, MalformedRequestError
from collector_processor.decode.otlp.from_json import json_to_protobuf_and_repairs
from collector_processor.journal.base import Entry, Signal
from collector_processor.journal.memory import MemoryJournal
from collector_processor.own.metrics import ITEMS
from collector_processor.own.telemetry import Telemetry
from collector_processor.receivers.admission import Admission, Decode
from collector_processor.receivers.otlp.grpc import GrpcReceiver
from collector_processor.receivers.otlp.http import HttpReceiver

_T = TypeVar("_T")
_REQUESTS = {
    "traces": ExportTraceServiceRequest,
    "logs": ExportLogsServiceRequest,
    "metrics": ExportMetricsServiceRequest,
}


def count_items(signal: Signal, body: bytes, received_ns: int) -> Decoded:
    """The least that a decoder does: refuse what is no request, and count."""
    try:
        request = _REQUESTS[signal].FromString(body)
    except DecodeError as error:
        raise MalformedRequestError(f"not an OTLP {signal} request: {error}") from error
    if isinstance(request, ExportTraceServiceRequest):
        items = sum(len(scope.spans) for part in request.resource_spans for scope in part.scope_spans)
    elif isinstance(request, ExportLogsServiceRequest):
        items = sum(len(scope.log_records) for part in request.resource_logs for scope in part.scope_logs)
    else:
        items = sum(len(scope.metrics) for part in request.resource_metrics for scope in part.scope_metrics)
    return Decoded(items=items)


class Service:
    """One gRPC and one HTTP receiver in front of one memory journal, in a thread with its own event loop."""

    def __init__(
        self,
        *,
        decode: Decode = count_items,
        admission: dict[str, Any] | None = None,
        grpc: dict[str, Any] | None = None,
        http: dict[str, Any] | None = None,
    ) -> None:
        self.telemetry = Telemetry()
        self.journal = MemoryJournal(self.telemetry)
        self.journal.subscribe("test", essential=True)
        self.admission = Admission(self.journal, decode, self.telemetry, **(admission or {}))
        self.grpc = GrpcReceiver("127.0.0.1:0", self.admission, **(grpc or {}))
        self.http = HttpReceiver("127.0.0.1:0", self.admission, json_to_protobuf_and_repairs, **(http or {}))
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever)
        self.thread.start()
        self.run(self.grpc.start())
        self.run(self.http.start())
        self.grpc_address = f"127.0.0.1:{self.grpc.port}"
        self.http_address = f"127.0.0.1:{self.http.port}"

    def run(self, work: Coroutine[Any, Any, _T]) -> _T:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(30)

    def received(self) -> list[Entry]:
        return list(self.journal.read("test", limit=10_000, timeout_s=0.0))

    def bodies(self) -> list[bytes]:
        return [entry.request.body for entry in self.received()]

    def counted(self, verb: str, transport: str, signal: Signal = "traces") -> float:
        name = f"otelcol_receiver_{verb}_{ITEMS[signal]}_total"
        return self.telemetry.registry.get_sample_value(name, {"receiver": "otlp", "transport": transport}) or 0.0

    def closed(self, reason: str) -> float:
        labels = {"listener": "receivers.otlp.protocols.http", "reason": reason}
        return self.telemetry.registry.get_sample_value("otel_ml_connections_closed_total", labels) or 0.0

    def close(self) -> None:
        self.run(self.http.stop(0.0))
        self.run(self.grpc.stop(0.0))
        self.admission.close()
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(10)
        self.loop.close()


@pytest.fixture
def serve() -> Iterator[Callable[..., Service]]:
    """Starts a :class:`Service` with the given options; stopped at the end of the test."""
    services: list[Service] = []

    def start(**options: Any) -> Service:
        services.append(Service(**options))
        return services[-1]

    yield start
    for service in services:
        service.close()


@pytest.fixture
def service(serve: Callable[..., Service]) -> Service:
    """A service with all defaults."""
    return serve()
