"""Forwards events to another sink: a logger has one address only (kserve#3836)."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Mapping
from typing import Final

import requests

from collector_processor.own.telemetry import Telemetry
from collector_processor.own.throttle import Throttle
from collector_processor.own.via import HEADER, cleaned, with_service
from collector_processor.receivers.inference_logger.settings import ForwardTo

_S: Final = 1e9
_log = logging.getLogger(__name__)


class Forwarding:
    """Posts events as they came, from its own threads; each once, because the logger does not repeat them either."""

    def __init__(self, settings: ForwardTo, telemetry: Telemetry, key: str, instance_id: str) -> None:
        self._settings = settings
        self._telemetry = telemetry
        self._key = f"{key}.forward_to"
        self._instance_id = instance_id
        self._changed = threading.Condition()
        self._waiting: deque[tuple[dict[str, str], bytes]] = deque()
        self._bytes = 0
        self._closed = False
        self._throttle = Throttle()
        self._threads = [
            threading.Thread(target=self._run, name=f"forward-{number}", daemon=True)
            for number in range(settings.connections)
        ]

    def start(self) -> None:
        """Start the threads."""
        for thread in self._threads:
            thread.start()

    def put(self, headers: Mapping[str, str], body: bytes) -> None:
        """Queue one post; drop and count it if there is no room."""
        sent = {name: value for name, value in headers.items() if name.startswith("ce-") or name in _PASSED}
        sent[HEADER] = with_service(cleaned(headers.get(HEADER, "")), self._instance_id)
        with self._changed:
            full = len(self._waiting) >= self._settings.queue_size or (
                self._waiting and self._bytes + len(body) > self._settings.queue_bytes
            )
            if not full and not self._closed:
                self._waiting.append((sent, body))
                self._bytes += len(body)
                self._changed.notify()
                return
        self._telemetry.dropped(("events", "forward_queue_full"), 1)

    def stop(self, timeout_s: float) -> None:
        """Post what waits, within the time; count the rest."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        for thread in self._threads:
            if thread.ident is not None:
                thread.join(timeout_s / len(self._threads))
        with self._changed:
            self._telemetry.dropped(("events", "forward_failed"), len(self._waiting))
            self._waiting.clear()

    def _run(self) -> None:
        with requests.Session() as session:
            while (post := self._next()) is not None:
                self._post(session, *post)

    def _next(self) -> tuple[dict[str, str], bytes] | None:
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closed)
            if not self._waiting:
                return None
            headers, body = self._waiting.popleft()
            self._bytes -= len(body)
            return headers, body

    def _post(self, session: requests.Session, headers: dict[str, str], body: bytes) -> None:
        try:
            timeout_s = self._settings.timeout / _S
            # A redirect would turn the post into a get.
            answer = session.post(
                self._settings.endpoint, body, headers=headers, timeout=timeout_s, allow_redirects=False, stream=True
            )
            answer.close()
            problem = "" if answer.ok and not answer.is_redirect else f"it answered {answer.status_code}"
        except (requests.RequestException, OSError, ValueError) as error:
            problem = type(error).__name__
        if problem:
            self._telemetry.dropped(("events", "forward_failed"), 1)
            if self._throttle.permit() is not None:
                _log.warning("%s: an event could not be forwarded: %s", self._key, problem)


_PASSED: Final = frozenset({"content-type", "traceparent", "tracestate", "inference-header-content-length"})
"""Headers that leave besides those of the event."""
