"""The balancer of deploy/kubernetes/replicas, as it is: each model's spans and log records on one replica."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import yaml
from opentelemetry import trace
from opentelemetry._logs import LogRecord
from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from stack import ROOT, Service, Stack, free_port

from otel_ml import Model

MODELS = tuple(f"model-{number}" for number in range(40))
"""So many that each replica has some, whatever ports they listen on: of twelve, one replica had none in a run."""
CALLS = 20


@contextmanager
def tracing(port: int) -> Iterator[TracerProvider]:
    provider = TracerProvider()
    exporter = OTLPSpanExporter(endpoint=f"localhost:{port}", insecure=True)
    provider.add_span_processor(BatchSpanProcessor(exporter, max_queue_size=100_000))
    yield provider
    assert provider.force_flush(60_000)
    provider.shutdown()


def send_labels(port: int, labels: list[tuple[str, str]]) -> None:
    """Labels as log records, as a job in another language sends them."""
    provider = LoggerProvider()
    provider.add_log_record_processor(
        BatchLogRecordProcessor(OTLPLogExporter(endpoint=f"localhost:{port}", insecure=True), max_queue_size=100_000)
    )
    logger = provider.get_logger("labels")
    for model, id in labels:
        attributes = {"ml.model.name": model, "ml.prediction.id": id, "ml.label.class": "yes"}
        logger.emit(LogRecord(event_name="ml.label", attributes=attributes, severity_number=None))
    assert provider.force_flush(60_000)
    provider.shutdown()


def models_of(service: Service) -> dict[str, float]:
    """Predictions decoded, by model."""
    return {
        labels["model"]: value
        for name, labels, value in service.samples(service.own)
        if name == "otel_ml_rows_total" and value
    }


def test_models_that_share_a_trace_go_to_their_own_replicas_and_labels_follow(stack: Stack) -> None:
    replicas = [stack.service() for _ in range(3)]
    settings = yaml.safe_load((ROOT / "deploy/kubernetes/replicas/collector.yaml").read_text(encoding="utf-8"))
    front = free_port()
    settings["receivers"]["otlp"]["protocols"] = {"grpc": {"endpoint": f"localhost:{front}"}}
    settings["extensions"]["health_check"]["endpoint"] = f"localhost:{free_port()}"
    hosts = settings["exporters"]["load_balancing"]["resolver"]["static"]["hostnames"]
    assert len(hosts) == len(replicas)
    hosts[:] = [f"localhost:{replica.grpc}" for replica in replicas]
    collector = stack.collector(settings)

    labels: list[tuple[str, str]] = []
    with tracing(front) as provider:
        tracer = provider.get_tracer("web")
        models = [
            Model(name, version="1", task="binary_classification", positive_class="yes", tracer_provider=provider)
            for name in MODELS
        ]
        for _ in range(CALLS):
            # One request of a web app asks all models: its own span is no prediction, and they share a trace.
            with tracer.start_as_current_span("GET /", kind=trace.SpanKind.SERVER):
                for name, model in zip(MODELS, models, strict=True):
                    with model.predict({"amount": 1.0}) as prediction:
                        prediction.record(score=0.9, class_="yes")
                    labels.append((name, prediction.id))

    total = len(MODELS) * CALLS
    collector.wait(lambda: sum(replica.counted("otel_ml_rows_total") for replica in replicas) == total)
    found = [models_of(replica) for replica in replicas]
    assert all(found), "every replica has some"
    assert {name: value for models in found for name, value in models.items()} == {
        f"{name}@1": float(CALLS) for name in MODELS
    }
    assert sum(replica.counted("otelcol_receiver_accepted_spans_total") for replica in replicas) == total

    send_labels(front, labels)
    # Counted under the model's name alone; nothing is joined before a reference is learned.
    collector.wait(lambda: sum(replica.counted("otel_ml_labels_total") for replica in replicas) == total)
    for replica, models in zip(replicas, found, strict=True):
        for name in models:
            assert replica.counted("otel_ml_labels_total", model=name.removesuffix("@1")) == CALLS
