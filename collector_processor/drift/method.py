"""What every drift method takes and returns: one comparison of all columns of a kind, and a score for each column."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal, Protocol

import numpy as np

from collector_processor.columns.batch import F64

ColumnKind = Literal["numeric", "categorical"]


def cumulated_gap(reference: F64, current: F64) -> F64:
    """Return F − G at the upper edge of each bin, for counts ``[F, B]``; NaN if a side is empty.

    Nothing is clipped, for speed: tiny negative counts do no harm in the sums that are made of this.

    >>> cumulated_gap(np.array([[1.0, 3.0]]), np.array([[1.0, 1.0]])).tolist()
    [[-0.25, 0.0]]
    """
    n, m = reference.sum(axis=1, keepdims=True), current.sum(axis=1, keepdims=True)
    apart = reference / np.where(n > 0, n, np.nan)
    apart -= current / np.where(m > 0, m, np.nan)
    return np.cumsum(apart, axis=1, out=apart)


@dataclass(frozen=True)
class Fine:
    """The fine view of numeric columns: counts and excess are ``[F, B]``, edges ``[F, B-1]`` (``+inf`` padded).

    See :class:`.schema.Schema` for the bins and :class:`.pane.Pane` for ``excess``.
    """

    edges: F64
    reference_counts: F64
    current_counts: F64
    reference_excess: F64
    current_excess: F64
    spread: F64
    """Standard deviation of each column in the reference, ``[F]``."""
    bridge: F64 | None = None
    """∫ √(F(1 − F)) dx of each column in the reference, ``[F]``, if already known (:func:`.wasserstein.bridge`)."""

    @cached_property
    def gap(self) -> F64:
        """The :func:`cumulated_gap` of the two sides, computed once for all methods; read-only."""
        gap = cumulated_gap(self.reference_counts, self.current_counts)
        gap.setflags(write=False)
        return gap


@dataclass(frozen=True, slots=True)
class Comparison:
    """Reference against current for ``F`` columns of one kind.

    ``reference`` and ``current`` are weighted counts ``[F, K]``: the coarse (decile) bins of numeric columns, or the
    categories of categorical ones, padded with bins that are empty on both sides. Only numeric ones have ``fine``.
    """

    kind: ColumnKind
    reference: F64
    current: F64
    fine: Fine | None = None


class DriftMethod(Protocol):
    """One way to measure how far the current distribution is from the reference; stateless.

    ``score`` is 0 for equal distributions and grows with distance. ``p_value`` is None for a method without a test.
    ``noise`` is the score that two samples of these sizes from *one* distribution exceed with probability ``alpha``:
    a threshold below it would only raise false alarms.
    """

    @property
    def name(self) -> str:
        """The value of ``ml.drift.method``."""
        ...

    @property
    def kinds(self) -> tuple[ColumnKind, ...]:
        """The kinds of columns that it works on."""
        ...

    @property
    def threshold(self) -> float:
        """The default threshold, for scores of large samples."""
        ...

    def score(self, comparison: Comparison) -> F64:
        """Return the drift score of each column, ``[F]``; NaN if a side is empty."""
        ...

    def p_value(self, comparison: Comparison, score: F64 | None = None) -> F64 | None:
        """Return the probability of a score this high without drift, ``[F]``; pass ``score`` if it is already known."""
        ...

    def noise(self, comparison: Comparison, alpha: float) -> F64:
        """Return the score at significance ``alpha`` for samples of these sizes, ``[F]``."""
        ...
