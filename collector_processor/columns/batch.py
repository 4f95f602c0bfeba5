"""Batches of columns: the predictions or labels of one model in one request."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar, cast

from collector_processor.columns.column import F64, I32, I64, U64, Column, Mask, ModelKey
from collector_processor.columns.observations import ObservationBatch
from collector_processor.columns.parts import (
    COLUMN,
    COLUMNS_BY_NAME,
    IDS,
    MODEL,
    NUMBER,
    NUMBERS,
    NUMBERS_BY_NAME,
    TEXT,
    TIMES,
    TRACES,
    WEIGHTS,
    Array,
    Batch,
    mapped,
    part,
)
from collector_processor.columns.traces import Traces
from collector_processor.own.drops import DecodeReason

__all__ = [
    "F64", "I32", "I64", "U64", "Column", "Decoded", "LabelBatch", "MalformedRequestError", "Mask", "ModelKey",
    "PredictionBatch",
]  # fmt: skip
A = TypeVar("A", bound="Array | None")


@dataclass(frozen=True, slots=True)
class PredictionBatch(Batch):
    """Predictions of one model as columns of ``n`` rows.

    - ``time_ns`` int64 ``[n]``: event time, Unix nanoseconds.
    - ``ids`` uint64 ``[n, 2]``: the 128-bit hash of each row's prediction id (:func:`.ids.hash_ids`).
    - ``weights`` float64 ``[n]``: how many predictions a row stands for (sampling), 1 without sampling.
    - ``duration_s`` float64 ``[n]``: latency of the call, on the first row of each call only, NaN elsewhere.
    - ``error``: ``error.type`` of failed predictions, missing cells elsewhere; None if none failed.
    - ``prediction`` (class), ``score`` and ``value``: the outputs, None if no row has them. ``scores`` maps a class to
      its probability ``[n]``.
    - ``task``, ``role``, ``positive_class`` and ``threshold``: what the sender says of the model, empty or None if
      nothing. ``score`` is the probability of that positive class. A threshold of NaN means that no threshold decides.
    - ``withheld``: the features that the sender keeps back (:class:`.Withheld`), empty if none.
    - ``features``, ``segments`` (texts) and ``attributions`` (numbers) by key. ``attribution_weights``: how many
      predictions the attributions of a row stand for, besides its own weight; None if no sender said so.
    - ``traces``: the sampled span that each row came in, None if no row has one.

    Everything done to a batch part by part follows from each field's kind (:mod:`.parts`).
    """

    model: ModelKey = field(metadata=part(MODEL))
    time_ns: I64 = field(metadata=part(TIMES))
    ids: U64 = field(metadata=part(IDS))
    weights: F64 = field(metadata=part(WEIGHTS))
    duration_s: F64 = field(metadata=part(WEIGHTS))
    features: Mapping[str, Column] = field(default_factory=dict[str, Column], metadata=part(COLUMNS_BY_NAME))
    prediction: Column | None = field(default=None, metadata=part(COLUMN))
    score: F64 | None = field(default=None, metadata=part(NUMBERS))
    value: F64 | None = field(default=None, metadata=part(NUMBERS))
    scores: Mapping[str, F64] = field(default_factory=dict[str, F64], metadata=part(NUMBERS_BY_NAME))
    segments: Mapping[str, Column] = field(default_factory=dict[str, Column], metadata=part(COLUMNS_BY_NAME))
    attributions: Mapping[str, F64] = field(default_factory=dict[str, F64], metadata=part(NUMBERS_BY_NAME))
    attribution_weights: F64 | None = field(default=None, metadata=part(NUMBERS))
    error: Column | None = field(default=None, metadata=part(COLUMN))
    task: str = field(default="", metadata=part(TEXT))
    role: str = field(default="", metadata=part(TEXT))
    positive_class: str = field(default="", metadata=part(TEXT))
    threshold: float | None = field(default=None, metadata=part(NUMBER))
    withheld: str = field(default="", metadata=part(TEXT))
    traces: Traces | None = field(default=None, metadata=part(TRACES))
    derived: dict[str, tuple[object, Array | None]] = field(
        default_factory=dict[str, tuple[object, "Array | None"]],
        init=False, repr=False, compare=False, metadata=part(None),
    )  # fmt: skip
    """The results of :meth:`once` by name, each with its key. A batch made of several others starts without any."""
    kept: dict[str, object] = field(
        default_factory=dict[str, object], init=False, repr=False, compare=False, metadata=part(None)
    )
    """What was derived from this batch as a whole; batches taken from it start without any."""

    def __len__(self) -> int:
        return len(self.time_ns)

    def take(self, rows: I64 | Mask | slice) -> PredictionBatch:
        """Return the batch of selected rows; columns that are empty in them stay, and so does what was derived."""
        taken = mapped(self, lambda values: values[rows])
        for name, (by, values) in self.derived.items():
            taken.derived[name] = (by, None if values is None else values[rows])
        return taken

    def once(self, name: str, by: object, derive: Callable[[], A]) -> A:
        """Return the result of ``derive`` for every row ``[n, …]``, once for this batch and all batches taken from it.

        The latest ``by`` of each name is remembered, and compared by identity: it stands for everything that ``derive``
        uses besides the batch. So ``derive`` must give a row the same result as long as ``by`` exists, and the result
        must not depend on the other rows of the batch.
        """
        known = self.derived.get(name)
        if known is not None and known[0] is by:
            return cast("A", known[1])
        values = derive()
        self.derived[name] = (by, values)
        return values


def said_of_rows(batch: PredictionBatch) -> tuple[str, str, str]:
    """Return what a sender says of all its rows: batches in which it differs must not become one.

    The threshold is a text, so that NaN equals itself.
    """
    return batch.positive_class, str(batch.threshold), batch.withheld


@dataclass(frozen=True, slots=True)
class LabelBatch(Batch):
    """Labels of one model name as columns of ``n`` rows; ``classes`` for classification, ``values`` for regression."""

    model_name: str = field(metadata=part(TEXT))
    time_ns: I64 = field(metadata=part(TIMES))
    ids: U64 = field(metadata=part(IDS))
    classes: Column | None = field(default=None, metadata=part(COLUMN))
    values: F64 | None = field(default=None, metadata=part(NUMBERS))

    def __len__(self) -> int:
        return len(self.time_ns)

    def take(self, rows: I64 | Mask | slice) -> LabelBatch:
        """Return the labels of selected rows."""
        return mapped(self, lambda values: values[rows])


@dataclass(frozen=True, slots=True)
class Decoded:
    """The predictions, labels and counts of one OTLP request.

    ``items`` counts all spans or records in it, ours or not; ``rejected`` those of ours that are invalid, with the
    first reasons in ``message``; ``dropped`` counts what was left out, by reason (:data:`.DROPS`).
    """

    predictions: tuple[PredictionBatch, ...] = ()
    labels: tuple[LabelBatch, ...] = ()
    items: int = 0
    rejected: int = 0
    message: str = ""
    dropped: Mapping[DecodeReason, int] = field(default_factory=dict[DecodeReason, int])
    observations: tuple[ObservationBatch, ...] = ()


class MalformedRequestError(ValueError):
    """Raised if bytes are not the OTLP request that they claim to be; the sender learns why, and nothing is kept."""
