"""The truth that a label states, in the terms of a model: the code of a class, or a number."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from collector_processor.columns.batch import F64, I32, I64, Column, LabelBatch, Mask
from collector_processor.columns.classes import respelled_column
from collector_processor.statistics.classes import class_codes, known_classes
from collector_processor.statistics.schema import Schema
from collector_processor.statistics.texts import as_texts


class LabelCells(NamedTuple):
    """Labels as cells that are a text, a number or empty: ``numbers`` ``[n]`` (NaN), ``codes`` ``[n]`` (−1)."""

    numbers: F64
    codes: I32
    categories: tuple[str, ...]

    def empty(self) -> Mask:
        """Return which labels have neither, bool ``[n]``."""
        return np.isnan(self.numbers) & (self.codes < 0)


@dataclass(frozen=True, slots=True)
class Truth:
    """The truth about ``n`` predictions: class codes ``[n]`` (classification) or values ``[n]`` (regression)."""

    labels: I32 | None = None
    values: F64 | None = None

    def take(self, rows: I64 | Mask) -> Truth:
        """Return the truth about selected predictions."""
        return Truth(
            None if self.labels is None else self.labels[rows], None if self.values is None else self.values[rows]
        )

    def known(self) -> Mask:
        """Return which predictions have a known truth, bool ``[n]``."""
        if self.labels is not None:
            return known_classes(self.labels)
        return np.isfinite(self.values if self.values is not None else np.empty(0))

    def equals(self, other: Truth) -> Mask:
        """Return where both are equal, bool ``[n]``."""
        if self.labels is not None and other.labels is not None:
            return self.labels == other.labels
        if self.values is not None and other.values is not None:
            return self.values == other.values
        return np.zeros(len(self.known()), np.bool_)


def truth(schema: Schema, labels: LabelBatch) -> Truth:
    """Return the labels in terms of a model; unknown (−1 or NaN) if a label is of the wrong kind for the task.

    Classification takes a class; a number counts as the class of its text if it is an integer. Regression takes a
    value; a class counts if its text is a finite number. Unknown classes are appended to ``schema.classes`` while its
    limit allows; those that only spell a known one otherwise (``schema.meant``) count as that.
    """
    if schema.task == "regression":
        return Truth(values=_values(labels))
    cell = label_cells(labels)
    texts = class_codes(schema.classes, respelled_column(Column(None, cell.codes, cell.categories), schema.meant))
    numbers = class_codes(schema.classes, respelled_column(as_texts(Column(cell.numbers)), schema.meant))
    return Truth(labels=np.where(known_classes(texts), texts, numbers).astype(np.int32))


def label_cells(labels: LabelBatch) -> LabelCells:
    """Return each label as one cell, a number or a text: its class, else its value; missing if absent or infinite.

    >>> both = LabelBatch("m", np.zeros(2, np.int64), np.zeros((2, 2), np.uint64),
    ...                   Column(None, np.array([0, -1], np.int32), ("yes",)), np.array([np.nan, 2.0]))
    >>> label_cells(both).numbers.tolist(), label_cells(both).codes.tolist()
    ([nan, 2.0], [0, -1])
    """
    classes = labels.classes
    numbers = np.full(len(labels), np.nan)
    if classes is not None and classes.numbers is not None:
        numbers = np.where(classes.is_text(), np.nan, classes.numbers)
    if labels.values is not None:
        absent = np.isnan(numbers) if classes is None else classes.missing()
        numbers = np.where(absent, labels.values, numbers)
    numbers = np.where(np.isinf(numbers), np.nan, numbers)
    if classes is None or classes.codes is None:
        return LabelCells(numbers, np.full(len(numbers), -1, np.int32), ())
    return LabelCells(numbers, classes.codes, classes.categories)


def _values(labels: LabelBatch) -> F64:
    """Return each label as a number ``[n]``: its value, else its class parsed as a number; NaN if that fails."""
    cell = label_cells(labels)
    read = np.array([*map(_number, cell.categories), math.nan])  # the last is for code −1
    numbers = np.where(cell.codes >= 0, read[cell.codes], cell.numbers)
    if labels.values is None:
        return numbers
    return np.where(np.isfinite(labels.values), labels.values, numbers)


def _number(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        return math.nan
    return number if math.isfinite(number) else math.nan


def same_labels(left: LabelBatch, right: LabelBatch) -> Mask:
    """Return which labels of two parts of one batch are equal, row by row, bool ``[n]``."""
    same = np.ones(len(left), np.bool_)
    pairs = [(left.values, right.values)]
    if left.classes is not None and right.classes is not None:
        pairs.append((left.classes.numbers, right.classes.numbers))
        if left.classes.codes is not None and right.classes.codes is not None:
            same &= left.classes.codes == right.classes.codes
    for mine, theirs in pairs:
        if mine is not None and theirs is not None:
            same &= (mine == theirs) | (np.isnan(mine) & np.isnan(theirs))
    return same
