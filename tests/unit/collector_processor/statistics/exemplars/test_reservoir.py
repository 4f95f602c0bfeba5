"""A reservoir is the same whatever the order of the rows and however they were split, and it is bounded."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collector_processor.statistics.exemplars import reservoir
from collector_processor.statistics.exemplars.reservoir import NO_CELL, ROWS, Codes, Reservoir, look

U64 = np.ndarray[tuple[int, ...], np.dtype[np.uint64]]
KINDS = ("random", "few keys", "one key", "zero", "largest")


def rows(count: int, cells: int, seed: int, kind: str = "random") -> tuple[U64, Codes]:
    random = np.random.default_rng(seed)
    entries = random.integers(1, 2**64 - 1, (count, 4), dtype=np.uint64, endpoint=True)
    if kind == "few keys":
        entries[:, 0] = random.choice(entries[:, 0], count) if count else entries[:, 0]
        entries[:, 1:] %= np.uint64(3)
    elif kind != "random":
        entries[:, 0] = {"one key": 12345, "zero": 0, "largest": 2**64 - 1}[kind]
    codes = random.integers(0, cells, (3, count)).astype(np.uint32)
    codes[random.random((3, count)) < 0.1] = NO_CELL
    return entries, codes


def fed(entries: U64, codes: Codes, parts: int = 1, start: Reservoir | None = None) -> Reservoir:
    kept = Reservoir.empty() if start is None else start
    for part in np.array_split(np.arange(len(entries)), parts):
        positions, below = look(kept.below, entries[part, 0])
        looked = part[positions]
        kept = kept.with_rows(entries[looked], codes[:, looked], below)
    return kept


def assert_same(one: Reservoir, other: Reservoir) -> None:
    for name in ("below", "entries", "cells", "owners"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), name)


@given(st.integers(0, 300), st.integers(1, 40), st.integers(0, 2**32), st.sampled_from(KINDS), st.integers(1, 6))
def test_split_shuffled_and_merged_rows_give_the_reservoir_of_the_whole(
    count: int, cells: int, seed: int, kind: str, parts: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reservoir, "ROWS", 40)
        entries, codes = rows(count, cells, seed, kind)
        whole = fed(entries, codes)
        order = np.random.default_rng(seed).permutation(count)
        pieces = [fed(entries[part], codes[:, part], 2) for part in np.array_split(order, parts)]
        merged = Reservoir.empty()
        for piece in pieces:
            merged = piece.merged(merged)
        assert_same(merged, whole)
        assert_same(fed(entries[order], codes[:, order], 5), whole)


@given(st.integers(1, 60), st.integers(0, 2**32))
def test_each_cell_has_the_trace_of_its_smallest_key(count: int, seed: int) -> None:
    entries, codes = rows(count, 10, seed)
    kept = fed(entries, codes)
    smallest: dict[int, tuple[int, ...]] = {}
    for row in np.argsort(entries[:, 0]).tolist():
        for code in codes[:, row].tolist():
            if code != NO_CELL:
                smallest.setdefault(code, tuple(entries[row, 1:].tolist()))
    assert kept.cells.tolist() == sorted(smallest)
    for code, trace in smallest.items():
        assert kept.find([code]) == [trace]


def test_it_looks_at_ever_fewer_rows_and_stays_small() -> None:
    random = np.random.default_rng(1)
    kept, looked_at = Reservoir.empty(), 0
    for _ in range(60):
        entries = random.integers(1, 2**64 - 1, (5000, 4), dtype=np.uint64)
        looked, below = look(kept.below, entries[:, 0])
        looked_at += len(looked)
        kept = kept.with_rows(entries[looked], looked[None].astype(np.uint32) % np.uint32(900), below)
    assert ROWS / 2 < kept.below[kept.level] <= ROWS
    assert looked_at < ROWS * (1 + np.log2(300_000 / 5000))
    assert len(kept.entries) <= len(kept.cells) <= 900
    assert kept.nbytes <= 900 * (32 + 6) + 65 * 8


@settings(max_examples=10)
@given(st.sampled_from(["one key", "zero", "largest"]))
def test_rows_that_share_one_key_cannot_fill_it(kind: str) -> None:
    entries, codes = rows(3 * ROWS, 50, 3, kind)
    kept = fed(entries, codes, parts=10)
    assert not len(kept.cells)
    assert not len(look(kept.below, entries[:, 0])[0])
    others = rows(ROWS, 50, 4)
    assert fed(*others, start=kept).find([]) == []


def test_a_row_can_be_taken_back_only_from_the_cells_that_it_has() -> None:
    entries, codes = rows(50, 5, 7)
    kept = fed(entries, codes)
    gone = kept.without(entries, np.full((1, 50), 2, np.uint32))
    assert gone.cells.tolist() == [0, 1, 3, 4]
    assert gone.find([0, 2]) == kept.find([0])
    assert kept.without(entries ^ np.uint64(1), codes) is kept
    assert Reservoir.empty().without(entries, codes) is Reservoir.empty()


def test_traces_are_found_in_the_order_of_the_cells_and_each_once() -> None:
    entries = np.array([[5, 1, 1, 1], [4, 2, 2, 2]], np.uint64)
    kept = fed(entries, np.array([[7, 3], [8, 9]], np.uint32))
    assert kept.find([9, 7, 8, 100]) == [(2, 2, 2), (1, 1, 1)]
    assert Reservoir.empty().find([1]) == []
