"""Keeps the service up: an unexpected error in one stage is counted and logged, and the stage continues."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections.abc import Callable, Generator

from collector_processor.own.drops import Drop
from collector_processor.own.telemetry import Telemetry

_log = logging.getLogger(__name__)


@contextlib.contextmanager
def survived(
    stage: str, telemetry: Telemetry, *, part: str = "", drop: Drop | None = None, items: int = 0
) -> Generator[None, None, None]:
    """Count (``otel_ml_errors_total{stage=…}``) and log any exception that the block raises, and continue after it.

    ``part`` names the part that fails in the log, where a stage has several. ``drop`` is what the error causes to be
    dropped, and ``items`` how much of it.

    >>> telemetry = Telemetry()
    >>> logging.disable(); _ = None
    >>> with survived("evaluate", telemetry):
    ...     raise RuntimeError("a bug")
    >>> logging.disable(logging.NOTSET)
    >>> telemetry.registry.get_sample_value("otel_ml_errors_total", {"stage": "evaluate"})
    1.0
    """
    try:
        yield
    except Exception:  # noqa: BLE001 -- one bad batch or monitor must not end the statistics
        telemetry.errors.labels(stage).inc()
        if drop is not None:
            telemetry.dropped(drop, items)
        _log.exception("%s failed; the service continues", f"{stage} of {part}" if part else stage)


def in_thread(work: Callable[..., object], *arguments: object) -> asyncio.Future[None]:
    """Run blocking work in a daemon thread; unlike asyncio's own threads, one that hangs cannot keep the process."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[None] = loop.create_future()

    def finish(error: BaseException | None) -> None:
        if done.done():  # nobody waits for it any longer
            return
        if error is None:
            done.set_result(None)
        else:
            done.set_exception(error)

    def run() -> None:
        error: BaseException | None = None
        try:
            work(*arguments)
        except BaseException as failure:  # noqa: BLE001 -- whoever awaits it gets it
            error = failure
        with contextlib.suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(finish, error)

    threading.Thread(target=run, name="stopping", daemon=True).start()
    return done
