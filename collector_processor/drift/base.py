"""What every drift method takes and returns: one comparison of all columns of a kind, and a score for each column."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

from collector_processor.columns.batch import F64

Kind = Literal["numeric", "categorical"]


@dataclass(frozen=True, slots=True)
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


@dataclass(frozen=True, slots=True)
class Comparison:
    """Reference against current for ``F`` columns of one kind.

    ``reference`` and ``current`` are weighted counts ``[F, K]``: the coarse (decile) bins of numeric columns, or the
    categories of categorical ones, padded with bins that are empty on both sides. Only numeric ones have ``fine``.
    """

    kind: Kind
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
    def kinds(self) -> tuple[Kind, ...]:
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
