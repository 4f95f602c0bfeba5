"""Outcomes add, split and merge at will, and can be taken back."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collector_processor.statistics.bins import fine_edges
from collector_processor.statistics.labeled import EPSILON, label_shift, scatter
from collector_processor.statistics.latency import delay_bins, quantile
from collector_processor.statistics.outcome_batch import OutcomeBatch
from collector_processor.statistics.outcomes import accumulate_outcomes
from collector_processor.statistics.pane import Pane
from collector_processor.statistics.schema import Categories, ColumnSpec, Schema
from collector_processor.statistics.vectors import added

CLASSES = ("no", "yes", "perhaps")
TASKS = ("binary_classification", "multiclass_classification", "regression")


def schema_of(task, *, low=0.0, high=100.0, classes_limit=100):
    regression = task == "regression"
    numeric = (("label", "prediction") if regression else ("score",)) if task else ()
    edges = np.stack([fine_edges(np.linspace(low, high, 501)).edges if regression else np.linspace(0, 1, 501)] * 2)
    return Schema(
        task=task,
        positive_class="yes" if task == "binary_classification" else "",
        numeric=tuple(ColumnSpec(role, role) for role in numeric),
        edges=edges[: len(numeric)],
        drift_edges=np.zeros((len(numeric), 1), np.int32),
        low=np.full(len(numeric), low),
        high=np.full(len(numeric), high),
        categorical=() if regression else (ColumnSpec("prediction", "prediction"), ColumnSpec("label", "label")),
        categories=Categories([] if regression else ["prediction", "label"], 100),
        classes=Categories.from_pairs(("class",), classes_limit, [(0, name) for name in CLASSES]),
        groups=Categories.from_pairs(("region",), 50, [(0, "north"), (0, "south")]),
    )


def random_outcomes(task, rows, seed, offset=0.0):
    rng = np.random.default_rng(seed)
    regression = task == "regression"
    numbers = rng.normal(offset + 50.0, 20.0, rows)
    return OutcomeBatch(
        time_ns=rng.integers(0, 10**18, rows),
        weights=rng.choice([1.0, 2.0, 7.5], rows),
        scores=np.where(rng.random(rows) < 0.1, np.nan, rng.random(rows)),
        label_probability=np.where(rng.random(rows) < 0.1, np.nan, rng.random(rows)),
        groups=rng.integers(-1, 4, (rows, 1)).astype(np.int32),
        delay_s=rng.exponential(1000.0, rows),
        labels=None if regression else rng.integers(-1, 4, rows).astype(np.int32),
        label_values=numbers if regression else None,
        predicted=None if regression else rng.integers(-1, 4, rows).astype(np.int32),
        predicted_values=numbers + rng.normal(0.0, 5.0, rows) if regression else None,
    )


def negative(outcomes):
    return OutcomeBatch(
        outcomes.time_ns, -outcomes.weights, outcomes.scores, outcomes.label_probability, outcomes.groups,
        outcomes.delay_s, outcomes.labels, outcomes.label_values, outcomes.predicted, outcomes.predicted_values,
    )  # fmt: skip


def pane_of(schema, *batches):
    pane = Pane.empty(schema)
    for batch in batches:
        accumulate_outcomes(pane, schema, batch)
    return pane


def assert_same(left, right, rel=1e-12):
    """Equal but for rounding, whatever the extents: what one has beyond the other is zero."""
    for name, values in left.arrays().items():
        difference = added(values.copy(), -right.arrays()[name])
        np.testing.assert_allclose(difference, 0.0, atol=rel * max(1.0, np.abs(values).max(initial=0.0)), err_msg=name)


@pytest.mark.parametrize("task", TASKS)
@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32), rows=st.integers(0, 200), parts=st.lists(st.integers(0, 4), min_size=1))
def test_panes_of_any_split_add_up_to_the_whole(task, seed, rows, parts):
    schema, outcomes = schema_of(task), random_outcomes(task, rows, seed)
    part = np.random.default_rng(seed).choice(parts, rows)
    total = Pane.empty(schema)
    for number in range(5):
        total.add(pane_of(schema, outcomes.take(part == number)))
    assert_same(pane_of(schema, outcomes), total)


@pytest.mark.parametrize("task", TASKS)
@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32), rows=st.integers(0, 200))
def test_outcomes_taken_back_were_never_there(task, seed, rows):
    schema, kept, wrong = schema_of(task), random_outcomes(task, 100, seed), random_outcomes(task, rows, seed + 1)
    assert_same(pane_of(schema, kept), pane_of(schema, wrong, kept, negative(wrong)), rel=1e-9)


@pytest.mark.parametrize("task", TASKS)
def test_one_row_at_a_time_equals_all_at_once(task):
    schema, outcomes = schema_of(task), random_outcomes(task, 60, 0)
    rows = [outcomes.take(slice(row, row + 1)) for row in range(60)]
    assert_same(pane_of(schema, outcomes), pane_of(schema, *rows))


@pytest.mark.parametrize("task", TASKS)
def test_followed_by_nothing_changes_nothing(task):
    outcomes = random_outcomes(task, 10, 0)
    both = outcomes.take(slice(0, 4)).plus(outcomes.take(slice(4, None)))
    for name in OutcomeBatch.__dataclass_fields__:
        np.testing.assert_equal(getattr(both, name), getattr(outcomes, name))
    assert len(outcomes.take(slice(0, 0)).plus(outcomes)) == 10


@pytest.mark.parametrize("offset", [1e9, -1e9])
def test_regression_sums_keep_their_digits_far_from_zero(offset):
    schema = schema_of("regression", low=offset, high=offset + 100.0)
    outcomes = random_outcomes("regression", 5000, 0, offset)
    errors = pane_of(schema, outcomes).outcomes.errors[0]
    y, weights = outcomes.label_values, outcomes.weights
    mean = np.average(y - offset, weights=weights)
    assert errors[5] - errors[4] ** 2 / errors[0] == pytest.approx((weights * (y - offset - mean) ** 2).sum(), rel=1e-9)


def test_shift_is_the_middle_of_the_label_else_of_the_prediction_else_zero():
    schema = schema_of("regression", low=10.0, high=30.0)
    assert label_shift(schema) == 20.0
    schema.low[0] = np.nan
    schema.low[1] = 20.0
    assert label_shift(schema) == 25.0
    assert label_shift(schema_of("binary_classification")) == 0.0


def test_shift_of_the_widest_range_is_finite():
    largest = float(np.finfo(float).max)
    assert label_shift(schema_of("regression", low=0.0, high=1.0)) == 0.5
    schema = schema_of("regression")
    schema.low[:], schema.high[:] = -largest, largest
    assert label_shift(schema) == 0.0


def test_vectors_grow_with_the_classes_and_groups_of_the_schema():
    schema = schema_of("multiclass_classification")
    pane = pane_of(schema, random_outcomes("multiclass_classification", 50, 0))
    before = pane.copy()
    new = schema.classes.slots(0, ("never seen",))[0]
    group = schema.groups.slots(0, ("west",))[0] + 1
    late = OutcomeBatch(
        np.zeros(1, np.int64), np.ones(1), np.full(1, np.nan), np.array([0.25]), np.array([[group]], np.int32),
        np.ones(1), np.array([new], np.int32), None, np.array([1], np.int32), None,
    )  # fmt: skip
    accumulate_outcomes(pane, schema, late)
    assert pane.outcomes.by_class.shape == (len(schema.groups) + 1, 3, len(schema.classes))
    assert pane.outcomes.by_class[[0, group], 1, new].tolist() == [1.0, 1.0]
    assert pane.outcomes.by_class[group].sum(axis=1).tolist() == [0.0, 1.0, 1.0]
    before.add(pane_of(schema, late))
    assert_same(before, pane)


def test_a_pane_with_more_groups_than_the_schema_keeps_them():
    schema = schema_of("binary_classification")
    wider = schema.fork()
    wider.groups.slots(0, ("east", "west"))
    pane = pane_of(wider, random_outcomes("binary_classification", 10, 0))
    accumulate_outcomes(pane, schema, random_outcomes("binary_classification", 10, 1))
    assert len(pane.outcomes.labels) == len(wider.groups) + 1


def test_arrays_that_are_not_contiguous_are_added_to_all_the_same():
    schema, outcomes = schema_of("multiclass_classification"), random_outcomes("multiclass_classification", 50, 0)
    pane = pane_of(schema)
    pane.outcomes.by_class = np.asfortranarray(pane.outcomes.by_class)
    accumulate_outcomes(pane, schema, outcomes)
    assert_same(pane_of(schema, outcomes), pane)


def test_labels_feed_the_categorical_label_column():
    schema = schema_of("binary_classification")
    outcomes = random_outcomes("binary_classification", 500, 0)
    pane = pane_of(schema, outcomes)
    expected = {
        schema.classes.name(slot): outcomes.weights[outcomes.labels == slot].sum()
        for slot in range(len(schema.classes))
    }
    counts = {name: pane.category_counts[schema.categories.find(1, name)] for name in schema.categories.names(1)}
    assert counts == pytest.approx(expected)
    assert not pane.missing.any()
    assert not pane.counts.any()


def test_labels_feed_the_numeric_label_column_and_leave_it_again():
    schema = schema_of("regression")
    outcomes = random_outcomes("regression", 500, 0)
    pane = pane_of(schema, outcomes)
    assert pane.counts.sum(axis=1).tolist() == [pytest.approx(outcomes.weights.sum()), 0.0]
    accumulate_outcomes(pane, schema, negative(outcomes))
    np.testing.assert_allclose(pane.counts, 0.0, atol=1e-9)
    np.testing.assert_allclose(pane.excess, 0.0, atol=1e-6)


def test_rows_without_a_label_add_nothing():
    for task in TASKS:
        schema, outcomes = schema_of(task), random_outcomes(task, 5, 0)
        nothing = OutcomeBatch(
            outcomes.time_ns, outcomes.weights, outcomes.scores, outcomes.label_probability, outcomes.groups,
            outcomes.delay_s, None if task == "regression" else np.full(5, -1, np.int32),
            np.array([np.nan, np.inf, -np.inf, np.nan, np.nan]) if task == "regression" else None,
            outcomes.predicted, outcomes.predicted_values,
        )  # fmt: skip
        assert_same(Pane.empty(schema), pane_of(schema, nothing))


def test_neither_labels_nor_values_add_nothing():
    schema, outcomes = schema_of("regression"), random_outcomes("regression", 3, 0)
    bare = OutcomeBatch(
        outcomes.time_ns,
        outcomes.weights,
        outcomes.scores,
        outcomes.label_probability,
        outcomes.groups,
        outcomes.delay_s,
    )
    assert_same(Pane.empty(schema), pane_of(schema, bare))


def test_rows_without_a_prediction_are_labels_all_the_same():
    for task in ("regression", "multiclass_classification"):
        schema, outcomes = schema_of(task), random_outcomes(task, 20, 0)
        bare = OutcomeBatch(
            outcomes.time_ns, outcomes.weights, outcomes.scores, np.full(20, np.nan), outcomes.groups, outcomes.delay_s,
            outcomes.labels, outcomes.label_values,
        )  # fmt: skip
        sums = pane_of(schema, bare).outcomes
        known = np.ones(20, bool) if outcomes.labels is None else outcomes.labels >= 0
        assert sums.labels[0] == pytest.approx(outcomes.weights[known].sum())
        assert not sums.by_class.any()
        assert not sums.errors.any()
        assert not sums.scored[:, [0, 2]].any()


def test_delay_is_binned_once_a_row_and_unknown_delays_are_not():
    schema = schema_of("binary_classification")
    outcomes = random_outcomes("binary_classification", 2, 0)
    timed = OutcomeBatch(
        outcomes.time_ns, np.array([2.0, 1.0]), outcomes.scores, outcomes.label_probability, outcomes.groups,
        np.array([3600.0, np.nan]), np.array([1, 1], np.int32),
    )  # fmt: skip
    delay = pane_of(schema, timed).outcomes.delay
    assert delay.sum() == 2.0
    assert delay[delay_bins(np.array([3600.0]))[0]] == 2.0
    assert quantile(delay, 0.5) == pytest.approx(3600.0, rel=0.01)


def test_calibration_table_holds_count_score_and_positives_of_each_bin():
    schema = schema_of("binary_classification")
    scores = np.array([0.0, 0.05, 0.1, 0.95, 1.0, 1.5, np.nan])
    outcomes = OutcomeBatch(
        np.zeros(7, np.int64), np.ones(7), scores, np.full(7, np.nan), np.empty((7, 0), np.int32), np.ones(7),
        np.array([1, 2, 2, 2, 1, 2, 2], np.int32),
    )  # fmt: skip
    count, score, positive = pane_of(schema, outcomes).outcomes.calibration[0]
    assert count.tolist() == [2, 1, 0, 0, 0, 0, 0, 0, 0, 2]
    assert score.tolist() == pytest.approx([0.05, 0.1, 0, 0, 0, 0, 0, 0, 0, 1.95])
    assert positive.tolist() == [1, 1, 0, 0, 0, 0, 0, 0, 0, 1]


def test_probability_of_zero_costs_a_finite_loss():
    schema = schema_of("multiclass_classification")
    outcomes = OutcomeBatch(
        np.zeros(3, np.int64), np.ones(3), np.full(3, np.nan), np.array([0.0, 1.0, 7.0]), np.empty((3, 0), np.int32),
        np.ones(3), np.array([1, 2, 3], np.int32),
    )  # fmt: skip
    assert pane_of(schema, outcomes).outcomes.scored[0].tolist() == pytest.approx([2.0, 0.0, -np.log(EPSILON)])


@pytest.mark.parametrize("size", [4, 10_000])
def test_scatter_adds_repeated_positions(size):
    target = np.ones((2, size // 2))
    scatter(target, np.array([0, 3, 3]), np.array([1.0, 2.0, 3.0]))
    assert target.reshape(-1)[:4].tolist() == [2.0, 1.0, 1.0, 6.0]
