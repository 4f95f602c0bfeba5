"""How wrong each prediction was, row by row: 0 or 1 for a class, the squared or absolute error for a value."""

from __future__ import annotations

import numpy as np

from collector_processor.columns.batch import F64
from collector_processor.statistics.labeled import counted_classes
from collector_processor.statistics.outcome_batch import OutcomeBatch
from collector_processor.statistics.schema import Schema


def class_errors(schema: Schema, outcomes: OutcomeBatch) -> F64:
    """Return 1 where the predicted class is wrong and 0 where it is right, ``[n]``; NaN where that is not known.

    The same rows count as in ``Outcomes.by_class``: slot 0 of a prediction is what a score below the threshold means
    while the negative class has no name.
    """
    labels, predicted = outcomes.labels, outcomes.predicted
    if labels is None or predicted is None:
        return np.full(len(outcomes), np.nan)
    predicted, known = counted_classes(schema, labels, predicted)
    return np.where(known, labels != predicted, np.nan)


def value_errors(outcomes: OutcomeBatch) -> F64:
    """Return prediction less label, ``[n]``; NaN where one of them is not known."""
    if outcomes.label_values is None or outcomes.predicted_values is None:
        return np.full(len(outcomes), np.nan)
    with np.errstate(over="ignore", invalid="ignore"):
        error = outcomes.predicted_values - outcomes.label_values
    return np.where(np.isfinite(error), error, np.nan)
