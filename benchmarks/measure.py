"""Clocks, medians, and one line of the result."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import TypeVar

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the result: what, what is to be reached (if anything), what this run measured.

    ``ratio`` says how much of the target was reached, 1 or more being all of it; None where there is no target.
    ``baseline`` is what it is compared with, measured in the same run; ``why`` explains a miss.
    """

    what: str
    measured: str
    reach: str = ""
    ratio: float | None = None
    baseline: str = ""
    why: str = ""

    @property
    def verdict(self) -> str:
        """Whether the target was reached."""
        if self.ratio is None:
            return ""
        return "yes" if self.ratio >= 1.0 else "**no**"


def clock_s() -> float:
    """The CPU time of this thread. Where a thread works alone and waits for nothing, it is the wall time of a machine
    that nobody else uses.
    """
    return time.thread_time()


def seconds(work: Callable[[], object], times: int = 5) -> float:
    """Median time of one call, as of :func:`clock_s`."""
    return median(_timed(work) for _ in range(times))


def prepared_seconds(prepare: Callable[[], _T], work: Callable[[_T], object], times: int = 5) -> float:
    """Median time of ``work`` on something made anew before each call, which is not timed."""
    found: list[float] = []
    for _ in range(times):
        subject = prepare()
        found.append(_timed(lambda subject=subject: work(subject)))
    return median(found)


def together(works: Sequence[Callable[[], object]], rounds: int) -> list[list[float]]:
    """Times of several things taken in turns, so that a slow moment of the machine meets them all."""
    found: list[list[float]] = [[] for _ in works]
    for _ in range(rounds):
        for times, work in zip(found, works, strict=True):
            times.append(_timed(work))
    return found


def ratio(above: Sequence[float], below: Sequence[float]) -> float:
    """Median of the ratios, round by round."""
    return median(a / b for a, b in zip(above, below, strict=True))


def rate(per_second: float) -> str:
    """A rate with a unit prefix.

    >>> rate(2_960_000.0), rate(4_321.0), rate(7.25)
    ('2.96 M/s', '4.3 k/s', '7.2/s')
    """
    if per_second >= 1e6:
        return f"{per_second / 1e6:.2f} M/s"
    return f"{per_second / 1e3:.1f} k/s" if per_second >= 1e3 else f"{per_second:.1f}/s"


def table(rows: Sequence[Row]) -> list[str]:
    """The lines of a Markdown table."""
    lines = ["| what | reach | measured | baseline, same run | reached |", "|---|---|---|---|---|"]
    for row in rows:
        cells = (row.what, row.reach or "–", row.measured, row.baseline or "–", row.verdict or "–")
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def _timed(work: Callable[[], object]) -> float:
    start = clock_s()
    work()
    return clock_s() - start
