"""Predictions that wait: what is kept of them and what comes back as outcomes."""

from __future__ import annotations

import numpy as np
import pytest

from collector_processor.columns.traces import Traces
from collector_processor.labels.pending import SCORES_LIMIT, TRACED_PART, TRACED_WHOLE, PendingPredictions, PendingRows
from collector_processor.labels.truth import Truth
from collector_processor.statistics.schema import Categories, Schema


def schema_of(task="binary_classification", *, classes=("no", "yes"), segments=()):
    return Schema(
        task=task,
        positive_class="yes" if task == "binary_classification" else "",
        numeric=(),
        edges=np.zeros((0, 1)),
        drift_edges=np.zeros((0, 1), np.int32),
        low=np.zeros(0),
        high=np.zeros(0),
        categorical=(),
        categories=Categories([], 10),
        classes=Categories.from_pairs(("class",), 1000, [(0, name) for name in classes]),
        groups=Categories(segments, 50),
    )


def ids_of(numbers):
    numbers = np.asarray(numbers, np.uint64).reshape(-1)
    return np.stack([numbers * np.uint64(0x9E3779B97F4A7C15), numbers], axis=1)


def rows_of(numbers, **columns):
    count = len(numbers)
    groups = columns.pop("groups", np.empty((count, 0), np.int32))
    weights = columns.pop("weights", np.ones(count))
    return PendingRows(ids_of(numbers), np.arange(count), weights, groups, **columns)


def pending_of(capacity=1000):
    return PendingPredictions(capacity=capacity, wait_ns=10**18)


def settle(pending, numbers, truth):
    found, count = pending.find(ids_of(numbers)), len(numbers)
    pending.settle(found, truth, np.full(count, 77), np.full(count, 1.5))
    return found


def test_outcomes_are_what_was_predicted_and_what_was_true():
    schema, pending = schema_of(segments=("region", "age")), pending_of()
    groups = np.array([[1, -1], [2, 5], [-1, -1]], np.int32)
    weights, scores = np.array([1.0, 2.5, 1.0]), np.array([0.1, 0.75, np.nan])
    rows = rows_of([1, 2, 3], predicted=np.array([1, 2, -1], np.int32), scores=scores, groups=groups, weights=weights)
    pending.insert(rows)
    found = settle(pending, [2, 1, 3], Truth(labels=np.array([2, 2, 1], np.int32)))
    outcomes = pending.outcomes(found, schema)
    assert outcomes.time_ns.tolist() == [77] * 3
    assert outcomes.delay_s.tolist() == [1.5] * 3
    assert outcomes.weights.tolist() == [2.5, 1.0, 1.0]
    assert outcomes.labels.tolist() == [2, 2, 1]
    assert outcomes.predicted.tolist() == [2, 1, -1]
    assert outcomes.groups.tolist() == [[2, 5], [1, -1], [-1, -1]]
    np.testing.assert_equal(outcomes.scores, [0.75, 0.1, np.nan])
    np.testing.assert_equal(outcomes.label_probability, [0.75, 0.1, np.nan])
    assert outcomes.label_values is None
    assert outcomes.predicted_values is None


def test_the_probability_of_a_negative_label_is_that_of_the_other_class():
    schema, pending = schema_of(), pending_of()
    pending.insert(rows_of([1], predicted=np.array([2], np.int32), scores=np.array([0.75])))
    found = settle(pending, [1], Truth(labels=np.array([1], np.int32)))
    assert pending.outcomes(found, schema).label_probability.tolist() == [0.25]


def test_taken_back_outcomes_differ_in_the_sign_of_their_weight_only():
    schema, pending = schema_of("regression"), pending_of()
    pending.insert(rows_of([1, 2], predicted_values=np.array([1.5, np.nan]), weights=np.array([1.0, 4.0])))
    found = settle(pending, [1, 2], Truth(values=np.array([2.0, 3.0])))
    given, back = pending.outcomes(found, schema), pending.outcomes(found, schema, -1.0)
    assert back.weights.tolist() == [-1.0, -4.0]
    assert back.label_values.tolist() == given.label_values.tolist() == [2.0, 3.0]
    np.testing.assert_equal(given.predicted_values, [1.5, np.nan])
    assert np.isnan(given.label_probability).all()
    assert given.predicted is None
    assert given.labels is None


def test_multiclass_keeps_the_probability_of_every_class():
    schema, pending = schema_of("multiclass_classification", classes="abcd"), pending_of()
    first = {1: np.array([0.5, 0.1]), 2: np.array([0.5, 0.9])}
    pending.insert(rows_of([1, 2], predicted=np.array([1, 2], np.int32), class_scores=first))
    pending.insert(rows_of([3], predicted=np.array([4], np.int32), class_scores={4: np.array([0.75])}))
    found = settle(pending, [1, 2, 3], Truth(labels=np.array([2, 4, 4], np.int32)))
    probability = pending.outcomes(found, schema).label_probability
    np.testing.assert_allclose(probability, [0.5, np.nan, 0.75], rtol=1e-7)


def test_multiclass_without_probabilities_has_none_for_the_label():
    schema, pending = schema_of("multiclass_classification", classes="abc"), pending_of()
    pending.insert(rows_of([1], predicted=np.array([1], np.int32), scores=np.array([0.9])))
    found = settle(pending, [1], Truth(labels=np.array([1], np.int32)))
    outcomes = pending.outcomes(found, schema)
    assert np.isnan(outcomes.label_probability).all()
    assert outcomes.scores.tolist() == [0.9]


def test_probabilities_of_classes_beyond_the_limit_are_unknown():
    names = [f"class {number}" for number in range(SCORES_LIMIT + 5)]
    schema, pending = schema_of("multiclass_classification", classes=names), pending_of()
    for start in (1, 20):
        slots = range(start, min(start + 30, len(names) + 1))
        pending.insert(rows_of([start], class_scores={slot: np.array([0.5]) for slot in slots}))
    found = settle(pending, [20, 20], Truth(labels=np.array([SCORES_LIMIT, SCORES_LIMIT + 1], np.int32)))
    assert pending.outcomes(found.take(slice(0, 1)), schema).label_probability.shape == (1,)
    one = pending.find(ids_of([20]))
    for slot, expected in ((SCORES_LIMIT, 0.5), (SCORES_LIMIT + 1, np.nan)):
        pending.settle(one, Truth(labels=np.array([slot], np.int32)), np.array([0]), np.array([0.0]))
        np.testing.assert_equal(pending.outcomes(one, schema).label_probability, [expected])


def test_the_last_prediction_of_an_id_is_the_one_that_is_found():
    schema, pending = schema_of(), pending_of()
    pending.insert(rows_of([1, 1], scores=np.array([0.1, 0.2])))
    pending.insert(rows_of([1], scores=np.array([0.3])))
    found = settle(pending, [1], Truth(labels=np.array([1], np.int32)))
    assert pending.outcomes(found, schema).scores.tolist() == [0.3]
    pending.insert(rows_of([1], scores=np.array([0.4])))  # settled: a repetition changes nothing
    assert pending.outcomes(pending.find(ids_of([1])), schema).scores.tolist() == [0.3]


def test_scores_and_times_keep_all_their_digits():
    schema, pending = schema_of(), pending_of()
    scores = np.nextafter(np.array([0.1, 0.5, 0.01]), 1.0)
    time_ns = 1_700_000_000_123_456_789
    pending.insert(
        PendingRows(ids_of([1, 2, 3]), np.full(3, time_ns), np.ones(3), np.empty((3, 0), np.int32), scores=scores)
    )
    found = settle(pending, [1, 2, 3], Truth(labels=np.ones(3, np.int32)))
    assert pending.outcomes(found, schema).scores.tolist() == scores.tolist()
    assert pending.time_ns(found).tolist() == [time_ns] * 3


@pytest.mark.parametrize("task", ["binary_classification", "multiclass_classification", "regression"])
def test_snapshot_brings_back_equal_outcomes(task):
    schema, pending = schema_of(task, classes="abc", segments=("region",)), pending_of(capacity=80)
    rng, regression = np.random.default_rng(0), task == "regression"
    for start in range(0, 60, 20):
        rows = rows_of(
            range(start, start + 20),
            predicted=None if regression else rng.integers(0, 4, 20).astype(np.int32),
            predicted_values=rng.random(20) if regression else None,
            scores=None if regression else rng.random(20),
            class_scores={2: rng.random(20), 1: rng.random(20)} if task == "multiclass_classification" else None,
            groups=rng.integers(-1, 3, (20, 1)).astype(np.int32),
            weights=rng.random(20),
        )
        pending.insert(rows)
    truth = Truth(values=rng.random(30)) if regression else Truth(labels=rng.integers(0, 4, 30).astype(np.int32))
    settle(pending, range(30), truth)
    restored, dropped = PendingPredictions.from_arrays(pending.arrays(), capacity=80, wait_ns=10**18)
    assert dropped == (0, 0)
    given = pending.outcomes(pending.find(ids_of(range(30))), schema)
    again = restored.outcomes(restored.find(ids_of(range(30))), schema)
    for name in type(given).__dataclass_fields__:
        np.testing.assert_equal(getattr(again, name), getattr(given, name))
    assert len(restored) == len(pending) == 60


@pytest.mark.parametrize("segments", [0, 1])
def test_an_entry_takes_at_most_sixty_bytes(segments):
    count = 80_000
    pending, numbers = pending_of(capacity=count), np.arange(count)
    rng = np.random.default_rng(0)
    for part in np.split(numbers, 80):
        groups = np.ones((len(part), segments), np.int32)
        pending.insert(rows_of(part, predicted=np.ones(len(part), np.int32), scores=rng.random(1000), groups=groups))
    assert pending.nbytes / count <= 46
    settle(pending, numbers, Truth(labels=np.ones(count, np.int32)))
    assert len(pending) == count
    assert pending.nbytes / count <= 60


def traces_of(numbers, missing=()):
    codes = np.array([-1 if number in missing else row for row, number in enumerate(numbers)], np.int32)
    entries = np.asarray(numbers, np.uint64)
    return Traces(codes, np.column_stack((entries, entries, entries)))


def traced(pending, numbers, truth, schema):
    return pending.outcomes(settle(pending, numbers, truth), schema).traces


@pytest.mark.parametrize("restored", [False, True])
def test_wrong_predictions_come_back_with_their_trace(restored):
    schema, pending = schema_of(), pending_of()
    predicted = np.array([1, 2, 1, 2], np.int32)
    pending.insert(rows_of([1, 2, 3, 4], predicted=predicted, traces=traces_of([1, 2, 3, 4], missing=(3,))))
    if restored:
        pending, _ = PendingPredictions.from_arrays(pending.arrays(), capacity=1000, wait_ns=10**18)
    found = traced(pending, [1, 2, 3, 4], Truth(labels=np.array([2, 2, 2, 1], np.int32)), schema)
    keys = ids_of([1, 4])[:, 0].tolist()
    assert found.tolist() == [[keys[0], 1, 1, 1], [0] * 4, [0] * 4, [keys[1], 4, 4, 4]]


def test_right_predictions_need_no_trace():
    schema, pending = schema_of(), pending_of()
    pending.insert(rows_of([1], predicted=np.array([2], np.int32), traces=traces_of([1])))
    assert traced(pending, [1], Truth(labels=np.array([2], np.int32)), schema) is None


def test_of_many_predictions_a_sample_keeps_its_trace():
    schema, pending, count = schema_of(), pending_of(capacity=40_000), 20_000
    numbers = np.arange(1, count + 1)
    for part in np.array_split(numbers, 7):
        pending.insert(rows_of(part, predicted=np.ones(len(part), np.int32), traces=traces_of(part)))
    found = traced(pending, numbers, Truth(labels=np.full(count, 2, np.int32)), schema)
    kept = found[:, 3] > 0
    assert kept[:TRACED_WHOLE].all()
    share = kept[TRACED_WHOLE:].mean()
    assert 0.8 / TRACED_PART < share < 1.2 / TRACED_PART
    assert found[kept, 3].tolist() == numbers[kept].tolist()


def test_a_snapshot_without_traces_is_read():
    schema, pending = schema_of(), pending_of()
    pending.insert(rows_of([1], predicted=np.array([1], np.int32), traces=traces_of([1])))
    arrays = {name: values for name, values in pending.arrays().items() if not name.startswith("trace.")}
    older, _ = PendingPredictions.from_arrays(arrays, capacity=1000, wait_ns=10**18)
    assert traced(older, [1], Truth(labels=np.array([2], np.int32)), schema) is None
