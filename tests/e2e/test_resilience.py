"""The Collector holds what the service cannot take now: nothing is lost, and nothing is counted twice."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest
from stack import COLLECTOR_FILE, Collector, Service, Stack, free_port, listening
from traffic import Rows, build_reference, drift, make_rows, model, send_batch, send_rows

EXPORTER = "otlp_grpc/ml"
ROWS = 2_000
REFERENCE = make_rows(4_000, seed=1)


def overlay(front: int, **exporter: Any) -> dict[str, Any]:
    """The file with its receivers on free ports and short waits between tries; originals go to the service alone."""
    return {
        **listening(front),
        "processors": {"batch": {"timeout": "100ms"}},
        "exporters": {
            EXPORTER: {
                "retry_on_failure": {"initial_interval": "100ms", "max_interval": "300ms"},
                **exporter,
            }
        },
        "service": {"pipelines": {"traces": {"exporters": [EXPORTER]}}},
    }


def monitored(folder: Path) -> dict[str, Any]:
    """Settings of a service that knows the model's reference."""
    profile = build_reference(REFERENCE, folder / "fraud.json")
    return {"connectors": {"ml_monitor": {"models": {"fraud": {"reference": str(profile)}}}}}


def send(front: int, rows: Rows) -> None:
    half = len(rows) // 2
    with model(front) as fraud:
        send_rows(fraud, rows[:half])
        send_batch(fraud, rows[half:])


def test_what_comes_while_the_service_is_away_is_counted_once_when_it_is_back(stack: Stack, tmp_path: Path) -> None:
    front, grpc = free_port(), free_port()
    collector = stack.collector(COLLECTOR_FILE, overlay(front), env={"OTEL_ML_ENDPOINT": f"localhost:{grpc}"})
    rows = make_rows(ROWS, seed=2)
    send(front, rows[:1_500])
    collector.wait(lambda: collector.counted("otelcol_receiver_accepted_spans_total") >= 750)
    collector.wait(lambda: "Exporting failed. Will retry" in collector.log_text())

    service = stack.service(monitored(tmp_path), grpc=grpc)
    service.wait(lambda: service.counted("otel_ml_rows_total") == 1_500)
    send(front, rows[1_500:])
    expect_all_once(service, collector)


def test_a_restart_of_the_service_amid_traffic_loses_and_repeats_nothing(stack: Stack, tmp_path: Path) -> None:
    front = free_port()
    service = stack.service(monitored(tmp_path))
    collector = stack.collector(COLLECTOR_FILE, overlay(front), env={"OTEL_ML_ENDPOINT": f"localhost:{service.grpc}"})
    first, second = make_rows(ROWS, seed=2), make_rows(ROWS, seed=3, shift=1.0)
    for part in range(4):
        if part == 2:
            # Part of what was sent is in its snapshot then, part still in the Collector.
            assert service.stop() == 0
        send(front, first[part * 500 : (part + 1) * 500])
    service.restart()
    expect_window_of(service, first)
    # A row too many or too few would move rows between this window and the one before.
    send(front, second)
    expect_window_of(service, second)
    collector.wait(lambda: collector.counted("otelcol_exporter_queue_size", exporter=EXPORTER) == 0)
    assert collector.counted("otelcol_exporter_send_failed_spans_total", exporter=EXPORTER) == 0


def expect_window_of(service: Service, rows: Rows) -> None:
    expected = {key: value for key, value in drift(REFERENCE, rows).items() if key[1] in ("psi", "js")}

    def found() -> dict[tuple[str, str], float | None]:
        return {
            (feature, method): service.value("ml_drift_score", ml_feature_name=feature, ml_drift_method=method)
            for feature, method in expected
        }

    service.wait(lambda: found() == pytest.approx(expected, rel=1e-9))
    assert service.value("ml_window_rows") == ROWS


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL], ids=lambda end: end.name)
def test_a_queue_on_disk_outlives_the_collector(stack: Stack, tmp_path: Path, end: signal.Signals) -> None:
    front, grpc = free_port(), free_port()
    storage = tmp_path / "queue"
    storage.mkdir()
    kept = overlay(front, sending_queue={"storage": "file_storage/queue"})
    kept["extensions"] = {"file_storage/queue": {"directory": str(storage)}}
    kept["service"]["extensions"] = ["file_storage/queue"]
    collector = stack.collector(COLLECTOR_FILE, kept, env={"OTEL_ML_ENDPOINT": f"localhost:{grpc}"})
    rows = make_rows(ROWS, seed=2)
    send(front, rows[:1_500])
    collector.wait(lambda: "Exporting failed. Will retry" in collector.log_text())
    collector.stop(end)
    collector.restart()

    service = stack.service(monitored(tmp_path), grpc=grpc)
    service.wait(lambda: service.counted("otel_ml_rows_total") == 1_500)
    send(front, rows[1_500:])
    expect_all_once(service, collector)


def test_a_service_without_memory_to_spare_is_asked_again_until_it_has(stack: Stack, tmp_path: Path) -> None:
    front = free_port()
    tight = monitored(tmp_path)
    tight["connectors"]["ml_monitor"]["limits"] = {"memory": "1MiB"}
    service = stack.service(tight)
    collector = stack.collector(COLLECTOR_FILE, overlay(front), env={"OTEL_ML_ENDPOINT": f"localhost:{service.grpc}"})
    rows = make_rows(ROWS, seed=2)
    send(front, rows[:1_500])
    service.wait(lambda: service.counted("otelcol_receiver_refused_spans_total") > 0)
    collector.wait(lambda: "Exporting failed. Will retry" in collector.log_text())
    assert service.counted("otel_ml_rows_total") == 0
    assert service.stop() == 0

    roomy = stack.service(monitored(tmp_path), grpc=service.grpc)
    roomy.wait(lambda: roomy.counted("otel_ml_rows_total") == 1_500)
    send(front, rows[1_500:])
    expect_all_once(roomy, collector)


def expect_all_once(service: Service, collector: Collector) -> None:
    """The window closes with exactly the rows that were sent, and nothing more is under way."""
    service.wait(lambda: service.value("ml_window_rows") == ROWS)
    collector.wait(lambda: collector.counted("otelcol_exporter_queue_size", exporter=EXPORTER) == 0)
    assert service.counted("otel_ml_rows_total") == ROWS
    assert service.counted("otel_ml_dropped_total") == 0
    assert service.value("ml_predictions_total") == ROWS
    assert collector.counted("otelcol_exporter_send_failed_spans_total", exporter=EXPORTER) == 0
    assert collector.counted("otelcol_exporter_enqueue_failed_spans_total", exporter=EXPORTER) == 0
