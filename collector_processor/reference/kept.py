"""Predictions as plain arrays and back: the rows that a reference is being learned from survive a restart."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from collector_processor.columns.batch import F64, Column, ModelKey, PredictionBatch
from collector_processor.columns.concatenate import concatenate

Array = NDArray[Any]
_HEAD: Final = "head"
_ROWS: Final = ("time_ns", "ids", "weights", "duration_s")


def batch_arrays(batches: Sequence[PredictionBatch]) -> dict[str, Array]:
    """Batches of one model as arrays by name, their texts as JSON in one of them: no objects, no pickle.

    >>> batch = PredictionBatch(ModelKey("fraud"), np.zeros(1, np.int64), np.zeros((1, 2), np.uint64), np.ones(1),
    ...     np.ones(1), features={"country": Column(codes=np.array([0], np.int32), categories=("DE",))})
    >>> [len(again) for again in batches_from_arrays(batch.model, batch_arrays([batch, batch]))]
    [1, 1]
    """
    if not batches:
        return {}
    batch = concatenate(batches)
    found: dict[str, Array] = {name: getattr(batch, name) for name in _ROWS}
    columns: list[tuple[str, str, tuple[str, ...]]] = []
    for part, name, column in _columns(batch):
        prefix = f"column.{len(columns)}."
        columns.append((part, name, column.categories))
        found |= {prefix + kind: cells for kind in ("numbers", "codes") if (cells := getattr(column, kind)) is not None}
    numbers: list[tuple[str, str]] = []
    for part, name, values in _numbers(batch):
        found[f"number.{len(numbers)}"] = values
        numbers.append((part, name))
    head = {
        "task": batch.task,
        "role": batch.role,
        "lengths": [len(part) for part in batches],
        "columns": columns,
        "numbers": numbers,
    }
    return {_HEAD: np.frombuffer(json.dumps(head).encode(), np.uint8), **found}


def batches_from_arrays(model: ModelKey, arrays: Mapping[str, Array]) -> Iterator[PredictionBatch]:
    """The batches that :func:`batch_arrays` was given, each with the columns that any had; ``KeyError`` without one."""
    if not arrays:
        return
    head: Any = json.loads(arrays[_HEAD].tobytes())
    columns: dict[str, dict[str, Column]] = {}
    for position, (part, name, categories) in enumerate(head["columns"]):
        prefix = f"column.{position}."
        column = Column(arrays.get(prefix + "numbers"), arrays.get(prefix + "codes"), tuple(categories))
        columns.setdefault(part, {})[name] = column
    numbers: dict[str, dict[str, F64]] = {}
    for position, (part, name) in enumerate(head["numbers"]):
        numbers.setdefault(part, {})[name] = arrays[f"number.{position}"]
    whole = PredictionBatch(
        model,
        **{name: arrays[name] for name in _ROWS},
        features=columns.get("features", {}),
        segments=columns.get("segments", {}),
        prediction=columns.get("prediction", {}).get(""),
        error=columns.get("error", {}).get(""),
        scores=numbers.get("scores", {}),
        attributions=numbers.get("attributions", {}),
        score=numbers.get("score", {}).get(""),
        value=numbers.get("value", {}).get(""),
        task=head["task"],
        role=head["role"],
    )
    ends = np.cumsum(head["lengths"]).tolist()
    for begin, end in zip([0, *ends], ends, strict=False):
        yield whole.take(slice(begin, end))


def _columns(batch: PredictionBatch) -> Iterator[tuple[str, str, Column]]:
    """Every column of cells: its part of the batch, its key there (none for single ones), and itself."""
    for part, columns in (("features", batch.features), ("segments", batch.segments)):
        for name, column in columns.items():
            yield part, name, column
    for part, column in (("prediction", batch.prediction), ("error", batch.error)):
        if column is not None:
            yield part, "", column


def _numbers(batch: PredictionBatch) -> Iterator[tuple[str, str, F64]]:
    """Every column of plain numbers, likewise."""
    for part, columns in (("scores", batch.scores), ("attributions", batch.attributions)):
        for name, values in columns.items():
            yield part, name, values
    for part, values in (("score", batch.score), ("value", batch.value)):
        if values is not None:
            yield part, "", values
