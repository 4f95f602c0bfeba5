"""Keeps which predictions of one online model wait for their truth, by the row that they were made for."""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from otel_ml.model import Model

LIMIT: Final = 10_000
"""Rows of one model that wait; beyond it the oldest are forgotten, and have no label."""


class Waiting(NamedTuple):
    """A prediction without a label yet."""

    handle: Model
    is_class: bool
    prediction_id: str


@dataclass(slots=True)
class _Row:
    """One row, and its predictions: an application may ask for the class and for the probabilities."""

    row: object
    predictions: list[Waiting]


class Pending:
    """The predictions that wait, oldest first; equal rows are labeled in the order in which they were predicted.

    >>> pending, model = Pending(), Model("fraud")
    >>> first, second = {"amount": 3.0}, {"amount": 3.0}
    >>> for row, each in ((first, "a"), (first, "b"), (second, "c")):
    ...     pending.put(row, Waiting(model, True, each))
    >>> [each.prediction_id for each in pending.take({"amount": 3.0})]
    ['a', 'b']
    >>> [each.prediction_id for each in pending.take({"amount": 3.0})], pending.take({"amount": 3.0})
    (['c'], [])
    """

    def __init__(self, limit: int = LIMIT) -> None:
        self._limit = limit
        self._rows: OrderedDict[Hashable, deque[_Row]] = OrderedDict()
        self._size = 0
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return self._size

    def put(self, row: object, waiting: Waiting) -> None:
        """Keep a prediction for this row; a row that cannot be compared is not kept."""
        key = _key(row)
        if key is None:
            return
        with self._lock:
            rows = self._rows.setdefault(key, deque())
            if rows and rows[-1].row is row:
                rows[-1].predictions.append(waiting)
                return
            rows.append(_Row(row, [waiting]))
            self._size += 1
            if self._size > self._limit:
                oldest = next(iter(self._rows))
                self._pop(oldest)
                if oldest in self._rows:  # the next of these equal rows is younger than others
                    self._rows.move_to_end(oldest)

    def take(self, row: object) -> list[Waiting]:
        """Return the predictions for this row, and forget them; none if it was not predicted."""
        key = _key(row)
        with self._lock:
            return self._pop(key, row) if key is not None and key in self._rows else []

    def _pop(self, key: Hashable, row: object = None) -> list[Waiting]:
        rows = self._rows[key]
        # The very object, if it waits, else the oldest of the equal ones.
        place = next((place for place, each in enumerate(rows) if each.row is row), 0)
        taken = rows[place]
        del rows[place]
        if not rows:
            del self._rows[key]
        self._size -= 1
        return taken.predictions


def _key(row: object) -> Hashable:
    """Return what equal rows have in common; None if they cannot be compared."""
    if not isinstance(row, Mapping):
        return None
    cells: frozenset[Any] | None
    try:
        cells = frozenset((name, "nan" if cell != cell else cell) for name, cell in row.items())
    except (TypeError, ValueError):  # a list or an array in a cell
        return None
    return cells
