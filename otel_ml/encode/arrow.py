"""Encodes many rows as Arrow IPC streams, one per span, with columns named like the attributes.

The wire has few types: floats, integers, bool, utf8 (dictionary-encoded where values repeat) and, for
``ml.prediction.scores``, a struct of doubles by class. A missing cell is null, or NaN.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib import import_module
from typing import Any, Final

from otel_ml.encode import cells
from otel_ml.encode.batch import Batch, BatchColumn, PayloadLimits
from otel_ml.encode.row import Attributes, text_of
from otel_ml.encode.rows import flatten, is_column, items
from otel_ml.encode.rules import RedactionRule
from otel_ml.encode.scalar import MAX_ID_CHARS, UnsupportedValueError
from otel_ml.problems import report, report_misfit, report_unsupported
from otel_ml.semconv import BATCH, PREDICTION_ID, PREDICTION_ROWS, PREDICTION_SCORES

_FIELD_BYTES: Final = 256
"""Bytes that a column adds to a stream besides its cells: schema and buffer descriptions."""
_DIVISORS: Final = {"s": 1.0, "ms": 1e3, "us": 1e6, "ns": 1e9}
_TEXT_LIKE: Final = frozenset({"large_string", "string_view", "binary", "large_binary", "binary_view"})

_missing = False


def library() -> Any | None:
    """Return pyarrow, imported when the first batch needs it; None where it is not installed."""
    global _missing
    if _missing:
        return None
    loaded = sys.modules.get("pyarrow.compute")
    if loaded is not None:
        return sys.modules.get("pyarrow")
    try:
        import_module("pyarrow.compute")
    except ImportError:
        _missing = True
        return None
    return sys.modules["pyarrow"]


def encode(pa: Any, batch: Batch, limits: PayloadLimits) -> Iterator[Attributes]:
    """Yield the attributes of each span that the batch needs; each stream has at most ``limits.max_bytes``."""
    columns: dict[str, Any] = {}
    for item in batch.columns:
        column = _safe_column(pa, item, batch.rows, limits.max_chars)
        if column is not None:
            columns[item.attribute] = column
    scores = _scores(pa, batch)
    if scores is not None:
        columns[PREDICTION_SCORES] = scores
    if PREDICTION_ID not in columns and (not batch.own_ids or not columns):
        columns[PREDICTION_ID] = default_ids(pa, batch.base_id, 0, batch.rows)
    yield from _cut(pa, batch, _repeating(pa, columns, limits.max_bytes // 4), limits.max_bytes)


def _cut(pa: Any, batch: Batch, columns: dict[str, Any], max_bytes: int) -> Iterator[Attributes]:
    row_bytes = sum(column.nbytes for column in columns.values()) / max(batch.rows, 1)
    if PREDICTION_ID not in columns:
        row_bytes += len(batch.base_id) + 12
    step = max(1, int((max_bytes - _FIELD_BYTES * len(columns)) / max(row_bytes, 1)))
    if batch.rows * row_bytes + _FIELD_BYTES * len(columns) <= max_bytes:
        step = max(1, batch.rows)
    pending = [(start, min(step, batch.rows - start)) for start in range(0, batch.rows, step)][::-1]
    while pending:
        start, size = pending.pop()
        part = {name: column.slice(start, size) for name, column in columns.items()}
        # A decoder takes a span of one row for a call of one row, whose default id has no ":0".
        if (start or size == 1) and PREDICTION_ID not in part:
            part[PREDICTION_ID] = default_ids(pa, batch.base_id, start, size)
        stream = write(pa, part)
        if len(stream) > max_bytes and size > 1:  # texts of uneven length: halve until it fits
            half = size // 2
            pending += [(start + half, size - half), (start, half)]
            continue
        yield {BATCH: stream, PREDICTION_ROWS: size}


def write(pa: Any, columns: dict[str, Any]) -> bytes:
    """Return one Arrow IPC stream of one record batch."""
    batch = pa.RecordBatch.from_arrays(list(columns.values()), names=list(columns))
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return sink.getvalue().to_pybytes()


def default_ids(pa: Any, base: str, start: int, size: int) -> Any:
    """Return ``{base}:{i}`` for the ``size`` rows from ``start``."""
    positions = pa.array(range(start, start + size), pa.int64()).cast(pa.string())
    return pa.compute.binary_join_element_wise(pa.scalar(base), positions, ":")


def _safe_column(pa: Any, item: BatchColumn, rows: int, max_chars: int) -> Any | None:
    try:
        column = _column(pa, item, rows, max_chars)
    except UnsupportedValueError as error:
        report_unsupported(item.attribute, error)
        return None
    except Exception as error:  # noqa: BLE001 - one column that Arrow refuses must not cost the others
        report(f"arrow {item.attribute}", "%s: the column cannot be encoded; dropped", item.attribute, error=error)
        return None
    if column is not None and len(column) != rows:
        report_misfit(item.attribute, len(column), rows)
        return None
    return column


def _column(pa: Any, item: BatchColumn, rows: int, max_chars: int) -> Any | None:
    values = flatten(item.cells)
    if not is_column(values):
        values = [values]
    textual = item.kind in ("text", "id") and item.rule is None
    column = _plain_or_cells(pa, values, item.attribute, textual=textual)
    if column is None:
        return None
    if item.rule is not None:
        column = _redacted(pa, column, item.rule, item.attribute)
    if item.kind == "number":
        column = _numbers(pa, column)
    elif item.kind != "feature":
        column = _texts(pa, column)
    if pa.types.is_string(column.type):
        column = _shortened(pa, column, MAX_ID_CHARS if item.kind == "id" else max_chars)
    if len(column) == 1 and rows > 1 and not is_column(flatten(item.cells)):
        column = column.take(pa.array([0] * rows))
    return column


def _plain_or_cells(pa: Any, values: object, attribute: str, *, textual: bool) -> Any | None:
    """Return the column in one of the wire's types; None where every cell is missing."""
    try:
        column = _to_arrow(pa, values)
        if not (textual and pa.types.is_decimal(column.type)):  # an id is exact
            column = plain(pa, column)
    except UnsupportedValueError:
        raise
    except Exception:  # noqa: BLE001 - mixed kinds, huge integers, broken texts: convert cell by cell
        column = pa.array(
            [text_of(value, cells.LONG, attribute) for value in items(values)]
            if textual
            else cells.homogeneous(cells.converted_cells(items(values), attribute), attribute)
        )
    return None if pa.types.is_null(column.type) else column


def _to_arrow(pa: Any, values: Any) -> Any:
    if isinstance(values, pa.ChunkedArray):
        return values.combine_chunks()
    if isinstance(values, pa.Array):
        return values
    if hasattr(values, "to_arrow"):
        return values.to_arrow()
    if type(values).__module__ == "numpy" and values.dtype.kind == "f":
        return pa.array(values)  # NaN is missing on the wire too: no copy, no bitmap
    column = pa.array(values, from_pandas=True)
    inner = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    if getattr(inner, "extension_name", "") == "pandas.interval":
        raise TypeError("intervals are texts, one by one")
    boxed = getattr(getattr(values, "dtype", None), "kind", "O") == "O"
    if boxed and pa.types.is_floating(column.type) and bool in set(map(type, values)):
        raise TypeError("a truth value is not a number, though Arrow makes it one")
    return column


def plain(pa: Any, column: Any) -> Any:
    """Return a column in one of the wire's types: times as seconds, decimals as doubles, dictionaries decoded.

    Raises :class:`~.scalar.UnsupportedValueError` for nested and other types.
    """
    kind, types = column.type, pa.types
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    if isinstance(column, pa.ExtensionArray):
        return plain(pa, column.storage)
    if types.is_dictionary(kind):
        return plain(pa, column.dictionary_decode())
    if types.is_null(kind) or types.is_boolean(kind) or types.is_integer(kind) or types.is_string(kind):
        return column
    if types.is_floating(kind):
        return column.cast(pa.float32()) if types.is_float16(kind) else column
    if types.is_decimal(kind):
        return column.cast(pa.float64())
    if str(kind) in _TEXT_LIKE:
        return column.cast(pa.string())
    if types.is_date(kind):
        return _seconds(pa, column.cast(pa.timestamp("ms")))
    if types.is_time32(kind):
        return _seconds(pa, column.cast(pa.time64("us")))
    if types.is_timestamp(kind) or types.is_duration(kind) or types.is_time(kind):
        return _seconds(pa, column)
    raise UnsupportedValueError(f"a column of type {kind} cannot be an attribute")


def _seconds(pa: Any, column: Any) -> Any:
    ticks = column.cast(pa.int64()).cast(pa.float64(), safe=False)
    return pa.compute.divide(ticks, _DIVISORS[column.type.unit])


def _numbers(pa: Any, column: Any) -> Any:
    if pa.types.is_string(column.type):
        raise UnsupportedValueError("texts in place of numbers")
    if pa.types.is_boolean(column.type):
        column = column.cast(pa.uint8())
    return column.cast(pa.float64(), safe=False)


def _texts(pa: Any, column: Any) -> Any:
    """Return the text of :func:`~.scalar.class_text` for every cell."""
    kind, types = column.type, pa.types
    if types.is_string(kind):
        return column
    if types.is_integer(kind) or types.is_boolean(kind):
        return column.cast(pa.string())
    return _by_value(pa, column, cells.text)


def _by_value(pa: Any, column: Any, convert: Any) -> Any:
    """Convert each distinct value once; ``convert`` returns a text or None."""
    encoded = column.dictionary_encode()
    texts = pa.array([convert(value) for value in encoded.dictionary.to_pylist()], pa.string())
    return texts.take(encoded.indices)


def _redacted(pa: Any, column: Any, rule: RedactionRule, attribute: str) -> Any:
    if rule.kind == "hash":
        return _by_value(pa, column, rule.apply)
    if pa.types.is_string(column.type) or pa.types.is_boolean(column.type):
        raise UnsupportedValueError("a bucket width is set, but the values are not numbers")
    numbers = column.cast(pa.float64(), safe=False)
    lower = pa.compute.multiply(pa.compute.floor(pa.compute.divide(numbers, rule.width)), rule.width)
    return pa.compute.if_else(pa.compute.is_finite(lower), lower, numbers)


def _shortened(pa: Any, column: Any, max_chars: int) -> Any:
    # A cell with few enough bytes has few enough characters: slice only when one has more.
    longest = pa.compute.max(pa.compute.binary_length(column)).as_py()
    if longest is None or longest <= max_chars:
        return column
    return pa.compute.utf8_slice_codeunits(column, 0, max_chars)


def _scores(pa: Any, batch: Batch) -> Any | None:
    columns: dict[str, Any] = {}
    for name, values in batch.scores.items():
        column = _safe_column(pa, BatchColumn(PREDICTION_SCORES, values, "number"), batch.rows, 0)
        if column is not None:
            columns[name] = column
    return pa.StructArray.from_arrays(list(columns.values()), names=list(columns)) if columns else None


def _repeating(pa: Any, columns: dict[str, Any], budget: int) -> dict[str, Any]:
    """Dictionary-encode texts that repeat, while their dictionaries, which each span repeats, stay within budget."""
    encoded: dict[str, Any] = {}
    for name, column in columns.items():
        encoded[name] = column
        if not pa.types.is_string(column.type) or name == PREDICTION_ID:
            continue
        candidate = column.dictionary_encode()
        size = candidate.dictionary.nbytes
        if 2 * len(candidate.dictionary) <= len(column) and size <= budget:
            encoded[name] = candidate
            budget -= size
    return encoded
