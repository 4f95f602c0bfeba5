"""Rules of the pipeline: learning, counting, versions side by side, limits, and what one failure may not take along."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from collector_processor.columns.batch import Column, Decoded, LabelBatch, ModelKey, PredictionBatch
from collector_processor.decode import hash_ids
from collector_processor.monitors.base import Measurement
from collector_processor.own.telemetry import Telemetry
from collector_processor.pipeline.pipeline import Pipeline
from collector_processor.pipeline.settings import MlMonitor
from collector_processor.reference.build import build_reference

NOW_NS = 1_750_000_000 * 10**9
S = 10**9
V1, V2 = ModelKey("fraud", "1"), ModelKey("fraud", "2")


def settings(**changes: Any) -> MlMonitor:
    base = {
        "window": {"size": "200 rows", "allowed_lateness": "10s", "min_rows": 50, "min_labels": 5},
        "reference": {"learn": 100},
    }
    return MlMonitor.model_validate({**base, **changes})


def texts(values: Sequence[str]) -> Column:
    names = tuple(dict.fromkeys(values))
    return Column(codes=np.array([names.index(value) for value in values], np.int32), categories=names)


def rows(
    model: ModelKey,
    count: int,
    first: int = 0,
    *,
    predicted: str = "yes",
    features: Sequence[str] = ("amount",),
    time_ns: int = NOW_NS,
    segment: str = "",
) -> PredictionBatch:
    """Rows whose ids are their numbers; every feature is the row's number modulo 50."""
    numbers = np.arange(first, first + count)
    return PredictionBatch(
        model=model,
        time_ns=np.full(count, time_ns, np.int64),
        ids=hash_ids([str(number) for number in numbers]),
        weights=np.ones(count),
        duration_s=np.full(count, 0.01),
        features={name: Column(numbers % 50.0) for name in features},
        prediction=texts([predicted] * count),
        segments={"country": texts([segment] * count)} if segment else {},
    )


def broken_rows(model: ModelKey, count: int) -> PredictionBatch:
    """A batch that no decoder makes: a column is shorter than the batch."""
    return replace(rows(model, count), features={"amount": Column(np.zeros(3))})


def labels(name: str, ids: Sequence[int], said: str = "yes", time_ns: int = NOW_NS) -> LabelBatch:
    hashes = hash_ids([str(number) for number in ids])
    return LabelBatch(name, np.full(len(ids), time_ns, np.int64), hashes, classes=texts([said] * len(ids)))


class Line:
    """A pipeline with its telemetry, fed by hand."""

    def __init__(self, config: MlMonitor | None = None, **references: Any) -> None:
        self.telemetry = Telemetry()
        self.pipeline = Pipeline(config or settings(), references, self.telemetry, NOW_NS)

    def feed(self, *batches: PredictionBatch | LabelBatch, now_ns: int = NOW_NS, **more: Any) -> None:
        decoded = Decoded(
            tuple(batch for batch in batches if isinstance(batch, PredictionBatch)),
            tuple(batch for batch in batches if isinstance(batch, LabelBatch)),
            **more,
        )
        self.pipeline.process([decoded], now_ns)

    def tick(self, now_ns: int = NOW_NS) -> list[Measurement]:
        return self.pipeline.tick(now_ns)

    def counted(self, name: str, **by: str) -> float:
        return self.telemetry.registry.get_sample_value(name, by) or 0.0


def value(found: Sequence[Measurement], name: str, **wanted: str) -> float | None:
    """The one value of a metric with these attributes (dots as underscores); None without any."""
    matching = [
        item.value
        for item in found
        if item.name == name
        and wanted.items() <= {key.replace(".", "_"): text for key, text in item.attributes}.items()
        and ("ml_segment_name" in wanted or "ml.segment.name" not in dict(item.attributes))
    ]
    assert len(matching) <= 1, matching
    return matching[0] if matching else None


# --- learning ------------------------------------------------------------------------------------------------
def test_a_reference_is_learned_from_the_first_rows_and_they_count_in_the_windows_too(
    caplog: pytest.LogCaptureFixture,
) -> None:
    line = Line()
    with caplog.at_level(logging.INFO):
        line.feed(rows(V1, 99))
        assert line.pipeline.models[V1].watch is None
        line.feed(rows(V1, 60, 99))
    watch = line.pipeline.models[V1].watch
    assert watch is not None
    assert (watch.reference.pane.rows[1], watch.reference.source) == (100, "the first 100 rows")
    said = "model 'fraud@1': no reference; learning one from the first 100 rows"
    assert said in caplog.messages
    assert "model 'fraud@1': reference learned from the first 100 rows" in caplog.messages
    assert line.tick() == []
    line.feed(rows(V1, 41, 159))
    found = line.tick()
    assert value(found, "ml.window.rows") == 200
    assert value(found, "ml.drift.score", ml_feature_name="amount", ml_drift_method="ks") == pytest.approx(0, abs=0.02)


def test_predictions_are_counted_from_the_first_minute_and_learning_shows_its_progress() -> None:
    line = Line(settings(reference={}))
    line.feed(rows(V1, 138, time_ns=NOW_NS))
    found = line.tick(NOW_NS + 60 * S)
    assert value(found, "ml.predictions", ml_prediction_class="yes") == 138
    assert line.counted("otel_ml_learning_ratio", model="fraud@1") == 138 / 5000
    line.feed(rows(V1, 12, 138, time_ns=NOW_NS + 43_200 * S), now_ns=NOW_NS + 43_200 * S)
    assert line.counted("otel_ml_learning_ratio", model="fraud@1") == 0.5
    line.feed(rows(V1, 62, 150, time_ns=NOW_NS + 90_000 * S), now_ns=NOW_NS + 90_000 * S)
    assert line.counted("otel_ml_learning_ratio", model="fraud@1") == 1
    model = line.pipeline.models[V1]
    assert model.watch is not None
    assert model.watch.reference.source == "the first 212 rows"
    assert "learned from 212 rows: thresholds are higher" in model.problems["few_reference_rows"]


def hourly(count: int, hour: int) -> PredictionBatch:
    return rows(V1, count, hour * 1000, time_ns=NOW_NS + hour * 3600 * S)


def test_windows_that_never_have_enough_rows_are_told_of_once(caplog: pytest.LogCaptureFixture) -> None:
    line = Line(settings(window={"size": "1h", "every": "10m", "allowed_lateness": "0s", "min_rows": 50}))
    line.feed(hourly(100, 0))
    line.tick(NOW_NS)
    for hour in range(1, 6):
        line.feed(hourly(8, hour), now_ns=NOW_NS + hour * 3600 * S)
        line.tick(NOW_NS + hour * 3600 * S)
    assert not any("drift needs" in message for message in caplog.messages), "a first day may be quiet"
    for hour in range(6, 72):
        line.feed(hourly(8, hour), now_ns=NOW_NS + hour * 3600 * S)
        line.tick(NOW_NS + hour * 3600 * S)
    said = "the fullest window has 8 of 50 rows; drift needs 50: use `window: {size: 50 rows}`, or a longer size"
    assert caplog.messages.count(f"model 'fraud@1': {said}") == 1
    watch = line.pipeline.models[V1].watch
    assert watch is not None
    assert watch.few_rows.text == said
    line.feed(hourly(60, 72), now_ns=NOW_NS + 72 * 3600 * S)
    line.feed(hourly(1, 73), now_ns=NOW_NS + 73 * 3600 * S)
    line.tick(NOW_NS + 73 * 3600 * S)
    assert watch.few_rows.text == ""


@pytest.mark.parametrize(
    ("window", "drift", "told"),
    [
        ({"size": "1h"}, {}, True),
        ({"size": "1h", "min_rows": 8}, {}, False),
        ({"size": "1h"}, {"numeric": [], "categorical": []}, False),
        ({"size": "50 rows"}, {}, False),
    ],
)
def test_a_model_with_little_traffic_is_told_of_after_its_first_whole_window(
    window: dict[str, Any], drift: dict[str, Any], told: bool, caplog: pytest.LogCaptureFixture
) -> None:
    base = {"allowed_lateness": "0s", "min_rows": 50}
    config = settings(window={**base, **window}, drift=drift)
    reference = build_reference("fraud", rows(V1, 2000))
    line = Line(config, fraud=reference)
    for minute in range(0, 55, 5):
        line.feed(rows(V1, 1, minute, time_ns=NOW_NS + minute * 60 * S), now_ns=NOW_NS + minute * 60 * S)
        line.tick(NOW_NS + minute * 60 * S)
    assert not caplog.messages
    for minute in range(55, 75, 5):
        line.feed(rows(V1, 1, minute, time_ns=NOW_NS + minute * 60 * S), now_ns=NOW_NS + minute * 60 * S)
        line.tick(NOW_NS + minute * 60 * S)
    assert [("drift needs" in message) for message in caplog.messages] == [True] * told


def test_labels_that_come_while_a_reference_is_learned_join_afterwards() -> None:
    line = Line()
    line.feed(rows(V1, 50), labels("fraud", range(20)))
    line.feed(rows(V1, 150, 50))
    line.feed(rows(V1, 200, 200))
    assert [item.value for item in line.tick() if item.name == "ml.window.labels"] == [20, 0]
    assert line.counted("otel_ml_labels_total", model="fraud", outcome="joined_early") == 20


def test_a_reference_that_is_given_is_used_from_the_first_row_on() -> None:
    reference = build_reference("fraud", rows(V1, 500))
    line = Line(fraud=reference)
    line.feed(rows(V1, 1), rows(V2, 1))
    for key in (V1, V2):
        watch = line.pipeline.models[key].watch
        assert watch is not None
        assert watch.reference is reference


def test_versions_do_not_share_what_their_tables_have_grown_to() -> None:
    line = Line(fraud=build_reference("fraud", rows(V1, 500)))
    line.feed(rows(V1, 10, predicted="new in 1"), rows(V2, 10, predicted="new in 2"))
    tables = [model.watch.windows.schema.classes.names(0) for model in line.pipeline.models.values() if model.watch]
    assert tables == [["yes", "new in 1"], ["yes", "new in 2"]]


def test_a_positive_class_that_never_came_is_told(caplog: pytest.LogCaptureFixture) -> None:
    line = Line(settings(models={"fraud": {"positive_class": "leaver"}}))
    line.feed(rows(V1, 60, predicted="leaves"), rows(V1, 60, 60, predicted="stays"))
    assert "model 'fraud@1': no row has the positive class 'leaver'; using 'stays' instead" in caplog.messages


def test_a_label_that_one_version_had_waits_for_the_one_that_is_still_learning() -> None:
    line = Line()
    line.feed(rows(V1, 150))
    line.feed(rows(V2, 50))
    line.feed(labels("fraud", range(50)))
    line.feed(rows(V1, 50, 150), rows(V2, 150, 50))
    found = line.tick()
    by_version = [value(found, "ml.window.labels", ml_model_version=key.version) for key in (V1, V2)]
    assert by_version == [50, 50]
    assert line.counted("otel_ml_labels_total", model="fraud", outcome="joined") == 50


def test_rows_that_no_reference_can_be_learned_from_are_counted_and_let_go() -> None:
    line = Line()
    line.feed(broken_rows(V1, 100))
    assert line.counted("otel_ml_errors_total", stage="statistics") == 1
    line.feed(rows(V1, 200))
    assert value(line.tick(), "ml.window.rows") == 200


# --- counting ------------------------------------------------------------------------------------------------
def test_unknown_features_are_told_once_in_the_users_words_and_counted_every_time(
    caplog: pytest.LogCaptureFixture,
) -> None:
    key = ModelKey("fraud")
    line = Line(fraud=build_reference("fraud", rows(key, 500, features=("amount", "country"))))
    for _ in range(3):
        line.feed(rows(key, 10, features=("amount", "age")))
    expected = "model 'fraud': reference has no feature 'age'; it has: amount, country"
    assert [message for message in caplog.messages if "no feature" in message] == [expected]
    dropped = {"stage": "statistics", "reason": "unknown_feature", "intentional": "true"}
    assert line.counted("otel_ml_dropped_total", **dropped) == 30


def test_predictions_are_counted_on_for_ever_and_stamped_with_the_time_of_the_count() -> None:
    line = Line()
    line.feed(rows(V1, 400, time_ns=NOW_NS - 3600 * S))
    found = line.tick(NOW_NS + 5)
    total = [item for item in found if item.name == "ml.predictions"]
    assert [(item.value, item.kind, item.start_ns) for item in total] == [(400, "counter", NOW_NS)]
    assert total[0].time_ns == NOW_NS + 5, "a window's end may be before the start, and is too old for who asks for now"
    line.feed(rows(V1, 200, 400, predicted="no"))
    found = line.tick()
    assert value(found, "ml.predictions", ml_prediction_class="yes") == 400
    assert value(found, "ml.predictions", ml_prediction_class="no") == 200


def test_predictions_are_told_though_no_window_closes_so_that_nobody_takes_that_for_silence() -> None:
    line = Line(fraud=build_reference("fraud", rows(V1, 500)))
    line.feed(rows(V1, 3))
    assert line.tick(NOW_NS + 29 * S) == []
    for seconds in range(30, 3600, 30):
        found = line.tick(NOW_NS + seconds * S)
        assert [(item.name, item.value, item.time_ns) for item in found] == [
            ("ml.predictions", 3, NOW_NS + seconds * S)
        ]
        assert line.tick(NOW_NS + seconds * S + 1) == []


def test_a_model_that_nobody_asks_any_more_is_told_of_for_an_hour_only() -> None:
    line = Line(fraud=build_reference("fraud", rows(V1, 500)))
    line.feed(rows(V1, 3))
    assert line.tick(NOW_NS + 3600 * S) != []
    assert line.tick(NOW_NS + 3700 * S) == []
    line.feed(rows(V1, 1, 3), now_ns=NOW_NS + 9000 * S)
    assert value(line.tick(NOW_NS + 9000 * S), "ml.predictions") == 4


def test_a_model_that_still_learns_its_reference_has_its_counts_only() -> None:
    line = Line()
    line.feed(rows(V1, 50))
    assert [item.name for item in line.tick(NOW_NS + 60 * S)] == ["ml.predictions"]


def test_what_decoding_dropped_is_counted_by_reason() -> None:
    line = Line()
    line.feed(dropped={"text_truncated": 3})
    labels = {"stage": "decode", "reason": "text_truncated", "intentional": "true"}
    assert line.counted("otel_ml_dropped_total", **labels) == 3


def test_a_models_own_window_and_segments_go_before_the_connectors() -> None:
    model = {"window": {"size": "10s", "every": "10s", "allowed_lateness": "5s"}, "segments": ["country"]}
    line = Line(settings(models={"fraud": model}))
    line.feed(rows(V1, 120, segment="DE"))
    assert line.tick(NOW_NS) == []
    found = line.tick(NOW_NS + 60 * S)
    counts = [(item.value, item.time_ns) for item in found if item.name == "ml.window.rows"]
    assert (120.0, NOW_NS + 10 * S) in counts
    first = [item for item in found if item.time_ns == NOW_NS + 10 * S]
    assert value(first, "ml.window.rows", ml_segment_name="country", ml_segment_value="DE") == 120


# --- versions ------------------------------------------------------------------------------------------------
def test_champion_and_challenger_are_judged_side_by_side_by_the_same_labels() -> None:
    line = Line()
    line.feed(rows(V1, 199, predicted="yes"), rows(V2, 199, predicted="no"))
    line.feed(labels("fraud", range(150), "yes"), labels("fraud", range(150, 199), "no"))
    line.feed(rows(V1, 1, 199, predicted="yes"), rows(V2, 1, 199, predicted="no"))
    found = line.tick()
    for version, right in (("1", 150), ("2", 49)):
        assert value(found, "ml.window.labels", ml_model_version=version) == 199
        assert value(found, "ml.performance.accuracy", ml_model_version=version) == pytest.approx(right / 199)
    assert line.counted("otel_ml_labels_total", model="fraud", outcome="joined") == 199


def test_labels_of_one_model_never_touch_another() -> None:
    other = ModelKey("churn")
    line = Line()
    line.feed(rows(V1, 199), rows(other, 199), labels("churn", range(199)))
    line.feed(rows(V1, 1, 199), rows(other, 1, 199))
    found = line.tick()
    assert value(found, "ml.window.labels", ml_model_name="fraud") == 0
    assert value(found, "ml.window.labels", ml_model_name="churn") == 199


# --- limits --------------------------------------------------------------------------------------------------
def test_a_model_over_the_limit_is_dropped_while_no_other_is_idle_and_told_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    line = Line(settings(limits={"models": 2}))
    keys = [ModelKey(name) for name in ("a", "b", "c", "d")]
    for _ in range(2):
        line.feed(*(rows(key, 10) for key in keys))
    assert list(line.pipeline.models) == keys[:2]
    assert line.counted("otel_ml_dropped_total", stage="models", reason="limit", intentional="true") == 40
    assert line.counted("otel_ml_models") == 2
    expected = "model 'c' and any other new model are dropped: limits.models is 2 and none of those models is idle"
    assert [message for message in caplog.messages if "limits.models" in message] == [expected]


def test_the_longest_idle_model_makes_room_with_all_that_was_kept_of_it(caplog: pytest.LogCaptureFixture) -> None:
    line = Line(settings(limits={"models": 2}))
    a, b, c = (ModelKey(name) for name in "abc")
    line.feed(rows(a, 200), rows(b, 200))
    line.tick()
    assert line.counted("otel_ml_pending_predictions", model="a") == 200
    later_ns = NOW_NS + 11 * S
    line.feed(rows(b, 10), now_ns=later_ns)
    line.feed(rows(c, 10), now_ns=later_ns)
    assert list(line.pipeline.models) == [b, c]
    assert "model 'a' was evicted to make room: limits.models is 2" in caplog.messages
    assert line.counted("otel_ml_evicted_total", store="models", reason="limit") == 1
    assert line.counted("otel_ml_evicted_total", store="pending_predictions", reason="forgotten") == 200
    for name in ("otel_ml_rows_total", "otel_ml_windows_closed_total", "otel_ml_pending_predictions"):
        assert line.telemetry.registry.get_sample_value(name, {"model": "a"}) is None
    line.feed(labels("a", range(10)))
    assert line.counted("otel_ml_labels_total", model="a", outcome="early") == 10


def test_room_is_made_by_a_model_with_empty_windows_not_by_one_that_is_merely_idle_for_longer() -> None:
    long = {"window": {"size": "1h", "allowed_lateness": "10s"}}
    line = Line(settings(limits={"models": 2}, models={"long": long}))
    keys = {name: ModelKey(name) for name in ("long", "short", "new")}
    line.feed(rows(keys["long"], 10), now_ns=NOW_NS)
    line.feed(rows(keys["short"], 10), now_ns=NOW_NS + S)
    line.feed(rows(keys["new"], 10), now_ns=NOW_NS + 11 * S)
    assert list(line.pipeline.models) == [keys["long"], keys["short"]]
    line.feed(rows(keys["new"], 10), now_ns=NOW_NS + 12 * S)
    assert list(line.pipeline.models) == [keys["long"], keys["new"]]


def test_endless_new_names_leave_nothing_behind_but_the_last_ones() -> None:
    line = Line(settings(limits={"models": 3}))
    for number in range(50):
        line.feed(rows(ModelKey(f"m{number}"), 1), now_ns=NOW_NS + number * 20 * S)
    assert [key.name for key in line.pipeline.models] == ["m47", "m48", "m49"]
    [family] = [family for family in line.telemetry.registry.collect() if family.name == "otel_ml_rows"]
    totals = [sample for sample in family.samples if sample.name.endswith("_total")]
    assert {sample.labels["model"] for sample in totals} == {"m47", "m48", "m49"}


# --- failures ------------------------------------------------------------------------------------------------
def test_a_batch_that_fails_takes_no_other_of_its_request_along(caplog: pytest.LogCaptureFixture) -> None:
    other = ModelKey("churn")
    line = Line(fraud=build_reference("fraud", rows(V1, 500)))
    line.feed(broken_rows(V1, 10), rows(other, 200), labels("churn", range(10)))
    assert line.counted("otel_ml_errors_total", stage="statistics") == 1
    assert line.counted("otel_ml_dropped_total", stage="statistics", reason="failed", intentional="false") == 10
    assert "statistics failed; the service continues" in caplog.messages
    assert value(line.tick(), "ml.window.rows", ml_model_name="churn") == 200


def test_windows_that_cannot_close_hold_up_no_other_model() -> None:
    class Broken:
        def close(self, now_ns: int) -> list[Any]:
            raise RuntimeError("a bug")

    other = ModelKey("churn")
    line = Line()
    line.feed(rows(V1, 200), rows(other, 200))
    model = line.pipeline.models[V1]
    assert model.watch is not None
    model.watch = replace(model.watch, windows=Broken())  # type: ignore[arg-type]  # what must not happen
    assert value(line.tick(), "ml.window.rows", ml_model_name="churn") == 200
    assert line.counted("otel_ml_errors_total", stage="evaluate") == 1


def test_the_age_of_the_last_figures_stays_visible() -> None:
    line = Line()
    line.feed(rows(V1, 400))
    line.tick()
    newest = line.counted("otel_ml_newest_window_timestamp_seconds", model="fraud@1")
    assert newest == pytest.approx(NOW_NS / 1e9, abs=1.0)
    line.tick(NOW_NS + 3600 * S)
    assert line.counted("otel_ml_newest_window_timestamp_seconds", model="fraud@1") == newest


def test_a_model_that_learns_again_has_no_age_of_figures() -> None:
    line = Line()
    line.pipeline.references = {}
    line.feed(rows(V1, 400))
    line.tick()
    age = {"model": "fraud@1"}
    name = "otel_ml_newest_window_timestamp_seconds"
    line.pipeline.telemetry.newest_window.labels("fraud@1").set(1.0)
    line.pipeline.relearn("fraud")
    assert line.pipeline.telemetry.registry.get_sample_value(name, age) is None
