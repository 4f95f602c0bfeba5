"""Rows of numbers and texts, with ids, as batches and as windows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from collector_processor.columns.batch import Column, ModelKey, PredictionBatch
from collector_processor.reference.profile import Reference
from collector_processor.statistics.accumulate import accumulate
from collector_processor.statistics.pane import Pane
from collector_processor.window.closed import Window

MODEL = ModelKey("loans", "1")


def rows_of(
    columns: Mapping[str, NDArray[np.float64] | NDArray[np.str_]], weights: NDArray[np.float64] | None = None, **parts
) -> PredictionBatch:
    """A batch with a number column for each array of numbers, and a text column for each array of texts."""
    size = len(next(iter(columns.values())))
    features: dict[str, Column] = {}
    for name, cells in columns.items():
        if cells.dtype.kind == "U":
            names, codes = np.unique(cells, return_inverse=True)
            shown = np.where(names[codes] == "", -1, codes).astype(np.int32)
            features[name] = Column(None, shown, tuple(names.tolist()))
        else:
            features[name] = Column(cells.astype(np.float64))
    ids = np.random.default_rng(size).integers(1, 2**63, (size, 2)).astype(np.uint64)
    weights = np.ones(size) if weights is None else weights
    return PredictionBatch(MODEL, np.zeros(size, np.int64), ids, weights, np.full(size, np.nan), features, **parts)


def window_of(reference: Reference, batches: Iterable[PredictionBatch]) -> Window:
    """One window that holds these batches."""
    schema = reference.schema.fork()
    pane = Pane.empty(schema)
    for batch in batches:
        accumulate(pane, schema, batch)
    return Window(MODEL, 0, 60 * 10**9, schema, pane)
