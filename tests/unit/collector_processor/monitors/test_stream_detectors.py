"""Stream detectors see each joined label once and in order, keep their state, and are left out where they cannot be."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from collector_processor.columns.batch import Column, LabelBatch, ModelKey, PredictionBatch
from collector_processor.config.load import default_config
from collector_processor.detectors import rows
from collector_processor.monitors.base import LeavesOut
from collector_processor.monitors.fold import Fold, restore_folds, saved_folds
from collector_processor.monitors.stream_detectors import StreamDetectorMonitor, StreamSettings
from collector_processor.own.telemetry import Telemetry
from collector_processor.pipeline.pipeline import Pipeline
from collector_processor.reference.build import build_reference
from collector_processor.statistics.outcome_batch import OutcomeBatch
from collector_processor.statistics.pane import Pane
from collector_processor.window.closed import Window

ALL = ("adwin", "page_hinkley", "ddm", "eddm", "hddm_a")
KINDS = {
    "adwin": rows.ADWIN,
    "page_hinkley": rows.PageHinkley,
    "ddm": rows.DDM,
    "eddm": rows.EDDM,
    "hddm_a": rows.HDDMA,
}
KEY = ModelKey("fraud", "1")


def classes(count: int) -> PredictionBatch:
    codes = (np.arange(count) % 2).astype(np.int32)
    return PredictionBatch(
        KEY, np.arange(count, dtype=np.int64), np.stack([np.arange(count)] * 2, 1).astype(np.uint64), np.ones(count),
        np.full(count, np.nan), {"age": Column(np.arange(count, dtype=float))},
        prediction=Column(None, codes, ("no", "yes")),
    )  # fmt: skip


BINARY = build_reference("fraud", classes(200), task="binary_classification", positive_class="yes")


def outcomes(errors: np.ndarray, weights: np.ndarray | None = None) -> OutcomeBatch:
    count = len(errors)
    unknown, predicted = np.full(count, np.nan), np.full(count, 1, np.int32)
    return OutcomeBatch(
        np.arange(count, dtype=np.int64), np.ones(count) if weights is None else weights, unknown, unknown,
        np.zeros((count, 0), np.int32), np.ones(count), labels=np.where(errors > 0, 2, 1).astype(np.int32),
        predicted=predicted,
    )  # fmt: skip


def begun(names=ALL, reference=BINARY) -> Fold:
    return Fold.begun(StreamDetectorMonitor(StreamSettings(detectors=names)), reference)


def counts(fold: Fold, end_ns: int, reference=BINARY) -> dict[str, float]:
    pane = Window(KEY, 0, end_ns, reference.schema, Pane.empty(reference.schema))
    return {item.attributes[-1][1]: item.value for item in fold.step(pane, reference)}


def stream(count: int = 6000) -> np.ndarray:
    draws = np.random.default_rng(3).random(count)
    return (draws < np.where(np.arange(count) < count // 2, 0.1, 0.3)).astype(float)


def test_each_detector_counts_the_alarms_of_the_single_rows() -> None:
    fold, errors = begun(), stream()
    for part in np.array_split(errors, 7):
        fold.feed(outcomes(part), BINARY.schema, BINARY)
    found = counts(fold, 60)
    assert found == {name: float(sum(map(make().see, errors.tolist()))) for name, make in KINDS.items()}
    assert sum(found.values()) > 0
    assert counts(fold, 120) == dict.fromkeys(ALL, 0.0)


def test_rows_of_a_batch_count_in_the_order_of_their_time_and_retractions_not_at_all() -> None:
    errors, order = stream(), np.random.default_rng(5).permutation(6000)
    sorted_fold, shuffled = begun(), begun()
    sorted_fold.feed(outcomes(errors), BINARY.schema, BINARY)
    shuffled.feed(outcomes(errors).take(order), BINARY.schema, BINARY)
    shuffled.feed(outcomes(np.ones(500), np.full(500, -1.0)), BINARY.schema, BINARY)
    np.testing.assert_array_equal(shuffled.state.numbers, sorted_fold.state.numbers)


def test_a_weight_makes_no_difference() -> None:
    one, ten = begun(), begun()
    one.feed(outcomes(stream()), BINARY.schema, BINARY)
    ten.feed(outcomes(stream(), np.full(6000, 10.0)), BINARY.schema, BINARY)
    np.testing.assert_array_equal(one.state.numbers, ten.state.numbers)


def test_the_state_survives_a_restart_bit_for_bit() -> None:
    whole, errors = begun(), stream()
    before = begun()
    whole.feed(outcomes(errors[:3333]), BINARY.schema, BINARY)
    before.feed(outcomes(errors[:3333]), BINARY.schema, BINARY)
    after = begun()
    assert list(restore_folds([after], BINARY, saved_folds([before], BINARY), 0)) == []
    for fold in (whole, after):
        fold.feed(outcomes(errors[3333:]), BINARY.schema, BINARY)
    np.testing.assert_array_equal(after.state.numbers, whole.state.numbers)
    assert counts(after, 60) == counts(whole, 60)


def test_other_detectors_begin_again() -> None:
    before = begun(("adwin",))
    [problem] = restore_folds([begun(("ddm",))], BINARY, saved_folds([before], BINARY), 0)
    assert "settings changed" in problem


def test_rows_without_a_class_are_left_out_and_one_class_raises_no_alarm() -> None:
    fold = begun()
    batch = outcomes(stream())
    assert batch.predicted is not None
    fold.feed(replace(batch, predicted=np.full(len(batch), -1, np.int32)), BINARY.schema, BINARY)
    fold.feed(outcomes(np.zeros(0)), BINARY.schema, BINARY)
    np.testing.assert_array_equal(fold.state.numbers, begun().state.numbers)
    fold.feed(outcomes(np.zeros(5000)), BINARY.schema, BINARY)
    assert counts(fold, 60) == dict.fromkeys(ALL, 0.0)


def test_without_detectors_nothing_is_kept_or_measured() -> None:
    fold = begun(())
    fold.feed(outcomes(stream()), BINARY.schema, BINARY)
    assert counts(fold, 60) == {}
    assert len(fold.state.numbers) == 0


@pytest.fixture(scope="module")
def regression():
    value = np.random.default_rng(1).normal(size=400)
    batch = replace(classes(400), prediction=None, value=value)
    return build_reference("fraud", batch, task="regression", label_values=value + 0.1)


def test_values_use_the_two_detectors_of_numbers_and_the_others_are_said(regression) -> None:
    fold = begun(ALL, regression)
    assert isinstance(fold.monitor, LeavesOut)
    [note] = fold.monitor.left_out(regression)
    assert note == "stream detectors that need predictions of a class are left out: ddm, eddm, hddm_a"
    error = np.abs(np.random.default_rng(2).normal(size=4000)) * np.repeat([1.0, 5.0], 2000)
    base = outcomes(np.zeros(4000))
    batch = replace(base, labels=None, predicted=None, label_values=np.zeros(4000), predicted_values=error * 1.0)
    fold.feed(batch, regression.schema, regression)
    found = counts(fold, 60, regression)
    assert sorted(found) == ["adwin", "page_hinkley"]
    assert found["adwin"] >= 1.0


def test_a_pipeline_feeds_them_as_labels_join() -> None:
    monitor = default_config().monitor
    config = type(monitor).model_validate({"concept": {"detectors": ["ddm"]}})
    pipeline = Pipeline(config, {"fraud": BINARY}, Telemetry(), 0)
    batch, errors = classes(2000), stream(2000)
    pipeline._predictions(batch, 0)
    wrong = (np.arange(2000) % 2 != errors).astype(np.int32)
    labels = LabelBatch("fraud", batch.time_ns, batch.ids, Column(None, wrong, ("no", "yes")))
    pipeline._labels(labels)
    watch = pipeline.models[KEY].watch
    assert watch is not None
    [fold] = [fold for fold in watch.folds if fold.monitor.name == "stream_detectors"]
    expected = rows.DDM()
    list(map(expected.see, errors.tolist()))
    assert fold.state.numbers.tolist() == expected.state()
