"""A Collector that is told to send what we derive back to us: it is refused, and nothing grows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from stack import COLLECTOR_FILE, Stack, free_port, listening
from traffic import build_reference, make_rows, model, send_batch

WINDOWS = 3


def misled(front: int, back: int) -> dict[str, Any]:
    """What otel-ml derives goes back to it besides."""
    return {
        **listening(front, back),
        "processors": {"batch": {"timeout": "100ms"}},
        "exporters": {
            "debug": {},
            "otlp_grpc/ml": {"sending_queue": {"batch": None}},
        },
        "service": {
            "pipelines": {
                "traces": {"exporters": ["otlp_grpc/ml"]},
                "metrics/ml": {"exporters": ["otlp_grpc/ml", "debug"]},
            }
        },
    }


def test_derived_metrics_that_are_sent_back_are_refused_and_nothing_grows(stack: Stack, tmp_path: Path) -> None:
    front, back = free_port(), free_port()
    profile = build_reference(make_rows(4_000, seed=1), tmp_path / "fraud.json")
    service = stack.service(
        {
            "connectors": {"ml_monitor": {"models": {"fraud": {"reference": str(profile)}}}},
            "exporters": {"otlp_grpc": {"endpoint": f"localhost:{back}", "tls": {"insecure": True}}},
            # The other half of the mistake: it takes metrics in, and sends them on where its own go.
            "service": {
                "pipelines": {
                    "metrics": {"receivers": ["ml_monitor", "otlp"], "exporters": ["prometheus", "otlp_grpc"]}
                }
            },
        }
    )
    collector = stack.collector(
        COLLECTOR_FILE, misled(front, back), env={"OTEL_ML_ENDPOINT": f"localhost:{service.grpc}"}
    )

    def derived() -> float:
        return service.counted("otelcol_exporter_sent_metric_points_total", exporter="otlp_grpc")

    def refused() -> float:
        return service.counted("otel_ml_dropped_total", stage="receiver", reason="loop")

    accepted, failed = (
        "otelcol_receiver_accepted_metric_points_total",
        "otelcol_exporter_send_failed_metric_points_total",
    )

    def given_up() -> float:
        return collector.counted(failed, exporter="otlp_grpc/ml")

    per_window = []
    with model(front) as fraud:
        for window in range(1, WINDOWS + 1):
            before, refused_before = derived(), refused()
            send_batch(fraud, make_rows(2_000, seed=window))
            service.wait(lambda window=window: service.counted("otel_ml_windows_closed_total") == window)
            service.wait(lambda before=before: derived() > before and given_up() == derived())
            assert refused() > refused_before
            per_window.append(derived() - before)

    # Every point came back once, was refused for good, and no window brings more than the one before.
    assert len(set(per_window)) == 1
    assert per_window[0] > 50
    assert collector.counted(accepted, receiver="otlp/ml") == derived()
    assert "leads from this service back into it" in collector.log_text()
    assert service.counted("otelcol_receiver_accepted_metric_points_total") == 0
    assert service.counted("otel_ml_rows_total") == WINDOWS * 2_000
    assert service.value("ml_predictions_total") == WINDOWS * 2_000
