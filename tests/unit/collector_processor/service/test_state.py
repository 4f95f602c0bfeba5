"""Rules of the state: what comes back after a restart, what must not, and in which words that is told."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from collector_processor.columns.batch import Column, Decoded, LabelBatch, ModelKey, PredictionBatch
from collector_processor.decode import concatenate, hash_ids
from collector_processor.monitors.base import Measurement
from collector_processor.own.telemetry import Telemetry
from collector_processor.pipeline.pipeline import Pipeline
from collector_processor.pipeline.settings import MlMonitor
from collector_processor.reference.build import build_reference
from collector_processor.reference.profile import Reference
from collector_processor.service.state import StateStore
from collector_processor.storage.errors import StorageError

NOW_NS = 1_750_000_000 * 10**9
S = 10**9
KEY = ModelKey("fraud", "1")


def settings(**changes: Any) -> MlMonitor:
    base = {
        "window": {"size": "200 rows", "allowed_lateness": "10s", "min_rows": 50, "min_labels": 5},
        "reference": {"learn": 100},
    }
    return MlMonitor.model_validate({**base, **changes})


def texts(values: Sequence[str]) -> Column:
    names = tuple(dict.fromkeys(values))
    return Column(codes=np.array([names.index(value) for value in values], np.int32), categories=names)


def rows(first: int, last: int, key: ModelKey = KEY, *, scale: float = 1.0, predicted: str = "yes") -> PredictionBatch:
    """Rows whose ids are their numbers, with every kind of column that a batch may have."""
    numbers, count = np.arange(first, last), last - first
    return PredictionBatch(
        model=key,
        time_ns=np.full(count, NOW_NS, np.int64),
        ids=hash_ids([str(number) for number in numbers]),
        weights=np.ones(count),
        duration_s=np.full(count, 0.01),
        features={
            "amount": Column(scale * (numbers % 50.0)),
            "country": texts([("DE", "FR")[number % 2] for number in numbers]),
            "mixed": Column(
                np.where(numbers % 3 == 0, 1.0, np.nan), np.where(numbers % 3 == 1, 0, -1).astype(np.int32), ("n/a",)
            ),
        },
        prediction=texts([predicted] * count),
        score=np.where(numbers % 2 == 0, 0.75, 0.25),
        scores={"yes": np.full(count, 0.5)},
        segments={"shop": texts([("a", "b")[number % 2] for number in numbers])},
        attributions={"amount": np.full(count, 0.1)},
        error=Column(codes=np.where(numbers == 7, 0, -1).astype(np.int32), categories=("Timeout",)),
        task="binary_classification",
        role="champion",
    )


def labels(ids: Sequence[int], said: str, name: str = "fraud") -> LabelBatch:
    hashes = hash_ids([str(number) for number in ids])
    return LabelBatch(name, np.full(len(ids), NOW_NS, np.int64), hashes, classes=texts([said] * len(ids)))


class Line:
    """One run of a service's statistics: restored from the directory when it is made, saved when asked."""

    def __init__(self, directory: Path, config: MlMonitor | None = None, **references: Reference) -> None:
        self.telemetry = Telemetry()
        self.pipeline = Pipeline(config or settings(), references, self.telemetry, NOW_NS)
        self.store = StateStore(directory, self.telemetry)
        directory.mkdir(exist_ok=True)
        self.store.restore(self.pipeline, NOW_NS)

    def feed(self, *batches: PredictionBatch | LabelBatch) -> None:
        for batch in batches:
            of_predictions = isinstance(batch, PredictionBatch)
            decoded = Decoded(predictions=(batch,)) if of_predictions else Decoded(labels=(batch,))
            self.pipeline.process([decoded], NOW_NS)

    def save(self) -> None:
        self.store.save(self.pipeline)

    def tick(self, now_ns: int = NOW_NS) -> list[Measurement]:
        return [item for item in self.pipeline.tick(now_ns) if item.kind == "gauge"]

    def counted(self, name: str, **by: str) -> float:
        return self.telemetry.registry.get_sample_value(name, by) or 0.0

    def misfits(self) -> float:
        return self.counted("otel_ml_dropped_total", stage="state", reason="does_not_fit", intentional="false")


@pytest.fixture
def line(tmp_path: Path) -> Callable[..., Line]:
    """Makes a run of the service on the test's one directory."""

    def make(config: MlMonitor | None = None, **references: Reference) -> Line:
        return Line(tmp_path / "state", config, **references)

    return make


def figures(found: Sequence[Measurement], name: str) -> Mapping[tuple[tuple[str, str], ...], float]:
    return {item.attributes: item.value for item in found if item.name == name}


def one(found: Sequence[Measurement], name: str) -> float:
    [value] = [item.value for item in found if item.name == name and "ml.segment.name" not in dict(item.attributes)]
    return value


# --- what comes back -----------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "window", [{"size": "200 rows"}, {"size": "10s", "every": "5s"}, {"size": "200 rows", "every": "50 rows"}]
)
@pytest.mark.parametrize("learned", [True, False])
def test_a_restart_between_changes_no_figure(
    line: Callable[..., Line], tmp_path: Path, window: dict[str, Any], learned: bool
) -> None:
    config = settings(
        window={"allowed_lateness": "1s", "min_rows": 50, "min_labels": 5, **window},
        models={"fraud": {"segments": ["shop"], "positive_class": "yes"}},
    )
    references = {} if learned else {"fraud": build_reference("fraud", rows(0, 500), segments=["shop"])}
    batches = [rows(0, 90), labels(range(30), "yes"), rows(90, 170), labels(range(30, 60), "no"), rows(170, 200)]
    whole = Line(tmp_path / "other", config, **references)
    whole.feed(*batches)
    expected = whole.tick(NOW_NS + 60 * S)
    assert any(item.name == "ml.performance.accuracy" for item in expected)

    for batch in batches:
        part = line(config, **references)
        part.feed(batch)
        part.save()
    assert line(config, **references).tick(NOW_NS + 60 * S) == expected


def test_rows_that_a_reference_is_learned_from_come_back_with_all_their_columns(line: Callable[..., Line]) -> None:
    first = line()
    first.feed(rows(0, 40), rows(40, 60))
    first.save()
    again = line()
    learner = again.pipeline.models[KEY].learner
    assert learner is not None
    # As many as there were, for what is late within one batch may not be so in two.
    assert [len(batch) for batch in learner.batches] == [40, 20]
    kept, expected = concatenate(learner.batches), rows(0, 60)
    assert kept.features.keys() == expected.features.keys()
    np.testing.assert_array_equal(kept.ids, expected.ids)
    np.testing.assert_array_equal(kept.features["mixed"].numbers, expected.features["mixed"].numbers)
    np.testing.assert_array_equal(kept.features["mixed"].codes, expected.features["mixed"].codes)
    assert (kept.task, kept.role, kept.model) == ("binary_classification", "champion", KEY)
    assert kept.error is not None
    assert kept.error.categories == ("Timeout",)
    assert again.counted("otel_ml_rows_total", model="fraud@1") == 0


def test_learning_goes_on_where_it_was_by_rows_and_by_time(line: Callable[..., Line]) -> None:
    config = settings(reference={})
    first = line(config)
    for hour in (0, 10, 18):
        first.feed(replace(rows(hour * 10, hour * 10 + 90), time_ns=np.full(90, NOW_NS - (24 - hour) * 3600 * S)))
    before = first.pipeline.models[KEY].learner
    first.save()
    again = line(config)
    learner = again.pipeline.models[KEY].learner
    assert before is not None
    assert learner is not None
    assert (learner.rows, learner.span_ns, learner.progress) == (270, 18 * 3600 * S, 0.75)
    assert (before.rows, before.span_ns, before.progress) == (270, 18 * 3600 * S, 0.75)
    assert again.counted("otel_ml_learning_ratio", model="fraud@1") == 0.75
    again.feed(rows(300, 330))
    watch = again.pipeline.models[KEY].watch
    assert watch is not None
    assert watch.reference.source == "the first 300 rows"
    again.save()
    assert "few_reference_rows" in line(config).pipeline.models[KEY].problems


def test_rows_that_came_over_hours_of_learning_are_not_late_after_a_restart(line: Callable[..., Line]) -> None:
    config = settings(window={"size": "10m", "every": "1m", "allowed_lateness": "1m"})
    hours = [
        replace(rows(40 * hour, 40 * hour + 40), time_ns=np.full(40, NOW_NS + hour * 3600 * S)) for hour in range(3)
    ]
    first = line(config)
    first.feed(*hours[:2])
    first.save()
    again = line(config)
    again.feed(hours[2])
    counts = figures(again.tick(NOW_NS + 4 * 3600 * S), "ml.window.rows")
    late = again.counted("otel_ml_dropped_total", stage="window", reason="late", intentional="true")
    assert late == 0
    assert counts


def test_a_restored_model_is_shown_as_learned(line: Callable[..., Line]) -> None:
    first = line()
    first.feed(rows(0, 150))
    first.save()
    assert line().counted("otel_ml_learning_ratio", model="fraud@1") == 1.0


def test_rows_kept_for_learning_count_at_once_where_fewer_are_wanted_now_or_a_reference_is_there(
    line: Callable[..., Line],
) -> None:
    first = line(settings(reference={"learn": 1000}))
    first.feed(rows(0, 150))
    first.save()
    for again in (line(), line(fraud=build_reference("fraud", rows(0, 500)))):
        again.feed(rows(150, 200))
        assert one(again.tick(), "ml.window.rows") == 200


def test_versions_side_by_side_come_back_each_with_its_own(line: Callable[..., Line]) -> None:
    other = ModelKey("fraud", "2")
    first = line()
    first.feed(rows(0, 150), rows(0, 120, other, predicted="no"))
    first.save()
    again = line()
    again.feed(labels(range(100), "yes"), rows(150, 200), rows(120, 200, other, predicted="no"))
    found = again.tick()
    accuracy = {
        dict(key)["ml.model.version"]: value for key, value in figures(found, "ml.performance.accuracy").items()
    }
    # Row 7 has failed, so there is nothing to join with its label.
    assert accuracy == {"1": 1.0, "2": 0.0}
    assert set(figures(found, "ml.window.labels").values()) == {99.0}


def test_a_label_corrected_after_a_restart_takes_the_earlier_one_back(line: Callable[..., Line]) -> None:
    first = line()
    first.feed(rows(0, 150), labels(range(20, 60), "yes"))
    first.save()
    again = line()
    again.feed(labels(range(20, 30), "no"), labels(range(30, 40), "yes"), rows(150, 200))
    found = again.tick()
    assert one(found, "ml.window.labels") == 40
    assert one(found, "ml.performance.accuracy") == 0.75
    assert again.counted("otel_ml_labels_total", model="fraud", outcome="corrected") == 10
    assert again.counted("otel_ml_labels_total", model="fraud", outcome="duplicate") == 10


def test_early_labels_come_back(line: Callable[..., Line]) -> None:
    first = line()
    first.feed(labels(range(20, 40), "yes"))
    first.save()
    again = line()
    again.feed(rows(0, 150), rows(150, 200))
    assert one(again.tick(), "ml.window.labels") == 20
    assert again.counted("otel_ml_labels_total", model="fraud", outcome="joined_early") == 20


def test_nothing_is_restored_where_nothing_was_saved(
    line: Callable[..., Line], caplog: pytest.LogCaptureFixture
) -> None:
    assert line().pipeline.models == {}
    assert caplog.messages == []


def test_what_was_restored_is_told(line: Callable[..., Line], caplog: pytest.LogCaptureFixture) -> None:
    first = line()
    first.feed(rows(0, 150))
    first.save()
    with caplog.at_level(logging.INFO):
        line()
    assert "state restored: 1 models, 149 predictions kept for their labels" in caplog.messages


# --- what does not fit any more ------------------------------------------------------------------------------
def saved_with(line: Callable[..., Line], config: MlMonitor | None = None, **references: Reference) -> None:
    """A snapshot of 150 rows."""
    first = line(config, **references)
    first.feed(rows(0, 150))
    first.save()


def starts_afresh(again: Line, caplog: pytest.LogCaptureFixture, why: str) -> None:
    """The model is there without its past, which was counted and told."""
    told = f"model 'fraud@1': its saved windows were dropped, and it starts over: {why}"
    assert told in caplog.messages
    assert again.misfits() == 1
    assert again.counted("otel_ml_evicted_total", store="pending_predictions", reason="forgotten") == 149
    again.feed(labels(range(20), "yes"), rows(150, 300))
    assert again.counted("otel_ml_labels_total", model="fraud", outcome="early") == 20
    assert figures(again.tick(), "ml.window.rows") == {}
    again.feed(rows(300, 350))
    assert one(again.tick(), "ml.window.rows") == 200


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        (build_reference("fraud", rows(0, 500, scale=2.0)), "its reference file has other columns or bins now"),
        (
            build_reference("fraud", rows(0, 500), categorical=["amount"]),
            "its reference file has other columns or bins now",
        ),
        (
            build_reference("fraud", concatenate([rows(0, 200), rows(200, 500, predicted="maybe")])),
            "its reference has other categories now",
        ),
    ],
)
def test_a_reference_file_that_means_something_else_now_drops_the_windows(
    line: Callable[..., Line], caplog: pytest.LogCaptureFixture, changed: Reference, why: str
) -> None:
    saved_with(line, fraud=build_reference("fraud", rows(0, 500)))
    starts_afresh(line(fraud=changed), caplog, why)


def test_a_reference_file_with_other_labels_drops_the_windows_although_its_bins_are_equal(
    line: Callable[..., Line], caplog: pytest.LogCaptureFixture
) -> None:
    batch = replace(rows(0, 600), score=None, scores={})
    right = np.random.default_rng(1).random(600) < 0.8

    def labeled(said: Sequence[bool]) -> Reference:
        return build_reference("fraud", batch, label_classes=texts(np.where(said, "yes", "no").tolist()))

    simple, complex_ = labeled(right), labeled(right ^ (batch.features["amount"].numbers > 25.0))
    assert np.array_equal(simple.schema.edges, complex_.schema.edges, equal_nan=True)
    saved_with(line, fraud=simple)
    starts_afresh(line(fraud=complex_), caplog, "its reference file was built again, from other rows or labels")


def test_a_reference_file_that_was_built_again_from_the_same_rows_keeps_the_windows(
    line: Callable[..., Line],
) -> None:
    saved_with(line, fraud=build_reference("fraud", rows(0, 500), built_at="2025-01-01T00:00:00+00:00"))
    again = line(fraud=build_reference("fraud", rows(0, 500), built_at="2025-06-01T00:00:00+00:00"))
    again.feed(rows(150, 200))
    assert again.misfits() == 0
    assert one(again.tick(), "ml.window.rows") == 200


def scored(first: int, last: int) -> PredictionBatch:
    """Rows with a score and no class: the reference cannot say which class is positive."""
    return replace(rows(first, last), prediction=None, scores={})


def positive(name: str) -> MlMonitor:
    return settings(models={"fraud": {"positive_class": name}})


@pytest.mark.parametrize(("before", "after"), [("", "no"), ("yes", "no"), ("no", ""), ("no", "yes")])
def test_windows_counted_about_another_positive_class_start_over(
    line: Callable[..., Line], caplog: pytest.LogCaptureFixture, before: str, after: str
) -> None:
    reference = build_reference("fraud", scored(0, 500))
    first = line(positive(before), fraud=reference)
    first.feed(scored(500, 600), labels(range(500, 600, 2), "yes"), labels(range(501, 600, 2), "no"))
    first.save()
    again = line(positive(after), fraud=reference)
    assert (again.misfits(), len(again.pipeline.join)) == (1, 0)
    assert "its positive class changed since its windows were counted" in caplog.text
    again.feed(scored(600, 800), labels(range(600, 800, 2), "yes"), labels(range(601, 800, 2), "no"))
    again.feed(scored(800, 1000))
    positive_right = {"yes": 1.0, "no": 0.0}[after or "yes"]
    assert one(again.tick(), "ml.performance.accuracy") == positive_right


@pytest.mark.parametrize(
    ("before", "after", "said"), [(None, 0.75, "0.5 to 0.75"), (0.6, 0.7, "0.6 to 0.7"), (0.5, None, "")]
)
def test_a_threshold_that_changed_over_a_restart_is_said(
    line: Callable[..., Line], before: float | None, after: float | None, said: str
) -> None:
    def decided(threshold: float | None) -> MlMonitor:
        return settings(models={"fraud": {"positive_class": "yes", "threshold": threshold}})

    reference = build_reference("fraud", scored(0, 500), positive_class="yes")
    first = line(decided(before), fraud=reference)
    first.feed(scored(0, 150))
    first.save()
    problems = line(decided(after), fraud=reference).pipeline.models[KEY].problems
    assert said in problems.get("threshold_changed", "")
    assert ("threshold_changed" in problems) == bool(said)


def test_a_positive_class_that_is_configured_while_none_is_known_keeps_what_waits_for_labels(
    line: Callable[..., Line],
) -> None:
    reference = build_reference("fraud", scored(0, 500))
    first = line(fraud=reference)
    first.feed(scored(500, 600), labels(range(500, 550, 2), "legit"))
    first.save()
    again = line(positive("odd"), fraud=reference)
    assert (again.misfits(), again.pipeline.join.waiting(KEY)) == (0, 75)
    watch = again.pipeline.models[KEY].watch
    assert watch is not None
    assert watch.windows.schema.positive_class == "odd"


def test_a_reference_that_was_learned_gives_way_to_a_file(
    line: Callable[..., Line], caplog: pytest.LogCaptureFixture
) -> None:
    saved_with(line)
    again = line(fraud=build_reference("fraud", rows(0, 500)))
    starts_afresh(again, caplog, "its reference was learned when it was saved and is a file now")


def test_a_reference_file_that_is_no_longer_configured_is_learned_anew(
    line: Callable[..., Line], caplog: pytest.LogCaptureFixture
) -> None:
    saved_with(line, fraud=build_reference("fraud", rows(0, 500)))
    starts_afresh(line(), caplog, "its reference file is no longer configured")


@pytest.mark.parametrize(
    ("model", "why"),
    [
        ({"segments": ["shop"]}, "segments"),
        ({"positive_class": "no", "categorical": ["amount"]}, "positive_class, categorical"),
    ],
)
def test_settings_that_changed_since_a_reference_was_learned_have_it_learned_anew(
    line: Callable[..., Line], caplog: pytest.LogCaptureFixture, model: dict[str, Any], why: str
) -> None:
    saved_with(line)
    again = line(settings(models={"fraud": model}))
    starts_afresh(again, caplog, f"{why} changed since its reference was learned")


def test_a_window_that_is_cut_differently_now_starts_empty_and_keeps_reference_and_pending_predictions(
    line: Callable[..., Line], caplog: pytest.LogCaptureFixture
) -> None:
    saved_with(line)
    again = line(settings(window={"size": "100 rows", "min_labels": 5}))
    assert again.misfits() == 1
    assert any("window.every was changed" in message for message in caplog.messages)
    watch = again.pipeline.models[KEY].watch
    assert watch is not None
    assert watch.reference.source == "the first 100 rows"
    again.feed(labels(range(20, 40), "yes"), rows(150, 250))
    found = again.tick()
    assert one(found, "ml.window.rows") == 100
    assert one(found, "ml.window.labels") == 20


def test_a_smaller_limit_of_models_drops_the_last_ones(
    line: Callable[..., Line], caplog: pytest.LogCaptureFixture
) -> None:
    first = line()
    for name in ("a", "b", "c"):
        first.feed(rows(0, 150, ModelKey(name)))
    first.save()
    again = line(settings(limits={"models": 2}))
    assert [key.name for key in again.pipeline.models] == ["a", "b"]
    assert again.counted("otel_ml_dropped_total", stage="state", reason="limit", intentional="true") == 1
    assert again.misfits() == 0
    assert "model 'c': its saved windows were dropped, and it starts over: limits.models is 2" in caplog.messages
    assert len(again.pipeline.join) == 2 * 149


# --- the directory -------------------------------------------------------------------------------------------
def test_a_damaged_snapshot_gives_way_to_the_one_before(line: Callable[..., Line], tmp_path: Path) -> None:
    first = line()
    first.feed(rows(0, 150))
    first.save()
    first.feed(rows(150, 180))
    first.save()
    snapshot = tmp_path / "state" / "state.snapshot"
    snapshot.write_bytes(snapshot.read_bytes()[:-100])
    again = line()
    assert again.counted("otel_ml_errors_total", stage="storage") == 1
    again.feed(rows(150, 200))
    assert one(again.tick(), "ml.window.rows") == 200


def test_a_directory_has_one_service_at_a_time(tmp_path: Path) -> None:
    first, second = StateStore(tmp_path, Telemetry()), StateStore(tmp_path, Telemetry())
    first.open()
    with pytest.raises(StorageError, match=r"extensions\.file_storage\.directory: .* is in use by another service"):
        second.open()
    first.close()
    second.open()
    second.close()
    second.close()
