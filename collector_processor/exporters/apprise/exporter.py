"""Alerts for people, through Apprise: Slack, PagerDuty, e-mail, Teams and more than a hundred other services.

The addresses contain tokens and passwords. They are never logged or printed, by us or by the libraries underneath:
Apprise's own log is off, and the libraries below it log only errors, because their other lines contain paths.
"""

from __future__ import annotations

import importlib
import logging
import threading
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final

from collector_processor.alerts.notice import Notice
from collector_processor.alerts.text import body_of, title_of
from collector_processor.exporters.delivery.loop import DeliveryLoop
from collector_processor.exporters.delivery.notice_queue import NoticeQueue
from collector_processor.exporters.delivery.retry import QUEUE_SIZE, Delivery, RetryPolicy
from collector_processor.own.install import install
from collector_processor.own.telemetry import Telemetry

SERVICE_TIMEOUT_S: Final = 10.0
"""How long one try may take by default: services for people answer more slowly."""
_CONSUMERS: Final = 4
"""How many messages to one service may wait for their next try while others are sent, one at a time."""
_TALKATIVE: Final = ("urllib3", "requests", "requests_oauthlib", "oauthlib", "paho", "slixmpp", "smtplib")
_MENTIONS: Final[Mapping[int, str]] = {ord("<"): "‹", ord(">"): "›", ord("@"): "＠"}
"""Names come over the network: none of them may notify a channel (``<!here>``, ``@everyone``) or be a link."""


def _apprise() -> Any:
    """Return the library with its log turned off; ``OSError`` says what to install if it is missing."""
    with warnings.catch_warnings():
        # The first address makes it load all its plugins, and some of them use deprecated parts of Python.
        warnings.simplefilter("ignore", DeprecationWarning)
        try:
            library = importlib.import_module("apprise")
        except ModuleNotFoundError:
            raise OSError(f"needs the package apprise; install it with: {install('notify')}") from None
        library.Apprise.instantiate("json://localhost")
    own = logging.getLogger("apprise")
    own.setLevel(logging.CRITICAL + 1)
    own.propagate = False
    for name in _TALKATIVE:
        logger = logging.getLogger(name)
        logger.setLevel(max(logging.ERROR, logger.level))
    return library


def check_urls(path: str, urls: Sequence[str]) -> Sequence[str]:
    """What is wrong with addresses, naming them by position only."""
    library = _apprise()
    return tuple(
        f"{path}.urls.{position}: not an address that Apprise supports; see https://appriseit.com/services/"
        for position, url in enumerate(urls)
        if _service(library, url, 1.0) is None
    )


def _service(library: Any, url: str, timeout_s: float) -> Any:
    """Return Apprise's client for an address; None if Apprise does not support it."""
    asset = library.AppriseAsset(app_id="otel-ml", app_desc="otel-ml", app_url="", secure_logging=True)
    service = library.Apprise.instantiate(url, asset=asset, suppress_exceptions=True)
    if service is not None:
        service.socket_connect_timeout = service.socket_read_timeout = timeout_s
    return service


class AppriseExporter:
    """Sends alerts to services by their Apprise URLs; each has its own queue and its own thread.

    So a slow or failing service does not slow down the others. Waiting notices of the same rule become one message; see
    :class:`.NoticeQueue` and :class:`.DeliveryLoop`. There, the services are named ``apprise[0]``, ``apprise[1]``, …
    in the order of the configuration.
    """

    def __init__(
        self,
        name: str,
        urls: Sequence[str],
        telemetry: Telemetry,
        *,
        timeout_s: float = SERVICE_TIMEOUT_S,
        retry: RetryPolicy | None = None,
        queue_size: int = QUEUE_SIZE,
    ) -> None:
        self._name = name
        self._timeout_s = timeout_s
        self._library = _apprise()
        self._attempts: dict[str, Callable[[Sequence[Notice], float], Delivery]] = {}
        for position, url in enumerate(urls):
            service = _service(self._library, url, timeout_s)
            if service is None:
                raise ValueError(f"exporters.{name}.urls.{position}: not an address that Apprise supports")
            self._attempts[f"{name}[{position}]"] = partial(self._attempt, service, threading.Lock())
        self._queues = {
            label: NoticeQueue(label, telemetry, together=True, queue_size=queue_size) for label in self._attempts
        }
        self._deliveries = [
            DeliveryLoop(
                label,
                self._queues[label],
                attempt,
                telemetry,
                stage="notify",
                retry=retry,
                timeout_s=timeout_s,
                consumers=_CONSUMERS,
                waiting=True,
            )
            for label, attempt in self._attempts.items()
        ]

    @property
    def name(self) -> str:
        """The component id from the configuration."""
        return self._name

    def start(self) -> None:
        """Start to deliver."""
        for delivery in self._deliveries:
            delivery.start()

    def notify(self, notices: Sequence[Notice]) -> None:
        """Queue notices, except for those that only update a display."""
        for queue in self._queues.values():
            queue.put(notices)

    def probe(self, notice: Notice) -> Sequence[str]:
        """Send one notice to every service now."""
        tries = {label: attempt([notice], self._timeout_s) for label, attempt in self._attempts.items()}
        return [f"{label}: {delivery.message}" for label, delivery in tries.items() if delivery.outcome != "sent"]

    def shutdown(self, timeout_s: float) -> None:
        """Send what waits within the time, to all services at once."""
        for delivery in self._deliveries:
            delivery.close(timeout_s)
        for delivery in self._deliveries:
            delivery.shutdown(timeout_s)

    def _attempt(
        self, service: Any, one_at_a_time: threading.Lock, notices: Sequence[Notice], timeout_s: float
    ) -> Delivery:
        with one_at_a_time:
            return self._notify(service, notices, timeout_s)

    def _notify(self, service: Any, notices: Sequence[Notice], timeout_s: float) -> Delivery:
        notice = notices[0]
        service.socket_connect_timeout = service.socket_read_timeout = timeout_s
        together = self._library.Apprise(asset=service.asset)
        together.add(service)
        kinds = self._library.NotifyType
        kind = kinds.SUCCESS if notice.state == "resolved" else kinds.WARNING
        if notice.rule.severity == "critical" and notice.state == "firing":
            kind = kinds.FAILURE
        elif notice.rule.severity == "info":
            kind = kinds.INFO
        sent = together.notify(
            title=title_of(notices).translate(_MENTIONS),
            body=body_of(notices).translate(_MENTIONS),
            notify_type=kind,
            body_format=self._library.NotifyFormat.TEXT,
            interpret_escapes=False,
        )
        if sent:
            return Delivery("sent")
        return Delivery("retry", f"{service.service_name or 'the service'} did not accept it; check its address")
