"""Read panes of earlier versions, which counted every pair of classes: ``outcomes.confusion`` ``[G, K, K]``."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from collector_processor.columns.batch import F64
from collector_processor.statistics.classes import by_class_of
from collector_processor.window.compact_panes import Array, Compact, compacted, parts_from_arrays, parts_to_arrays

CONFUSION = "outcomes.confusion"
BY_CLASS = "outcomes.by_class"


def with_classes(arrays: Mapping[str, Array]) -> tuple[Mapping[str, Array], int]:
    """Return the arrays of panes as they are named now, and how many panes lost their sums of classes.

    Classes beyond the limit were one class, so that a wrong prediction was right if both classes were beyond it. Sums
    with such rows cannot be made right, and are left out. Raises ``ValueError`` for damaged arrays.
    """
    if f"{CONFUSION}.layout" not in arrays:
        return arrays, 0
    parts: list[Compact] = []
    lost = 0
    for part in parts_from_arrays(arrays, CONFUSION, 3):
        by_class, complete = by_class_of(_expanded(part))
        lost += not complete
        parts.append(compacted(by_class))
    others = {name: values for name, values in arrays.items() if not name.startswith(f"{CONFUSION}.")}
    return {**others, **parts_to_arrays(BY_CLASS, parts)}, lost


def _expanded(part: Compact) -> F64:
    values = np.zeros(part.shape)
    part.add_to(values)
    return values
