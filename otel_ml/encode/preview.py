"""What a person sees of a batch in a trace backend, which shows an Arrow stream as bytes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from otel_ml.encode.row import Attributes
from otel_ml.encode.wire import Column
from otel_ml.semconv import BATCH_COLUMNS, BATCH_PREVIEW, FEATURE

MAX_NAMES: Final = 64
MAX_ROWS: Final = 3
MAX_COLUMNS: Final = 12
MAX_VALUE_CHARS: Final = 40
MAX_CHARS: Final = 1024


def preview(columns: Sequence[tuple[str, Column]], start: int, stop: int) -> Attributes:
    """Return the names of columns and the first of the rows from ``start`` to ``stop`` as text, both bounded.

    The columns are those that are sent, so every redaction rule has been applied.

    >>> from otel_ml.encode.wire import Texts, numbers
    >>> table = [("ml.feature.age", numbers("q", [41, 29])), ("ml.prediction.class", Texts(["stays", None]))]
    >>> shown = preview(table, 0, 2)
    >>> shown["ml.batch.columns"]
    ['ml.feature.age', 'ml.prediction.class']
    >>> print(shown["ml.batch.preview"])
    age=41, ml.prediction.class=stays
    age=29
    """
    # Outputs come last, and are what a person looks for first.
    half = MAX_COLUMNS // 2
    shown = columns if len(columns) <= MAX_COLUMNS else (*columns[:half], *columns[-half:])
    rows: list[list[str]] = [[] for _ in range(min(stop - start, MAX_ROWS))]
    for name, column in shown:
        for row, value in zip(rows, column.values(start, start + len(rows)), strict=True):
            if value is not None and value == value:
                row.append(f"{name.removeprefix(FEATURE)}={str(value)[:MAX_VALUE_CHARS]}")
    names = [name for name, _ in columns[:MAX_NAMES]]
    return {BATCH_COLUMNS: names, BATCH_PREVIEW: "\n".join(map(", ".join, rows))[:MAX_CHARS]}
