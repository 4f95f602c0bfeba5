"""The outcome of one try to deliver a request, and when to try again."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal, Protocol

from collector_processor.journal.base import Signal

Compression = Literal["none", "gzip"]
TIMEOUT_S: Final = 5.0
"""How long one try may take by default."""
CONSUMERS: Final = 10
"""How many requests to one destination may be under way by default."""
QUEUE_SIZE: Final = 1000
"""How many deliveries may wait by default."""
_LONGEST_ASKED_S: Final = 3600.0
"""The longest wait that a destination can ask for."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """The answer of a destination to one try.

    - ``sent``: it accepted the request, except for ``rejected`` of its items (partial success).
    - ``retry``: not now; ``retry_after_s`` is the wait that it asked for, if any; ``timed_out`` if no answer came.
    - ``refused``: never; sending the request again cannot help, unless it was ``too_large``: then in parts.

    ``message`` is for the log: one line, of limited length, without secrets.
    """

    outcome: Literal["sent", "retry", "refused"]
    message: str = ""
    retry_after_s: float | None = None
    rejected: int = 0
    timed_out: bool = False
    too_large: bool = False


class Sender(Protocol):
    """One connection to a destination; :meth:`send` may be called from several threads and never raises."""

    def send(self, signal: Signal, body: bytes, timeout_s: float, gzipped: bytes = b"", via: str = "") -> Delivery:
        """Try once to deliver the unchanged protobuf bytes of a request; ``gzipped`` is how they arrived, if so.

        ``via`` names the services that it has passed through before this one.
        """
        ...

    def close(self) -> None:
        """Close the connection and give up what is being sent."""
        ...


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Waits that grow from ``initial_s`` by ``multiplier`` up to ``max_s``, ``max_elapsed_s`` in total (0: forever).

    Each wait is drawn from ``1 ± jitter`` times its length, so that senders that failed together do not retry
    together. If the destination asks for a longer wait, that is kept, up to an hour. A shorter one is not: if it asks
    for none at all, it would be sent thousands of requests a second.
    """

    enabled: bool = True
    initial_s: float = 5.0
    multiplier: float = 1.5
    max_s: float = 30.0
    max_elapsed_s: float = 300.0
    jitter: float = 0.5

    def wait_s(
        self,
        tries: int,
        elapsed_s: float,
        asked_s: float | None = None,
        draw: Callable[[float, float], float] = random.uniform,
    ) -> float | None:
        """Return how long to wait after failed try number ``tries``, ``elapsed_s`` after the start; None to give up.

        >>> policy = RetryPolicy(jitter=0.0)
        >>> [policy.wait_s(tries, 0.0) for tries in (1, 2, 3, 4, 5, 6)]
        [5.0, 7.5, 11.25, 16.875, 25.3125, 30.0]
        >>> policy.wait_s(1, 0.0, asked_s=0.2), policy.wait_s(1, 0.0, asked_s=20.0), policy.wait_s(1, 299.0)
        (5.0, 20.0, None)
        """
        if not self.enabled:
            return None
        # Past 64 tries the power could overflow, and the wait is at its longest anyway.
        longest = min(self.initial_s * self.multiplier ** min(tries - 1, 64), self.max_s)
        wait_s = max(longest * draw(1 - self.jitter, 1 + self.jitter), min(asked_s or 0.0, _LONGEST_ASKED_S))
        if self.max_elapsed_s and elapsed_s + wait_s > self.max_elapsed_s:
            return None
        return wait_s
