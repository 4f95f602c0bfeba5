"""The panes of one model by number: open ones that take rows, and closed ones that windows still need."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Final

from collector_processor.statistics.pane import Pane
from collector_processor.statistics.schema import Schema
from collector_processor.window.compact_panes import Array, CompactPane, from_arrays, to_arrays

_HOT: Final = 4
"""Number of open panes kept expanded; rows nearly always belong to the newest one or two."""


class Panes:
    """Numbered panes; a number stands for a slice of time, or for a count of rows. Not thread-safe.

    Compacting keeps memory low, and is exact: closed panes are compact, and so are open ones except the last few used.
    """

    def __init__(self, schema: Schema) -> None:
        self._schema = schema
        self._hot: dict[int, Pane] = {}
        self._cold: dict[int, CompactPane] = {}
        self._closed: dict[int, CompactPane] = {}

    @property
    def open_count(self) -> int:
        """How many panes are open."""
        return len(self._hot) + len(self._cold)

    @property
    def open(self) -> list[int]:
        """The numbers of the open panes, ascending."""
        return sorted([*self._hot, *self._cold])

    @property
    def closed(self) -> list[int]:
        """The numbers of the closed panes, ascending."""
        return sorted(self._closed)

    @property
    def nbytes(self) -> int:
        """Bytes held by all panes."""
        hot = sum(
            sum(values.nbytes for values in pane.arrays().values()) + pane.exemplars.nbytes
            for pane in self._hot.values()
        )
        return hot + sum(pane.nbytes for pane in [*self._cold.values(), *self._closed.values()])

    def is_open(self, number: int) -> bool:
        """Return whether this pane has rows and is not closed."""
        return number in self._hot or number in self._cold

    def is_closed(self, number: int) -> bool:
        """Return whether this pane was closed and is still in memory."""
        return number in self._closed

    def to_add(self, number: int) -> Pane:
        """Return the open pane of a number, expanded so that rows can be added; create it if necessary."""
        pane = self._hot.pop(number, None)
        if pane is None:
            compact = self._cold.pop(number, None)
            pane = Pane.empty(self._schema) if compact is None else compact.expanded(self._schema)
        self._hot[number] = pane
        if len(self._hot) > _HOT:
            coldest = next(iter(self._hot))
            self._cold[coldest] = CompactPane.of(self._hot.pop(coldest))
        return pane

    def expanded(self, number: int) -> Pane:
        """Return a copy of an open pane, which stays as it is."""
        hot = self._hot.get(number)
        return self._cold[number].expanded(self._schema) if hot is None else CompactPane.of(hot).expanded(self._schema)

    def closed_pane(self, number: int) -> CompactPane | None:
        """Return a closed pane as it is now, compact; None if it was forgotten or nothing came in it."""
        return self._closed.get(number)

    def to_amend(self, number: int) -> Pane:
        """Return an expanded copy of a closed pane; :meth:`amend` puts it back."""
        return self._closed[number].expanded(self._schema)

    def amend(self, number: int, pane: Pane) -> None:
        """Replace a closed pane."""
        self._closed[number] = CompactPane.of(pane)

    def close(self, number: int) -> None:
        """Close an open pane; do nothing if there is none."""
        pane = self._hot.pop(number, None)
        compact = self._cold.pop(number, None) if pane is None else CompactPane.of(pane)
        if compact is not None:
            self._closed[number] = compact

    def discard(self, number: int) -> float:
        """Forget an open pane and its content; return its (unweighted) rows."""
        pane = self._hot.pop(number, None)
        if pane is None:
            pane = self._cold.pop(number).expanded(self._schema)
        return float(pane.rows[1])

    def clear(self, names: Collection[str]) -> None:
        """Set arrays of all panes, by dotted name, to zero."""
        for pane in self._hot.values():
            for name, values in pane.arrays().items():
                if name in names:
                    values[...] = 0.0
        for panes in (self._cold, self._closed):
            for number, compact in panes.items():
                panes[number] = compact.cleared(names)

    def forget_before(self, number: int) -> None:
        """Forget closed panes below a number."""
        for old in [known for known in self._closed if known < number]:
            del self._closed[old]

    def total(self, first: int, last: int) -> Pane:
        """Return the sum of the closed panes from ``first`` to ``last``, always added newest first."""
        total = Pane.empty(self._schema)
        for number in sorted((known for known in self._closed if first <= known <= last), reverse=True):
            self._closed[number].add_to(total)
        return total

    def arrays(self) -> dict[str, Array]:
        """Return all vectors for a snapshot: open panes first, then closed ones, each ascending."""
        cold = {**self._cold, **{number: CompactPane.of(pane) for number, pane in self._hot.items()}}
        ordered = [cold[number] for number in self.open] + [self._closed[number] for number in self.closed]
        return to_arrays(ordered)

    @classmethod
    def from_arrays(
        cls, schema: Schema, opened: Sequence[int], closed: Sequence[int], arrays: Mapping[str, Array]
    ) -> Panes:
        """Rebuild the panes from :attr:`open`, :attr:`closed` and :meth:`arrays`; ``ValueError`` if they do not fit."""
        panes = cls(schema)
        compact = from_arrays(arrays, schema, len(opened) + len(closed))
        panes._cold = dict(zip(opened, compact[: len(opened)], strict=True))
        panes._closed = dict(zip(closed, compact[len(opened) :], strict=True))
        return panes
