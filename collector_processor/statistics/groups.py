"""The declared segments that a prediction belongs to, as rows of the grouped vectors."""

from __future__ import annotations

import numpy as np

from collector_processor.columns.batch import I32, Column, PredictionBatch
from collector_processor.statistics.schema import Categories, Schema
from collector_processor.statistics.texts import as_texts


def segment_groups(schema: Schema, batch: PredictionBatch) -> I32:
    """Return the row of the grouped vectors for each prediction and declared segment, int32 ``[n, segments]``; −1 for a
    missing value.

    The row is the segment value's slot + 1; row 0, which holds everything, is never returned. New values are appended
    to ``schema.groups`` while its limit allows, and count as the segment's ``other`` afterwards. If the batch does not
    have a segment, it is read from the feature of the same name. Numbers count as their text.

    Derived once for each batch and table. The result stays valid while the table grows: a value keeps its slot, and one
    that is ``other`` stays ``other``, because it came after the limit.
    """
    return batch.once("segment_groups", schema.groups, lambda: _segment_groups(schema, batch))


def _segment_groups(schema: Schema, batch: PredictionBatch) -> I32:
    names = schema.groups.columns
    rows = np.full((len(batch), len(names)), -1, np.int32)
    for position, name in enumerate(names):
        column = segment_column(batch, name)
        if column is not None:
            slots = cell_slots(schema.groups, position, as_texts(column, fractions=True))
            rows[:, position] = np.where(slots >= 0, slots + 1, -1)
    rows.flags.writeable = False  # several readers share it
    return rows


def segment_column(batch: PredictionBatch, name: str) -> Column | None:
    """Return the cells of a declared segment: those sent as a segment, else the feature of that name."""
    return batch.segments.get(name, batch.features.get(name))


def cell_slots(table: Categories, position: int, column: Column) -> I32:
    """Return the slot of each text cell in one column of a table, int32 ``[n]``; −1 for a cell that is not a text.

    Only categories that occur in a cell are looked up, so an unused entry of the column's list takes no slot.
    """
    if column.codes is None or not column.categories:
        return np.full(len(column), -1, np.int32)
    used = np.flatnonzero(np.bincount(column.codes + 1, minlength=len(column.categories) + 1)[1:])
    slots = np.full(len(column.categories) + 1, -1, np.int32)  # the last is for code −1
    slots[used] = table.slots(position, [column.categories[code] for code in used.tolist()])
    return slots[column.codes]
