from collections.abc import Sequence

from collector_processor.columns.batch import F64, I32, I64
from collector_processor.statistics.guide import Guide

def add_numbers(
    columns: Sequence[F64 | None],
    weights: F64 | None,
    rows: int,
    height: int,
    first: int,
    guide: Guide,
    counts: F64,
    excess: F64,
) -> F64:
    """Adds cells to ``counts`` and ``excess`` ``[F, B]`` in place, those of ``columns`` from position ``first`` on.

    Rows are taken ``height`` at a time. Returns for each column how many cells are no numbers, weighted.
    """

def count_codes(codes: I32, size: int) -> I64:
    """How often each code from −1 to ``size`` − 1 occurs, ``[size + 1]``; raises :class:`ValueError` for others."""
