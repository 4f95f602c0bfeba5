"""The compiled probing finds, supersedes and fills what the numpy one does."""

from __future__ import annotations

import numpy as np
import pytest

from collector_processor.columns.batch import I32, U64
from collector_processor.labels import built
from collector_processor.labels.slot_table import Filter, SlotTable, hashed

slots = pytest.importorskip("collector_processor.labels.slots", reason="built without a C compiler")


def ids_of(rng: np.random.Generator, rows: int, kinds: int) -> U64:
    """Ids that repeat, some of which share one half."""
    return rng.integers(0, kinds, (rows, 2)).astype(np.uint64)


def history(seed: int) -> tuple[list[int], list[int], list[int], float]:
    """What a table says while three batches go in, a third of the rows settled after the first."""
    rng = np.random.default_rng(seed)
    stored = ids_of(rng, 900, 20)
    wanted = ids_of(rng, 500, 25)
    table, superseded = SlotTable(900), list[int]()
    settled = np.zeros(900, np.bool_)
    found = list[int]()
    for start in range(0, 900, 300):
        rows = np.arange(start, start + 300, dtype=np.int32)
        superseded.append(table.insert(stored, rows, hashed(stored[rows]), settled))
        found += table.find(stored, wanted, hashed(wanted)).tolist()
        settled[table.rows()[::3]] = True
    passed = Filter(hashed(stored)).may_hold(hashed(wanted)).mean()
    return superseded, found, table.rows().tolist(), float(passed)


@pytest.mark.parametrize("seed", range(5))
def test_a_history_comes_out_as_with_numpy(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    compiled = history(seed)
    monkeypatch.setattr(built, "slots", None)
    assert compiled == history(seed)


def test_the_hash_is_that_of_numpy(monkeypatch: pytest.MonkeyPatch) -> None:
    ids = np.random.default_rng(0).integers(0, 2**64 - 1, (1000, 2), np.uint64)
    compiled = hashed(ids)
    monkeypatch.setattr(built, "slots", None)
    assert compiled.tolist() == hashed(ids).tolist()


def test_a_table_filled_by_one_is_read_by_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    ids = np.unique(ids_of(np.random.default_rng(2), 4000, 1000), axis=0)
    rows: I32 = np.arange(len(ids), dtype=np.int32)
    table, crowd = SlotTable(len(ids)), Filter(hashed(ids))
    table.insert(ids, rows, hashed(ids))
    monkeypatch.setattr(built, "slots", None)
    assert table.find(ids, ids, hashed(ids)).tolist() == rows.tolist()
    assert crowd.may_hold(hashed(ids)).all()


def test_ids_that_all_fall_on_one_slot_are_kept_apart() -> None:
    ids = np.stack([np.arange(200, dtype=np.uint64), np.arange(200, dtype=np.uint64)], axis=1)
    same, rows = np.zeros(200, np.uint64), np.arange(200, dtype=np.int32)
    table = SlotTable(200)
    assert table.insert(ids, rows, same) == 0
    assert table.find(ids, ids, same).tolist() == rows.tolist()


def test_a_full_table_and_what_does_not_fit_are_refused() -> None:
    ids, hashes = np.arange(10, dtype=np.uint64).repeat(2).reshape(-1, 2), np.arange(10, dtype=np.uint64)
    rows = np.arange(10, dtype=np.int32)
    with pytest.raises(ValueError, match="the table is full"):
        slots.insert(np.full(4, -1, np.int32), ids, rows, hashes, None)
    with pytest.raises(ValueError, match="do not fit"):
        slots.insert(np.full(32, -1, np.int32), ids, rows, hashes[:5], None)
    with pytest.raises(ValueError, match="do not fit"):
        slots.find(np.full(0, -1, np.int32), ids, ids, hashes)
    with pytest.raises(IndexError):
        slots.insert(np.full(32, 77, np.int32), ids, rows, hashes, None)
    with pytest.raises(ValueError, match="a filter has"):
        slots.may_hold(np.zeros(3, np.uint8), hashes, 64)
    assert slots.find(np.full(2, 1, np.int32), ids, ids[5:6], hashes[5:6]).tolist() == [-1]  # no free slot: it ends
