"""The classes of a batch in their one spelling (:func:`.canonical_class`), whatever form they came in.

This comes after decoding, so it is the same for every decoder, form and language, and for tables.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from collector_processor.columns.batch import F64, Column, LabelBatch, PredictionBatch
from otel_ml.classes import canonical_class


def class_column(column: Column | None) -> Column | None:
    """Return the column with each class in its one spelling; a text for a missing class becomes a missing cell.

    >>> column = class_column(Column(None, np.array([0, 1, 2, 3], np.int32), ("True", "1.0", "nan", "no")))
    >>> column.codes.tolist(), column.categories
    ([0, 0, -1, 1], ('1', 'no'))
    """
    if column is None or column.codes is None:
        return column
    names = tuple(map(canonical_class, column.categories))
    if names == column.categories and all(names):
        return column
    index: dict[str, int] = {}
    position = [index.setdefault(name, len(index)) if name else -1 for name in names]
    codes = np.array([*position, -1], np.int32)[column.codes]  # the last is for code −1
    return Column(column.numbers, codes, tuple(index))


def canonical_predictions(batch: PredictionBatch) -> PredictionBatch:
    """Return the batch with predicted classes, names of scores and the positive class in their one spelling."""
    prediction, scores = class_column(batch.prediction), _scores(batch.scores)
    positive = canonical_class(batch.positive_class)
    if prediction is batch.prediction and scores is batch.scores and positive == batch.positive_class:
        return batch
    return replace(batch, prediction=prediction, scores=scores, positive_class=positive)


def canonical_labels(batch: LabelBatch) -> tuple[LabelBatch, int]:
    """Return the labels with classes in their one spelling, and the number of those left out: without any class."""
    classes = class_column(batch.classes)
    if classes is None or classes is batch.classes:
        return batch, 0
    labeled = ~classes.missing()
    if batch.values is not None:
        labeled |= ~np.isnan(batch.values)
    batch = replace(batch, classes=classes)
    if labeled.all():
        return batch, 0
    return batch.take(labeled), int(np.count_nonzero(~labeled))


def _scores(scores: Mapping[str, F64]) -> Mapping[str, F64]:
    if all(canonical_class(name) == name != "" for name in scores):
        return scores
    merged: dict[str, F64] = {}
    for name, values in scores.items():
        one = canonical_class(name)
        if one:
            known = merged.get(one)
            merged[one] = values if known is None else np.where(np.isnan(known), values, known)
    return merged
