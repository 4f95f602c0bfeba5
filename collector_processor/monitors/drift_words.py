"""What has drifted, in words for the person who gets an alert: the worst columns first, and what changed in them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

import numpy as np

from collector_processor.columns.batch import F64, Mask
from collector_processor.drift.cohen_h import changes
from collector_processor.reference.profile import Reference
from collector_processor.statistics.pane import Pane
from collector_processor.statistics.parts.observed import Observed
from collector_processor.statistics.schema import ColumnSpec
from collector_processor.statistics.vectors import grown
from collector_processor.window.closed import Window

MOST: Final = 5
"""Columns that a text names."""
_LENGTH: Final = 40
"""Characters of a name that a text shows; names come over the network."""


class Drifted(NamedTuple):
    """One column that has drifted: how far beyond its threshold under which method, and where it is in the schema."""

    column: ColumnSpec
    method: str
    score: float
    excess: float
    position: int
    numeric: bool


def drifted_columns(
    columns: Sequence[ColumnSpec], method: str, score: F64, threshold: F64, which: Mask, *, numeric: bool
) -> Iterator[Drifted]:
    """Yield the chosen columns, with their score as a multiple of the threshold."""
    for place in np.flatnonzero(which).tolist():
        excess = float(score[place]) / max(float(threshold[place]), 1e-300)
        yield Drifted(columns[place], method, float(score[place]), excess, place, numeric)


def worst_of(found: Sequence[Drifted]) -> list[Drifted]:
    """Return each column once, under the method that it exceeds most, the worst first."""
    best: dict[ColumnSpec, Drifted] = {}
    for each in found:
        known = best.get(each.column)
        if known is None or each.excess > known.excess:
            best[each.column] = each
    return sorted(best.values(), key=lambda each: -each.excess)


def share_words(share: float, found: Sequence[Drifted], window: Window, reference: Reference) -> str:
    """Return how many features drifted, and the worst of them; empty if none did.

    For example ``33 % of features drifted: country (js 0.42, new value 'XK' 12 %), items (js 0.25, median 2 → 5)``.
    """
    if not found:
        return ""
    named = [column_words(each, window, reference, naming=True) for each in found[:MOST]]
    rest = f" and {len(found) - MOST} more" if len(found) > MOST else ""
    return f"{percent(share)} of features drifted: {', '.join(named)}{rest}"


def column_words(each: Drifted, window: Window, reference: Reference, *, naming: bool = False) -> str:
    """Return what changed in one column: its method and score, and the category or the median that moved most."""
    change = _median_words(each, window, reference) if each.numeric else _category_words(each, window, reference)
    words = f"{each.method} {each.score:.2g}" + (f", {change}" if change else "")
    return f"{cut(each.column.name)} ({words})" if naming else words


def percent(share: float) -> str:
    """Return a share as a text.

    >>> percent(0.3333), percent(0.002), percent(0.0), percent(1.0)
    ('33 %', '0.2 %', '0 %', '100 %')
    """
    return f"{100.0 * share:.3g} %" if share < 0.1 else f"{100.0 * share:.0f} %"


def cut(name: str) -> str:
    """Return a name, shortened if it is long.

    >>> cut("age"), len(cut("x" * 99))
    ('age', 41)
    """
    return name if len(name) <= _LENGTH else name[:_LENGTH] + "…"


def quoted(name: str) -> str:
    """Return a class or a category in quotes, because it may be a word such as *no*.

    >>> quoted("no")
    "'no'"
    """
    return f"'{cut(name)}'"


def _category_words(each: Drifted, window: Window, reference: Reference) -> str:
    categories = window.schema.categories
    slots = categories.column_slots(each.position)
    counts = [grown(pane.category_counts, (len(categories),))[slots][None, :] for pane in (reference.pane, window.pane)]
    most = int(np.nan_to_num(changes(*counts), nan=-1.0)[0].argmax())
    before, after = (float(side[0, most] / max(side.sum(), 1e-300)) for side in counts)
    kind = "value" if each.column.role == "feature" else "class"
    # The first slot has the categories beyond the limit.
    name = f"{kind} {quoted(categories.name(int(slots[most])))}" if most else f"other {kind}s"
    return f"new {name} {percent(after)}" if before <= 0.0 else f"{name} {percent(before)} → {percent(after)}"


def _median_words(each: Drifted, window: Window, reference: Reference) -> str:
    if window.pane.further[Observed].numeric()[each.position]:
        return ""  # of counts by decile, the median is not known
    edges = reference.schema.edges[each.position]
    before, after = (_median(edges, pane, each.position) for pane in (reference.pane, window.pane))
    return "" if before == after else f"median {before:.3g} → {after:.3g}"


def _median(edges: F64, pane: Pane, position: int) -> float:
    """Return the lower edge of the bin that has the median, the upper one of the lowest bin."""
    counts = np.maximum(pane.counts[position], 0.0)
    middle = int(np.searchsorted(np.cumsum(counts), counts.sum() / 2.0))
    finite = max(int(np.isfinite(edges).sum()), 1)
    return float(edges[min(max(middle - 1, 0), finite - 1)])
