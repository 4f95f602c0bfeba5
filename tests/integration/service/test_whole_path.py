"""The whole path through real sockets: SDK → OTLP → service → Prometheus page, and a restart between."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from sklearn.metrics import accuracy_score, f1_score, precision_score, recall_score

from collector_processor.config import ConfigError, parse_config
from collector_processor.service.run import Service

Make = Callable[..., Any]
DRIFT = {"ml_feature_name": "amount", "ml_drift_method": "psi"}


@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_drift_quality_traffic_and_performance_of_what_the_sdk_sent(
    run: Make, sender: Make, send: Make, protocol: str
) -> None:
    with run() as running:
        with sender(running, protocol) as model:
            send(model, 2000, seed=1)
        running.wait(lambda: running.value("ml_window_rows") == 2000)
        assert running.value("ml_drift_breached", **DRIFT) == 0.0

        with sender(running, protocol) as model:
            ids, predicted, truth = send(model, 1999, shift=1.0, seed=2)
            model.labels(ids, classes=truth.tolist())
        running.wait(lambda: running.counted("otel_ml_labels_total", outcome="joined") == 1999)
        with sender(running, protocol) as model:
            send(model, 1, seed=3)
        running.wait(lambda: running.value("ml_drift_breached", **DRIFT) == 1.0)

        assert running.value("ml_window_labels") == 1999
        for name, metric in (
            ("accuracy", accuracy_score(truth, predicted)),
            ("precision", precision_score(truth, predicted, pos_label="fraud")),
            ("recall", recall_score(truth, predicted, pos_label="fraud")),
            ("f1", f1_score(truth, predicted, pos_label="fraud")),
        ):
            assert running.value(f"ml_performance_{name}_ratio") == pytest.approx(metric, abs=1e-12), name
        segment = {"ml_segment_name": "country", "ml_segment_value": "DE"}
        assert 0 < (running.value("ml_window_rows", **segment) or 0) < 2000
        assert running.value("ml_performance_accuracy_ratio", **segment) is not None
        assert running.value("ml_predictions_total", ml_model_name="fraud") == 4000
        assert running.value("ml_latency_p95_seconds") is not None
        assert running.value("ml_quality_missing_ratio", ml_feature_name="amount") == 0.0
        assert running.health() == 200


def test_a_restart_loses_no_pane_no_reference_and_no_pending_label(run: Make, sender: Make, send: Make) -> None:
    with run() as running, sender(running) as model:
        ids, _, truth = send(model, 1500, seed=1)
    with run() as running:
        assert running.value("ml_window_rows") is None
        with sender(running) as model:
            model.labels(ids, classes=truth.tolist())
        running.wait(lambda: running.counted("otel_ml_labels_total", outcome="joined") == 1500)
        with sender(running) as model:
            send(model, 500, seed=2)
        running.wait(lambda: running.value("ml_window_rows") == 2000)
        assert running.value("ml_window_labels") == 1500


def test_a_restart_loses_no_row_that_a_reference_is_still_learned_from(run: Make, sender: Make, send: Make) -> None:
    with run() as running, sender(running) as model:
        ids, _, truth = send(model, 900, seed=1)
    with run() as running:
        with sender(running) as model:
            send(model, 1099, seed=2)
            model.labels(ids, classes=truth.tolist())
        running.wait(lambda: running.counted("otel_ml_labels_total", outcome="joined") == 900)
        with sender(running) as model:
            send(model, 1, seed=3)
        running.wait(lambda: running.value("ml_window_rows") == 2000)
        assert running.value("ml_window_labels") == 900


def test_windows_of_time_close_when_traffic_stops(run: Make, sender: Make, send: Make) -> None:
    with run(size="2s", every="1s") as running:
        with sender(running) as model:
            send(model, 1500)
        running.wait(lambda: (running.value("ml_window_rows") or 0) > 0)
        running.wait(lambda: running.value("ml_window_rows") in (0.0, None))


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_service_whose_statistics_have_ended_is_not_healthy(run: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("a bug where nothing survives it")

    running = run().__enter__()
    assert running.health() == 200
    monkeypatch.setattr(running.service.journal, "read", fail)
    running.wait(lambda: running.health() == 503)
    with pytest.raises(AssertionError, match="the statistics were not worked off"):
        running.__exit__()


def test_a_used_port_is_told_with_its_key_and_ends_the_start(tmp_path: Path, service_settings: Make) -> None:
    with socket.socket() as taken:
        taken.bind(("localhost", 0))
        taken.listen()
        port = taken.getsockname()[1]
        config = service_settings(tmp_path)
        config["receivers"]["otlp"]["protocols"]["grpc"]["endpoint"] = f"localhost:{port}"
        with pytest.raises(OSError, match=rf"receivers\.otlp\.protocols\.grpc.*{port}"):
            asyncio.run(Service(parse_config(yaml.safe_dump(config))).start())


def test_a_missing_and_a_broken_reference_are_told_together(tmp_path: Path, service_settings: Make) -> None:
    (tmp_path / "broken.json").write_text("{}")
    models = {name: {"reference": str(tmp_path / f"{file}.json")} for name, file in (("a", "nowhere"), ("b", "broken"))}
    config = service_settings(tmp_path, {"connectors": {"ml_monitor": {"models": models}}})
    with pytest.raises(ConfigError) as refused:
        Service(parse_config(yaml.safe_dump(config)))
    assert "models.a.reference" in str(refused.value)
    assert "models.b.reference" in str(refused.value)
