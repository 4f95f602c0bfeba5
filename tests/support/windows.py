"""Windows of one model, filled by hand."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from collector_processor.columns.batch import Column, ModelKey, PredictionBatch
from collector_processor.own.telemetry import Telemetry
from collector_processor.reference.build import build_reference
from collector_processor.statistics.outcome_batch import OutcomeBatch
from collector_processor.window.closed import Window
from collector_processor.window.policy import WindowPolicy
from collector_processor.window.windows import ModelWindows

KEY = ModelKey("fraud", "7")
SECOND = 10**9
MINUTE = 60 * SECOND
DAY = 86_400 * SECOND
YEAR = 365 * DAY
NOW = 1_750_000_000 * SECOND // MINUTE * MINUTE
POLICY = WindowPolicy(size_ns=3 * MINUTE, every_ns=MINUTE, allowed_lateness_ns=2 * MINUTE)


def batch(times: list[int] | NDArray[np.int64], ages: list[float] | None = None) -> PredictionBatch:
    time_ns = np.asarray(times, np.int64)
    rows = len(time_ns)
    age = np.linspace(18, 80, rows) if ages is None else np.array(ages)
    codes = (np.arange(rows) % 2).astype(np.int32)
    return PredictionBatch(
        KEY,
        time_ns,
        np.zeros((rows, 2), np.uint64),
        np.ones(rows),
        np.full(rows, np.nan),
        {"age": Column(age), "country": Column(None, codes, ("de", "fr"))},
        prediction=Column(None, codes, ("no", "yes")),
    )


REFERENCE = build_reference("fraud", batch([0] * 200), task="binary_classification", positive_class="yes")


def windows(policy: WindowPolicy = POLICY, telemetry: Telemetry | None = None) -> ModelWindows:
    return ModelWindows(KEY, REFERENCE.schema.fork(), policy, telemetry or Telemetry())


def outcomes(times: list[int], weight: float = 1.0) -> OutcomeBatch:
    rows = len(times)
    unknown, labels = np.full(rows, np.nan), np.zeros(rows, np.int32)
    return OutcomeBatch(
        np.array(times, np.int64), np.full(rows, weight), unknown, unknown, np.zeros((rows, 0), np.int32),
        np.ones(rows), labels=labels, predicted=labels,
    )  # fmt: skip


def rows(window: Window) -> float:
    return float(window.pane.rows[1])


def labels(window: Window) -> float:
    return float(window.pane.outcomes.labels[0])


def drain(model: ModelWindows, now_ns: int) -> list[Window]:
    found: list[Window] = []
    while due := model.close(now_ns, limit_bytes=1):
        found += due
    return found


def counted(telemetry: Telemetry, name: str, **labels: str) -> float:
    return telemetry.registry.get_sample_value(name, labels) or 0.0
