"""What a topic is, and what it returns: checks (a promise and what was measured) and tables."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Check:
    """One promise beside what was measured. ``goal`` is the promise in words, with its number."""

    what: str
    goal: str
    measured: str
    held: bool

    @classmethod
    def at_most(cls, what: str, measured: float, limit: float, unit: str = "") -> Check:
        """Return the check that a figure is not above a limit; NaN is above every limit.

        >>> Check.at_most("error", 2e-16, 1e-12)
        Check(what='error', goal='≤ 1e-12', measured='2e-16', held=True)
        """
        return cls(what, f"≤ {number(limit)}{unit}", f"{number(measured)}{unit}", measured <= limit)

    @classmethod
    def at_least(cls, what: str, measured: float, limit: float, unit: str = "") -> Check:
        """Return the check that a figure is not below a limit; NaN is below every limit."""
        return cls(what, f"≥ {number(limit)}{unit}", f"{number(measured)}{unit}", measured >= limit)

    @classmethod
    def equal(cls, what: str, measured: object, expected: object) -> Check:
        """Return the check that two things are the same."""
        return cls(what, f"= {expected}", str(measured), measured == expected)


@dataclass(frozen=True, slots=True)
class Table:
    """A table of the page, with a sentence above it that says how to read it."""

    text: str
    header: Sequence[str]
    rows: Sequence[Sequence[object]]

    def lines(self) -> list[str]:
        """Return the table in Markdown."""
        head = [self.text, "", "| " + " | ".join(self.header) + " |", "|---" * len(self.header) + "|"]
        return [*head, *("| " + " | ".join(map(_cell, row)) + " |" for row in self.rows)]


@dataclass(frozen=True, slots=True)
class Findings:
    """What one run of a topic found; ``data`` says on which rows, ``versions`` with which packages."""

    data: str
    checks: Sequence[Check]
    tables: Sequence[Table] = ()
    versions: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def held(self) -> bool:
        """Return whether every promise was kept. Without a check, nothing was promised and nothing kept."""
        return bool(self.checks) and all(check.held for check in self.checks)


@dataclass(frozen=True, slots=True)
class Topic:
    """One file of ``verification/topics``.

    ``run(quick, progress)`` measures. With ``quick`` it takes a second or two, and shows that the code works rather
    than how well; ``make test`` runs that of every topic that needs no ``oracles``, which are the names of foreign
    environments (:mod:`.oracle`). ``page`` is the page of the method in ``docs``.
    """

    title: str
    run: Callable[[bool, Progress], Findings]
    oracles: Sequence[str] = ()
    page: str = ""


def versions(*packages: str) -> dict[str, str]:
    """Return the versions of packages of this environment."""
    return {package: version(package) for package in packages}


def number(value: float) -> str:
    """Return a figure with three digits.

    >>> number(0.00012345), number(0.25), number(1234567.0), number(3.0)
    ('0.000123', '0.25', '1,234,567', '3')
    """
    return f"{value:,.0f}" if abs(value) >= 1000.0 else f"{value:.3g}"


def largest(values: Iterable[float]) -> float:
    """Return the largest figure; NaN if one is NaN, because ``max`` would pass over it, and 0 for none."""
    found = list(values)
    return max(found, default=0.0) if all(value == value for value in found) else float("nan")


def _cell(value: object) -> str:
    return number(value) if isinstance(value, float) else str(value)
