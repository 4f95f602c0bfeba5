"""Counts that a sender made itself, by the buckets of a reference profile, as columns."""

from __future__ import annotations

from dataclasses import dataclass, field

from collector_processor.columns.column import F64, I64, Column, ModelKey
from collector_processor.columns.parts import COLUMN, MODEL, TEXT, TIMES, WEIGHTS, Batch, part

DELTA = "delta"
CUMULATIVE = "cumulative"


@dataclass(frozen=True, slots=True)
class ObservationBatch(Batch):
    """Counts of one model from one sender as columns of ``n`` points.

    - ``sender``: a digest of the resource. ``reference``: ``ml.reference.id``, empty from senders that do not say it.
    - ``temporality``: :data:`DELTA` or :data:`CUMULATIVE`. ``in_span``: ``true`` if the values also left in spans.
    - ``start_ns`` and ``time_ns`` int64 ``[n]``: the time that a count is of; a start of 0 is unknown.
    - ``counts`` float64 ``[n]``: finite, 0 or more.
    - ``roles``, ``names`` and ``buckets``: the column and its bucket. A count of predictions has no role, and in place
      of a bucket the type of error of those that failed.
    """

    model: ModelKey = field(metadata=part(MODEL))
    sender: str = field(metadata=part(TEXT))
    reference: str = field(metadata=part(TEXT))
    temporality: str = field(metadata=part(TEXT))
    in_span: str = field(metadata=part(TEXT))
    start_ns: I64 = field(metadata=part(TIMES))
    time_ns: I64 = field(metadata=part(TIMES))
    counts: F64 = field(metadata=part(WEIGHTS))
    roles: Column | None = field(default=None, metadata=part(COLUMN))
    names: Column | None = field(default=None, metadata=part(COLUMN))
    buckets: Column | None = field(default=None, metadata=part(COLUMN))

    def __len__(self) -> int:
        return len(self.time_ns)
