"""Alerts for Alertmanager, over its v2 API, resent regularly as Prometheus does."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timezone
from typing import Any, Final

from collector_processor.alerts.notice import Notice
from collector_processor.alerts.text import condition, headline, links, moment, offenders
from collector_processor.exporters.alertmanager.mailbox import LIMIT, AlertMailbox, Round
from collector_processor.exporters.delivery.connection import Connection
from collector_processor.exporters.delivery.http_client import HttpClient
from collector_processor.exporters.delivery.http_sender import refusal
from collector_processor.exporters.delivery.loop import DeliveryLoop
from collector_processor.exporters.delivery.retry import TIMEOUT_S, Delivery, RetryPolicy
from collector_processor.exporters.naming import labels
from collector_processor.own.telemetry import Telemetry
from collector_processor.security.client_tls import ClientTls
from otel_ml import semconv

RESEND_S: Final = 60.0
"""How often a firing alert is sent again by default."""
ENDS_AFTER: Final = 4
"""An alert ends by itself if it is not resent for this many times ``resend``, because then the service is gone."""
_PATH: Final = "/api/v2/alerts"


class AlertmanagerExporter(DeliveryLoop[Round]):
    """Keeps one Alertmanager up to date about firing alerts; safe to restart on either side.

    It sends states, not messages: every firing alert when it changes and after every ``resend_s``;
    :class:`.AlertMailbox` is the source. At shutdown, alerts that Alertmanager does not have yet are sent once.
    ``headers`` returns those with the current credentials; it is called again when ``changed`` returns true.
    """

    def __init__(
        self,
        name: str,
        endpoint: str,
        telemetry: Telemetry,
        *,
        tls: ClientTls | None = None,
        headers: Callable[[], Mapping[str, str]] = dict,
        changed: Callable[[], bool] = lambda: False,
        timeout_s: float = TIMEOUT_S,
        resend_s: float = RESEND_S,
        extra_labels: Mapping[str, str] | None = None,
        generator_url: str = "",
        retry: RetryPolicy | None = None,
        limit: int = LIMIT,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        self._posting = Connection(name, lambda: _client(endpoint, tls, headers()), changed)
        self._resend_s = resend_s
        self._extra = dict(extra_labels or {})
        self._url = generator_url
        self._clock = clock
        self._mailbox = AlertMailbox(name, telemetry, resend_s=resend_s, limit=limit, clock=clock)
        super().__init__(
            name,
            self._mailbox,
            self._attempt,
            telemetry,
            stage="notify",
            retry=retry,
            timeout_s=timeout_s,
            connection=self._posting,
        )

    def notify(self, notices: Sequence[Notice]) -> None:
        """Keep the newest state of alerts."""
        self._mailbox.put(notices)

    def probe(self, notice: Notice) -> Sequence[str]:
        """Send one alert now; return a text for each problem."""
        delivery = self._send([notice], self._timeout_s)
        return () if delivery.outcome == "sent" else (delivery.message,)

    def _attempt(self, item: Round, timeout_s: float) -> Delivery:
        self._mailbox.fill(item)
        return self._send([each.notice for each in item.alerts], timeout_s)

    def _send(self, notices: Sequence[Notice], timeout_s: float) -> Delivery:
        ends_ns = self._clock() + int(ENDS_AFTER * self._resend_s * 1e9)
        body = json.dumps([alert(notice, ends_ns, self._extra, self._url) for notice in notices]).encode()
        return self._posting.use(lambda client: _post(client, body, timeout_s))


def _client(endpoint: str, tls: ClientTls | None, headers: Mapping[str, str]) -> HttpClient:
    named = {"Content-Type": "application/json", "User-Agent": "otel-ml", **headers}
    return HttpClient(endpoint, named, tls=tls)


def _post(client: HttpClient, body: bytes, timeout_s: float) -> Delivery:
    try:
        answer = client.post(_PATH, body, timeout_s, {})
    except OSError as error:
        return Delivery("retry", str(error) or type(error).__name__)
    except ValueError as error:
        return Delivery("refused", str(error))
    if 200 <= answer.status < 300:
        return Delivery("sent")
    return Delivery(
        "retry" if answer.status == 429 or answer.status >= 500 else "refused", refusal(answer, client.secrets)
    )


def alert(notice: Notice, ends_ns: int, extra: Mapping[str, str], url: str) -> dict[str, Any]:
    """Return a notice in the form of ``POST /api/v2/alerts``; the same alert always has the same labels."""
    rule, model = notice.rule, notice.model
    own = [("alertname", rule.name), ("severity", rule.severity), ("service", "otel-ml")]
    own += [(semconv.MODEL_NAME, model.name), (semconv.MODEL_VERSION, model.version)]
    if notice.reason == "test":
        own.append(("test", "true"))
    annotations = {
        "summary": headline(notice),
        "description": "\n".join((rule.description or condition(rule), *offenders(notice))),
        "condition": condition(rule),
        "value": f"{notice.value:.6g}",
        "series": str(notice.count),
        "window_end": moment(notice.window_ns),
        "runbook_url": rule.runbook,
        **{f"{name.lower()}_url": link for name, link in links(notice)},
    }
    fields: dict[str, Any] = {
        "labels": {**dict(labels(own)), **dict(labels(extra.items()))},
        "annotations": {key: value for key, value in annotations.items() if value},
        "startsAt": _rfc3339(notice.started_ns),
        # Alertmanager rejects an end before the start.
        "endsAt": _rfc3339(max(notice.ended_ns if notice.state == "resolved" else ends_ns, notice.started_ns)),
    }
    if url:
        fields["generatorURL"] = url
    return fields


def _rfc3339(time_ns: int) -> str:
    """Return a time with milliseconds.

    >>> _rfc3339(1_750_000_000_250_000_000)
    '2025-06-15T15:06:40.250Z'
    """
    whole = datetime.fromtimestamp(time_ns // 10**9, timezone.utc)
    return f"{whole:%Y-%m-%dT%H:%M:%S}.{time_ns // 10**6 % 1000:03d}Z"
