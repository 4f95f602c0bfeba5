"""Sends requests one after the other, each until it is acknowledged."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from collector_processor.exporters.delivery.retry import RetryPolicy, Sender
from collector_processor.label_files.requests import LabelSpan, request

FIRST_WAIT_S: Final = 1.0
LONGEST_WAIT_S: Final = 30.0
_HTTP_SERVER: Final = "Failed parsing HTTP/2"
"""What gRPC's library says of it."""


class UndeliveredError(OSError):
    """The service does not take a request: not now, for as long as the retries last, or never."""


class Courier:
    """Delivers spans of labels; ``waiting`` is called with the reason before each wait."""

    def __init__(
        self,
        sender: Sender,
        where: str,
        *,
        timeout_s: float,
        give_up_s: float,
        waiting: Callable[[str], object],
        pause: Callable[[float], object] = time.sleep,
    ) -> None:
        self._sender, self._where = sender, where
        self._timeout_s = timeout_s
        self._policy = RetryPolicy(initial_s=FIRST_WAIT_S, max_s=LONGEST_WAIT_S, max_elapsed_s=give_up_s)
        self._waiting, self._pause = waiting, pause
        self.message = ""
        """What the service said first about labels that it took, or refused."""

    def deliver(self, parts: list[LabelSpan]) -> int:
        """Send spans in one request and return the number of labels that were refused; raises `UndeliveredError`."""
        tries, started, body = 0, time.monotonic(), request(parts)
        while True:
            delivery = self._sender.send("traces", body, self._timeout_s)
            if delivery.outcome == "sent":
                self.message = self.message or delivery.message
                return self._refused(parts, delivery.rejected)
            if delivery.too_large and len(parts) > 1:
                return sum(self.deliver([part]) for part in parts)
            if delivery.outcome == "refused":
                raise UndeliveredError(f"{self._where} refuses the labels: {delivery.message}")
            tries += 1
            wait_s = self._policy.wait_s(tries, time.monotonic() - started, delivery.retry_after_s)
            if wait_s is None:
                hint = "; it speaks HTTP: pass --protocol http/protobuf" if _HTTP_SERVER in delivery.message else ""
                raise UndeliveredError(f"{self._where} takes no labels: {delivery.message}{hint}")
            self._waiting(delivery.message)
            self._pause(wait_s)

    def _refused(self, parts: list[LabelSpan], rejected: int) -> int:
        """Return how many labels the refused spans have; which of several they are, only sending each alone shows."""
        if not rejected:
            return 0
        if rejected >= len(parts):
            return sum(part.labels for part in parts)
        return sum(self.deliver([part]) for part in parts)
