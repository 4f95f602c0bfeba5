"""Windows of time: a row goes into the pane of its event time, and the watermark closes panes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

import numpy as np

from collector_processor.columns.batch import PredictionBatch
from collector_processor.statistics.outcome_batch import OutcomeBatch
from collector_processor.statistics.outcomes import accumulate_outcomes
from collector_processor.statistics.parts.observed import Observed
from collector_processor.window.closed import ClosedPane, Window
from collector_processor.window.compact_panes import Array
from collector_processor.window.line import Json, WindowedModel, add_rows, by_pane, integer, integer_or_none, integers
from collector_processor.window.panes import Panes
from collector_processor.window.policy import MAX_PANES
from collector_processor.window.watermark import Watermark, believed

_LOWEST: Final = int(np.iinfo(np.int64).min)
_HIGHEST: Final = int(np.iinfo(np.int64).max)


class TimedWindows:
    """Windows whose pane ``i`` holds the times from ``i · every`` to ``(i + 1) · every``; see :class:`.ModelWindows`.

    ``boundary`` is the first pane that is not closed. The lowest pane that still takes rows is the boundary, or the
    last of ``policy.open_panes`` counted back from the newest, whichever is higher.
    """

    def __init__(self, model: WindowedModel) -> None:
        self._model = model
        self._every = model.policy.every_ns
        self.panes = Panes(model.schema)
        self.watermark = Watermark(model.policy.allowed_lateness_ns)
        self._boundary: int | None = None
        self._newest: int | None = None
        self._trailing = False
        """Whether the last window had content, so that one more window follows."""

    @property
    def not_before_ns(self) -> int | None:
        """Start of the lowest pane that takes rows, or None before the first rows."""
        floor = self._floor()
        return None if floor is None else floor * self._every

    @property
    def not_after_ns(self) -> int | None:
        """The latest time in the highest pane that takes outcomes, or None before the first rows."""
        floor = self._floor()
        return None if floor is None else (self._ceiling(floor) + 1) * self._every - 1

    def _ceiling(self, floor: int) -> int:
        return min(floor + self._model.policy.open_panes - 1, _HIGHEST)

    def _floor(self) -> int | None:
        return self._boundary if self._newest is None else self._lowest(self._newest)

    def _lowest(self, newest: int) -> int:
        """Return the lowest pane that takes rows when the newest row is in pane ``newest``."""
        lowest = max(newest - self._model.policy.open_panes + 1, _LOWEST)
        return lowest if self._boundary is None else max(lowest, self._boundary)

    def add(self, batch: PredictionBatch, now_ns: int) -> int:
        """Add rows and return how many were late."""
        policy, telemetry = self._model.policy, self._model.telemetry
        times, clamped = believed(batch.time_ns, now_ns, policy.max_clock_ahead_ns)
        telemetry.clamped("window", "clock_ahead", clamped)
        numbers = times // self._every
        newest = int(numbers.max())
        self._newest = newest if self._newest is None else max(newest, self._newest)
        late = numbers < self._lowest(self._newest)
        count = int(np.count_nonzero(late))
        if count:
            telemetry.dropped(("window", "late"), count)
            batch, numbers, times = batch.take(~late), numbers[~late], times[~late]
        if not len(batch):
            return count
        self.watermark.observe(int(times.max()), now_ns)
        for number, rows in by_pane(numbers):
            add_rows(self._model, self.panes, number, batch if rows is None else batch.take(rows))
        self._evict()
        return count

    def add_observed(self, part: Observed, time_ns: int, now_ns: int) -> int:
        """Add what a sender counted until ``time_ns``; return how many rows were late."""
        policy, telemetry = self._model.policy, self._model.telemetry
        times, clamped = believed(np.array([time_ns]), now_ns, policy.max_clock_ahead_ns)
        telemetry.clamped("window", "clock_ahead", clamped)
        # Counts are of the time before: those of a whole pane come at its end.
        number = (int(times[0]) - 1) // self._every
        self._newest = number if self._newest is None else max(number, self._newest)
        if number < self._lowest(self._newest):
            late = int(part.rows[0])
            telemetry.dropped(("window", "late"), late)
            return late
        self.watermark.observe(int(times[0]), now_ns)
        self.panes.to_add(number).further[Observed].add(part)
        self._evict()
        return 0

    def _evict(self) -> None:
        """Evict the oldest panes that wait to be closed if :meth:`close` is never called."""
        limit = max(MAX_PANES, 2 * self._model.policy.open_panes)
        while self.panes.open_count > limit:
            rows = self.panes.discard(self.panes.open[0])
            self._model.telemetry.evicted("panes", "limit", rows)

    def add_outcomes(self, outcomes: OutcomeBatch) -> None:
        """Add outcomes of predictions; see :meth:`.ModelWindows.add_outcomes`."""
        numbers = outcomes.time_ns // self._every
        floor = self._floor()
        if floor is not None:
            joined = outcomes.weights >= 0
            numbers[joined] = np.clip(numbers[joined], floor, self._ceiling(floor))
        lost = 0
        for number, rows in by_pane(numbers):
            part = outcomes if rows is None else outcomes.take(rows)
            if self.panes.is_closed(number):
                pane = self.panes.to_amend(number)
                accumulate_outcomes(pane, self._model.schema, part)
                self.panes.amend(number, pane)
                continue
            if not self.panes.is_open(number):
                kept = part.weights >= 0
                lost += len(kept) - int(np.count_nonzero(kept))
                part = part.take(kept)
            if len(part.time_ns):
                accumulate_outcomes(self.panes.to_add(number), self._model.schema, part)
        self._model.telemetry.dropped(("window", "retraction_expired"), lost)
        self._evict()

    def close(self, now_ns: int) -> Iterator[Window]:
        """Yield the windows that are ready to close, each closed as it is yielded."""
        mark = self.watermark.at(now_ns)
        if mark is None:
            return
        target = mark // self._every
        while (number := self._next_due(target)) is not None:
            yield self._closed_at(number)

    def _next_due(self, target: int) -> int | None:
        """Return the next pane below ``target`` that ends a window; skip spans without any."""
        boundary = self._boundary
        if boundary is not None and boundary >= target:
            return None
        if boundary is not None and self._trailing:
            return boundary
        waiting = self.panes.open
        if waiting and waiting[0] < target:
            return waiting[0]
        self._boundary = target
        return None

    def _closed_at(self, number: int) -> Window:
        """Close a pane and return the window that ends with it."""
        first = number - self._model.policy.panes + 1
        self.panes.close(number)
        self.panes.forget_before(first)
        self._boundary = number + 1
        self._trailing = bool(self.panes.closed)
        closed = self.panes.closed_pane(number)
        newest = None if closed is None else ClosedPane(number * self._every, closed)
        start_ns, end_ns = first * self._every, (number + 1) * self._every
        pane = self.panes.total(first, number)
        self.panes.forget_before(first + 1)
        return Window(self._model.key, start_ns, end_ns, self._model.schema, pane, newest)

    def state(self) -> dict[str, Json]:
        """Return the state as JSON, without the vectors."""
        return {
            "pane_ns": self._every,
            "boundary": self._boundary,
            "newest": self._newest,
            "trailing": self._trailing,
            "newest_event_ns": self.watermark.newest_event_ns,
            "reached_ns": self.watermark.reached_ns,
            "open": [*self.panes.open],
            "closed": [*self.panes.closed],
        }

    @classmethod
    def from_state(
        cls, model: WindowedModel, state: Mapping[str, Json], arrays: Mapping[str, Array], now_ns: int
    ) -> TimedWindows:
        """Rebuild the windows from :meth:`state` and the panes' arrays; raise ``ValueError`` if these do not fit."""
        if state.get("pane_ns") != model.policy.every_ns:
            raise ValueError("the saved panes have a different width: window.every was changed")
        windows = cls(model)
        windows._boundary, windows._newest = integer_or_none(state, "boundary"), integer_or_none(state, "newest")
        windows._trailing = bool(integer(state, "trailing"))
        windows.watermark = Watermark.resumed(
            model.policy.allowed_lateness_ns,
            integer_or_none(state, "newest_event_ns"),
            integer_or_none(state, "reached_ns"),
            now_ns,
        )
        windows.panes = Panes.from_arrays(model.schema, integers(state, "open"), integers(state, "closed"), arrays)
        return windows
