"""A decoded request as buffers of which another process makes the same columns: a description, and the arrays.

The arrays are not copied on either side: they go out from where they are, and come to stand in one block that the new
ones are views of.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from collector_processor.columns.batch import Column, Decoded, LabelBatch, ModelKey, PredictionBatch
from collector_processor.journal.base import Request

_TYPES: Final = tuple(map(np.dtype, (np.float64, np.int64, np.int32, np.uint64)))
_KINDS: Final = {kind.str: number for number, kind in enumerate(_TYPES)}
_ALIGN: Final = 8
_Array = NDArray[Any]
Packed = tuple[bytes, list[memoryview]]
"""The description, and the arrays behind it."""


class _Writer:
    """Collects arrays; each is named by its type, its shape and where it begins."""

    def __init__(self) -> None:
        self.buffers: list[memoryview] = []
        self._size = 0

    def array(self, values: _Array | None) -> list[Any] | None:
        if values is None:
            return None
        place = [_KINDS[values.dtype.str], values.shape, self._size]
        size = values.nbytes
        if size:
            self.buffers.append(memoryview(np.ascontiguousarray(values).data).cast("B"))
            filling = -size % _ALIGN
            if filling:
                self.buffers.append(memoryview(bytes(filling)))
            self._size += size + filling
        return place

    def arrays(self, named: Mapping[str, _Array]) -> dict[str, Any]:
        return {name: self.array(values) for name, values in named.items()}

    def column(self, column: Column | None) -> list[Any] | None:
        if column is None:
            return None
        return [self.array(column.numbers), self.array(column.codes), column.categories]

    def columns(self, named: Mapping[str, Column]) -> dict[str, Any]:
        return {name: self.column(column) for name, column in named.items()}


class _Reader:
    """Gives the arrays of a block back."""

    def __init__(self, block: bytearray) -> None:
        self._block = block

    def array(self, place: Sequence[Any] | None) -> Any:
        if place is None:
            return None
        kind, shape, start = place
        return np.ndarray(shape, _TYPES[kind], self._block, start if math.prod(shape) else 0)

    def arrays(self, named: Mapping[str, Any]) -> dict[str, Any]:
        return {name: self.array(place) for name, place in named.items()}

    def column(self, parts: Sequence[Any] | None) -> Column | None:
        if parts is None:
            return None
        numbers, codes, categories = parts
        return Column(self.array(numbers), self.array(codes), tuple(categories))

    def columns(self, named: Mapping[str, Any]) -> dict[str, Column]:
        return {name: column for name, parts in named.items() if (column := self.column(parts)) is not None}


def pack(request: Request) -> Packed:
    """A request without its bytes: what the statistics need.

    >>> labels = LabelBatch("m", np.array([1]), np.zeros((1, 2), np.uint64), values=np.array([0.5]))
    >>> head, buffers = pack(Request("traces", b"body", Decoded(labels=(labels,), items=1), 1, 2))
    >>> unpack(head, bytearray(b"".join(buffers))).decoded.labels[0].values.tolist()
    [0.5]
    """
    writer, decoded = _Writer(), request.decoded
    described = {
        "signal": request.signal,
        "items": request.items,
        "received_ns": request.received_ns,
        "predictions": [_predictions(writer, batch) for batch in decoded.predictions],
        "labels": [_labels(writer, batch) for batch in decoded.labels],
        "decoded": [decoded.items, decoded.rejected, decoded.message, dict(decoded.dropped)],
    }
    return json.dumps(described).encode(), writer.buffers


def unpack(head: bytes, block: bytearray) -> Request:
    """The request again, with an empty body; its arrays are views of ``block``."""
    described: dict[str, Any] = json.loads(head)
    reader = _Reader(block)
    items, rejected, message, dropped = described["decoded"]
    decoded = Decoded(
        tuple(_predictions_of(reader, parts) for parts in described["predictions"]),
        tuple(_labels_of(reader, parts) for parts in described["labels"]),
        items,
        rejected,
        message,
        dropped,
    )
    return Request(described["signal"], b"", decoded, described["items"], described["received_ns"])


def _predictions(writer: _Writer, batch: PredictionBatch) -> dict[str, Any]:
    return {
        "model": [batch.model.name, batch.model.version],
        "time_ns": writer.array(batch.time_ns),
        "ids": writer.array(batch.ids),
        "weights": writer.array(batch.weights),
        "duration_s": writer.array(batch.duration_s),
        "features": writer.columns(batch.features),
        "prediction": writer.column(batch.prediction),
        "score": writer.array(batch.score),
        "value": writer.array(batch.value),
        "scores": writer.arrays(batch.scores),
        "segments": writer.columns(batch.segments),
        "attributions": writer.arrays(batch.attributions),
        "error": writer.column(batch.error),
        "task": batch.task,
        "role": batch.role,
    }


def _predictions_of(reader: _Reader, parts: dict[str, Any]) -> PredictionBatch:
    return PredictionBatch(
        model=ModelKey(*parts["model"]),
        time_ns=reader.array(parts["time_ns"]),
        ids=reader.array(parts["ids"]),
        weights=reader.array(parts["weights"]),
        duration_s=reader.array(parts["duration_s"]),
        features=reader.columns(parts["features"]),
        prediction=reader.column(parts["prediction"]),
        score=reader.array(parts["score"]),
        value=reader.array(parts["value"]),
        scores=reader.arrays(parts["scores"]),
        segments=reader.columns(parts["segments"]),
        attributions=reader.arrays(parts["attributions"]),
        error=reader.column(parts["error"]),
        task=parts["task"],
        role=parts["role"],
    )


def _labels(writer: _Writer, batch: LabelBatch) -> dict[str, Any]:
    return {
        "model_name": batch.model_name,
        "time_ns": writer.array(batch.time_ns),
        "ids": writer.array(batch.ids),
        "classes": writer.column(batch.classes),
        "values": writer.array(batch.values),
    }


def _labels_of(reader: _Reader, parts: dict[str, Any]) -> LabelBatch:
    return LabelBatch(
        parts["model_name"],
        reader.array(parts["time_ns"]),
        reader.array(parts["ids"]),
        reader.column(parts["classes"]),
        reader.array(parts["values"]),
    )
