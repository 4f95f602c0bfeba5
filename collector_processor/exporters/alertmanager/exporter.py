"""Alerts for Alertmanager: its v2 API, told again and again as Prometheus does it."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import partial
from typing import Any, Final

from collector_processor.alerts.notice import Notice
from collector_processor.alerts.text import condition, moment, offenders, shown, summary
from collector_processor.exporters.delivery.http_client import HttpClient
from collector_processor.exporters.delivery.retry import Delivery, RetryPolicy
from collector_processor.exporters.naming import labels
from collector_processor.own.telemetry import Telemetry
from collector_processor.security.client_tls import ClientTls
from otel_ml import semconv

ENDS_AFTER: Final = 4
"""An alert ends by itself when it has not been sent anew for this many times ``resend``: then the service is gone."""
KEPT_S: Final = 900.0
"""For so long a resolved alert is sent anew, for an Alertmanager that was away when it resolved."""
PART: Final = 256
"""Alerts in one request."""
LIMIT: Final = 20_000
_CLOSE_S: Final = 1.0
_PATH: Final = "/api/v2/alerts"
_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Entry:
    """One alert, and whether Alertmanager has its newest state; ``settled`` once that was counted."""

    notice: Notice
    known: bool = False
    settled: bool = False


class AlertmanagerExporter:
    """Keeps one Alertmanager up to date about what fires; safe to restart on either side.

    What is sent is the state, not a message: every alert that fires goes out when it changes and every ``resend_s``, so
    a try that fails loses nothing. Retries follow the ``retry`` policy; when it gives up, the alerts count as
    ``failed`` and go out with the next resend. At most ``limit`` alerts are kept; what goes beyond is ``dropped``.
    ``renewed`` is asked before each request: the headers of new credentials once these have changed, else None.
    """

    def __init__(
        self,
        name: str,
        endpoint: str,
        telemetry: Telemetry,
        *,
        tls: ClientTls | None = None,
        headers: Mapping[str, str] | None = None,
        renewed: Callable[[], Mapping[str, str] | None] = lambda: None,
        timeout_s: float = 5.0,
        resend_s: float = 60.0,
        extra_labels: Mapping[str, str] | None = None,
        generator_url: str = "",
        retry: RetryPolicy | None = None,
        limit: int = LIMIT,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        self._name = name
        self._connect = partial(_client, endpoint, tls)
        self._client = self._connect(headers or {})
        self._renewed = renewed
        self._telemetry = telemetry
        self._timeout_s = timeout_s
        self._resend_s = resend_s
        self._extra = dict(extra_labels or {})
        self._url = generator_url
        self._retry = retry or RetryPolicy()
        self._limit = limit
        self._clock = clock
        self._alerts: dict[tuple[str, str, str], _Entry] = {}
        self._news = threading.Condition()
        self._closing = False
        self._deadline = float("inf")
        self._thread: threading.Thread | None = None

    @property
    def name(self) -> str:
        """The component id from the configuration."""
        return self._name

    def start(self) -> None:
        """Begins to send; an Alertmanager that is down is waited for."""
        self._thread = threading.Thread(target=self._run, name=f"notify-{self._name}", daemon=True)
        self._thread.start()

    def notify(self, notices: Sequence[Notice]) -> None:
        """Takes the newest state of alerts over."""
        with self._news:
            for notice in notices:
                if notice.key not in self._alerts and len(self._alerts) >= self._limit:
                    self._count("dropped")
                else:
                    self._alerts[notice.key] = _Entry(notice)
            self._news.notify()

    def probe(self, notice: Notice) -> Sequence[str]:
        """Sends one alert now; what went wrong, nothing if all went well."""
        delivery = self._post([notice], self._timeout_s)
        return () if delivery.outcome == "sent" else (delivery.message,)

    def shutdown(self, timeout_s: float) -> None:
        """Sends what Alertmanager does not know yet, once; what fires goes on there until its end."""
        with self._news:
            self._closing = True
            self._deadline = time.monotonic() + timeout_s
            self._news.notify()
        if self._thread is not None:
            self._thread.join(timeout_s + _CLOSE_S)
        self._client.close()

    def _run(self) -> None:
        resend_at, tries, began = time.monotonic() + self._resend_s, 0, 0.0
        while True:
            with self._news:
                self._news.wait_for(lambda: self._closing or self._unknown(), max(0.0, resend_at - time.monotonic()))
                closing, due = self._closing, time.monotonic() >= resend_at
                self._forget()
                entries = [entry for entry in self._alerts.values() if due or not entry.known]
            began = time.monotonic() if not tries else began
            delivery = self._send(entries)
            if closing:
                return
            if delivery.outcome == "sent":
                tries = 0
                if due or not self._alerts:
                    resend_at = time.monotonic() + self._resend_s
                continue
            tries += 1
            wait_s = self._retry.wait_s(tries, time.monotonic() - began, delivery.retry_after_s)
            if delivery.outcome == "refused" or wait_s is None:
                self._settle(entries, "failed")
                _log.error("exporters.%s: %d alerts not taken: %s", self._name, len(entries), delivery.message)
                tries, resend_at = 0, time.monotonic() + self._resend_s
                continue
            level = logging.WARNING if tries == 1 else logging.DEBUG
            _log.log(level, "exporters.%s: trying again in %.1f s: %s", self._name, wait_s, delivery.message)
            with self._news:
                self._news.wait_for(lambda: self._closing, wait_s)

    def _unknown(self) -> bool:
        return any(not entry.known for entry in self._alerts.values())

    def _forget(self) -> None:
        """Lets go of alerts that resolved long ago."""
        before_ns = self._clock() - int(KEPT_S * 1e9)
        for key, entry in [*self._alerts.items()]:
            if entry.known and entry.notice.state == "resolved" and entry.notice.ended_ns < before_ns:
                del self._alerts[key]

    def _send(self, entries: Sequence[_Entry]) -> Delivery:
        """Sends alerts part by part, up to the first that fails."""
        for start in range(0, len(entries), PART):
            some = entries[start : start + PART]
            timeout_s = min(self._timeout_s, self._deadline - time.monotonic())
            if timeout_s <= 0:
                return Delivery("refused", "no time left at shutdown")
            delivery = self._post([entry.notice for entry in some], timeout_s)
            if delivery.outcome != "sent":
                return delivery
            self._settle(some, "sent")
        return Delivery("sent")

    def _settle(self, entries: Iterable[_Entry], outcome: str) -> None:
        """Counts what became of the newest state of alerts, once each."""
        for entry in entries:
            entry.known = True
            if not entry.settled:
                entry.settled = True
                self._count(outcome)

    def _post(self, notices: Sequence[Notice], timeout_s: float) -> Delivery:
        now_ns = self._clock()
        ends_ns = now_ns + int(ENDS_AFTER * self._resend_s * 1e9)
        alerts = [alert(notice, ends_ns, self._extra, self._url) for notice in notices]
        try:
            headers = self._renewed()
            if headers is not None:
                self._client.close()
                self._client = self._connect(headers)
            answer = self._client.post(_PATH, json.dumps(alerts).encode(), timeout_s, {})
        except OSError as error:
            return Delivery("retry", str(error) or type(error).__name__)
        except ValueError as error:
            return Delivery("refused", str(error))
        if 200 <= answer.status < 300:
            return Delivery("sent")
        said = shown(answer.body.decode("utf-8", "replace").strip())
        message = f"{answer.status} {answer.reason}: {said}"
        return Delivery("retry" if answer.status == 429 or answer.status >= 500 else "refused", message)

    def _count(self, outcome: str) -> None:
        self._telemetry.notifications.labels(self._name, outcome).inc()


def _client(endpoint: str, tls: ClientTls | None, headers: Mapping[str, str]) -> HttpClient:
    named = {"Content-Type": "application/json", "User-Agent": "otel-ml", **headers}
    return HttpClient(endpoint, named, tls=tls)


def alert(notice: Notice, ends_ns: int, extra: Mapping[str, str], url: str) -> dict[str, Any]:
    """A notice in the words of ``POST /api/v2/alerts``; the same labels as long as it is the same alert."""
    rule, model = notice.rule, notice.model
    own = [("alertname", rule.name), ("severity", rule.severity), ("service", "otel-ml")]
    own += [(semconv.MODEL_NAME, model.name), (semconv.MODEL_VERSION, model.version)]
    if notice.reason == "test":
        own.append(("test", "true"))
    annotations = {
        "summary": summary(rule),
        "description": "\n".join((rule.description or condition(rule), *offenders(notice))),
        "condition": condition(rule),
        "value": f"{notice.value:.6g}",
        "series": str(notice.count),
        "window_end": moment(notice.window_ns),
        "runbook_url": rule.runbook,
    }
    found: dict[str, Any] = {
        "labels": {**dict(labels(own)), **dict(labels(extra.items()))},
        "annotations": {key: value for key, value in annotations.items() if value},
        "startsAt": _rfc3339(notice.started_ns),
        # Alertmanager refuses an end before the start.
        "endsAt": _rfc3339(max(notice.ended_ns if notice.state == "resolved" else ends_ns, notice.started_ns)),
    }
    if url:
        found["generatorURL"] = url
    return found


def _rfc3339(time_ns: int) -> str:
    """A time with milliseconds.

    >>> _rfc3339(1_750_000_000_250_000_000)
    '2025-06-15T15:06:40.250Z'
    """
    whole = datetime.fromtimestamp(time_ns // 10**9, timezone.utc)
    return f"{whole:%Y-%m-%dT%H:%M:%S}.{time_ns // 10**6 % 1000:03d}Z"
