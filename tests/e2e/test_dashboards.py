"""The dashboards on Prometheus 3 that is pushed to over OTLP, and from an exemplar to its trace in Jaeger."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from stack import Stack, free_port, tool
from traffic import SERVICE_NAME, build_reference, make_rows, send_rows

from collector_processor.config import default_config
from collector_processor.generate.dashboards import boards
from collector_processor.generate.dashboards.plan import Board, Panel
from collector_processor.generate.rules import rules_of, rules_text
from otel_ml import Model
from support.waiting import wait_until

WINDOW = 500
ROWS = {"At a glance", "Traffic", "Latency", "Drift", "Quality", "From the application itself"}
"""Rows of the model's board that need neither labels nor segments."""
VALUES = {"model": "fraud", "version": ".*", "segment": ".+", "method": ".*"}


def start_prometheus(stack: Stack, folder: Path, scrape: int) -> str:
    """Prometheus 3 with OTLP ingestion, which also keeps exemplars; gives its URL."""
    port = free_port()
    (folder / "rules.yml").write_text(rules_text(rules_of(default_config())), encoding="utf-8")
    config = {
        "global": {"scrape_interval": "200ms", "scrape_timeout": "200ms", "evaluation_interval": "1s"},
        "rule_files": ["rules.yml"],
        "scrape_configs": [{"job_name": "otel-ml", "static_configs": [{"targets": [f"localhost:{scrape}"]}]}],
    }
    file = folder / "prometheus.yml"
    file.write_text(yaml.safe_dump(config), encoding="utf-8")
    url = f"http://localhost:{port}"
    command = [
        tool("prometheus"), f"--config.file={file}", f"--storage.tsdb.path={folder / 'tsdb'}",
        f"--web.listen-address=localhost:{port}", "--web.enable-otlp-receiver", "--enable-feature=exemplar-storage",
    ]  # fmt: skip
    stack.start("prometheus", command, ready=lambda: requests.get(f"{url}/-/ready", timeout=5).ok)
    return url


def get(url: str, path: str, **parameters: str) -> Any:
    answer = requests.get(f"{url}/api/v1/{path}", parameters, timeout=10).json()
    assert answer["status"] == "success", answer
    return answer["data"]


def substituted(expr: str) -> str:
    expr = expr.replace("$__rate_interval", "60s")
    for name, value in VALUES.items():
        expr = re.sub(rf"\${name}\b", value, expr)
    assert not re.search(r"\$(?!\d)", expr)  # $1 is a group in label_replace
    return expr


def wanted() -> Iterator[tuple[Board, Panel]]:
    for board in boards()[:2]:
        for row, panel in board.panels():
            needs_labels = "Labels" in panel.title or "Accuracy" in panel.title or "by bucket" in panel.title
            explained = any("ml_attributions_dropped" in query.expr for query in panel.queries)  # nothing is, here
            weighted = any("ml_drift_weighted_share" in query.expr for query in panel.queries)  # by attributions
            left_out = needs_labels or explained or weighted or panel.title in ("Drift p-value", "Silent models")
            if row.title in ROWS and not left_out:
                yield board, panel


def test_panels_have_data_that_was_pushed_and_exemplars_lead_to_traces(stack: Stack, tmp_path: Path) -> None:
    own = free_port()
    url = start_prometheus(stack, tmp_path, own)
    jaeger = stack.jaeger()
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
                "otlp_http": {"endpoint": f"{url}/api/v1/otlp"},
                "otlp_grpc/traces": {"endpoint": f"localhost:{jaeger.otlp}", "tls": {"insecure": True}},
            },
            "service": {
                "pipelines": {
                    "traces": {"exporters": ["ml_monitor", "otlp_grpc/traces"]},
                    "metrics": {"exporters": ["otlp_http"]},
                }
            },
        },
        own=own,
    )
    resource = Resource.create({"service.name": SERVICE_NAME})
    traces = TracerProvider(resource=resource)
    spans = OTLPSpanExporter(endpoint=f"localhost:{service.grpc}", insecure=True)
    traces.add_span_processor(BatchSpanProcessor(spans, max_queue_size=100_000, schedule_delay_millis=100))
    exporter = OTLPMetricExporter(endpoint=f"{url}/api/v1/otlp/v1/metrics")
    meters = MeterProvider([PeriodicExportingMetricReader(exporter, export_interval_millis=500)], resource)
    model = Model(
        "fraud", version="1", task="binary_classification", positive_class="fraud",
        tracer_provider=traces, meter_provider=meters,
    )  # fmt: skip
    try:
        pending = list(wanted())
        seed = 1

        def shown() -> bool:
            nonlocal pending, seed
            seed += 1
            send_rows(model, make_rows(WINDOW, seed, shift=1.0))
            pending = [
                (board, panel)
                for board, panel in pending
                if not all(get(url, "query", query=substituted(query.expr))["result"] for query in panel.queries)
            ]
            return not pending

        try:
            wait_until(shown)
        except AssertionError:
            pytest.fail(f"no data: {[(board.uid, panel.title) for board, panel in pending]}")
        [query] = [query for _, panel in wanted() if panel.title == "Durations of calls" for query in panel.queries]
        assert query.exemplars

        def traces_of_exemplars() -> set[str]:
            now = time.time()
            found = get(
                url, "query_exemplars", query=substituted(query.expr), start=str(now - 300), end=str(now + 10)
            )  # fmt: skip
            return {one["labels"]["trace_id"] for series in found for one in series["exemplars"]}

        wait_until(traces_of_exemplars)
        ids = traces_of_exemplars()
        traces.force_flush()
        wait_until(lambda: ids & {span["traceID"] for span in jaeger.spans(SERVICE_NAME)})
        health = {rule["health"] for group in get(url, "rules")["groups"] for rule in group["rules"]}
        assert health <= {"ok", "unknown"}
    finally:
        traces.shutdown()
        meters.shutdown()
