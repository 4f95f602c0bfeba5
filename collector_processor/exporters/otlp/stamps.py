"""The time of a gauge is when its window was closed, so that a query for the present includes it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

from collector_processor.monitors.base import Measurement

Timestamps = Literal["emitted", "window_end"]
STEP_NS: Final = 1_000_000
"""Windows that close at the same moment differ by this much: the resolution of Prometheus."""


class EmissionStamps:
    """Gives gauges the time of their emission instead of the end of their window; one object for each destination.

    A window closes ``allowed_lateness`` after its end. Prometheus looks back five minutes, and Datadog rejects values
    older than an hour. Stamped with the end of the window, values would be too late for both, and alerts would miss
    them. The stamps of one destination always increase from window to window, even if the clock goes back. Counters
    keep their time, which is the present.
    """

    def __init__(self) -> None:
        self._last_ns = 0

    def stamped(self, measurements: Sequence[Measurement], now_ns: int) -> list[Measurement]:
        """Return the measurements with new times: now for the newest window, one millisecond less for each before it.

        >>> two = [Measurement("m", 1.0, "1", (), end_ns) for end_ns in (60, 120)]
        >>> [item.time_ns for item in EmissionStamps().stamped(two, 10**12)]
        [999999000000, 1000000000000]
        """
        ends_ns = sorted({item.time_ns for item in measurements if item.kind == "gauge"})
        if not ends_ns:
            return list(measurements)
        newest_ns = max(now_ns, self._last_ns + len(ends_ns) * STEP_NS)
        self._last_ns = newest_ns
        first_ns = newest_ns - (len(ends_ns) - 1) * STEP_NS
        stamps = {end_ns: first_ns + rank * STEP_NS for rank, end_ns in enumerate(ends_ns)}
        return [
            Measurement(
                item.name, item.value, item.unit, item.attributes, stamps[item.time_ns], exemplars=item.exemplars
            )
            if item.kind == "gauge"
            else item
            for item in measurements
        ]
