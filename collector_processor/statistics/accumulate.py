"""From columns to sums: add a batch of predictions to a pane, in one pass over each column."""

from __future__ import annotations

from typing import Final

import numpy as np

from collector_processor.columns.batch import F64, I32, Column, Mask, PredictionBatch
from collector_processor.columns.withheld import withheld_of
from collector_processor.own.drops import StatisticsReason
from collector_processor.statistics.cells import cells_of
from collector_processor.statistics.exemplars.cells import Counted, Slots
from collector_processor.statistics.groups import segment_groups
from collector_processor.statistics.latency import latency_bins
from collector_processor.statistics.numbers import add_numbers, weight_of
from collector_processor.statistics.pane import Pane
from collector_processor.statistics.parts.base import Rows
from collector_processor.statistics.schema import ColumnSpec, Schema
from collector_processor.statistics.texts import as_texts, code_counts
from collector_processor.statistics.vectors import grown
from otel_ml.semconv import ColumnRole

OUTPUT_NAMES: Final[dict[ColumnRole, str]] = {"prediction": "prediction", "score": "score", "label": "label"}
"""Name of each column that is not a feature: its role."""
PREDICTION_COLUMN: Final = ColumnSpec("prediction", OUTPUT_NAMES["prediction"])
SCORE_COLUMN: Final = ColumnSpec("score", OUTPUT_NAMES["score"])
LABEL_COLUMN: Final = ColumnSpec("label", OUTPUT_NAMES["label"])


def accumulate(pane: Pane, schema: Schema, batch: PredictionBatch) -> dict[StatisticsReason, int]:
    """Add a batch to the pane in place and return how many cells were dropped, by reason.

    Feature columns read ``batch.features``; a feature that the whole batch lacks is missing in every row, unless the
    sender withholds it: such a feature has no missing cells, so figures about it are left out. The numeric
    prediction column reads ``batch.value``, the categorical one ``batch.prediction``, the score column
    :func:`.score_cells`; label columns get their cells from joined labels (:func:`accumulate_column`). Failed rows
    count in ``rows``, in latency, as failed, and with their features; they have no outputs, not even missing ones. New
    categories and segment values are appended to the schema's tables, and the pane's vectors grow with them.
    """
    if not len(batch):
        return {}
    weights = None if (batch.weights == 1.0).all() else batch.weights
    failed = None if batch.error is None else batch.error.is_text()
    if failed is not None and not failed.any():
        failed = None
    pane.rows += (float(len(batch)) if weights is None else weights.sum(), len(batch))
    groups = segment_groups(schema, batch)
    _add_groups(pane, schema, batch, groups, failed)
    kept_back = [position for position, _ in withheld_columns(schema, batch)]
    missing_before = pane.missing[kept_back]
    numeric = [cells_of(schema, batch, spec, numeric=True) for spec in schema.numeric]
    _add_numeric(pane, schema, numeric, batch, weights, failed)
    done = None if failed is None else ~failed
    texts: dict[int, Slots] = {}
    for position, spec in enumerate(schema.categorical, len(schema.numeric)):
        if spec.role == "label":
            continue
        column = cells_of(schema, batch, spec, numeric=False)
        if column is None:
            column = Column(None, np.full(len(batch), -1, np.int32))
        if done is None or spec.role == "feature":
            texts[position] = _add_texts(pane, schema, position, column, weights)
        else:
            found = _add_texts(pane, schema, position, column.take(done), None if weights is None else weights[done])
            texts[position] = found.among(done)
    pane.missing[kept_back] = missing_before
    pane.further.add_rows(schema, Rows(batch, groups, failed))
    pane.exemplars.add_rows(schema, batch, groups, Counted(numeric, texts, kept_back))
    return _unknown(schema, batch)


def withheld_columns(schema: Schema, batch: PredictionBatch) -> list[tuple[int, str]]:
    """Return position and name of the schema's features that the sender of a batch withholds."""
    if not batch.withheld:
        return []
    withheld = withheld_of(batch.withheld)
    return [
        (position, spec.name)
        for position, spec in enumerate(schema.columns)
        if spec.role == "feature" and withheld.has(spec.name, sent=spec.name in batch.features)
    ]


def accumulate_column(pane: Pane, schema: Schema, position: int, column: Column, weights: F64) -> None:
    """Add one column's cells at ``position`` of ``schema.columns``; negative weights subtract cells.

    ``weights`` is float64 ``[n]``.
    """
    if not len(column):
        return
    weights_or_none = None if (weights == 1.0).all() else weights
    if position < len(schema.numeric):
        add_numbers(pane, schema, [column], len(column), weights_or_none, first=position)
    else:
        _add_texts(pane, schema, position, column, weights_or_none)


def _add_numeric(
    pane: Pane,
    schema: Schema,
    columns: list[Column | None],
    batch: PredictionBatch,
    weights: F64 | None,
    failed: Mask | None,
) -> None:
    """Add all numeric columns except labels, which split them into runs."""
    start = 0
    for position in [*(i for i, spec in enumerate(schema.numeric) if spec.role == "label"), len(columns)]:
        if position > start:
            add_numbers(pane, schema, columns[start:position], len(batch), weights, failed, first=start)
        start = position + 1


def _unknown(schema: Schema, batch: PredictionBatch) -> dict[StatisticsReason, int]:
    """Count the cells of features that the schema does not have."""
    known = {spec.name for spec in schema.columns if spec.role == "feature"}
    cells = sum(
        len(column) - int(np.count_nonzero(column.missing()))
        for name, column in batch.features.items()
        if name not in known
    )
    return {"unknown_feature": cells} if cells else {}


def _add_texts(pane: Pane, schema: Schema, position: int, column: Column, weights: F64 | None) -> Slots:
    """Add one categorical column: counts by slot, missing and wrong type; return the slots."""
    texts = as_texts(column)
    wrong = 0.0
    if texts.numbers is not None:
        wrong = weight_of(weights, texts.is_number())
        pane.wrong_type[position] += wrong
    codes, size = texts.codes, len(texts.categories)
    if codes is None:
        codes = np.full(len(texts), -1, np.int32)
    rows = code_counts(codes, size)
    counts = rows if weights is None else np.bincount(codes + 1, weights, size + 1)
    pane.missing[position] += counts[0] - wrong
    used = np.flatnonzero(rows[1:])
    slots = schema.categories.slots(position - len(schema.numeric), [texts.categories[code] for code in used.tolist()])
    pane.category_counts = grown(pane.category_counts, (len(schema.categories),))
    np.add.at(pane.category_counts, slots, counts[1:][used])
    of_code = np.full(size + 1, -1, np.int32)  # the last is for code −1
    of_code[used] = slots
    return Slots(codes, of_code, texts.numbers)


def _add_groups(pane: Pane, schema: Schema, batch: PredictionBatch, groups: I32, failed: Mask | None) -> None:
    """Add rows, failures and latency, for everything together and for each declared segment."""
    size = len(schema.groups) + 1
    pane.group_rows = grown(pane.group_rows, (size, 2))
    pane.latency = grown(pane.latency, (size, pane.latency.shape[1]))
    timed = np.flatnonzero(~np.isnan(batch.duration_s))
    bins, timed_weights = latency_bins(batch.duration_s[timed]), batch.weights[timed]
    failures = None if failed is None else np.where(failed, batch.weights, 0.0)
    pane.group_rows[0] += (batch.weights.sum(), 0.0 if failures is None else failures.sum())
    np.add.at(pane.latency[0], bins, timed_weights)
    for group in groups.T:
        # One extra place, the first, for rows outside the segment.
        pane.group_rows[:, 0] += np.bincount(group + 1, batch.weights, size + 1)[1:]
        if failures is not None:
            pane.group_rows[:, 1] += np.bincount(group + 1, failures, size + 1)[1:]
        member = group[timed] >= 0
        np.add.at(pane.latency, (group[timed][member], bins[member]), timed_weights[member])
