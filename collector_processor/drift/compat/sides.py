"""What the figures of other tools are made of, and what they are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import nan

import numpy as np

from collector_processor.columns.batch import F64, I64
from collector_processor.drift.method import Fine

EACH_VALUE = 0
"""The key of the bins that hold one value each."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure of one column; ``breached`` is None if the tool's limits come from chunks of the reference."""

    method: str
    value: float
    p_value: float = nan
    threshold: float = nan
    breached: bool | None = None


@dataclass(frozen=True, slots=True)
class NumericSides:
    """One numeric column: its fine bins (``[1, B]``), and the positions of the tool's edges by their number of bins."""

    fine: Fine
    grids: Mapping[int, I64]

    @property
    def reference_rows(self) -> float:
        """Return the cells of the reference."""
        return float(self.fine.reference_counts.sum())

    @property
    def current_rows(self) -> float:
        """Return the cells of the window."""
        return float(self.fine.current_counts.sum())

    def binned(self, bins: int) -> tuple[F64, F64] | None:
        """Return both sides' counts ``[bins + 2]``: below, in each bin, above; None if the profile lacks these bins."""
        at = self.grids.get(bins)
        if at is None:
            return None
        return _between(self.fine.reference_counts[0], at), _between(self.fine.current_counts[0], at)


def _between(counts: F64, at: I64) -> F64:
    """Return the counts ``[B]`` between the edges at these positions, ``[len(at) + 1]``.

    >>> _between(np.array([1.0, 2.0, 3.0, 4.0]), np.array([0, 2])).tolist()
    [1.0, 5.0, 4.0]
    """
    cumulative = np.cumsum(np.maximum(counts, 0.0))
    return np.diff(np.concatenate(([0.0], cumulative[at], cumulative[-1:])))
