"""Judges measurements by rules: each series goes inactive → pending → firing → resolved, in bounded memory.

There is no input or output here: measurements and clocks come in, notices come out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from collector_processor.alerts.notice import Notice, Reason
from collector_processor.alerts.rules import AlertRule
from collector_processor.alerts.series import Book, Group, Series
from collector_processor.alerts.silences import Silence, silenced
from collector_processor.columns.batch import ModelKey
from collector_processor.monitors.attributes import MODEL_KEYS, Attributes, model_attributes
from collector_processor.monitors.base import Measurement
from collector_processor.own.telemetry import Telemetry
from otel_ml import semconv

MORE_NS: Final = 300 * 10**9
"""The shortest time until a firing alert that more series join is sent again: drift spreads window by window."""
FORGET_NS: Final = 7 * 86_400 * 10**9
"""A series without measurements for this long is forgotten, and its alert with it."""
_EVICTED_AT_ONCE: Final = 0.1
GroupKey = tuple[str, ModelKey]


class Engine:
    """The state of all rules. Call :meth:`judge` with measurements of windows, and :meth:`sweep` about once a second.

    ``stale_ns``: how long a breach may go without a measurement before it is over, such as a few windows.
    ``repeat_ns``: a firing alert is sent again after this. At most ``limit`` series are tracked. At the limit, the
    series that do not fire and were judged the longest ago are evicted; if all of them fire, a new one is dropped and
    counted.

    - If two windows of a breach are more than ``stale_ns`` apart, the breach starts over.
    - A series that is no longer measured, or has too few rows to be judged, resolves after ``stale_ns``.
    - The absence of a model's rows counts from its last prediction, not from its last window. A model can only be
      absent after its first window, so a few test predictions do not raise an alarm for days.
    """

    def __init__(
        self,
        rules: Sequence[AlertRule],
        telemetry: Telemetry,
        *,
        silences: Sequence[Silence] = (),
        repeat_ns: int = 4 * 3600 * 10**9,
        stale_ns: int = 300 * 10**9,
        limit: int = 10_000,
    ) -> None:
        self.books = {rule.name: Book.of(rule) for rule in rules}
        self.groups: dict[GroupKey, Group] = {}
        self.orphaned: list[Notice] = []
        """Alerts that had no rule after a restart; the next sweep resolves them."""
        self._passed: list[Notice] = []
        """Notices about windows that newer ones of the same call followed; the next sweep returns them."""
        self._telemetry = telemetry
        self._silences = tuple(silences)
        self._repeat_ns = repeat_ns
        self._stale_ns = stale_ns
        self._limit = limit
        self._full = False
        self._judging: dict[str, list[Book]] = {}
        for book in self.books.values():
            self._judging.setdefault(book.rule.measurement, []).append(book)

    def __len__(self) -> int:
        """Return how many series are tracked."""
        return sum(len(book.series) for book in self.books.values())

    def judge(self, measurements: Sequence[Measurement], now_ns: int) -> None:
        """Judge the measurements of windows, window by window in the order of time.

        A backlog closes many windows at once. What begins and ends within it is reported as if each had come alone.
        """
        windows: dict[int, list[Measurement]] = {}
        for item in measurements:
            if item.name in self._judging or item.name == semconv.WINDOW_ROWS:
                windows.setdefault(item.time_ns, []).append(item)
        for position, time_ns in enumerate(sorted(windows), 1):
            self._judge_windows(windows[time_ns], now_ns)
            if position < len(windows):
                self._passed += self._changes(now_ns, all_groups=False)

    def _judge_windows(self, measurements: Sequence[Measurement], now_ns: int) -> None:
        """Judge windows that ended at the same time."""
        by_name: dict[str, list[Measurement]] = {name: [] for name in (*self._judging, semconv.WINDOW_ROWS)}
        for item in measurements:
            by_name[item.name].append(item)
        rows = {
            (item.attributes, item.time_ns): item.value
            for item in by_name[semconv.WINDOW_ROWS]
            if len(item.attributes) == len(MODEL_KEYS)
        }
        for name, books in self._judging.items():
            for book in books if by_name[name] else ():
                if book.rule.condition == "absent":
                    self._measured(book, by_name[name], now_ns)
                else:
                    self._judged(book, by_name[name], rows, now_ns)

    def sweep(self, arrivals: Mapping[ModelKey, int], now_ns: int) -> list[Notice]:
        """Judge the passing of time, and return every notice to send now.

        ``arrivals`` has all tracked models, with the time of their last prediction by the service's clock.
        """
        self._full = False
        names = {key.name for key in arrivals}
        for book in self.books.values():
            if book.rule.condition == "absent" and book.rule.measurement == semconv.WINDOW_ROWS:
                self._arrived(book, arrivals, now_ns)
            for series in [*book.series.values()]:
                self._age(book, series, arrivals, names, now_ns)
        self._counted(self.orphaned)
        notices = [*self._passed, *self.orphaned, *self._changes(now_ns)]
        self._passed, self.orphaned = [], []
        self._count()
        return notices

    def resumed(self, now_ns: int) -> list[Notice]:
        """Return the alerts that fire and were sent before a restart, for destinations that keep no state."""
        return [
            group.firing_notice([series for series in group.firing.values() if series.notified], "resumed", now_ns)
            for group in self.groups.values()
            if group.notified_ns is not None and any(series.notified for series in group.firing.values())
        ]

    def _judged(
        self, book: Book, items: Iterable[Measurement], rows: Mapping[tuple[Attributes, int], float], now_ns: int
    ) -> None:
        rule, known = book.rule, book.series
        above, threshold, once_above = rule.condition == "above", rule.threshold, rule.once_above
        for item in items:
            breached = item.value > threshold if above else item.value < threshold
            if not breached and not known and once_above is None:
                continue
            attributes = item.attributes
            series = known.get(attributes)
            if series is None:
                armed = breached if once_above is None else item.value > once_above
                if not armed or not rule.matches(attributes):
                    continue
            if rule.min_rows and rows.get((attributes[:2], item.time_ns), 0.0) < rule.min_rows:
                continue
            if series is None:
                series = self._new(book, attributes, item, now_ns)
                if series is None:
                    continue
            self._step(book, series, item, breached, now_ns)

    def _new(self, book: Book, attributes: Attributes, item: Measurement, now_ns: int) -> Series | None:
        """Track a new series and return it; None if there is no room."""
        if not self._has_room():
            return None
        series = Series(attributes, "seen", item.value, item.time_ns, item.time_ns, now_ns)
        book.series[attributes] = series
        return series

    def _step(self, book: Book, series: Series, item: Measurement, breached: bool, now_ns: int) -> None:
        """Advance a series by one window."""
        rule, gap_ns = book.rule, item.time_ns - series.window_ns
        series.value, series.window_ns, series.judged_ns, series.words = item.value, item.time_ns, now_ns, item.words
        series.trace = item.exemplars[0].trace_id if item.exemplars else ""
        if series.status == "firing":
            if rule.cleared(item.value):
                self._end(book, series, "over")
            return
        if not breached:
            self._calm(book, series)
            return
        if series.status == "seen" or gap_ns > self._stale_ns or gap_ns < 0:
            series.status, series.since_ns = "pending", item.time_ns
        if item.time_ns - series.since_ns >= rule.hold_ns:
            self._fire(book, series, now_ns)

    def _calm(self, book: Book, series: Series) -> None:
        """Return a series to normal; track it further only if the rule needs that later."""
        if book.rule.once_above is not None or book.rule.condition == "absent":
            series.status, series.notified = "seen", False
        else:
            del book.series[series.attributes]

    def _fire(self, book: Book, series: Series, now_ns: int) -> None:
        series.status, series.notified = "firing", False
        key = book.rule.name, series.model()
        group = self.groups.get(key)
        if group is None:
            group = self.groups[key] = Group(book.rule, key[1], now_ns)
        elif group.notified_ns is None and not group.firing:
            group.started_ns = now_ns
        group.firing[series.attributes] = series
        group.changed = True

    def _end(self, book: Book, series: Series, reason: Reason) -> None:
        """End the firing of a series."""
        group = self.groups[book.rule.name, series.model()]
        del group.firing[series.attributes]
        group.changed, group.ended = True, reason
        self._calm(book, series)

    def _drop(self, book: Book, series: Series, reason: Reason) -> None:
        """Forget a series, whatever its state."""
        if series.status == "firing":
            self._end(book, series, reason)
        book.series.pop(series.attributes, None)

    # --- absence -------------------------------------------------------------------------------------------------

    def _measured(self, book: Book, items: Iterable[Measurement], now_ns: int) -> None:
        """Record measurements that arrived. From its first window on a model can be absent: see :meth:`_arrived`."""
        of_rows = book.rule.measurement == semconv.WINDOW_ROWS
        for item in items:
            if not book.rule.matches(item.attributes):
                continue
            watched = _watched(book, item.attributes)
            if of_rows and len(item.attributes) == len(MODEL_KEYS) and (watched in book.series or not item.value):
                continue
            self._present(book, watched, now_ns, item.time_ns)

    def _arrived(self, book: Book, arrivals: Mapping[ModelKey, int], now_ns: int) -> None:
        """Record predictions that arrived."""
        newest = dict.fromkeys(book.expected, 0)
        for attributes in book.expected - book.series.keys():
            self._present(book, attributes, now_ns, now_ns)
        for key, seen_ns in arrivals.items():
            attributes = model_attributes(key)
            if book.rule.matches(attributes):
                watched = _watched(book, attributes)
                if watched in book.series:
                    newest[watched] = max(newest.get(watched, seen_ns), seen_ns)
        for attributes, seen_ns in newest.items():
            self._present(book, attributes, min(seen_ns, now_ns), seen_ns)

    def _present(self, book: Book, attributes: Attributes, arrived_ns: int, window_ns: int) -> None:
        series = book.series.get(attributes)
        if series is None:
            if self._has_room():
                book.series[attributes] = Series(attributes, "seen", 0.0, window_ns, window_ns, arrived_ns)
            return
        if arrived_ns <= series.judged_ns:
            return
        series.judged_ns, series.window_ns = arrived_ns, window_ns
        if series.status == "firing":
            self._end(book, series, "over")

    # --- time ----------------------------------------------------------------------------------------------------

    def _age(self, book: Book, series: Series, arrivals: Mapping[ModelKey, int], names: set[str], now_ns: int) -> None:
        """Judge a series by the clock alone."""
        model = series.model()
        lives = model.name in names if book.rule.condition == "absent" and not book.by_version else model in arrivals
        lives = lives or series.attributes in book.expected
        silent_ns = now_ns - series.judged_ns
        if not lives:
            self._drop(book, series, "forgotten")
        elif silent_ns > FORGET_NS and series.attributes not in book.expected:
            self._drop(book, series, "not_measured")
        elif book.rule.condition == "absent":
            if series.status == "seen" and silent_ns > book.rule.absent_ns + book.rule.hold_ns:
                self._fire(book, series, now_ns)
        elif silent_ns > self._stale_ns:
            if series.status == "firing":
                self._end(book, series, "not_measured")
            elif series.status == "pending":
                self._calm(book, series)

    def _has_room(self) -> bool:
        """Return whether one more series can be tracked, after evicting others if needed."""
        if self._full:
            self._telemetry.dropped(("alerts", "limit"), 1)
            return False
        if len(self) < self._limit:
            return True
        idle = [(series.judged_ns, book, series) for book in self.books.values() for series in book.series.values()]
        idle = [entry for entry in idle if entry[2].status != "firing"]
        idle.sort(key=lambda entry: entry[0])
        idle = idle[: max(1, int(self._limit * _EVICTED_AT_ONCE))]
        for _, book, series in idle:
            del book.series[series.attributes]
        self._telemetry.evicted("alert_series", "limit", len(idle))
        # In a flood of new series, a search for each would cost too much: the next sweep tries again.
        self._full = not idle
        if self._full:
            self._telemetry.dropped(("alerts", "limit"), 1)
        return not self._full

    # --- notices ---------------------------------------------------------------------------------------------------

    def _changes(self, now_ns: int, *, all_groups: bool = True) -> list[Notice]:
        """Return the notices to send now, of all groups or only of those that changed."""
        in_force = [silence for silence in self._silences if silence.holds(now_ns)]
        notices: list[Notice] = []
        for key, group in [*self.groups.items()]:
            if all_groups or group.changed:
                notices += self._notices(group, in_force, now_ns)
            if not group.firing and group.notified_ns is None:
                del self.groups[key]
        self._counted(notices)
        return notices

    def _counted(self, notices: Iterable[Notice]) -> None:
        """Count the alerts that began or ended."""
        for notice in notices:
            if notice.reason == "new" or notice.state == "resolved":
                self._telemetry.alerts.labels(notice.rule.name, notice.rule.severity, notice.state).inc()

    def _notices(self, group: Group, silences: Sequence[Silence], now_ns: int) -> Iterable[Notice]:
        """Yield the notice to send about a group now, if there is one."""
        since_ns = None if group.notified_ns is None else now_ns - group.notified_ns
        due = since_ns is not None and (since_ns >= self._repeat_ns or since_ns < 0)
        if not group.changed and not due and not self._silences:
            return
        active = [
            series
            for series in group.firing.values()
            if not silences or not silenced(silences, group.rule.name, series.attributes)
        ]
        group.changed = False
        if not active:
            if group.notified_ns is not None:
                yield group.resolved_notice("silenced" if group.firing else group.ended, now_ns)
                group.notified_ns = None
                for series in group.firing.values():
                    series.notified = False
            return
        if since_ns is None:
            yield group.firing_notice(active, "new", now_ns)
        elif due:
            yield group.firing_notice(active, "repeat", now_ns)
        elif len(active) == group.last[1] and all(series.notified for series in active):
            return
        elif now_ns - group.updated_ns < MORE_NS:
            group.changed = True  # checked again until it may be sent
            return
        elif all(series.notified for series in active):
            yield group.firing_notice(active, "fewer", now_ns)
            group.updated_ns = now_ns
            return
        else:
            yield group.firing_notice(active, "more", now_ns)
        group.notified_ns = group.updated_ns = now_ns

    def _count(self) -> None:
        """Set the gauge of alerts that fire and are not silenced."""
        counts = dict.fromkeys(self.books, 0)
        for group in self.groups.values():
            if group.notified_ns is not None:
                counts[group.rule.name] += 1
        for name, count in counts.items():
            self._telemetry.alerts_firing.labels(name, self.books[name].rule.severity).set(count)


def _watched(book: Book, attributes: Attributes) -> Attributes:
    """Return the series whose absence counts: all versions of a model together, unless the rule names a version."""
    if book.by_version:
        return attributes
    return tuple(pair for pair in attributes if pair[0] != semconv.MODEL_VERSION)
