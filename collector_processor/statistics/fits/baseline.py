"""How far a figure of performance is from its expectation by chance, and how it varied over the reference."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure of performance over the reference.

    Its standard error over ``n`` rows is ``deviation`` / √(n · ``share``). ``low`` and ``high`` are three standard
    deviations around its mean over ten parts of the reference, NaN if no part has it.
    """

    deviation: float
    share: float
    low: float
    high: float

    def error(self, rows: float) -> float:
        """Return the standard error over this many rows; NaN if the reference has no rows that the figure is about.

        >>> Figure(0.5, 0.25, 0.0, 1.0).error(400.0)
        0.05
        """
        counted = rows * self.share
        return float(self.deviation / counted**0.5) if counted > 0.0 else float("nan")


@dataclass(frozen=True, slots=True)
class Baseline:
    """The figures of performance over the reference, by name."""

    figures: Mapping[str, Figure]
