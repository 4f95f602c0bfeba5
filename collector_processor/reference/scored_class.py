"""What a binary model's score is about, as its rows show it: one class, or whichever was predicted."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Final, NamedTuple

import numpy as np

from collector_processor.columns.batch import F64, PredictionBatch
from collector_processor.statistics.classes import DECISION_THRESHOLD
from collector_processor.statistics.texts import as_texts

_ORDERS: Final = 10_000
"""At least this many orders of the rows must be possible: the one that shows a class is then not due to chance."""
_COUNTED: Final = 100


class Shown(NamedTuple):
    """What rows show of their scores."""

    scored: str = ""
    """The class with the higher scores, if there are two and a threshold divides them; else empty."""
    of_predicted: bool | None = None
    """Whether the scores are probabilities of the predicted class, whichever it is; None if unknown.

    They are from one half to 1 then, and no threshold divides the classes.
    """


def shown_by(batch: PredictionBatch) -> Shown:
    """Return what the rows show of their scores.

    Scores from one half to 1 for both classes may be probabilities of the predicted class, which show nothing.

    >>> from collector_processor.columns.batch import Column, ModelKey
    >>> def rows(scores, codes):
    ...     n, column = len(scores), Column(None, np.array(codes, np.int32), ("bad", "good"))
    ...     key, ones = ModelKey("m", ""), np.ones(n)
    ...     times, score = np.zeros(n, np.int64), np.array(scores)
    ...     return PredictionBatch(key, times, ones, ones, {}, prediction=column, score=score)
    >>> shown_by(rows([0.9, 0.2] * 10, [0, 1] * 10)), shown_by(rows([0.9, 0.2], [0, 1]))
    (Shown(scored='bad', of_predicted=False), Shown(scored='', of_predicted=None))
    >>> shown_by(rows([0.9, 0.6] * 10, [0, 1] * 10)), shown_by(rows([0.9, 0.6, 0.6, 0.9] * 10, [0, 1] * 20))
    (Shown(scored='', of_predicted=None), Shown(scored='', of_predicted=True))
    """
    sides = _sides(batch)
    if sides is None or not sides.enough():
        return Shown()
    divided = bool(sides.low.max() < sides.high.min())
    if sides.confident:
        return Shown(of_predicted=None if divided else True)
    return Shown(sides.name if divided else "", of_predicted=False)


def scored_class(batch: PredictionBatch) -> str:
    """Return the class that the scores of the rows are about; empty if they do not show it."""
    return shown_by(batch).scored


def turned(batch: PredictionBatch) -> PredictionBatch:
    """Return the batch with its score about the other one of two classes."""
    return batch if batch.score is None else replace(batch, score=1.0 - batch.score)


class _Sides(NamedTuple):
    """Scores of the rows of two classes; those of ``name`` are ``high``, which have the higher minimum."""

    low: F64
    high: F64
    name: str

    @property
    def confident(self) -> bool:
        """Whether all scores are from one half to 1."""
        return bool(self.low.min() >= DECISION_THRESHOLD and max(self.low.max(), self.high.max()) <= 1.0)

    def enough(self) -> bool:
        """Return whether what the rows show is not due to chance."""
        fewer, rows = min(len(self.low), len(self.high)), len(self.low) + len(self.high)
        return math.comb(min(rows, _COUNTED), min(fewer, _COUNTED // 2)) >= _ORDERS


def _sides(batch: PredictionBatch) -> _Sides | None:
    if batch.score is None or batch.scores or batch.prediction is None:
        return None
    column = as_texts(batch.prediction)
    if column.codes is None:
        return None
    known = (column.codes >= 0) & np.isfinite(batch.score)
    if batch.error is not None:
        known &= ~batch.error.is_text()
    codes, scores = column.codes[known], batch.score[known]
    names = np.flatnonzero(np.bincount(codes, minlength=len(column.categories)))
    if len(names) != 2:
        return None
    first = codes == names[0]
    ordered = sorted(((scores[first], names[0]), (scores[~first], names[1])), key=lambda side: float(side[0].min()))
    return _Sides(ordered[0][0], ordered[1][0], column.categories[ordered[1][1]])
