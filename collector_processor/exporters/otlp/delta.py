"""Counters as increases: what has been added since the destination last accepted a point of the series."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from collector_processor.monitors.base import Measurement
from collector_processor.own.telemetry import Telemetry

SERIES_LIMIT: Final = 100_000
"""The maximum number of tracked series; new ones beyond it are dropped and counted."""
Series = tuple[str, tuple[tuple[str, str], ...]]


@dataclass(frozen=True, slots=True)
class Total:
    """One point of a series as a running total."""

    value: float
    start_ns: int
    time_ns: int


class Deltas:
    """Turns running totals into increases; if a delivery fails, the next point includes its increase.

    >>> deltas = Deltas(Telemetry())
    >>> total = Measurement("ml.predictions", 5.0, "{prediction}", (), time_ns=60, kind="counter", start_ns=10)
    >>> (first,), totals = deltas.of([total])
    >>> deltas.delivered(totals)
    >>> (second,), totals = deltas.of([replace(total, value=7.0, time_ns=120)])  # was not delivered
    >>> (third,), totals = deltas.of([replace(total, value=8.0, time_ns=180)])
    >>> [(point.value, point.start_ns, point.time_ns) for point in (first, second, third)]
    [(5.0, 10, 60), (2.0, 60, 120), (3.0, 60, 180)]
    """

    def __init__(self, telemetry: Telemetry, limit: int = SERIES_LIMIT) -> None:
        self._telemetry = telemetry
        self._limit = limit
        self._last: dict[Series, Total] = {}

    def of(self, measurements: Sequence[Measurement]) -> tuple[list[Measurement], Mapping[Series, Total]]:
        """Return the measurements with counters as increases, and the totals for :meth:`delivered` once they arrived.

        Points that are not newer than the last one of their series are left out; the next one includes them.
        """
        totals: dict[Series, Total] = {}
        points: list[Measurement] = []
        over_limit = 0
        for item in measurements:
            if item.kind != "counter":
                points.append(item)
                continue
            series = (item.name, item.attributes)
            last = totals.get(series) or self._last.get(series)
            if last is None and len(self._last) + len(totals) >= self._limit:
                over_limit += 1
                continue
            continues = last is not None and last.start_ns == item.start_ns and last.value <= item.value
            if last is not None and continues and item.time_ns <= last.time_ns:
                continue
            totals[series] = Total(item.value, item.start_ns, item.time_ns)
            if last is not None and continues:
                points.append(replace(item, value=item.value - last.value, start_ns=last.time_ns))
            else:
                points.append(item)
        self._telemetry.dropped(("export", "delta_series_limit"), over_limit)
        return points, totals

    def delivered(self, totals: Mapping[Series, Total]) -> None:
        """Record that the destination has these totals."""
        self._last.update(totals)
