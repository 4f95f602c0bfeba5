"""The cells of a batch by the columns of a schema: features, predictions, and scores of the class they are about."""

from __future__ import annotations

import numpy as np

from collector_processor.columns.batch import F64, Column, PredictionBatch
from collector_processor.statistics.schema import ColumnSpec, Schema
from collector_processor.statistics.texts import as_texts


def score_cells(batch: PredictionBatch, positive_class: str) -> F64 | None:
    """Return the score of each row ``[n]``: the probability of the positive class if there is one, or of the predicted
    class; None if the batch has no scores.

    ``batch.scores`` names the class of each probability, so it takes precedence over ``batch.score``: the sender may
    consider another class the positive one. Derived once for each batch and class.
    """
    if not batch.scores:
        return batch.score
    return batch.once("score_cells", positive_class, lambda: _score_cells(batch, positive_class))


def _score_cells(batch: PredictionBatch, positive_class: str) -> F64 | None:
    score = batch.score
    looked_up = batch.scores.get(positive_class) if positive_class else _predicted_score(batch)
    if score is None or looked_up is None:
        return score if looked_up is None else looked_up
    return np.where(np.isnan(looked_up), score, looked_up)


def likeliest_score(batch: PredictionBatch, scores: F64 | None) -> F64 | None:
    """Return the greatest of ``scores`` and of ``batch.scores`` in each row ``[n]``; None without any."""
    for of_class in batch.scores.values():
        scores = of_class if scores is None else np.fmax(scores, of_class)
    return scores


def _predicted_score(batch: PredictionBatch) -> F64 | None:
    if batch.prediction is None:
        return None
    predicted = as_texts(batch.prediction)
    scores_by_row = np.full(len(batch), np.nan)
    for code, category in enumerate(predicted.categories):
        scores = batch.scores.get(category)
        if scores is not None and predicted.codes is not None:
            rows = predicted.codes == code
            scores_by_row[rows] = scores[rows]
    return scores_by_row


def cells_of(schema: Schema, batch: PredictionBatch, spec: ColumnSpec, *, numeric: bool) -> Column | None:
    """Return the batch's cells for a column, or None."""
    if spec.role == "feature":
        return batch.features.get(spec.name)
    if spec.role == "prediction" and not numeric:
        return batch.prediction
    numbers = batch.value if spec.role == "prediction" else score_cells(batch, schema.positive_class)
    return None if numbers is None else Column(numbers)
