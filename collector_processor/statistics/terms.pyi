from collections.abc import Sequence

from collector_processor.columns.batch import F64, I32, I64

def add_terms(sums: F64, groups: I32, terms: Sequence[F64], cells: I64 | None, everything: bool) -> None:
    """Add each of ``T`` terms ``[n]`` in place to the cell of each row in each of its groups; sums are ``[G, C, T]``.

    ``groups`` ``[n, s]``; those below 1 are left out, and all rows are added to group 0 if ``everything``. ``cells``
    are ``[n]``; None is cell 0. The terms are contiguous.
    """

def read_curve(scores: F64, knots: F64, values: F64, least: float, most: float) -> F64:
    """Return what ``numpy.interp`` does, to the last digit; NaN for NaN and for a score that is not between the limits.

    ``knots`` ascend; ``scores`` are contiguous.
    """

def add_estimated(
    p: F64,
    predicted: I32,
    weights: F64,
    positive: int,
    groups: I32,
    sums: F64,
    coarse_units: float,
    fine_units: float,
) -> int:
    """Add rows in place to :attr:`.EstimatedSums.by_class`; return how many lack a probability or a class."""

def add_right(p: F64, predicted: I32, weights: F64, positive: int, groups: I32, sums: F64) -> None:
    """Add rows of a binary model in place to :attr:`.CombinedSums.rows`; ``p`` is that of the positive class."""
