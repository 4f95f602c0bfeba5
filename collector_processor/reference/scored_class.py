"""The class that a binary model's score is about, as its rows show it: the class that higher scores come with."""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from collector_processor.columns.batch import PredictionBatch
from collector_processor.statistics.classes import DECISION_THRESHOLD
from collector_processor.statistics.texts import as_texts

_ORDERS: Final = 10_000
"""At least this many orders of the rows must be possible: the one that shows a class is then not due to chance."""
_COUNTED: Final = 100


def scored_class(batch: PredictionBatch) -> str:
    """Return the class of the rows with the higher scores, if there are two and a threshold divides them; else empty.

    Scores from one half to 1 for both classes may be probabilities of the predicted class, which show nothing.

    >>> from collector_processor.columns.batch import Column, ModelKey
    >>> def rows(scores, codes):
    ...     n, column = len(scores), Column(None, np.array(codes, np.int32), ("bad", "good"))
    ...     key, ones = ModelKey("m", ""), np.ones(n)
    ...     times, score = np.zeros(n, np.int64), np.array(scores)
    ...     return PredictionBatch(key, times, ones, ones, {}, prediction=column, score=score)
    >>> scored_class(rows([0.9, 0.2] * 10, [0, 1] * 10)), scored_class(rows([0.9, 0.2], [0, 1]))
    ('bad', '')
    >>> scored_class(rows([0.9, 0.6] * 10, [0, 1] * 10))
    ''
    """
    if batch.score is None or batch.scores or batch.prediction is None:
        return ""
    column = as_texts(batch.prediction)
    if column.codes is None:
        return ""
    known = (column.codes >= 0) & np.isfinite(batch.score)
    if batch.error is not None:
        known &= ~batch.error.is_text()
    codes, scores = column.codes[known], batch.score[known]
    names = np.unique(codes)
    if len(names) != 2:
        return ""
    first = codes == names[0]
    low, high, name = scores[first], scores[~first], names[1]
    if low.min() > high.min():
        low, high, name = high, low, names[0]
    divided = low.max() < high.min()
    of_predicted = low.min() >= DECISION_THRESHOLD and high.max() <= 1.0
    orders = math.comb(min(len(scores), _COUNTED), min(len(low), len(high), _COUNTED // 2))
    return column.categories[name] if divided and not of_predicted and orders >= _ORDERS else ""
