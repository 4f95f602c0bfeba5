"""The newest state of every alert, for a destination that gets states regularly, not messages."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from collector_processor.alerts.notice import Notice
from collector_processor.exporters.delivery.retry import Delivery
from collector_processor.own.telemetry import Telemetry

KEPT_S: Final = 900.0
"""How long a resolved alert is resent, for an Alertmanager that was unreachable when it resolved."""
PART: Final = 256
"""Alerts in one request."""
LIMIT: Final = 20_000
_Key = tuple[str, str, str]
_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Alert:
    """The newest state of one alert; ``counted`` is whether the outcome of its first delivery has been counted.

    ``ending`` is the end of an alert that Alertmanager has not had as firing for long enough.
    """

    notice: Notice
    counted: bool = False
    sent_at: float | None = None
    """When it was first delivered, on the monotonic clock."""
    ending: Notice | None = None


@dataclass(slots=True)
class Round:
    """One request. Its alerts are chosen at each try, so that a retry has the newest state."""

    waiting: Sequence[Alert] = ()

    @property
    def alerts(self) -> Sequence[Alert]:
        """The alerts of the request."""
        return self.waiting[:PART]


class AlertMailbox:
    """A :class:`.Source` of rounds: an alert is queued when its state changes, and all are queued every ``resend_s``.

    So a failed try loses nothing: the alerts of a round that is given up count as ``failed``, and are queued again with
    the next resend. The newest state of at most ``limit`` alerts is kept; a new alert beyond that is ``dropped``.

    Alertmanager never notifies about an alert that is over before its ``group_wait``. So an alert stays firing there
    for at least ``resend_s`` after its delivery, even if it began and ended at once, as in a backlog.
    """

    def __init__(
        self,
        name: str,
        telemetry: Telemetry,
        *,
        resend_s: float,
        limit: int = LIMIT,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        self._name = name
        self._telemetry = telemetry
        self._resend_s = resend_s
        self._limit = limit
        self._clock = clock
        self._alerts: dict[_Key, Alert] = {}
        self._waiting: dict[_Key, Alert] = {}
        self._resend_at: float | None = None
        self._closed = False
        self._left = 0
        self._changed = threading.Condition()

    def put(self, notices: Sequence[Notice]) -> None:
        """Keep the newest state of alerts."""
        with self._changed:
            for notice in notices:
                known = self._alerts.get(notice.key)
                if self._closed or (known is None and len(self._alerts) >= self._limit):
                    self._count("dropped")
                elif known is not None and notice.state == "resolved" and not self._may_end(known):
                    known.ending = notice
                else:
                    self._alerts[notice.key] = self._waiting[notice.key] = Alert(notice)
            self._changed.notify()

    def take(self) -> Round | None:
        """Return a round once an alert waits or the next resend is reached; None once it is closed and none waits."""
        with self._changed:
            while not self._waiting and not self._closed:
                now_s = time.monotonic()
                if self._resend_at is None:
                    # Counted from the end of the last resend: a slow Alertmanager is not kept busy all the time.
                    self._resend_at = now_s + self._resend_s
                if now_s < self._resend_at:
                    self._changed.wait(self._resend_at - now_s)
                else:
                    self._forget()
                    self._end()
                    self._waiting = dict(self._alerts)
                    self._resend_at = None
            return Round() if self._waiting else None

    def fill(self, item: Round) -> None:
        """Put the alerts that wait now into a round."""
        with self._changed:
            item.waiting = tuple(self._waiting.values())

    def settle(self, item: Round, delivery: Delivery) -> None:
        """Count the outcome of a round; if it was given up, everything in it waits for the next resend."""
        if delivery.outcome == "sent":
            self._settle(item.alerts, "sent")
            return
        self._settle(item.waiting, "failed")
        if delivery.outcome == "retry":
            self._left += len(item.waiting)
            return
        _log.error("exporters.%s: gave up on %d alerts: %s", self._name, len(item.waiting), delivery.message)

    def close(self) -> None:
        """Accept nothing more; alerts that Alertmanager has are not resent."""
        with self._changed:
            self._closed = True
            self._changed.notify()

    def abandon(self) -> str:
        """Count what still waits as failed; return what a stop left behind."""
        with self._changed:
            waiting = tuple(self._waiting.values())
        self._settle(waiting, "failed")
        left, self._left = self._left + len(waiting), 0
        return f"{left} alerts" if left else ""

    def _settle(self, alerts: Iterable[Alert], outcome: str) -> None:
        with self._changed:
            if outcome == "failed":
                self._resend_at = None
            for alert in alerts:
                key = alert.notice.key
                # An alert that has changed in the meantime waits with its new state.
                if self._waiting.get(key) is alert:
                    del self._waiting[key]
                if outcome == "sent" and alert.sent_at is None:
                    alert.sent_at = time.monotonic()
                if not alert.counted:
                    alert.counted = True
                    self._count(outcome)

    def _may_end(self, alert: Alert) -> bool:
        """Return whether Alertmanager has had an alert as firing for long enough to have notified about it."""
        if alert.notice.state == "resolved":
            return True
        return alert.sent_at is not None and time.monotonic() - alert.sent_at >= self._resend_s

    def _end(self) -> None:
        """Let the alerts end that had to stay firing."""
        for key, alert in self._alerts.items():
            if alert.ending is not None and self._may_end(alert):
                self._alerts[key] = Alert(alert.ending)

    def _forget(self) -> None:
        """Forget alerts that resolved long ago."""
        before_ns = self._clock() - int(KEPT_S * 1e9)
        for key, alert in [*self._alerts.items()]:
            if alert.notice.state == "resolved" and alert.notice.ended_ns < before_ns:
                del self._alerts[key]

    def _count(self, outcome: str) -> None:
        self._telemetry.notifications.labels(self._name, outcome).inc()
