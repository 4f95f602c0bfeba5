"""Keeps the service up: an unexpected error in one stage is counted and logged, and the stage continues."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Generator

from collector_processor.own.drops import Drop
from collector_processor.own.telemetry import Telemetry

_log = logging.getLogger(__name__)


@contextlib.contextmanager
def survived(
    stage: str, telemetry: Telemetry, *, drop: Drop | None = None, items: int = 0
) -> Generator[None, None, None]:
    """Count (``otel_ml_errors_total{stage=…}``) and log any exception that the block raises, and continue after it.

    ``drop`` is what the error causes to be dropped, and ``items`` how much of it.

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
        _log.exception("%s failed; the service continues", stage)
