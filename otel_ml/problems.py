"""What went wrong while watching a prediction: said once per kind in the log, never to the application."""

from __future__ import annotations

import logging
import traceback
from contextlib import suppress

_logger = logging.getLogger("otel_ml")

_LIMIT = 200
"""Kinds remembered; beyond it new kinds stay silent, so that neither memory nor the log grows."""

_seen: set[str] = set()


def report(kind: str, message: str, *parts: object, error: BaseException | None = None) -> None:
    """Log a problem as a warning, the first time its kind occurs in this process.

    ``kind`` identifies the problem (it may hold a model's and a feature's name), ``message`` and ``parts`` are a
    ``%`` template as in :mod:`logging`. Of ``error`` only the type and the place are told, because messages of
    exceptions often quote values that must not leave the process. Never raises.

    >>> report("doctest", "said once")
    >>> "doctest" in _seen
    True
    """
    if kind in _seen or len(_seen) >= _LIMIT:
        return
    _seen.add(kind)
    with suppress(Exception):  # a log handler's failure must not reach the application either
        _logger.warning(message + "%s (logged once)", *parts, "" if error is None else f": {_describe(error)}")


def _describe(error: BaseException) -> str:
    place = traceback.extract_tb(error.__traceback__, limit=-1)
    where = f" at {place[0].filename}:{place[0].lineno}" if place else ""
    return f"{type(error).__name__}{where}"


def forget() -> None:
    """Let every kind be logged again (for tests)."""
    _seen.clear()
