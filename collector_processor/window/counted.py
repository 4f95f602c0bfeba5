"""Windows of rows: each pane has a fixed number of rows in order of arrival, whatever their time."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping

import numpy as np

from collector_processor.columns.batch import PredictionBatch
from collector_processor.statistics.outcome_batch import OutcomeBatch
from collector_processor.statistics.outcomes import accumulate_outcomes
from collector_processor.window.closed import ClosedPane, Window
from collector_processor.window.compact_panes import Array
from collector_processor.window.line import Json, WindowedModel, add_rows, by_pane, integer, integers
from collector_processor.window.panes import Panes
from collector_processor.window.watermark import believed


class CountedWindows:
    """Windows whose pane ``i`` holds the rows from ``i · every_rows`` on; see :class:`.ModelWindows`.

    Each pane covers the time from the end of the one before to just after its newest event, and ends at least 1 ns
    later than it begins, so that windows follow each other in time although rows come in any order.
    """

    def __init__(self, model: WindowedModel) -> None:
        self._model = model
        self.panes = Panes(model.schema)
        self._current = 0
        self._filled = 0
        self._span: tuple[int, int] | None = None
        """Start and newest event of the current pane. The first pane starts with its oldest event, each other one where
        the pane before it ends."""
        self._believed_ns: int | None = None
        """The latest event time that is believed, as of the last rows."""
        self._starts: list[int] = []
        self._ends: list[int] = []
        """Starts and ends of the closed panes still in memory, the last of which is ``_current - 1``."""
        self._ready: deque[int] = deque()

    @property
    def filled(self) -> int:
        """Rows in the current pane."""
        return self._filled

    @property
    def not_before_ns(self) -> int | None:
        """Start of the current pane, or None before the first row."""
        return None if self._span is None else self._span[0]

    @property
    def not_after_ns(self) -> int | None:
        """The latest time that is believed, or None before the first row since a restart."""
        return None if self._believed_ns is None or self._span is None else max(self._believed_ns, self._span[0])

    def add(self, batch: PredictionBatch, now_ns: int) -> int:
        """Add rows, split where a pane is full; return 0, because no row is ever late."""
        model = self._model
        times, clamped = believed(batch.time_ns, now_ns, model.policy.max_clock_ahead_ns)
        model.telemetry.clamped("window", "clock_ahead", clamped)
        self._believed_ns = min(now_ns + model.policy.max_clock_ahead_ns, int(np.iinfo(np.int64).max) - 1)
        begin = 0
        while begin < len(batch):
            end = min(begin + model.policy.pane_rows - self._filled, len(batch))
            whole = begin == 0 and end == len(batch)
            add_rows(model, self.panes, self._current, batch if whole else batch.take(slice(begin, end)))
            start, newest = self._saw(int(times[begin:end].min()), int(times[begin:end].max()))
            self._filled += end - begin
            begin = end
            if self._filled == model.policy.pane_rows:
                self._turn(start, max(start, newest) + 1)
        return 0

    def _saw(self, oldest_ns: int, newest_ns: int) -> tuple[int, int]:
        """Widen the current pane's span, and return it."""
        if self._span is None:
            self._span = (oldest_ns, newest_ns)
        else:
            start, newest = self._span
            self._span = (start if self._current else min(start, oldest_ns), max(newest, newest_ns))
        return self._span

    def _turn(self, start_ns: int, end_ns: int) -> None:
        """Close the full pane and begin the next."""
        self.panes.close(self._current)
        self._starts.append(start_ns)
        self._ends.append(end_ns)
        self._ready.append(self._current)
        self._current += 1
        self._filled = 0
        self._span = (end_ns, end_ns)

    def add_outcomes(self, outcomes: OutcomeBatch) -> None:
        """Add labels to the current pane; take retracted ones out of the pane of their time, if it is in memory."""
        if not len(outcomes.time_ns):
            return
        joined = outcomes.weights >= 0
        oldest = self._current - len(self._ends)
        of_time = oldest + np.searchsorted(np.array(self._ends, np.int64), outcomes.time_ns, side="right")
        numbers = np.where(joined, self._current, of_time)
        expired = ~joined & (outcomes.time_ns < self._oldest_ns())
        self._model.telemetry.dropped(("window", "retraction_expired"), int(np.count_nonzero(expired)))
        if expired.any():
            outcomes, numbers, joined = outcomes.take(~expired), numbers[~expired], joined[~expired]
        if joined.any():
            # No rows since a restart: there is no clock to compare with, so all labels are believed.
            latest = np.iinfo(np.int64).max - 1 if self._believed_ns is None else self._believed_ns
            times = np.minimum(outcomes.time_ns[joined], latest)
            self._saw(int(times.min()), int(times.max()))
        for number, rows in by_pane(numbers):
            part = outcomes if rows is None else outcomes.take(rows)
            pane = self.panes.to_amend(number) if self.panes.is_closed(number) else self.panes.to_add(number)
            accumulate_outcomes(pane, self._model.schema, part)
            if self.panes.is_closed(number):
                self.panes.amend(number, pane)

    def _oldest_ns(self) -> int:
        """Return the start of the oldest pane still in memory."""
        if self._starts:
            return self._starts[0]
        return self._span[0] if self._span is not None and self._current else int(np.iinfo(np.int64).min)

    def close(self, now_ns: int) -> Iterator[Window]:
        """Yield the windows that are full, each closed as it is yielded; time closes none."""
        while self._ready:
            yield self._window(self._ready.popleft())

    def _window(self, last: int) -> Window:
        """Return the window that ends with a pane; forget the panes that no later window needs."""
        size = self._model.policy.panes
        oldest = self._current - len(self._ends)
        first = max(last - size + 1, oldest)
        pane = self.panes.total(first, last)
        start_ns, end_ns = self._starts[first - oldest], self._ends[last - oldest]
        closed = self.panes.closed_pane(last)
        newest = None if closed is None else ClosedPane(self._starts[last - oldest], closed)
        gone = max(last - size + 2 - oldest, 0)
        self.panes.forget_before(oldest + gone)
        del self._starts[:gone], self._ends[:gone]
        return Window(self._model.key, start_ns, end_ns, self._model.schema, pane, newest)

    def state(self) -> dict[str, Json]:
        """Return the state as JSON, without the vectors."""
        return {
            "pane_rows": self._model.policy.pane_rows,
            "current": self._current,
            "filled": self._filled,
            "span": None if self._span is None else [*self._span],
            "starts": [*self._starts],
            "ends": [*self._ends],
            "ready": [*self._ready],
            "open": [*self.panes.open],
            "closed": [*self.panes.closed],
        }

    @classmethod
    def from_state(cls, model: WindowedModel, state: Mapping[str, Json], arrays: Mapping[str, Array]) -> CountedWindows:
        """Rebuild the windows from :meth:`state` and the panes' arrays; raise ``ValueError`` if these do not fit."""
        if state.get("pane_rows") != model.policy.pane_rows:
            raise ValueError("the saved panes have a different number of rows: window.every was changed")
        windows = cls(model)
        windows._current, windows._filled = integer(state, "current"), integer(state, "filled")
        if state.get("span") is not None:
            start_ns, newest_ns = integers(state, "span")
            windows._span = (start_ns, newest_ns)
        windows._starts, windows._ends = integers(state, "starts"), integers(state, "ends")
        windows._ready = deque(integers(state, "ready"))
        windows.panes = Panes.from_arrays(model.schema, integers(state, "open"), integers(state, "closed"), arrays)
        return windows
