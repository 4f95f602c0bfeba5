"""Encodes many rows as homogeneous array attributes: the slow form, for machines without pyarrow."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from otel_ml.encode.batch import Batch, BatchColumn, PayloadLimits
from otel_ml.encode.cells import Cells, converted_cells, homogeneous
from otel_ml.encode.row import MAX_SEGMENTS, Attributes, number_of, text_of
from otel_ml.encode.rows import flatten, is_column, items
from otel_ml.encode.rules import apply
from otel_ml.encode.scalar import MAX_ID_CHARS, clean_text
from otel_ml.problems import report, report_misfit, report_over_limit
from otel_ml.semconv import (
    ATTRIBUTION,
    FEATURE,
    FEATURES,
    PREDICTION_ID,
    PREDICTION_ROWS,
    PREDICTION_SCORES,
    SEGMENT,
)

_NUMBER_BYTES: Final = 12
"""A double in an attribute array, with its framing; a text has 6 bytes of framing."""


def encode(batch: Batch, limits: PayloadLimits) -> Iterator[Attributes]:
    """Yield the attributes of each span that the batch needs; each takes about ``limits.max_bytes``."""
    columns = _columns(batch, limits)
    scores = {name: column for name, column in _scores(batch) if column is not None}
    if PREDICTION_ID not in columns and (not batch.own_ids or not (columns or scores)):
        columns[PREDICTION_ID] = [f"{batch.base_id}:{row}" for row in range(batch.rows)]
    sizes = _row_bytes(batch, [*columns.values(), *scores.values()])
    for start, stop in _cuts(sizes, limits.max_bytes):
        part: dict[str, Any] = {name: column[start:stop] for name, column in columns.items()}
        if (start or stop == 1) and PREDICTION_ID not in part:  # as in the Arrow form
            part[PREDICTION_ID] = [f"{batch.base_id}:{row}" for row in range(start, stop)]
        if scores:
            part[PREDICTION_SCORES] = {name: column[start:stop] for name, column in scores.items()}
        yield {**_within_room(part, limits), PREDICTION_ROWS: stop - start}


def _columns(batch: Batch, limits: PayloadLimits) -> dict[str, Cells]:
    columns: dict[str, Cells] = {}
    for item in batch.columns:
        column = _safe_column(item, batch.rows, limits.max_chars)
        if column is not None:
            columns[item.attribute] = column
    return columns


def _scores(batch: Batch) -> Iterator[tuple[str, Cells | None]]:
    for name, values in batch.scores.items():
        yield name, _safe_column(BatchColumn(PREDICTION_SCORES, values, "number"), batch.rows, 0)


def _safe_column(item: BatchColumn, rows: int, max_chars: int) -> Cells | None:
    try:
        return _column(item, rows, max_chars)
    except Exception as error:  # noqa: BLE001 - one column that cannot be read must not cost the others
        report(f"array {item.attribute}", "%s: the column cannot be read; dropped", item.attribute, error=error)
        return None


def _column(item: BatchColumn, rows: int, max_chars: int) -> Cells | None:
    values = flatten(item.cells)
    cells = items(values) if is_column(values) else [values] * rows
    if len(cells) != rows:
        report_misfit(item.attribute, len(cells), rows)
        return None
    if item.rule is not None:
        cells = [apply(item.rule, cell, item.attribute) for cell in cells]
    if item.kind == "number":
        converted: Cells = [number_of(cell, item.attribute) for cell in cells]
    elif item.kind == "feature":
        converted = converted_cells(cells, item.attribute)
    else:
        limit = MAX_ID_CHARS if item.kind == "id" else max_chars
        converted = [text_of(cell, limit, item.attribute) for cell in cells]
    if all(cell is None for cell in converted):
        return None
    column = homogeneous(converted, item.attribute)
    if item.kind != "feature":
        return column
    return [clean_text(cell, max_chars) if isinstance(cell, str) else cell for cell in column]


def _row_bytes(batch: Batch, columns: list[Cells]) -> list[int]:
    fixed = 0 if batch.own_ids and len(columns) == 0 else len(batch.base_id) + 16
    sizes = [fixed] * batch.rows
    for column in columns:
        for row, cell in enumerate(column):
            sizes[row] += 6 + 4 * len(cell) if isinstance(cell, str) else _NUMBER_BYTES
    return sizes


def _cuts(sizes: list[int], max_bytes: int) -> Iterator[tuple[int, int]]:
    start, used = 0, 0
    for row, size in enumerate(sizes):
        if row > start and used + size > max_bytes:
            yield start, row
            start, used = row, 0
        used += size
    if sizes:
        yield start, len(sizes)


def _within_room(part: dict[str, Any], limits: PayloadLimits) -> Attributes:
    """Turn features into a map where there are too many for attributes; limit segments and attributions to the rest."""
    features = {name: cells for name, cells in part.items() if name.startswith(FEATURE)}
    segments = [name for name in part if name.startswith(SEGMENT)]
    attributions = [name for name in part if name.startswith(ATTRIBUTION)]
    if len(segments) > MAX_SEGMENTS:
        report_over_limit("segments", len(segments), MAX_SEGMENTS)
    kept = dict(part)
    for name in segments[MAX_SEGMENTS:]:
        del kept[name]
    used = min(len(segments), MAX_SEGMENTS)
    if len(features) > limits.max_flat or len(features) + used + len(attributions) > limits.room:
        kept = {name: cells for name, cells in kept.items() if name not in features}
        kept[FEATURES] = {name[len(FEATURE) :]: cells for name, cells in features.items()}
        used += 1
    else:
        used += len(features)
    room = max(limits.room - used, 0)
    if len(attributions) > room:
        report("attributions over limit", "%d attributions, room for %d; the rest are dropped", len(attributions), room)
    for name in attributions[room:]:
        del kept[name]
    return kept
