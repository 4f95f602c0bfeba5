"""What is known of joined labels, one row each: what was predicted, and what was true."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from collector_processor.columns.batch import F64, I32, I64, U64, Mask

Scalar = TypeVar("Scalar", bound=np.generic)


@dataclass(frozen=True, slots=True)
class OutcomeBatch:
    """``n`` joined labels of one model: what was predicted, and what was true.

    - ``time_ns`` int64 ``[n]``: when the truth became known, Unix nanoseconds; it decides the pane.
    - ``weights`` float64 ``[n]``: how many predictions a row stands for; a negative one takes an earlier outcome back.
    - Classification: ``labels`` and ``predicted`` int32 ``[n]``, codes of ``schema.classes`` (:mod:`.classes`).
    - Regression: ``label_values`` and ``predicted_values`` float64 ``[n]``, NaN where unknown.
    - ``scores`` float64 ``[n]``: probability of the positive class (binary) or of the predicted one; NaN for none.
    - ``label_probability`` float64 ``[n]``: the model's probability of the true class; NaN where unknown.
    - ``groups`` int32 ``[n, s]``: rows of the grouped vectors (:func:`.segment_groups`), −1 where missing.
    - ``delay_s`` float64 ``[n]``: time from prediction to label, seconds.
    - ``predicted_ns`` int64 ``[n]``: when it was predicted, Unix nanoseconds.
    - ``estimates`` float64 ``[n]``: calibrated probability of the positive class, or (multiclass) that the
      prediction is right, or the expected loss; NaN for none.
    - ``cells`` int32 ``[n]``: the cell of the reference's partition of all rows; −1 for none.
    - ``slices`` uint8 ``[n, 1 + C]``: the codes of a sample of rows (:class:`.SliceCells`). The first column is 0 for a
      row without, and k + 1 for one that stands for 2ᵏ.
    - ``traces`` uint64 ``[n, 4]``: the key and the trace of the predictions of a sample (:class:`.Reservoir`); 0 in the
      last word for a row without one.
    - ``class_scores`` float64 ``[n, K]``: the scores of the classes of :class:`.ClassCurves`; NaN where unknown.
    """

    time_ns: I64
    weights: F64
    scores: F64
    label_probability: F64
    groups: I32
    delay_s: F64
    labels: I32 | None = None
    label_values: F64 | None = None
    predicted: I32 | None = None
    predicted_values: F64 | None = None
    predicted_ns: I64 | None = None
    estimates: F64 | None = None
    cells: I32 | None = None
    slices: NDArray[np.uint8] | None = None
    traces: U64 | None = None
    class_scores: F64 | None = None

    def __len__(self) -> int:
        return len(self.time_ns)

    def take(self, rows: I64 | Mask | slice) -> OutcomeBatch:
        """Return the same outcomes for a selection of rows."""
        return OutcomeBatch(
            self.time_ns[rows],
            self.weights[rows],
            self.scores[rows],
            self.label_probability[rows],
            self.groups[rows],
            self.delay_s[rows],
            None if self.labels is None else self.labels[rows],
            None if self.label_values is None else self.label_values[rows],
            None if self.predicted is None else self.predicted[rows],
            None if self.predicted_values is None else self.predicted_values[rows],
            None if self.predicted_ns is None else self.predicted_ns[rows],
            None if self.estimates is None else self.estimates[rows],
            None if self.cells is None else self.cells[rows],
            None if self.slices is None else self.slices[rows],
            None if self.traces is None else self.traces[rows],
            None if self.class_scores is None else self.class_scores[rows],
        )

    def plus(self, other: OutcomeBatch) -> OutcomeBatch:
        """These outcomes followed by others of the same model."""

        def both(mine: NDArray[Scalar] | None, theirs: NDArray[Scalar] | None) -> NDArray[Scalar] | None:
            return None if mine is None or theirs is None else np.concatenate((mine, theirs))

        return OutcomeBatch(
            np.concatenate((self.time_ns, other.time_ns)),
            np.concatenate((self.weights, other.weights)),
            np.concatenate((self.scores, other.scores)),
            np.concatenate((self.label_probability, other.label_probability)),
            np.concatenate((self.groups, other.groups)),
            np.concatenate((self.delay_s, other.delay_s)),
            both(self.labels, other.labels),
            both(self.label_values, other.label_values),
            both(self.predicted, other.predicted),
            both(self.predicted_values, other.predicted_values),
            both(self.predicted_ns, other.predicted_ns),
            both(self.estimates, other.estimates),
            both(self.cells, other.cells),
            both(self.slices, other.slices),
            both(self.traces, other.traces),
            both(self.class_scores, other.class_scores),
        )
