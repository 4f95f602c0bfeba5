"""Panes that counted every pair of classes, and what is known of them."""

from __future__ import annotations

import numpy as np
import pytest

from collector_processor.window.compact_panes import compacted, parts_from_arrays, parts_to_arrays
from collector_processor.window.former_panes import BY_CLASS, CONFUSION, with_classes


def pairs_of(*tables):
    return parts_to_arrays(CONFUSION, [compacted(np.asarray(table, float)) for table in tables])


def dense(arrays):
    panes = []
    for part in parts_from_arrays(arrays, BY_CLASS, 3):
        values = np.zeros(part.shape)
        part.add_to(values)
        panes.append(values)
    return panes


def test_pairs_of_classes_become_counts_by_class():
    rng = np.random.default_rng(0)
    table = rng.integers(0, 9, (3, 5, 5)) * 0.5
    table[:, 0, 0] = 0.0
    arrays, lost = with_classes({**pairs_of(table, table[:1]), "rows.layout": np.zeros((2, 4))})
    assert lost == 0
    assert CONFUSION + ".layout" not in arrays
    assert "rows.layout" in arrays
    first, second = dense(arrays)
    np.testing.assert_array_equal(first[:, 0], np.diagonal(table, axis1=1, axis2=2))
    np.testing.assert_array_equal(first[:, 1], table.sum(axis=2))
    np.testing.assert_array_equal(first[:, 2], table.sum(axis=1))
    np.testing.assert_array_equal(second, first[:1])


def test_rows_that_may_be_right_or_wrong_are_left_out_by_group():
    table = np.zeros((3, 3, 3))
    table[:, 1, 1] = 4.0
    table[0, 0, 0] = table[2, 0, 0] = 7.0
    arrays, lost = with_classes(pairs_of(table, np.zeros((1, 1, 1))))
    assert lost == 1
    assert dense(arrays)[0].sum(axis=(1, 2)).tolist() == [0.0, 12.0, 0.0]


def test_panes_of_today_stay_as_they_are():
    arrays = {"rows.layout": np.zeros((0, 4))}
    assert with_classes(arrays) == (arrays, 0)


def test_damaged_pairs_are_an_error():
    arrays = pairs_of(np.eye(5)[None])
    with pytest.raises(ValueError, match="damaged"):
        with_classes({**arrays, f"{CONFUSION}.index": arrays[f"{CONFUSION}.index"] + 100})
    with pytest.raises(ValueError, match="axes"):
        with_classes({**arrays, f"{CONFUSION}.layout": np.zeros((1, 4), np.int64)})
