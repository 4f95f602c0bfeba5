"""Which trace each row came from, so that a figure can lead to the predictions behind it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from collector_processor.columns.column import I32, U64, Mask

WORDS: Final = 3
"""Words of an entry: the upper and the lower half of the trace id, and the span id, each as a big-endian number."""


@dataclass(frozen=True, slots=True)
class Traces:
    """The span of each of ``n`` rows: ``codes`` int32 ``[n]`` are indices into ``ids`` uint64 ``[t, 3]``, −1 for none.

    All rows of a call share one entry, so a batch of many rows costs 4 bytes a row.

    >>> traces = Traces(np.array([0, 0, -1], np.int32), np.array([[1, 2, 3]], np.uint64))
    >>> traces.rows(np.array([1, 2])).tolist(), traces.present().tolist()
    ([[1, 2, 3], [0, 0, 0]], [True, True, False])
    """

    codes: I32
    ids: U64

    def __len__(self) -> int:
        return len(self.codes)

    @property
    def nbytes(self) -> int:
        """Size in bytes."""
        return self.codes.nbytes + self.ids.nbytes

    def present(self) -> Mask:
        """Return which rows have a trace, bool ``[n]``."""
        return self.codes >= 0

    def rows(self, rows: NDArray[Any] | slice) -> U64:
        """Return the entry of each of the selected rows, uint64 ``[m, 3]``; zeros for none."""
        codes = self.codes[rows]
        if not len(self.ids):
            return np.zeros((len(codes), WORDS), np.uint64)
        return np.where((codes >= 0)[:, None], self.ids[codes], np.uint64(0))

    def mapped(self, of: Callable[[NDArray[Any]], NDArray[Any]]) -> Traces:
        """Return the traces with ``of`` applied to the codes."""
        return Traces(of(self.codes), self.ids)


def shared_trace(trace: tuple[int, int, int] | None, rows: int) -> Traces | None:
    """Return the traces of a call of many rows."""
    return None if trace is None else Traces(np.zeros(rows, np.int32), np.array([trace], np.uint64))


def traces_of(spans: Sequence[tuple[int, int, int] | None]) -> Traces | None:
    """Return the traces of rows that are each a span; None if no row has one.

    >>> traces_of([None, (1, 2, 3)]).codes.tolist(), traces_of([None])
    ([-1, 0], None)
    """
    present = np.array([span is not None for span in spans], np.bool_)
    if not present.any():
        return None
    codes = np.where(present, np.cumsum(present) - 1, -1).astype(np.int32)
    return Traces(codes, np.array([span for span in spans if span is not None], np.uint64))


def concatenated_traces(parts: Sequence[Traces | None], lengths: Sequence[int]) -> Traces | None:
    """Concatenate traces; None stands for as many rows without one as its entry in ``lengths``.

    There are never more entries than rows, however small the selections are that are put together.
    """
    if all(part is None for part in parts):
        return None
    codes: list[I32] = []
    ids: list[U64] = []
    before = 0
    for part, length in zip(parts, lengths, strict=True):
        if part is None:
            codes.append(np.full(length, -1, np.int32))
            continue
        used = part if len(part.ids) <= length else _used(part)
        codes.append(np.where(used.codes >= 0, used.codes + np.int32(before), np.int32(-1)))
        ids.append(used.ids)
        before += len(used.ids)
    return Traces(np.concatenate(codes), np.concatenate(ids))


def _used(traces: Traces) -> Traces:
    """Return the same with only the entries that a row has."""
    entries, codes = np.unique(traces.codes, return_inverse=True)
    first = int(len(entries) > 0 and entries[0] < 0)
    return Traces((codes - first).astype(np.int32), traces.ids[entries[first:]])
