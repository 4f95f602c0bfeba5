"""Predictions of one model version that wait for their labels, and those that have one, which may be corrected."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from collector_processor.columns.batch import F64, I32, I64, U64, Mask
from collector_processor.columns.traces import Traces
from collector_processor.labels.generation import Defaults, Values
from collector_processor.labels.generations import Dropped, Generations, Places
from collector_processor.labels.truth import Truth
from collector_processor.statistics.classes import class_slots, decided_classes
from collector_processor.statistics.estimates import class_curves
from collector_processor.statistics.fits.cause_cells import NO_CELL, with_level
from collector_processor.statistics.fits.slice_cells import Codes, SliceCells
from collector_processor.statistics.outcome_batch import OutcomeBatch
from collector_processor.statistics.schema import Schema

SCORES_LIMIT: Final = 32
"""Number of classes whose probability is kept for each row (float32); the log loss leaves out labels of others."""
_NAN: Final = np.array(np.nan)
_DEFAULTS: Final[Defaults] = {
    "weight": np.array(1.0),
    "predicted": np.array(-1, np.int16),
    "predicted_value": _NAN,
    "score": _NAN,
    "class_scores": np.array(np.nan, np.float32),
    "estimate": np.array(np.nan, np.float32),
    "groups": np.array(-1, np.int16),
    "label": np.array(-1, np.int16),
    "label_value": _NAN,
    "outcome_ns": np.array(0, np.int64),
    "delay_s": np.array(np.nan, np.float32),
}
_SAMPLED: Final[Defaults] = {"codes": np.array(0, np.uint8), "cell": np.array(NO_CELL, np.int16)}
SAMPLED_PART: Final = 16
"""The cells of one row in this many are kept at most, so that they add little memory."""
_TRACED: Final[Defaults] = {"trace": np.array(0, np.uint64)}
TRACED_WHOLE: Final = 1024
"""This many predictions of a model version all keep their trace until they have a label."""
TRACED_PART: Final = 16
"""Of further ones, one in this many keeps it, chosen by id."""
_SLOTS: Final = "score_slots"
_SAMPLE: Final = "sample."
_SAMPLE_KEY: Final = "sample_key"
_TRACE: Final = "trace."


@dataclass(frozen=True, slots=True)
class SampledRows:
    """The cells of a sample of ``m`` ``rows``.

    ``codes`` are those of slices as :class:`.OutcomeBatch` has them, uint8 ``[m, 1 + C]``, and ``key`` that of the
    :class:`.SliceCells`, 0 without them; ``cells`` are those of causes, None without them.
    """

    rows: I64
    codes: Codes
    key: int
    cells: I32 | None


@dataclass(frozen=True, slots=True)
class PendingRows:
    """Predictions as they are kept: ``n`` rows; a field that is None is unknown in every row.

    ``predicted`` are codes of ``schema.classes`` (−1 unknown), ``groups`` ``[n, s]`` rows of the grouped vectors,
    ``class_scores`` probabilities ``[n]`` by class slot (multiclass). ``estimates`` are as in
    :class:`.OutcomeBatch`; the rest is as in ``PredictionBatch``. Of the ``traces``, a sample is kept.
    """

    ids: U64
    time_ns: I64
    weights: F64
    groups: I32
    predicted: I32 | None = None
    predicted_values: F64 | None = None
    scores: F64 | None = None
    class_scores: Mapping[int, F64] | None = None
    estimates: F64 | None = None
    sample: SampledRows | None = None
    traces: Traces | None = None


class PendingPredictions:
    """A store bounded by count and by time; a label joins the last prediction of its id.

    A prediction that has its label is *settled*: it stays findable for corrections, and the same id predicted again
    (a retried export) neither replaces it nor counts twice. ``capacity`` bounds the rows in memory, including those
    superseded by a repeated id. Without sampling and segments, an entry of a classification takes about 43 bytes, and
    15 more once it has its label; a segment takes 2 bytes, a sampling weight 8, an estimate 4, and each class
    of a multiclass score 4.

    >>> pending = PendingPredictions(capacity=100, wait_ns=10)
    >>> ids = np.array([[1, 1], [2, 2]], np.uint64)
    >>> predicted = np.array([1, 2], np.int32)
    >>> pending.insert(PendingRows(ids, np.array([5, 6]), np.ones(2), np.empty((2, 0), np.int32), predicted))
    Dropped(waiting=0, settled=0)
    >>> pending.find(ids[1:]).row.tolist(), len(pending)
    ([1], 2)
    """

    def __init__(self, *, capacity: int, wait_ns: int) -> None:
        self.store = Generations(_DEFAULTS, capacity=capacity, wait_ns=wait_ns)
        self._sampled, self._sampled_key = self._empty_sample(), 0
        self._traced = Generations(_TRACED, capacity=TRACED_WHOLE + capacity // TRACED_PART, wait_ns=wait_ns)
        self._score_slots: list[int] = []

    def __len__(self) -> int:
        """Predictions in memory."""
        return len(self.store)

    @property
    def nbytes(self) -> int:
        """Memory in bytes."""
        return self.store.nbytes + self._sampled.nbytes + self._traced.nbytes

    def insert(self, rows: PendingRows) -> Dropped:
        """Keep predictions; return what was evicted for lack of capacity."""
        values: dict[str, Values] = {"weight": rows.weights}
        if rows.groups.shape[1]:
            values["groups"] = rows.groups
        if rows.predicted is not None:
            values["predicted"] = rows.predicted
        if rows.predicted_values is not None:
            values["predicted_value"] = rows.predicted_values
        if rows.scores is not None:
            values["score"] = rows.scores
        if rows.class_scores:
            values["class_scores"] = self._matrix(rows.class_scores, len(rows.ids))
        if rows.estimates is not None:
            values["estimate"] = rows.estimates.astype(np.float32)
        if rows.sample is not None and len(rows.sample.rows):
            self._keep_sample(rows, rows.sample)
        if rows.traces is not None:
            self._keep_traces(rows, rows.traces)
        return self.store.insert(rows.ids, rows.time_ns, values)

    def _keep_sample(self, rows: PendingRows, sample: SampledRows) -> None:
        if sample.key != self._sampled_key:
            self._sampled, self._sampled_key = self._empty_sample(), sample.key
        values: dict[str, Values] = {"codes": sample.codes}
        if sample.cells is not None:
            values["cell"] = sample.cells
        self._sampled.insert(rows.ids[sample.rows], rows.time_ns[sample.rows], values)

    def _keep_traces(self, rows: PendingRows, traces: Traces) -> None:
        sample = np.flatnonzero(traces.present())
        first = sample < TRACED_WHOLE - len(self.store)
        sample = sample[first | (rows.ids[sample, 0] % np.uint64(TRACED_PART) == 0)]
        if len(sample):
            self._traced.insert(rows.ids[sample], rows.time_ns[sample], {"trace": traces.rows(sample)})

    def _empty_sample(self) -> Generations:
        capacity = max(1, self.store.capacity // SAMPLED_PART)
        return Generations(_SAMPLED, capacity=capacity, wait_ns=self.store.wait_ns)

    def expire(self, now_ns: int) -> Dropped:
        """Drop what has waited long enough at ``now_ns`` (Unix nanoseconds)."""
        self._sampled.expire(now_ns)
        self._traced.expire(now_ns)
        return self.store.expire(now_ns)

    def find(self, ids: U64) -> Places:
        """Return the places of the predictions of ids uint64 ``[n, 2]``."""
        return self.store.find(ids)

    def time_ns(self, places: Places) -> I64:
        """Return the event time of predictions, int64 ``[n]``."""
        return self.store.take("time_ns", places)

    def settled(self, places: Places) -> Mask:
        """Return which predictions have a label, bool ``[n]``."""
        return self.store.settled(places)

    def truth(self, places: Places, schema: Schema) -> Truth:
        """Return the labels of settled predictions."""
        if schema.task == "regression":
            return Truth(values=self.store.take("label_value", places))
        return Truth(labels=self.store.take("label", places).astype(np.int32))

    def settle(self, places: Places, truth: Truth, outcome_ns: I64, delay_s: F64) -> None:
        """Set or replace the labels of predictions, each named once."""
        if truth.labels is not None:
            self.store.put("label", places, truth.labels)
        if truth.values is not None:
            self.store.put("label_value", places, truth.values)
        self.store.put("outcome_ns", places, outcome_ns)
        self.store.put("delay_s", places, delay_s.astype(np.float32))
        self.store.settle(places)

    def decide(self, places: Places, schema: Schema) -> None:
        """Give binary predictions without a class the one that the threshold decides, now that it can."""
        predicted: I32 = self.store.take("predicted", places).astype(np.int32)
        if schema.task == "binary_classification" and not (predicted > 0).all():
            self.store.put("predicted", places, decided_classes(schema, predicted, self.store.take("score", places)))

    def outcomes(self, places: Places, schema: Schema, sign: float = 1.0) -> OutcomeBatch:
        """Return the outcomes of settled predictions; with ``sign`` −1, their retractions."""
        take, truth = self.store.take, self.truth(places, schema)
        scores: F64 = take("score", places)
        regression = schema.task == "regression"
        predicted = None if regression else take("predicted", places).astype(np.int32)
        width = 0 if schema.task == "binary_classification" else len(self._score_slots)
        class_scores = take("class_scores", places, width).astype(np.float64) if width else None
        slices, cells = self._sampled_cells(places, schema)
        return OutcomeBatch(
            time_ns=take("outcome_ns", places),
            weights=sign * take("weight", places),
            scores=scores,
            label_probability=self._label_probability(schema, truth.labels, scores, class_scores),
            groups=take("groups", places, len(schema.groups.columns)).astype(np.int32),
            delay_s=take("delay_s", places).astype(np.float64),
            labels=truth.labels,
            label_values=truth.values,
            predicted=predicted,
            predicted_values=take("predicted_value", places) if regression else None,
            predicted_ns=take("time_ns", places),
            estimates=take("estimate", places).astype(np.float64),
            cells=cells,
            slices=slices,
            traces=self._traces(places, truth.labels, predicted),
            class_scores=self._class_scores(schema, class_scores),
        )

    def _sampled_cells(self, places: Places, schema: Schema) -> tuple[Codes | None, I32 | None]:
        """Return ``slices`` and ``cells`` of :class:`.OutcomeBatch`: those of the rows that are in the sample."""
        if not len(self._sampled):
            return None, None
        fit = schema.fit(SliceCells)
        if (0 if fit is None else fit.key) != self._sampled_key:
            return None, None
        width = 1 if fit is None else len(fit.positions) + 1
        codes, cells = np.zeros((len(places.row), width), np.uint8), np.full(len(places.row), NO_CELL, np.int32)
        found = self._sampled.find(self.store.take("ids", places, 2))
        hits = np.flatnonzero(found.hits())
        if len(hits):
            at = found.take(hits)
            codes[hits] = self._sampled.take("codes", at, width)
            cells[hits] = with_level(self._sampled.take("cell", at), codes[hits, 0])
        return None if fit is None else codes, cells

    def _traces(self, places: Places, labels: I32 | None, predicted: I32 | None) -> U64 | None:
        """Return the key and the trace of those rows that kept it, ``[n, 4]``; of classes, only of wrong ones."""
        rows = np.arange(len(places.row))
        if labels is not None and predicted is not None:
            rows = np.flatnonzero(labels != predicted)
        if not len(rows) or not len(self._traced):
            return None
        ids = self.store.take("ids", places.take(rows), 2)
        found = self._traced.find(ids)
        hits = np.flatnonzero(found.hits())
        traces = np.zeros((len(places.row), 4), np.uint64)
        traces[rows[hits], 0] = ids[hits, 0]
        traces[rows[hits], 1:] = self._traced.take("trace", found.take(hits), 3)
        return traces

    def arrays(self) -> dict[str, Values]:
        """Return all predictions that can be found as arrays by name, for a snapshot."""
        sampled = {_SAMPLE + name: values for name, values in self._sampled.arrays().items()}
        sampled[_SAMPLE_KEY] = np.array(self._sampled_key, np.uint32)
        traced = {_TRACE + name: values for name, values in self._traced.arrays().items()}
        return {_SLOTS: np.array(self._score_slots, np.int32), **sampled, **traced, **self.store.arrays()}

    @classmethod
    def from_arrays(
        cls, arrays: Mapping[str, Values], *, capacity: int, wait_ns: int
    ) -> tuple[PendingPredictions, Dropped]:
        """Rebuild the store from :meth:`arrays`; return it and what no longer fits into a smaller capacity."""
        pending = cls(capacity=capacity, wait_ns=wait_ns)
        pending._score_slots = arrays[_SLOTS].tolist()
        pending._sampled_key = int(arrays.get(_SAMPLE_KEY, 0))
        for prefix, store in ((_SAMPLE, pending._sampled), (_TRACE, pending._traced)):
            store.load({name.removeprefix(prefix): each for name, each in arrays.items() if name.startswith(prefix)})
        return pending, pending.store.load(arrays)

    def _matrix(self, class_scores: Mapping[int, F64], rows: int) -> Values:
        """Return probabilities float32 ``[n, k]``, a column for each class slot that came so far."""
        for slot in class_scores:
            if slot not in self._score_slots and len(self._score_slots) < SCORES_LIMIT:
                self._score_slots.append(slot)
        matrix = np.full((rows, len(self._score_slots)), np.nan, np.float32)
        for column, slot in enumerate(self._score_slots):
            if slot in class_scores:
                with np.errstate(over="ignore"):  # not a probability, and infinite as float32
                    matrix[:, column] = class_scores[slot]
        return matrix

    def _label_probability(self, schema: Schema, labels: I32 | None, scores: F64, class_scores: F64 | None) -> F64:
        """Return the model's probability of the true class, ``[n]``; NaN where unknown."""
        if labels is None:
            return np.full(len(scores), np.nan)
        if schema.task == "binary_classification":
            positive = schema.classes.find(0, schema.positive_class)
            return np.where(labels == (-1 if positive is None else positive), scores, 1.0 - scores)
        if class_scores is None:
            return np.full(len(scores), np.nan)
        columns = np.full(max(len(schema.classes), *self._score_slots) + 1, -1)
        columns[self._score_slots] = np.arange(len(self._score_slots))
        column = columns[class_slots(labels)]
        return np.where(column >= 0, class_scores[np.arange(len(labels)), column], np.nan)

    def _class_scores(self, schema: Schema, class_scores: F64 | None) -> F64 | None:
        """Return the scores of the classes that the reference has curves of ``[n, K]``; None if one is not kept."""
        fit = class_curves(schema)
        if fit is None or class_scores is None or not set(fit.slots.tolist()) <= set(self._score_slots):
            return None
        return class_scores[:, [self._score_slots.index(slot) for slot in fit.slots.tolist()]]
