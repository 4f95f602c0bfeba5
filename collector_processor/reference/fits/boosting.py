"""LightGBM, where it is installed: boosted trees of the reference rows, as plain arrays.

Only ``otel-ml reference build`` needs it (``pip install 'otel-ml[estimate]'``); the service reads the arrays.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np

from collector_processor.columns.batch import F64, I64
from collector_processor.statistics.fits.trees import Trees

_CATEGORICAL: Final = 1
_DEFAULT_LEFT: Final = 2
_MISSING: Final = ("none", "zero", "nan")
QUIET: Final[Mapping[str, Any]] = {"verbosity": -1, "num_threads": 1, "deterministic": True, "seed": 0}
"""The same rows give the same trees."""


def lightgbm() -> Any:
    """Return the package, or None if it is not installed or does not start (it needs OpenMP's library)."""
    try:
        import lightgbm
    except (ImportError, OSError):
        return None
    return lightgbm


def grown(
    parameters: Mapping[str, Any],
    count: int,
    matrix: F64,
    target: F64,
    weights: F64,
    coded: Sequence[int],
    first: F64 | None = None,
) -> Trees:
    """Return the trees that LightGBM grows on rows ``matrix`` ``[n, F]``, the same ones each time.

    Inputs ``coded`` are codes of categories. ``first`` is what the trees are added to.
    """
    package = lightgbm()
    even = bool((weights == weights[0]).all())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its advice is about memory, and about rows that allow no further split
        data = package.Dataset(
            np.ascontiguousarray(matrix),
            target,
            weight=None if even else weights,
            init_score=None if first is None else np.ascontiguousarray(first),
            categorical_feature=list(coded),
            params={"verbosity": -1},
        )
        return dumped(package.train({**QUIET, **parameters}, data, count).model_to_string())


def dumped(text: str) -> Trees:
    """Return the trees of LightGBM's own text form (``Booster.model_to_string``), which has all digits.

    Raises ``ValueError`` for what they may not be: linear leaves, or zeros that count as missing.
    """
    roots: list[int] = []
    feature: list[int] = []
    threshold: list[float] = []
    left: list[int] = []
    right: list[int] = []
    missing_left: list[bool] = []
    sets: list[int] = []
    categories: list[list[int]] = []
    values: list[float] = []
    for tree in _trees(text):
        if tree.get("is_linear", "0") != "0":
            raise ValueError("trees with linear leaves cannot be stored")
        nodes, leaves = len(feature), len(values)
        values += map(float, tree["leaf_value"].split())
        if tree["num_leaves"] == "1":
            roots.append(-1 - leaves)
            continue
        roots.append(nodes)
        for side, children in (("left_child", left), ("right_child", right)):
            numbers = map(int, tree[side].split())
            children += [child + nodes if child >= 0 else child - leaves for child in numbers]
        splits = list(map(float, tree["threshold"].split()))
        words = list(map(int, tree.get("cat_threshold", "").split()))
        starts = list(map(int, tree.get("cat_boundaries", "").split()))
        feature += map(int, tree["split_feature"].split())
        for split, decision in zip(splits, map(int, tree["decision_type"].split()), strict=True):
            missing = _MISSING[decision >> 2 & 3]
            if missing == "zero":
                raise ValueError("trees in which a zero is a missing value cannot be stored")
            if decision & _CATEGORICAL:
                sets.append(len(categories))
                categories.append(_members(words[starts[int(split)] : starts[int(split) + 1]]))
                threshold.append(0.0)
                missing_left.append(False)
            else:
                sets.append(-1)
                threshold.append(split)
                # Without missing values in training, LightGBM takes one for a zero.
                missing_left.append(bool(decision & _DEFAULT_LEFT) if missing == "nan" else split >= 0.0)
    return Trees.of(roots, feature, threshold, left, right, missing_left, values, sets, categories)


def _trees(text: str) -> Iterator[dict[str, str]]:
    """Yield the fields of each tree."""
    for block in text.split("end of trees")[0].split("\nTree=")[1:]:
        yield dict(line.split("=", 1) for line in block.splitlines() if "=" in line)


def _members(words: list[int]) -> list[int]:
    """Return the bits that are set in words of 32 bits."""
    return [32 * place + bit for place, word in enumerate(words) for bit in range(32) if word >> bit & 1]


def used_inputs(trees: Trees, always: int) -> tuple[Trees, I64]:
    """Return the trees with inputs renumbered to those that they look at, and which those are, ascending.

    The input ``always`` is among them in any case.
    """
    used = np.unique(np.append(trees.feature, always))
    return replace(trees, feature=np.searchsorted(used, trees.feature).astype(np.int32)), used.astype(np.int64)


def with_steps(trees: Trees, feature: int, edges: F64, steps: F64) -> Trees:
    """Return the trees and one more, which adds a step of its input: the first one up to the first edge, and so on.

    >>> one = Trees.of([0], [1], [0.5], [-1], [-2], [False], [10.0, 20.0])
    >>> with_steps(one, 0, np.array([3.0]), np.array([1.0, 2.0])).sums(np.array([[3.0, 0.0], [3.1, 0.6]])).tolist()
    [11.0, 22.0]
    """
    nodes, leaves, count = len(trees.feature), len(trees.values), len(edges)
    place = np.arange(count, dtype=np.int32)
    last = place == count - 1
    right = np.where(last, -1 - (leaves + count), nodes + 1 + place)
    return replace(
        trees,
        roots=np.append(trees.roots, np.int32(nodes if count else -1 - leaves)),
        feature=np.append(trees.feature, np.full(count, feature, np.int32)),
        threshold=np.append(trees.threshold, edges),
        left=np.append(trees.left, (-1 - (leaves + place)).astype(np.int32)),
        right=np.append(trees.right, right.astype(np.int32)),
        missing_left=np.append(trees.missing_left, np.zeros(count, np.bool_)),
        sets=np.append(trees.sets, np.full(count, -1, np.int32)),
        values=np.append(trees.values, steps),
    )
