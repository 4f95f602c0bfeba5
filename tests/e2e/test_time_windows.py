"""Windows of time by OTLP: a figure has the time at which its window closed, or Prometheus would not find it."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import requests
from stack import COLLECTOR_FILE, Service, Stack, free_port, listening
from traffic import build_reference, make_rows

LATE_ROWS = 600
OTLP = "ml_window_rows{job='otel-ml',ml_segment_name=''}"


def send_rows_of_the_past(service: Service, age_s: int, count: int) -> None:
    """Predictions that were made so long ago, as a program without an SDK would send them."""
    start_ns = time.time_ns() - age_s * 10**9
    attributes = [
        {"key": "ml.model.name", "value": {"stringValue": "fraud"}},
        {"key": "ml.model.version", "value": {"stringValue": "1"}},
    ]
    spans = [
        {
            "traceId": f"{age_s:016x}{row + 1:016x}", "spanId": f"{row + 1:016x}", "name": "predict fraud",
            "startTimeUnixNano": str(start_ns), "endTimeUnixNano": str(start_ns + 1_000_000),
            "attributes": [*attributes, {"key": "ml.feature.amount", "value": {"doubleValue": float(row)}}],
        }
        for row in range(count)
    ]  # fmt: skip
    body = {"resourceSpans": [{"scopeSpans": [{"spans": spans}]}]}
    assert requests.post(f"http://localhost:{service.http}/v1/traces", json=body, timeout=30).status_code == 200


@pytest.mark.parametrize("timestamps", ["emitted", "window_end"])
def test_prometheus_finds_what_is_late_by_otlp_as_when_it_scrapes(
    stack: Stack, tmp_path: Path, timestamps: str
) -> None:
    front, back = free_port(), free_port()
    profile = build_reference(make_rows(4_000, seed=1), tmp_path / "fraud.json")
    otlp = {"endpoint": f"localhost:{back}", "tls": {"insecure": True}, "timestamps": timestamps}
    service = stack.service(
        {
            "connectors": {
                "ml_monitor": {
                    "window": {"size": "10m", "every": "2s", "allowed_lateness": "6m"},
                    "models": {"fraud": {"reference": str(profile)}},
                }
            },
            "exporters": {"otlp_grpc": otlp},
            "service": {
                "pipelines": {"metrics": {"receivers": ["ml_monitor"], "exporters": ["prometheus", "otlp_grpc"]}}
            },
        }
    )
    prometheus = stack.prometheus({"scraped": service.prometheus})
    env = {"OTEL_ML_ENDPOINT": f"localhost:{service.grpc}", "PROMETHEUS_ENDPOINT": prometheus.url}
    stack.collector(COLLECTOR_FILE, listening(front, back), env=env)

    # The row of now lets the windows close that ended six minutes ago, the rows of 400 s ago in them.
    send_rows_of_the_past(service, 400, LATE_ROWS)
    send_rows_of_the_past(service, 0, 1)
    prometheus.wait_for(f"ml_window_rows{{job='scraped',ml_segment_name=''}} == {LATE_ROWS}")
    if timestamps == "emitted":
        prometheus.wait_for(f"{OTLP} == {LATE_ROWS}")
        return
    # It is stored with the time of its window, and Prometheus looks back five minutes unless told.
    prometheus.wait_for(f"last_over_time({OTLP}[15m]) == {LATE_ROWS}")
    assert prometheus.query(OTLP) == []
