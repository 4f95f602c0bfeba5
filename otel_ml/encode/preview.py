"""What a person sees of a batch in a trace backend, which shows an Arrow stream as bytes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from otel_ml.encode.row import Attributes
from otel_ml.semconv import BATCH_COLUMNS, BATCH_PREVIEW, FEATURE

MAX_NAMES: Final = 64
MAX_ROWS: Final = 3
MAX_COLUMNS: Final = 12
MAX_VALUE_CHARS: Final = 40
MAX_CHARS: Final = 1024


def preview(pa: Any, stream: bytes) -> Attributes:
    """Return the names of a batch's columns and its first rows as text, both bounded.

    It is read from what is sent, so every redaction rule has been applied.

    >>> import pyarrow
    >>> rows = pyarrow.record_batch({"ml.feature.age": [41, 29, 7, 5], "ml.prediction.score": [0.5, None, 1.0, 0.25]})
    >>> sink = pyarrow.BufferOutputStream()
    >>> with pyarrow.ipc.new_stream(sink, rows.schema) as writer:
    ...     writer.write_batch(rows)
    >>> shown = preview(pyarrow, sink.getvalue().to_pybytes())
    >>> shown["ml.batch.columns"]
    ['ml.feature.age', 'ml.prediction.score']
    >>> print(shown["ml.batch.preview"])
    age=41, ml.prediction.score=0.5
    age=29
    age=7, ml.prediction.score=1.0
    """
    names: list[str] = pa.ipc.open_stream(stream).schema.names
    # Outputs come last, and are what a person looks for first.
    half = MAX_COLUMNS // 2
    count = len(names)
    shown = range(count) if count <= MAX_COLUMNS else (*range(half), *range(count - half, count))
    with pa.ipc.open_stream(stream, options=pa.ipc.IpcReadOptions(included_fields=list(shown))) as reader:
        first = next(iter(reader), None)
    rows: list[dict[str, Any]] = [] if first is None else first.slice(0, MAX_ROWS).to_pylist()
    text = "\n".join(", ".join(_cells(row)) for row in rows)
    return {BATCH_COLUMNS: names[:MAX_NAMES], BATCH_PREVIEW: text[:MAX_CHARS]}


def _cells(row: dict[str, Any]) -> Iterator[str]:
    for name, value in row.items():
        if value is not None:
            yield f"{name.removeprefix(FEATURE)}={str(value)[:MAX_VALUE_CHARS]}"
