"""A whole service on real sockets, raw OTLP requests for it, and sinks behind it."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import math
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import requests
import yaml
from google.rpc.status_pb2 import Status
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcSpanExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpSpanExporter
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from prometheus_client.parser import text_string_to_metric_families

from collector_processor.config import parse_config
from collector_processor.service.run import Service
from otel_ml import Model
from support.waiting import wait_until

SERVICES = {
    "traces": "opentelemetry.proto.collector.trace.v1.TraceService",
    "logs": "opentelemetry.proto.collector.logs.v1.LogsService",
    "metrics": "opentelemetry.proto.collector.metrics.v1.MetricsService",
}
RESPONSES: dict[str, Any] = {
    "traces": ExportTraceServiceResponse,
    "logs": ExportLogsServiceResponse,
    "metrics": ExportMetricsServiceResponse,
}
DEADLINE_S = 60.0


def merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """The settings with the changes laid over, mapping by mapping."""
    found = dict(base)
    for key, value in changes.items():
        old = found.get(key)
        found[key] = merged(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return found


def settings(state: Path, changes: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """A configuration on free ports: windows of 2000 rows, references learned from 1000."""
    base = {
        "receivers": {
            "otlp": {"protocols": {"grpc": {"endpoint": "localhost:0"}, "http": {"endpoint": "localhost:0"}}}
        },
        "connectors": {
            "ml_monitor": {
                "window": {"size": "2000 rows", "allowed_lateness": "1s", "min_rows": 100},
                "reference": {"learn": 1000},
                "models": {"fraud": {"positive_class": "fraud", "segments": ["country"]}},
            }
        },
        "exporters": {"prometheus": {"endpoint": "localhost:0"}},
        "extensions": {
            "health_check": {"endpoint": "localhost:0"},
            "file_storage": {"directory": str(state), "interval": "1h"},
        },
        "service": {
            "extensions": ["health_check", "file_storage"],
            "telemetry": {"metrics": {"endpoint": "localhost:0"}},
            "pipelines": {
                "traces": {"receivers": ["otlp"], "exporters": ["ml_monitor"]},
                "logs": {"receivers": ["otlp"], "exporters": ["ml_monitor"]},
                "metrics": {"receivers": ["ml_monitor"], "exporters": ["prometheus"]},
            },
        },
    }
    return merged(base, changes or {})


@dataclass(frozen=True)
class Answer:
    """What the service said: ``code`` is a ``google.rpc.Code`` (0: taken), ``rejected`` the items it could not read."""

    code: int
    message: str = ""
    rejected: int = 0


class Running:
    """A service on a loop of its own, from entering the context to leaving it; leaving drains it."""

    def __init__(self, state: Path, changes: Mapping[str, Any] | None = None) -> None:
        self.service = Service(parse_config(yaml.safe_dump(settings(state, changes))))
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)

    def __enter__(self) -> Running:
        self._thread.start()
        try:
            asyncio.run_coroutine_threadsafe(self.service.start(), self._loop).result(DEADLINE_S)
        except BaseException:
            self._end()
            raise
        self._channel = grpc.insecure_channel(f"localhost:{self.port('grpc')}")
        self._session = requests.Session()
        return self

    def __exit__(self, *_: object) -> None:
        self._channel.close()
        self._session.close()
        drained = asyncio.run_coroutine_threadsafe(self.service.stop(), self._loop).result(2 * DEADLINE_S)
        self._end()
        assert drained, "the statistics were not worked off"

    def _end(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    # --- addresses -------------------------------------------------------------------------------------------
    def port(self, protocol: str) -> int:
        return next(item.port for item in self.service.receivers if protocol in type(item).__name__.lower())

    @property
    def prometheus(self) -> int:
        return next(item.port for item in self.service.exporters if hasattr(item, "port"))  # type: ignore[attr-defined]

    @property
    def own(self) -> int:
        return self.service.own_metrics.port

    def health(self) -> int:
        port = self.service.servers["health_check"].port
        return requests.get(f"http://localhost:{port}/health", timeout=5).status_code

    # --- figures ---------------------------------------------------------------------------------------------
    def samples(self, port: int) -> list[tuple[str, Mapping[str, str], float]]:
        text = requests.get(f"http://localhost:{port}/metrics", timeout=5).text
        families = text_string_to_metric_families(text)
        return [(sample.name, sample.labels, sample.value) for family in families for sample in family.samples]

    def value(self, name: str, port: int | None = None, **labels: str) -> float | None:
        """The sum of the samples with these labels; those of segments only when asked for."""
        found = [
            value
            for sample, attached, value in self.samples(port or self.prometheus)
            if sample == name
            and labels.items() <= attached.items()
            and ("ml_segment_name" in labels or "ml_segment_name" not in attached)
        ]
        return sum(found) if found else None

    def counted(self, name: str, **labels: str) -> float:
        """One of the service's own metrics, as its own port has it; 0 where there is none yet."""
        return self.value(name, self.own, **labels) or 0.0

    def wait(self, condition: Callable[[], object], timeout_s: float = DEADLINE_S) -> None:
        wait_until(condition, timeout_s)

    # --- raw requests ----------------------------------------------------------------------------------------
    def send(self, protocol: str, signal: str, body: bytes, *, compressed: bool = False) -> Answer:
        """Sends bytes as a request and returns what became of it, whatever the protocol; ``compressed`` says gzip."""
        return (self._send_grpc if protocol == "grpc" else self._send_http)(signal, body, compressed)

    def _send_grpc(self, signal: str, body: bytes, compressed: bool) -> Answer:
        call = self._channel.unary_unary(f"/{SERVICES[signal]}/Export")
        coding = grpc.Compression.Gzip if compressed else grpc.Compression.NoCompression
        try:
            answer = call(body, timeout=DEADLINE_S, compression=coding)
        except grpc.RpcError as error:
            return Answer(error.code().value[0], error.details() or "")
        return _taken(signal, answer)

    def _send_http(self, signal: str, body: bytes, compressed: bool) -> Answer:
        headers = {"Content-Type": "application/x-protobuf"}
        if compressed:
            body, headers["Content-Encoding"] = gzip.compress(body), "gzip"
        url = f"http://localhost:{self.port('http')}/v1/{signal}"
        answer = self._session.post(url, body, headers=headers, timeout=DEADLINE_S)
        if answer.status_code == 200:
            return _taken(signal, answer.content)
        status = Status.FromString(answer.content)
        return Answer(status.code, status.message)


def _taken(signal: str, answer: bytes) -> Answer:
    partial = RESPONSES[signal].FromString(answer).partial_success
    rejected = next(value for field, value in _fields(partial) if field.startswith("rejected"))
    return Answer(0, partial.error_message, rejected)


def _fields(message: Any) -> Iterator[tuple[str, Any]]:
    for field in message.DESCRIPTOR.fields:
        yield field.name, getattr(message, field.name)


def any_value(value: object) -> AnyValue:
    """The OTLP form of a Python value; what is one already stays."""
    if isinstance(value, AnyValue):
        return value
    if isinstance(value, bool):
        return AnyValue(bool_value=value)
    if isinstance(value, int):
        return AnyValue(int_value=value)
    if isinstance(value, float):
        return AnyValue(double_value=value)
    if isinstance(value, bytes):
        return AnyValue(bytes_value=value)
    return AnyValue(string_value=str(value))


class Otlp:
    """OTLP requests made by hand, so that they may be as wrong as one likes."""

    @staticmethod
    def span(name: str, attributes: Mapping[str, object], number: int = 0, **fields: Any) -> Span:
        """A span of one millisecond, now."""
        start_ns = fields.pop("start_time_unix_nano", time.time_ns())
        return Span(
            name=name,
            trace_id=(number + 1).to_bytes(16, "big"),
            span_id=(number + 1).to_bytes(8, "big"),
            start_time_unix_nano=start_ns,
            end_time_unix_nano=fields.pop("end_time_unix_nano", start_ns + 1_000_000),
            attributes=[KeyValue(key=key, value=any_value(value)) for key, value in attributes.items()],
            **fields,
        )

    @staticmethod
    def request(spans: Sequence[Span]) -> bytes:
        """The bytes of a request of these spans."""
        return ExportTraceServiceRequest(
            resource_spans=[ResourceSpans(resource=Resource(), scope_spans=[ScopeSpans(spans=spans)])]
        ).SerializeToString()

    @classmethod
    def prediction(cls, model: str, attributes: Mapping[str, object], number: int = 0, **fields: Any) -> Span:
        """A prediction of a model."""
        return cls.span(f"predict {model}", {"ml.model.name": model, **attributes}, number, **fields)

    @classmethod
    def label(cls, model: str, id: str, attributes: Mapping[str, object], **fields: Any) -> Span:
        """A label of a model."""
        return cls.span(f"label {model}", {"ml.model.name": model, "ml.prediction.id": id, **attributes}, **fields)


class Healthy:
    """A well-behaved model beside whatever else goes on: windows of 200 rows whose figures are known in advance."""

    ROWS = 200
    SETTINGS: Mapping[str, Any] = {
        "window": {"size": f"{ROWS} rows", "min_rows": 100},
        "positive_class": "yes",
        "segments": ["half"],
    }

    def __init__(self, running: Running) -> None:
        self._running = running
        self._round = 0

    def check(self, protocol: str = "grpc") -> None:
        """Sends one window and its labels, all but the last row's, and expects exactly the figures that they have."""
        self._round += 1
        running, rows, wrong = self._running, self.ROWS, 1 + self._round % 150
        ids = [f"{self._round}/{row}" for row in range(rows)]
        predictions = [self._prediction(ids[row], row) for row in range(rows)]
        truth = ["yes" if (row >= rows // 2) != (row < wrong) else "no" for row in range(rows - 1)]
        labels = [Otlp.label("healthy", ids[row], {"ml.label.class": truth[row]}) for row in range(rows - 1)]
        for spans in (predictions[:-1], labels, predictions[-1:]):
            assert running.send(protocol, "traces", Otlp.request(spans)) == Answer(0)

        expected = sum((row >= rows // 2) == (said == "yes") for row, said in enumerate(truth)) / (rows - 1)
        model = {"ml_model_name": "healthy"}
        running.wait(lambda: _near(running.value("ml_performance_accuracy_ratio", **model), expected))
        assert running.value("ml_window_rows", **model) == rows
        assert running.value("ml_window_labels", **model) == rows - 1
        assert running.value("ml_window_rows", **model, ml_segment_name="half", ml_segment_value="upper") == rows // 2
        assert running.value("ml_quality_missing_ratio", **model, ml_feature_name="amount") == 0.1
        assert running.value("ml_quality_out_of_range_ratio", **model, ml_feature_name="amount") == 0.0
        assert running.value("ml_drift_score", **model, ml_feature_name="amount", ml_drift_method="ks") == 0.0
        assert running.value("ml_drift_score", **model, ml_feature_name="plan", ml_drift_method="psi") == 0.0
        assert running.value("ml_predictions_total", **model) == rows * self._round
        assert running.health() == 200

    def _prediction(self, id: str, row: int) -> Span:
        attributes: dict[str, object] = {
            "ml.prediction.id": id,
            "ml.prediction.class": "yes" if row >= self.ROWS // 2 else "no",
            "ml.prediction.score": (row + 0.5) / self.ROWS,
            "ml.feature.plan": ("basic", "pro", "max")[row % 3],
            "ml.segment.half": "upper" if row >= self.ROWS // 2 else "lower",
        }
        if row % 10:
            attributes["ml.feature.amount"] = float(row)
        return Otlp.prediction("healthy", attributes, row)


def _near(value: float | None, expected: float) -> bool:
    return value is not None and math.isclose(value, expected, abs_tol=1e-12)


@contextlib.contextmanager
def sdk_model(running: Running, protocol: str = "grpc") -> Iterator[Model]:
    """A model whose spans go to the service through the real SDK and exporter."""
    provider = TracerProvider()
    if protocol == "grpc":
        exporter = GrpcSpanExporter(endpoint=f"localhost:{running.port('grpc')}", insecure=True)
    else:
        exporter = HttpSpanExporter(endpoint=f"http://localhost:{running.port('http')}/v1/traces")
    provider.add_span_processor(BatchSpanProcessor(exporter, max_queue_size=50_000))
    yield Model("fraud", version="1", task="binary_classification", positive_class="fraud", tracer_provider=provider)
    provider.force_flush()
    provider.shutdown()


def send_rows(model: Model, rows: int, shift: float = 0.0, seed: int = 0) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Predictions one by one with a score, and the truth: ids, predicted and true classes."""
    rng = np.random.default_rng(seed)
    amount = rng.normal(100.0 + 50.0 * shift, 20.0, rows)
    score = np.clip(rng.beta(2, 5, rows), 0.001, 0.999)
    truth = np.where(rng.random(rows) < score, "fraud", "ok")
    predicted = np.where(score > 0.5, "fraud", "ok")
    countries = rng.choice(["DE", "FR"], rows)
    ids: list[str] = []
    for row in range(rows):
        features = {"amount": float(amount[row]), "country": str(countries[row])}
        with model.predict(features, segments={"country": str(countries[row])}) as prediction:
            prediction.record(score=float(score[row]), class_=str(predicted[row]))
        ids.append(str(prediction.id))
    return ids, predicted, truth


@pytest.fixture(scope="session")
def otlp() -> type[Otlp]:
    """Makes raw requests."""
    return Otlp


@pytest.fixture(scope="session")
def healthy_model() -> type[Healthy]:
    """The class of the model that must not suffer."""
    return Healthy


@pytest.fixture(scope="session")
def service_type() -> type[Running]:
    """The class of running services, for fixtures that live longer than a test."""
    return Running


@pytest.fixture(scope="session")
def service_settings() -> Callable[..., dict[str, Any]]:
    """Configurations, for services in processes of their own."""
    return settings


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., Running]:
    """Makes a service, to be entered as a context: ``run({"connectors": …}, size=…, every=…)``; its state stays."""

    def make(changes: Mapping[str, Any] | None = None, *, size: str = "2000 rows", every: str | None = None) -> Running:
        window = {"size": size, **({"every": every} if every else {})}
        return Running(tmp_path / "state", merged({"connectors": {"ml_monitor": {"window": window}}}, changes or {}))

    return make


@pytest.fixture(scope="session")
def sender() -> Callable[..., contextlib.AbstractContextManager[Model]]:
    """Makes a model whose spans go to a service through the real SDK: ``with sender(running, "http") as model``."""
    return sdk_model


@pytest.fixture(scope="session")
def send() -> Callable[..., tuple[list[str], np.ndarray, np.ndarray]]:
    """Sends predictions one by one: ``ids, predicted, truth = send(model, rows, shift=…, seed=…)``."""
    return send_rows
