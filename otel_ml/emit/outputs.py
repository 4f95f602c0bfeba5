"""Which buckets the outputs of a call fall into, by the rules that the service has for those of a span."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from otel_ml.classes import canonical_class
from otel_ml.emit.buckets import Buckets
from otel_ml.emit.profile import Profile
from otel_ml.encode.row import Attributes
from otel_ml.encode.rows import flatten, is_column, items, length
from otel_ml.encode.scalar import UnsupportedValueError, number, text
from otel_ml.encode.scores import by_class, column_score
from otel_ml.semconv import (
    PREDICTION_CLASS,
    PREDICTION_SCORE,
    PREDICTION_SCORES,
    PREDICTION_VALUE,
    TASKS,
)

_BINARY = TASKS[0]


class Recorded:
    """What decides the meaning of a model's outputs: its profile, and the class that the sender's scores are about."""

    __slots__ = ("outputs", "positive", "turned")

    def __init__(self, profile: Profile, positive_class: str | None) -> None:
        self.outputs = profile.outputs
        self.positive = profile.positive_class
        sent = canonical_class(positive_class or "")
        known = sent in profile.classes and self.positive not in ("", sent)
        self.turned = known and profile.task == _BINARY
        """Whether a score is about the other one of two classes: the service turns it around."""

    def score(self, scores: Mapping[str, float | None], class_: str, score: float | None) -> float | None:
        """Return a row's score: the probability of the positive class, else of the predicted one, else as recorded."""
        found = scores.get(self.positive or class_)
        if found is not None and not math.isnan(found):
            return found
        return 1.0 - score if self.turned and score is not None else score


def row_places(recorded: Recorded, outputs: Attributes) -> Iterator[tuple[str, int]]:
    """Yield the bucket of each output of one row, given its attributes; one that the row lacks is missing."""
    values: Any = outputs
    class_ = canonical_class(values.get(PREDICTION_CLASS) or "")
    for role, buckets in recorded.outputs.items():
        if role == "score":
            scores = {canonical_class(name): cell for name, cell in values.get(PREDICTION_SCORES, {}).items()}
            yield "score", buckets.place(recorded.score(scores, class_, values.get(PREDICTION_SCORE)))
        elif buckets.edges is not None:
            yield "prediction", buckets.place(values.get(PREDICTION_VALUE))
        else:
            yield "prediction", buckets.place(class_ or None)


def batch_counts(recorded: Recorded, outputs: Mapping[str, Any], rows: int) -> dict[str, Sequence[int]]:
    """Return how many rows of a call fall into each bucket of each output."""
    counts: dict[str, Sequence[int]] = {}
    classes = _column(outputs.get("class"), rows)
    for role, buckets in recorded.outputs.items():
        if role == "score":
            counts["score"] = _score_counts(recorded, buckets, outputs, classes, rows)
        elif buckets.edges is not None:
            counts["prediction"] = _number_counts(buckets, _column(outputs.get("value"), rows), rows)
        else:
            counts["prediction"] = buckets.counts([*_classes(classes, rows)])
    return counts


def _score_counts(
    recorded: Recorded, buckets: Buckets, outputs: Mapping[str, Any], classes: Any, rows: int
) -> Sequence[int]:
    score = _column(outputs.get("score"), rows)
    columns = {canonical_class(name): cells for name, cells in by_class(outputs.get("scores") or {})}
    if recorded.positive:
        found = columns.get(recorded.positive)
    else:
        found = column_score(columns, [*_classes(classes, rows)], None, TASKS[1], rows) if columns else None
    found = _column(found, rows)
    if found is None and not recorded.turned:
        return _number_counts(buckets, score, rows)
    pairs = zip(_numbers(found, rows), _numbers(score, rows), strict=True)
    return buckets.counts([recorded.score({recorded.positive: cell}, recorded.positive, own) for cell, own in pairs])


def _number_counts(buckets: Buckets, column: Any, rows: int) -> Sequence[int]:
    if getattr(getattr(column, "dtype", None), "kind", None) == "f":
        return buckets.counts(column)
    return buckets.counts([*_numbers(column, rows)])


def _column(cells: Any, rows: int) -> Any | None:
    """Return the cells of all rows, None if there are none or they are of another number of rows."""
    column = flatten(cells)
    return column if is_column(column) and length(column) == rows else None


def _numbers(column: Any, rows: int) -> Iterator[float | None]:
    return iter([None] * rows) if column is None else map(_number, items(column))


def _number(cell: object) -> float | None:
    try:
        return number(cell)
    except UnsupportedValueError:
        return None


def _classes(column: Any, rows: int) -> Iterator[str | None]:
    """Yield the class of each row, in its one spelling."""
    if column is None:
        return iter([None] * rows)
    spelled: Callable[[object], str | None] = lambda cell: canonical_class(text(cell) or "") or None  # noqa: E731
    return map(spelled, items(column))
