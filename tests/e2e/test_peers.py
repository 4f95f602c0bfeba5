"""Other senders and collectors: telemetrygen, Rotel, and the Collector's own Prometheus receiver."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
import requests
from stack import Collector, Service, Stack, free_port, tool
from traffic import build_reference, drift, make_rows, model, send_batch, send_rows

ROWS = 2_000
REFERENCE = make_rows(4_000, seed=1)


def monitored(folder: Path, **more: Any) -> dict[str, Any]:
    profile = build_reference(REFERENCE, folder / "fraud.json")
    return {"connectors": {"ml_monitor": {"models": {"fraud": {"reference": str(profile)}}}}, **more}


def behind(stack: Stack) -> tuple[Collector, int]:
    """A Collector that takes everything and counts it."""
    port = free_port()
    pipeline = {"receivers": ["otlp"], "exporters": ["debug"]}
    settings = {
        "receivers": {"otlp": {"protocols": {"grpc": {"endpoint": f"localhost:{port}"}}}},
        "exporters": {"debug": {}},
        "service": {"pipelines": dict.fromkeys(("traces", "logs", "metrics"), pipeline)},
    }
    return stack.collector(settings), port


def forwarding(port: int) -> dict[str, Any]:
    """Everything that is received, and what is derived, goes on to this port."""
    return {
        "exporters": {"otlp_grpc": {"endpoint": f"localhost:{port}", "tls": {"insecure": True}}},
        "service": {
            "pipelines": {
                "traces": {"receivers": ["otlp"], "exporters": ["ml_monitor", "otlp_grpc"]},
                "logs": {"receivers": ["otlp"], "exporters": ["ml_monitor", "otlp_grpc"]},
                "metrics": {"receivers": ["ml_monitor", "otlp"], "exporters": ["prometheus", "otlp_grpc"]},
            }
        },
    }


def telemetrygen(signal: str, service: Service, *arguments: str, http: bool) -> None:
    where = ["--otlp-http", f"--otlp-endpoint=localhost:{service.http}"]
    command = [tool("telemetrygen"), signal, "--otlp-insecure", "--rate=0", "--workers=2", *arguments]
    command += where if http else [f"--otlp-endpoint=localhost:{service.grpc}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr


def expect_window(service: Service, rows: Any) -> None:
    """The window's figures are those of these rows alone."""
    expected = {key: value for key, value in drift(REFERENCE, rows).items() if key[1] in ("psi", "js")}
    service.wait(lambda: service.value("ml_window_rows") == ROWS)
    found = {key: service.value("ml_drift_score", ml_feature_name=key[0], ml_drift_method=key[1]) for key in expected}
    assert found == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("http", [False, True], ids=["grpc", "http"])
def test_telemetrygens_traces_logs_and_metrics_pass_through_and_disturb_nothing(
    stack: Stack, tmp_path: Path, http: bool
) -> None:
    collector, port = behind(stack)
    service = stack.service(monitored(tmp_path, **forwarding(port)))
    rows = make_rows(ROWS, seed=2, shift=0.5)
    with model(service.grpc) as fraud:
        send_rows(fraud, rows[:500])
        telemetrygen("traces", service, "--traces=100", "--child-spans=2", http=http)
        send_batch(fraud, rows[500:1_000])
        telemetrygen("logs", service, "--logs=300", http=http)
        send_rows(fraud, rows[1_000:1_500])
        for kind in ("Sum", "Gauge", "Histogram", "ExponentialHistogram"):
            telemetrygen("metrics", service, "--metrics=100", f"--metric-type={kind}", http=http)
        send_batch(fraud, rows[1_500:])
    expect_window(service, rows)
    assert service.counted("otel_ml_rows_total") == ROWS
    assert service.counted("otel_ml_errors_total") == 0

    # Two workers each; a trace has its parent and two children, and a metric is sent in four kinds.
    ours, scraped = 1_002, len([name for name, _, _ in service.samples() if name.startswith("ml_")])
    received = {"spans": 2 * 100 * 3 + ours, "log_records": 2 * 300, "metric_points": 2 * 4 * 100}
    for items, count in received.items():
        assert service.counted(f"otelcol_receiver_accepted_{items}_total") == count
    # Behind the service it is the same, and what it derives.
    for items, count in {**received, "metric_points": received["metric_points"] + scraped}.items():
        name = f"otelcol_receiver_accepted_{items}_total"
        collector.wait(lambda name=name, count=count: collector.counted(name) == count)


def test_rotel_in_front_of_the_service_changes_no_figure(stack: Stack, tmp_path: Path) -> None:
    service = stack.service(monitored(tmp_path))
    grpc, http = free_port(), free_port()
    command = [
        tool("rotel"), "start", f"--otlp-grpc-endpoint=localhost:{grpc}", f"--otlp-http-endpoint=localhost:{http}",
        "--exporter=otlp", "--otlp-exporter-protocol=grpc",
        f"--otlp-exporter-endpoint=http://localhost:{service.grpc}", "--batch-timeout=100ms",
    ]  # fmt: skip

    def listens() -> bool:
        return requests.post(f"http://localhost:{http}/v1/traces", b"", timeout=5).status_code > 0

    rotel = stack.start("rotel", command, ready=listens)
    rows = make_rows(ROWS, seed=2, shift=0.5)
    with model(grpc) as fraud:
        ids = [*send_rows(fraud, rows[:500]), *send_batch(fraud, rows[500:1_000])]
    with model(http, protocol="http") as fraud:
        ids += [*send_rows(fraud, rows[1_000:1_500]), *send_batch(fraud, rows[1_500 : ROWS - 1])]
    rotel.wait(lambda: service.counted("otel_ml_rows_total") == ROWS - 1)
    with model(grpc) as fraud:
        fraud.labels(ids, classes=rows.truth[: ROWS - 1].tolist())
    rotel.wait(lambda: service.counted("otel_ml_labels_total", outcome="joined") == ROWS - 1)
    with model(grpc) as fraud:
        send_rows(fraud, rows[ROWS - 1 :])
    expect_window(service, rows)
    accuracy = (rows.predicted == rows.truth)[: ROWS - 1].mean()
    assert service.value("ml_performance_accuracy_ratio", ml_performance_source="labels") == pytest.approx(
        accuracy, abs=1e-12
    )
    assert service.counted("otel_ml_rows_total") == ROWS


def test_the_collectors_prometheus_receiver_scrapes_what_we_serve(stack: Stack, tmp_path: Path) -> None:
    service = stack.service(monitored(tmp_path))
    out = free_port()
    scrape = {
        "job_name": "otel-ml", "scrape_interval": "500ms",
        "static_configs": [{"targets": [f"localhost:{service.prometheus}"]}],
    }  # fmt: skip
    collector = stack.collector(
        {
            "receivers": {"prometheus": {"config": {"scrape_configs": [scrape]}}},
            "exporters": {"prometheus": {"endpoint": f"localhost:{out}"}},
            "service": {"pipelines": {"metrics": {"receivers": ["prometheus"], "exporters": ["prometheus"]}}},
        }
    )
    rows = make_rows(ROWS, seed=2, shift=0.5)
    with model(service.grpc) as fraud:
        send_batch(fraud, rows)
    expect_window(service, rows)

    def derived(port: int) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
        return {
            (name, frozenset((key, text) for key, text in labels.items() if key.startswith("ml_"))): value
            for name, labels, value in service.samples(port)
            if name.startswith("ml_") and not name.endswith("_created")
        }

    collector.wait(lambda: derived(out) == derived(service.prometheus))
    assert len(derived(out)) > 50
