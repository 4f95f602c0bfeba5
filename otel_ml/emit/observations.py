"""Counts features, outputs and calls by the buckets of a reference profile, inside the process.

They become ``ml.feature.observations`` and ``ml.prediction.observations``. A forked child starts at zero.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple
from weakref import WeakSet

from otel_ml.emit.outputs import Recorded, batch_counts, row_places
from otel_ml.emit.profile import Profile
from otel_ml.emit.redaction import Redaction
from otel_ml.encode.row import Attributes
from otel_ml.encode.rows import is_column, length
from otel_ml.encode.shape import Features
from otel_ml.semconv import BUCKET_OTHER

MAX_ERRORS: Final = 20
"""Types of errors that failed predictions are counted by; further ones are ``other``."""


class Observed(NamedTuple):
    """One count so far; ``in_span`` if these values also left in a span.

    A count of predictions has no role and no bucket, and the type of error of those that failed.
    """

    role: str | None
    name: str
    bucket: str
    in_span: bool
    error: str
    total: int


class Observations:
    """Counts of one model by column and bucket; thread-safe, and a forked child starts at zero.

    >>> from otel_ml.config import Settings
    >>> from otel_ml.emit.buckets import numeric_buckets
    >>> observations = Observations(Profile("", {"age": numeric_buckets([18, 65])}), Redaction(Settings()))
    >>> observations.add_features(Features(1, row={"age": 37}), sent=True)
    >>> observations.add_features(Features(2, columns={"age": [70, None]}), sent=True)
    >>> [(each.name, each.bucket, each.total) for each in observations.read()]
    [('age', '[18,65)', 1), ('age', '[65,+inf)', 1), ('age', 'missing', 1)]
    """

    def __init__(self, profile: Profile, redaction: Redaction, positive_class: str | None = None) -> None:
        self.profile = profile
        self._recorded = Recorded(profile, positive_class)
        self._captured = redaction.captures
        self._buckets = {name: buckets for name, buckets in profile.buckets.items() if redaction.counts(name)}
        self.restart()
        _living.add(self)

    def series(self) -> tuple[tuple[str, tuple[str, ...]], ...]:
        """Return the features that are counted, with the labels of their buckets."""
        return tuple((name, buckets.labels) for name, buckets in self._buckets.items())

    def restart(self) -> None:
        """Start at zero with a new lock: a fork may have copied a locked one, and the parent reports its own counts."""
        self._lock = threading.Lock()
        self._features: tuple[dict[str, list[int]], ...] = ({}, {})
        self._outputs: tuple[dict[str, list[int]], ...] = ({}, {})
        self._rows: tuple[dict[str, int], ...] = ({}, {})

    def add_features(self, features: Features, *, sent: bool) -> None:
        """Count the features of one call, which was ``sent`` as a span; one that it lacks is missing in every row.

        A column of another number of rows is missing, as it is in a span.
        """
        if not features.rows:
            return
        counts = self._features[sent and self._captured]
        if features.rows == 1 and features.row is not None:
            row = features.row
            places = [(name, buckets.place(row.get(name))) for name, buckets in self._buckets.items()]
            with self._lock:
                for name, place in places:
                    self._of(counts, name, len(self._buckets[name].labels))[place] += 1
            return
        columns = features.columns or {}
        for name, buckets in self._buckets.items():
            column = columns.get(name)
            if column is not None and is_column(column) and length(column) == features.rows:
                added = buckets.counts(column)
            else:
                added = [0] * buckets.missing + [features.rows]
            self._add(counts, name, added)

    def add_row(self, outputs: Attributes, *, sent: bool, failed: str | None) -> None:
        """Count one prediction and its outputs; one that failed has none."""
        places = [] if failed else [*row_places(self._recorded, outputs)]
        counts = self._outputs[sent]
        with self._lock:
            self._count_rows(self._rows[sent], 1, failed)
            for role, place in places:
                self._of(counts, role, len(self.profile.outputs[role].labels))[place] += 1

    def add_batch(self, outputs: Mapping[str, Any], rows: int, *, sent: bool, failed: str | None) -> None:
        """Count the predictions of one call and their outputs: ``class``, ``score``, ``scores`` and ``value``."""
        added = {} if failed or not rows else batch_counts(self._recorded, outputs, rows)
        with self._lock:
            self._count_rows(self._rows[sent], rows, failed)
        for role, counts in added.items():
            self._add(self._outputs[sent], role, counts)

    def read_features(self, names: Iterable[str]) -> Iterator[Observed]:
        """Yield the counts so far of some features, for the buckets that are not empty."""
        with self._lock:
            snapshot = [(sent, name, [*self._features[sent].get(name, ())]) for name in names for sent in (0, 1)]
        for sent, name, counts in snapshot:
            for label, count in zip(self._buckets[name].labels, counts, strict=False):
                if count:
                    yield Observed("feature", name, label, bool(sent), "", count)

    def read_outputs(self) -> Iterator[Observed]:
        """Yield the counts so far of predictions, and of outputs by bucket."""
        with self._lock:
            rows = [(sent, error, count) for sent in (0, 1) for error, count in self._rows[sent].items()]
            outputs = [(sent, role, [*counts]) for sent in (0, 1) for role, counts in self._outputs[sent].items()]
        for sent, error, count in rows:
            yield Observed(None, "", "", bool(sent), error, count)
        for sent, role, counts in outputs:
            for label, count in zip(self.profile.outputs[role].labels, counts, strict=True):
                if count:
                    yield Observed(role, role, label, bool(sent), "", count)

    def read(self) -> Iterator[Observed]:
        """Yield the counts so far of all features."""
        return self.read_features(self._buckets)

    def _add(self, counts: dict[Any, list[int]], name: str, added: Sequence[int]) -> None:
        with self._lock:
            counts[name] = [old + new for old, new in zip(self._of(counts, name, len(added)), added, strict=True)]

    @staticmethod
    def _of(counts: dict[Any, list[int]], name: str, size: int) -> list[int]:
        known = counts.get(name)
        if known is None:
            known = counts[name] = [0] * size
        return known

    @staticmethod
    def _count_rows(rows: dict[str, int], count: int, failed: str | None) -> None:
        error = failed or ""
        if error not in rows and len(rows) > MAX_ERRORS:
            error = BUCKET_OTHER
        rows[error] = rows.get(error, 0) + count


_living: WeakSet[Observations] = WeakSet()


def _after_fork_in_child() -> None:
    for observations in list(_living):
        observations.restart()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
