"""What of a prediction is kept: decisions from scores, classes from numbers, no failed rows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from collector_processor.columns.batch import Column, ModelKey, PredictionBatch
from collector_processor.labels.intake import latest_rows, pending_rows
from collector_processor.labels.pending import SCORES_LIMIT
from collector_processor.statistics.schema import Categories, Schema


def schema_of(task, classes=("no", "yes"), limit=100):
    return Schema(
        task, "yes" if task == "binary_classification" else "", (), np.zeros((0, 1)), np.zeros((0, 1), np.int32),
        np.zeros(0), np.zeros(0), (), Categories([], 1),
        Categories.from_pairs(("class",), limit, [(0, name) for name in classes]), Categories([], 1),
    )  # fmt: skip


def batch_of(**columns):
    rows = 3
    return PredictionBatch(
        ModelKey("m"), np.arange(rows), np.arange(2 * rows, dtype=np.uint64).reshape(rows, 2), np.ones(rows),
        np.full(rows, np.nan), **columns,
    )  # fmt: skip


def texts(*cells):
    names = tuple(dict.fromkeys(cell for cell in cells if cell is not None))
    return Column(None, np.array([-1 if cell is None else names.index(cell) for cell in cells], np.int32), names)


def test_a_binary_prediction_without_a_class_is_decided_at_one_half():
    batch = batch_of(prediction=texts("no", None, None), score=np.array([0.9, 0.5, 0.49]))
    rows = pending_rows(schema_of("binary_classification"), batch)
    assert rows.predicted.tolist() == [1, 2, 1]
    assert rows.scores.tolist() == [0.9, 0.5, 0.49]


def test_a_binary_score_alone_decides_and_no_score_decides_nothing():
    rows = pending_rows(schema_of("binary_classification"), batch_of(score=np.array([0.7, np.nan, 0.1])))
    assert rows.predicted.tolist() == [2, -1, 1]
    assert pending_rows(schema_of("binary_classification"), batch_of()).predicted.tolist() == [-1] * 3


def test_the_negative_class_is_other_as_long_as_it_has_no_name():
    schema = schema_of("binary_classification", classes=("yes",))
    assert pending_rows(schema, batch_of(score=np.array([0.7, 0.2, 0.1]))).predicted.tolist() == [1, 0, 0]


def test_without_a_positive_class_scores_decide_nothing():
    schema = Schema(
        "binary_classification", "", (), np.zeros((0, 1)), np.zeros((0, 1), np.int32), np.zeros(0), np.zeros(0), (),
        Categories([], 1), Categories(("class",), 5), Categories([], 1),
    )  # fmt: skip
    assert pending_rows(schema, batch_of(score=np.ones(3))).predicted.tolist() == [-1] * 3
    assert schema.classes.names(0) == []


def test_the_positive_class_s_probability_is_the_binary_score():
    scores = {"no": np.array([0.9, 0.2, 0.5]), "yes": np.array([0.1, 0.8, 0.5])}
    rows = pending_rows(schema_of("binary_classification"), batch_of(scores=scores))
    assert rows.scores.tolist() == [0.1, 0.8, 0.5]
    assert rows.predicted.tolist() == [1, 2, 2]
    assert rows.class_scores is None


def test_a_multiclass_prediction_without_a_class_is_its_likeliest():
    nan = np.nan
    scores = {"a": np.array([0.2, 0.9, nan]), "new": np.array([0.8, nan, nan])}
    schema = schema_of("multiclass_classification", classes=("a", "b"))
    rows = pending_rows(schema, batch_of(prediction=texts(None, None, None), scores=scores))
    assert rows.predicted.tolist() == [3, 1, -1]
    assert set(rows.class_scores) == {1, 3}
    sent = pending_rows(schema, batch_of(prediction=texts("b", None, "b"), scores=scores))
    assert sent.predicted.tolist() == [2, 1, 2]


def test_scores_of_too_many_classes_are_cut_and_other_has_none():
    names = [f"c{number}" for number in range(SCORES_LIMIT + 5)]
    schema = schema_of("multiclass_classification", classes=(), limit=3)
    rows = pending_rows(schema, batch_of(scores={name: np.ones(3) for name in names}))
    assert set(rows.class_scores) == {1, 2, 3}


def test_classes_sent_as_integers_are_their_text():
    batch = batch_of(prediction=Column(np.array([1.0, 0.0, np.nan])))
    rows = pending_rows(schema_of("binary_classification", classes=("0", "1")), batch)
    assert rows.predicted.tolist() == [2, 1, -1]


@pytest.mark.parametrize("task", ["binary_classification", "multiclass_classification", "regression"])
def test_failed_predictions_are_not_kept(task):
    batch = batch_of(
        error=texts(None, "ValueError", None), value=np.arange(3.0), score=np.arange(3) / 4,
        segments={"shop": texts("a", "b", "c")},
    )  # fmt: skip
    schema = replace(schema_of(task), groups=Categories.from_pairs(("shop",), 9, [(0, "b"), (0, "a"), (0, "c")]))
    rows = pending_rows(schema, batch)
    assert rows.ids.tolist() == [[0, 1], [4, 5]]
    assert rows.groups.tolist() == [[3], [4]]
    assert (
        (rows.predicted_values.tolist() == [0.0, 2.0]) if task == "regression" else rows.scores.tolist() == [0.0, 0.5]
    )


def test_a_regression_keeps_its_value_and_nothing_else():
    rows = pending_rows(schema_of("regression"), batch_of(value=np.arange(3.0), score=np.ones(3)))
    assert rows.predicted_values.tolist() == [0.0, 1.0, 2.0]
    assert (rows.predicted, rows.scores, rows.class_scores) == (None, None, None)


def test_latest_row_of_each_id():
    words = np.array([[1, 1], [1, 2], [2, 1], [1, 1], [1, 2], [1, 1]], np.uint64)
    assert latest_rows(words).tolist() == [5, 4, 2, 5, 4, 5]
    assert latest_rows(words[:0]).tolist() == []
