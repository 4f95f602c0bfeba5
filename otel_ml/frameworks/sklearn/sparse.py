"""Features of sparse matrices, whose absent cells are zeros, and not missing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from otel_ml.frameworks.calls import dimensions
from otel_ml.problems import report

MAX_COLUMNS: Final = 256
"""Columns of a sparse matrix up to which its features are sent: wider ones are texts, most of them."""
MAX_CELLS: Final = 1_000_000
"""Cells up to which a sparse matrix is made dense: 8 MB of numbers."""


def dense_of(args: tuple[Any, ...], kwargs: Mapping[str, Any], model: str, name: str = "X") -> Any:
    """Return a small sparse matrix as an array, None for anything else; a large one is reported once.

    >>> import numpy as np
    >>> class Matrix:
    ...     ndim, shape = 2, (1, 2)
    ...     def toarray(self):
    ...         return np.array([[0, 3]])
    >>> dense_of((Matrix(),), {}, "churn"), dense_of(([[1, 2]],), {}, "churn") is None
    (array([[0, 3]]), True)
    """
    table: Any = args[0] if args else kwargs.get(name)
    if not hasattr(table, "toarray") or dimensions(table) != 2:
        return None
    rows, columns = table.shape
    if columns <= MAX_COLUMNS and rows * columns <= MAX_CELLS:
        return table.toarray()
    report(
        f"sparse {model}",
        "model %r predicts for sparse matrices of more than %d columns or %d cells, such as %d x %d, whose "
        "features are not sent",
        model,
        MAX_COLUMNS,
        MAX_CELLS,
        rows,
        columns,
    )
    return None
