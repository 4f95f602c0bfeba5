"""The repository's otel-collector.yaml itself: app → Collector → otel-ml → Collector → Prometheus 3, and Jaeger."""

from __future__ import annotations

import math
import subprocess
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml
from sklearn.metrics import accuracy_score, f1_score, precision_score, recall_score
from stack import COLLECTOR_FILE, ROOT, Collector, Jaeger, Prometheus, Service, Stack, free_port, listening, tool
from traffic import SERVICE_NAME, Rows, build_reference, drift, make_rows, model, send_batch, send_rows

BETWEEN = ROOT / "examples" / "collector-in-front-and-behind.yaml"
ROWS = 2_000
ORIGINALS_TO = ("otlp_grpc/ml", "otlp_grpc/jaeger")


def between(back: int, reference: Path, **monitor: Any) -> dict[str, Any]:
    """The service's own file for this place, with a reference and windows of rows."""
    own = yaml.safe_load(BETWEEN.read_text())
    return {
        "connectors": {"ml_monitor": {"models": {"fraud": {"reference": str(reference), "positive_class": "fraud"}}}},
        "exporters": {"otlp_grpc": {**own["exporters"]["otlp_grpc"], "endpoint": f"localhost:{back}"}},
        "service": {"pipelines": {**own["service"]["pipelines"], "metrics": {
            "receivers": ["ml_monitor"], "exporters": ["otlp_grpc", "prometheus"]
        }}},
        **monitor,
    }  # fmt: skip


@dataclass(frozen=True)
class Whole:
    """Everything running, one window of rows and their labels through it."""

    front: int
    front_http: int
    service: Service
    collector: Collector
    prometheus: Prometheus
    jaeger: Jaeger
    reference: Rows
    rows: Rows


@pytest.fixture(scope="module")
def whole(module_stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Whole:
    reference, rows = make_rows(4_000, seed=1), make_rows(ROWS, seed=2, shift=1.0)
    front, front_http, back = free_port(), free_port(), free_port()
    jaeger = module_stack.jaeger()
    grpc = free_port()
    profile = build_reference(reference, tmp_path_factory.mktemp("reference") / "fraud.json")
    service = module_stack.service(between(back, profile), grpc=grpc)
    prometheus = module_stack.prometheus({"scraped": service.prometheus})
    env = {
        "OTEL_ML_ENDPOINT": f"localhost:{grpc}",
        "JAEGER_ENDPOINT": f"localhost:{jaeger.otlp}",
        "PROMETHEUS_ENDPOINT": prometheus.url,
    }
    collector = module_stack.collector(COLLECTOR_FILE, listening(front, back, front_http), env=env)
    everything = Whole(front, front_http, service, collector, prometheus, jaeger, reference, rows)
    send_window(everything)
    return everything


def send_window(whole: Whole) -> None:
    """Half of the window row by row and half in a batch, then all labels but one, then the row that closes it.

    The labels of the first half are spans, those of the second log records.
    """
    rows, service, half = whole.rows, whole.service, ROWS // 2
    with model(whole.front, metrics=True) as fraud:
        ids = [*send_rows(fraud, rows[:half]), *send_batch(fraud, rows[half : ROWS - 1])]
    service.wait(lambda: service.counted("otel_ml_rows_total") == ROWS - 1)
    with model(whole.front) as fraud:
        fraud.labels(ids[:half], classes=rows.truth[:half].tolist())
    send_label_records(whole.front_http, ids[half:], rows.truth[half : ROWS - 1].tolist())
    service.wait(lambda: service.counted("otel_ml_labels_total", outcome="joined") == ROWS - 1)
    with model(whole.front, metrics=True) as fraud:
        send_rows(fraud, rows[ROWS - 1 :])
    service.wait(lambda: service.value("ml_window_rows") == ROWS)
    for exporter in ORIGINALS_TO:
        whole.collector.wait(lambda exporter=exporter: accepted(whole) == sent(whole, exporter))


def accepted(whole: Whole) -> float:
    return whole.collector.counted("otelcol_receiver_accepted_spans_total")


def sent(whole: Whole, exporter: str) -> float:
    return whole.collector.counted("otelcol_exporter_sent_spans_total", exporter=exporter)


def send_label_records(port: int, ids: Sequence[str], classes: Sequence[str]) -> None:
    """Labels as log records over HTTP in JSON: what a job without any SDK would send."""
    records = [
        {"timeUnixNano": str(time.time_ns()), "eventName": "ml.label", "attributes": [
            {"key": key, "value": {"stringValue": text}}
            for key, text in (("ml.model.name", "fraud"), ("ml.prediction.id", id), ("ml.label.class", class_))
        ]}
        for id, class_ in zip(ids, classes, strict=True)
    ]  # fmt: skip
    body = {"resourceLogs": [{"scopeLogs": [{"logRecords": records}]}]}
    assert requests.post(f"http://localhost:{port}/v1/logs", json=body, timeout=30).status_code == 200


def test_the_collector_accepts_its_file() -> None:
    done = subprocess.run(
        [tool("otelcol"), "validate", f"--config={COLLECTOR_FILE}"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_every_row_and_label_is_counted_once(whole: Whole) -> None:
    assert whole.service.counted("otel_ml_rows_total") == ROWS
    assert whole.service.counted("otel_ml_labels_total", outcome="joined") == ROWS - 1
    assert whole.service.counted("otel_ml_dropped_total") == 0
    assert whole.service.counted("otel_ml_errors_total") == 0


def test_prometheus_has_the_figures_by_way_of_the_collector(whole: Whole) -> None:
    ask = whole.prometheus
    own = "job='otel-ml',ml_model_name='fraud',ml_model_version='1'"
    [(_, rows)] = ask.wait_for(f"ml_window_rows{{{own},ml_segment_name=''}}")
    assert rows == ROWS
    [(_, labels)] = ask.query(f"ml_window_labels{{{own},ml_segment_name=''}}")
    assert labels == ROWS - 1
    assert ask.query(f"sum(ml_predictions_total{{{own}}})")[0][1] == ROWS
    by_class = ask.query(f"sum by (ml_prediction_class) (ml_predictions_total{{{own}}})")
    assert {found["ml_prediction_class"]: count for found, count in by_class} == Counter(whole.rows.predicted.tolist())


def test_drift_is_what_the_plain_formulas_give(whole: Whole) -> None:
    expected = drift(whole.reference, whole.rows)
    found = {
        (labels["ml_feature_name"], labels["ml_drift_method"]): value
        for labels, value in whole.prometheus.wait_for("ml_drift_score{ml_column_role='feature',job='otel-ml'}")
    }
    assert found.keys() == expected.keys()
    exact = {key: value for key, value in expected.items() if key[1] not in ("ks", "wasserstein")}
    assert {key: found[key] for key in exact} == pytest.approx(exact, rel=1e-9)
    # A fine bin has 1/1024 of the reference, here in whole rows: four of 4000.
    assert found["amount", "ks"] == pytest.approx(expected["amount", "ks"], abs=4 / 4_000 + 1e-12)
    assert found["amount", "wasserstein"] == pytest.approx(expected["amount", "wasserstein"], rel=0.01)
    breached = whole.prometheus.query(
        "ml_drift_breached{ml_drift_method='psi',ml_column_role='feature',job='otel-ml'} == 1"
    )
    over = {feature for (feature, method), value in expected.items() if method == "psi" and value > 0.2}
    assert {labels["ml_feature_name"] for labels, _ in breached} == over == {"amount"}


def test_performance_is_what_a_library_has_from_the_rows(whole: Whole) -> None:
    truth, predicted = whole.rows.truth[: ROWS - 1], whole.rows.predicted[: ROWS - 1]
    expected = {
        "accuracy": accuracy_score(truth, predicted),
        "precision": precision_score(truth, predicted, pos_label="fraud"),
        "recall": recall_score(truth, predicted, pos_label="fraud"),
        "f1": f1_score(truth, predicted, pos_label="fraud"),
    }
    for name, value in expected.items():
        selected = f"ml_performance_{name}_ratio{{ml_segment_name='',ml_performance_source='labels',job='otel-ml'}}"
        [(labels, found)] = whole.prometheus.wait_for(selected)
        assert found == pytest.approx(value, abs=1e-12), name
        assert labels["ml_model_name"] == "fraud"


def test_the_apps_own_metrics_reach_prometheus_beside_them(whole: Whole) -> None:
    [(labels, _)] = whole.prometheus.wait_for(
        f"sum by (job, ml_model_name) (ml_prediction_rows_sum{{job='{SERVICE_NAME}'}}) == {ROWS}"
    )
    assert labels == {"job": SERVICE_NAME, "ml_model_name": "fraud"}
    # A call for each row of the first half, the batch, and the last row.
    calls = whole.prometheus.query(f"sum(ml_prediction_duration_seconds_count{{job='{SERVICE_NAME}'}})")
    assert calls == [({}, ROWS // 2 + 2)]


def series(prometheus: Prometheus, job: str) -> Mapping[tuple[tuple[str, str], ...], float]:
    """Every derived series of a job, without what only says who delivered it."""
    left = ("job", "instance")
    return {
        tuple(sorted((name, text) for name, text in labels.items() if name not in left and not scope(name))): value
        for labels, value in prometheus.query(f"{{__name__=~'ml_.*',job='{job}'}}")
    }


def scope(label: str) -> bool:
    return label.startswith("otel_scope_")


def test_scraped_or_by_otlp_the_names_labels_and_values_are_the_same(whole: Whole) -> None:
    ask = whole.prometheus
    for job in ("scraped", "otel-ml"):
        ask.wait_for(f"ml_window_rows{{job='{job}'}}")
    scraped, sent = series(ask, "scraped"), series(ask, "otel-ml")
    assert scraped.keys() == sent.keys()
    assert len(scraped) > 50
    for key, value in scraped.items():
        assert sent[key] == value or math.isclose(sent[key], value, rel_tol=1e-15), key


def test_jaeger_has_every_original_once(whole: Whole) -> None:
    spans = whole.jaeger.spans(SERVICE_NAME)
    names = Counter(span["operationName"] for span in spans)
    rows = Counter[str]()
    for span in spans:
        tags = {tag["key"]: tag["value"] for tag in span["tags"]}
        if span["operationName"] == "predict fraud":
            rows[tags["ml.model.name"]] += int(tags.get("ml.prediction.rows", 1))
    assert rows == {"fraud": ROWS}
    assert len({span["spanID"] for span in spans}) == len(spans) == names.total()
    assert names == {"predict fraud": ROWS // 2 + 2, "label fraud": names["label fraud"]}


def test_what_came_in_at_the_front_went_on_once_to_each_destination(whole: Whole) -> None:
    for exporter in ORIGINALS_TO:
        assert sent(whole, exporter) == accepted(whole)
    assert whole.service.counted("otelcol_receiver_accepted_spans_total") == accepted(whole)
    assert len(whole.jaeger.spans(SERVICE_NAME)) == accepted(whole)
    for items in ("spans", "log_records", "metric_points"):
        assert whole.collector.counted(f"otelcol_exporter_send_failed_{items}_total") == 0
