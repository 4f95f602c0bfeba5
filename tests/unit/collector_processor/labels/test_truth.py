"""What labels say in the terms of a model, however they were sent."""

from __future__ import annotations

import numpy as np
import pytest

from collector_processor.columns.batch import Column, LabelBatch
from collector_processor.labels.truth import Truth, label_cells, same_labels, truth
from collector_processor.statistics.schema import Categories, Schema


def schema_of(task, limit=100):
    return Schema(
        task, "", (), np.zeros((0, 1)), np.zeros((0, 1), np.int32), np.zeros(0), np.zeros(0), (), Categories([], 1),
        Categories.from_pairs(("class",), limit, [(0, "0"), (0, "1"), (0, "yes")]), Categories([], 1),
    )  # fmt: skip


def labels_of(classes=None, values=None):
    """Labels from cells: texts, numbers or None."""
    rows = len(classes if classes is not None else values)
    column = None
    if classes is not None:
        texts = tuple(dict.fromkeys(cell for cell in classes if isinstance(cell, str)))
        codes = np.array([texts.index(cell) if isinstance(cell, str) else -1 for cell in classes], np.int32)
        numbers = np.array([cell if isinstance(cell, int | float) else np.nan for cell in classes], float)
        column = Column(numbers, codes, texts)
    return LabelBatch("m", np.zeros(rows, np.int64), np.zeros((rows, 2), np.uint64), column, values)


@pytest.mark.parametrize("task", ["binary_classification", "multiclass_classification", ""])
def test_classes_are_slots_and_integers_are_their_text(task):
    schema = schema_of(task)
    labels = labels_of(["yes", 1, "new", None, 0.5, 0.0, np.inf], np.array([np.nan] * 3 + [1.0, 2.0, np.nan, 1.0]))
    assert truth(schema, labels).labels.tolist() == [3, 2, 4, 2, -1, 1, -1]
    assert schema.classes.names(0) == ["0", "1", "yes", "new"]


def test_values_alone_are_classes_where_they_are_integers():
    labels = labels_of(values=np.array([0.0, 1.0, 7.0, 0.25, np.nan, np.inf]))
    assert truth(schema_of("multiclass_classification"), labels).labels.tolist() == [1, 2, 4, -1, -1, -1]


def test_classes_beyond_the_limit_stay_different():
    codes = truth(schema_of("binary_classification", limit=3), labels_of(["no", "yes", "maybe"])).labels
    assert codes is not None
    no, yes, maybe = codes
    assert yes == 3
    assert no < -1
    assert maybe < -1
    assert no != maybe


def test_a_regression_reads_values_and_classes_that_are_numbers():
    labels = labels_of(["2.5", 3, None, "nan", "inf", "late", "7"], np.array([np.nan] * 6 + [8.0]))
    np.testing.assert_equal(truth(schema_of("regression"), labels).values, [2.5, 3, np.nan, np.nan, np.nan, np.nan, 8])


def test_a_regression_takes_no_infinite_value():
    assert not truth(schema_of("regression"), labels_of(values=np.array([np.inf, -np.inf, np.nan]))).known().any()


def test_a_label_with_neither_class_nor_value_is_missing():
    nothing = LabelBatch("m", np.zeros(2, np.int64), np.zeros((2, 2), np.uint64))
    assert label_cells(nothing).empty().tolist() == [True, True]
    for task in ("regression", "binary_classification"):
        assert truth(schema_of(task), nothing).known().tolist() == [False, False]


def test_truths_compare_within_their_kind():
    slots, values = Truth(labels=np.array([1, 2], np.int32)), Truth(values=np.array([1.0, 2.0]))
    assert slots.equals(Truth(labels=np.array([1, 3], np.int32))).tolist() == [True, False]
    assert values.equals(Truth(values=np.array([1.5, 2.0]))).tolist() == [False, True]
    assert slots.equals(values).tolist() == [False, False]
    assert values.take(np.array([1])).values.tolist() == [2.0]


def test_labels_of_one_batch_compare_by_class_and_value():
    labels = labels_of(["a", "a", "b", None, None], np.array([np.nan, np.nan, np.nan, 1.0, 2.0]))
    left, right = labels.take(np.array([0, 0, 3, 3])), labels.take(np.array([1, 2, 3, 4]))
    assert same_labels(left, right).tolist() == [True, False, True, False]
