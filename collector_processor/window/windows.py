"""The windows of one model version: rows and outcomes in, finished windows out, everything saved and restored."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

import numpy as np

from collector_processor.columns.batch import ModelKey, PredictionBatch
from collector_processor.own.telemetry import Telemetry
from collector_processor.statistics.outcome_batch import OutcomeBatch
from collector_processor.statistics.parts.observed import Observed
from collector_processor.statistics.schema import Schema
from collector_processor.window.closed import Window
from collector_processor.window.compact_panes import Array
from collector_processor.window.counted import CountedWindows
from collector_processor.window.line import Json, Line, WindowedModel
from collector_processor.window.policy import WindowPolicy
from collector_processor.window.timed import TimedWindows

WINDOW_BYTES: Final = 256 * 2**20
"""About how many bytes of windows one call of :meth:`ModelWindows.close` may return."""


class ModelWindows:
    """Cuts one model's traffic into panes and sums them into windows, as its :class:`.WindowPolicy` defines.

    Not thread-safe. ``schema`` belongs to the windows: its tables grow with new categories.

    The number of panes is bounded: counted back from the newest event time, at most ``policy.open_panes`` take
    rows, and what is older is late. A closed pane stays, compact, as long as a window needs it. All times are Unix
    nanoseconds; negative ones (before 1970) are valid.

    Counted: ``otel_ml_dropped{stage="window"}`` with reason ``late`` and ``retraction_expired``;
    ``otel_ml_clamped{stage="window", reason="clock_ahead"}``; ``otel_ml_evicted{store="panes"}`` when :meth:`close` is
    not called for ten thousand panes.
    """

    def __init__(self, key: ModelKey, schema: Schema, policy: WindowPolicy, telemetry: Telemetry) -> None:
        model = WindowedModel(key, schema, policy, telemetry)
        self.key = key
        self.schema = schema
        self.policy = policy
        self._line: Line = CountedWindows(model) if policy.by_rows else TimedWindows(model)

    @property
    def not_before_ns(self) -> int:
        """Start of the earliest pane that still takes rows; the smallest int64 before the first rows."""
        start = self._line.not_before_ns
        lowest = int(np.iinfo(np.int64).min)
        return lowest if start is None else max(start, lowest)

    @property
    def not_after_ns(self) -> int:
        """The latest time that an outcome can have; the largest int64 before the first rows."""
        latest = self._line.not_after_ns
        highest = int(np.iinfo(np.int64).max)
        return highest if latest is None else min(latest, highest)

    @property
    def filled(self) -> tuple[int, int] | None:
        """Rows in the current pane and rows that close it; None for windows of time."""
        return (self._line.filled, self.policy.pane_rows) if isinstance(self._line, CountedWindows) else None

    @property
    def nbytes(self) -> int:
        """Bytes that all panes hold."""
        return self._line.panes.nbytes

    def add(self, batch: PredictionBatch, now_ns: int) -> int:
        """Add predictions that arrived at ``now_ns`` to the panes of their event times; return how many were late.

        A row is late if its pane is closed or too old to be opened; late rows are counted and left out.
        """
        return self._line.add(batch, now_ns) if len(batch) else 0

    def add_observed(self, part: Observed, time_ns: int, now_ns: int) -> int:
        """Add what a sender counted until ``time_ns`` to the pane of that time; return how many rows were late.

        Windows of rows take none, because counts cannot be cut.
        """
        return self._line.add_observed(part, time_ns, now_ns) if isinstance(self._line, TimedWindows) else 0

    def add_outcomes(self, outcomes: OutcomeBatch) -> None:
        """Add outcomes of predictions.

        In windows of time, an outcome goes into the pane of its time, or into the nearest open one; in windows of rows,
        into the current pane. A retraction (negative weight) goes into the pane of its time, even if that is closed; if
        no window needs that pane anymore, the retraction is dropped and counted. Give a retraction the time that the
        outcome had, not earlier than :attr:`not_before_ns` was then, and not later than :attr:`not_after_ns`.
        """
        if len(outcomes):
            self._line.add_outcomes(outcomes)

    def close(self, now_ns: int, limit_bytes: int = WINDOW_BYTES) -> list[Window]:
        """Return the windows that are ready to close at ``now_ns``, oldest first, each the sum of its panes.

        Returns at most about ``limit_bytes``, and at least one window if any is ready: call again for the rest. After
        traffic stops, windows continue to close until the last row has left them; the last one is empty, and no window
        closes after it until traffic resumes.
        """
        windows: list[Window] = []
        size = 0
        for window in self._line.close(now_ns):
            windows.append(window)
            size += sum(values.nbytes for values in window.pane.arrays().values())
            if size >= limit_bytes:
                break
        return windows

    def forget(self, names: Collection[str]) -> None:
        """Set arrays of all panes, by dotted name, to zero."""
        self._line.panes.clear(names)

    def arrays(self) -> dict[str, Array]:
        """Return the vectors of all panes for a snapshot, closing none. Arrays may share memory with the panes."""
        return self._line.panes.arrays()

    def state(self) -> dict[str, Json]:
        """Return the rest of a snapshot as JSON: watermark, boundaries and the panes' numbers."""
        return self._line.state()

    @classmethod
    def from_state(
        cls,
        key: ModelKey,
        schema: Schema,
        policy: WindowPolicy,
        telemetry: Telemetry,
        state: Mapping[str, Json],
        arrays: Mapping[str, Array],
        now_ns: int,
    ) -> ModelWindows:
        """Rebuild the windows from :meth:`state` and :meth:`arrays`, with the schema that they had then.

        Raises ``ValueError`` if the snapshot does not fit: another reference, or panes of another width. The size of a
        window and the allowed lateness may have changed. The time that the service was down does not count as a lack
        of traffic.
        """
        windows = cls(key, schema, policy, telemetry)
        model = WindowedModel(key, schema, policy, telemetry)
        try:
            if policy.by_rows:
                windows._line = CountedWindows.from_state(model, state, arrays)
            else:
                windows._line = TimedWindows.from_state(model, state, arrays, now_ns)
        except (KeyError, ValueError) as error:
            raise ValueError(f"model '{key}': {error}") from error
        return windows
