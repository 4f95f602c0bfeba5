"""Tables of real rows as the service sees them: batches, references, and one window of each chunk."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from collector_processor.columns.batch import Column, ModelKey, PredictionBatch
from collector_processor.reference.profile import Reference
from collector_processor.statistics.accumulate import accumulate
from collector_processor.statistics.pane import Pane
from collector_processor.window.closed import Window

MODEL = ModelKey("table", "1")


def batch(rows: pd.DataFrame, categorical: Sequence[str] = ()) -> PredictionBatch:
    """Return rows as a batch of features; columns that are not numbers, and ``categorical`` ones, are texts."""
    size = len(rows)
    columns: dict[str, Column] = {}
    for name in map(str, rows.columns):
        if name not in categorical and pd.api.types.is_numeric_dtype(rows[name]) and rows[name].dtype != np.bool_:
            columns[name] = Column(rows[name].to_numpy(np.float64))
        else:
            codes, names = pd.factorize(rows[name].astype(object), sort=True)
            columns[name] = Column(None, codes.astype(np.int32), tuple(map(str, names)))
    none = np.zeros((size, 2), np.uint64)
    return PredictionBatch(MODEL, np.zeros(size, np.int64), none, np.ones(size), np.full(size, np.nan), columns)


def window(reference: Reference, rows: PredictionBatch) -> Window:
    """Return one window that holds these rows."""
    schema = reference.schema.fork()
    pane = Pane.empty(schema)
    accumulate(pane, schema, rows)
    return Window(MODEL, 0, 60, schema, pane)
