"""What a figure's exemplars are: predictions from the cells that made it, and none where nothing is wrong."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from collector_processor.columns.batch import LabelBatch, PredictionBatch
from collector_processor.labels.join import LabelJoin
from collector_processor.monitors.base import Exemplar, Measurement
from collector_processor.monitors.exemplars import MOST, with_exemplars
from collector_processor.monitors.predictions import PredictionCounter
from collector_processor.own.telemetry import Telemetry
from collector_processor.pipeline.settings import MlMonitor, ModelConfig
from collector_processor.pipeline.watched import Model, begin
from collector_processor.reference.build import build_reference
from collector_processor.window.closed import Window
from otel_ml import semconv
from support.traced import KEY, RUN, predictions, reference, texts

REFERENCE = reference()
ROWS = 2000


def current(seed: int = 9, **changes: object) -> PredictionBatch:
    random = np.random.default_rng(seed)
    amount = random.normal(50.0, 10.0, ROWS)
    country = random.choice(["de", "fr", "it"], ROWS).tolist()
    score = random.random(ROWS)
    for row in range(ROWS):
        if row % 4 == 0 and "shift" in changes:
            amount[row] = 74.0
        if row % 4 == 1 and "missing" in changes:
            amount[row] = np.nan
        if row % 4 == 2 and "new" in changes:
            country[row] = "xx"
        if row % 4 == 3 and "high" in changes:
            amount[row] = 1e9
    error = ["Timeout" if row % 5 == 0 else None for row in range(ROWS)] if "failing" in changes else None
    return predictions(amount, country, score, seed=seed, error=error, traced="untraced" not in changes)


def measured(batch: PredictionBatch, labels: Callable[[int, str], str] | None = None) -> list[Measurement]:
    """All measurements of a window with these rows, and the labels that follow from row and prediction."""
    model = Model(KEY, ModelConfig(), PredictionCounter(KEY, 0, 10), 0)
    watch = begin(model, REFERENCE, MlMonitor(), Telemetry())
    schema = watch.windows.schema
    watch.add(batch, 2 * 10**9)
    if labels is not None:
        join = LabelJoin()
        join.predictions(KEY, schema, batch)
        assert batch.prediction is not None
        assert batch.prediction.codes is not None
        predicted = [batch.prediction.categories[code] for code in batch.prediction.codes.tolist()]
        truth = texts([labels(row, each) for row, each in enumerate(predicted)])
        label_batch = LabelBatch(KEY.name, batch.time_ns, batch.ids, truth)
        for _, outcomes in join.labels(label_batch, {KEY: schema}, {}):
            watch.add_outcomes(outcomes)
    window = next(each for each in watch.windows.close(10**15) if each.pane.rows[1])
    return watch.evaluate(window)


def traces(found: list[Measurement], name: str, **attributes: str) -> list[int]:
    """The rows of the exemplars of the only measurement with this name and attributes."""
    wanted = {getattr(semconv, key): value for key, value in attributes.items()}
    [item] = [
        each for each in found if each.name == name and wanted.items() <= dict(each.attributes).items()
    ]  # fmt: skip
    for each in item.exemplars:
        assert each.trace_id == f"{RUN:016x}{int(each.span_id, 16):016x}"
    assert len(item.exemplars) <= MOST
    return [int(each.span_id, 16) - 1 for each in item.exemplars]


def test_drift_leads_to_the_bins_that_gained() -> None:
    batch = current(shift=True)
    found = measured(batch)
    rows = traces(found, semconv.DRIFT_DRIFTED, FEATURE_NAME="amount")
    amount = batch.features["amount"].numbers
    assert amount is not None
    assert rows
    assert (amount[rows] > 65.0).all()  # the group of bins that has 74, which is a thirtieth of the reference
    assert traces(found, semconv.DRIFT_SCORE, FEATURE_NAME="amount", DRIFT_METHOD="js") == rows
    assert traces(found, semconv.DRIFT_SHARE)[:1] == rows[:1]
    assert traces(found, semconv.DRIFT_DRIFTED, FEATURE_NAME="country") == []


def test_drift_leads_to_new_categories() -> None:
    rows = traces(measured(current(new=True)), semconv.DRIFT_DRIFTED, FEATURE_NAME="country")
    assert rows
    assert all(row % 4 == 2 for row in rows)


@pytest.mark.parametrize(
    ("change", "name", "feature", "rest"),
    [
        ("missing", semconv.QUALITY_MISSING, "amount", 1),
        ("missing", semconv.QUALITY_MISSING_INCREASE, "amount", 1),
        ("new", semconv.QUALITY_UNSEEN, "country", 2),
        ("high", semconv.QUALITY_OUT_OF_RANGE, "amount", 3),
    ],
)
def test_quality_leads_to_the_cells_that_are_wrong(change: str, name: str, feature: str, rest: int) -> None:
    rows = traces(measured(current(**{change: True})), name, FEATURE_NAME=feature)
    assert rows
    assert all(row % 4 == rest for row in rows)


def test_an_error_rate_leads_to_failed_calls_of_its_segment() -> None:
    batch = current(failing=True)
    found = measured(batch)
    everything, german = (
        [each for each in found if each.name == semconv.QUALITY_ERROR_RATE and wanted in dict(each.attributes).values()]
        for wanted in ("7", "de")
    )
    for item in (*everything, *german):
        [exemplar] = item.exemplars
        assert (int(exemplar.span_id, 16) - 1) % 5 == 0
    country = batch.features["country"]
    assert country.codes is not None
    [item] = german
    assert country.categories[country.codes[int(item.exemplars[0].span_id, 16) - 1]] == "de"


def test_performance_leads_to_wrong_predictions() -> None:
    batch = current()
    assert batch.prediction is not None
    assert batch.prediction.codes is not None
    predicted = [batch.prediction.categories[code] for code in batch.prediction.codes.tolist()]
    opposite = {"yes": "no", "no": "yes"}
    found = measured(batch, lambda row, each: opposite[each] if row % 5 == 0 else each)
    for name in ("accuracy", "f1", "precision", "recall"):
        for item in [each for each in found if each.name == semconv.PERFORMANCE + name]:
            if dict(item.attributes).get(semconv.PERFORMANCE_SOURCE) != semconv.SOURCE_LABELS:
                assert item.exemplars == ()
                continue
            [row] = [int(each.span_id, 16) - 1 for each in item.exemplars]
            assert row % 5 == 0
            segment = dict(item.attributes).get(semconv.SEGMENT_VALUE)
            country = batch.features["country"]
            assert country.codes is not None
            assert segment in (None, country.categories[country.codes[row]])
            if segment is None and name in ("precision", "recall"):
                assert predicted[row] == ("yes" if name == "precision" else "no")


def test_without_change_or_traces_there_are_no_exemplars_of_drift_or_quality() -> None:
    names = (semconv.DRIFT_SCORE, semconv.DRIFT_SHARE, semconv.DRIFT_DRIFTED, semconv.QUALITY_MISSING)
    assert not any(each.exemplars for each in measured(current()) if each.name in names)
    assert not any(each.exemplars for each in measured(current(shift=True, missing=True, new=True, untraced=True)))


def test_alarms_of_other_monitors_are_found_by_their_column() -> None:
    model = Model(KEY, ModelConfig(), PredictionCounter(KEY, 0, 10), 0)
    watch = begin(model, REFERENCE, MlMonitor(), Telemetry())
    watch.add(current(missing=True), 2 * 10**9)
    window: Window = next(each for each in watch.windows.close(10**15) if each.pane.rows[1])
    keys = (
        (semconv.MODEL_NAME, "fraud"), (semconv.MODEL_VERSION, "7"),
        (semconv.COLUMN_ROLE, "feature"), (semconv.FEATURE_NAME, "amount"),
    )  # fmt: skip
    alarm = Measurement("ml.drift.alarm", 1.0, semconv.UNIT_BREACH, keys, window.end_ns)
    when = Measurement("ml.drift.changed_at", 1e9, "s", (*keys, ("ml.drift.change", "missing_up")), window.end_ns)
    share = Measurement("ml.drift.alarm_share", 0.5, "1", keys[:2], window.end_ns)
    found = with_exemplars([alarm, when, share], window, REFERENCE)
    for item in found:
        assert item.exemplars
        assert all((int(each.span_id, 16) - 1) % 4 == 1 for each in item.exemplars)
    quiet = with_exemplars([replace(alarm, value=0.0), when, replace(share, value=0.0)], window, REFERENCE)
    assert not any(item.exemplars for item in quiet)
    unknown = replace(alarm, attributes=(*keys[:3], (semconv.FEATURE_NAME, "gone")))
    assert with_exemplars([unknown], window, REFERENCE) == [unknown]


def test_a_regression_leads_to_its_largest_errors() -> None:
    random = np.random.default_rng(2)

    def regression(traced: bool) -> PredictionBatch:
        batch = predictions(random.normal(50.0, 10.0, ROWS), ["de"] * ROWS, traced=traced)
        return replace(batch, prediction=None, score=None, value=batch.features["amount"].numbers)

    profile = build_reference("fraud", regression(False), task="regression", segments=("country",))
    model = Model(KEY, ModelConfig(), PredictionCounter(KEY, 0, 10), 0)
    watch = begin(model, profile, MlMonitor(), Telemetry())
    batch, join = regression(True), LabelJoin()
    watch.add(batch, 2 * 10**9)
    join.predictions(KEY, watch.windows.schema, batch)
    assert batch.value is not None
    values = batch.value + np.where(np.arange(ROWS) % 10 == 0, 1000.0, 0.5)
    labels = LabelBatch(KEY.name, batch.time_ns, batch.ids, values=values)
    for _, outcomes in join.labels(labels, {KEY: watch.windows.schema}, {}):
        watch.add_outcomes(outcomes)
    window = next(each for each in watch.windows.close(10**15) if each.pane.rows[1])
    [mae] = [
        each
        for each in watch.evaluate(window)
        if each.name == semconv.PERFORMANCE + "mae"
        and dict(each.attributes)[semconv.PERFORMANCE_SOURCE] == semconv.SOURCE_LABELS
        and semconv.SEGMENT_NAME not in dict(each.attributes)
    ]
    assert mae.exemplars
    assert (int(mae.exemplars[0].span_id, 16) - 1) % 10 == 0
    assert isinstance(mae.exemplars[0], Exemplar)
