"""From a breach to the predictions that caused it: exemplars in Prometheus and a Collector, their traces in Jaeger."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import requests
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from stack import Jaeger, Prometheus, Stack, free_port
from traffic import SERVICE_NAME, Rows, build_reference, make_rows, model, send_rows

from support.sink import Sink, listening
from support.waiting import wait_until

WINDOW = 500


def with_new_country(rows: Rows) -> Rows:
    """A quarter of the rows come from a country that the reference does not have."""
    new = np.arange(len(rows)) % 4 == 0
    return Rows(rows.amount, np.where(new, "XX", rows.country), rows.score, rows.predicted, rows.truth)


def tags(jaeger: Jaeger, trace: str, span: str) -> dict[str, Any]:
    """The attributes of a span that Jaeger has stored."""
    answer = requests.get(f"http://localhost:{jaeger.query}/api/traces/{trace}", timeout=10).json()
    [found] = [each for one in answer["data"] for each in one["spans"] if each["spanID"] == span]
    return {tag["key"]: tag["value"] for tag in found["tags"]}


def of_prometheus(prometheus: Prometheus, query: str) -> list[dict[str, str]]:
    now = time.time()
    found = prometheus.get("query_exemplars", query=query, start=str(now - 600), end=str(now + 60))
    return [each["labels"] for series in found for each in series["exemplars"]]


def of_collector(sink: Sink, metric: str, feature: str) -> list[tuple[str, str]]:
    """Trace and span ids of a data point that a Collector passed on."""
    return [
        (exemplar.trace_id.hex(), exemplar.span_id.hex())
        for body in sink.bodies.get("/v1/metrics", ())
        for resource in ExportMetricsServiceRequest.FromString(body).resource_metrics
        for scope in resource.scope_metrics
        for found in scope.metrics
        if found.name == metric
        for point in found.gauge.data_points
        if any(pair.value.string_value == feature for pair in point.attributes)
        for exemplar in point.exemplars
    ]


def test_a_breach_leads_to_the_traces_of_predictions_that_caused_it(stack: Stack, tmp_path: Path) -> None:
    with listening() as sink:
        follow(stack, sink, tmp_path)


def follow(stack: Stack, sink: Sink, tmp_path: Path) -> None:
    jaeger, metrics_at = stack.jaeger(), free_port()
    stack.collector(
        {
            "receivers": {"otlp": {"protocols": {"grpc": {"endpoint": f"localhost:{metrics_at}"}}}},
            "exporters": {"otlp_http": {"endpoint": sink.endpoint}},
            "service": {"pipelines": {"metrics": {"receivers": ["otlp"], "exporters": ["otlp_http"]}}},
        }
    )
    profile = build_reference(make_rows(2_000, seed=1), tmp_path / "fraud.json")
    service = stack.service(
        {
            "connectors": {
                "ml_monitor": {
                    "window": {"size": f"{WINDOW} rows"},
                    "models": {"fraud": {"reference": str(profile)}},
                }
            },
            "exporters": {
                "prometheus": {"exemplars": True},
                "otlp_grpc/originals": {"endpoint": f"localhost:{jaeger.otlp}", "tls": {"insecure": True}},
                "otlp_grpc/metrics": {"endpoint": f"localhost:{metrics_at}", "tls": {"insecure": True}},
            },
            "service": {
                "pipelines": {
                    "traces": {"exporters": ["ml_monitor", "otlp_grpc/originals"]},
                    "metrics": {"exporters": ["prometheus", "otlp_grpc/metrics"]},
                }
            },
        }
    )
    prometheus = stack.prometheus({"ml": service.prometheus}, flags=("--enable-feature=exemplar-storage",))
    with model(service.grpc, service=SERVICE_NAME) as fraud:
        send_rows(fraud, with_new_country(make_rows(WINDOW, seed=2)))
    for query in (
        'ml_drift_drifted{ml_feature_name="country"} == 1',
        'ml_quality_unseen_ratio{ml_feature_name="country"} > 0',
    ):
        wait_until(lambda query=query: prometheus.query(query))
        series = query.partition(" ")[0]
        wait_until(lambda series=series: of_prometheus(prometheus, series))
        for labels in of_prometheus(prometheus, series):
            wait_until(lambda labels=labels: jaeger_has(jaeger, labels["trace_id"]))
            assert tags(jaeger, labels["trace_id"], labels["span_id"])["ml.feature.country"] == "XX"
    assert not of_prometheus(prometheus, 'ml_drift_drifted{ml_feature_name="amount"}')

    wait_until(lambda: of_collector(sink, "ml.drift.drifted", "country"))
    for trace, span in of_collector(sink, "ml.drift.drifted", "country"):
        assert tags(jaeger, trace, span)["ml.feature.country"] == "XX"


def jaeger_has(jaeger: Jaeger, trace: str) -> bool:
    return requests.get(f"http://localhost:{jaeger.query}/api/traces/{trace}", timeout=10).ok
