"""Counts feature values by the buckets of a reference profile, inside the process: ``ml.feature.observations``.

A forked child starts at zero.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from weakref import WeakSet

from otel_ml.emit.profile import Profile
from otel_ml.emit.redaction import Redaction
from otel_ml.encode.rows import is_column, length


class Observations:
    """Counts by feature and bucket of one model; thread-safe, and a forked child starts at zero.

    >>> from otel_ml.config import Settings
    >>> from otel_ml.emit.buckets import numeric_buckets
    >>> observations = Observations(Profile("", {"age": numeric_buckets([18, 65])}), Redaction(Settings()))
    >>> observations.add_row({"age": 37})
    >>> observations.add_columns({"age": [70, None]}, 2)
    >>> list(observations.read())
    [('age', '[18,65)', 1), ('age', '[65,+inf)', 1), ('age', 'missing', 1)]
    """

    def __init__(self, profile: Profile, redaction: Redaction) -> None:
        self._buckets = {name: buckets for name, buckets in profile.buckets.items() if redaction.counts(name)}
        self._lock = threading.Lock()
        self._counts: dict[str, list[int]] = {}
        self.restart()
        _living.add(self)

    def series(self) -> tuple[tuple[str, tuple[str, ...]], ...]:
        """Return the features that are counted, with the labels of their buckets."""
        return tuple((name, buckets.labels) for name, buckets in self._buckets.items())

    def restart(self) -> None:
        """Start at zero with a new lock: a fork may have copied a locked one, and the parent reports its own counts."""
        self._lock = threading.Lock()
        self._counts = {name: [0] * len(buckets.labels) for name, buckets in self._buckets.items()}

    def add_row(self, row: Mapping[Any, object]) -> None:
        """Count one row; a feature of the profile that the row lacks counts as missing."""
        places = [(name, buckets.place(row.get(name))) for name, buckets in self._buckets.items()]
        with self._lock:
            for name, place in places:
                self._counts[name][place] += 1

    def add_columns(self, columns: Mapping[Any, object], rows: int) -> None:
        """Count many rows; a column whose length is not ``rows`` is left out."""
        for name, buckets in self._buckets.items():
            column = columns.get(name)
            if column is None:
                added: Sequence[int] = [0] * buckets.missing + [rows]
            elif is_column(column) and length(column) == rows:
                added = buckets.counts(column)
            else:
                continue
            with self._lock:
                self._counts[name] = [old + new for old, new in zip(self._counts[name], added, strict=True)]

    def read(self) -> Iterator[tuple[str, str, int]]:
        """Yield feature, bucket and count so far, for the buckets that are not empty."""
        with self._lock:
            snapshot = {name: list(counts) for name, counts in self._counts.items()}
        for name, counts in snapshot.items():
            for label, count in zip(self._buckets[name].labels, counts, strict=True):
                if count:
                    yield name, label, count


_living: WeakSet[Observations] = WeakSet()


def _after_fork_in_child() -> None:
    for observations in list(_living):
        observations.restart()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
