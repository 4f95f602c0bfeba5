"""A connection that is opened when it is needed, and replaced when its certificates or token have changed."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Generic, Protocol, TypeVar

from collector_processor.exporters.delivery.retry import Delivery

_TIMEOUTS: Final = 2
"""After this many tries in a row without an answer, a connection is replaced."""
_log = logging.getLogger(__name__)


class Client(Protocol):
    """A client of a destination with one set of credentials."""

    def close(self) -> None:
        """Close it and give up what is being sent."""
        ...


C = TypeVar("C", bound=Client)


@dataclass(slots=True)
class _Held(Generic[C]):
    """A client, the number of sends that use it, whether the last of them must close it, and the last tries without
    an answer.
    """

    client: C
    sends: int = 0
    retired: bool = False
    timeouts: int = 0


class Connection(Generic[C]):
    """The client from ``make``, replaced when ``changed`` returns true because its credentials are old.

    A request in progress finishes on its client. A request that was refused while the credentials changed is sent once
    more with the new ones. A client whose last tries got no answer is replaced, too: a network may have forgotten its
    connection, and drop what is sent on it without a word. If no new client can be made, the old one stays in use.
    ``name`` is the exporter's id. Safe to use from several threads.
    """

    def __init__(self, name: str, make: Callable[[], C], changed: Callable[[], bool] = lambda: False) -> None:
        self._name = name
        self._make = make
        self._changed = changed
        self._lock = threading.Lock()
        self._held: _Held[C] | None = None
        self._closed = False

    def open(self) -> None:
        """Make the first client; ``OSError`` and ``ValueError`` name what cannot be used."""
        with self._lock:
            self._newest()

    def use(self, send: Callable[[C], Delivery]) -> Delivery:
        """Send once through the client, and again if it was refused with credentials that have since changed."""
        first, delivery = self._use(send)
        if delivery.outcome != "refused":
            return delivery
        with self._lock:
            renewed = self._newest() is not first
        return self._use(send)[1] if renewed else delivery

    def close(self) -> None:
        """Close the client and give up what is being sent."""
        with self._lock:
            self._closed = True
            if self._held is not None:
                self._held.client.close()

    def _use(self, send: Callable[[C], Delivery]) -> tuple[_Held[C], Delivery]:
        with self._lock:
            held = self._newest()
            held.sends += 1
        delivery: Delivery | None = None
        try:
            delivery = send(held.client)
            return held, delivery
        finally:
            with self._lock:
                held.sends -= 1
                held.timeouts = held.timeouts + 1 if delivery is not None and delivery.timed_out else 0
                if held.timeouts >= _TIMEOUTS and held is self._held and not self._closed:
                    self._replace(held, "opens a new connection: no answer came over the old one")
                over = held.retired and not held.sends
            if over:
                held.client.close()

    def _newest(self) -> _Held[C]:
        old = self._held
        if old is None:
            self._held = _Held(self._make())
            return self._held
        if self._closed or not self._changed():
            return old
        held = self._replace(old, "uses new credentials")
        if held is not old and not old.sends:
            old.client.close()
        return held

    def _replace(self, old: _Held[C], what: str) -> _Held[C]:
        """Make a new client and retire the old one; return the old one if that is not possible."""
        try:
            self._held = _Held(self._make())
        except (OSError, ValueError) as error:
            _log.error("exporters.%s: continues with the previous credentials: %s", self._name, error)
            return old
        old.retired = True
        _log.info("exporters.%s: %s", self._name, what)
        return self._held
