"""A small regression tree of the reference rows, in numpy: few leaves, none of which chance explains.

Source: L. Breiman, J. Friedman, R. Olshen and C. Stone, "Classification and Regression Trees", 1984. Leaves are split
best first. A split must explain more than chance does: it is chosen among hundreds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np

from collector_processor.columns.batch import F64, I64
from collector_processor.statistics.fits.trees import Trees

BINS: Final = 32
"""Ranges of a numeric input among which a split is looked for."""
CERTAIN: Final = 16.0
"""Least part of the variance that a split explains, in units of what chance explains on average: 4 standard errors."""
_SELECTED: Final = 32
"""Inputs that are looked at after the first split, those that explain most at the root."""


class _Split(NamedTuple):
    gain: float
    feature: int
    at: int
    """Of a numeric input, the last bin on the left."""
    members: tuple[int, ...]
    """Of a categorical one, the codes on the left."""
    missing_left: bool


@dataclass(slots=True, eq=False)
class _Node:
    rows: I64
    split: _Split | None
    left: _Node | None = None
    right: _Node | None = None
    number: int = -1


@dataclass(frozen=True, slots=True)
class _Columns:
    """Codes of all inputs, ``[F][n]``; of a numeric one, the bin, and the last for a missing value."""

    codes: list[I64]
    cuts: list[F64 | None]
    sizes: list[int]


def cuts_of(values: F64, count: int) -> F64:
    """Return at most ``count`` − 1 cuts of finite values into equal parts, each between two of the values.

    >>> cuts_of(np.array([1.0, 2.0, 2.0, 4.0]), 2).tolist()
    [1.5]
    """
    distinct = np.unique(values)
    wanted = np.quantile(values, np.arange(1, count) / count, method="higher") if len(values) else np.zeros(0)
    at = np.unique(np.searchsorted(distinct, wanted))
    at = at[at > 0]
    low, high = distinct[at - 1], distinct[at]
    cuts = low / 2.0 + high / 2.0
    return cuts[(cuts > low) & (cuts < high)]


def regression_tree(matrix: F64, numeric: int, target: F64, weights: F64, leaves: int, least: float) -> Trees:
    """Return one tree for rows ``[n, F]``, of which the first ``numeric`` inputs are numbers and the rest codes.

    A leaf has at least ``least`` equal rows. Leaves are numbered from left to right; values are means of the target.
    """
    columns = _coded(matrix, numeric)
    weights = weights * (weights.sum() / (weights @ weights))  # so that they count equal rows
    looked_at = list(range(matrix.shape[1]))
    rows = np.arange(len(matrix))
    if len(looked_at) > _SELECTED:
        gains = [_best(columns, [place], rows, target, weights, least) for place in looked_at]
        order = np.argsort([-(split.gain if split else 0.0) for split in gains], kind="stable")
        looked_at = sorted(order[:_SELECTED].tolist())
    root = _Node(rows, _best(columns, looked_at, rows, target, weights, least))
    waiting, grown = [root], list[_Node]()
    while len(grown) < leaves - 1:
        node = max(waiting, key=lambda each: each.split.gain if each.split else 0.0)
        if node.split is None:
            break
        waiting.remove(node)
        grown.append(node)
        inside = _goes_left(columns, node.split, node.rows)
        for side, rows in (("left", node.rows[inside]), ("right", node.rows[~inside])):
            child = _Node(rows, _best(columns, looked_at, rows, target, weights, least))
            setattr(node, side, child)
            waiting.append(child)
    return _trees(root, grown, columns, target, weights)


def _coded(matrix: F64, numeric: int) -> _Columns:
    codes: list[I64] = []
    cuts: list[F64 | None] = []
    sizes: list[int] = []
    for place, values in enumerate(matrix.T):
        if place < numeric:
            cut = cuts_of(values[np.isfinite(values)], BINS)
            code = np.where(np.isnan(values), len(cut) + 1, np.searchsorted(cut, values))
            cuts.append(cut)
            sizes.append(len(cut) + 2)
        else:
            code = values.astype(np.int64)
            cuts.append(None)
            sizes.append(int(code.max(initial=0)) + 1)
        codes.append(code)
    return _Columns(codes, cuts, sizes)


def _best(columns: _Columns, looked_at: list[int], rows: I64, target: F64, weights: F64, least: float) -> _Split | None:
    """Return the split that explains most of the target's variance beyond chance; None for none."""
    w = weights[rows]
    total = w.sum()
    if total < 2.0 * least:
        return None
    mean = (w @ target[rows]) / total
    y = w * (target[rows] - mean)
    variance = float(y @ (target[rows] - mean)) / total
    if not variance > 0.0:
        return None
    found: _Split | None = None
    for place in looked_at:
        code = columns.codes[place][rows]
        mass: F64 = np.bincount(code, w, columns.sizes[place]).astype(np.float64, copy=False)
        sums: F64 = np.bincount(code, y, columns.sizes[place]).astype(np.float64, copy=False)
        numeric = columns.cuts[place] is not None
        split = (_of_numbers if numeric else _of_codes)(place, mass, sums, total, least, variance)
        if split is not None and (found is None or split.gain > found.gain):
            found = split
    return found


def _gains(mass: F64, sums: F64, total: float, least: float, variance: float) -> F64:
    """Return what splits after each bin explain, in units of the variance of one row; 0 where a side is too small.

    ``sums`` are those of deviations from the mean, so both sides have the same one.
    """
    left, s = np.cumsum(mass), np.cumsum(sums)
    right = total - left
    allowed = (left >= least) & (right >= least)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(allowed, s * s / variance * (1.0 / left + 1.0 / right), 0.0)


def _of_numbers(place: int, mass: F64, sums: F64, total: float, least: float, variance: float) -> _Split | None:
    found: _Split | None = None
    for missing_left in (False, True) if mass[-1] > 0.0 else (False,):
        first = int(missing_left)
        m, s = (np.concatenate((each[-1:], each[:-1])) if missing_left else each[:-1] for each in (mass, sums))
        gains = _gains(m, s, total, least, variance)
        at = int(gains.argmax())
        if gains[at] > CERTAIN and (found is None or gains[at] > found.gain):
            found = _Split(float(gains[at]), place, at - first, (), missing_left)
    return found


def _of_codes(place: int, mass: F64, sums: F64, total: float, least: float, variance: float) -> _Split | None:
    filled = np.flatnonzero(mass > 0.0)
    order = filled[np.argsort(sums[filled] / mass[filled], kind="stable")]
    gains = _gains(mass[order], sums[order], total, least, variance)
    # Means that were sorted explain as much of noise as all categories together do.
    more = len(filled) - 2.0
    noise = max(more, 0.0) + 4.0 * np.sqrt(2.0 * max(more, 0.0))
    at = int(gains.argmax())
    if not gains[at] - noise > CERTAIN:
        return None
    members = order[: at + 1]
    if 0 in members:  # a code that is not listed is in no set, so it goes to the right
        members = order[at + 1 :]
    return _Split(float(gains[at] - noise), place, 0, tuple(sorted(members.tolist())), missing_left=False)


def _goes_left(columns: _Columns, split: _Split, rows: I64) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    code = columns.codes[split.feature][rows]
    if split.members:
        return np.isin(code, split.members)
    missing = code == columns.sizes[split.feature] - 1
    return np.where(missing, split.missing_left, code <= split.at)


def _trees(root: _Node, grown: list[_Node], columns: _Columns, target: F64, weights: F64) -> Trees:
    for number, node in enumerate(grown):
        node.number = number
    values: list[float] = []
    left, right = [0] * len(grown), [0] * len(grown)

    def numbered(node: _Node) -> int:
        """Number the leaves below a node from left to right; return the node's number."""
        if node.left is None or node.right is None:
            w = weights[node.rows]
            values.append(float(w @ target[node.rows] / w.sum()))
            return -len(values)
        left[node.number], right[node.number] = numbered(node.left), numbered(node.right)
        return node.number

    first = numbered(root)
    splits = [node.split for node in grown if node.split is not None]
    sets = [split.members for split in splits if split.members]
    numbers = iter(range(len(sets)))
    return Trees.of(
        [first],
        [split.feature for split in splits],
        [_threshold(columns, split) for split in splits],
        left,
        right,
        [split.missing_left for split in splits],
        values,
        [next(numbers) if split.members else -1 for split in splits],
        [list(each) for each in sets],
    )


def _threshold(columns: _Columns, split: _Split) -> float:
    cut = columns.cuts[split.feature]
    if cut is None:
        return 0.0
    # All numbers are on the left if only missing values are on the right, and the other way around.
    return float(cut[split.at]) if 0 <= split.at < len(cut) else float(np.copysign(np.finfo(float).max, split.at))
