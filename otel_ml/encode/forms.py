"""Chooses the form in which many rows travel."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from otel_ml.encode import arrays, arrow
from otel_ml.encode.batch import Batch, PayloadLimits
from otel_ml.encode.preview import preview
from otel_ml.encode.row import Attributes
from otel_ml.semconv import BATCH


def payloads(batch: Batch, limits: PayloadLimits) -> Iterator[Attributes]:
    """Yield the attributes of each span that the batch needs: Arrow where pyarrow is installed, arrays otherwise.

    Each has ``ml.prediction.rows``, the number of rows in that span; a row keeps the id of its position in the whole
    call.
    """
    pa = arrow.library()
    return arrays.encode(batch, limits) if pa is None else _with_preview(pa, arrow.encode(pa, batch, limits))


def _with_preview(pa: Any, parts: Iterator[Attributes]) -> Iterator[Attributes]:
    for part in parts:
        stream = part.get(BATCH)
        if isinstance(stream, bytes):
            part.update(preview(pa, stream))
        yield part
