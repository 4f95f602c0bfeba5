"""Sends what is waiting, within bounds: on request, when the process exits, when a child process ends."""

from __future__ import annotations

import atexit
import threading
from collections.abc import Callable
from contextlib import suppress
from time import monotonic
from typing import Any, Final
from weakref import WeakSet

from opentelemetry import metrics

from otel_ml.delivery.requests import receiver

IDLE_S: Final = 5.0
"""Seconds without a delivered request after which a receiver is taken for absent when a process ends."""
TOTAL_S: Final = 30.0
"""Seconds that all of it may take, as in the SDK."""
_STEP_S: Final = 0.01

_destinations: WeakSet[Any] = WeakSet()
_first: list[Callable[[], None]] = []
_before: list[tuple[Callable[[float], object], Callable[[float], object]]] = []


def before_flush(settle: Callable[[float], object], end: Callable[[float], object]) -> None:
    """Call ``settle`` before a flush and ``end`` before the last one, each with the seconds that it may take."""
    _before.append((settle, end))


def drain_first(drain: Callable[[], None]) -> None:
    """Call ``drain`` before anything is flushed: it makes spans and measurements of what has gathered."""
    _first.append(drain)


def follow(provider: Any) -> None:
    """Flush this tracer provider as well; the exit of the process is bounded from now on."""
    _destinations.add(provider)
    # Exit handlers run in reverse order: ours must run before that of the provider, which has just registered its own.
    atexit.unregister(_at_exit)
    atexit.register(_at_exit)


def flush(timeout_s: float = TOTAL_S) -> bool:
    """Send every prediction, label and metric that is waiting, and return whether that was done in time.

    The SDK sends every five seconds and when the process exits. Call this at the end of a step of a long job, or before
    a process is killed.

    >>> flush(timeout_s=5)
    True
    """
    return all(thread.is_set() for thread in _flushed(timeout_s, idle_s=timeout_s))


def flush_at_end() -> None:
    """Send what is waiting in a process that is about to end, and give up soon if the receiver takes nothing."""
    receiver.exiting = True
    receiver.failing_s.clear()
    with suppress(RuntimeError):  # Python 3.12.0 starts no thread at exit
        traces, measured = _flushed(TOTAL_S, IDLE_S)
        if not traces.is_set():
            receiver.abandon()
        if not measured.is_set():
            with suppress(Exception):  # it complains that it was interrupted
                _meter_provider().shutdown(timeout_millis=1)


def _flushed(timeout_s: float, idle_s: float) -> tuple[threading.Event, threading.Event]:
    """Flush traces and metrics side by side, and return which of both were done in time."""
    traces, measured = _begin(_flush_all_traces), _begin(_flush_metrics)
    started = monotonic()
    while not (traces.wait(_STEP_S) and measured.wait(_STEP_S)):
        now = monotonic()
        if now - started > timeout_s or now - max(started, receiver.last_success) > idle_s:
            break
    return traces, measured


def _begin(work: Callable[[], None]) -> threading.Event:
    done = threading.Event()

    def run() -> None:
        work()
        done.set()

    threading.Thread(target=run, name="otel-ml-flush", daemon=True).start()
    return done


def flush_traces() -> None:
    """Send every span that is waiting."""
    for provider in list(_destinations):
        with suppress(Exception):  # another provider may still succeed
            provider.force_flush()


def _drain() -> None:
    for drain in _first:
        with suppress(Exception):  # the application's span processor may raise
            drain()


def _flush_all_traces() -> None:
    _drain()
    for settle, end in _before:
        if receiver.exiting:
            end(IDLE_S / 2)
        else:
            settle(TOTAL_S)
    flush_traces()


def _flush_metrics() -> None:
    _drain()
    with suppress(Exception):  # no SDK, or no answer
        _meter_provider().force_flush()


def _meter_provider() -> Any:
    return metrics.get_meter_provider()


def _at_exit() -> None:
    if _destinations:
        flush_at_end()
