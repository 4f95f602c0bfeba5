"""Counts that applications make themselves, so that no feature has to leave them: from points to sums of a pane."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple
from zlib import crc32

import numpy as np

from collector_processor.columns.batch import F64, I64, Column, Mask
from collector_processor.columns.observations import ObservationBatch
from collector_processor.own.telemetry import Telemetry
from collector_processor.pipeline.senders import News, Senders
from collector_processor.pipeline.watched import Model, Watch, layout_of_reference
from collector_processor.reference.profile import Reference
from collector_processor.reference.task import listed
from collector_processor.statistics.observed import Layout
from collector_processor.statistics.parts.observed import Observed

_ROWS: Final = 2**32
"""Places from here on are counts of predictions, by type of error; from twice as many on, buckets without a place."""
_LONGEST_NS: Final = 3600 * 10**9
_OTHER: Final = "other"


class _Points(NamedTuple):
    """Where the points of a batch belong ``[n]``, with the type of error of counts of predictions."""

    places: I64
    errors: list[str]

    @property
    def known(self) -> Mask:
        """Which points the reference has a bucket for."""
        return self.places < 2 * _ROWS


def take(model: Model, batch: ObservationBatch, senders: Senders, telemetry: Telemetry, now_ns: int) -> None:
    """Count what is new in a batch into the windows of its model."""
    watch = model.watch
    if watch is None:
        _refuse(model, batch, telemetry, "learning", "its reference is not a file that a sender can count by")
        return
    layout = watch.reference.prepared(layout_of_reference)
    if not _usable(model, watch, layout, batch, telemetry):
        return
    points = _points(model, layout, batch)
    telemetry.dropped(("statistics", "observations_unknown"), int(np.count_nonzero(~points.known)))
    longest_ns = max(watch.windows.policy.size_ns, _LONGEST_NS)
    news, forgotten = senders.news(batch, points.places, longest_ns, now_ns)
    telemetry.evicted("observations", "limit", forgotten)
    _report(model, news, telemetry)
    counts = np.where(points.known, news.counts, 0.0)
    for time_ns in np.unique(batch.time_ns[counts > 0.0]).tolist():
        at = np.flatnonzero((batch.time_ns == time_ns) & (counts > 0.0))
        part, rows = _part(model, watch, layout, points, at, counts)
        model.late += watch.windows.add_observed(part, time_ns, now_ns)
        telemetry.rows.labels(str(model.key)).inc(float(part.rows[0]))
        _count_predictions(model, watch, part, rows)
        model.last_seen_ns = now_ns
        _note_counted(model, watch, layout, points.places[at])
        model.report(
            "observed",
            "senders count its features or outputs themselves: their values are left out of what needs rows (alarms at "
            "any time, ks, wasserstein, segments, latency, labels, estimates)",
        )


def _note_counted(model: Model, watch: Watch, layout: Layout, places: I64) -> None:
    """Note which features senders count; the next rows say again which ones are withheld and not counted."""
    columns = watch.windows.schema.columns
    names = {columns[place].name for place in np.unique(layout.columns[places[places < _ROWS]]).tolist()}
    if not names <= model.counted:
        model.counted |= names
        model.problems.pop("withheld", None)


def _usable(model: Model, watch: Watch, layout: Layout, batch: ObservationBatch, telemetry: Telemetry) -> bool:
    """Return whether counts are by the buckets of this reference, and not in spans anyway; report what is refused."""
    if batch.in_span:
        return False
    if not batch.reference:
        _refuse(model, batch, telemetry, "unidentified", "their otel_ml is older and does not say by which buckets")
    elif watch.windows.policy.by_rows:
        _refuse(model, batch, telemetry, "by_rows", "counts cannot be cut into windows of rows")
    elif batch.reference != layout.id:
        text = f"they are by the buckets of the reference {batch.reference[:32]!r}, the service has {layout.id!r}"
        _refuse(model, batch, telemetry, "reference", f"{text}: give both the same file")
    else:
        return True
    return False


def _refuse(model: Model, batch: ObservationBatch, telemetry: Telemetry, kind: str, why: str) -> None:
    telemetry.dropped(("statistics", "observations_refused"), len(batch))
    model.report(f"observed_{kind}", "counts that senders make themselves are left out: %s", why)


def _report(model: Model, news: News, telemetry: Telemetry) -> None:
    telemetry.dropped(("statistics", "observations_fell"), news.fell)
    telemetry.dropped(("statistics", "observations_stale"), news.stale)
    telemetry.dropped(("statistics", "observations_baseline"), news.baseline)
    if news.fell:
        text = "counts of a sender fell without a new start: two processes may have the same service.instance.id"
        model.report("observed_fell", "%s", text)


def _points(model: Model, layout: Layout, batch: ObservationBatch) -> _Points:
    """Return where each point belongs."""
    places, errors, unknown = np.zeros(len(batch), np.int64), [""] * len(batch), set[str]()
    cells = [_cells(column, len(batch)) for column in (batch.roles, batch.names, batch.buckets)]
    for row, (role, name, bucket) in enumerate(zip(*cells, strict=True)):
        if not role:
            places[row], errors[row] = _ROWS + crc32(bucket.encode()), bucket
        elif (place := layout.places.get((role, name, bucket))) is not None:
            places[row] = place
        else:
            places[row] = 2 * _ROWS + crc32(repr((role, name, bucket)).encode())
            unknown.add(f"{name[:40]} {bucket[:40]!r}")
    if unknown:
        text = "senders count what its reference has no bucket for: %s"
        model.report("observed_unknown", text, listed(sorted(unknown), 5))
    return _Points(places, errors)


def _cells(column: Column | None, rows: int) -> list[str]:
    if column is None or column.codes is None:
        return [""] * rows
    categories = (*column.categories, "")  # the last is for code −1
    return [categories[code] for code in column.codes.tolist()]


def _part(
    model: Model, watch: Watch, layout: Layout, points: _Points, at: I64, counts: F64
) -> tuple[Observed, dict[str, float]]:
    """Return the sums of some points, and the predictions among them by type of error."""
    rows: dict[str, float] = {}
    for row in at[points.places[at] >= _ROWS].tolist():
        rows[points.errors[row]] = rows.get(points.errors[row], 0.0) + float(counts[row])
    cells = at[points.places[at] < _ROWS]
    schema = watch.windows.schema
    if schema.positive_class != layout.positive_class:
        of_score = np.array([spec.role == "score" for spec in schema.columns], np.bool_)
        cells = cells[~of_score[layout.columns[points.places[cells]]]]
        model.report(
            "observed_score",
            "senders count scores of the class %r, figures are about %r: counted scores are left out",
            layout.positive_class,
            schema.positive_class,
        )
    part = layout.counted(schema, points.places[cells], counts[cells])
    part.rows[:] = sum(rows.values()), sum(count for error, count in rows.items() if error)
    return part, rows


def _count_predictions(model: Model, watch: Watch, part: Observed, rows: dict[str, float]) -> None:
    """Add predictions to the counter, by class and by type of error."""
    done = rows.pop("", 0.0)
    for name, slot in _classes(watch.reference):
        count = float(part.category_counts[slot])
        model.counter.count(name, "", count)
        done -= count
    model.counter.count("", "", done)
    for error, count in rows.items():
        model.counter.count("", error, count)


def _classes(reference: Reference) -> Iterator[tuple[str, int]]:
    """Yield the predicted classes of a reference with their slots, those that it lacks together."""
    categories = reference.schema.categories
    for column, spec in enumerate(reference.schema.categorical):
        if spec.role == "prediction":
            other, *slots = categories.column_slots(column).tolist()
            yield _OTHER, other
            yield from ((categories.name(slot), slot) for slot in slots)
