"""Join the labels of reference rows to their predictions: the model's performance when all was well."""

from __future__ import annotations

from typing import Final

import numpy as np

from collector_processor.columns.batch import F64, I32, Column, Mask, PredictionBatch
from collector_processor.reference.columns import Labels
from collector_processor.statistics.cells import likeliest_score, score_cells
from collector_processor.statistics.classes import NO_CLASS, class_codes, decided_classes, known_classes
from collector_processor.statistics.fits.slice_cells import Codes, SliceCells
from collector_processor.statistics.groups import segment_groups
from collector_processor.statistics.outcome_batch import OutcomeBatch
from collector_processor.statistics.sample import sampled
from collector_processor.statistics.schema import Schema
from collector_processor.statistics.texts import as_texts

MOST_ROWS: Final = 200_000
"""Rows of which all are cut into slices."""


def reference_outcomes(schema: Schema, batch: PredictionBatch, labels: Labels) -> OutcomeBatch | None:
    """Return one outcome a row, without a delay; None without labels. Failed rows have no prediction and no score.

    The probability of the label comes from ``batch.scores``, or in a binary task from the score.
    """
    if labels.classes is None and labels.values is None:
        return None
    failed = np.zeros(len(batch), np.bool_) if batch.error is None else batch.error.is_text()
    scores = score_cells(batch, schema.positive_class)
    if schema.task == "multiclass_classification":
        scores = likeliest_score(batch, scores)
    scores = np.full(len(batch), np.nan) if scores is None else np.where(failed, np.nan, scores)
    slots = None if labels.classes is None else class_codes(schema.classes, as_texts(labels.classes))
    return OutcomeBatch(
        time_ns=batch.time_ns,
        weights=batch.weights,
        scores=scores,
        label_probability=np.where(failed, np.nan, _label_probability(schema, batch, scores, slots)),
        groups=segment_groups(schema, batch),
        delay_s=np.full(len(batch), np.nan),
        labels=slots if labels.values is None else None,
        label_values=labels.values,
        predicted=_predicted(schema, batch.prediction, scores, failed),
        predicted_values=None if batch.value is None else np.where(failed, np.nan, batch.value),
    )


def reference_slices(schema: Schema, batch: PredictionBatch) -> Codes | None:
    """Return the cells of the rows as :class:`.OutcomeBatch` has them: of all rows, or of a sample of very many."""
    fit = schema.fit(SliceCells)
    if fit is None:
        return None
    if len(batch) <= MOST_ROWS:
        return np.column_stack((np.ones(len(batch), np.uint8), fit.of(schema, batch)))
    slices, sample = np.zeros((len(batch), len(fit.positions) + 1), np.uint8), sampled(batch)
    slices[sample.rows] = np.column_stack((sample.levels, fit.of(schema, sample.batch)))
    return slices


def _predicted(schema: Schema, prediction: Column | None, scores: F64, failed: Mask) -> I32:
    predicted = np.full(len(failed), NO_CLASS, np.int32)
    if prediction is not None:
        predicted = class_codes(schema.classes, as_texts(prediction))
    if schema.task == "binary_classification":
        predicted = decided_classes(schema, predicted, scores)
    return np.where(failed, NO_CLASS, predicted).astype(np.int32)


def _label_probability(schema: Schema, batch: PredictionBatch, scores: F64, slots: I32 | None) -> F64:
    probability_of_label = np.full(len(batch), np.nan)
    if slots is None:
        return probability_of_label
    names = Column(None, np.arange(len(batch.scores), dtype=np.int32), tuple(batch.scores))
    for code, probability in zip(class_codes(schema.classes, names).tolist(), batch.scores.values(), strict=True):
        rows = slots == code
        probability_of_label[rows] = probability[rows]
    if schema.positive_class:
        positive = slots == schema.classes.find(0, schema.positive_class)
        by_score = np.where(positive, scores, 1.0 - scores)
        unknown = np.isnan(probability_of_label) & known_classes(slots)
        probability_of_label = np.where(unknown, by_score, probability_of_label)
    return probability_of_label
