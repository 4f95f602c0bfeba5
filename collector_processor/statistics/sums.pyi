from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

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
    """Add the cells of ``columns``, from position ``first`` on, in place to ``counts`` and ``excess`` ``[F, B]``.

    Processes ``height`` rows at a time. Returns the weighted count of cells that are not numbers, for each column.
    """

def find_bins(
    columns: Sequence[F64 | None], positions: I64, rows: int, chosen: I64 | None, guide: Guide
) -> NDArray[np.int16]:
    """Return the bin of the chosen cells of the columns at ``positions``, ``[k, m]``; −1 for one without a number.

    ``chosen`` are m of the ``rows`` rows; None is all of them. A column that is None has no numbers.
    """

def add_pairs(cells: I64, weights: F64, losses: F64, total: int, counts: F64, sums: F64) -> None:
    """Add every pair of cells of each row, and each cell with itself, in place to the triangles of ``total`` cells.

    ``cells`` ``[n, C]`` ascend in each row; ``weights`` go to ``counts``, ``losses`` to ``sums``.
    """

def count_codes(codes: I32, size: int) -> I64:
    """Return how often each code from −1 to ``size`` − 1 occurs, ``[size + 1]``; raise ``ValueError`` for others."""
