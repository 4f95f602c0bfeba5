"""The join: labels find the predictions that they belong to, whichever came first, and however often they change.

The outcome of each label is counted once when it arrives (``joined``, ``early``, ``corrected``, ``duplicate``,
``wrong_kind``), and once more when an early one leaves (``joined_early``, ``expired``, ``evicted``).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from collector_processor.columns.batch import I64, U64, LabelBatch, ModelKey, PredictionBatch
from collector_processor.labels.early import EarlyLabels
from collector_processor.labels.generations import Dropped, Places
from collector_processor.labels.intake import latest_rows, pending_rows, sampled_rows
from collector_processor.labels.pending import PendingPredictions
from collector_processor.labels.truth import Truth, label_cells, same_labels, truth
from collector_processor.own.telemetry import Telemetry
from collector_processor.statistics.outcome_batch import OutcomeBatch
from collector_processor.statistics.schema import Schema

WAIT_NS: Final = 7 * 86_400 * 1_000_000_000
CAPACITY: Final = 10_000_000
LATEST_NS: Final = int(np.iinfo(np.int64).max)
NAMES_LIMIT: Final = 1000
"""Number of model names whose early labels are kept, and that are counted separately; others count as ``other``."""

Fate = Literal["joined", "corrected", "duplicate", "wrong_kind", "early", "joined_early", "expired", "evicted"]
_OTHER: Final = "other"
# If several versions saw a label, its fate is the greatest of its fates in each.
_NONE, _WRONG_KIND, _DUPLICATE, _CORRECTED, _JOINED, _EARLY = range(6)
Fates = NDArray[np.int8]
_FATES: Final[dict[int, Fate]] = {
    _WRONG_KIND: "wrong_kind", _DUPLICATE: "duplicate", _CORRECTED: "corrected", _JOINED: "joined", _EARLY: "early",
}  # fmt: skip


class LabelJoin:
    """Predictions and labels of all models that wait for each other; not thread-safe.

    A label joins every version of its model that predicted its id. The last label to arrive wins: a different one
    retracts the earlier outcome and gives a new one, an equal one changes nothing. The last prediction before the label
    wins; one that is repeated afterwards changes nothing. A label that has joined one version is kept for a version
    whose prediction comes later only if one is awaited (:meth:`labels`); an early label is always kept.

    Predictions wait ``wait_ns`` in event time, and so do early labels. ``capacity`` bounds the predictions of all
    models together: the oldest generation of any of them leaves first. Early labels have an eighth of it in addition.
    """

    def __init__(self, *, wait_ns: int = WAIT_NS, capacity: int = CAPACITY, telemetry: Telemetry | None = None) -> None:
        self.wait_ns = wait_ns
        self.capacity = capacity
        self.early_capacity = max(1, capacity // 8)
        self._telemetry = telemetry if telemetry is not None else Telemetry()
        self._pending: dict[ModelKey, PendingPredictions] = {}
        self._early: dict[str, EarlyLabels] = {}
        self._counted: set[str] = set()
        self._joined: dict[str, int] = {}

    def __len__(self) -> int:
        """Predictions in memory, of all models."""
        return sum(map(len, self._pending.values()))

    def waiting(self, key: ModelKey) -> int:
        """Predictions of a model version that have no label yet."""
        pending = self._pending.get(key)
        return 0 if pending is None else pending.store.waiting

    def early_classes(self, name: str) -> list[str]:
        """Return the classes of a model's labels that wait for their prediction."""
        early = self._early.get(name)
        return [] if early is None else early.classes()

    def continue_counts(self, other: LabelJoin) -> None:
        """Take the counts since the start from the join whose predictions this one has now."""
        self._joined = other._joined

    def joined(self, name: str) -> int:
        """Return the number of labels joined since the start, of all versions of a model."""
        return self._joined.get(name, 0)

    @property
    def nbytes(self) -> int:
        """Memory of predictions and early labels in bytes."""
        stores = [*self._pending.values(), *(early.store for early in self._early.values())]
        return sum(store.nbytes for store in stores)

    def predictions(
        self,
        key: ModelKey,
        schema: Schema,
        batch: PredictionBatch,
        not_before_ns: int = 0,
        not_after_ns: int = LATEST_NS,
    ) -> OutcomeBatch | None:
        """Keep a batch's predictions except failed ones; return the outcomes of those whose label was early.

        An outcome's time is when the truth became known: the latest of label, prediction and ``not_before_ns``, but at
        most ``not_after_ns``: a retraction is looked for in the pane of this time.
        """
        rows = pending_rows(schema, batch)
        if not len(rows.ids):
            return None
        pending = self._pending.get(key)
        if pending is None:
            pending = self._pending[key] = PendingPredictions(capacity=self.capacity, wait_ns=self.wait_ns)
        rows = replace(rows, sample=sampled_rows(schema, batch))
        early = self._early.get(key.name)
        new_ids = None if early is None else _unlabeled(pending, early, rows.ids)
        self._drop_predictions("capacity", pending.insert(rows))
        outcomes = None
        if early is not None and new_ids is not None and len(new_ids):
            outcomes = self._join_early(pending, early, new_ids, schema, (not_before_ns, not_after_ns))
        self._make_room()
        self._gauge_pending(key)
        self._gauge_early(key.name)
        return outcomes

    def labels(
        self,
        batch: LabelBatch,
        schemas: Mapping[ModelKey, Schema],
        not_before_ns: Mapping[ModelKey, int],
        not_after_ns: Mapping[ModelKey, int] = MappingProxyType({}),
        *,
        awaited: bool = False,
    ) -> list[tuple[ModelKey, OutcomeBatch]]:
        """Join labels and return the outcomes for each model version, including retractions of corrected outcomes.

        ``schemas`` are those of the watched models; unknown classes are appended to them. A retraction has the time of
        the outcome that it retracts and its weight, negated; other outcomes are timed as in :meth:`predictions`.
        Labels that no version predicted wait as early ones; with ``awaited`` the others do too, for a version of the
        model whose predictions are yet to be passed to :meth:`predictions`.
        """
        if not len(batch):
            return []
        name = batch.model_name
        batch = self._last_labels(batch)
        fates = np.full(len(batch), _NONE, np.int8)
        joined: list[tuple[ModelKey, OutcomeBatch]] = []
        for key, schema in schemas.items():
            pending = self._pending.get(key)
            if key.name != name or pending is None:
                continue
            span_ns = not_before_ns.get(key, 0), not_after_ns.get(key, LATEST_NS)
            outcomes = _join(pending, schema, batch, span_ns, fates)
            if outcomes is not None:
                joined.append((key, outcomes))
            self._gauge_pending(key)
        self._keep_early(batch, fates, awaited)
        for fate, outcome in _FATES.items():
            self._count(name, outcome, int(np.count_nonzero(fates == fate)))
        self._gauge_early(name)
        return joined

    def expire(self, now_ns: int) -> None:
        """Drop everything that has waited long enough at ``now_ns`` (Unix nanoseconds); cheap to call often."""
        for key, pending in self._pending.items():
            dropped = pending.expire(now_ns)
            if any(dropped):
                self._drop_predictions("expired", dropped)
                self._gauge_pending(key)
        for name, early in list(self._early.items()):
            dropped = early.store.expire(now_ns)
            if any(dropped):
                self._drop_early(name, "expired", dropped)

    def forget(self, key: ModelKey) -> None:
        """Drop the predictions of a model version; call this also when the version gets another schema."""
        pending = self._pending.pop(key, None)
        if pending is not None:
            self._telemetry.evicted("pending_predictions", "forgotten", pending.store.waiting)
            self._telemetry.pending.remove(str(key))

    def state(self) -> dict[str, Any]:
        """Return everything that waits, for a snapshot, as JSON with arrays in it."""
        return {
            "pending": [[key.name, key.version, store.arrays()] for key, store in self._pending.items()],
            "early": [[name, store.arrays()] for name, store in self._early.items()],
        }

    @classmethod
    def from_state(
        cls,
        state: Mapping[str, Any],
        *,
        wait_ns: int = WAIT_NS,
        capacity: int = CAPACITY,
        telemetry: Telemetry | None = None,
    ) -> LabelJoin:
        """Rebuild the join from :meth:`state`; what no longer fits into a smaller capacity is dropped and counted.

        The schemas, with their class slots and groups, must come from the same snapshot.
        """
        join = cls(wait_ns=wait_ns, capacity=capacity, telemetry=telemetry)
        for name, version, part in state["pending"]:
            pending, dropped = PendingPredictions.from_arrays(part, capacity=capacity, wait_ns=wait_ns)
            join._pending[ModelKey(str(name), str(version))] = pending
            join._drop_predictions("capacity", dropped)
        for name, part in state["early"]:
            early, dropped = EarlyLabels.from_arrays(name, part, capacity=join.early_capacity, wait_ns=wait_ns)
            join._early[str(name)] = early
            join._drop_early(name, "evicted", dropped)
        join._make_room()
        for key in join._pending:
            join._gauge_pending(key)
        return join

    def _join_early(
        self, pending: PendingPredictions, early: EarlyLabels, ids: U64, schema: Schema, span_ns: tuple[int, int]
    ) -> OutcomeBatch | None:
        """Give pending predictions the labels that came before them."""
        places = early.find(ids)
        labels = early.at(places, ids)
        taken = early.store.settled(places)
        early.store.settle(places)
        truths, at = truth(schema, labels), pending.find(ids)
        usable = truths.known() & at.hits()
        self._count(early.model_name, "joined_early", int(np.count_nonzero(usable & ~taken)))
        self._count(early.model_name, "wrong_kind", int(np.count_nonzero(~truths.known() & ~taken)))
        at = at.take(usable)
        pending.decide(at, schema)
        _settle(pending, at, truths.take(usable), labels.time_ns[usable], span_ns)
        return pending.outcomes(at, schema) if len(at.row) else None

    def _last_labels(self, batch: LabelBatch) -> LabelBatch:
        """Return the last label of each id; count the others."""
        latest = latest_rows(batch.ids)
        replaced = latest != np.arange(len(batch))
        if not replaced.any():
            return batch
        same = same_labels(batch.take(replaced), batch.take(latest[replaced]))
        self._count(batch.model_name, "duplicate", int(np.count_nonzero(same)))
        self._count(batch.model_name, "corrected", int(np.count_nonzero(~same)))
        return batch.take(~replaced)

    def _keep_early(self, batch: LabelBatch, fates: Fates, awaited: bool) -> None:
        """Keep the labels that met no prediction, and replace those that wait for a prediction of another version."""
        early = self._early.get(batch.model_name)
        known_early = np.zeros(len(batch), np.bool_)
        if early is not None:
            places = early.find(batch.ids)
            known_early = places.hits()
            places, labels = places.take(known_early), batch.take(known_early)
            same = early.equals(places, labels)
            early.replace(places.take(~same), labels.take(~same))
            seen = np.where(same, _DUPLICATE, _CORRECTED)
            fates[known_early] = np.where(fates[known_early] == _NONE, seen, fates[known_early])
        unmet, empty = (fates == _NONE) & ~known_early, label_cells(batch).empty()
        fates[unmet & empty] = _WRONG_KIND
        fates[unmet & ~empty] = _EARLY
        to_keep = (~known_early if awaited else unmet) & ~empty
        if not to_keep.any():
            return
        if early is None:
            early = self._early_labels(batch.model_name)
        self._drop_early(batch.model_name, "evicted", early.insert(batch.take(to_keep)))
        while sum(map(len, self._early.values())) > self.early_capacity:
            self._evict_early()

    def _early_labels(self, name: str) -> EarlyLabels:
        while len(self._early) >= NAMES_LIMIT:
            self._evict_early()
        early = EarlyLabels(name, capacity=self.early_capacity, wait_ns=self.wait_ns)
        self._early[name] = early
        return early

    def _evict_early(self) -> None:
        name, early = min(self._early.items(), key=lambda item: _age(item[1].store.oldest_ns))
        self._drop_early(name, "evicted", early.store.evict_oldest())

    def _make_room(self) -> None:
        """Evict the oldest generations of any model until the total is within the capacity."""
        while len(self) > self.capacity:
            key, pending = min(self._pending.items(), key=lambda item: _age(item[1].store.oldest_ns))
            self._drop_predictions("capacity", pending.store.evict_oldest())
            self._gauge_pending(key)

    def _drop_predictions(self, reason: Literal["capacity", "expired"], dropped: Dropped) -> None:
        self._telemetry.evicted("pending_predictions", reason, dropped.waiting)
        self._telemetry.evicted("pending_predictions", f"{reason}_labelled", dropped.settled)

    def _drop_early(self, name: str, fate: Literal["expired", "evicted"], dropped: Dropped) -> None:
        self._count(name, fate, dropped.waiting)
        self._telemetry.evicted("early_labels", "capacity" if fate == "evicted" else fate, dropped.waiting)
        if not len(self._early[name]):
            del self._early[name]
        self._gauge_early(name)

    def _count(self, name: str, fate: Fate, count: int) -> None:
        if count:
            series = self._series(name)
            self._telemetry.labels.labels(series, fate).inc(count)
            if fate in ("joined", "joined_early"):
                self._joined[series] = self._joined.get(series, 0) + count

    def _gauge_pending(self, key: ModelKey) -> None:
        self._telemetry.pending.labels(str(key)).set(self._pending[key].store.waiting)

    def _gauge_early(self, name: str) -> None:
        series = self._series(name)
        early = self._early.get(name)
        if series == name:
            self._telemetry.early_labels.labels(series).set(0 if early is None else early.store.waiting)

    def _series(self, name: str) -> str:
        """Return the model's name in the service's own metrics, whose number of series is bounded too."""
        if name in self._counted or len(self._counted) < NAMES_LIMIT:
            self._counted.add(name)
            return name
        return _OTHER


def _unlabeled(pending: PendingPredictions, early: EarlyLabels, ids: U64) -> U64:
    """Return the distinct ids that have an early label and whose earlier prediction, if any, has no label yet."""
    hits = np.flatnonzero(early.find(ids).hits())
    ids = ids[hits]
    ids = ids[latest_rows(ids) == np.arange(len(ids))]
    known = pending.find(ids)
    labeled = known.hits()
    labeled[labeled] = pending.settled(known.take(labeled))
    return ids[~labeled]


def _join(
    pending: PendingPredictions, schema: Schema, batch: LabelBatch, span_ns: tuple[int, int], fates: Fates
) -> OutcomeBatch | None:
    """Join labels, one for each id, with one version's predictions, and record the fate of each in ``fates``."""
    places = pending.find(batch.ids)
    rows = np.flatnonzero(places.hits())
    if not len(rows):
        return None
    truths = truth(schema, batch.take(rows))
    known = truths.known()
    fates[rows[~known]] = np.maximum(fates[rows[~known]], _WRONG_KIND)
    rows, truths = rows[known], truths.take(known)
    at = places.take(rows)
    labeled = pending.settled(at)
    same = labeled & truths.equals(pending.truth(at, schema))
    changed = labeled & ~same
    fate = np.where(same, _DUPLICATE, np.where(changed, _CORRECTED, _JOINED))
    fates[rows] = np.maximum(fates[rows], fate)
    if same.all():
        return None
    taken_back = pending.outcomes(at.take(changed), schema, -1.0)
    at = at.take(~same)
    pending.decide(at, schema)
    _settle(pending, at, truths.take(~same), batch.time_ns[rows[~same]], span_ns)
    outcomes = pending.outcomes(at, schema)
    return taken_back.plus(outcomes) if len(taken_back) else outcomes


def _settle(pending: PendingPredictions, at: Places, truths: Truth, label_ns: I64, span_ns: tuple[int, int]) -> None:
    """Give predictions their labels, with the time when the truth became known, within a span."""
    predicted_ns = pending.time_ns(at)
    outcome_ns = np.clip(np.maximum(label_ns, predicted_ns), *span_ns)
    pending.settle(at, truths, outcome_ns, np.maximum(label_ns - predicted_ns, 0) / 1e9)


def _age(oldest_ns: int | None) -> float:
    """Return the age key of a store's oldest generation; an empty store has nothing to evict."""
    return math.inf if oldest_ns is None else oldest_ns
