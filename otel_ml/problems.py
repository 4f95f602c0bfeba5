"""Problems while observing a prediction: logged once per kind, never raised into the application."""

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

    ``kind`` identifies the problem (it may contain the names of a model and a feature), ``message`` and ``parts`` are a
    ``%`` template as in :mod:`logging`. Of ``error`` only the type and the place are logged, because messages of
    exceptions often quote values that must not leave the process. Never raises.

    >>> report("doctest", "logged once")
    >>> "doctest" in _seen
    True
    """
    if kind in _seen or len(_seen) >= _LIMIT:
        return
    _seen.add(kind)
    with suppress(Exception):  # a log handler's failure must not reach the application either
        _logger.warning(message + "%s (logged once)", *parts, "" if error is None else f": {_describe(error)}")


def report_unsupported(attribute: str, reason: object) -> None:
    """Report a value that the attribute cannot hold; it is dropped."""
    report(f"unsupported {attribute}", "%s: %s; dropped", attribute, reason)


def report_over_limit(what: str, number: int, limit: int) -> None:
    """Report more columns, classes or segments than a call may have; those beyond the limit are dropped."""
    report(f"{what} over limit", "%d %s, the limit is %d; the rest are dropped", number, what, limit)


def report_misfit(attribute: str, cells: int, rows: int) -> None:
    """Report a column whose length differs from the number of rows in the call; it is dropped."""
    report(f"length {attribute}", "%s: %d values for %d rows; dropped", attribute, cells, rows)


def _describe(error: BaseException) -> str:
    place = traceback.extract_tb(error.__traceback__, limit=-1)
    where = f" at {place[0].filename}:{place[0].lineno}" if place else ""
    return f"{type(error).__name__}{where}"


def forget() -> None:
    """Log every kind again, as at the start of the process."""
    _seen.clear()
