"""Silences: rules that suppress notices for a while."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from collector_processor.alerts.rules import Where, matches
from collector_processor.monitors.attributes import Attributes


@dataclass(frozen=True, slots=True)
class Silence:
    """Series that match ``where`` under one of ``rules`` (any if empty), from ``from_ns`` until before ``until_ns``."""

    where: Where = ()
    rules: tuple[str, ...] = ()
    from_ns: int | None = None
    until_ns: int | None = None
    comment: str = ""

    def holds(self, now_ns: int) -> bool:
        """Return whether it is in force at a time.

        >>> Silence(from_ns=10, until_ns=20).holds(10), Silence(until_ns=20).holds(20)
        (True, False)
        """
        return (self.from_ns is None or self.from_ns <= now_ns) and (self.until_ns is None or now_ns < self.until_ns)

    def covers(self, rule: str, attributes: Iterable[tuple[str, str]]) -> bool:
        """Return whether it covers a series under a rule."""
        return (not self.rules or rule in self.rules) and matches(self.where, attributes)


def silenced(silences: Sequence[Silence], rule: str, attributes: Attributes) -> bool:
    """Return whether any of the silences (those in force) covers a series."""
    return any(silence.covers(rule, attributes) for silence in silences)
