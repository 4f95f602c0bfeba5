"""Batches of columns: what one request says of one model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from collector_processor.columns.column import F64, I32, I64, U64, Column, Mask, ModelKey
from collector_processor.own.drops import DecodeReason

__all__ = [
    "F64", "I32", "I64", "U64", "Column", "Decoded", "LabelBatch", "MalformedRequestError", "Mask", "ModelKey",
    "PredictionBatch",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class PredictionBatch:
    """Predictions of one model as columns of ``n`` rows.

    - ``time_ns`` int64 ``[n]``: event time, Unix nanoseconds.
    - ``ids`` uint64 ``[n, 2]``: the 128-bit hash of each row's prediction id (:func:`.identity.hash_ids`).
    - ``weights`` float64 ``[n]``: how many predictions a row stands for (sampling), 1 without sampling.
    - ``duration_s`` float64 ``[n]``: latency of the call, on the first row of each call only, NaN elsewhere.
    - ``error``: ``error.type`` of failed predictions, missing cells elsewhere; None where none failed.
    - ``prediction`` (class), ``score`` and ``value``: the outputs, None where no row has them. ``scores`` maps a
      class to its probability ``[n]``.
    - ``features``, ``segments`` (texts) and ``attributions`` (numbers) by key.
    """

    model: ModelKey
    time_ns: I64
    ids: U64
    weights: F64
    duration_s: F64
    features: Mapping[str, Column] = field(default_factory=dict[str, Column])
    prediction: Column | None = None
    score: F64 | None = None
    value: F64 | None = None
    scores: Mapping[str, F64] = field(default_factory=dict[str, F64])
    segments: Mapping[str, Column] = field(default_factory=dict[str, Column])
    attributions: Mapping[str, F64] = field(default_factory=dict[str, F64])
    error: Column | None = None
    task: str = ""
    role: str = ""

    def __len__(self) -> int:
        return len(self.time_ns)

    def take(self, rows: I64 | Mask | slice) -> PredictionBatch:
        """The same batch for a selection of rows; columns that are empty there stay."""

        def part(values: F64 | None) -> F64 | None:
            return None if values is None else values[rows]

        return PredictionBatch(
            model=self.model,
            time_ns=self.time_ns[rows],
            ids=self.ids[rows],
            weights=self.weights[rows],
            duration_s=self.duration_s[rows],
            features={name: column.take(rows) for name, column in self.features.items()},
            prediction=None if self.prediction is None else self.prediction.take(rows),
            score=part(self.score),
            value=part(self.value),
            scores={name: values[rows] for name, values in self.scores.items()},
            segments={name: column.take(rows) for name, column in self.segments.items()},
            attributions={name: values[rows] for name, values in self.attributions.items()},
            error=None if self.error is None else self.error.take(rows),
            task=self.task,
            role=self.role,
        )


@dataclass(frozen=True, slots=True)
class LabelBatch:
    """Labels of one model name as columns of ``n`` rows; ``classes`` for classification, ``values`` for regression."""

    model_name: str
    time_ns: I64
    ids: U64
    classes: Column | None = None
    values: F64 | None = None

    def __len__(self) -> int:
        return len(self.time_ns)


@dataclass(frozen=True, slots=True)
class Decoded:
    """What one OTLP request holds for us.

    ``items`` counts all spans or records in it, ours or not; ``rejected`` those of ours that could not be read, with
    the first reasons in ``message``; ``dropped`` what was left out of it, by reason (:data:`.DROPS`).
    """

    predictions: tuple[PredictionBatch, ...] = ()
    labels: tuple[LabelBatch, ...] = ()
    items: int = 0
    rejected: int = 0
    message: str = ""
    dropped: Mapping[DecodeReason, int] = field(default_factory=dict[DecodeReason, int])


class MalformedRequestError(ValueError):
    """The bytes are not the OTLP request that they claim to be; the sender is told, nothing is kept."""
