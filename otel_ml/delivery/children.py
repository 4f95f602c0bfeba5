"""Flushes the processes of ``multiprocessing`` and of what builds on it (executors, loky, joblib, uvicorn), and Celery.

Such a child ends by ``os._exit``: no exit handler of the SDK runs, and all that it observed in its last five seconds,
often everything, is lost without a word. ``multiprocessing`` has its own exit handlers, and a pool ends its workers by
SIGTERM; both are used here. SIGKILL cannot be caught.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable
from time import monotonic
from types import FrameType, ModuleType
from typing import Any, Final

import wrapt

from otel_ml.delivery.flush import IDLE_S, flush_at_end

_SPAWNED: Final = "--multiprocessing-fork"
"""An argument of spawned children."""
_NUDGE_S: Final = 0.1

_hooked: list[bool] = []
_begun = threading.Event()


def flush_children() -> None:
    """Flush every child process at its end, those of the children too."""
    if not _hooked and hasattr(os, "register_at_fork"):
        _hooked.append(True)
        os.register_at_fork(after_in_child=_forget_signal)
        wrapt.register_post_import_hook(_watch, "multiprocessing.util")
        wrapt.register_post_import_hook(_watch_celery, "billiard.pool")


def _watch_celery(pool: ModuleType) -> None:
    """Flush the workers of Celery, whose own ``multiprocessing`` ends them past its exit handlers."""
    wrapt.wrap_function_wrapper(pool, "Worker._do_exit", _exit_of_celery)


def _exit_of_celery(exits: Callable[..., Any], _worker: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    try:
        flush_at_end()
    finally:
        exits(*args, **kwargs)


class _Anchor:
    """An object for ``register_after_fork``, which keeps callbacks as long as their object lives."""


_anchor = _Anchor()


def _watch(util: ModuleType) -> None:
    util.register_after_fork(_anchor, _begin)  # called in each child that was forked, before its work
    process: Any = sys.modules.get("multiprocessing.process")
    if _SPAWNED in sys.orig_argv or (process is not None and process.parent_process() is not None):
        _begin(_anchor)  # this is a child, and it was spawned, or its work has begun already


def _begin(_: _Anchor) -> None:
    util: Any = sys.modules["multiprocessing.util"]
    util.Finalize(None, flush_at_end, exitpriority=0)
    on_main_thread = threading.current_thread() is threading.main_thread()
    if on_main_thread and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        _catch_sigterm()


def _catch_sigterm() -> None:
    """Flush before SIGTERM ends this process.

    A worker of a pool waits in a system call. A signal that comes just before this call, or to another thread, does not
    interrupt it, and a handler in Python would run never. So the interpreter's wake-up pipe wakes a thread, which
    signals the main thread until the handler has begun.
    """
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    owner = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    if owner != -1:  # an event loop has it
        signal.set_wakeup_fd(owner)
        os.close(reader)
        os.close(writer)
        return
    _begun.clear()
    threading.Thread(target=_nudge, args=(reader,), name="otel-ml-sigterm", daemon=True).start()
    signal.signal(signal.SIGTERM, _terminated)


def _nudge(reader: int) -> None:
    while signal.SIGTERM not in os.read(reader, 4096):
        pass
    started = monotonic()
    while not _begun.wait(_NUDGE_S):
        if monotonic() - started > IDLE_S:  # the main thread is in C code, and would never run the handler
            flush_at_end()
            os.kill(os.getpid(), signal.SIGKILL)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)


def _terminated(number: int, _frame: FrameType | None) -> None:
    if not _begun.is_set():
        _begun.set()
        flush_at_end()
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)


def _forget_signal() -> None:
    """A child of this process shares the wake-up pipe with it, and has no thread that reads it."""
    if signal.getsignal(signal.SIGTERM) is _terminated:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
