"""Predictions that know which row they are: the trace and the span of row ``i`` have the number ``i + 1``."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from collector_processor.columns.batch import Column, ModelKey, PredictionBatch
from collector_processor.columns.traces import Traces
from collector_processor.reference.build import build_reference
from collector_processor.reference.profile import Reference

KEY = ModelKey("fraud", "7")
RUN = 77
"""The upper half of every trace id."""


def texts(cells: Sequence[str | None]) -> Column:
    names = tuple(dict.fromkeys(cell for cell in cells if cell is not None))
    codes = [-1 if cell is None else names.index(cell) for cell in cells]
    return Column(None, np.array(codes, np.int32), names)


def predictions(
    amount: Sequence[float] | NDArray[np.float64],
    country: Sequence[str | None],
    score: Sequence[float] | NDArray[np.float64] | None = None,
    *,
    seed: int = 0,
    error: Sequence[str | None] | None = None,
    traced: bool = True,
    time_ns: int = 10**9,
) -> PredictionBatch:
    rows = len(amount)
    random = np.random.default_rng(seed)
    numbers = np.arange(1, rows + 1, dtype=np.uint64)
    probability = np.full(rows, 0.2) if score is None else np.asarray(score, np.float64)
    return PredictionBatch(
        KEY,
        np.full(rows, time_ns, np.int64),
        random.integers(1, 2**64 - 1, (rows, 2), dtype=np.uint64),
        np.ones(rows),
        np.full(rows, np.nan),
        {"amount": Column(np.asarray(amount, np.float64)), "country": texts(country)},
        prediction=texts(["yes" if each > 0.5 else "no" for each in probability.tolist()]),
        score=probability,
        error=None if error is None else texts(error),
        traces=Traces(
            np.arange(rows, dtype=np.int32), np.column_stack((np.full(rows, RUN, np.uint64), numbers, numbers))
        )
        if traced
        else None,
    )


def reference(rows: int = 2000, segments: tuple[str, ...] = ("country",)) -> Reference:
    random = np.random.default_rng(5)
    batch = predictions(
        random.normal(50.0, 10.0, rows), random.choice(["de", "fr", "it"], rows).tolist(), random.random(rows)
    )
    return build_reference("fraud", batch, task="binary_classification", positive_class="yes", segments=segments)


def rows_of(found: Sequence[tuple[int, int, int]]) -> list[int]:
    """The rows of traces."""
    assert all(high == RUN and low == span for high, low, span in found)
    return [low - 1 for _, low, _ in found]
