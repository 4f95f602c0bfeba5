"""Leaves of the cells of causes, and causes of a change, in words."""

from __future__ import annotations

from typing import Final

import numpy as np

from collector_processor.monitors.drift_words import quoted
from collector_processor.statistics.fits.cause_cells import CauseCells
from collector_processor.statistics.fits.inputs import MISSING, UNSEEN

_LENGTH: Final = 40
_CATEGORIES: Final = 3


def cause_text(*, concept: bool, value: float, change: float, unit: str) -> str:
    """Return the larger cause of a change in words.

    >>> cause_text(concept=True, value=0.031, change=0.04, unit="")
    'of the rise in errors, 0.031 of 0.04 comes from the same cases turning out differently'
    >>> cause_text(concept=True, value=0.05, change=0.04, unit="")
    'the same cases turning out differently raised errors by 0.05; other cases took 0.01 of it back'
    """
    causes = ("the same cases turning out differently", "other cases")
    cause, other = causes if concept else causes[::-1]
    of = f" {unit}" if unit else ""
    if value > change:
        return f"{cause} raised errors by {value:.2g}{of}; {other} took {value - change:.2g}{of} of it back"
    return f"of the rise in errors, {value:.2g} of {change:.2g}{of} comes from {cause}"


def leaf_text(fit: CauseCells, leaf: int) -> str:
    """Return the rows of a leaf in words: ``age up to 30, city 'oslo' or 'rome'``."""
    if leaf == fit.leaves - 1:
        return "rows beyond the reference"
    trees = fit.trees
    numeric = len(fit.inputs.numeric)
    low, high = np.full(numeric, -np.inf), np.full(numeric, np.inf)
    kept: dict[int, set[int]] = {}
    for node, to_left in _path(fit, leaf):
        place = int(trees.feature[node])
        if place < numeric:
            side, limit = (high, np.minimum) if to_left else (low, np.maximum)
            side[place] = limit(side[place], trees.threshold[node])
            continue
        first, last = trees.set_starts[trees.sets[node] : trees.sets[node] + 2].tolist()
        inside = set(trees.set_codes[first:last].tolist())
        every = {UNSEEN, *fit.inputs.codes[place - numeric].values()}
        kept[place] = kept.get(place, every) & (inside if to_left else every - inside)
    parts = [_range(fit.inputs.names[place], low[place], high[place]) for place in range(numeric)]
    parts += [_codes(fit, place, codes) for place, codes in sorted(kept.items())]
    return ", ".join(part for part in parts if part) or "all rows"


def _path(fit: CauseCells, leaf: int) -> list[tuple[int, bool]]:
    """Return the nodes above a leaf, and whether the way goes to the left."""
    path: list[tuple[int, bool]] = []
    child = -1 - leaf
    for node in reversed(range(len(fit.trees.feature))):
        for children, to_left in ((fit.trees.left, True), (fit.trees.right, False)):
            if int(children[node]) == child:
                path.append((node, to_left))
                child = node
                break
    return path


def _range(name: str, low: float, high: float) -> str:
    name, huge = name[:_LENGTH], float(np.finfo(float).max)
    low, high = (-np.inf if low <= -huge else low), (np.inf if high >= huge else high)
    if np.isfinite(low) and np.isfinite(high):
        return f"{name} {low:.6g} to {high:.6g}"
    if np.isfinite(high):
        return f"{name} up to {high:.6g}"
    return f"{name} above {low:.6g}" if np.isfinite(low) else ""


def _codes(fit: CauseCells, place: int, codes: set[int]) -> str:
    names = fit.inputs.codes[place - len(fit.inputs.numeric)]
    named = (name for name, code in names.items() if code in codes and code != UNSEEN)
    shown = sorted("missing" if name == MISSING else quoted(name) for name in named)
    if UNSEEN in codes:
        shown.append("other")
    more = f" or {len(shown) - _CATEGORIES} more" if len(shown) > _CATEGORIES else ""
    return f"{fit.inputs.names[place][:_LENGTH]} {' or '.join(shown[:_CATEGORIES])}{more}"
