"""Boosted trees as plain arrays, and what they add up to for each row.

A node with a threshold sends a row to the left if its value is at most the threshold; one with a set of categories, if
its code is in the set. A missing value takes the side that the node says, and is in no set. These are LightGBM's rules:
trees that it grew give the same sums here, to the last bit.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray

from collector_processor.columns.batch import F64, I32, I64
from collector_processor.statistics import built

Codes = NDArray[np.uint8]

MAX_TREES: Final = 500
MAX_NODES: Final = 50_000
MAX_DEPTH: Final = 64
MAX_MEMBERS: Final = 2**24
"""Most entries of all tables of categories together."""


@dataclass(frozen=True)
class Trees:
    """Trees whose values add up. Nodes of all trees are in one list, those with a decision first, then the leaves.

    - ``roots`` int32 ``[T]``: each tree's first node.
    - ``feature`` int32, ``threshold`` float64 ``[D]``: the input that a node looks at, and its threshold.
    - ``left``, ``right`` int32 ``[D]``: later nodes, or −1 − leaf.
    - ``missing_left`` bool ``[D]``: whether a missing value goes to the left.
    - ``sets`` int32 ``[D]``: the node's set of categories, −1 for a threshold.
    - ``set_starts`` int32 ``[S + 1]``, ``set_codes`` int32: the codes of each set, one set after the other.
    - ``values`` float64 ``[L]``: what a leaf adds.

    >>> one = Trees.of([0], [0], [0.5], [-1], [-2], [False], [10.0, 20.0])
    >>> one.sums(np.array([[0.5], [0.6], [np.nan]])).tolist()
    [10.0, 20.0, 20.0]
    """

    roots: I32
    feature: I32
    threshold: F64
    left: I32
    right: I32
    missing_left: NDArray[np.bool_]
    sets: I32
    set_starts: I32
    set_codes: I32
    values: F64

    @classmethod
    def of(
        cls,
        roots: list[int],
        feature: list[int],
        threshold: list[float],
        left: list[int],
        right: list[int],
        missing_left: list[bool],
        values: list[float],
        sets: list[int] | None = None,
        categories: list[list[int]] | None = None,
    ) -> Trees:
        """Return the trees of plain lists; ``categories`` are the codes of each set."""
        codes = categories or []
        return cls(
            np.array(roots, np.int32), np.array(feature, np.int32), np.array(threshold, np.float64),
            np.array(left, np.int32), np.array(right, np.int32), np.array(missing_left, np.bool_),
            np.array([-1] * len(feature) if sets is None else sets, np.int32),
            np.cumsum([0, *map(len, codes)]).astype(np.int32),
            np.array([code for each in codes for code in each], np.int32), np.array(values, np.float64),
        )  # fmt: skip

    def mistake(self, width: int, codes: int) -> str:
        """Return what is wrong with trees that someone else wrote; empty if a walk through them ends, within them.

        There are ``width`` inputs, and codes below ``codes``.
        """
        decisions, leaves = len(self.feature), len(self.values)
        if not (len(self.roots) <= MAX_TREES and decisions + leaves <= MAX_NODES):
            return f"has more than {MAX_TREES} trees or {MAX_NODES} nodes"
        if any(
            len(part) != decisions for part in (self.threshold, self.left, self.right, self.missing_left, self.sets)
        ):
            return "has lists of different lengths"
        if not _within(self.feature, 0, width - 1):
            return f"has a feature that is not from 0 to {width - 1}"
        if not _within(self.sets, -1, len(self.set_starts) - 2):
            return "has a set of categories that does not exist"
        if not _within(self.set_codes, 0, codes - 1):
            return f"has a category that is not from 0 to {codes - 1}"
        at = np.arange(decisions)
        for children in (self.left, self.right):
            if not ((children < decisions) & (children >= -leaves) & ((children < 0) | (children > at))).all():
                return "has a child that does not exist or is not after its parent"
        if not _within(self.roots, -leaves, decisions - 1):
            return "has a root that does not exist"
        if self._depth.max(initial=0) > MAX_DEPTH:
            return f"is more than {MAX_DEPTH} levels deep"
        if int(self._set_sizes.sum()) > MAX_MEMBERS:
            return "has too many categories"
        return ""

    def sums(self, inputs: F64, leaves: I32 | None = None) -> F64:
        """Return the sum of all trees ``[n]`` for rows ``inputs`` ``[n, F]``.

        ``leaves`` ``[n, t]`` gets the leaf of each row in each of the first t trees.
        """
        inputs = np.ascontiguousarray(inputs)
        output = np.zeros(len(inputs))
        ends = np.empty((len(inputs), 0), np.int32) if leaves is None else leaves
        if built.walk is not None:
            built.walk.add_trees(inputs, *self._nodes, output, ends)
        else:
            self._walk(inputs, output, ends)
        ends -= len(self.feature)
        return output

    def _walk(self, inputs: F64, output: F64, ends: I32) -> None:
        """Do what :mod:`.walk` does, one step of all rows at a time."""
        roots, depths, feature, threshold, children, missing_right, first, sizes, members, values = self._nodes
        rows = np.arange(len(inputs))
        table = np.append(members, np.uint8(0))
        for tree, (root, depth) in enumerate(zip(roots.tolist(), depths.tolist(), strict=True)):
            node = np.full(len(inputs), root, np.int32)
            for _ in range(depth):
                value = inputs[rows, feature[node]]
                right = (value > threshold[node]) | (np.isnan(value) & (missing_right[node] > 0))
                chosen = first[node] >= 0
                known = chosen & (value >= 0.0) & (value < sizes[node])
                place = np.where(known, first[node] + np.where(known, value, 0.0).astype(np.int32), len(members))
                right = np.where(chosen, table[place] == 0, right)
                node = children[2 * node + right]
            output += values[node]
            if tree < ends.shape[1]:
                ends[:, tree] = node

    @cached_property
    def _depth(self) -> I32:
        """The level of each node with a decision, int32 ``[D]``: 1 for a root. Children come after their parents."""
        depth = np.ones(len(self.feature), np.int32)
        left, right = self.left.tolist(), self.right.tolist()
        for node in range(len(depth)):
            for child in (left[node], right[node]):
                if child >= 0:
                    depth[child] = max(depth[child], depth[node] + 1)
        return depth

    @cached_property
    def _set_of_codes(self) -> I64:
        """The set of each entry of ``set_codes``."""
        return np.repeat(np.arange(len(self.set_starts) - 1), np.diff(self.set_starts))

    @cached_property
    def _set_sizes(self) -> I32:
        """The greatest code of each set plus one, int32 ``[S]``."""
        sizes = np.zeros(len(self.set_starts) - 1, np.int32)
        np.maximum.at(sizes, self._set_of_codes, self.set_codes + 1)
        return sizes

    @cached_property
    def _nodes(self) -> tuple[I32, I32, I32, F64, I32, Codes, I32, I32, Codes, F64]:
        """The arrays of :func:`.walk.add_trees`, in which a leaf is a node that leads to itself."""
        decisions, leaves = len(self.feature), len(self.values)
        own, none = np.arange(decisions, decisions + leaves, dtype=np.int32), np.zeros(leaves, np.int32)

        def placed(nodes: I32) -> I32:
            return np.where(nodes < 0, decisions - 1 - nodes, nodes).astype(np.int32)

        children = np.stack((np.append(placed(self.left), own), np.append(placed(self.right), own)), axis=1)
        starts = np.append(0, np.cumsum(self._set_sizes)).astype(np.int32)
        members = np.zeros(int(starts[-1]), np.uint8)
        members[starts[self._set_of_codes] + self.set_codes] = 1
        first = np.where(self.sets >= 0, starts[self.sets], -1)
        sizes = np.append(self._set_sizes, 0)[self.sets]
        return (
            placed(self.roots),
            self._depths(),
            np.append(self.feature, none),
            np.append(self.threshold, np.full(leaves, np.inf)),
            np.ascontiguousarray(children.reshape(-1)),
            np.append(~self.missing_left, none).astype(np.uint8),
            np.append(first, none - 1).astype(np.int32),
            np.append(sizes, none).astype(np.int32),
            members,
            np.append(np.zeros(decisions), self.values),
        )

    def _depths(self) -> I32:
        """The steps from each tree's root to its deepest leaf, int32 ``[T]``."""
        below = np.ones(len(self.feature), np.int32)
        left, right = self.left.tolist(), self.right.tolist()
        for node in reversed(range(len(below))):
            for child in (left[node], right[node]):
                if child >= 0:
                    below[node] = max(below[node], below[child] + 1)
        return np.array([0 if root < 0 else below[root] for root in self.roots.tolist()], np.int32)


def _within(values: I32, low: int, high: int) -> bool:
    return bool(((values >= low) & (values <= high)).all())
