"""The hash table of 128-bit ids against a dict."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collector_processor.labels.slot_table import LOAD, Filter, SlotTable, hashed


def ids_of(numbers):
    """Ids that differ in their low bits only, as a poor hash would give them."""
    numbers = np.asarray(numbers, np.uint64).reshape(-1)
    return np.stack([numbers // np.uint64(7), numbers % np.uint64(7)], axis=1)


def rows_of(count, start=0):
    return np.arange(start, start + count, dtype=np.int32)


@settings(max_examples=60, deadline=None)
@given(batches=st.lists(st.lists(st.integers(0, 60), max_size=40), max_size=6), seed=st.integers(0, 99))
def test_table_finds_what_a_dict_finds(batches, seed):
    numbers = [number for batch in batches for number in batch]
    stored, settled = ids_of(numbers), np.random.default_rng(seed).random(len(numbers)) < 0.3
    table, known, superseded, start = SlotTable(len(numbers)), {}, 0, 0
    for batch in batches:
        rows = rows_of(len(batch), start)
        # Rows are settled after they were inserted: only earlier batches can be.
        before = settled & (np.arange(len(numbers)) < start)
        lost = table.insert(stored, rows, hashed(stored[rows]), before)
        expected = 0
        for row, number in zip(rows.tolist(), batch, strict=True):
            expected += number in known
            if number not in known or not before[known[number]]:
                known[number] = row
        assert lost == expected
        superseded, start = superseded + lost, start + len(batch)
    wanted = ids_of(range(61))
    assert table.find(stored, wanted, hashed(wanted)).tolist() == [known.get(number, -1) for number in range(61)]
    assert table.rows().tolist() == sorted(known.values())
    assert superseded == len(numbers) - len(known)


@pytest.mark.parametrize("word", [0, 1])
def test_ids_that_share_a_word_are_told_apart(word):
    stored = np.zeros((500, 2), np.uint64)
    stored[:, word] = np.arange(500)
    table = SlotTable(500)
    table.insert(stored, rows_of(500), hashed(stored))
    assert table.find(stored, stored, hashed(stored)).tolist() == list(range(500))


def test_hashes_that_all_collide_are_slow_and_right():
    stored, hashes = ids_of(np.arange(300)), np.zeros(300, np.uint64)
    table = SlotTable(300)
    table.insert(stored, rows_of(300), hashes)
    assert table.find(stored, stored, hashes).tolist() == list(range(300))
    assert (table.find(stored, ids_of([1000]), hashes[:1]) == -1).all()


def test_all_ids_of_extreme_bits_are_ids():
    largest = np.iinfo(np.uint64).max
    stored = np.array([[0, 0], [largest, largest], [0, largest], [largest, 0]], np.uint64)
    table = SlotTable(4)
    table.insert(stored, rows_of(4), hashed(stored))
    assert table.find(stored, stored, hashed(stored)).tolist() == [0, 1, 2, 3]


def test_table_without_rows_finds_nothing():
    nothing, wanted = np.empty((0, 2), np.uint64), ids_of([1, 2])
    table = SlotTable(0)
    assert table.find(nothing, wanted, hashed(wanted)).tolist() == [-1, -1]
    assert table.insert(nothing, rows_of(0), hashed(nothing)) == 0
    assert len(table.find(nothing, nothing, hashed(nothing))) == 0


def test_slots_take_four_bytes_over_the_load():
    assert SlotTable(100_000).nbytes == pytest.approx(100_000 * 4 / LOAD, rel=1e-3)


def test_one_row_under_one_id_again_and_again_stays_the_last():
    stored = np.tile(ids_of([5]), (1000, 1))
    table = SlotTable(1000)
    assert table.insert(stored, rows_of(1000), hashed(stored)) == 999
    assert table.find(stored, ids_of([5]), hashed(ids_of([5]))).tolist() == [999]


@given(st.lists(st.integers(0, 2**64 - 1)), st.integers(0, 2**64 - 1))
def test_filter_lets_everything_pass_that_is_there(numbers, other):
    hashes = np.array(numbers, np.uint64)
    seen = Filter(hashes)
    assert seen.may_hold(hashes).all()
    assert len(seen.may_hold(np.array([other], np.uint64))) == 1


def test_filter_takes_a_byte_a_row():
    assert Filter(np.arange(1000, dtype=np.uint64)).nbytes == 1000
