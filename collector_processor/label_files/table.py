"""What every source of labels is: a table that is read in order, some rows at a time, and never as a whole."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final, Protocol, TypeAlias

CHUNK_ROWS: Final = 20_000
"""Rows read, sent and acknowledged at a time: about a megabyte."""
Cells: TypeAlias = list[Any]
"""The cells of one column as Python objects; None is missing."""


class UnreadableRowError(ValueError):
    """Rows that cannot be read; those before them were."""


class Table(Protocol):
    """A table of labels."""

    @property
    def where(self) -> str:
        """What errors call it, such as ``file 'labels.csv'``."""
        ...

    @property
    def names(self) -> Sequence[str]:
        """The names of its columns."""
        ...

    @property
    def rows(self) -> int | None:
        """The number of its rows, if that is known."""
        ...

    def chunks(self, columns: Sequence[str], skip: int) -> Iterator[list[Cells]]:
        """Yield the cells of these columns, :data:`CHUNK_ROWS` rows at a time, without the first ``skip`` rows.

        Raises :class:`UnreadableRowError`.
        """
        ...

    def share(self) -> float | None:
        """Return the share of it that has been read, if that is known."""
        ...

    def close(self) -> None:
        """Close it."""
        ...


def checked_names(where: str, names: Sequence[str]) -> list[str]:
    """Return the names of columns; ``ValueError`` if two have the same."""
    twice = next((name for position, name in enumerate(names) if name in names[:position]), None)
    if twice is not None:
        raise ValueError(f"{where}: has more than one column '{twice}'")
    return list(names)


def regrouped(parts: Iterator[list[Cells]], skip: int) -> Iterator[list[Cells]]:
    """Yield parts of any size in chunks of :data:`CHUNK_ROWS`, without the first ``skip`` rows.

    >>> [len(ids) for [ids] in regrouped(iter([[[1] * 50_000], [[2] * 1_000]]), 10_000)]
    [20000, 20000, 1000]
    """
    for part in parts:
        rows = len(part[0])
        for start in range(min(skip, rows), rows, CHUNK_ROWS):
            yield [cells[start : start + CHUNK_ROWS] for cells in part]
        skip = max(0, skip - rows)
