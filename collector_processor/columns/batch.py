"""The columns that a request becomes: what every later room works on, whatever form the wire had.

A *cell* is a number, a text, or missing. A :class:`Column` keeps the two kinds apart instead of coercing, so that a
feature that changes its type is seen (``ml.quality.wrong_type``) and never mistaken for a value. Booleans are the
texts ``"true"`` and ``"false"``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from collector_processor.own.drops import DecodeReason

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
I32 = NDArray[np.int32]
U64 = NDArray[np.uint64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, order=True)
class ModelKey:
    """Identifies one model version; an absent version is the empty string.

    >>> str(ModelKey("fraud", "7")), str(ModelKey("fraud"))
    ('fraud@7', 'fraud')
    """

    name: str
    version: str = ""

    def __str__(self) -> str:
        return f"{self.name}@{self.version}" if self.version else self.name


@dataclass(frozen=True, slots=True)
class Column:
    """One column of ``n`` cells: numbers, texts, or both where the senders disagree; at least one part is present.

    ``numbers`` is float64 ``[n]``, NaN where the cell is not a number. ``codes`` is int32 ``[n]``, an index into
    ``categories``, −1 where the cell is not a text. A cell that is neither is missing.

    >>> mixed = Column(np.array([1.5, np.nan, np.nan]), np.array([-1, 0, -1], np.int32), ("n/a",))
    >>> mixed.missing().tolist()
    [False, False, True]
    """

    numbers: F64 | None = None
    codes: I32 | None = None
    categories: tuple[str, ...] = ()

    def __len__(self) -> int:
        part = self.numbers if self.numbers is not None else self.codes
        return 0 if part is None else len(part)

    def is_number(self) -> Mask:
        """Which cells are numbers (infinities included), bool ``[n]``."""
        if self.numbers is None:
            return np.zeros(len(self), np.bool_)
        return ~np.isnan(self.numbers)

    def is_text(self) -> Mask:
        """Which cells are texts, bool ``[n]``."""
        if self.codes is None:
            return np.zeros(len(self), np.bool_)
        return self.codes >= 0

    def missing(self) -> Mask:
        """Which cells are neither number nor text, bool ``[n]``."""
        return ~(self.is_number() | self.is_text())

    def take(self, rows: I64 | Mask | slice) -> Column:
        """The same column for a selection of rows."""
        return Column(
            None if self.numbers is None else self.numbers[rows],
            None if self.codes is None else self.codes[rows],
            self.categories,
        )


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
