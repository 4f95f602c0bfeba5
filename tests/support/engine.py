"""An alert engine with a clock that a test moves."""

from __future__ import annotations

from collections.abc import Sequence

from collector_processor.alerts.engine import Engine
from collector_processor.alerts.notice import Notice
from collector_processor.alerts.rules import AlertRule
from collector_processor.columns.batch import ModelKey
from collector_processor.monitors.base import Measurement
from collector_processor.own.telemetry import Telemetry
from otel_ml import semconv

MODEL = ModelKey("fraud", "7")
OTHER = ModelKey("churn", "1")
S = 10**9
MINUTE = 60 * S
BEGIN = 1_750_000_000 * S


def item(value: float, time_ns: int, *more: tuple[str, str], name: str = semconv.DRIFT_SHARE, model=MODEL):
    attributes = ((semconv.MODEL_NAME, model.name), (semconv.MODEL_VERSION, model.version), *more)
    return Measurement(name, value, "1", attributes, time_ns)


def rows(value: float, time_ns: int, *more: tuple[str, str], model=MODEL):
    return item(value, time_ns, *more, name=semconv.WINDOW_ROWS, model=model)


def feature(name: str) -> tuple[str, str]:
    return semconv.FEATURE_NAME, name


class Bench:
    """An engine, a clock, and what was told so far; windows end when the clock says so, unless told otherwise."""

    def __init__(self, *rules: AlertRule, **settings) -> None:
        self.telemetry = Telemetry()
        settings = {"stale_ns": 15 * MINUTE, **settings}
        self.engine = Engine(rules, self.telemetry, **settings)
        self.now = BEGIN
        self.models = {MODEL: BEGIN, OTHER: BEGIN}

    def after(self, wait_ns: int, *items: Measurement, arrives: bool = True) -> list[Notice]:
        """The clock goes on, then windows close."""
        self.now += wait_ns
        if arrives:
            self.models = dict.fromkeys(self.models, self.now)
        self.engine.judge(items, self.now)
        return self.engine.sweep(self.models, self.now)

    def window(self, value: float, wait_ns: int = MINUTE, *more: tuple[str, str]) -> list[str]:
        """One window of drift share; what was told of it."""
        self.now += wait_ns
        return reasons(self.after(0, item(value, self.now, *more)))

    def counted(self, name: str, **labels: str) -> float:
        return self.telemetry.registry.get_sample_value(name, labels) or 0.0


def reasons(notices: Sequence[Notice]) -> list[str]:
    return [notice.reason for notice in notices]


def rule(**changes) -> AlertRule:
    given = {"name": "drift", "measurement": semconv.DRIFT_SHARE, "condition": "above", "threshold": 0.3, "clear": 0.3}
    return AlertRule(**{**given, **changes})
