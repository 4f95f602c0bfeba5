"""The classes of a batch in their one spelling (:func:`.canonical_class`), whatever form they came in.

This comes after decoding, so it is the same for every decoder, form and language, and for tables.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Final

import numpy as np

from collector_processor.columns.batch import F64, Column, LabelBatch, PredictionBatch
from otel_ml.classes import canonical_class, folded_class

_NAMED: Final = 5
"""Classes that a sentence names."""


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


def spelled_otherwise(names: Iterable[str], known: Collection[str]) -> dict[str, tuple[str, ...]]:
    """Return the known classes that each unknown name may mean: those that only another spelling keeps apart.

    >>> spelled_otherwise(["YES", "no", "maybe"], ["yes", "no"])
    {'YES': ('yes',)}
    >>> spelled_otherwise(["YES"], ["yes", "Yes"])
    {'YES': ('yes', 'Yes')}
    """
    unknown = [name for name in names if name not in known]
    if not unknown:
        return {}
    folded: dict[str, list[str]] = {}
    for name in known:
        folded.setdefault(folded_class(name), []).append(name)
    meant = {name: tuple(folded.get(folded_class(name), ())) for name in unknown}
    return {name: classes for name, classes in meant.items() if classes}


def respelled_column(column: Column, meant: Mapping[str, tuple[str, ...]]) -> Column:
    """Return the column with names as the one class that they mean; a missing cell where that is not clear.

    >>> column = respelled_column(Column(None, np.array([0, 1], np.int32), ("YES", "yes")), {"YES": ("yes",)})
    >>> column.codes.tolist(), column.categories
    ([0, 0], ('yes',))
    """
    if column.codes is None or meant.keys().isdisjoint(column.categories):
        return column
    names = [classes[0] if len(classes) == 1 else "" for classes in (meant.get(x, (x,)) for x in column.categories)]
    index: dict[str, int] = {}
    position = [index.setdefault(name, len(index)) if name else -1 for name in names]
    return Column(column.numbers, np.array([*position, -1], np.int32)[column.codes], tuple(index))


def spelling_words(meant: Mapping[str, tuple[str, ...]]) -> Iterator[tuple[bool, str]]:
    """Yield sentences about labels with another spelling: whether they count, and what they mean."""
    one = [f"{name!r} as {classes[0]!r}" for name, classes in sorted(meant.items()) if len(classes) == 1]
    several = {name: classes for name, classes in sorted(meant.items()) if len(classes) > 1}
    if one:
        yield True, f"labels spell classes differently from predictions; they count as these: {_some(one)}"
    if several:
        words = [f"{name!r} may be {' or '.join(map(repr, classes))}" for name, classes in several.items()]
        yield False, f"labels that may mean several classes are left out: {_some(words)}"


def _some(words: list[str]) -> str:
    more = len(words) - _NAMED
    return ", ".join(words[:_NAMED]) + (f" and {more} more" if more > 0 else "")


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
