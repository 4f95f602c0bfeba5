"""Checks arguments that must not raise: a bad one is reported once and left out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from otel_ml.encode.scalar import INT64_MAX
from otel_ml.problems import report


def mapping(value: object, argument: str) -> Mapping[Any, object] | None:
    """Return the mapping itself; None, and a report, for anything else."""
    if isinstance(value, Mapping):
        return cast("Mapping[Any, object]", value)
    report(f"no mapping {argument}", "%s must be a mapping by name, not %s; dropped", argument, type(value).__name__)
    return None


def event_time(time_ns: object) -> int | None:
    """Return a time that a span can hold (Unix nanoseconds); None, and a report, for anything else.

    >>> event_time(1_700_000_000_000_000_000)
    1700000000000000000
    """
    plain = getattr(time_ns, "item", lambda: time_ns)()
    if isinstance(plain, int) and 0 < plain <= INT64_MAX:
        return plain
    report("time_ns", "time_ns must be Unix nanoseconds from 1 to 2⁶³ − 1; using the current time")
    return None
