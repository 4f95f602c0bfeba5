"""The watermark: the event time up to which rows are considered complete. All rules about time are in this file."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from collector_processor.columns.batch import I64


@dataclass(slots=True)
class Watermark:
    """The watermark of one model; nanoseconds, as exact Python integers.

    The watermark is the newest event time minus the allowed lateness. When no row came for longer than the allowed
    lateness (by the service's clock), it advances with that clock, so that windows close when traffic stops. It never
    moves back, whatever event times or the clock do. If the clock is set back, no time has passed.

    >>> watermark = Watermark(allowed_lateness_ns=10)
    >>> watermark.at(now_ns=5000) is None  # nothing came yet
    True
    >>> watermark.observe(event_ns=100, now_ns=5000)
    >>> watermark.at(5010), watermark.at(5011), watermark.at(5020)  # the traffic has stopped
    (90, 101, 110)
    """

    allowed_lateness_ns: int
    newest_event_ns: int | None = None
    arrived_ns: int = 0
    reached_ns: int | None = None

    def observe(self, event_ns: int, now_ns: int) -> None:
        """Record the newest event time of counted rows, and when they came."""
        self.arrived_ns = now_ns
        if self.newest_event_ns is None or event_ns > self.newest_event_ns:
            self.newest_event_ns = event_ns

    def at(self, now_ns: int) -> int | None:
        """Return the watermark now, or None before the first rows."""
        if self.newest_event_ns is None:
            return None
        self.arrived_ns = min(self.arrived_ns, now_ns)
        idle_ns = now_ns - self.arrived_ns
        reached = self.newest_event_ns - self.allowed_lateness_ns
        if idle_ns > self.allowed_lateness_ns:
            reached += idle_ns
        if self.reached_ns is None or reached > self.reached_ns:
            self.reached_ns = reached
        return self.reached_ns

    @classmethod
    def resumed(
        cls, allowed_lateness_ns: int, newest_event_ns: int | None, reached_ns: int | None, now_ns: int
    ) -> Watermark:
        """Return the watermark after a restart.

        The time that the service was down does not count as a lack of traffic: senders get the allowed lateness from
        ``now_ns`` on to send what they have kept.
        """
        return cls(allowed_lateness_ns, newest_event_ns, now_ns, reached_ns)


def believed(time_ns: I64, now_ns: int, max_ahead_ns: int) -> tuple[I64, int]:
    """Return event times int64 ``[n]``, those too far ahead of the clock set to the arrival, and how many those were.

    >>> believed(np.array([5, 200, 111]), now_ns=100, max_ahead_ns=10)
    (array([  5, 100, 100]), 2)
    """
    ahead = time_ns > min(now_ns + max_ahead_ns, np.iinfo(np.int64).max)
    count = int(np.count_nonzero(ahead))
    return (np.where(ahead, np.int64(now_ns), time_ns), count) if count else (time_ns, 0)
