"""The tables that every tool gets: 20 numeric and 5 categorical columns, drawn by a fixed seed, with known drift.

Numeric columns are normal, exponential and Student's t with 3 degrees of freedom in turn. Of every five numeric columns
the current side moves one by 0.1, one by 0.5, stretches one by 1.2 and leaves two alone; of the categorical columns the
odd ones get other frequencies. Nothing is missing, as not every tool can bear that.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

NUMERIC, CATEGORICAL, CATEGORIES = 20, 5, 8
_SEED = 20_240
_VERSION = 1
"""Part of the files' names; another one where what is drawn changes."""
Side = Literal["reference", "current"]


def written(folder: Path, side: Side, rows: int) -> Path:
    """The Parquet file of one side, which is drawn and written where it is not there yet."""
    path = folder / f"{side}-{rows}-v{_VERSION}.parquet"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(".part")
        pq.write_table(drawn(side, rows), unfinished, store_schema=False)
        unfinished.replace(path)
    return path


def drawn(side: Side, rows: int) -> pa.Table:
    """One side as plain doubles and texts."""
    rng = np.random.default_rng((_SEED, side == "current"))
    draws: tuple[Callable[[int], np.ndarray], ...] = (
        rng.standard_normal,
        rng.standard_exponential,
        lambda size: rng.standard_t(3, size),
    )
    columns: dict[str, pa.Array] = {}
    for position in range(NUMERIC):
        move, stretch = _drift(position) if side == "current" else (0.0, 1.0)
        columns[f"number_{position:02}"] = pa.array(draws[position % 3](rows) * stretch + move)
    names = pa.array([f"category-{code}" for code in range(CATEGORIES)])
    for position in range(CATEGORICAL):
        shares = np.linspace(1.0, 1.5 if side == "current" and position % 2 else 1.0, CATEGORIES)
        codes = rng.choice(CATEGORIES, rows, p=shares / shares.sum())
        columns[f"kind_{position:02}"] = names.take(pa.array(codes))
    return pa.table(columns)


def _drift(position: int) -> tuple[float, float]:
    """By how much a numeric column moves, and by what it is stretched."""
    return ((0.0, 1.0), (0.1, 1.0), (0.5, 1.0), (0.0, 1.2), (0.0, 1.0))[position % 5]
