"""Save the rows from which a reference is being learned in a snapshot, so that they survive a restart."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate, groupby, pairwise
from typing import Any, cast

from collector_processor.columns.batch import PredictionBatch, said_of_rows
from collector_processor.columns.concatenate import concatenate
from collector_processor.columns.parts import check, plain_of, restored


def batches_state(batches: Sequence[PredictionBatch]) -> Any:
    """Return batches of one model as JSON with arrays; combined, because a small batch costs as much as a large one.

    Those of senders that say something else of all their rows stay apart.

    >>> import numpy as np
    >>> from collector_processor.columns.batch import ModelKey
    >>> batch = PredictionBatch(ModelKey("fraud"), np.zeros(1, np.int64), np.zeros((1, 2), np.uint64), np.ones(1),
    ...                         np.ones(1))
    >>> [len(again) for again in batches_from_state(batches_state([batch, batch]))]
    [1, 1]
    """
    runs = [list(run) for _, run in groupby(batches, said_of_rows)]
    return [{"lengths": [*map(len, run)], "rows": plain_of(concatenate(run))} for run in runs]


def batches_from_state(state: Any) -> Iterator[PredictionBatch]:
    """Yield the batches that :func:`batches_state` was given, each with the columns that any of its sender had.

    Version 0.1.0 saved all batches as one run, or None.

    Raises ``ValueError``, ``KeyError`` or ``TypeError`` for a missing or unexpected value.
    """
    runs: list[Any] = cast("list[Any]", state) if isinstance(state, list) else [] if state is None else [state]
    for run in runs:
        whole = restored(PredictionBatch, run["rows"])
        check(whole)
        ends = [*accumulate(run["lengths"], initial=0)]
        if ends != sorted(ends) or ends[-1] != len(whole):
            raise ValueError("the rows kept for learning are incomplete")
        for begin, end in pairwise(ends):
            yield whole.take(slice(begin, end))
