"""The class that each prediction has: the one that was sent, else the one that its scores decide."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np

from collector_processor.columns.batch import F64, I32, Column, PredictionBatch
from collector_processor.decode.limits import DecodeLimits
from collector_processor.statistics.cells import score_cells
from collector_processor.statistics.classes import NO_CLASS, class_codes, decided_classes, known_classes
from collector_processor.statistics.schema import Schema
from collector_processor.statistics.texts import as_texts

WHOLE: Final = 0.999
"""Sum of a row's probabilities from which on none of them was dropped."""
_DECODED_CLASSES: Final = DecodeLimits().classes


def predicted_codes(schema: Schema, batch: PredictionBatch) -> I32:
    """Return the code of each row's predicted class, int32 ``[n]``; :data:`.NO_CLASS` where nothing decides it.

    A binary prediction without a class gets the one that the threshold decides, if the positive class is known; a
    multiclass one gets its most likely class.

    Derived once for each batch, table of classes, positive class and threshold.
    """
    decision = f"predicted by {schema.positive_class} {schema.threshold}"
    return batch.once(decision, schema.classes, lambda: _predicted_codes(schema, batch))


def _predicted_codes(schema: Schema, batch: PredictionBatch) -> I32:
    codes = _decided(schema, batch)
    codes.flags.writeable = False  # several readers share it
    return codes


def _decided(schema: Schema, batch: PredictionBatch) -> I32:
    codes = np.full(len(batch), NO_CLASS, np.int32)
    if batch.prediction is not None:
        codes = class_codes(schema.classes, as_texts(batch.prediction))
    if schema.task == "binary_classification":
        return decided_classes(schema, codes, score_cells(batch, schema.positive_class))
    return _likeliest(schema, codes, batch.scores) if schema.task == "multiclass_classification" else codes


def _likeliest(schema: Schema, predicted: I32, scores: Mapping[str, F64]) -> I32:
    """Return multiclass codes, those of the most likely class where none was sent.

    Nothing is decided where probabilities beyond the decoder's limit were dropped: the most likely class may be one of
    those, and accuracy over the other rows would be that of an easier part.
    """
    undecided = ~known_classes(predicted)
    if not scores or not undecided.any():
        return predicted
    matrix = np.stack([np.where(np.isnan(of_class), -1.0, of_class)[undecided] for of_class in scores.values()])
    if len(scores) >= _DECODED_CLASSES and (np.maximum(matrix, 0.0).sum(axis=0) < WHOLE).any():
        return predicted
    codes = class_codes(schema.classes, Column(None, np.arange(len(scores), dtype=np.int32), tuple(scores)))
    predicted = predicted.copy()
    predicted[undecided] = np.where(matrix.max(axis=0) >= 0.0, codes[np.argmax(matrix, axis=0)], NO_CLASS)
    return predicted
