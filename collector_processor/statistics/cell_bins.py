"""The fine bin of each cell, for sums that need it row by row."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from collector_processor.columns.batch import I64, Column
from collector_processor.statistics import built
from collector_processor.statistics.guide import guide_of
from collector_processor.statistics.schema import Schema


def fine_bins(
    schema: Schema, positions: I64, columns: Sequence[Column | None], rows: int, chosen: I64 | None = None
) -> NDArray[np.int16]:
    """Return the fine bin of cells of the numeric columns at ``positions``, ``[k, m]``; −1 for one without a number.

    ``chosen`` are m of the ``rows`` rows, None is all of them. A column that is None has no numbers.
    """
    values = [None if column is None or column.numbers is None else column.numbers for column in columns]
    guide = guide_of(schema.edges)
    if built.sums is not None:
        whole = [None if numbers is None else np.ascontiguousarray(numbers) for numbers in values]
        return built.sums.find_bins(whole, positions, rows, chosen, guide)
    found = np.full((len(values), rows if chosen is None else len(chosen)), -1, np.int16)
    for row, numbers in enumerate(values):
        if numbers is not None:
            taken = numbers if chosen is None else numbers[chosen]
            found[row] = np.where(np.isnan(taken), -1, guide.index(int(positions[row]), taken[None, :])[0])
    return found
