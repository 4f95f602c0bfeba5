"""A real Prometheus scrapes the service and answers in PromQL, under the names that the contract gives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sklearn.metrics import accuracy_score

Make = Callable[..., Any]
pytestmark = pytest.mark.prometheus


def test_prometheus_answers_with_drift_accuracy_traffic_quality_and_the_services_own_metrics(
    prometheus: Make, run: Make, sender: Make, send: Make
) -> None:
    with run() as running:
        server = prometheus([running.prometheus, running.own])
        with sender(running) as model:
            send(model, 2000, seed=1)
        server.wait_for("ml_window_rows{ml_segment_name=''} == 2000")
        assert server.query("max by (ml_feature_name) (ml_drift_score{ml_drift_method='psi'}) > 0.2") == []

        with sender(running, "http") as model:
            ids, predicted, truth = send(model, 1999, shift=1.0, seed=2)
            model.labels(ids, classes=truth.tolist())
        running.wait(lambda: running.counted("otel_ml_labels_total", outcome="joined") == 1999)
        with sender(running) as model:
            send(model, 1, seed=3)

        # The drift of each feature, the shifted one in breach and the other not.
        breached = "ml_drift_breached{ml_column_role='feature',ml_drift_method='psi'} == 1"
        [(labels, _)] = server.wait_for(breached)
        assert labels["ml_feature_name"] == "amount"
        assert (labels["ml_model_name"], labels["ml_model_version"], labels["job"]) == ("fraud", "1", "otel-ml")
        score = "max by (ml_feature_name) (ml_drift_score{ml_drift_method='psi',ml_column_role='feature'})"
        by_feature = {labels["ml_feature_name"]: value for labels, value in server.query(score)}
        assert by_feature.keys() == {"amount", "country"}
        assert by_feature["amount"] > 1 > 0.1 > by_feature["country"]
        assert server.query("ml_drift_score > ml_drift_threshold")
        assert [value for _, value in server.query("ml_drift_share_ratio")] == [0.5]

        # Performance, as a library has it from the rows.
        [(labels, accuracy)] = server.query("ml_performance_accuracy_ratio{ml_segment_name=''}")
        assert labels["ml_performance_source"] == "labels"
        assert accuracy == pytest.approx(accuracy_score(truth, predicted), abs=1e-12)
        by_country = server.query("ml_performance_f1_ratio{ml_segment_name='country'}")
        assert sorted(labels["ml_segment_value"] for labels, _ in by_country) == ["DE", "FR"]
        [(_, coverage)] = server.query("ml_labels_coverage_ratio")
        assert coverage == pytest.approx(1999 / 2000)

        # Traffic: a counter that rates can be taken of.
        assert [value for _, value in server.query("sum(ml_predictions_total)")] == [4000]
        [(_, rate)] = server.wait_for("sum(rate(ml_predictions_total[1m]))", lambda found: found and found[0][1] > 0)
        assert rate > 0
        classes = server.query("sum by (ml_prediction_class) (ml_predictions_total)")
        assert sorted(labels["ml_prediction_class"] for labels, _ in classes) == ["fraud", "ok"]
        [(_, p95)] = server.query("ml_latency_p95_seconds{ml_segment_name=''}")
        assert 0 < p95 < 1

        # Quality, and every ratio a ratio.
        names = "missing|unseen|out_of_range|wrong_type"
        quality = server.query(f"{{__name__=~'ml_quality_({names})_ratio',ml_feature_name='amount'}}")
        found = {labels["__name__"]: value for labels, value in quality}
        assert found["ml_quality_missing_ratio"] == found["ml_quality_wrong_type_ratio"] == 0
        assert 0 < found["ml_quality_out_of_range_ratio"] < 1
        shares = "__name__=~'ml_.*_ratio',__name__!~'ml_.*(drop|increase|rise)_ratio'"  # a change may be negative
        assert server.query(f"{{{shares}}} < 0 or {{__name__=~'ml_(quality|drift)_.*_ratio'}} > 1") == []

        # The service itself.
        [(_, spans)] = server.wait_for("sum(otelcol_receiver_accepted_spans_total) > 4000")
        assert spans >= 4001
        server.wait_for("otel_ml_rows_total{model='fraud@1'} == 4000")
        server.wait_for("otel_ml_windows_closed_total{model='fraud@1'} == 2")
        assert server.query("otelcol_process_memory_rss_bytes > 1e7")
        assert server.query("sum(otel_ml_errors_total) > 0") == []
        assert server.query("up == 0") == []
        # Prometheus asks for OpenMetrics, whose families of counters go without the suffix.
        for name, kind in (("ml_drift_score", "gauge"), ("ml_predictions", "counter")):
            [described] = server.get("metadata", metric=name)[name]
            assert described["type"] == kind
            assert described["help"]


def test_rules_on_drift_fire_in_prometheus(prometheus: Make, run: Make, sender: Make, send: Make) -> None:
    rules = """
groups:
- name: drift
  rules:
  - alert: FeatureDrift
    expr: ml_drift_breached == 1 and on (ml_model_name, ml_model_version) ml_window_rows{ml_segment_name=""} >= 500
  - alert: NoPredictions
    expr: absent(ml_window_rows)
"""
    with run() as running:
        server = prometheus([running.prometheus], rules=rules)
        firing = "ALERTS{alertname='%s',alertstate='firing'}"
        server.wait_for(firing % "NoPredictions")
        with sender(running) as model:
            send(model, 2000, seed=1)
            send(model, 2000, shift=1.0, seed=2)
        found = server.wait_for(firing % "FeatureDrift")
        assert {labels["ml_feature_name"] for labels, _ in found} == {"amount"}
        server.wait_for(firing % "NoPredictions", lambda found: not found)
