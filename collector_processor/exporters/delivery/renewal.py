"""A sender made anew when its certificates or its token have changed; the others do not know of it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass

from collector_processor.exporters.delivery.retry import Delivery, Sender
from collector_processor.journal.base import Signal

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Held:
    """A sender, how many sends it is at, and whether the last of them is to close it."""

    sender: Sender
    sends: int = 0
    retired: bool = False


class RenewingSender:
    """Sends through what ``make`` gave last, and asks it for another one when ``changed`` says so.

    What is under way ends on the sender that it began on. A request that was refused while the credentials changed is
    sent once more with the new ones. When ``make`` fails the old sender goes on. ``name`` is the exporter's id.
    """

    def __init__(self, name: str, make: Callable[[], Sender], changed: Callable[[], bool]) -> None:
        self._name = name
        self._make = make
        self._changed = changed
        self._lock = threading.Lock()
        self._held = _Held(make())
        self._closed = False

    def send(self, signal: Signal, body: bytes, timeout_s: float, gzipped: bytes = b"") -> Delivery:
        """Tries once to deliver a request; twice, when it was refused with credentials that are old by now."""
        first, delivery = self._send(signal, body, timeout_s, gzipped)
        if delivery.outcome != "refused":
            return delivery
        with self._lock:
            self._renew()
            renewed = self._held is not first
        return self._send(signal, body, timeout_s, gzipped)[1] if renewed else delivery

    def close(self) -> None:
        """Lets go of the connection; what is being sent is given up."""
        with self._lock:
            self._closed = True
            self._held.sender.close()

    def _send(self, signal: Signal, body: bytes, timeout_s: float, gzipped: bytes) -> tuple[_Held, Delivery]:
        with self._lock:
            self._renew()
            held = self._held
            held.sends += 1
        try:
            return held, held.sender.send(signal, body, timeout_s, gzipped)
        finally:
            with self._lock:
                held.sends -= 1
                over = held.retired and not held.sends
            if over:
                held.sender.close()

    def _renew(self) -> None:
        if self._closed or not self._changed():
            return
        try:
            made = self._make()
        except (OSError, ValueError) as error:
            _log.error("exporters.%s: goes on with the credentials from before: %s", self._name, error)
            return
        old, self._held = self._held, _Held(made)
        old.retired = True
        if not old.sends:
            old.sender.close()
        _log.info("exporters.%s: sends with new credentials", self._name)
