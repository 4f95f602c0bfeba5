"""Alerts in the service's snapshot: they come back, and snapshots from before there were alerts still load."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from collector_processor.alerts.alerting import Alerting
from collector_processor.alerts.engine import Engine
from collector_processor.alerts.rules import BUILT_IN_RULES
from collector_processor.columns.batch import ModelKey
from collector_processor.monitors.attributes import model_attributes
from collector_processor.monitors.base import Measurement
from collector_processor.own.telemetry import Telemetry
from collector_processor.pipeline.pipeline import Pipeline
from collector_processor.pipeline.settings import MlMonitor
from collector_processor.service.state import StateStore
from collector_processor.storage.snapshot import save
from otel_ml import semconv

NOW = 1_750_000_000 * 10**9
MODEL = ModelKey("fraud", "7")


class Run:
    """One life of a service, as far as its state goes."""

    def __init__(self, directory: Path, *, with_alerts: bool = True) -> None:
        self.telemetry = Telemetry()
        self.pipeline = Pipeline(MlMonitor(), {}, self.telemetry, NOW)
        self.alerting = Alerting(Engine(BUILT_IN_RULES, self.telemetry, stale_ns=3600 * 10**9), [], self.telemetry)
        self.store = StateStore(directory, self.telemetry)
        self.store.open()
        self._alerting = self.alerting if with_alerts else None
        self.store.restore(self.pipeline, NOW, self._alerting)

    def end(self) -> None:
        self.store.save(self.pipeline, self._alerting)
        self.store.close()


def drift(value: float, minute: int) -> list[Measurement]:
    return [Measurement(semconv.DRIFT_SHARE, value, "1", model_attributes(MODEL), NOW + minute * 60 * 10**9)]


def test_a_pending_alert_comes_back_with_its_time(tmp_path: Path) -> None:
    first = Run(tmp_path)
    first.pipeline.model(MODEL, NOW)
    first.alerting.tick(drift(1.0, 0), lambda: {MODEL: NOW}, NOW)
    first.end()
    second = Run(tmp_path)
    assert MODEL in second.pipeline.models
    second.alerting.tick(drift(1.0, 10), lambda: {MODEL: NOW}, NOW)
    (group,) = second.alerting.engine.groups.values()
    assert group.model == MODEL
    second.end()


def test_a_snapshot_from_before_there_were_alerts_loads(tmp_path: Path) -> None:
    first = Run(tmp_path, with_alerts=False)
    first.pipeline.model(MODEL, NOW)
    first.end()
    second = Run(tmp_path)
    assert MODEL in second.pipeline.models
    assert len(second.alerting.engine) == 0


def test_a_snapshot_with_alerts_loads_where_nobody_wants_them(tmp_path: Path) -> None:
    first = Run(tmp_path)
    first.pipeline.model(MODEL, NOW)
    first.alerting.tick(drift(1.0, 0), lambda: {MODEL: NOW}, NOW)
    first.end()
    assert MODEL in Run(tmp_path, with_alerts=False).pipeline.models


@pytest.mark.parametrize("alerts", [None, [], "x", {"rules": {}}, {"rules": {"latency": 3}, "groups": []}])
def test_alerts_that_cannot_be_read_are_dropped_and_counted_and_the_rest_comes_back(
    tmp_path: Path, alerts: Any
) -> None:
    first = Run(tmp_path)
    first.pipeline.model(MODEL, NOW)
    first.end()
    models = [{"name": "fraud", "version": "7", "learned": True, "learning": None}]
    save(tmp_path, "state", {"models": models, "alerts": alerts, "join": first.pipeline.join.state()})
    second = Run(tmp_path)
    assert MODEL in second.pipeline.models
    labels = {"stage": "state", "reason": "does_not_fit", "intentional": "false"}
    assert second.telemetry.registry.get_sample_value("otel_ml_dropped_total", labels) == 1.0
