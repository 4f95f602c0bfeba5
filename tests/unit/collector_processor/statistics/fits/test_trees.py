"""Trees give LightGBM's own sums, compiled or not, and no tree that someone wrote makes a walk endless or leave it."""

from __future__ import annotations

import numpy as np
import pytest

from collector_processor.statistics import built
from collector_processor.statistics.fits.trees import Trees


@pytest.fixture(params=["compiled", "numpy"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "numpy":
        monkeypatch.setattr(built, "walk", None)
    elif built.walk is None:
        pytest.skip("built without a C compiler")
    return request.param


def by_hand(trees: Trees, row: list[float]) -> float:
    total = 0.0
    for root in trees.roots.tolist():
        node = root
        while node >= 0:
            x, chosen = row[trees.feature[node]], int(trees.sets[node])
            if chosen >= 0:
                left = x in trees.set_codes[trees.set_starts[chosen] : trees.set_starts[chosen + 1]]
            else:
                left = bool(trees.missing_left[node]) if np.isnan(x) else x <= trees.threshold[node]
            node = int((trees.left if left else trees.right)[node])
        total += trees.values[-1 - node]
    return total


def forest() -> Trees:
    return Trees.of(
        [0, 2, -7], [0, 1, 1], [0.5, 0.0, -1.0], [1, -1, -4], [-3, -2, -5], [True, False, True],
        [1.0, 2.0, 4.0, 8.0, 16.0, 0.0, 32.0], [-1, 0, -1], [[2, 5]],
    )  # fmt: skip


def test_rows_end_where_a_walk_by_hand_ends(way):
    trees = forest()
    values = (np.nan, -np.inf, -1.0, 0.5, 0.6, 2.0, 5.0, 6.0, 7e9, np.inf)
    rows = np.array([[a, b] for a in values for b in values])
    assert trees.mistake(2, 8) == ""
    assert trees.sums(rows).tolist() == [by_hand(trees, row) for row in rows.tolist()]


def test_leaves_are_those_of_the_first_trees(way):
    leaves = np.empty((2, 2), np.int32)
    trees = forest()
    sums = trees.sums(np.array([[0.0, 2.0], [9.0, -9.0]]), leaves)
    assert leaves.tolist() == [[0, 4], [2, 3]]
    assert sums.tolist() == [1.0 + 16.0 + 32.0, 4.0 + 8.0 + 32.0]


def test_no_rows_have_no_sums(way):
    assert forest().sums(np.empty((0, 2))).tolist() == []


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"left": [0, -1, -4]}, "a child that does not exist or is not after its parent"),
        ({"right": [-3, -2, 3]}, "a child that does not exist"),
        ({"left": [1, -1, -9]}, "a child that does not exist"),
        ({"roots": [0, 3]}, "a root that does not exist"),
        ({"roots": [-8]}, "a root that does not exist"),
        ({"feature": [0, 2, 1]}, "a feature that is not from 0 to 1"),
        ({"sets": [-1, 1, -1]}, "a set of categories that does not exist"),
        ({"categories": [[9]]}, "a category that is not from 0 to 7"),
        ({"threshold": [0.5]}, "lists of different lengths"),
        ({"roots": [0] * 501}, "more than 500 trees"),
    ],
)
def test_what_a_walk_would_not_end_in_is_a_mistake(change, problem):
    whole = {
        "roots": [0, 2, -7], "feature": [0, 1, 1], "threshold": [0.5, 0.0, -1.0], "left": [1, -1, -4],
        "right": [-3, -2, -5], "missing_left": [True, False, True], "values": [1.0] * 7, "sets": [-1, 0, -1],
        "categories": [[2, 5]],
    }  # fmt: skip
    assert problem in Trees.of(**{**whole, **change}).mistake(2, 8)


def test_a_chain_of_nodes_is_a_mistake():
    long = list(range(1, 70))
    trees = Trees.of([0], [0] * 70, [0.0] * 70, [*long, -1], [-1] * 70, [False] * 70, [1.0])
    assert "more than 64 levels" in trees.mistake(1, 1)


@pytest.mark.parametrize("seed", range(4))
def test_trees_of_lightgbm_give_its_own_sums_to_the_last_bit(way, seed):
    lightgbm = pytest.importorskip("lightgbm")
    from collector_processor.reference.fits.boosting import dumped

    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(3000, 5))
    rows[:, 3], rows[:, 4] = rng.integers(0, 70, 3000), rng.integers(0, 4, 3000)
    if seed % 2:
        rows[rng.random(rows.shape) < 0.1] = np.nan
    y = np.nan_to_num(rows[:, 0]) + np.sin(np.nan_to_num(rows[:, 3])) + np.isnan(rows[:, 1]) + rng.normal(size=3000)
    data = lightgbm.Dataset(rows, y, categorical_feature=[3, 4] if seed < 3 else [], params={"verbosity": -1})
    booster = lightgbm.train({"verbosity": -1, "num_threads": 1, "min_data_in_leaf": 5}, data, 40)
    trees = dumped(booster.model_to_string())
    other = rng.normal(size=(500, 5)) * 3.0
    other[:, 3], other[:, 4] = rng.integers(0, 99, 500), rng.integers(0, 9, 500)
    other[rng.random(other.shape) < 0.2] = np.nan
    other[rng.random(other.shape) < 0.02] = np.inf
    other[rng.random(other.shape) < 0.02] = 0.0
    assert trees.mistake(5, 200) == ""
    assert np.array_equal(trees.sums(other), booster.predict(other, num_threads=1))


def test_a_constant_has_one_leaf(way):
    lightgbm = pytest.importorskip("lightgbm")
    from collector_processor.reference.fits.boosting import dumped

    data = lightgbm.Dataset(np.ones((500, 1)), np.full(500, 7.0), params={"verbosity": -1})
    trees = dumped(lightgbm.train({"verbosity": -1}, data, 5).model_to_string())
    assert trees.mistake(1, 1) == ""
    assert trees.sums(np.array([[3.0], [np.nan]])).tolist() == [7.0, 7.0]
