"""A model whose alarms are slow is named in the log and the state, unless a rule on drift scores is on."""

from __future__ import annotations

import json

import numpy as np
import pytest

from collector_processor.alerts.alerting import Alerting
from collector_processor.alerts.engine import Engine
from collector_processor.alerts.settings import Alerts
from collector_processor.columns.batch import Column, Decoded, ModelKey, PredictionBatch
from collector_processor.own.telemetry import Telemetry
from collector_processor.pipeline.pipeline import Pipeline
from collector_processor.pipeline.settings import MlMonitor
from collector_processor.reference.build import build_reference
from collector_processor.service.observe import Observer
from collector_processor.serving.routes import HttpRequest
from collector_processor.status.answer import status_handler
from collector_processor.status.board import Board

NOW_NS = 1_750_000_020 * 10**9
MINUTE_NS = 60 * 10**9
KEY = ModelKey("m", "1")


def call(minute, rows=200, calls=1):
    random = np.random.default_rng(minute)
    duration = np.full(rows, np.nan)
    duration[:: rows // calls] = 0.1
    return PredictionBatch(
        KEY, np.full(rows, NOW_NS + minute * MINUTE_NS), random.integers(0, 2**63, (rows, 2)).astype(np.uint64),
        np.ones(rows), duration, {"x": Column(random.normal(size=rows))},
    )  # fmt: skip


def slow_alarms(rules=None, drift=None, calls=1):
    """What ``/status`` says after five minutes with one batch each."""
    telemetry, board = Telemetry(), Board()
    config = MlMonitor.model_validate(
        {"window": {"size": "1m", "allowed_lateness": "1s", "min_rows": 50}, "drift": drift or {}}
    )
    pipeline = Pipeline(config, {"m": build_reference("m", call(99, 2000, 2000))}, telemetry, NOW_NS)
    alerts = Alerts.model_validate({"rules": rules or {}}).resolved()
    observer = Observer(board, pipeline, Alerting(Engine(alerts, telemetry), [], telemetry), telemetry)
    for minute in range(5):
        now_ns = NOW_NS + minute * MINUTE_NS
        pipeline.process([Decoded(predictions=(call(minute, calls=calls),))], now_ns)
        observer.look(pipeline.tick(now_ns), now_ns)
    [model] = json.loads(status_handler(board, str)(HttpRequest("GET", "/status")).body)["details"]
    return model["slow_alarms"]


def test_it_is_said_once_with_the_line_to_add(caplog):
    text = slow_alarms()
    assert "200 in the newest" in text
    assert "`alerts: {rules: {feature_drift: {}}}`" in text
    assert sum(text in record.getMessage() for record in caplog.records) == 1


@pytest.mark.parametrize(
    "given",
    [
        {"rules": {"feature_drift": {}}},
        {"rules": {"mine": {"measurement": "ml.drift.score", "above": 0.3}}},
        {"drift": {"false_alarms": "0 per year"}},
        {"calls": 20},
    ],
)
def test_other_models_are_not_named(given):
    assert slow_alarms(**given) is None


def test_a_rule_about_another_model_does_not_help():
    text = slow_alarms()
    assert slow_alarms(rules={"feature_drift": {"where": {"ml.model.name": "other"}}}) == text
    assert slow_alarms(rules={"feature_drift": {"where": {"ml.model.name": ["other", "m"]}}}) is None
