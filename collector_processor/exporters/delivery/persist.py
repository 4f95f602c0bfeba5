"""Trying again until something is delivered, refused or given up: what every worker with a queue does."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from collector_processor.exporters.delivery.retry import Delivery, RetryPolicy

_log = logging.getLogger(__name__)


def persist(
    name: str,
    attempt: Callable[[float], Delivery],
    retry: RetryPolicy,
    timeout_s: float,
    closing: threading.Event,
    time_left_s: Callable[[], float],
) -> Delivery:
    """Calls ``attempt`` with the seconds that it may take, until the outcome is final; what came of the last try.

    Between tries it waits as ``retry`` says; ``closing`` ends the wait, and then there is one more try at most, within
    ``time_left_s``. ``name`` is the exporter's, for the log.

    >>> answers = iter([Delivery("retry", retry_after_s=0.0), Delivery("sent")])
    >>> persist("otlp_grpc", lambda timeout_s: next(answers), RetryPolicy(), 5.0, threading.Event(), lambda: 60.0)
    Delivery(outcome='sent', message='', retry_after_s=None, rejected=0)
    """
    began, tries = time.monotonic(), 0
    while True:
        last = closing.is_set()
        allowed_s = min(timeout_s, time_left_s())
        if allowed_s <= 0:
            return Delivery("refused", "no time left at shutdown")
        delivery = attempt(allowed_s)
        tries += 1
        if delivery.outcome != "retry" or last:
            return delivery
        wait_s = retry.wait_s(tries, time.monotonic() - began, delivery.retry_after_s)
        if wait_s is None:
            return delivery
        level = logging.WARNING if tries == 1 else logging.DEBUG
        _log.log(level, "exporters.%s: trying again in %.1f s: %s", name, wait_s, delivery.message)
        closing.wait(wait_s)
