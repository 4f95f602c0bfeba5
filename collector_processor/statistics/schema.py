"""The schema: what the vectors of one model mean, with its columns, bins and categories.

Bins. Numeric column ``i`` has ascending finite ``edges[i]`` (padded at the end with ``+inf``); bin 0 is everything
below ``edges[i, 0]``, bin ``b`` is ``[edges[i, b-1], edges[i, b])``. The first edge is the reference's minimum and the
last finite one lies just above its maximum, so bin 0 and the bin after the last edge are exactly *out of range*. Only
the edges of a score that is a probability extend to 0 and 1.
Fine bins hold at most about 1/1024 of the reference each, unless one value alone holds more: that value has a separate
bin. So the Kolmogorov–Smirnov statistic read at the edges is accurate to 1/1024, whatever the current rows are.

Categories. Every (column, category) pair has one *slot* in a flat vector; slots are only appended, so that older and
shorter vectors stay valid. The first slots, one for each column, are *other*: they count what comes after the limit.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

import numpy as np

from collector_processor.columns.batch import F64, I32
from otel_ml.semconv import ColumnRole

T = TypeVar("T")

OTHER = "other"
"""Name under which categories beyond the limit are counted."""


class Categories:
    """Append-only, bounded dictionary: (column, category) → slot.

    ``limit`` bounds the categories of one column, not counting ``other``. ``closed`` columns take no new ones at all.

    >>> table = Categories(["carrier"], limit=2)
    >>> table.slots(0, ("UA", "AA", "UA", "B6")).tolist()  # the third category no longer fits: slot 0 is "other"
    [1, 2, 1, 0]
    >>> table.names(0)
    ['UA', 'AA']
    """

    def __init__(self, columns: Sequence[str], limit: int, closed: Iterable[int] = ()) -> None:
        self.columns = tuple(columns)
        self.limit = limit
        self.closed = frozenset(closed)
        self._owner: list[int] = list(range(len(self.columns)))
        self._name: list[str] = [OTHER] * len(self.columns)
        self._slot: list[dict[str, int]] = [{} for _ in self.columns]

    def __len__(self) -> int:
        """Return the number of slots, including one ``other`` for each column."""
        return len(self._owner)

    def slots(self, column: int, categories: Sequence[str]) -> I32:
        """Return the slot of each category, int32 ``[len(categories)]``; append unknown ones while the limit allows."""
        known = self._slot[column]
        room = 0 if column in self.closed else self.limit
        slots = np.empty(len(categories), np.int32)
        for position, category in enumerate(categories):
            slot = known.get(category)
            if slot is None:
                if len(known) < room:
                    slot = known[category] = len(self._owner)
                    self._owner.append(column)
                    self._name.append(category)
                else:
                    slot = column
            slots[position] = slot
        return slots

    def find(self, column: int, category: str) -> int | None:
        """Return the slot of a category, or None if it never came."""
        return self._slot[column].get(category)

    def column_slots(self, column: int) -> I32:
        """Return all slots of a column, ``other`` first, then in order of appearance."""
        return np.array([column, *self._slot[column].values()], np.int32)

    def names(self, column: int) -> list[str]:
        """Return the categories of a column in slot order, without ``other``."""
        return list(self._slot[column])

    def owner(self, slot: int) -> int:
        """Return the column that a slot belongs to."""
        return self._owner[slot]

    def name(self, slot: int) -> str:
        """Return the category that a slot stands for."""
        return self._name[slot]

    def fork(self) -> Categories:
        """Return an independent table with the same slots."""
        return self.with_pairs(self.pairs())

    def pairs(self) -> list[tuple[int, str]]:
        """Return (column, category) of every appended slot in order; with ``columns`` and ``limit`` the whole state."""
        return list(zip(self._owner, self._name, strict=True))[len(self.columns) :]

    def with_pairs(self, pairs: Sequence[tuple[int, str]]) -> Categories:
        """Return a table with the same columns and limits, and other slots."""
        return Categories.from_pairs(self.columns, self.limit, pairs, self.closed)

    @classmethod
    def from_pairs(
        cls, columns: Sequence[str], limit: int, pairs: Sequence[tuple[int, str]], closed: Iterable[int] = ()
    ) -> Categories:
        """Rebuild the table from :meth:`pairs`."""
        table = cls(columns, limit, closed)
        for column, category in pairs:
            table._slot[column][category] = len(table._owner)
            table._owner.append(column)
            table._name.append(category)
        return table


@dataclass(frozen=True, slots=True)
class ColumnSpec:
    """One monitored column: its role in the model and its key (``age``; the role itself for outputs and labels)."""

    role: ColumnRole
    name: str


@dataclass(frozen=True, slots=True)
class Schema:
    """The meaning of a model's vectors; frozen except for its three append-only tables, the threshold, and a positive
    class that is not known yet.

    - ``numeric``: columns of numbers, row ``i`` of ``edges`` float64 ``[F, E]`` and of ``drift_edges``.
    - ``drift_edges`` int32 ``[F, D]``: which of a column's edges are the coarse (decile) edges used by the binned drift
      scores; positions into ``edges[i]``, padded by repeating the last one (an empty bin, which adds nothing).
    - ``low``/``high`` float64 ``[F]``: the range seen in the reference.
    - ``categorical``: columns of texts; their slots are in ``categories``.
    - ``classes``: one column, the classes of prediction and label. ``groups``: one column for each declared segment;
      slot ``s`` is row ``s + 1`` of every grouped vector, row 0 is everything together.
    """

    task: str
    positive_class: str
    numeric: tuple[ColumnSpec, ...]
    edges: F64
    drift_edges: I32
    low: F64
    high: F64
    categorical: tuple[ColumnSpec, ...]
    categories: Categories
    classes: Categories
    groups: Categories
    unit: str = field(default="{unit}")
    """UCUM unit of a regression's value."""
    threshold: float | None = None
    """The score from which on the positive class is predicted, if it is given; NaN if the score does not decide."""
    fits: Mapping[type, Any] = field(default_factory=dict[type, Any], compare=False)
    """What was fitted on the reference rows, by type; :meth:`fit` looks it up."""
    known: int = field(default=0, compare=False)
    """How many slots of ``categories`` the reference has; 0 in the reference's own schema, which has no others."""
    meant: dict[str, tuple[str, ...]] = field(default_factory=dict[str, "tuple[str, ...]"], compare=False)
    """The classes that labels mean by another spelling; of several, none is meant for sure."""

    @property
    def columns(self) -> tuple[ColumnSpec, ...]:
        """All columns, numeric first: the order of every per-column vector."""
        return self.numeric + self.categorical

    def fork(self) -> Schema:
        """Return an equal schema with independent tables, for one model version to grow."""
        return Schema(
            self.task, self.positive_class, self.numeric, self.edges, self.drift_edges, self.low, self.high,
            self.categorical, self.categories.fork(), self.classes.fork(), self.groups.fork(), self.unit,
            self.threshold, self.fits, self.known or len(self.categories),
        )  # fmt: skip

    def fit(self, kind: type[T]) -> T | None:
        """Return what was fitted on the reference rows, by its type; None if nothing was."""
        return cast("T | None", self.fits.get(kind))

    def decide(self, positive_class: str) -> None:
        """Set the positive class when it becomes known; everything that shares the schema sees it."""
        object.__setattr__(self, "positive_class", positive_class)

    def set_threshold(self, threshold: float) -> None:
        """Set the threshold; a sender may change it at any time."""
        object.__setattr__(self, "threshold", threshold)
