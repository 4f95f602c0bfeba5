"""Performance by the time of prediction: labels that come later restate the stretch of time they belong to."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from collector_processor.columns.batch import Column, Decoded, LabelBatch, ModelKey, PredictionBatch
from collector_processor.decode import hash_ids
from collector_processor.monitors.base import Measurement
from collector_processor.own.telemetry import Telemetry
from collector_processor.pipeline.pipeline import Pipeline
from collector_processor.pipeline.settings import MlMonitor
from collector_processor.reference.build import build_reference
from collector_processor.service.state import StateStore
from collector_processor.window.cohorts import MOST, Cohorts
from otel_ml import semconv
from support.windows import REFERENCE, outcomes

MINUTE = 60 * 10**9
HOUR = 60 * MINUTE
BEGIN = 1_750_000_000 * 10**9 // HOUR * HOUR
KEY = ModelKey("fraud", "1")
NAMES = ("no", "yes")
HOURLY = 200
CONFIG = {
    "window": {"size": "1h", "every": "1h", "min_rows": 50, "min_labels": 50, "allowed_lateness": "0s"},
    "labels": {"wait": "7d"},
}


def predictions(hour: int, weight: float = 1.0) -> PredictionBatch:
    numbers = np.arange(hour * HOURLY, (hour + 1) * HOURLY)
    said = (numbers % 2).astype(np.int32)
    times = BEGIN + hour * HOUR + np.arange(HOURLY) * HOUR // HOURLY
    return PredictionBatch(
        KEY, times, hash_ids([str(number) for number in numbers]), np.full(HOURLY, weight), np.full(HOURLY, 0.01),
        {"amount": Column(numbers % 50.0)}, prediction=Column(None, said, NAMES), score=said * 0.8 + 0.1,
    )  # fmt: skip


def labels(hour: int, rows: slice, wrong: float, at_ns: int) -> LabelBatch:
    """The labels of some of an hour's rows, a share of them other than predicted."""
    numbers = np.arange(hour * HOURLY, (hour + 1) * HOURLY)[rows]
    truth = np.where(np.arange(len(numbers)) < wrong * len(numbers), 1 - numbers % 2, numbers % 2).astype(np.int32)
    ids = hash_ids([str(number) for number in numbers])
    return LabelBatch("fraud", np.full(len(numbers), at_ns, np.int64), ids, classes=Column(None, truth, NAMES))


class Line:
    def __init__(self, directory: Path | None = None, **config: object) -> None:
        self.telemetry = Telemetry()
        reference = build_reference("fraud", predictions(-5), positive_class="yes")
        settings = MlMonitor.model_validate(CONFIG | config)
        self.pipeline = Pipeline(settings, {"fraud": reference}, self.telemetry, BEGIN)
        self.store = None if directory is None else StateStore(directory, self.telemetry)
        if self.store is not None:
            self.store.restore(self.pipeline, BEGIN)

    def hour(self, hour: int, *batches: LabelBatch, weight: float = 1.0) -> list[Measurement]:
        """An hour of predictions, then labels; what is measured when the hour before closes."""
        now_ns = BEGIN + (hour + 1) * HOUR - 1
        self.pipeline.process([Decoded((predictions(hour, weight),), ())], now_ns)
        for batch in batches:
            self.pipeline.process([Decoded((), (batch,))], now_ns)
        return self.pipeline.tick(now_ns)


def found(measured: list[Measurement]) -> dict[str, float]:
    """What the newest restated figures say, by the last part of their name."""
    return {
        item.name.rsplit(".", 1)[1]: item.value
        for item in measured
        if (semconv.PERFORMANCE_SOURCE, "restated") in item.attributes or item.name.startswith("ml.cohort.")
    }


def test_late_labels_restate_the_hour_of_their_predictions() -> None:
    line = Line()
    line.hour(0)
    assert found(line.hour(1)) == {}
    # Half of the labels come at once, and all are right; the others come two hours later, and half are wrong.
    early = found(line.hour(2, labels(0, slice(0, 100), 0.0, BEGIN + 2 * HOUR)))
    assert early["accuracy"] == 1.0
    assert early["coverage"] == 0.5
    assert early["end"] == (BEGIN + HOUR) / 1e9
    late = found(line.hour(3, labels(0, slice(100, 200), 0.5, BEGIN + 3 * HOUR)))
    assert late["accuracy"] == 0.75
    assert late["coverage"] == 1.0
    assert late["recall"] == 0.75


def test_a_corrected_label_replaces_the_one_before() -> None:
    line = Line()
    line.hour(0)
    line.hour(1, labels(0, slice(0, 200), 0.5, BEGIN + HOUR))
    assert found(line.hour(2))["accuracy"] == 0.5
    line.hour(3, labels(0, slice(0, 200), 0.0, BEGIN + 3 * HOUR))
    assert found(line.hour(4))["accuracy"] == 1.0


def test_an_hour_with_few_of_its_labels_waits_for_the_others() -> None:
    """Labels that come first are not like the others: the newest hour that is nearly complete is what counts."""
    line = Line()
    for hour in range(3):
        line.hour(hour)
    line.hour(3, labels(0, slice(0, 200), 0.25, BEGIN + 3 * HOUR), labels(1, slice(0, 60), 1.0, BEGIN + 3 * HOUR))
    shown = found(line.hour(4))
    assert (shown["end"], shown["accuracy"]) == ((BEGIN + HOUR) / 1e9, 0.75)
    line.hour(5, labels(1, slice(60, 200), 1.0, BEGIN + 5 * HOUR))
    shown = found(line.hour(6))
    assert (shown["end"], shown["accuracy"]) == ((BEGIN + 2 * HOUR) / 1e9, 0.0)


def test_weights_count_on_both_sides() -> None:
    line = Line()
    line.hour(0, weight=4.0)
    line.hour(1, labels(0, slice(0, 100), 0.0, BEGIN + HOUR))
    assert found(line.hour(2))["coverage"] == 0.5


def test_a_restart_keeps_the_cohorts(tmp_path: Path) -> None:
    line = Line(tmp_path)
    line.hour(0)
    line.hour(1, labels(0, slice(0, 100), 0.0, BEGIN + HOUR))
    assert line.store is not None
    line.store.save(line.pipeline)
    again = Line(tmp_path)
    expected = line.hour(2, labels(0, slice(100, 200), 0.5, BEGIN + 2 * HOUR))
    measured = again.hour(2, labels(0, slice(100, 200), 0.5, BEGIN + 2 * HOUR))
    assert found(measured) == found(expected)
    assert found(measured)["accuracy"] == 0.75


def test_another_width_starts_over_and_is_counted(tmp_path: Path) -> None:
    line = Line(tmp_path)
    line.hour(0)
    line.hour(1, labels(0, slice(0, 100), 0.0, BEGIN + HOUR))
    assert line.store is not None
    line.store.save(line.pipeline)
    again = Line(tmp_path, labels={"wait": "60d"})
    dropped = {"stage": "state", "reason": "does_not_fit", "intentional": "false"}
    assert again.telemetry.registry.get_sample_value("otel_ml_dropped_total", dropped) == 1.0


def test_only_so_many_cohorts_are_kept() -> None:
    cohorts = Cohorts(KEY, REFERENCE.schema, HOUR)
    for hour in range(3 * MOST):
        batch = replace(predictions(0), time_ns=np.full(HOURLY, BEGIN + hour * HOUR))
        cohorts.add(batch, BEGIN + 10_000 * HOUR)
        cohorts.add_outcomes(replace(outcomes([0] * 50), predicted_ns=np.full(50, BEGIN + hour * HOUR)))
    state = cohorts.state()
    assert len(state["numbers"]) == len(state["opened"]) == MOST
    size = cohorts.nbytes
    cohorts.add_outcomes(replace(outcomes([0] * 50), predicted_ns=np.full(50, BEGIN)))  # long forgotten
    assert cohorts.nbytes == size


def test_times_that_no_clock_has_yet_push_nothing_out() -> None:
    cohorts = Cohorts(KEY, REFERENCE.schema, HOUR)
    cohorts.add(predictions(0), BEGIN + HOUR)
    for hour in range(2 * MOST):
        cohorts.add(replace(predictions(0), time_ns=np.full(HOURLY, BEGIN + (100_000 + hour) * HOUR)), BEGIN + HOUR)
    assert cohorts.state()["numbers"].tolist() == [BEGIN // HOUR]


def test_failed_calls_have_no_label_to_wait_for() -> None:
    failed = Column(None, np.where(np.arange(HOURLY) < 150, 0, -1).astype(np.int32), ("ValueError",))
    cohorts = Cohorts(KEY, REFERENCE.schema, HOUR)
    cohorts.add(replace(predictions(0), error=failed), BEGIN + HOUR)
    assert cohorts.state()["predictions"].tolist() == [50.0]


@pytest.mark.parametrize("broken", [{"numbers": [1]}, {"opened": np.array([7])}, {"predictions": np.zeros((2, 2))}])
def test_a_damaged_state_is_refused(broken: dict[str, object]) -> None:
    cohorts = Cohorts(KEY, REFERENCE.schema, HOUR)
    cohorts.add(predictions(0), BEGIN + HOUR)
    with pytest.raises(ValueError, match="saved cohorts"):
        Cohorts(KEY, REFERENCE.schema, HOUR).restore(cohorts.state() | broken)
