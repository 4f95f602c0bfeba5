"""Which declared segments a prediction belongs to: rows of the grouped vectors."""

from __future__ import annotations

import numpy as np

from collector_processor.columns.batch import I32, Column, PredictionBatch
from collector_processor.statistics.schema import Categories, Schema
from collector_processor.statistics.texts import as_texts


def segment_groups(schema: Schema, batch: PredictionBatch) -> I32:
    """The row of the grouped vectors for each prediction and declared segment, int32 ``[n, segments]``; −1 if missing.

    The row is the segment value's slot + 1; row 0, which holds everything, is never given. New values are appended to
    ``schema.groups`` while its limit allows and are the segment's ``other`` afterwards; so is a value named by nobody.
    A segment that the batch does not carry is read from the feature of the same name. Numbers count as their text.

    Derived once a batch and table. That cannot grow stale while the table grows: a value keeps its slot, and one that
    is ``other`` stays so, for it came after the limit.
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
    """The cells of a declared segment: those sent as such, else the feature of that name."""
    return batch.segments.get(name, batch.features.get(name))


def cell_slots(table: Categories, position: int, column: Column) -> I32:
    """The slot of each text cell in one column of a table, int32 ``[n]``; −1 where the cell is no text.

    Only categories that a cell really has are looked up, so an unused entry of the column's list takes no slot.
    """
    if column.codes is None or not column.categories:
        return np.full(len(column), -1, np.int32)
    used = np.flatnonzero(np.bincount(column.codes + 1, minlength=len(column.categories) + 1)[1:])
    slots = np.full(len(column.categories) + 1, -1, np.int32)  # the last answers for code −1
    slots[used] = table.slots(position, [column.categories[code] for code in used.tolist()])
    return slots[column.codes]
